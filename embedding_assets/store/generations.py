"""Queries on generations: their life from draft to published, what is missing, progress.

Belongs here: generations and the counts over their members. Does not belong here: documents and
chunks (documents.py), shards (shards.py), what readers see (published.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from embedding_assets.corpus.chunks import chunk_sha256
from embedding_assets.corpus.documents import Document
from embedding_assets.errors import PublishingError
from embedding_assets.model.generations import Generation, GenerationState, Part, Progress
from embedding_assets.model.shards import ShardState
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import (
    has_vector,
    in_lists,
    is_given_up,
    is_owed,
    is_pending,
    members_of,
    outlives_build,
    part_of,
)
from embedding_assets.store.database import Database
from embedding_assets.store.documents import (
    SplitDocument,
    Version,
    add_chunks,
    add_documents,
    add_places,
    document_ids,
    insert_new,
)

_FETCH_ROWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownChunk:
    """A text that the index has, and what it would be to a generation that is built now."""

    chunk_id: int
    part: Part


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

    def known_versions(self, documents: Sequence[Document]) -> set[Version]:
        """Of these documents, the versions that were split before."""
        with self._db.read() as connection:
            return set(document_ids(connection, [document.uri for document in documents]))

    def add_documents(self, generation: Generation, batch: Sequence[SplitDocument]) -> None:
        """Make these documents, and chunks that are new, part of a draft; one transaction.

        Raises LedgerError if a version that was known to be split is not in the index any more.
        """
        with self._db.write() as connection:
            texts = {chunk_sha256(text): text for item in batch for text in item.texts or ()}
            chunk_ids = add_chunks(connection, texts)
            document_ids = add_documents(connection, batch)
            add_places(connection, batch, document_ids, chunk_ids)
            members = [
                {
                    "generation_id": generation.generation_id,
                    "document_id": document_ids[item.version],
                    "error_message": item.document.error_message if item.document.is_kept else None,
                }
                for item in batch
            ]
            insert_new(connection, t.generation_documents, members)

    def seal(self, generation: Generation) -> Generation:
        """The draft is whole: it becomes the one that is being built.

        What was being built before is abandoned, with those of its shards for which nothing is
        owed. Shards with a live or an uncollected job stay open: their vectors are paid for.
        """
        g = t.generations.c
        members = members_of(generation.generation_id)
        with self._db.write() as connection:
            connection.execute(
                t.generations.update()
                .where(g.state == GenerationState.BUILDING)
                .values(state=GenerationState.ABANDONED)
            )
            _abandon_unowed_shards(connection)
            connection.execute(
                t.generations.update()
                .where(g.generation_id == generation.generation_id)
                .values(
                    state=GenerationState.BUILDING,
                    n_documents=_count_documents(generation.generation_id),
                    n_chunks=sa.select(sa.func.count()).select_from(members).scalar_subquery(),
                )
            )
            return _one(connection, generation.generation_id)

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

    def start_waiting(self, *, now: datetime) -> None:
        """Requests wait for more of them from now on, if they have not been waiting before."""
        values = {"name": t.WAITING_SINCE, "value": now.astimezone(UTC).isoformat()}
        with self._db.write() as connection:
            connection.execute(insert(t.meta).on_conflict_do_nothing(), values)

    def missing_chunks(
        self, generation: Generation, *, max_chunk_attempts: int
    ) -> Iterator[tuple[int, str]]:
        """(chunk_id, text) of the chunks to buy, in chunk_id order, streamed.

        Those are the chunks without a vector for the generation's spec that are neither in an
        open shard nor given up.
        """
        c = t.chunks.c
        members = members_of(generation.generation_id)
        query = (
            sa.select(c.chunk_id, c.text)
            .join(members, members.c.chunk_id == c.chunk_id)
            .where(
                ~has_vector(generation.spec_id),
                ~is_pending(generation.spec_id),
                ~is_given_up(generation.spec_id, max_chunk_attempts),
            )
            .order_by(c.chunk_id)
            .execution_options(yield_per=_FETCH_ROWS)
        )
        with self._db.read() as connection:
            for row in connection.execute(query):
                yield row.chunk_id, row.text

    def known_chunks(
        self, digests: Sequence[bytes], *, spec: EmbeddingSpec, max_chunk_attempts: int
    ) -> dict[bytes, KnownChunk]:
        """Of these texts, by sha256, those that the index has, as a new build would find them.

        What is planned and not sent is unplanned to it, because it abandons such shards.
        """
        known: dict[bytes, KnownChunk] = {}
        with self._db.read() as connection:
            spec_id = _find_spec_id(connection, spec)
            part = part_of(
                spec_id, max_chunk_attempts, pending=is_pending(spec_id, outlives_build())
            )
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

    def progress(self, generation: Generation, *, max_chunk_attempts: int) -> Progress:
        """Where a generation stands, counted afresh."""
        members = members_of(generation.generation_id)
        spec_id = generation.spec_id
        part = part_of(spec_id, max_chunk_attempts, pending=is_pending(spec_id))
        query = (
            sa.select(part, sa.func.count().label("n"))
            .select_from(t.chunks)
            .join(members, members.c.chunk_id == t.chunks.c.chunk_id)
            .group_by(part)
        )
        with self._db.read() as connection:
            counts = {row.part: row.n for row in connection.execute(query)}
            n_documents = connection.scalar(sa.select(_count_documents(generation.generation_id)))
        return Progress(
            n_documents=n_documents or 0,
            n_chunks=sum(counts.values()),
            n_embedded=counts.get(Part.EMBEDDED, 0),
            n_pending=counts.get(Part.PENDING, 0),
            n_failed=counts.get(Part.FAILED, 0),
            n_unplanned=counts.get(Part.UNPLANNED, 0),
        )

    def publish(self, generation: Generation, *, now: datetime) -> Generation:
        """Readers see this generation from now on; the one before is retired, not lost.

        It is the one being built, or one that was served before. Raises PublishingError if it
        is neither (any more).
        """
        may_be_served = (GenerationState.BUILDING, GenerationState.RETIRED)
        g = t.generations.c
        with self._db.write() as connection:
            connection.execute(
                t.generations.update()
                .where(g.state == GenerationState.PUBLISHED)
                .values(state=GenerationState.RETIRED)
            )
            published = connection.execute(
                t.generations.update()
                .where(
                    g.generation_id == generation.generation_id,
                    g.state.in_(may_be_served),
                )
                .values(state=GenerationState.PUBLISHED, published_at=now)
            )
            if published.rowcount != 1:
                raise PublishingError(
                    f"generation {generation.generation_id} cannot be served: it is neither being "
                    "built nor one that was served and kept; see `embedding-assets generations`"
                )
            return _one(connection, generation.generation_id)


def _spec_id(connection: sa.Connection, spec: EmbeddingSpec) -> int:
    connection.execute(insert(t.specs).on_conflict_do_nothing(), asdict(spec))
    return _find_spec_id(connection, spec)


def _find_spec_id(connection: sa.Connection, spec: EmbeddingSpec) -> int:
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
    row = connection.execute(
        sa.select(t.generations, t.specs)
        .join(t.specs, t.specs.c.spec_id == t.generations.c.spec_id)
        .where(condition)
        .order_by(t.generations.c.generation_id.desc())
        .limit(1)
    ).first()
    return None if row is None else _generation(row)


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


def spec_from(row: Any) -> EmbeddingSpec:
    """The embedding spec in a row that has the columns of ``specs``."""
    return EmbeddingSpec(
        provider=row.provider,
        model=row.model,
        dimensions=row.dimensions,
        task_type=row.task_type,
    )


def _generation(row: Any) -> Generation:
    return Generation(
        generation_id=row.generation_id,
        month=row.month,
        spec_id=row.spec_id,
        spec=spec_from(row),
        chunker=row.chunker,
        state=GenerationState(row.state),
        created_at=row.created_at,
        planned_at=row.planned_at,
        published_at=row.published_at,
        n_documents=row.n_documents,
        n_chunks=row.n_chunks,
    )
