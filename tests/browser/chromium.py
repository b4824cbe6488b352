"""The browser: which one, and how it is started.

Belongs here: finding it, and what the tests ask of the machine's environment.
Does not belong here: what is looked at with it (pages.py).

The variables are not called EMBEDDING_ASSETS_…: those are settings, and a misspelt one is refused.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, sync_playwright

# The browser to take instead of the first of these on the PATH.
CHROMIUM_VARIABLE = "BROWSER_TESTS_CHROMIUM"
# If set, a missing browser is a failure: what should run everywhere must not be skipped silently.
REQUIRED_VARIABLE = "BROWSER_TESTS_REQUIRED"
# Where screenshots, pages and logs of failed tests go.
ARTIFACTS_VARIABLE = "BROWSER_TESTS_ARTIFACTS"

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # there is none for root, and nothing but our own pages is opened
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers often have little shared memory
    # Nothing is asked of the network.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find(environ: Mapping[str, str]) -> str | None:
    """The path of a browser, if there is one that starts."""
    named = environ.get(CHROMIUM_VARIABLE)
    names = (named,) if named else NAMES
    return next((path for path in map(shutil.which, names) if path and _starts(path)), None)


def _starts(executable: str) -> bool:
    # Ubuntu's package is a script that asks for another way to install it.
    asked = subprocess.run([executable, "--version"], capture_output=True, timeout=60, check=False)
    return asked.returncode == 0


def artifacts_directory(environ: Mapping[str, str]) -> Path:
    """``test-artifacts`` at the repository's root, if nothing else is said."""
    return Path(environ.get(ARTIFACTS_VARIABLE) or Path(__file__).parents[2] / "test-artifacts")


@contextmanager
def running(executable: str) -> Iterator[BrowserContext]:
    """A headless browser with a profile of its own, kept from tab to tab as a person's is."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        try:
            yield browser.new_context(viewport={"width": 1600, "height": 1000})
        finally:
            browser.close()
