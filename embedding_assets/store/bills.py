"""Queries on the bill: what every shard cost, and what was approved beyond the budget.

Belongs here: the bills of shards and of agreement, their sums by generation and publication,
approvals.
Does not belong here: adding them up for people (money/bill.py), what fits (money/budget.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from embedding_assets.model.batch_jobs import LIVE_STATES, OWED_STATES, JobState
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.model.shards import ShardState
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.money.bill import Bill, ShardBill, total
from embedding_assets.money.prices import cost_usd, sync_cost_usd
from embedding_assets.settings.values import ModelPrice
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import generations_at, has_model, is_for, members_of
from embedding_assets.store.database import Database, from_row
from embedding_assets.store.generations import check_state, select_builds, select_generations

_MAY_COST = OWED_STATES | {JobState.COLLECTED}
_UNDER_WAY = LIVE_STATES | {JobState.SUCCEEDED}


class Bills:
    """The bill of one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def all(self, prices: Mapping[str, ModelPrice]) -> list[tuple[Generation, Bill]]:
        """Every generation that has sent something or was complete, with what it cost.

        ``prices`` are those of the settings, for what it would have cost synchronously.
        """
        with self._db.read() as connection:
            shards = _select_bills(connection) + _select_calls(connection)
            return [
                (each, _with_otherwise(connection, each, _own(shards, each), prices))
                for each in select_generations(connection, _IS_LISTED)
            ]

    def sent(self, *, provider: str) -> list[tuple[Generation, Bill]]:
        """The same generations of one provider, with what was sent for them, oldest first.

        Only one provider's: the emulator's dollars are nobody's.
        """
        with self._db.read() as connection:
            shards = [shard for shard in _select_bills(connection) if shard.was_sent]
            shards += _select_calls(connection)
            return [
                (each, _own(shards, each))
                for each in select_generations(connection, _IS_LISTED)
                if each.spec.provider == provider
            ]

    def of(self, generation: Generation) -> Bill:
        """What a generation's own shards cost: by plan, and by what Gemini billed so far."""
        with self._db.read() as connection:
            return _bill_of(connection, generation.generation_id)

    def last(self, spec: EmbeddingSpec) -> Bill | None:
        """The bill of the newest generation of the spec's model that got all of its answers.

        None if there is no such generation, or nothing was billed for it.
        """
        s, g = t.shards.c, t.generations.c
        of_generation = sa.exists().where(s.generation_id == g.generation_id)
        query = (
            sa.select(g.generation_id)
            .join(t.specs, t.specs.c.spec_id == g.spec_id)
            .where(
                has_model(spec),
                of_generation.where(s.state == ShardState.SETTLED),
                ~of_generation.where(s.state == ShardState.OPEN),
            )
            .order_by(g.generation_id.desc())
            .limit(1)
        )
        with self._db.read() as connection:
            generation_id = connection.scalar(query)
            bill = _bill_of(connection, generation_id or 0)
        return bill if bill.billed_tokens else None

    def publication(self, generation: Generation) -> Bill:
        """What was sent to publish a generation, by it and by the builds that it superseded."""
        with self._db.read() as connection:
            calls = _select_calls(connection, _for_generations(select_builds(generation)))
        return _total([*self._sent(generation), *calls])

    def comparable(self, generation: Generation) -> Bill:
        """Of that, the shards of which every request was embedded, and counted by Gemini.

        Only there do estimate and bill mean the same texts: what was not answered is in the
        estimate of the next plan again.
        """
        return _total(shard for shard in self._sent(generation) if shard.bill.is_comparable)

    def _sent(self, generation: Generation) -> list[ShardBill]:
        is_meant = t.shards.c.generation_id.in_(select_builds(generation))
        with self._db.read() as connection:
            return [shard for shard in _select_bills(connection, is_meant) if shard.was_sent]

    def count_sent(self, generation: Generation) -> int:
        """How many of the generation's chunks were sent for it, by whichever build, each once."""
        r, s = t.requests.c, t.shards.c
        members = members_of(generation.generation_id)
        query = (
            sa.select(sa.func.count(r.chunk_id.distinct()))
            .join(t.shards, s.shard_id == r.shard_id)
            .where(
                s.generation_id.in_(select_builds(generation)),
                s.state != ShardState.ABANDONED,
                _was_sent(),
                r.chunk_id.in_(sa.select(members.c.chunk_id)),
            )
        )
        with self._db.read() as connection:
            return int(connection.scalar(query) or 0)

    def without_reuse_usd(self, generation: Generation) -> Decimal:
        """What the generation's chunks cost when they were bought, for it or before."""
        with self._db.read() as connection:
            return bought(connection, generation)[1]

    def committed(self, *, provider: str, since: datetime) -> list[ShardBill]:
        """The shards that a budget counts: being built, still open, or sent since then.

        Only those of one provider: the emulator's dollars are nobody's.
        """
        s, g = t.shards.c, t.generations.c
        building = sa.select(g.generation_id).where(g.state == GenerationState.BUILDING)
        counts = sa.or_(
            s.generation_id.in_(building), s.state == ShardState.OPEN, _sent_at() >= since
        )
        with self._db.read() as connection:
            calls = _select_calls(
                connection,
                _for_generations(generations_at(provider)),
                sa.or_(_for_generations(building), t.agreement_calls.c.asked_at >= since),
            )
            return _select_bills(connection, is_for(provider), counts) + calls

    def approve(self, generation: Generation, *, usd: Decimal) -> None:
        """This generation may cost that much, whatever the budget says.

        So may each one that it superseded and that has something under way: it waits for that.
        Raises LedgerError if the generation is not being built any more.
        """
        g = t.generations.c
        is_waited_for = sa.and_(
            g.state == GenerationState.ABANDONED,
            sa.exists().where(
                t.shards.c.generation_id == g.generation_id,
                t.shards.c.state == ShardState.OPEN,
            ),
        )
        is_meant = sa.or_(g.generation_id == generation.generation_id, is_waited_for)
        with self._db.write() as connection:
            check_state(connection, generation, GenerationState.BUILDING)
            connection.execute(t.generations.update().where(is_meant).values(approved_usd=usd))

    def approved(self) -> Mapping[int, Decimal]:
        """What was approved, by generation_id."""
        g = t.generations.c
        query = sa.select(g.generation_id, g.approved_usd).where(g.approved_usd.is_not(None))
        with self._db.read() as connection:
            return {row.generation_id: row.approved_usd for row in connection.execute(query)}


