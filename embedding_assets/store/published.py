"""What readers see: the published generation's vectors and the places their texts have.

Belongs here: reading for search, for checks and for the list of failures.
Does not belong here: the arithmetic of search (search.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from embedding_assets.errors import IndexMissingError
from embedding_assets.generations import Generation, GenerationState
from embedding_assets.specs import EmbeddingSpec
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import members_of
from embedding_assets.store.database import Database
from embedding_assets.store.generations import select_generation

_BLOCK_ROWS = 8192
_IN_LIST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a chunk's text stands: the first document that has it, by uri."""

    chunk_id: int
    uri: str
    title: str
    position: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorBlock:
    """``matrix[i]`` is the vector of ``chunk_ids[i]``; float32, (rows, dimensions)."""

    chunk_ids: np.ndarray
    matrix: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A document or a chunk that is not in the index, and why."""

    kind: str  # "document" or "chunk"
    uri: str
    position: int | None
    chunk_id: int | None
    error_code: str | None
    error_message: str
    attempts: int


class PublishedView:
    """One consistent view of the published generation, for as long as it is open."""

    def __init__(self, connection: sa.Connection, generation: Generation) -> None:
        self._connection = connection
        self.generation = generation

    @property
    def spec(self) -> EmbeddingSpec:
        """The spec that a query's vector must have, too."""
        return self.generation.spec

    def count_chunks(self) -> int:
        """Distinct chunks of the generation, with or without a vector."""
        members = members_of(self.generation.generation_id)
        return int(self._connection.scalar(sa.select(sa.func.count()).select_from(members)) or 0)

    def vector_blocks(self) -> Iterator[VectorBlock]:
        """All vectors of the generation, each once, a block of rows at a time.

        Raises ValueError if a stored vector has the wrong length.
        """
        members = members_of(self.generation.generation_id)
        v = t.vectors.c
        query = (
            sa.select(v.chunk_id, v.vector)
            .join(members, members.c.chunk_id == v.chunk_id)
            .where(v.spec_id == self.generation.spec_id)
            .execution_options(yield_per=_BLOCK_ROWS)
        )
        for rows in self._connection.execute(query).partitions():
            values = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f4")
            yield VectorBlock(
                chunk_ids=np.fromiter((row.chunk_id for row in rows), np.int64, len(rows)),
                matrix=values.reshape(len(rows), self.spec.dimensions),
            )

    def places(self, chunk_ids: Sequence[int]) -> dict[int, Place]:
        """The first place of each of these chunks in the generation."""
        gd, dc, d, c = (
            t.generation_documents.c,
            t.document_chunks.c,
            t.documents.c,
            t.chunks.c,
        )
        query = (
            sa.select(dc.chunk_id, d.uri, d.title, dc.position, c.text)
            .join(t.documents, d.document_id == dc.document_id)
            .join(t.generation_documents, gd.document_id == dc.document_id)
            .join(t.chunks, c.chunk_id == dc.chunk_id)
            .where(gd.generation_id == self.generation.generation_id)
            .order_by(d.uri, dc.position)
        )
        found: dict[int, Place] = {}
        for start in range(0, len(chunk_ids), _IN_LIST):
            wanted = list(chunk_ids[start : start + _IN_LIST])
            for row in self._connection.execute(query.where(dc.chunk_id.in_(wanted))):
                found.setdefault(row.chunk_id, Place(**row._mapping))
        return found


class Published:
    """The published side of one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @contextmanager
    def view(self) -> Iterator[PublishedView]:
        """Everything read inside the block belongs to one generation.

        Raises IndexMissingError if nothing is published.
        """
        with self._db.read() as connection:
            generation = select_generation(
                connection, t.generations.c.state == GenerationState.PUBLISHED
            )
            if generation is None:
                raise IndexMissingError(
                    f"nothing is published in {str(self._db.path)!r} yet; "
                    "run `embedding-assets reindex` first"
                )
            yield PublishedView(connection, generation)

    def failures(self, generation: Generation) -> list[Failure]:
        """Documents of a generation that could not be used, then its chunks without a vector."""
        with self._db.read() as connection:
            return [
                *_failed_documents(connection, generation),
                *_failed_chunks(connection, generation),
            ]


def _failed_documents(connection: sa.Connection, generation: Generation) -> Iterator[Failure]:
    gd, d = t.generation_documents.c, t.documents.c
    query = (
        sa.select(d.uri, d.error_message)
        .join(t.generation_documents, gd.document_id == d.document_id)
        .where(gd.generation_id == generation.generation_id, d.error_message.is_not(None))
        .order_by(d.uri)
    )
    for row in connection.execute(query):
        yield Failure(
            kind="document",
            uri=row.uri,
            position=None,
            chunk_id=None,
            error_code=None,
            error_message=row.error_message,
            attempts=0,
        )


def _failed_chunks(connection: sa.Connection, generation: Generation) -> Iterator[Failure]:
    gd, dc, d, c = t.generation_documents.c, t.document_chunks.c, t.documents.c, t.chunks.c
    has_vector = sa.exists().where(
        t.vectors.c.spec_id == generation.spec_id, t.vectors.c.chunk_id == c.chunk_id
    )
    query = (
        sa.select(d.uri, dc.position, c.chunk_id, c.error_code, c.error_message, c.attempts)
        .join(t.document_chunks, dc.chunk_id == c.chunk_id)
        .join(t.documents, d.document_id == dc.document_id)
        .join(t.generation_documents, gd.document_id == d.document_id)
        .where(
            gd.generation_id == generation.generation_id,
            c.error_message.is_not(None),
            c.error_spec_id == generation.spec_id,
            ~has_vector,
        )
        .order_by(d.uri, dc.position)
    )
    for row in connection.execute(query):
        yield Failure(kind="chunk", **row._mapping)
