"""Queries of the doctor: what in the file contradicts itself, and the repairs that are safe.

Belongs here: reading for doctor/, and each repair as one transaction that is safe to repeat.
Does not belong here: judging what was read (doctor/).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from embedding_assets.errors import DatabaseDamagedError
from embedding_assets.model.batch_jobs import OWED_STATES, BatchJob, JobState
from embedding_assets.model.generations import KEPT_STATES, GenerationState
from embedding_assets.model.passages import Passage
from embedding_assets.model.results import BAD_VECTOR, UNUSABLE_CODES
from embedding_assets.model.shards import ShardState
from embedding_assets.model.vectors import BadVector, find_bad_vectors
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import has_failed, has_vector, is_cut, members_of
from embedding_assets.store.database import Database, from_row
from embedding_assets.store.generations import select_generation
from embedding_assets.store.jobs import select_jobs

_BLOCK_ROWS = 2048  # of 12 KB at the most
_kept = t.generations.alias("kept")
_STATES = (
    (t.batch_jobs, JobState),
    (t.generations, GenerationState),
    (t.shards, ShardState),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenReferences:
    """Rows of ``table`` that refer to rows of ``parent`` that are not there."""

    table: str
    parent: str
    n_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownState:
    """A state that this version does not know, and how many rows have it."""

    table: str
    state: str
    n_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """All that the index says of one shard; its attempts oldest first."""

    key: str
    state: ShardState
    n_requests: int  # as planned
    n_rows: int  # as counted
    n_pending: int
    n_without_vector: int  # count as embedded, but there is no vector
    n_unbilled: int  # count as embedded, and no tokens were paid for them
    n_unusable: int  # brought nothing that could be used, and there still is no vector
    jobs: tuple[BatchJob, ...]

    @property
    def may_be_owed(self) -> bool:
        """An attempt may have a job at Gemini, or an answer that is not in the index yet."""
        return any(job.state in OWED_STATES for job in self.jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRecord:
    """What readers see, as it was recorded and as it is counted now."""

    month: str
    n_documents_recorded: int
    n_documents: int
    n_chunks_recorded: int
    n_chunks: int
    n_lost: int  # neither a vector nor a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTexts:
    """Texts of the published generation that reach the model's input limit."""

    n_chunks: int
    uri: str  # the first document that has one
    model: str
    max_tokens: int


