"""Queries on documents and chunks: taking up what a build has read and split.

Belongs here: documents, chunks and their places. Does not belong here: the generations that they
are members of (generations.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from embedding_assets.corpus.chunks import Chunk
from embedding_assets.corpus.documents import Document
from embedding_assets.errors import LedgerError
from embedding_assets.model.generations import Generation, GenerationState, Part
from embedding_assets.model.passages import Passage
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.settings.values import Limits
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import in_lists, is_pending, outlives_build, part_of
from embedding_assets.store.database import Database
from embedding_assets.store.generations import check_state, find_spec_id

Version = tuple[str, str, str]  # of a document: its uri, its sha256, the chunker's fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitDocument:
    """A document and its chunks in order; None if the index knows this version already.

    Or if it cannot be used. ``chunker`` is the way in which it is cut.
    """

    document: Document
    chunker: str
    chunks: tuple[Chunk, ...] | None

    @property
    def version(self) -> Version:
        # The same bytes may be readable one day: that is another version then, because this one
        # belongs to generations that may be published without its chunks.
        chunker = self.chunker if self.document.is_usable else ""
        return (self.document.uri, self.document.sha256, chunker)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownChunk:
    """A text that the index has, and what it would be to a generation that is built now."""

    chunk_id: int
    part: Part


def distinct_passages(batch: Sequence[SplitDocument]) -> dict[bytes, Passage]:
    """Each passage once, by its sha256, in the order in which those that are new are numbered."""
    passages = (chunk.passage for item in batch for chunk in item.chunks or ())
    return {passage.sha256: passage for passage in passages}


class Documents:
    """Documents and chunks in one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def known_versions(self, documents: Sequence[Document]) -> set[Version]:
        """Of these documents, the versions that were split before."""
        with self._db.read() as connection:
            return set(_document_ids(connection, [document.uri for document in documents]))

    def known_chunks(
        self, digests: Sequence[bytes], *, spec: EmbeddingSpec, limits: Limits
    ) -> dict[bytes, KnownChunk]:
        """Of these passages, by sha256, those that the index has, as a new build would find them.

        What is planned and not sent is unplanned to it, because it abandons such shards.
        """
        known: dict[bytes, KnownChunk] = {}
        with self._db.read() as connection:
            spec_id = find_spec_id(connection, spec)
            pending = is_pending(spec_id, outlives_build())
            part = part_of(spec_id, limits.max_chunk_attempts, pending=pending)
            for wanted in in_lists(digests):
                query = sa.select(t.chunks.c.sha256, t.chunks.c.chunk_id, part).where(
                    t.chunks.c.sha256.in_(wanted)
                )
                for row in connection.execute(query):
                    known[row.sha256] = KnownChunk(chunk_id=row.chunk_id, part=Part(row.part))
        return known

    def last_chunk_id(self) -> int:
        """The newest chunk's id, 0 before the first; new texts get the ids after it."""
        with self._db.read() as connection:
            return int(connection.scalar(sa.select(sa.func.max(t.chunks.c.chunk_id))) or 0)

    def add(self, draft: Generation, batch: Sequence[SplitDocument]) -> None:
        """Make these documents, and chunks that are new, part of a draft; one transaction.

        Raises LedgerError if it is no draft any more, or if a version that was known to be split
        is not in the index any more.
        """
        with self._db.write() as connection:
            check_state(connection, draft, GenerationState.DRAFT)
            chunk_ids = _add_chunks(connection, distinct_passages(batch))
            document_ids = _add_documents(connection, batch)
            places = [
                {
                    "document_id": document_ids[item.version],
                    "position": position,
                    "chunk_id": chunk_ids[chunk.passage.sha256],
                    "section": chunk.section,
                    "anchor": chunk.anchor,
                    "page": chunk.page,
                }
                for item in batch
                for position, chunk in enumerate(item.chunks or ())
            ]
            members = [
                {
                    "generation_id": draft.generation_id,
                    "document_id": document_ids[item.version],
                    "error_message": item.document.error_message if item.document.is_kept else None,
                }
                for item in batch
            ]
            _insert_new(connection, t.document_chunks, places)
            _insert_new(connection, t.generation_documents, members)


_INSERT_CHUNK = insert(t.chunks)
_ADD_CHUNK = _INSERT_CHUNK.on_conflict_do_update(
    index_elements=["sha256"],
    # Nobody needed it for so long that its text was forgotten.
    set_={"text": _INSERT_CHUNK.excluded.text, "path": _INSERT_CHUNK.excluded.path},
    where=t.chunks.c.text == "",
)


def _add_chunks(connection: sa.Connection, passages: dict[bytes, Passage]) -> dict[bytes, int]:
    """Insert the passages that are new; the chunk_id of every one by its sha256."""
    if not passages:
        return {}
    connection.execute(
        _ADD_CHUNK,
        [
            {"sha256": sha256, "path": each.path, "text": each.text, "n_chars": len(each.text)}
            for sha256, each in passages.items()
        ],
    )
    c = t.chunks.c
    chunk_ids: dict[bytes, int] = {}
    for digests in in_lists(list(passages)):
        query = sa.select(c.sha256, c.chunk_id).where(c.sha256.in_(digests))
        chunk_ids.update({row.sha256: row.chunk_id for row in connection.execute(query)})
    return chunk_ids


_INSERT_DOCUMENT = insert(t.documents)
_UPSERT_DOCUMENT = _INSERT_DOCUMENT.on_conflict_do_update(
    index_elements=["uri", "sha256", "chunker"],
    # A document may be unusable for another reason than last time.
    set_={
        name: _INSERT_DOCUMENT.excluded[name]
        for name in ("title", "media_type", "n_bytes", "url", "metadata", "error_message")
    },
)


def _add_documents(connection: sa.Connection, batch: Sequence[SplitDocument]) -> dict[Version, int]:
    """Insert the versions that are new; the document_id of every one."""
    is_known = [item.document.is_usable and item.chunks is None for item in batch]
    if new := [_row(item) for item, known in zip(batch, is_known, strict=True) if not known]:
        connection.execute(_UPSERT_DOCUMENT, new)
    ids = _document_ids(connection, [item.document.uri for item in batch])
    for item in batch:
        if item.version not in ids:
            raise LedgerError(
                f"this version of {item.document.uri!r} was removed from the index just now; "
                "materialize chunks again"
            )
    return ids


def _row(item: SplitDocument) -> dict[str, Any]:
    uri, sha256, chunker = item.version
    document = item.document
    return {
        "uri": uri,
        "sha256": sha256,
        "chunker": chunker,
        "title": document.title,
        "media_type": document.media_type,
        "n_bytes": document.n_bytes,
        "url": document.url,
        "metadata": document.metadata,
        # The error of a version that is kept belongs to the generations that keep it.
        "error_message": None if document.is_usable else document.error_message,
    }


def _document_ids(connection: sa.Connection, uris: Sequence[str]) -> dict[Version, int]:
    d = t.documents.c
    found: dict[Version, int] = {}
    for some in in_lists(uris):
        query = sa.select(d.uri, d.sha256, d.chunker, d.document_id).where(d.uri.in_(some))
        found.update({(row[0], row[1], row[2]): row[3] for row in connection.execute(query)})
    return found


def _insert_new(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table).on_conflict_do_nothing(), rows)
