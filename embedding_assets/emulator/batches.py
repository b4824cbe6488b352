"""Batch jobs: what is known of one, which state that makes it be in, and the table they live in.

Belongs here: a job and its table. A job's state is never stored: it follows from the clock and
from when and how the job ends.
Does not belong here: who computes results, and which jobs are admitted (`state`).
"""

import sqlite3
from dataclasses import asdict, dataclass
from enum import StrEnum

from embedding_assets.emulator.database import Database, fields_of
from embedding_assets.emulator.errors import batch_not_found


class BatchState(StrEnum):
    """The states Gemini documents, and PARTIALLY_SUCCEEDED, which Vertex has."""

    PENDING = "BATCH_STATE_PENDING"  # the first half of the latency
    RUNNING = "BATCH_STATE_RUNNING"  # until it ends; for ever, if it is planned to be stuck
    SUCCEEDED = "BATCH_STATE_SUCCEEDED"  # the results can be downloaded
    PARTIALLY_SUCCEEDED = "BATCH_STATE_PARTIALLY_SUCCEEDED"  # some requests have no result
    FAILED = "BATCH_STATE_FAILED"  # no results, unless a fault grants some
    CANCELLED = "BATCH_STATE_CANCELLED"  # likewise
    EXPIRED = "BATCH_STATE_EXPIRED"  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch job. Times are seconds of the emulator's clock."""

    batch_id: str
    model: str
    display_name: str
    input_file: str | None
    n_requests: int
    n_tokens: int
    created_at: float
    latency_s: float
    planned_state: BatchState
    answered: float = 1.0
    """The share of its requests that is answered in its output; 0 is no output."""
    answered_seed: str = ""
    """Decides which requests these are."""
    output_delay_s: float = 0.0
    """How long after its end its output is there."""
    ends_at: float | None = None
    error_code: int | None = None
    """The RPC code of the error that ends it; None is the usual one of its state."""
    error_message: str | None = None
    n_succeeded: int = 0
    n_failed: int = 0

    def state_at(self, now: float) -> BatchState:
        """The state it is in at that time."""
        if self.ends_at is not None and self.ends_at <= now:
            return self.planned_state
        if now <= self.created_at + self.latency_s / 2:
            return BatchState.PENDING
        return BatchState.RUNNING

    def has_output_at(self, now: float) -> bool:
        """Whether its results are there by that time."""
        if self.ends_at is None or not self.answered:
            return False
        return self.ends_at + self.output_delay_s <= now


