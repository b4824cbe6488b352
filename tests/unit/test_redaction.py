"""Redaction: a secret is found by its value, in every form in which it may be quoted."""

import html
import json
import logging
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from embedding_assets.defs.webhook import Alert
from embedding_assets.errors import GeminiError
from embedding_assets.redaction import (
    RedactedError,
    cleared,
    redact_file,
    redacted,
    redacted_record,
)
from embedding_assets.settings.values import Alerts, Gemini

ODD = "kéy \\ <with> \"all\"\t/ kinds? & 'more'+"
KEYS = ("AIza-made-up-key-4711", "a/key+with=signs&4711", ODD, "ключ-ключ")
WEBHOOK = "https://hooks.example.com/services/T0001/B0001/abcdefghijklmnop"

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "in one line": lambda key: " ".join(key.split()),
    "json": json.dumps,
    "json in utf-8": lambda key: json.dumps(key, ensure_ascii=False),
    "repr": repr,
    "ascii": ascii,
    "bytes": lambda key: repr(key.encode()),
    "html": html.escape,
    "address": quote,
    "query": lambda key: quote(key, safe=""),
    "base64": lambda key: b64encode(key.encode()).decode(),
    "base64 of addresses": lambda key: urlsafe_b64encode(key.encode()).decode(),
}


@pytest.fixture(params=KEYS)
def key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the environment, with white space around it."""
    monkeypatch.setenv("GEMINI_API_KEY", f" {request.param}\n")
    return str(request.param)


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_every_form_is_found(key: str, form: Callable[[str], str]) -> None:
    """Nothing of it is left, and everything around it is."""
    quoted = form(key)
    for text in (f"before {quoted} after", f"{{'headers': ['{quoted}']}}", quoted * 2):
        told = redacted(text)
        assert quoted.strip("\"'b") not in told
        assert "…" in told
    assert redacted(f"before {key} after") == "before … after"


def test_both_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the key that loses against the other one is a secret."""
    monkeypatch.setenv("GEMINI_API_KEY", "the-losing-key")
    monkeypatch.setenv("GOOGLE_API_KEY", "the-winning-key")
    assert redacted("the-losing-key, the-winning-key") == "…, …"


@pytest.mark.parametrize("value", ["", "  ", "a", "test"])
def test_what_is_no_secret(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Nothing, and what is too short to be a key, leaves texts as they are."""
    monkeypatch.setenv("GEMINI_API_KEY", value)
    assert redacted("a test of …") == "a test of …"


def test_the_webhook_is_a_secret() -> None:
    """Its address, and what follows its host, from the moment that the settings have it."""
    Alerts.model_validate({"webhook_url": WEBHOOK})
    assert redacted(f"POST {WEBHOOK} failed") == "POST … failed"
    assert redacted("/services/T0001/B0001/abcdefghijklmnop: 404") == "/…: 404"
    assert redacted("hooks.example.com") == "hooks.example.com"


def test_our_errors_quote_none(key: str) -> None:
    """However an error of ours came to its message."""
    error = GeminiError(f"Gemini answered 403: the key {key} is suspended")
    assert str(error) == "Gemini answered 403: the key … is suspended"
    assert repr(key)[1:-1] not in repr(error)


def test_an_alert_quotes_none(key: str) -> None:
    """What is posted is redacted before it is cut and put into one line."""
    assert Alert.of(f"refused: {key}").line == "refused: …"
    assert key[:5] not in Alert.of("x" * 1490 + key).line


@pytest.mark.parametrize("where", ["itself", "cause", "context", "group", "note"])
def test_an_error_of_a_library(key: str, where: str) -> None:
    """Whatever part of the chain quotes it, what is raised in its place keeps the rest."""
    error = _error_that_quotes(key, where)
    told = cleared(error)
    assert isinstance(told, RedactedError)
    text = "".join(traceback.format_exception(told))
    assert redacted(text) == text
    assert "ValueError" in text
    assert "…" in text
    assert "_error_that_quotes" in text


def _error_that_quotes(key: str, where: str) -> Exception:
    inner = ValueError(f"bad header {key}")
    try:
        match where:
            case "itself":
                raise inner
            case "cause":
                raise RuntimeError("it failed") from inner
            case "group":
                raise ExceptionGroup("several", [inner])
            case "note":
                plain = ValueError("it failed")
                plain.add_note(key)
                raise plain
        try:
            raise inner
        except ValueError:
            raise RuntimeError("it failed")  # noqa: B904  # the context is what is meant
    except Exception as exc:
        return exc


def test_an_error_without_a_secret_stays_itself(key: str) -> None:
    """Its type, its causes and its traceback."""
    error = ValueError("nothing to hide")
    assert cleared(error) is error


def test_a_log_without_a_secret(key: str, caplog: pytest.LogCaptureFixture) -> None:
    """A library's record is redacted, with the values that it brings along."""
    logger = logging.getLogger("a library")
    logger.addFilter(redacted_record)
    logger.warning("trying again after %s", key)
    assert caplog.messages == ["trying again after …"]


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b'{"error": "KEY"}\nKEY\n\nKEYKEY', b"KEY", b"KE KEY KEY"]
)
def test_a_file_without_a_secret(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is overwritten where it stands; length and lines stay."""
    key = "AIza-made-up-key-4711"
    monkeypatch.setenv("GOOGLE_API_KEY", key)
    path = tmp_path / "results.jsonl"
    path.write_bytes(content.replace(b"KEY", key.encode()))
    redact_file(path)
    assert path.read_bytes() == content.replace(b"KEY", b"*" * len(key))


def test_a_password_in_an_address() -> None:
    """The address of a gateway may have one."""
    Gemini(base_url="https://somebody:open-sesame@gateway.example.org/gemini")
    error = GeminiError("nobody at https://somebody:open-sesame@gateway.example.org")
    assert str(error) == "nobody at https://somebody:…@gateway.example.org"
