"""Removing what nobody needs any more, a little at a time, so that others can write in between.

Belongs here: what may go, and taking it out; every transaction is safe to repeat.
Does not belong here: the order of it (pipeline/retention.py).

A row of ``chunks`` stays for good, without its text: what was bought under its id stays on the
bill, and no other text ever gets that id.
"""

from contextlib import closing
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from embedding_assets.model.generations import KEPT_STATES, Generation, GenerationState
from embedding_assets.model.shards import ShardState
from embedding_assets.store import schema as t
from embedding_assets.store.bills import bought
from embedding_assets.store.database import Database
from embedding_assets.store.generations import select_generations

# A job may be looked for during 48 hours and take as long; then nobody answers any more.
MAY_BE_ANSWERED_FOR = timedelta(days=7)

_BATCH_DOCUMENTS = 500
_BATCH_CHUNKS = 1_000
_BATCH_PAGES = 1_000  # of 16 KiB


class Retention:
    """What of one index file may be removed."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def n_bytes(self) -> int:
        """The size of the file, also if another process has not written it there yet."""
        with self._db.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())

    def superfluous(self, *, keep: int) -> list[Generation]:
        """Generations that can go, oldest first: superseded, or not among the last ones served.

        Those of which nothing is left are not among them.
        """
        g = t.generations.c
        has_members = sa.exists().where(t.generation_documents.c.generation_id == g.generation_id)
        served = (GenerationState.PUBLISHED, GenerationState.RETIRED)
        last_served = (
            sa.select(g.generation_id)
            .where(g.state.in_(served))
            .order_by(g.published_at.desc(), g.generation_id.desc())
            .limit(keep)
        )
        with self._db.read() as connection:
            kept = connection.scalars(last_served).all()
            is_old = sa.and_(g.state == GenerationState.RETIRED, g.generation_id.not_in(kept))
            is_left = sa.and_(g.state == GenerationState.ABANDONED, has_members)
            return select_generations(connection, sa.or_(is_old, is_left))

    def remove_generation(self, generation: Generation) -> None:
        """Forget which documents it had; what it cost stays on record.

        One that was served again since it was found superfluous is left alone.
        """
        g = t.generations.c
        is_meant = sa.and_(
            g.generation_id == generation.generation_id,
            g.state == generation.state,
            g.published_at.is_not_distinct_from(generation.published_at),
        )
        with self._db.write() as connection:
            for found in select_generations(connection, is_meant):
                if found.state is GenerationState.RETIRED:
                    n_bought, bought_usd = bought(connection, found)
                    connection.execute(
                        t.generations.update()
                        .where(is_meant)
                        .values(
                            state=GenerationState.REMOVED,
                            bought_usd=bought_usd,
                            n_bought=n_bought,
                        )
                    )
                connection.execute(
                    t.generation_documents.delete().where(
                        t.generation_documents.c.generation_id == found.generation_id
                    )
                )

    def remove_documents(self, *, now: datetime) -> int:
        """Remove some document versions that no generation has; 0 if there are none.

        None either while a generation is being listed, which may be about to have them.
        """
        gd, dc, d = t.generation_documents.c, t.document_chunks.c, t.documents.c
        is_listing = sa.exists().where(t.generations.c.state == GenerationState.DRAFT)
        of_none = (
            sa.select(d.document_id)
            .where(~sa.exists().where(gd.document_id == d.document_id), ~is_listing)
            .limit(_BATCH_DOCUMENTS)
        )
        with self._db.write() as connection:
            ids = connection.scalars(of_none).all()
            left = sa.select(dc.chunk_id, sa.literal(now, t.UtcDateTime)).where(
                dc.document_id.in_(ids)
            )
            connection.execute(
                insert(t.unused_chunks)
                .from_select(["chunk_id", "since"], left.distinct())
                .on_conflict_do_nothing()
            )
            connection.execute(t.document_chunks.delete().where(dc.document_id.in_(ids)))
            connection.execute(t.documents.delete().where(d.document_id.in_(ids)))
        return len(ids)

    def forget_chunks(self, *, unused_before: datetime, now: datetime) -> tuple[int, int]:
        """Remove texts and vectors of some chunks that no document has had since then.

        How many chunks and how many vectors those were. Chunks that a job may still answer stay.
        """
        u, v, c = t.unused_chunks.c, t.vectors.c, t.chunks.c
        is_used = sa.exists().where(t.document_chunks.c.chunk_id == u.chunk_id)
        may_be_answered = sa.exists().where(
            t.requests.c.chunk_id == u.chunk_id,
            t.requests.c.outcome == "pending",
            t.shards.c.shard_id == t.requests.c.shard_id,
            sa.or_(
                t.shards.c.state == ShardState.OPEN,
                t.shards.c.planned_at > now - MAY_BE_ANSWERED_FOR,
            ),
        )
        due = (
            sa.select(u.chunk_id)
            .where(u.since <= unused_before, ~may_be_answered)
            .order_by(u.chunk_id)
            .limit(_BATCH_CHUNKS)
        )
        with self._db.write() as connection:
            connection.execute(t.unused_chunks.delete().where(is_used))
            ids = connection.scalars(due).all()
            spec_ids = connection.scalars(sa.select(t.specs.c.spec_id)).all()
            vectors = connection.execute(
                t.vectors.delete().where(v.spec_id.in_(spec_ids), v.chunk_id.in_(ids))
            )
            connection.execute(
                t.chunks.update().where(c.chunk_id.in_(ids)).values(text="", path="")
            )
            connection.execute(t.unused_chunks.delete().where(u.chunk_id.in_(ids)))
        return len(ids), vectors.rowcount

    def forget_specs(self, *, unused_before: datetime) -> int:
        """Remove some vectors of specs that no kept generation has had since then; how many."""
        g, v = t.generations.c, t.vectors.c
        of_spec = sa.exists().where(g.spec_id == t.specs.c.spec_id)
        is_recent = sa.or_(g.created_at > unused_before, g.published_at > unused_before)
        has_open_shard = of_spec.where(
            t.shards.c.generation_id == g.generation_id, t.shards.c.state == ShardState.OPEN
        )
        unused = sa.select(t.specs.c.spec_id).where(
            ~of_spec.where(g.state.in_(KEPT_STATES)),
            ~of_spec.where(is_recent),
            ~has_open_shard,
        )
        with self._db.write() as connection:
            spec_ids = connection.scalars(unused).all()
            some = sa.select(v.chunk_id, v.spec_id).where(v.spec_id.in_(spec_ids))
            rows = connection.execute(some.limit(_BATCH_CHUNKS)).all()
            for row in rows:
                connection.execute(
                    t.vectors.delete().where(v.spec_id == row.spec_id, v.chunk_id == row.chunk_id)
                )
        return len(rows)

    def forget_samples(self, *, asked_before: datetime) -> None:
        """Remove vectors that were answered to be compared, and are compared no more."""
        a, g = t.agreement_calls.c, t.generations.c
        is_kept = sa.exists().where(g.generation_id == a.generation_id, g.state.in_(KEPT_STATES))
        over = sa.select(a.call_id).where(a.asked_at < asked_before, ~is_kept)
        with self._db.write() as connection:
            connection.execute(
                t.agreement_samples.delete().where(t.agreement_samples.c.call_id.in_(over))
            )

    def finished_shards(self) -> list[str]:
        """Keys of closed shards of removed generations, and of superseded ones before those.

        What was bought for a superseded generation stands in the next one, and goes with it.
        """
        g, s = t.generations.c, t.shards.c
        is_kept, is_removed = g.state.in_(KEPT_STATES), g.state == GenerationState.REMOVED
        oldest_kept = sa.select(sa.func.min(g.generation_id)).where(is_kept).scalar_subquery()
        last_removed = (
            sa.select(sa.func.max(g.generation_id))
            .where(is_removed, g.generation_id < oldest_kept)
            .scalar_subquery()
        )
        is_before = g.generation_id < last_removed
        is_gone = sa.or_(is_removed, sa.and_(g.state == GenerationState.ABANDONED, is_before))
        query = (
            sa.select(s.key)
            .join(t.generations, g.generation_id == s.generation_id)
            .where(s.state != ShardState.OPEN, is_gone)
            .order_by(s.shard_id)
        )
        with self._db.read() as connection:
            return list(connection.scalars(query))

    def months(self) -> set[str]:
        """Of the generations that are kept."""
        g = t.generations.c
        with self._db.read() as connection:
            return set(connection.scalars(sa.select(g.month).where(g.state.in_(KEPT_STATES))))

    def vacuum(self) -> None:
        """Give the pages that are free back to the disk; readers and writers go on meanwhile."""
        n_free, n_before = self._free_pages(), None
        while n_free and n_free != n_before:
            with self._db.write() as connection, closing(connection.connection.cursor()) as cursor:
                # A page is freed with every row that is fetched, though the rows have no columns.
                cursor.execute(f"PRAGMA incremental_vacuum({_BATCH_PAGES})")
                cursor.fetchall()
            n_free, n_before = self._free_pages(), n_free
        self._db.checkpoint()

    def _free_pages(self) -> int:
        with self._db.read() as connection:
            return int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