class Checkup:
    """The doctor's view of one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # --- reading ----------------------------------------------------------------------------

    def integrity_problems(self) -> list[str]:
        """What SQLite says of the file; nothing if it is sound."""
        try:
            with self._db.read() as connection:
                lines = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        except DatabaseDamagedError as exc:
            return [str(exc)]
        return [str(line) for line in lines if line != "ok"]

    def broken_references(self) -> list[BrokenReferences]:
        """Rows that refer to nothing, counted by the two tables."""
        with self._db.read() as connection:
            rows = connection.exec_driver_sql("PRAGMA foreign_key_check")
            counts = Counter((row.table, row.parent) for row in rows)
        return [
            BrokenReferences(table=table, parent=parent, n_rows=n_rows)
            for (table, parent), n_rows in sorted(counts.items())
        ]

    def unknown_states(self) -> list[UnknownState]:
        """States of jobs, generations and shards that this version does not know."""
        with self._db.read() as connection:
            return [
                UnknownState(table=table.name, state=row.state, n_rows=row.n)
                for table, states in _STATES
                for row in connection.execute(
                    sa.select(table.c.state, sa.func.count().label("n"))
                    .where(table.c.state.not_in(list(states)))
                    .group_by(table.c.state)
                )
            ]

    def shards(self) -> list[ShardRecord]:
        """Every shard with its counts and its attempts, in the order of planning.

        Those in a state that is not known are left out.
        """
        with self._db.read() as connection:
            jobs = select_jobs(connection, t.batch_jobs.c.state.in_(list(JobState)))
            by_shard: dict[int, list[BatchJob]] = {}
            for job in jobs:
                by_shard.setdefault(job.shard_id, []).append(job)
            return [
                from_row(
                    ShardRecord,
                    row,
                    state=ShardState(row.state),
                    jobs=tuple(by_shard.get(row.shard_id, ())),
                )
                for row in connection.execute(_SHARD_COUNTS)
            ]

    def count_embedded_failures(self) -> int:
        """Chunks that count as failed for a spec although their vector for it is there."""
        query = sa.select(sa.func.count()).select_from(t.chunks).where(_HAS_FAILED_VECTOR)
        with self._db.read() as connection:
            return int(connection.scalar(query) or 0)

    def bad_vectors(self) -> list[BadVector]:
        """All vectors that must not be served; every vector is read, a block at a time."""
        with self._db.read() as connection:
            return list(_bad_vectors(connection))

    def published(self) -> PublishedRecord | None:
        """What readers see, counted afresh; None if nothing is published."""
        with self._db.read() as connection:
            generation = select_generation(
                connection, t.generations.c.state == GenerationState.PUBLISHED
            )
            if generation is None:
                return None
            gd = t.generation_documents.c
            members = members_of(generation.generation_id)
            is_lost = sa.and_(
                ~has_vector(generation.spec_id, members.c.chunk_id),
                ~has_failed(generation.spec_id, members.c.chunk_id),
            )
            count = sa.select(sa.func.count())
            return PublishedRecord(
                month=generation.month,
                n_documents_recorded=generation.n_documents,
                n_documents=connection.scalar(
                    count.where(gd.generation_id == generation.generation_id)
                )
                or 0,
                n_chunks_recorded=generation.n_chunks,
                n_chunks=connection.scalar(count.select_from(members)) or 0,
                n_lost=connection.scalar(count.select_from(members).where(is_lost)) or 0,
            )

    def unbilled(self, shard_key: str) -> list[tuple[int, Passage]]:
        """(chunk_id, passage) of a shard's requests that are embedded and count no tokens."""
        query = (
            sa.select(t.chunks.c.chunk_id, t.chunks.c.text, t.chunks.c.path)
            .join(t.requests, t.requests.c.chunk_id == t.chunks.c.chunk_id)
            .join(t.shards, t.shards.c.shard_id == t.requests.c.shard_id)
            .where(t.shards.c.key == shard_key, _IS_UNBILLED)
        )
        with self._db.read() as connection:
            return [(row.chunk_id, from_row(Passage, row)) for row in connection.execute(query)]

    def cut_texts(self) -> CutTexts | None:
        """What of the published texts was probably not read to its end; None if all was."""
        r, s, d = t.requests.c, t.shards.c, t.documents.c
        gd, dc = t.generation_documents.c, t.document_chunks.c
        with self._db.read() as connection:
            published = select_generation(
                connection, t.generations.c.state == GenerationState.PUBLISHED
            )
            if published is None or published.spec.max_input_tokens is None:
                return None
            bought = sa.select(t.generations.c.generation_id).where(
                t.generations.c.spec_id == published.spec_id
            )
            query = (
                sa.select(
                    sa.func.count(dc.chunk_id.distinct()).label("n_chunks"),
                    sa.func.min(d.uri).label("uri"),
                )
                .select_from(t.requests)
                .join(t.shards, s.shard_id == r.shard_id)
                .join(t.document_chunks, dc.chunk_id == r.chunk_id)
                .join(t.documents, d.document_id == dc.document_id)
                .join(t.generation_documents, gd.document_id == d.document_id)
                .where(
                    gd.generation_id == published.generation_id,
                    s.generation_id.in_(bought),
                    is_cut(published.spec),
                )
            )
            row = connection.execute(query).one()
        if not row.n_chunks:
            return None
        spec, limit = published.spec, published.spec.max_input_tokens
        return from_row(CutTexts, row, model=spec.model, max_tokens=limit)

    # --- repairing --------------------------------------------------------------------------

    def count_by_estimate(self, shard_key: str, tokens: Mapping[int, int]) -> int:
        """Bill these chunks of a shard if they still count nothing; how many it were."""
        of_shard = sa.select(t.shards.c.shard_id).where(t.shards.c.key == shard_key)
        with self._db.write() as connection:
            return sum(
                connection.execute(
                    t.requests.update()
                    .where(
                        t.requests.c.shard_id.in_(of_shard),
                        t.requests.c.chunk_id == chunk_id,
                        _IS_UNBILLED,
                    )
                    .values(billed_tokens=n_tokens, is_estimated=True)
                ).rowcount
                for chunk_id, n_tokens in tokens.items()
            )

    def settle(self, shard_key: str) -> bool:
        """Close an open shard if nothing is pending and nothing owed; whether it was closed."""
        s = t.shards.c
        is_pending = sa.exists().where(
            t.requests.c.shard_id == s.shard_id, t.requests.c.outcome == "pending"
        )
        may_be_owed = sa.exists().where(
            t.batch_jobs.c.shard_id == s.shard_id,
            t.batch_jobs.c.state.in_(OWED_STATES),
        )
        with self._db.write() as connection:
            settled = connection.execute(
                t.shards.update()
                .where(s.key == shard_key, s.state == ShardState.OPEN, ~is_pending, ~may_be_owed)
                .values(state=ShardState.SETTLED)
            )
        return settled.rowcount == 1

    def clear_embedded_failures(self) -> int:
        """Forget the failures of chunks whose vector is there; how many there were."""
        with self._db.write() as connection:
            cleared = connection.execute(
                t.chunks.update()
                .where(_HAS_FAILED_VECTOR)
                .values(error_spec_id=None, error_code=None, error_message=None, attempts=0)
            )
        return cleared.rowcount

    def remove_vectors(self, vectors: Sequence[BadVector]) -> int:
        """Take vectors out, with the reason on their requests and chunks; how many there were.

        A removal is no attempt: the texts are planned again, whatever the limit on attempts.
        """
        with self._db.write() as connection:
            return sum(_remove_vector(connection, bad) for bad in vectors)