def _has_attempt(*conditions: sa.ColumnElement[bool]) -> sa.Exists:
    """Of a shard: an attempt meets these conditions."""
    return sa.exists().where(t.batch_jobs.c.shard_id == t.shards.c.shard_id, *conditions)


def _has_bill() -> sa.ColumnElement[bool]:
    """Of a shard: it is planned, or it was abandoned and something was paid for it all the same."""
    s, r = t.shards.c, t.requests.alias().c
    return sa.or_(
        s.state != ShardState.ABANDONED,
        _has_attempt(t.batch_jobs.c.unmatched_tokens > 0),
        sa.exists().where(r.shard_id == s.shard_id, r.billed_tokens > 0),
    )


_IS_LISTED = sa.and_(
    t.generations.c.state != GenerationState.DRAFT,
    sa.or_(
        t.generations.c.state != GenerationState.ABANDONED,
        sa.exists().where(
            t.shards.c.generation_id == t.generations.c.generation_id,
            _has_bill(),
        ),
        sa.exists().where(t.agreement_calls.c.generation_id == t.generations.c.generation_id),
    ),
)


def _was_sent() -> sa.Exists:
    """Of a shard: Gemini was asked for it, and did not refuse."""
    return _has_attempt(t.batch_jobs.c.submitted_at.is_not(None))


