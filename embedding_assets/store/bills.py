"""Queries on the bill: what every shard cost, and what was approved beyond the budget.

Belongs here: the bills of shards, their sums by generation and publication, approvals.
Does not belong here: adding them up for people (money/bill.py), what fits (money/budget.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.model.shards import ShardState
from embedding_assets.money.bill import Account, Bill, Bought, MonthBill
from embedding_assets.money.prices import cost_usd, sync_cost_usd
from embedding_assets.settings.values import ModelPrice
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import members_of
from embedding_assets.store.database import Database
from embedding_assets.store.generations import select_builds, select_generations


class Bills:
    """The bill of one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def accounts(self, prices: Mapping[str, ModelPrice]) -> list[tuple[Generation, Account]]:
        """Every generation that has sent something or was complete, with what it cost.

        ``prices`` are those of the settings, for what it would have cost synchronously.
        """
        with self._db.read() as connection:
            shards = _shards_by_generation(connection)
            return [
                (
                    generation,
                    _account(connection, generation, shards[generation.generation_id], prices),
                )
                for generation in select_generations(connection, _IS_LISTED)
            ]

    def months(self, *, provider: str) -> list[MonthBill]:
        """Every month that something was sent or published for, oldest first.

        Only what one provider was asked for: the emulator's dollars are nobody's.
        """
        with self._db.read() as connection:
            shards = _shards_by_generation(connection)
            listed = select_generations(connection, _IS_LISTED)
        generations = sorted(
            (generation for generation in listed if generation.spec.provider == provider),
            key=lambda generation: (generation.month, generation.generation_id),
        )
        return [
            _month_bill(month, list(builds), shards)
            for month, builds in groupby(generations, key=lambda generation: generation.month)
        ]

    def publication(self, generation: Generation) -> Bill:
        """What was sent to publish a generation, by it and by the builds that it superseded."""
        with self._db.read() as connection:
            return bill_of(_sent_shards(connection, generation))

    def comparable(self, generation: Generation) -> Bill:
        """Of that, the shards of which every request was embedded.

        Only there do estimate and bill mean the same texts: what was not answered is in the
        estimate of the next plan again.
        """
        with self._db.read() as connection:
            return bill_of(_whole(_sent_shards(connection, generation)))

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

    def bought(self, generation: Generation) -> Bought:
        """What the generation's chunks cost when they were bought, for it or before."""
        with self._db.read() as connection:
            return bought(connection, generation)


_IS_LISTED = sa.and_(
    t.generations.c.state != GenerationState.DRAFT,
    sa.or_(
        t.generations.c.state != GenerationState.ABANDONED,
        sa.exists().where(
            t.shards.c.generation_id == t.generations.c.generation_id,
            t.shards.c.state != ShardState.ABANDONED,
        ),
    ),
)


def _was_sent() -> sa.Exists:
    """Of a shard: Gemini was asked for it, and did not refuse."""
    j = t.batch_jobs.c
    return sa.exists().where(j.shard_id == t.shards.c.shard_id, j.submitted_at.is_not(None))


def _shards_by_generation(connection: sa.Connection) -> Mapping[int, list[Any]]:
    rows = defaultdict(list)
    for row in _shards(connection):
        rows[row.generation_id].append(row)
    return rows


def _sent_shards(connection: sa.Connection, generation: Generation) -> list[Any]:
    builds = t.shards.c.generation_id.in_(select_builds(generation))
    return _sent(_shards(connection, builds))


def _sent(shards: Iterable[Any]) -> list[Any]:
    return [shard for shard in shards if shard.was_sent]


def _whole(shards: Iterable[Any]) -> list[Any]:
    return [shard for shard in shards if shard.n_embedded == shard.n_requests]


