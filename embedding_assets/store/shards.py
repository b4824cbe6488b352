"""Queries on shards and their requests: what was planned and how far it got.

Belongs here: writing a plan, reading its requests, counting their outcomes.
Does not belong here: the attempts to submit a shard (jobs.py), their results (results.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from embedding_assets.errors import LedgerError
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.model.passages import Passage
from embedding_assets.model.shards import PackedShard, Route, Shard, ShardState, shard_key
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import has_model, is_cut, is_owed, spread
from embedding_assets.store.database import Database, from_row

_FETCH_ROWS = 1000
_SAMPLED_SHARDS = 100
IS_OPEN = t.shards.c.state == ShardState.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounts:
    """A shard's requests by outcome, and the tokens billed for them."""

    n_requests: int  # what the plan says
    n_embedded: int
    n_failed: int
    n_pending: int
    billed_tokens: int
    uncounted_tokens: int  # of those: by estimate, because Gemini did not say how many

    @property
    def adds_up(self) -> bool:
        return self.n_requests == self.n_embedded + self.n_failed + self.n_pending


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRequest:
    """A request that brought no vector, and the first document that has its text, by uri."""

    chunk_id: int
    uri: str | None  # None once the documents of the shard's generation are removed
    error_code: str | None
    error_message: str


class Shards:
    """Shards in one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def last_id(self) -> int:
        """The newest shard's id, 0 before the first: tells whether a plan came in between."""
        with self._db.read() as connection:
            return _last_id(connection)

    def add(
        self,
        generation: Generation,
        packed: Sequence[PackedShard],
        *,
        route: Route,
        usd_per_million: Decimal,
        after_id: int,
        now: datetime,
    ) -> list[Shard]:
        """Write a plan: all of its shards and requests, or none.

        ``after_id`` is ``last_id()`` as it was before the plan was made. Raises LedgerError if
        another plan was written since, or the generation is no longer the one being built: the
        same chunks would be bought twice.
        """
        g = t.generations.c
        with self._db.write() as connection:
            planned = connection.execute(
                t.generations.update()
                .where(
                    g.generation_id == generation.generation_id,
                    g.state == GenerationState.BUILDING,
                )
                .values(planned_at=now)
            )
            if planned.rowcount != 1 or _last_id(connection) != after_id:
                raise LedgerError(
                    f"while {generation.month} was being planned another plan or build was "
                    "written; materialize shard_plan again"
                )
            connection.execute(t.meta.delete().where(t.meta.c.name == t.WAITING_SINCE))
            values = {
                "generation_id": generation.generation_id,
                "route": route,
                "usd_per_million": usd_per_million,
                "planned_at": now,
            }
            return _insert(connection, generation.month, packed, values)

    def split(self, shard: Shard, parts: Sequence[PackedShard], *, now: datetime) -> list[Shard]:
        """Put smaller shards of the same requests in the place of one that is sent no more.

        What of it was answered stays where it is. Raises LedgerError if the shard is not open, or
        has an attempt that may have a job.
        """
        with self._db.write() as connection:
            _give_away(connection, shard, parts)
            values = {
                "generation_id": shard.generation_id,
                "route": shard.route,
                "usd_per_million": shard.usd_per_million,
                "planned_at": now,
            }
            return _insert(connection, shard.month, parts, values)

    def take_sync_route(self, shard: Shard, *, usd_per_million: Decimal) -> Shard:
        """Send an unsent shard by the synchronous route, at its price, from now on.

        Raises LedgerError if the shard is not open, or has an attempt that may have a job.
        """
        with self._db.write() as connection:
            _change_unsent(connection, shard, route=Route.SYNC, usd_per_million=usd_per_million)
            (changed,) = select_shards(connection, t.shards.c.shard_id == shard.shard_id)
        return changed

    def abandon_given_up(self, keys: Sequence[str]) -> int:
        """Let the requests of shards without a job be planned anew; how many shards those were.

        A shard that got a job meanwhile is left alone.
        """
        with self._db.write() as connection:
            abandoned = connection.execute(
                t.shards.update()
                .where(t.shards.c.key.in_(keys), IS_OPEN, ~is_owed())
                .values(state=ShardState.ABANDONED)
            )
        return abandoned.rowcount

    def get(self, key: str) -> Shard:
        """Raises LedgerError for a key that no plan has."""
        with self._db.read() as connection:
            found = select_shards(connection, t.shards.c.key == key)
        if not found:
            raise LedgerError(f"there is no shard {key!r}: no plan of this index has it")
        return found[0]

    def of(self, generation: Generation) -> list[Shard]:
        """All shards planned for a generation, in the order of their numbers."""
        with self._db.read() as connection:
            return select_shards(connection, t.shards.c.generation_id == generation.generation_id)

    def billed_sample(self, spec: EmbeddingSpec, *, limit: int) -> list[tuple[str, int]]:
        """Batch requests of the spec's model: text as sent, and tokens billed for it.

        They are spread evenly over the newest shards, because neighbours are of one document or
        one language; asked again they are the same. Of a synchronous call only the sum over its
        texts is known, so it has no part in this.
        """
        with self._db.read() as connection:
            rows = connection.execute(_billed_sample(connection, spec, limit)).all()
        return [(spec.document_text(from_row(Passage, row)), row.billed_tokens) for row in rows]

    def pending_requests(self, shard: Shard) -> Iterator[tuple[int, Passage]]:
        """(chunk_id, passage) of the requests without an outcome, in chunk_id order, streamed."""
        query = (
            sa.select(t.chunks.c.chunk_id, t.chunks.c.text, t.chunks.c.path)
            .join(t.requests, t.requests.c.chunk_id == t.chunks.c.chunk_id)
            .where(t.requests.c.shard_id == shard.shard_id, t.requests.c.outcome == "pending")
            .order_by(t.chunks.c.chunk_id)
            .execution_options(yield_per=_FETCH_ROWS)
        )
        with self._db.read() as connection:
            for row in connection.execute(query):
                yield row.chunk_id, from_row(Passage, row)

    def unembedded_ids(self, shard: Shard) -> list[int]:
        """The chunk ids of the requests without a vector, ascending."""
        r = t.requests.c
        query = (
            sa.select(r.chunk_id)
            .where(r.shard_id == shard.shard_id, r.outcome != "embedded")
            .order_by(r.chunk_id)
        )
        with self._db.read() as connection:
            return list(connection.scalars(query))

    def passages(self, shard: Shard) -> list[tuple[int, Passage]]:
        """(chunk_id, passage) of all requests, whatever became of them."""
        query = (
            sa.select(t.chunks.c.chunk_id, t.chunks.c.text, t.chunks.c.path)
            .join(t.requests, t.requests.c.chunk_id == t.chunks.c.chunk_id)
            .where(t.requests.c.shard_id == shard.shard_id)
        )
        with self._db.read() as connection:
            return [(row.chunk_id, from_row(Passage, row)) for row in connection.execute(query)]

    def embedded_sample(self, shard: Shard, *, limit: int) -> list[int]:
        """Chunk ids of requests that brought the newest vector, spread evenly over the shard."""
        r, newer, g = t.requests.c, t.requests.alias(), t.generations.c
        its_spec_id = sa.select(g.spec_id).where(g.generation_id == shard.generation_id)
        of_its_spec = sa.select(g.generation_id).where(g.spec_id == its_spec_id.scalar_subquery())
        is_outdated = sa.exists().where(
            newer.c.chunk_id == r.chunk_id,
            newer.c.shard_id > r.shard_id,
            newer.c.outcome == "embedded",
            t.shards.c.shard_id == newer.c.shard_id,
            t.shards.c.generation_id.in_(of_its_spec),
        )
        query = (
            sa.select(r.chunk_id)
            .where(r.shard_id == shard.shard_id, r.outcome == "embedded", ~is_outdated)
            .order_by(spread(r.chunk_id))
            .limit(limit)
        )
        with self._db.read() as connection:
            return list(connection.scalars(query))

    def failed_requests(self, shard: Shard, *, limit: int) -> list[FailedRequest]:
        """The first of a shard's requests that failed, in chunk_id order."""
        r, d, dc, gd = (
            table.c
            for table in (t.requests, t.documents, t.document_chunks, t.generation_documents)
        )
        uri = (
            sa.select(sa.func.min(d.uri))
            .join(t.document_chunks, dc.document_id == d.document_id)
            .join(t.generation_documents, gd.document_id == d.document_id)
            .where(gd.generation_id == shard.generation_id, dc.chunk_id == r.chunk_id)
            .scalar_subquery()
        )
        query = (
            sa.select(r.chunk_id, uri.label("uri"), r.error_code, r.error_message)
            .where(r.shard_id == shard.shard_id, r.outcome == "failed")
            .order_by(r.chunk_id)
            .limit(limit)
        )
        with self._db.read() as connection:
            return [from_row(FailedRequest, row) for row in connection.execute(query)]

    def count_cut(self, shard: Shard) -> int:
        """How many of a shard's texts are as long as, or longer than, what the model reads."""
        r, s = t.requests.c, t.shards.c
        query = (
            sa.select(sa.func.count())
            .select_from(t.requests)
            .join(t.shards, s.shard_id == r.shard_id)
            .where(r.shard_id == shard.shard_id, is_cut(shard.spec))
        )
        with self._db.read() as connection:
            return int(connection.scalar(query) or 0)

    def counts(self, shard: Shard) -> RequestCounts:
        """A shard's requests, counted afresh from their rows."""
        r = t.requests.c
        query = (
            sa.select(
                r.outcome,
                sa.func.count().label("n"),
                sa.func.sum(r.billed_tokens).label("tokens"),
                sa.func.sum(r.billed_tokens * r.is_estimated).label("uncounted"),
            )
            .where(r.shard_id == shard.shard_id)
            .group_by(r.outcome)
        )
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        counted = {row.outcome: row.n for row in rows}
        return RequestCounts(
            n_requests=shard.n_requests,
            n_embedded=counted.get("embedded", 0),
            n_failed=counted.get("failed", 0),
            n_pending=counted.get("pending", 0),
            billed_tokens=sum(row.tokens for row in rows),
            uncounted_tokens=sum(row.uncounted for row in rows),
        )