class BatchTable:
    """The batch jobs on disk. A deleted job cannot be seen, but goes on to its end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, batch: Batch) -> None:
        """Add a job."""
        self._database.change(
            "INSERT INTO batches (batch_id, model, display_name, input_file, n_requests,"
            " n_tokens, created_at, latency_s, planned_state, answered, answered_seed,"
            " output_delay_s, ends_at, error_code, error_message)"
            " VALUES (:batch_id, :model, :display_name, :input_file, :n_requests, :n_tokens,"
            " :created_at, :latency_s, :planned_state, :answered, :answered_seed,"
            " :output_delay_s, :ends_at, :error_code, :error_message)",
            asdict(batch),
        )

    def get(self, batch_id: str, *, now: float) -> Batch:
        """The job of that id. Raises ApiError 404 if there is none that can be seen."""
        rows = self._database.rows(
            "SELECT * FROM batches WHERE batch_id = ? AND NOT deleted AND visible_at <= ?",
            (batch_id, now),
        )
        if not rows:
            raise batch_not_found(batch_id)
        return _batch(rows[0])

    def page(self, *, before: int | None, size: int, now: float) -> tuple[list[Batch], int | None]:
        """Up to `size` jobs, newest first, and the position to go on before, or None."""
        rows = self._database.rows(
            "SELECT * FROM batches WHERE NOT deleted AND visible_at <= :now"
            " AND (:before IS NULL OR position < :before)"
            " ORDER BY position DESC LIMIT :size + 1",
            {"before": before, "size": size, "now": now},
        )
        more = rows[size - 1]["position"] if len(rows) > size else None
        return [_batch(row) for row in rows[:size]], more

    def result_is_available(self, batch_id: str, *, now: float, lifetime_s: float) -> bool:
        """Whether the job has had output, and not for too long; deleting it does not matter."""
        rows = self._database.rows(
            "SELECT 1 FROM outputs WHERE batch_id = :id"
            " AND output_at <= :now AND output_at + :lifetime_s > :now",
            {"id": batch_id, "now": now, "lifetime_s": lifetime_s},
        )
        return bool(rows)

    def without_results(self, *, now: float, lifetime_s: float) -> set[str]:
        """The ids of the jobs that have ended and have no results to offer, or no longer."""
        rows = self._database.rows(
            "SELECT batch_id FROM batches LEFT JOIN outputs USING (batch_id)"
            " WHERE ends_at <= :now"
            " AND (output_at IS NULL OR output_at + :lifetime_s <= :now)",
            {"now": now, "lifetime_s": lifetime_s},
        )
        return {row["batch_id"] for row in rows}

    def n_live(self, now: float) -> int:
        """How many jobs have not ended."""
        [row] = self._database.rows(
            "SELECT count(*) FROM batches WHERE ends_at IS NULL OR ends_at > ?", (now,)
        )
        return int(row[0])

    def enqueued_tokens(self, model: str, now: float) -> int:
        """The tokens of a model's jobs that have not ended."""
        [row] = self._database.rows(
            "SELECT coalesce(sum(n_tokens), 0) FROM batches"
            " WHERE model = ? AND (ends_at IS NULL OR ends_at > ?)",
            (model, now),
        )
        return int(row[0])

    def uncomputed(self) -> list[str]:
        """The ids of the jobs whose results are still to be computed, oldest first."""
        rows = self._database.rows("SELECT batch_id FROM uncomputed_batches ORDER BY position")
        return [row["batch_id"] for row in rows]

    def to_compute(self, batch_id: str) -> Batch | None:
        """The job if its results are still to be computed, deleted or not."""
        statement = "SELECT * FROM uncomputed_batches WHERE batch_id = ?"
        rows = self._database.rows(statement, (batch_id,))
        return _batch(rows[0]) if rows else None

    def complete(self, batch: Batch, *, ends_at: float, n_succeeded: int, n_failed: int) -> bool:
        """Results are computed. False if the job was cancelled meanwhile."""
        n_changed = self._database.change(
            "UPDATE batches SET ends_at = ?, n_succeeded = ?, n_failed = ?"
            " WHERE batch_id IN (SELECT batch_id FROM uncomputed_batches WHERE batch_id = ?)",
            (ends_at, n_succeeded, n_failed, batch.batch_id),
        )
        return n_changed == 1

    def fail(self, batch_id: str, *, now: float, message: str) -> None:
        """The results cannot be computed."""
        self._end(batch_id, BatchState.FAILED, now=now, message=message)

    def cancel(self, batch_id: str, *, now: float) -> None:
        """End a job now; one that has ended stays as it is."""
        message = "The batch job was cancelled."
        self._end(batch_id, BatchState.CANCELLED, now=now, message=message)

    def hide(self, batch_id: str, *, for_s: float) -> None:
        """Let a job be seen only so long after its creation; it runs nevertheless."""
        self._database.change(
            "UPDATE batches SET visible_at = created_at + ? WHERE batch_id = ?", (for_s, batch_id)
        )

    def delete(self, batch_id: str) -> None:
        """Hide a job for ever."""
        self._database.change("UPDATE batches SET deleted = 1 WHERE batch_id = ?", (batch_id,))

    def _end(self, batch_id: str, state: BatchState, *, now: float, message: str) -> None:
        self._database.change(
            "UPDATE batches SET planned_state = :state, ends_at = :now,"
            " error_code = NULL, error_message = :message,"
            " answered = 0, n_succeeded = 0, n_failed = 0"
            " WHERE batch_id = :id AND (ends_at IS NULL OR ends_at > :now)",
            {"id": batch_id, "state": state, "now": now, "message": message},
        )


def _batch(row: sqlite3.Row) -> Batch:
    values = fields_of(row, Batch)
    return Batch(**values | {"planned_state": BatchState(values["planned_state"])})
