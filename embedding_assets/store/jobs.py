"""Queries on batch jobs: the ledger of what was asked of Gemini, and what the sensors left behind.

Belongs here: reservations, state transitions, marks, the throttle.
Does not belong here: deciding and talking to Gemini (pipeline/).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from embedding_assets.errors import LedgerError, NoRoomError, Quota
from embedding_assets.model.batch_jobs import (
    DEAD_STATES,
    LIVE_STATES,
    BatchJob,
    JobState,
    RemoteJob,
    ShardStatus,
    blames_a_text,
    check_transition,
    display_name,
    needs_job,
)
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.model.results import INVALID_ARGUMENT
from embedding_assets.model.room import Ledger, SubmissionLimits, Throttle
from embedding_assets.model.shards import Route, Shard, ShardState
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.store import schema as t
from embedding_assets.store.conditions import in_lists, is_for
from embedding_assets.store.database import Database, from_row
from embedding_assets.store.shards import IS_OPEN, SELECT_SHARDS, select_shards, shard_from

_ANSWERED_STATES = frozenset({JobState.SUCCEEDED, JobState.HELD, JobState.COLLECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWait:
    """How long a batch job that has ended took, from its submission on, and for whom it was."""

    generation_id: int
    month: str
    seconds: float
    is_answered: bool  # or it failed, expired or was cancelled


class Jobs:
    """The batch jobs of one index file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # --- what the sensors look at and leave behind ------------------------------------------

    def ledger(self) -> Ledger:
        """One look at everything that is open."""
        is_abandoned = t.shards.c.state == ShardState.ABANDONED
        with self._db.read() as connection:
            abandoned = connection.scalars(sa.select(t.shards.c.key).where(is_abandoned)).all()
            return replace(_ledger(connection), abandoned_keys=abandoned)

    def mark_submit_requested(self, keys: Sequence[str], *, now: datetime | None) -> None:
        """A run that will submit these shards was asked for; None: it came to nothing."""
        if not keys:
            return
        with self._db.write() as connection:
            connection.execute(
                t.shards.update().where(t.shards.c.key.in_(keys)).values(submit_requested_at=now)
            )

    def mark_collect_requested(self, keys: Sequence[str], *, now: datetime) -> None:
        """A run that will collect these shards was asked for."""
        self._mark_jobs(keys, JobState.SUCCEEDED, collect_requested_at=now)

    def mark_failure_reported(self, keys: Sequence[str], *, now: datetime) -> None:
        """A run that will turn these shards' partitions red was asked for."""
        self._mark_jobs(keys, *DEAD_STATES, JobState.REFUSED, failure_reported_at=now)

    def _mark_jobs(self, keys: Sequence[str], *states: JobState, **values: datetime) -> None:
        if not keys:
            return
        shard_ids = sa.select(t.shards.c.shard_id).where(t.shards.c.key.in_(keys))
        with self._db.write() as connection:
            connection.execute(
                t.batch_jobs.update()
                .where(t.batch_jobs.c.shard_id.in_(shard_ids), t.batch_jobs.c.state.in_(states))
                .values(**values)
            )

    def forget_requested_runs(self) -> None:
        """Nobody is working on anything: what was asked for and not done may be asked again."""
        with self._db.write() as connection:
            connection.execute(t.shards.update().values(submit_requested_at=None))
            connection.execute(t.batch_jobs.update().values(collect_requested_at=None))

    # --- batch jobs -------------------------------------------------------------------------

    def newest_job(self, shard: Shard) -> BatchJob | None:
        """The shard's newest attempt, if there was one."""
        with self._db.read() as connection:
            return _newest_job(connection, shard)

    def waits(self, generation: Generation) -> list[JobWait]:
        """Of the batch jobs of this generation and of earlier ones of its provider, in their order.

        What the synchronous route answered did not wait.
        """
        j, s, g = t.batch_jobs.c, t.shards.c, t.generations.c
        query = (
            sa.select(g.generation_id, g.month, j.state, j.submitted_at, j.ended_at)
            .join(t.shards, s.shard_id == j.shard_id)
            .join(t.generations, g.generation_id == s.generation_id)
            .where(
                g.generation_id <= generation.generation_id,
                s.route == Route.BATCH,
                is_for(generation.spec.provider),
                j.submitted_at.is_not(None),
                j.ended_at.is_not(None),
            )
            .order_by(g.generation_id, j.shard_id, j.attempt)
        )
        with self._db.read() as connection:
            return [
                from_row(
                    JobWait,
                    row,
                    # Gemini's clock tells the end, and ours, it may be, the beginning.
                    seconds=max((row.ended_at - row.submitted_at).total_seconds(), 0.0),
                    is_answered=row.state in _ANSWERED_STATES,
                )
                for row in connection.execute(query)
            ]

    def watched(self, *, provider: str, released_after: datetime) -> list[BatchJob]:
        """The attempts that this provider may have news of, whatever their generation.

        Those under way, and those that were released lately: their job may appear late.
        """
        jobs = t.batch_jobs.c
        is_watched = sa.or_(jobs.state.in_(LIVE_STATES), jobs.released_at > released_after)
        with self._db.read() as connection:
            return select_jobs(connection, sa.and_(is_watched, is_for(provider)))

    def attempts_of(self, remote_jobs: Sequence[RemoteJob]) -> list[BatchJob]:
        """All attempts that have the name or the display name of one of Gemini's jobs."""
        jobs = t.batch_jobs.c
        with self._db.read() as connection:
            found = [
                attempt
                for some in in_lists(remote_jobs)
                for attempt in select_jobs(
                    connection,
                    sa.or_(
                        jobs.job_name.in_([remote.name for remote in some]),
                        jobs.display_name.in_([remote.display_name for remote in some]),
                    ),
                )
            ]
        return list({attempt.display_name: attempt for attempt in found}.values())

    def reserve(self, shard: Shard, *, requests_sha256: str, now: datetime) -> BatchJob:
        """Record the intent to submit these requests, before anything is asked of Gemini.

        A reservation that is still unused is taken over; one of other requests, or under an id
        that the index had before, makes room for a new one. Raises LedgerError if the newest
        attempt is alive or answered: a second job would be paid for twice; and if the shard is
        not open (any more).
        """
        with self._db.write() as connection:
            _check_open(connection, shard.shard_id)
            named = partial(
                display_name,
                index_id=self._db.index_id,
                shard_key=shard.key,
                requests_sha256=requests_sha256,
            )
            newest = _newest_job(connection, shard)
            if newest is not None and not needs_job(newest):
                raise LedgerError(
                    f"shard {shard.key} has attempt {newest.attempt} in state "
                    f"{newest.state.value!r}; it needs no other"
                )
            attempt = newest.attempt + 1 if newest else 1
            if newest is not None and newest.state is JobState.RESERVED:
                if newest.display_name == named(attempt=newest.attempt):
                    return newest
                if not _put_away(connection, newest, now):
                    attempt = newest.attempt
            connection.execute(
                t.batch_jobs.insert().values(
                    shard_id=shard.shard_id,
                    attempt=attempt,
                    display_name=named(attempt=attempt),
                    requests_sha256=requests_sha256,
                    state=JobState.RESERVED,
                    reserved_at=now,
                )
            )
            return _existing_job(connection, shard.shard_id, attempt)

    def record_upload(self, job: BatchJob, *, input_file_name: str | None) -> BatchJob:
        """Where the requests are at Gemini, if they are. Raises LedgerError as ``move`` does."""
        with self._db.write() as connection:
            return _update(connection, job, input_file_name=input_file_name)

    def announce(self, job: BatchJob, *, limits: SubmissionLimits, now: datetime) -> BatchJob:
        """Record that a create call is about to be made, if Gemini has room for the job.

        Looking for room and taking it are one transaction, so that two workers do not take the
        same. Raises NoRoomError if there is none, LedgerError as ``move`` does.
        """
        with self._db.write() as connection:
            _check_open(connection, job.shard_id)
            (shard,) = select_shards(connection, t.shards.c.shard_id == job.shard_id)
            judgement = _ledger(connection).room_at(shard.spec.provider, limits).judge(shard, now)
            if judgement.reason:
                raise NoRoomError(f"there is no room at Gemini: {judgement.reason}")
            return _update(
                connection,
                job,
                state=JobState.UNCONFIRMED,
                unconfirmed_at=now,
                cancel_requested_at=None,  # that was another job, which never came
            )

    def request_cancellation(self, job: BatchJob, *, now: datetime) -> BatchJob:
        """Gemini is about to be asked to cancel the job. Raises LedgerError as ``move`` does."""
        with self._db.write() as connection:
            return _update(connection, job, cancel_requested_at=now)

    def put_off_collection(self, job: BatchJob, *, until: datetime) -> BatchJob:
        """What was downloaded is no result file. Raises LedgerError as ``move`` does."""
        with self._db.write() as connection:
            return _update(
                connection,
                job,
                n_bad_downloads=job.n_bad_downloads + 1,
                collect_not_before=until,
                collect_requested_at=None,
            )

    def move(self, job: BatchJob, to: JobState, **columns: Any) -> BatchJob:
        """Take a job from the state it was read in to another one.

        Raises LedgerError if the transition cannot be, if somebody else moved it meanwhile, if
        its job is another attempt's, or if one is expected for a shard that was abandoned
        meanwhile.
        A dead or released attempt lets its shard be submitted again at once; the shard of an
        abandoned generation is given up with an attempt that came to nothing.
        """
        check_transition(job.state, to)
        with self._db.write() as connection:
            if to is JobState.UNCONFIRMED:
                _check_open(connection, job.shard_id)
            if "job_name" in columns:
                _check_unclaimed(connection, job, columns["job_name"])
            moved = _update(connection, job, state=to, **columns)
            if to in DEAD_STATES | {JobState.RESERVED}:
                _let_resubmit(connection, job.shard_id)
            if to in DEAD_STATES | {JobState.RESERVED, JobState.REFUSED}:
                _abandon_if_superseded(connection, job.shard_id)
            return moved

    def count_refused_whole(self, shard: Shard, chunk_id: int) -> int:
        """How many jobs with this chunk were refused as a whole, for the shard's generation."""
        j, r, s = t.batch_jobs.c, t.requests.c, t.shards.c
        query = (
            sa.select(sa.func.count())
            .select_from(t.batch_jobs)
            .join(t.shards, s.shard_id == j.shard_id)
            .join(t.requests, r.shard_id == j.shard_id)
            .where(
                s.generation_id == shard.generation_id,
                r.chunk_id == chunk_id,
                j.error_code == INVALID_ARGUMENT,
            )
        )
        with self._db.read() as connection:
            return int(connection.scalar(query) or 0)

    def over_and_done(self) -> set[str]:
        """The display names of attempts whose uploaded requests nobody needs any more.

        Of what this file does not know nothing is said: it may be an older copy.
        """
        j, s = t.batch_jobs.c, t.shards.c
        awaits_job = sa.or_(
            j.state.in_(LIVE_STATES),
            sa.and_(j.state == JobState.RESERVED, s.state == ShardState.OPEN),
        )
        over = sa.select(j.display_name).join(t.shards, s.shard_id == j.shard_id)
        with self._db.read() as connection:
            return set(connection.scalars(over.where(~awaits_job)))

    # --- the throttle -----------------------------------------------------------------------

    def change_throttle(
        self, spec: EmbeddingSpec, change: Callable[[Throttle], Throttle]
    ) -> Throttle:
        """Learn from an answer of the spec's provider, and remember it across restarts."""
        key = {"provider": spec.provider, "model": spec.model}
        with self._db.write() as connection:
            throttle = _throttles(connection).get((spec.provider, spec.model), Throttle())
            changed = change(throttle)
            values = asdict(changed)
            statement = insert(t.throttles).values(**key, **values)
            connection.execute(
                statement.on_conflict_do_update(index_elements=list(key), set_=values)
            )
        return changed