def _shards(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> Sequence[Any]:
    """A row a shard that was not abandoned, from one scan of the requests."""
    s, r = t.shards.c, t.requests.c
    outcomes = (
        sa.select(
            r.shard_id,
            sa.func.sum(sa.case((r.outcome == "embedded", 1), else_=0)).label("n_embedded"),
            sa.func.sum(sa.case((r.outcome == "failed", 1), else_=0)).label("n_failed"),
            sa.func.sum(r.billed_tokens).label("billed_tokens"),
        )
        .join(t.shards, s.shard_id == r.shard_id)
        .where(*conditions)
        .group_by(r.shard_id)
        .subquery()
    )
    query = (
        sa.select(
            s.generation_id,
            s.n_requests,
            s.estimated_tokens,
            s.usd_per_million,
            outcomes,
            _was_sent().label("was_sent"),
        )
        .join(outcomes, outcomes.c.shard_id == s.shard_id)
        .where(s.state != ShardState.ABANDONED)
    )
    return connection.execute(query).all()


def bill_of(shards: Sequence[Any]) -> Bill:
    """The sum over rows with n_requests, estimated_tokens, billed_tokens and usd_per_million."""
    return Bill(
        n_shards=len(shards),
        n_requests=sum(shard.n_requests for shard in shards),
        estimated_tokens=sum(shard.estimated_tokens for shard in shards),
        billed_tokens=sum(shard.billed_tokens for shard in shards),
        estimated_usd=_sum_usd((shard.estimated_tokens, shard.usd_per_million) for shard in shards),
        billed_usd=_sum_usd((shard.billed_tokens, shard.usd_per_million) for shard in shards),
    )


def _month_bill(
    month: str, builds: Sequence[Generation], shards: Mapping[int, list[Any]]
) -> MonthBill:
    seen = [(build.published_at, build) for build in builds if build.published_at is not None]
    _, last_seen = max(seen, key=lambda item: item[0], default=(None, None))
    bill = bill_of([row for build in builds for row in _sent(shards[build.generation_id])])
    return MonthBill(
        month=month,
        n_documents=last_seen.n_documents if last_seen else 0,
        n_chunks=last_seen.n_chunks if last_seen else 0,
        n_requests=bill.n_requests,
        estimated_usd=bill.estimated_usd,
        billed_usd=bill.billed_usd,
    )


def _sum_usd(items: Iterable[tuple[int, Decimal]]) -> Decimal:
    return sum((cost_usd(tokens, price) for tokens, price in items), Decimal(0))


def _account(
    connection: sa.Connection,
    generation: Generation,
    shards: Sequence[Any],
    prices: Mapping[str, ModelPrice],
) -> Account:
    whole = _whole(shards)
    billed_tokens = sum(shard.billed_tokens for shard in shards)
    billed_usd = _sum_usd((shard.billed_tokens, shard.usd_per_million) for shard in shards)
    if generation.state is GenerationState.ABANDONED:
        # Nothing was reused: whoever came after it bought the rest.
        without_reuse_usd, n_not_bought = billed_usd, 0
    else:
        cost = bought(connection, generation)
        without_reuse_usd = cost.usd
        n_not_bought = _n_chunks(connection, generation) - cost.n_chunks
    return Account(
        n_shards=len(shards),
        n_requests=sum(shard.n_requests for shard in shards),
        n_embedded=sum(shard.n_embedded for shard in shards),
        n_failed=sum(shard.n_failed for shard in shards),
        estimated_tokens=sum(shard.estimated_tokens for shard in shards),
        billed_tokens=billed_tokens,
        comparable_estimated_tokens=sum(shard.estimated_tokens for shard in whole),
        comparable_billed_tokens=sum(shard.billed_tokens for shard in whole),
        estimated_usd=_sum_usd((shard.estimated_tokens, shard.usd_per_million) for shard in shards),
        billed_usd=billed_usd,
        sync_usd=(
            sync_cost_usd(billed_tokens, generation.spec.model, prices)
            if billed_tokens
            else Decimal(0)
        ),
        without_reuse_usd=without_reuse_usd,
        n_not_bought=n_not_bought,
    )


def bought(connection: sa.Connection, generation: Generation) -> Bought:
    """What the generation's chunks cost when they were bought, for it or before."""
    if generation.state is GenerationState.REMOVED:
        g = t.generations.c
        query = sa.select(g.n_bought, g.bought_usd).where(
            g.generation_id == generation.generation_id
        )
        row = connection.execute(query).one()
        return Bought(n_chunks=row.n_bought, usd=row.bought_usd)
    return _sum_of_members(connection, generation)


def _sum_of_members(connection: sa.Connection, generation: Generation) -> Bought:
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
    return Bought(
        n_chunks=sum(row.n for row in rows),
        usd=_sum_usd((row.tokens, row.usd_per_million) for row in rows),
    )


def _n_chunks(connection: sa.Connection, generation: Generation) -> int:
    n_chunks = sa.select(t.generations.c.n_chunks).where(
        t.generations.c.generation_id == generation.generation_id
    )
    return int(connection.scalar(n_chunks) or 0)
