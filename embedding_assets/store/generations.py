"""Queries on generations: their life from draft to published, what is missing, progress.

Belongs here: generations and the counts over their members. Does not belong here: documents and
chunks (documents.py), shards (shards.py), what readers see (published.py).
"""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from embedding_assets.errors import LedgerError, PublishingError
from embedding_assets.model.generations import Generation, GenerationState, Part, Progress
from embedding_assets.model.passages import Passage
from embedding_assets.model.shards import ShardState
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.settings.values import Limits
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import (
    has_vector,
    is_given_up,
    is_owed,
    is_pending,
    members_of,
    part_of,
)
from embedding_assets.store.database import Database, from_row

_FETCH_ROWS = 1000
_MAY_BE_PUBLISHED = (GenerationState.BUILDING, GenerationState.RETIRED)


class Generations:
    """Generations in one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def draft(self, *, month: str, spec: EmbeddingSpec, chunker: str, now: datetime) -> Generation:
        """Begin a new generation. Drafts that a crash left behind are given up."""
        with self._db.write() as connection:
            connection.execute(
                t.generations.update()
                .where(t.generations.c.state == GenerationState.DRAFT)
                .values(state=GenerationState.ABANDONED)
            )
            generation_id = connection.execute(
                t.generations.insert()
                .returning(t.generations.c.generation_id)
                .values(
                    month=month,
                    spec_id=_spec_id(connection, spec),
                    chunker=chunker,
                    state=GenerationState.DRAFT,
                    created_at=now,
                )
            ).scalar_one()
            return _one(connection, generation_id)

    def seal(self, draft: Generation) -> Generation:
        """The draft is whole: it becomes the one that is being built.

        What was being built before is abandoned, with those of its shards for which nothing is
        owed. Shards with a live or an uncollected job stay open: their vectors are paid for.
        Raises LedgerError if it is no draft any more.
        """
        g = t.generations.c
        members = members_of(draft.generation_id)
        with self._db.write() as connection:
            check_state(connection, draft, GenerationState.DRAFT)
            connection.execute(
                t.generations.update()
                .where(g.state == GenerationState.BUILDING)
                .values(state=GenerationState.ABANDONED)
            )
            _abandon_unowed_shards(connection)
            connection.execute(
                t.generations.update()
                .where(g.generation_id == draft.generation_id)
                .values(
                    state=GenerationState.BUILDING,
                    n_documents=_count_documents(draft.generation_id),
                    n_chunks=sa.select(sa.func.count()).select_from(members).scalar_subquery(),
                )
            )
            return _one(connection, draft.generation_id)

    def get(self, generation_id: int) -> Generation:
        """Raises PublishingError for an id that no generation has."""
        with self._db.read() as connection:
            return _one(connection, generation_id)

    def building(self) -> Generation | None:
        """The generation that is being built, if any."""
        return self._find(t.generations.c.state == GenerationState.BUILDING)

    def published(self) -> Generation | None:
        """The generation that readers see, if any."""
        return self._find(t.generations.c.state == GenerationState.PUBLISHED)

    def newest(self, month: str) -> Generation | None:
        """The month's newest generation that is whole: no draft, not abandoned, not removed."""
        hidden = (GenerationState.DRAFT, GenerationState.ABANDONED, GenerationState.REMOVED)
        return self._find(
            sa.and_(t.generations.c.month == month, t.generations.c.state.not_in(hidden))
        )

    def before(self, published: Generation) -> Generation | None:
        """The newest one older than this that was served and is still whole, if any."""
        return self._find(
            sa.and_(
                t.generations.c.state == GenerationState.RETIRED,
                t.generations.c.generation_id < published.generation_id,
            )
        )

    def builds_of(self, published: Generation) -> set[int]:
        """The ids of the builds that it took to publish this one.

        Itself, and those of its spec that were abandoned since one was served before it.
        """
        with self._db.read() as connection:
            return set(connection.scalars(select_builds(published)))

    def all(self) -> list[Generation]:
        """Every generation that was listed to its end, oldest first."""
        with self._db.read() as connection:
            return select_generations(connection, t.generations.c.state != GenerationState.DRAFT)

    def _find(self, condition: sa.ColumnElement[bool]) -> Generation | None:
        with self._db.read() as connection:
            return select_generation(connection, condition)

    def waiting_since(self) -> datetime | None:
        """Since when requests have been waiting for more of them; None if none are."""
        query = sa.select(t.meta.c.value).where(t.meta.c.name == t.WAITING_SINCE)
        with self._db.read() as connection:
            value = connection.scalar(query)
        return datetime.fromisoformat(value) if value else None

    def start_waiting(self, generation: Generation, *, now: datetime) -> None:
        """Requests wait for more of them from now on, if they have not been waiting before.

        Raises LedgerError if the generation that they are for is not being built any more.
        """
        values = {"name": t.WAITING_SINCE, "value": now.astimezone(UTC).isoformat()}
        with self._db.write() as connection:
            check_state(connection, generation, GenerationState.BUILDING)
            connection.execute(insert(t.meta).on_conflict_do_nothing(), values)

    def missing_chunks(
        self, generation: Generation, *, limits: Limits
    ) -> Iterator[tuple[int, Passage]]:
        """(chunk_id, passage) of the chunks to buy, in chunk_id order, streamed.

        Those are the chunks without a vector for the generation's spec that are neither in an
        open shard nor given up.
        """
        c = t.chunks.c
        members = members_of(generation.generation_id)
        query = (
            sa.select(c.chunk_id, c.text, c.path)
            .join(members, members.c.chunk_id == c.chunk_id)
            .where(
                ~has_vector(generation.spec_id),
                ~is_pending(generation.spec_id),
                ~is_given_up(generation.spec_id, limits.max_chunk_attempts),
            )
            .order_by(c.chunk_id)
            .execution_options(yield_per=_FETCH_ROWS)
        )
        with self._db.read() as connection:
            for row in connection.execute(query):
                yield row.chunk_id, from_row(Passage, row)

    def progress(self, generation: Generation, *, limits: Limits) -> Progress:
        """Where a generation stands, counted afresh."""
        members = members_of(generation.generation_id)
        spec_id = generation.spec_id
        part = part_of(spec_id, limits.max_chunk_attempts, pending=is_pending(spec_id))
        query = (
            sa.select(part, sa.func.count().label("n"))
            .select_from(t.chunks)
            .join(members, members.c.chunk_id == t.chunks.c.chunk_id)
            .group_by(part)
        )
        with self._db.read() as connection:
            parts = {Part(row.part): row.n for row in connection.execute(query)}
            n_documents = connection.scalar(sa.select(_count_documents(generation.generation_id)))
        return Progress.of(n_documents or 0, parts)

    def publish(self, generation: Generation, *, now: datetime) -> Generation:
        """Readers see this generation from now on; the one before is retired, not lost.

        It is the one being built, or one that was served before. Nothing changes if it is
        published already. Raises PublishingError if it is in another state than when it was read:
        its gates were judged for that one.
        """
        g = t.generations.c
        with self._db.write() as connection:
            found = _one(connection, generation.generation_id)
            if found.state is GenerationState.PUBLISHED:
                return found
            if found.state is not generation.state or found.state not in _MAY_BE_PUBLISHED:
                raise PublishingError(
                    f"generation {found.generation_id} cannot be served: it is {found.state} by "
                    f"now, not {generation.state}; see `embedding-assets generations`"
                )
            connection.execute(
                t.generations.update()
                .where(g.state == GenerationState.PUBLISHED)
                .values(state=GenerationState.RETIRED)
            )
            connection.execute(
                t.generations.update()
                .where(g.generation_id == found.generation_id)
                .values(state=GenerationState.PUBLISHED, published_at=now)
            )
            return _one(connection, found.generation_id)


