"""Files of all kinds, each with what a reader would want of it, written by hand beside it.

``tests/kinds/NAME`` is a file, ``tests/kinds/NAME.toml`` says what becomes of it: title, metadata,
remark, members and chunks, or the error. What is not said must be empty.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.corpus.chunks import Chunk, Chunker
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.corpus.kinds import DOCUMENTS_EXTRA, KINDS, Kind, kind_of_name
from embedding_assets.errors import DocumentError
from embedding_assets.settings.values import KindGroup

FOLDER = Path(__file__).parent.parent / "kinds"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix != ".toml")
CHUNKER = Chunker(max_chars=500, max_tokens=2048)


def said(chunk: Chunk) -> dict[str, Any]:
    """All that is kept of a chunk, without what is empty."""
    facts = {
        "path": chunk.passage.path,
        "section": chunk.section,
        "anchor": chunk.anchor,
        "page": chunk.page,
        "text": chunk.passage.text,
    }
    return {name: value for name, value in facts.items() if value}


def read(path: Path) -> dict[str, Any]:
    """All that becomes of a file, without what is empty."""
    kind = kind_of_name(path.name)
    assert kind is not None
    try:
        found = Extraction().extract(path.read_bytes(), kind.media_type, fallback_title=path.stem)
    except DocumentError as exc:
        return {"error": str(exc)}
    chunks = CHUNKER.split(found.title, found.text, found.blocks) if found.text else []
    facts = {
        "title": found.title,
        "remark": found.remark,
        "metadata": found.metadata,
        "members": [{"name": m.name, "media_type": m.media_type} for m in found.members],
        "chunks": [said(chunk) for chunk in chunks],
    }
    return {name: value for name, value in facts.items() if value}


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_a_file_becomes_what_a_reader_would_want_of_it(path: Path) -> None:
    """Title, metadata, remark, files in it, and every chunk with its place."""
    expected = tomllib.loads(path.with_name(f"{path.name}.toml").read_text(encoding="utf-8"))
    assert read(path) == expected


def test_every_kind_has_a_file() -> None:
    """And so does every suffix that is read in a way of its own."""
    there = {kind.media_type for path in FILES if (kind := kind_of_name(path.name))}
    assert there == {kind.media_type for kind in KINDS}


def test_a_kind_whose_extra_is_not_there_names_it() -> None:
    """And what to install."""
    kind = Kind(
        media_type="application/x-missing",
        suffixes=(".missing",),
        group=KindGroup.OFFICE,
        distribution="no-such-library",
        extra=DOCUMENTS_EXTRA,
    )

    assert not kind.is_installed
    message = r"^reading it needs `pip install 'embedding-assets\[documents\]'`$"
    with pytest.raises(DocumentError, match=message):
        kind.check_installed()
