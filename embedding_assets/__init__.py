"""What applications and sources of documents use. It is loaded when it is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedding_assets.corpus.given import SourceDocument
    from embedding_assets.reader.reader import IndexReader, open_index

__all__ = ["IndexReader", "SourceDocument", "open_index"]

_MODULES = {
    "IndexReader": "embedding_assets.reader.reader",
    "SourceDocument": "embedding_assets.corpus.given",
    "open_index": "embedding_assets.reader.reader",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
