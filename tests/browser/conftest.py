"""Every test here looks at a running web UI with a real browser.

Of a test that fails are kept: what the browser showed, the page, its console and the servers' log.
"""

import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from tests.browser import chromium
from tests.browser.pages import DagsterPages
from tests.e2e.web_ui import WebUI, a_web_ui

_FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory needs a browser, and patience."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(600))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fixtures learn on their way out whether the test has failed."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
def executable() -> str:
    """The browser's path; without one the test is skipped, or fails where that is not allowed."""
    found = chromium.find(os.environ)
    if found is not None:
        return found
    reason = (
        f"no browser: none of {', '.join(chromium.NAMES)} is on the PATH; install one with "
        f"`make browser`, or name it in {chromium.CHROMIUM_VARIABLE}"
    )
    if os.environ.get(chromium.REQUIRED_VARIABLE):
        pytest.fail(f"{reason} ({chromium.REQUIRED_VARIABLE} is set)")
    pytest.skip(reason)


# By module, not by session: while it runs, no other test of this process can have an event loop.
@pytest.fixture(scope="module")
def browser(executable: str) -> Iterator[BrowserContext]:
    """A browser with nothing in it, for the tests of a module."""
    with chromium.running(executable) as started:
        yield started


@pytest.fixture(scope="module")
def sections() -> dict[str, dict[str, object]]:
    """Changes of settings; for modules to replace."""
    return {}


@pytest.fixture
def ui(executable: str, tmp_path: Path, sections: dict[str, dict[str, object]]) -> Iterator[WebUI]:
    """A web UI of this test's own, with an empty corpus."""
    with a_web_ui(tmp_path, os.environ, **sections) as started:
        yield started


@pytest.fixture
def artifacts(request: pytest.FixtureRequest) -> Path:
    """Where to keep what should be looked at if this test fails."""
    name = re.sub(r"\W+", "-", request.node.nodeid.removeprefix("tests/browser/")).strip("-")
    return chromium.artifacts_directory(os.environ) / name


@pytest.fixture
def pages(
    browser: BrowserContext, ui: WebUI, artifacts: Path, request: pytest.FixtureRequest
) -> Iterator[DagsterPages]:
    """A tab on the web UI that must not meet an error."""
    opened = DagsterPages(page=browser.new_page(), url=ui.url)
    yield opened
    if request.node.stash.get(_FAILED, False) or opened.errors:
        opened.keep(artifacts)
        (artifacts / "servers.log").write_bytes(ui.log_path.read_bytes())
    opened.page.close()
    assert opened.errors == []