def _insert(
    connection: sa.Connection,
    month: str,
    packed: Sequence[PackedShard],
    values: Mapping[str, Any],
) -> list[Shard]:
    """Add open shards with their requests, numbered on within the month."""
    number = _last_number(connection, month)
    keys = [shard_key(month, number + n) for n in range(1, len(packed) + 1)]
    for key, shard in zip(keys, packed, strict=True):
        shard_id = connection.execute(
            t.shards.insert()
            .returning(t.shards.c.shard_id)
            .values(
                key=key,
                n_requests=len(shard.chunk_ids),
                n_bytes=shard.n_bytes,
                estimated_tokens=shard.n_tokens,
                state=ShardState.OPEN,
                **values,
            )
        ).scalar_one()
        connection.execute(
            t.requests.insert(),
            [
                {"shard_id": shard_id, "chunk_id": chunk_id, "outcome": "pending"}
                for chunk_id in shard.chunk_ids
            ],
        )
    return select_shards(connection, t.shards.c.key.in_(keys))


def _give_away(connection: sa.Connection, shard: Shard, parts: Sequence[PackedShard]) -> None:
    """Abandon a shard whose requests are all in these parts; else it keeps and is only the rest."""
    n_left = shard.n_requests - sum(len(part.chunk_ids) for part in parts)
    if not n_left:
        _change_unsent(connection, shard, state=ShardState.ABANDONED)
        return
    _change_unsent(
        connection,
        shard,
        state=ShardState.SETTLED,
        n_requests=n_left,
        n_bytes=max(0, shard.n_bytes - sum(part.n_bytes for part in parts)),
        estimated_tokens=max(0, shard.estimated_tokens - sum(part.n_tokens for part in parts)),
    )
    r = t.requests.c
    connection.execute(
        t.requests.delete().where(r.shard_id == shard.shard_id, r.outcome == "pending")
    )


