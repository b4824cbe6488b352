"""What the assets and sensors are given: the settings and the index.

Belongs here: a resource is its fields and one method that opens the plain object.
Does not belong here: anything done with that object.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

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


def build_resources(settings: Settings) -> dict[str, object]:
    """The resources by the names that assets and sensors ask for."""
    return {
        "settings": settings,
        "index": IndexResource(path=str(settings.index_path)),
    }