_HAS_FAILED_VECTOR = has_vector(t.chunks.c.error_spec_id, t.chunks.c.chunk_id)


def _count_if(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.count(sa.case((condition, 1)))


# Retention took the vector: nobody needs the text, or any vector of its spec, any more.
_WAS_FORGOTTEN = sa.or_(
    sa.exists().where(t.chunks.c.chunk_id == t.requests.c.chunk_id, t.chunks.c.text == ""),
    t.generations.c.spec_id.not_in(
        sa.select(_kept.c.spec_id).where(_kept.c.state.in_(KEPT_STATES))
    ),
)
_IS_UNBILLED = sa.and_(t.requests.c.outcome == "embedded", t.requests.c.billed_tokens == 0)

_SHARD_COUNTS = (
    sa.select(
        t.shards.c.shard_id,
        t.shards.c.key,
        t.shards.c.state,
        t.shards.c.n_requests,
        sa.func.count(t.requests.c.chunk_id).label("n_rows"),
        _count_if(t.requests.c.outcome == "pending").label("n_pending"),
        _count_if(
            sa.and_(
                t.requests.c.outcome == "embedded", t.vectors.c.chunk_id.is_(None), ~_WAS_FORGOTTEN
            )
        ).label("n_without_vector"),
        _count_if(_IS_UNBILLED).label("n_unbilled"),
        _count_if(
            sa.and_(
                t.requests.c.outcome == "failed",
                t.requests.c.error_code.in_(sorted(UNUSABLE_CODES)),
                t.vectors.c.chunk_id.is_(None),
            )
        ).label("n_unusable"),
    )
    .join(t.generations, t.generations.c.generation_id == t.shards.c.generation_id)
    .outerjoin(t.requests, t.requests.c.shard_id == t.shards.c.shard_id)
    .outerjoin(
        t.vectors,
        sa.and_(
            t.vectors.c.spec_id == t.generations.c.spec_id,
            t.vectors.c.chunk_id == t.requests.c.chunk_id,
        ),
    )
    .where(t.shards.c.state.in_(list(ShardState)))
    .group_by(t.shards.c.shard_id)
    .order_by(t.shards.c.shard_id)
)


def _bad_vectors(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool]
) -> Iterator[BadVector]:
    v, spec = t.vectors.c, t.specs.c
    # What is no BLOB at all is read as one, and found to be bad like any other.
    vectors = sa.select(v.chunk_id, sa.cast(v.vector, sa.LargeBinary)).where(*conditions)
    for spec_id, dimensions in connection.execute(sa.select(spec.spec_id, spec.dimensions)).all():
        query = vectors.where(v.spec_id == spec_id).execution_options(yield_per=_BLOCK_ROWS)
        for rows in connection.execute(query).partitions():
            pairs = [(row[0], row[1]) for row in rows]
            yield from find_bad_vectors(pairs, spec_id=spec_id, dimensions=dimensions)


def _remove_vector(connection: sa.Connection, bad: BadVector) -> int:
    v, r, c = t.vectors.c, t.requests.c, t.chunks.c
    is_meant = sa.and_(v.spec_id == bad.spec_id, v.chunk_id == bad.chunk_id)
    if not list(_bad_vectors(connection, is_meant)):
        return 0  # another one was bought meanwhile
    connection.execute(t.vectors.delete().where(is_meant))
    values = {"error_code": BAD_VECTOR, "error_message": f"the stored vector was bad: {bad.flaw}"}
    of_spec = (
        sa.select(t.shards.c.shard_id)
        .join(t.generations, t.generations.c.generation_id == t.shards.c.generation_id)
        .where(t.generations.c.spec_id == bad.spec_id)
    )
    connection.execute(
        t.requests.update()
        .where(r.chunk_id == bad.chunk_id, r.outcome == "embedded", r.shard_id.in_(of_spec))
        .values(outcome="failed", **values)
    )
    # A failure for another spec stays: its attempts count.
    connection.execute(
        t.chunks.update()
        .where(c.chunk_id == bad.chunk_id, c.error_message.is_(None))
        .values(error_spec_id=bad.spec_id, attempts=0, **values)
    )
    return 1