def _sent_at() -> sa.ScalarSelect[datetime]:
    """Of a shard: when the newest attempt was sent that is under way, or was paid for."""
    j = t.batch_jobs.c
    sent_at = sa.func.max(sa.func.coalesce(j.submitted_at, j.unconfirmed_at, j.reserved_at))
    may_cost = sa.or_(j.state.in_(_MAY_COST), j.unmatched_tokens > 0)
    query = sa.select(sa.type_coerce(sent_at, t.UtcDateTime()))
    return query.where(j.shard_id == t.shards.c.shard_id, may_cost).scalar_subquery()


def _unmatched_tokens() -> sa.ScalarSelect[int]:
    """Of a shard: tokens paid for answers that none of its requests has."""
    j = t.batch_jobs.c
    query = sa.select(sa.func.coalesce(sa.func.sum(j.unmatched_tokens), 0))
    return query.where(j.shard_id == t.shards.c.shard_id).scalar_subquery()


def _select_bills(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool]
) -> list[ShardBill]:
    """The bills of the shards that meet conditions.

    One that was abandoned is none of the plan any more, but what was paid for it stays paid.
    """
    s, r, j = t.shards.c, t.requests.c, t.batch_jobs.c
    query = (
        sa.select(
            s.generation_id,
            s.state,
            s.n_requests,
            s.estimated_tokens,
            s.usd_per_million,
            sa.func.count().filter(r.outcome == "embedded").label("n_embedded"),
            sa.func.count().filter(r.outcome == "failed").label("n_failed"),
            sa.func.sum(r.billed_tokens).label("matched_tokens"),
            sa.func.sum(r.billed_tokens).filter(r.is_estimated).label("estimated_billed_tokens"),
            _unmatched_tokens().label("unmatched_tokens"),
            _has_attempt(j.state.in_(_UNDER_WAY)).label("is_under_way"),
            _has_attempt(j.state.in_(OWED_STATES)).label("is_owed"),
            _was_sent().label("was_sent"),
            _sent_at().label("sent_at"),
        )
        .join(t.requests, r.shard_id == s.shard_id)
        .where(
            _has_bill(),
            *conditions,
        )
        .group_by(s.shard_id)
    )
    return [
        from_row(
            ShardBill,
            row,
            bill=_shard_bill(row),
            is_under_way=bool(row.is_under_way),
            is_unsent=row.state == ShardState.OPEN and not row.is_owed,
        )
        for row in connection.execute(query)
    ]


def _shard_bill(row: Any) -> Bill:
    uncounted_tokens = (row.estimated_billed_tokens or 0) + row.unmatched_tokens
    billed_tokens = row.matched_tokens + row.unmatched_tokens
    paid = Bill(
        billed_tokens=billed_tokens,
        uncounted_tokens=uncounted_tokens,
        billed_usd=cost_usd(billed_tokens, row.usd_per_million),
    )
    if row.state == ShardState.ABANDONED:
        return paid
    bill = replace(
        paid,
        n_shards=1,
        n_requests=row.n_requests,
        n_embedded=row.n_embedded,
        n_failed=row.n_failed,
        estimated_tokens=row.estimated_tokens,
        estimated_usd=cost_usd(row.estimated_tokens, row.usd_per_million),
    )
    if not bill.is_comparable:
        return bill
    return replace(
        bill,
        comparable_estimated_tokens=row.estimated_tokens,
        comparable_billed_tokens=billed_tokens,
    )


def _total(shards: Iterable[ShardBill]) -> Bill:
    return total(shard.bill for shard in shards)


def _own(shards: Iterable[ShardBill], generation: Generation) -> Bill:
    return _total(shard for shard in shards if shard.generation_id == generation.generation_id)


def _bill_of(connection: sa.Connection, generation_id: int) -> Bill:
    calls = _select_calls(connection, t.agreement_calls.c.generation_id == generation_id)
    return _total(_select_bills(connection, t.shards.c.generation_id == generation_id) + calls)


