"""Recording results: vectors, request outcomes and chunk failures, in one transaction a shard.

Belongs here: everything that changes when a result file is collected.
Does not belong here: parsing it (model/results.py) and reading vectors for search (published.py).
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from embedding_assets.errors import LedgerError
from embedding_assets.model.answers import Evidence
from embedding_assets.model.batch_jobs import BatchJob, JobState, check_transition
from embedding_assets.model.reading import Reading
from embedding_assets.model.results import UNUSABLE_CODES, RequestOutcome
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.store import schema as t
from embedding_assets.store.database import Database


class Results:
    """What result files bring into one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record_outcomes(
        self,
        job: BatchJob,
        outcomes: Sequence[RequestOutcome],
        *,
        paid_tokens: int = 0,
        reading: Reading | None = None,
    ) -> None:
        """Vectors, outcomes, and the job as collected: all in one transaction.

        ``outcomes`` in chunk_id order, so that neighbours lie together; read again, what was
        collected before has vectors for what had failed. ``paid_tokens`` stay on the bill, also
        those that are no request's. Raises LedgerError if somebody else collected it meanwhile.
        """
        good = [outcome for outcome in outcomes if outcome.vector is not None]
        bad = [outcome for outcome in outcomes if outcome.vector is None]
        if reading and job.state is JobState.COLLECTED:  # what failed has failed, and was counted
            outcomes, bad = good, []
        else:
            check_transition(job.state, JobState.COLLECTED)
        n_matched = sum(outcome.billed_tokens for outcome in outcomes)
        values: dict[str, Any] = {
            "state": JobState.COLLECTED,
            "hold_reason": None,
            "unmatched_tokens": max(0, paid_tokens - n_matched),
        }
        with self._db.write() as connection:
            moved = connection.execute(
                t.batch_jobs.update()
                .where(
                    t.batch_jobs.c.shard_id == job.shard_id,
                    t.batch_jobs.c.attempt == job.attempt,
                    t.batch_jobs.c.state == job.state,
                )
                .values(values)
            )
            if moved.rowcount != 1:
                raise LedgerError(f"the results of shard {job.shard_key} were collected already")
            spec_id = _spec_id_of(connection, job.shard_id)
            _insert_vectors(connection, good, spec_id)
            _update_requests(connection, job.shard_id, outcomes)
            _clear_failures(connection, [outcome.chunk_id for outcome in good], spec_id)
            _record_failures(connection, bad, spec_id)
            _settle(connection, job.shard_id)

    def evidence(self, job: BatchJob) -> Evidence:
        """What is known of an attempt's answer before it is read."""
        c, r = t.chunks.c, t.requests.c
        with self._db.read() as connection:
            spec_id = _spec_id_of(connection, job.shard_id)
            failed_before = (
                sa.select(c.chunk_id)
                .join(t.requests, r.chunk_id == c.chunk_id)
                .where(
                    r.shard_id == job.shard_id,
                    c.error_spec_id == spec_id,
                    c.error_code.in_(sorted(UNUSABLE_CODES)),
                )
            )
            lost = sa.exists().where(
                t.batch_jobs.c.shard_id == job.shard_id,
                t.batch_jobs.c.attempt < job.attempt,
                t.batch_jobs.c.unmatched_tokens > 0,
            )
            of_spec = sa.select(sa.exists().where(t.vectors.c.spec_id == spec_id))
            taken = sa.select(sa.func.count()).where(
                r.shard_id == job.shard_id, r.outcome == "embedded"
            )
            n_left = (job.n_answered or 0) - connection.scalars(taken).one()
            return Evidence(
                n_answered=None if job.n_answered is None else max(0, n_left),
                job_error=job.error_message,
                failed_before=frozenset(connection.scalars(failed_before)),
                is_known_shape=bool(connection.scalar(of_spec)),
                was_lost_before=bool(connection.scalar(sa.select(lost))),
            )

    def forget_vectors(self, shard: Shard) -> int:
        """Let the texts that a shard brought vectors for be planned again; how many there were.

        What was billed for them stays on the bill.
        """
        v, r = t.vectors.c, t.requests.c
        brought = sa.select(r.chunk_id).where(r.shard_id == shard.shard_id, r.outcome == "embedded")
        with self._db.write() as connection:
            spec_id = _spec_id_of(connection, shard.shard_id)
            forgotten = connection.execute(
                t.vectors.delete().where(v.spec_id == spec_id, v.chunk_id.in_(brought))
            )
        return forgotten.rowcount

    def record_refusal(self, job: BatchJob) -> None:
        """What is pending of a shard has failed, for what its newest job was refused for.

        As if a result line had said so. Raises LedgerError if the shard is not open any more.
        """
        r, s = t.requests.c, t.shards.c
        with self._db.write() as connection:
            pending = connection.scalars(
                sa.select(r.chunk_id)
                .join(t.shards, s.shard_id == r.shard_id)
                .where(
                    r.shard_id == job.shard_id, r.outcome == "pending", s.state == ShardState.OPEN
                )
            ).all()
            if not pending:
                raise LedgerError(f"nothing of shard {job.shard_key} is pending any more")
            refused = [
                RequestOutcome(
                    chunk_id=chunk_id,
                    error_code=job.error_code,
                    error_message=job.error_message or "Gemini gave no reason",
                )
                for chunk_id in pending
            ]
            _update_requests(connection, job.shard_id, refused)
            _record_failures(connection, refused, _spec_id_of(connection, job.shard_id))
            _settle(connection, job.shard_id)

    def forget_failures(self, chunk_ids: Sequence[int], *, spec_id: int) -> None:
        """Let these chunks be planned again under this spec, as if they had never been tried."""
        with self._db.write() as connection:
            _clear_failures(connection, chunk_ids, spec_id)


