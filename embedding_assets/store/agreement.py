"""Queries on agreement: which texts to embed again, what that cost, and what came of it.

Belongs here: choosing samples, the calls that embedded them, the vectors that were answered.
Does not belong here: making the calls and comparing (pipeline/agreement.py).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from embedding_assets.model.agreement import Silence
from embedding_assets.model.generations import Generation
from embedding_assets.model.passages import Passage
from embedding_assets.model.shards import Route
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import has_vector, is_member, members_of, spread
from embedding_assets.store.database import Database, from_row
from embedding_assets.store.generations import select_builds


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshVector:
    """What was answered when a text was embedded again, beside what is stored for it now."""

    chunk_id: int
    shard_key: str  # the newest one that brought a vector for it
    is_new: bool  # by a batch job, for the generation that is compared
    fresh: bytes
    stored: bytes


class Agreements:
    """What one index file knows of agreement."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def new_passages(self, generation: Generation, *, limit: int) -> list[tuple[int, Passage]]:
        """(chunk_id, passage) of some that batch jobs brought for a generation.

        One of each shard before a second of any, and within a shard evenly spread: so a shard
        that is wrong as a whole shows if there are as many samples as shards.
        """
        r, s, c = t.requests.c, t.shards.c, t.chunks.c
        members = members_of(generation.generation_id)
        newest = (
            sa.select(r.chunk_id, sa.func.max(r.shard_id).label("shard_id"))
            .join(t.shards, s.shard_id == r.shard_id)
            .join(members, members.c.chunk_id == r.chunk_id)
            .where(_is_new(generation), has_vector(generation.spec_id, r.chunk_id))
            .group_by(r.chunk_id)
            .subquery()
        ).c
        turn = sa.func.row_number().over(
            partition_by=newest.shard_id, order_by=spread(newest.chunk_id)
        )
        ranked = sa.select(newest.chunk_id, newest.shard_id, turn.label("turn")).subquery()
        query = (
            sa.select(c.chunk_id, c.text, c.path)
            .join(ranked, ranked.c.chunk_id == c.chunk_id)
            .order_by(ranked.c.turn, spread(ranked.c.shard_id), c.chunk_id)
            .limit(limit)
        )
        with self._db.read() as connection:
            return [(row.chunk_id, from_row(Passage, row)) for row in connection.execute(query)]

    def old_passages(
        self, generation: Generation, *, before: datetime, without: Collection[int], limit: int
    ) -> list[tuple[int, Passage]]:
        """(chunk_id, passage) of some that were bought before then and not for this generation.

        They are others for each generation.
        """
        r, s, c = t.requests.c, t.shards.c, t.chunks.c
        members = members_of(generation.generation_id)
        is_for_it = s.generation_id.in_(select_builds(generation))
        is_recent = sa.exists().where(
            r.chunk_id == c.chunk_id,
            s.shard_id == r.shard_id,
            sa.or_(s.planned_at >= before, is_for_it),
        )
        query = (
            sa.select(c.chunk_id, c.text, c.path)
            .join(members, members.c.chunk_id == c.chunk_id)
            .where(has_vector(generation.spec_id), ~is_recent, c.chunk_id.not_in(without))
            .order_by(spread(c.chunk_id + generation.generation_id))
            .limit(limit)
        )
        with self._db.read() as connection:
            return [(row.chunk_id, from_row(Passage, row)) for row in connection.execute(query)]

    def fresh_vectors(self, generation: Generation, *, since: datetime) -> list[FreshVector]:
        """What was answered for a generation, or for any of its spec since then, by chunk_id."""
        f, a, v, r, s = (
            table.c
            for table in (
                *(t.agreement_samples, t.agreement_calls, t.vectors),
                *(t.requests, t.shards),
            )
        )
        of_chunk = (r.chunk_id == f.chunk_id, s.shard_id == r.shard_id)
        shard_key = (
            sa.select(s.key)
            .join(t.generations, t.generations.c.generation_id == s.generation_id)
            .where(
                *of_chunk,
                r.outcome == "embedded",
                t.generations.c.spec_id == generation.spec_id,
            )
            .order_by(s.shard_id.desc())
            .limit(1)
            .scalar_subquery()
            .correlate(t.agreement_samples)
        )
        query = (
            sa.select(
                f.chunk_id,
                f.vector.label("fresh"),
                v.vector.label("stored"),
                sa.func.coalesce(shard_key, "").label("shard_key"),
                sa.exists().where(*of_chunk, _is_new(generation)).label("is_new"),
            )
            .join(t.agreement_calls, a.call_id == f.call_id)
            .join(t.vectors, sa.and_(v.spec_id == f.spec_id, v.chunk_id == f.chunk_id))
            .where(
                is_member(generation.generation_id, f.chunk_id),
                f.spec_id == generation.spec_id,
                sa.or_(a.generation_id == generation.generation_id, a.asked_at >= since),
            )
            .order_by(f.chunk_id)
        )
        with self._db.read() as connection:
            return [from_row(FreshVector, row) for row in connection.execute(query)]

    def announce(
        self,
        generation: Generation,
        *,
        n_texts: int,
        estimated_tokens: int,
        usd_per_million: Decimal,
        now: datetime,
    ) -> int:
        """Put a call on record that is about to be made, as if it were billed; its id."""
        with self._db.write() as connection:
            call_id: int = connection.execute(
                t.agreement_calls.insert()
                .returning(t.agreement_calls.c.call_id)
                .values(
                    generation_id=generation.generation_id,
                    asked_at=now,
                    n_texts=n_texts,
                    estimated_tokens=estimated_tokens,
                    usd_per_million=usd_per_million,
                    billed_tokens=estimated_tokens,
                    is_estimated=True,
                )
            ).scalar_one()
        return call_id

    def record(
        self,
        call_id: int,
        *,
        spec_id: int,
        billed_tokens: int | None,
        vectors: Mapping[int, bytes],
        error_message: str | None = None,
    ) -> None:
        """What a call brought: vectors by chunk_id, or why there are none; all at once.

        Where nobody has said how many tokens were billed the estimate stands.
        """
        billed = {} if billed_tokens is None else {"billed_tokens": billed_tokens}
        with self._db.write() as connection:
            connection.execute(
                t.agreement_calls.update()
                .where(t.agreement_calls.c.call_id == call_id)
                .values(**billed, is_estimated=billed_tokens is None, error_message=error_message)
            )
            for chunk_id, vector in vectors.items():
                values = {"call_id": call_id, "vector": vector}
                connection.execute(
                    insert(t.agreement_samples)
                    .values(spec_id=spec_id, chunk_id=chunk_id, **values)
                    .on_conflict_do_update(["spec_id", "chunk_id"], set_=values)
                )

    def forget_call(self, call_id: int) -> None:
        """Take a call back that was refused: nothing was done, and nothing is owed."""
        a = t.agreement_calls.c
        with self._db.write() as connection:
            connection.execute(t.agreement_calls.delete().where(a.call_id == call_id))

    def silence(self, generation: Generation) -> Silence | None:
        """The last calls for a generation, if nothing came of them; None if something did."""
        a = t.agreement_calls.c
        is_its_own = a.generation_id == generation.generation_id
        last_heard = sa.select(sa.func.coalesce(sa.func.max(a.call_id), 0)).where(
            is_its_own, a.error_message.is_(None)
        )
        query = sa.select(
            sa.func.count().label("n_calls"), sa.func.max(a.asked_at).label("last_at")
        ).where(is_its_own, a.call_id > last_heard.scalar_subquery())
        with self._db.read() as connection:
            row = connection.execute(query).one()
        return from_row(Silence, row) if row.n_calls else None


def _is_new(generation: Generation) -> sa.ColumnElement[bool]:
    """Of a request and its shard: a batch job brought its vector for this generation."""
    return sa.and_(
        t.requests.c.outcome == "embedded",
        t.shards.c.route == Route.BATCH,
        t.shards.c.generation_id.in_(select_builds(generation)),
    )