_SELECT_JOBS = (
    sa.select(t.batch_jobs, t.shards.c.key.label("shard_key"))
    .join(t.shards, t.shards.c.shard_id == t.batch_jobs.c.shard_id)
    .order_by(t.batch_jobs.c.shard_id, t.batch_jobs.c.attempt)
)


def select_jobs(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[BatchJob]:
    """The attempts that meet a condition, by shard in the order of planning, oldest first."""
    return [_job(row) for row in connection.execute(_SELECT_JOBS.where(condition))]


def _job(row: Any) -> BatchJob:
    return from_row(BatchJob, row, state=JobState(row.state))


def _ledger(connection: sa.Connection) -> Ledger:
    return Ledger(statuses=_statuses(connection), throttles=_throttles(connection))


def _statuses(connection: sa.Connection) -> list[ShardStatus]:
    attempts: defaultdict[int, list[Any]] = defaultdict(list)  # by shard, oldest first
    for row in connection.execute(_SELECT_JOBS.where(IS_OPEN)):
        attempts[row.shard_id].append(row)
    return [
        _status(connection, row, attempts[row.shard_id])
        for row in connection.execute(SELECT_SHARDS.where(IS_OPEN))
    ]


def _status(connection: sa.Connection, row: Any, attempts: Sequence[Any]) -> ShardStatus:
    newest = attempts[-1] if attempts else None
    shard, job = shard_from(row), _job(newest) if newest else None
    return ShardStatus(
        shard=shard,
        job=job,
        n_attempts=sum(attempt.state != JobState.REFUSED for attempt in attempts),
        is_poisoned=job is not None and _is_poisoned(connection, shard, job),
        submit_requested_at=row.submit_requested_at,
        collect_requested_at=newest.collect_requested_at if newest else None,
        failure_reported_at=newest.failure_reported_at if newest else None,
    )


def _is_poisoned(connection: sa.Connection, shard: Shard, job: BatchJob) -> bool:
    """Refused for one of its texts: not for what other shards of its generation are refused, too.

    Of a job that was answered in part that is sure.
    """
    if not job.is_refused_whole or job.state is JobState.COLLECTED:
        return job.is_refused_whole
    j, s = t.batch_jobs.c, t.shards.c
    has_generation = sa.and_(s.generation_id == shard.generation_id, s.route == Route.BATCH)
    attempts = sa.join(t.batch_jobs, t.shards, s.shard_id == j.shard_id)
    # A create call shows what it is about when it is made, a job when it ends.
    succeeded = sa.select(
        sa.func.max(j.submitted_at)
        if job.state is JobState.REFUSED
        else sa.func.max(j.ended_at).filter(j.state.in_(_ANSWERED_STATES))
    )
    last = connection.scalar(succeeded.select_from(attempts).where(has_generation))
    in_a_row = (
        sa.select(sa.func.count(), sa.func.max(s.n_requests))
        .select_from(attempts)
        .where(has_generation, j.state == job.state, j.error_code == INVALID_ARGUMENT)
        .where(sa.true() if last is None else j.ended_at > last)
    )
    n_refusals, n_requests = connection.execute(in_a_row).one()
    return blames_a_text(n_refusals, n_requests or 1)


def _throttles(connection: sa.Connection) -> dict[tuple[str, str], Throttle]:
    return {
        (row.provider, row.model): from_row(Throttle, row, quota=Quota(row.quota))
        for row in connection.execute(sa.select(t.throttles))
    }


def _is_job(job: BatchJob) -> sa.ColumnElement[bool]:
    # Not by shard and attempt: a reservation of other requests may have taken its place.
    return t.batch_jobs.c.display_name == job.display_name


def _update(connection: sa.Connection, job: BatchJob, **columns: Any) -> BatchJob:
    """Change a job that is still in the state it was read in; raises LedgerError otherwise."""
    jobs = t.batch_jobs.c
    # Released and announced again it is in the same state, but for another create call.
    is_same_call = jobs.unconfirmed_at.is_not_distinct_from(job.unconfirmed_at)
    is_as_read = sa.and_(_is_job(job), jobs.state == job.state, is_same_call)
    updated = connection.execute(t.batch_jobs.update().where(is_as_read).values(**columns))
    if updated.rowcount != 1:
        state = connection.scalar(sa.select(t.batch_jobs.c.state).where(_is_job(job)))
        raise LedgerError(
            f"attempt {job.attempt} of shard {job.shard_key} is {state or 'gone'!r} by now, "
            f"not {job.state.value!r}: somebody else is working on it"
        )
    return _existing_job(connection, job.shard_id, job.attempt)


def _put_away(connection: sa.Connection, reserved: BatchJob, now: datetime) -> bool:
    """Whether it stays on record: a create call of it was made, and its job may still appear."""
    if reserved.unconfirmed_at is None:
        connection.execute(t.batch_jobs.delete().where(_is_job(reserved)))
        return False
    message = "what it was reserved for has changed since; another attempt takes its place"
    _update(connection, reserved, state=JobState.REFUSED, error_message=message, ended_at=now)
    return True


def _check_open(connection: sa.Connection, shard_id: int) -> None:
    shard = connection.execute(
        sa.select(t.shards.c.key, t.shards.c.state).where(t.shards.c.shard_id == shard_id)
    ).one()
    if shard.state != ShardState.OPEN:
        raise LedgerError(f"shard {shard.key} is {shard.state!r}: nothing of it is to be submitted")


def _check_unclaimed(connection: sa.Connection, job: BatchJob, job_name: str) -> None:
    is_taken = sa.and_(t.batch_jobs.c.job_name == job_name, ~_is_job(job))
    for other in select_jobs(connection, is_taken):
        raise LedgerError(
            f"attempt {job.attempt} of shard {job.shard_key} cannot have {job_name}: attempt "
            f"{other.attempt} of shard {other.shard_key} has it"
        )


def _existing_job(connection: sa.Connection, shard_id: int, attempt: int) -> BatchJob:
    jobs = t.batch_jobs.c
    (job,) = select_jobs(connection, sa.and_(jobs.shard_id == shard_id, jobs.attempt == attempt))
    return job


def _newest_job(connection: sa.Connection, shard: Shard) -> BatchJob | None:
    attempts = select_jobs(connection, t.batch_jobs.c.shard_id == shard.shard_id)
    return attempts[-1] if attempts else None


def _let_resubmit(connection: sa.Connection, shard_id: int) -> None:
    connection.execute(
        t.shards.update().where(t.shards.c.shard_id == shard_id).values(submit_requested_at=None)
    )


def _abandon_if_superseded(connection: sa.Connection, shard_id: int) -> None:
    is_superseded = sa.exists().where(
        t.generations.c.generation_id == t.shards.c.generation_id,
        t.generations.c.state == GenerationState.ABANDONED,
    )
    connection.execute(
        t.shards.update()
        .where(t.shards.c.shard_id == shard_id, IS_OPEN, is_superseded)
        .values(state=ShardState.ABANDONED)
    )
