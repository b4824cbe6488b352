"""What readers see: the published generation's vectors and the places their texts have.

Belongs here: reading for search, for checks and for the list of failures.
Does not belong here: the arithmetic of search (reader/search.py).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from embedding_assets.errors import IndexMissingError
from embedding_assets.model.filters import EVERYTHING, Filter
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.vectors import BadVector, find_bad_vectors
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import (
    has_failed,
    has_vector,
    in_lists,
    is_member,
    link,
    meets,
    members_of,
    spread,
)
from embedding_assets.store.database import Database, from_row
from embedding_assets.store.generations import select_generation

_BLOCK_ROWS = 8192

_VECTOR_SET = "embedding_assets.vector_set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a chunk's text stands: the first document that has it, by uri."""

    chunk_id: int
    uri: str
    title: str
    position: int
    section: str
    anchor: str
    page: int | None
    url: str  # that leads there; empty if nobody says
    metadata: Mapping[str, str | list[str]]  # of the document
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorBlock:
    """``matrix[i]`` is the vector of ``chunk_ids[i]``; float32, (rows, dimensions)."""

    chunk_ids: np.ndarray
    matrix: np.ndarray

    def by_chunk(self) -> dict[int, np.ndarray]:
        """Each vector under its chunk_id."""
        return dict(zip(self.chunk_ids.tolist(), self.matrix, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSet:
    """Which vectors a generation has: equal ones are the same rows of ``vectors``.

    A row is never changed: a vector is added, removed, or removed and bought again.
    """

    generation_id: int
    n_vectors: int
    rows_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A document or a chunk that is not in the index, and why."""

    kind: str  # "document" or "chunk"
    uri: str
    position: int | None = None  # this and the next two are a chunk's
    chunk_id: int | None = None
    error_code: str | None = None
    error_message: str
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """A generation's chunks, each looked at once, with or without a vector."""

    n_chunks: int
    n_vectors: int
    bad: tuple[BadVector, ...]  # would spoil a search
    silent: tuple[int, ...]  # chunk ids, ascending: neither a vector nor a failure


class PublishedView:
    """One consistent view of a generation as readers see it, for as long as it is open."""

    def __init__(self, connection: sa.Connection, generation: Generation) -> None:
        self._connection = connection
        self.generation = generation

    @property
    def spec(self) -> EmbeddingSpec:
        """The spec that a query's vector must have, too."""
        return self.generation.spec

    def examine(self) -> Examination:
        """What would spoil a search or is missing; every vector is read, a block at a time."""
        members = members_of(self.generation.generation_id)
        v, spec_id, chunk_id = t.vectors.c, self.generation.spec_id, members.c.chunk_id
        its_vector = sa.and_(v.spec_id == spec_id, v.chunk_id == chunk_id)
        is_silent = sa.case((v.chunk_id.is_(None), ~has_failed(spec_id, chunk_id)), else_=False)
        query = (
            # What is no BLOB at all is read as one, and found to be bad like any other.
            sa.select(chunk_id, sa.cast(v.vector, sa.LargeBinary), is_silent)
            .select_from(members.outerjoin(t.vectors, its_vector))
            .execution_options(yield_per=_BLOCK_ROWS)
        )
        n_chunks = n_vectors = 0
        bad: list[BadVector] = []
        silent: list[int] = []
        for rows in self._connection.execute(query).partitions():
            vectors = [(row[0], row[1]) for row in rows if row[1] is not None]
            n_chunks, n_vectors = n_chunks + len(rows), n_vectors + len(vectors)
            bad.extend(find_bad_vectors(vectors, spec_id=spec_id, dimensions=self.spec.dimensions))
            silent.extend(row[0] for row in rows if row[2])
        return Examination(
            n_chunks=n_chunks, n_vectors=n_vectors, bad=tuple(bad), silent=tuple(sorted(silent))
        )

    def earlier(self, generation: Generation) -> "PublishedView | None":
        """A view, of this same moment, of what was published before.

        None if it was removed since, or its vectors are not comparable with this one's.
        """
        found = select_generation(
            self._connection, t.generations.c.generation_id == generation.generation_id
        )
        served = (GenerationState.PUBLISHED, GenerationState.RETIRED)
        if found is None or found.state not in served or found.spec != self.spec:
            return None
        return PublishedView(self._connection, found)

    def vector_set(self) -> VectorSet:
        """Which vectors there are now; found out anew only if the file was written meanwhile."""
        # The version counts what other connections commit, the changes are this one's own.
        raw: Any = self._connection.connection.dbapi_connection
        version = self._connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        key = (self.generation.generation_id, version, raw.total_changes)
        known_key, known = self._connection.info.get(_VECTOR_SET, (None, None))
        if known is None or known_key != key:
            known = self._find_vector_set()
            self._connection.info[_VECTOR_SET] = (key, known)
        return known  # type: ignore[no-any-return]

    def _find_vector_set(self) -> VectorSet:
        members = members_of(self.generation.generation_id)
        v = t.vectors.c
        # Both numbers are in the index of the key: the vectors themselves are not read.
        row: sa.ColumnElement[str] = sa.literal_column("vectors.chunk_id || ':' || vectors.rowid")
        query = sa.select(sa.func.count(), sa.func.group_concat(row)).where(
            v.spec_id == self.generation.spec_id, v.chunk_id.in_(sa.select(members.c.chunk_id))
        )
        n_vectors, rows = self._connection.execute(query).one()
        return VectorSet(
            generation_id=self.generation.generation_id,
            n_vectors=n_vectors,
            rows_sha256=hashlib.sha256((rows or "").encode()).hexdigest(),
        )

    def vector_blocks(self) -> Iterator[VectorBlock]:
        """All vectors of the generation, each once, a block of rows at a time.

        Raises ValueError if a stored vector has the wrong length.
        """
        query = self._vectors().execution_options(yield_per=_BLOCK_ROWS)
        for rows in self._connection.execute(query).partitions():
            yield self._block(rows)

    def sample(self, n: int) -> VectorBlock:
        """``n`` vectors at the most, spread evenly over the generation."""
        query = self._vectors().order_by(spread(t.vectors.c.chunk_id)).limit(n)
        return self._block(self._connection.execute(query).all())

    def vectors_of(self, chunk_ids: Sequence[int]) -> VectorBlock:
        """The vectors of these chunks, of which there are not many, as far as there are any."""
        chunk_id = t.vectors.c.chunk_id
        query = self._of_spec().where(
            chunk_id.in_(chunk_ids), is_member(self.generation.generation_id, chunk_id)
        )
        return self._block(self._connection.execute(query).all())

    def _vectors(self) -> sa.Select[tuple[int, bytes]]:
        members = members_of(self.generation.generation_id)
        return self._of_spec().join(members, members.c.chunk_id == t.vectors.c.chunk_id)

    def _of_spec(self) -> sa.Select[tuple[int, bytes]]:
        v = t.vectors.c
        return sa.select(v.chunk_id, v.vector).where(v.spec_id == self.generation.spec_id)

    def _block(self, rows: Sequence[sa.Row[tuple[int, bytes]]]) -> VectorBlock:
        values = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f4")
        return VectorBlock(
            chunk_ids=np.fromiter((row.chunk_id for row in rows), np.int64, len(rows)),
            matrix=values.reshape(len(rows), self.spec.dimensions),
        )

    def chunk_ids(self, where: Filter) -> np.ndarray:
        """The chunks that stand in a place which is meant; int64, ascending."""
        dc = t.document_chunks.c
        query = (
            self._select_places(where, dc.chunk_id)
            .where(t.generation_documents.c.generation_id == self.generation.generation_id)
            .distinct()
            .order_by(dc.chunk_id)
        )
        return np.fromiter(self._connection.scalars(query), np.int64)

    def places(self, chunk_ids: Sequence[int], where: Filter = EVERYTHING) -> dict[int, Place]:
        """The first place of each of these chunks in the generation, of those that are meant."""
        gd, dc, d, c = t.generation_documents.c, t.document_chunks.c, t.documents.c, t.chunks.c
        # An expression, so that SQLite looks for the chunks instead of reading the generation.
        is_member = gd.generation_id + 0 == self.generation.generation_id
        query = (
            self._select_places(
                where,
                *(dc.chunk_id, d.uri, d.title, dc.position, dc.section, dc.anchor, dc.page),
                *(link().label("url"), sa.type_coerce(d.metadata, sa.JSON).label("metadata")),
                c.text,
            )
            .where(c.chunk_id == dc.chunk_id, is_member)
            .order_by(d.uri, dc.position)
        )
        found: dict[int, Place] = {}
        for wanted in in_lists(chunk_ids):
            for row in self._connection.execute(query.where(dc.chunk_id.in_(wanted))):
                found.setdefault(row.chunk_id, from_row(Place, row))
        return found

    def sample_places(self, n: int) -> list[Place]:
        """First places of ``n`` chunks at the most, spread evenly over the generation; by uri."""
        members = members_of(self.generation.generation_id)
        query = sa.select(members.c.chunk_id).order_by(spread(members.c.chunk_id)).limit(n)
        return list(self.places(self._connection.scalars(query).all()).values())

    def _select_places(self, where: Filter, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
        gd, dc, d, c = t.generation_documents.c, t.document_chunks.c, t.documents.c, t.chunks.c
        query = sa.select(*columns).where(
            d.document_id == gd.document_id,
            dc.document_id == gd.document_id,
            meets(where, _of_a_place()),
        )
        # Texts are most of the file: they are read only if somebody looks at them.
        return query.where(c.chunk_id == dc.chunk_id) if "text" in where.names else query


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

    @contextmanager
    def view_of(self, generation: Generation) -> Iterator[PublishedView]:
        """The same of a generation that is not published, or not any more."""
        with self._db.read() as connection:
            yield PublishedView(connection, generation)

    def failures(self, generation: Generation, where: Filter = EVERYTHING) -> list[Failure]:
        """Documents of a generation that could not be read, then its chunks without a vector.

        Of these, those that are meant. A document of which the last good version is kept is among
        them, with what is wrong now.
        """
        with self._db.read() as connection:
            return [
                *_failed_documents(connection, generation, where),
                *_failed_chunks(connection, generation, where),
            ]


def _of_a_document() -> dict[str, sa.ColumnElement[str]]:
    """What a filter finds under its own names."""
    d = t.documents.c
    return {"uri": d.uri, "url": d.url, "title": d.title}


def _of_a_place() -> dict[str, sa.ColumnElement[str]]:
    dc, c = t.document_chunks.c, t.chunks.c
    return {**_of_a_document(), "section": dc.section, "text": c.text}


def _failed_documents(
    connection: sa.Connection, generation: Generation, where: Filter
) -> Iterator[Failure]:
    gd, d = t.generation_documents.c, t.documents.c
    message = sa.func.coalesce(gd.error_message, d.error_message)  # of a kept version, else its own
    query = (
        sa.select(d.uri, message.label("error_message"))
        .join(t.generation_documents, gd.document_id == d.document_id)
        .where(
            gd.generation_id == generation.generation_id,
            message.is_not(None),
            meets(where, _of_a_document()),
        )
        .order_by(d.uri)
    )
    for row in connection.execute(query):
        yield Failure(kind="document", uri=row.uri, error_message=row.error_message)


def _failed_chunks(
    connection: sa.Connection, generation: Generation, where: Filter
) -> Iterator[Failure]:
    gd, dc, d, c = t.generation_documents.c, t.document_chunks.c, t.documents.c, t.chunks.c
    query = (
        sa.select(d.uri, dc.position, c.chunk_id, c.error_code, c.error_message, c.attempts)
        .join(t.document_chunks, dc.chunk_id == c.chunk_id)
        .join(t.documents, d.document_id == dc.document_id)
        .join(t.generation_documents, gd.document_id == d.document_id)
        .where(
            gd.generation_id == generation.generation_id,
            c.error_message.is_not(None),
            c.error_spec_id == generation.spec_id,
            ~has_vector(generation.spec_id),
            meets(where, _of_a_place()),
        )
        .order_by(d.uri, dc.position)
    )
    for row in connection.execute(query):
        yield from_row(Failure, row, kind="chunk")