def _spec_id(connection: sa.Connection, spec: EmbeddingSpec) -> int:
    connection.execute(insert(t.specs).on_conflict_do_nothing(), asdict(spec))
    return find_spec_id(connection, spec)


def find_spec_id(connection: sa.Connection, spec: EmbeddingSpec) -> int:
    """0 for a spec that no generation had."""
    return int(connection.scalar(sa.select(t.specs.c.spec_id).filter_by(**asdict(spec))) or 0)


def _abandon_unowed_shards(connection: sa.Connection) -> None:
    abandoned = sa.select(t.generations.c.generation_id).where(
        t.generations.c.state == GenerationState.ABANDONED
    )
    connection.execute(
        t.shards.update()
        .where(
            t.shards.c.state == ShardState.OPEN,
            t.shards.c.generation_id.in_(abandoned),
            ~is_owed(),
        )
        .values(state=ShardState.ABANDONED)
    )


def _count_documents(generation_id: int) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.count())
        .where(t.generation_documents.c.generation_id == generation_id)
        .scalar_subquery()
    )


def select_generation(
    connection: sa.Connection, condition: sa.ColumnElement[bool]
) -> Generation | None:
    """The newest generation that meets a condition, if any."""
    found = select_generations(connection, condition)
    return found[-1] if found else None


def select_generations(
    connection: sa.Connection, condition: sa.ColumnElement[bool]
) -> list[Generation]:
    """The generations that meet a condition, oldest first."""
    query = (
        sa.select(t.generations, t.specs)
        .join(t.specs, t.specs.c.spec_id == t.generations.c.spec_id)
        .where(condition)
        .order_by(t.generations.c.generation_id)
    )
    return [_generation(row) for row in connection.execute(query)]


def select_builds(published: Generation) -> sa.Select[tuple[int]]:
    """As ``Generations.builds_of``, for another query."""
    g, earlier = t.generations.c, t.generations.alias()
    served = (GenerationState.PUBLISHED, GenerationState.RETIRED, GenerationState.REMOVED)
    last_served = (
        sa.select(sa.func.coalesce(sa.func.max(earlier.c.generation_id), 0))
        .where(
            earlier.c.generation_id < published.generation_id,
            earlier.c.state.in_(served),
        )
        .scalar_subquery()
    )
    was_superseded = sa.and_(
        g.state == GenerationState.ABANDONED,
        g.spec_id == published.spec_id,
        g.generation_id > last_served,
        g.generation_id < published.generation_id,
    )
    is_itself = g.generation_id == published.generation_id
    return sa.select(g.generation_id).where(sa.or_(is_itself, was_superseded))


def _one(connection: sa.Connection, generation_id: int) -> Generation:
    found = select_generation(connection, t.generations.c.generation_id == generation_id)
    if found is None:
        raise PublishingError(f"generation {generation_id} does not exist")
    return found


def check_state(
    connection: sa.Connection, generation: Generation, expected: GenerationState
) -> None:
    """Raises LedgerError if the generation is in another state by now.

    A write that is in the same transaction then finds what it expects.
    """
    state = _one(connection, generation.generation_id).state
    if state is not expected:
        raise LedgerError(
            f"generation {generation.generation_id} of {generation.month} is {state} by now, not "
            f"{expected}: another run came in between; see `embedding-assets generations` for what "
            "is being built"
        )


def _generation(row: Any) -> Generation:
    spec = from_row(EmbeddingSpec, row)
    return from_row(Generation, row, spec=spec, state=GenerationState(row.state))