def _change_unsent(connection: sa.Connection, shard: Shard, **values: Any) -> None:
    changed = connection.execute(
        t.shards.update()
        .where(t.shards.c.shard_id == shard.shard_id, IS_OPEN, ~is_owed())
        .values(**values)
    )
    if changed.rowcount != 1:
        raise LedgerError(f"shard {shard.key} has a job or is not open any more; it stays whole")


def _billed_sample(connection: sa.Connection, spec: EmbeddingSpec, limit: int) -> sa.Select[Any]:
    r, s, g = t.requests.c, t.shards.c, t.generations.c
    newest_shards = (
        sa.select(s.shard_id)
        .join(t.generations, g.generation_id == s.generation_id)
        .join(t.specs, t.specs.c.spec_id == g.spec_id)
        .where(has_model(spec), s.route == Route.BATCH, s.state == ShardState.SETTLED)
        .order_by(s.shard_id.desc())
        .limit(_SAMPLED_SHARDS)
    )
    # Their ids, not a subquery: with that SQLite reads the requests of all shards.
    shard_ids = connection.scalars(newest_shards).all()
    sample = (
        sa.select(r.shard_id, r.chunk_id, r.billed_tokens)
        .where(
            r.shard_id.in_(shard_ids),
            r.outcome == "embedded",
            r.billed_tokens > 0,
            ~r.is_estimated,
        )
        .order_by(spread(r.chunk_id), r.shard_id)
        .limit(limit)
        .subquery()
    )
    return (
        sa.select(t.chunks.c.text, t.chunks.c.path, sample.c.billed_tokens)
        .join(sample, sample.c.chunk_id == t.chunks.c.chunk_id)
        .where(t.chunks.c.text != "")
        .order_by(t.chunks.c.chunk_id, sample.c.shard_id)
    )


def _last_id(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.select(sa.func.max(t.shards.c.shard_id))) or 0)


def _last_number(connection: sa.Connection, month: str) -> int:
    last = connection.scalar(
        sa.select(t.shards.c.key)
        .join(t.generations, t.generations.c.generation_id == t.shards.c.generation_id)
        .where(t.generations.c.month == month)
        .order_by(t.shards.c.shard_id.desc())
        .limit(1)
    )
    return int(last.rpartition("-")[2]) if last else 0


SELECT_SHARDS = (
    sa.select(t.shards, t.specs)
    .join(t.generations, t.generations.c.generation_id == t.shards.c.generation_id)
    .join(t.specs, t.specs.c.spec_id == t.generations.c.spec_id)
    .order_by(t.shards.c.shard_id)
)


def select_shards(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[Shard]:
    """The shards that meet a condition, in the order of planning."""
    return [shard_from(row) for row in connection.execute(SELECT_SHARDS.where(condition))]


def shard_from(row: Any) -> Shard:
    """The shard in a row of ``SELECT_SHARDS``."""
    return from_row(
        Shard,
        row,
        spec=from_row(EmbeddingSpec, row),
        route=Route(row.route),
        state=ShardState(row.state),
    )
