"""What the assets and sensors are given: the settings, the index, Gemini.

Belongs here: a resource is its fields and one method that opens the plain object.
Does not belong here: anything done with that object.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg

from embedding_assets.gemini.client import GeminiClient
from embedding_assets.gemini.connection import connect
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index, open_index


class IndexResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The SQLite index file."""

    path: str

    @property
    def exists(self) -> bool:
        """Whether anything was ever reindexed here; looking at it must not create the file."""
        return Path(self.path).exists()

    @contextmanager
    def open(self) -> Iterator[Index]:
        """The index, created if it is not there yet."""
        with open_index(Path(self.path), create=True) as index:
            yield index


class GeminiResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Gemini, or the emulator in its place. The key is read from the environment when needed."""

    base_url: str
    api_version: str
    timeout_s: float
    emulator_address_file: str

    @contextmanager
    def connected(self) -> Iterator[GeminiClient]:
        """A client. Raises SettingsError without a key and without a running emulator."""
        connection = connect(
            self.base_url, address_file=Path(self.emulator_address_file), environ=os.environ
        )
        client = GeminiClient(connection, api_version=self.api_version, timeout_s=self.timeout_s)
        with closing(client):
            yield client


def build_resources(settings: Settings) -> dict[str, object]:
    """The resources by the names that assets and sensors ask for."""
    return {
        "settings": settings,
        "index": IndexResource(path=str(settings.index_path)),
        "gemini": GeminiResource(
            base_url=settings.gemini.base_url,
            api_version=settings.gemini.api_version,
            timeout_s=settings.gemini.timeout_s,
            emulator_address_file=str(settings.emulator_address_file),
        ),
    }