def _select_calls(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool]
) -> list[ShardBill]:
    """The bills of calls that embedded sampled texts again, in the shape of a shard's."""
    a = t.agreement_calls.c
    return [
        ShardBill(
            generation_id=row.generation_id,
            bill=Bill(
                n_compared=row.n_texts,
                estimated_tokens=row.estimated_tokens,
                billed_tokens=row.billed_tokens,
                uncounted_tokens=row.billed_tokens if row.is_estimated else 0,
                estimated_usd=cost_usd(row.estimated_tokens, row.usd_per_million),
                billed_usd=cost_usd(row.billed_tokens, row.usd_per_million),
            ),
            is_under_way=False,
            is_unsent=False,
            was_sent=True,
            sent_at=row.asked_at,
        )
        for row in connection.execute(
            sa.select(t.agreement_calls).where(a.billed_tokens > 0, *conditions)
        )
    ]


def _for_generations(generation_ids: sa.Select[tuple[int]]) -> sa.ColumnElement[bool]:
    """Of such a call: it was made for one of these generations."""
    return t.agreement_calls.c.generation_id.in_(generation_ids)


def _with_otherwise(
    connection: sa.Connection,
    generation: Generation,
    bill: Bill,
    prices: Mapping[str, ModelPrice],
) -> Bill:
    """The bill, with what the same would have cost otherwise."""
    if generation.state is GenerationState.ABANDONED:
        # Nothing was reused: whoever came after it bought the rest.
        without_reuse_usd, n_not_bought = bill.billed_usd, 0
    else:
        n_bought, without_reuse_usd = bought(connection, generation)
        n_not_bought = generation.n_chunks - n_bought
    sync_usd = sync_cost_usd(bill.billed_tokens, generation.spec.model, prices)
    return replace(
        bill,
        sync_usd=sync_usd if bill.billed_tokens else Decimal(0),
        without_reuse_usd=without_reuse_usd,
        n_not_bought=n_not_bought,
    )


def bought(connection: sa.Connection, generation: Generation) -> tuple[int, Decimal]:
    """How many of the generation's chunks were bought, for it or before, and for how much."""
    if generation.state is GenerationState.REMOVED:
        g = t.generations.c
        remembered = sa.select(g.n_bought, g.bought_usd).where(
            g.generation_id == generation.generation_id
        )
        n_bought, bought_usd = connection.execute(remembered).one()
        return n_bought, bought_usd
    return _sum_of_members(connection, generation)


def _sum_of_members(connection: sa.Connection, generation: Generation) -> tuple[int, Decimal]:
    r, s, g = t.requests.c, t.shards.c, t.generations.c
    gd, dc = t.generation_documents.c, t.document_chunks.c
    members = (
        sa.select(dc.chunk_id)
        .join(t.generation_documents, gd.document_id == dc.document_id)
        .where(gd.generation_id == generation.generation_id)
    )
    # A chunk that was bought twice by mishap counts once.
    chunks = (
        sa.select(
            sa.func.max(r.billed_tokens).label("tokens"),
            sa.func.max(s.usd_per_million).label("usd_per_million"),
        )
        .join(t.shards, s.shard_id == r.shard_id)
        .join(t.generations, g.generation_id == s.generation_id)
        .where(
            g.spec_id == generation.spec_id,
            r.outcome == "embedded",
            r.chunk_id.in_(members),
        )
        .group_by(r.chunk_id)
        .subquery()
    )
    price = sa.type_coerce(chunks.c.usd_per_million, t.ExactDecimal)
    query = sa.select(
        price.label("usd_per_million"),
        sa.func.count().label("n"),
        sa.func.sum(chunks.c.tokens).label("tokens"),
    ).group_by(price)
    rows = connection.execute(query).all()
    usd = sum((cost_usd(row.tokens, row.usd_per_million) for row in rows), Decimal(0))
    return sum(row.n for row in rows), usd
