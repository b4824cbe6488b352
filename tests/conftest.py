"""What every test starts from: an environment in which nothing of ours is set."""

import os
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from hypothesis import settings

# The same examples every time, and no failure because the machine is busy.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")

_OURS = (
    "EMBEDDING_ASSETS_",
    "GOOGLE_GENAI_",
    "GOOGLE_GEMINI_",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "DAGSTER_HOME",
)
_END = "-----END CERTIFICATE-----\n"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, or the last of them would run alone; else the order stays."""
    items.sort(key=lambda item: [not item.get_closest_marker(m) for m in ("timeout", "e2e")])


@pytest.fixture(scope="session", autouse=True)
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every client of Gemini reads all certificates twice, for 40 ms; nothing here speaks TLS."""
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition(_END)
    path = tmp_path_factory.mktemp("certificates") / "one.pem"
    path.write_text(first + end, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture(autouse=True)
def scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting, key or Dagster home of whoever runs the tests reaches them."""
    for name in list(os.environ):
        if name.upper().startswith(_OURS):
            monkeypatch.delenv(name)
