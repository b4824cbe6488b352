"""What applications use: ``open_index``. It is loaded when it is asked for, and numpy with it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedding_assets.reader.reader import IndexReader, open_index

__all__ = ["IndexReader", "open_index"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from embedding_assets.reader import reader

    return getattr(reader, name)
