"""Queries on what is spent and what was approved.

Belongs here: one row a shard that the budget has to know of. Does not belong here: what fits
(budget.py) and the bill that people read (bills.py).
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from embedding_assets.model.batch_jobs import LIVE_STATES, JobState
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.model.shards import ShardState
from embedding_assets.money.budget import Commitment
from embedding_assets.money.prices import cost_usd
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import is_for
from embedding_assets.store.database import Database
from embedding_assets.store.generations import check_state

_IS_SENT = LIVE_STATES | {JobState.SUCCEEDED, JobState.COLLECTED}


class Spending:
    """The money side of one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def commitments(self, *, provider: str, since: datetime) -> list[Commitment]:
        """The shards that count: of the generation being built, still open, or sent since then.

        Only those of one provider: the emulator's dollars are nobody's.
        """
        s, g, r, j = t.shards.c, t.generations.c, t.requests.c, t.batch_jobs.c
        billed = (
            sa.select(sa.func.coalesce(sa.func.sum(r.billed_tokens), 0))
            .where(r.shard_id == s.shard_id)
            .scalar_subquery()
        )
        sent_at = (
            sa.select(
                sa.func.max(sa.func.coalesce(j.submitted_at, j.unconfirmed_at, j.reserved_at))
            )
            .where(j.shard_id == s.shard_id, j.state.in_(_IS_SENT))
            .scalar_subquery()
        )
        query = (
            sa.select(
                s.generation_id,
                s.state,
                s.estimated_tokens,
                s.usd_per_million,
                billed.label("billed"),
                sa.type_coerce(sent_at, t.UtcDateTime).label("sent_at"),
            )
            .join(t.generations, g.generation_id == s.generation_id)
            .where(
                s.state != ShardState.ABANDONED,
                is_for(provider),
                sa.or_(
                    g.state == GenerationState.BUILDING,
                    s.state == ShardState.OPEN,
                    sent_at >= sa.bindparam("since", since, type_=t.UtcDateTime),
                ),
            )
        )
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        return [
            Commitment(
                generation_id=row.generation_id,
                usd=cost_usd(
                    row.billed if row.state == ShardState.SETTLED else row.estimated_tokens,
                    row.usd_per_million,
                ),
                sent_at=row.sent_at,
            )
            for row in rows
        ]

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
