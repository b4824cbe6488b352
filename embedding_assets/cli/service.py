"""What a command needs: an index that can be used, and Gemini or the emulator in its place.

Belongs here: looking before anything is started, a client for as long as a command lasts.
Does not belong here: starting processes (processes.py) and what is asked of Gemini.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from embedding_assets.cli.console import note
from embedding_assets.cli.processes import emulator
from embedding_assets.errors import IndexMissingError
from embedding_assets.gemini.connection import check_key, provider_of
from embedding_assets.settings.values import EMULATOR_BASE_URL, Settings

if TYPE_CHECKING:
    from embedding_assets.gemini.client import GeminiClient


def check_index(settings: Settings) -> None:
    """Raises what is wrong with the index before a command starts anything; none is no harm."""
    from embedding_assets.store.index import open_index

    with suppress(IndexMissingError), open_index(settings.index_path) as index:
        index.generations.published()  # to open it takes no more than its first page


@contextmanager
def gemini(settings: Settings, *, why: str = "") -> Iterator["GeminiClient"]:
    """A client of whoever answers by these settings; ``why`` as for the emulator."""
    from embedding_assets.gemini.client import open_client

    with emulator_if_needed(settings, why=why), open_client(settings) as client:
        yield client


@contextmanager
def emulator_if_needed(settings: Settings, *, why: str = "") -> Iterator[None]:
    """Start the built-in emulator for a command that would otherwise have nobody to talk to.

    ``why`` is told to people, if it is neither for want of a key nor because the settings say so.
    Raises SettingsError if somebody else is to be talked to, and the key is missing or odd.
    """
    base_url = settings.gemini.base_url
    check_key(base_url, os.environ)
    is_built_in = base_url in ("", EMULATOR_BASE_URL)
    if not is_built_in or provider_of(base_url, os.environ) != "emulator":
        yield
        return
    with emulator(settings) as address:
        usual = "as the settings say" if base_url else "GEMINI_API_KEY is not set"
        note(f"using the built-in emulator at {address} ({why or usual}); nothing is charged")
        yield