def _spec_id_of(connection: sa.Connection, shard_id: int) -> int:
    return int(
        connection.execute(
            sa.select(t.generations.c.spec_id)
            .join(t.shards, t.shards.c.generation_id == t.generations.c.generation_id)
            .where(t.shards.c.shard_id == shard_id)
        ).scalar_one()
    )


def _insert_vectors(
    connection: sa.Connection, good: Sequence[RequestOutcome], spec_id: int
) -> None:
    if good:
        connection.execute(
            insert(t.vectors).on_conflict_do_nothing(),
            [
                {"spec_id": spec_id, "chunk_id": outcome.chunk_id, "vector": outcome.vector}
                for outcome in good
            ],
        )


def _update_requests(
    connection: sa.Connection, shard_id: int, outcomes: Sequence[RequestOutcome]
) -> None:
    if not outcomes:
        return
    statement = (
        t.requests.update()
        .where(t.requests.c.shard_id == shard_id, t.requests.c.chunk_id == sa.bindparam("chunk"))
        .values(
            outcome=sa.bindparam("new_outcome"),
            error_code=sa.bindparam("new_code"),
            error_message=sa.bindparam("new_message"),
            billed_tokens=sa.bindparam("new_tokens"),
            is_estimated=sa.bindparam("new_is_estimated"),
        )
    )
    connection.execute(
        statement,
        [
            {
                "chunk": outcome.chunk_id,
                "new_outcome": "failed" if outcome.vector is None else "embedded",
                "new_code": outcome.error_code,
                "new_message": outcome.error_message,
                "new_tokens": outcome.billed_tokens,
                "new_is_estimated": outcome.is_estimated,
            }
            for outcome in outcomes
        ],
    )


def _clear_failures(connection: sa.Connection, chunk_ids: Sequence[int], spec_id: int) -> None:
    if chunk_ids:
        connection.execute(
            t.chunks.update()
            .where(
                t.chunks.c.chunk_id == sa.bindparam("chunk"), t.chunks.c.error_spec_id == spec_id
            )
            .values(error_spec_id=None, error_code=None, error_message=None, attempts=0),
            [{"chunk": chunk_id} for chunk_id in chunk_ids],
        )


def _record_failures(
    connection: sa.Connection, bad: Sequence[RequestOutcome], spec_id: int
) -> None:
    if not bad:
        return
    is_same_spec = sa.func.coalesce(t.chunks.c.error_spec_id, 0) == spec_id
    connection.execute(
        t.chunks.update()
        .where(t.chunks.c.chunk_id == sa.bindparam("chunk"))
        .values(
            error_spec_id=spec_id,
            error_code=sa.bindparam("new_code"),
            error_message=sa.bindparam("new_message"),
            attempts=sa.case((is_same_spec, t.chunks.c.attempts + 1), else_=1),
        ),
        [
            {
                "chunk": outcome.chunk_id,
                "new_code": outcome.error_code,
                "new_message": outcome.error_message,
            }
            for outcome in bad
        ],
    )


def _settle(connection: sa.Connection, shard_id: int) -> None:
    has_pending = sa.exists().where(
        t.requests.c.shard_id == t.shards.c.shard_id, t.requests.c.outcome == "pending"
    )
    connection.execute(
        t.shards.update()
        .where(t.shards.c.shard_id == shard_id, ~has_pending)
        .values(state=ShardState.SETTLED)
    )
