"""Batch jobs: one submission attempt of one shard, its states, and what to do next.

Belongs here: the ledger's value, the transition table, the pure decisions of the sensors.
Does not belong here: talking to Gemini (gemini.py) and doing what was decided (pipeline/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from embedding_assets.errors import LedgerError
from embedding_assets.model.shards import Route, Shard
from embedding_assets.money.budget import Purse
from embedding_assets.money.prices import estimated_usd
from embedding_assets.wording import count, utc


class JobState(StrEnum):
    """An attempt's life, from the intent to the vectors."""

    RESERVED = "reserved"  # the intent is recorded; nothing that costs money was asked for
    UNCONFIRMED = "unconfirmed"  # a create call was made, or is about to be: a job may exist
    PENDING = "pending"  # Gemini has the job and has not begun
    RUNNING = "running"  # Gemini is working on it
    SUCCEEDED = "succeeded"  # answered; the results are not in the index yet
    COLLECTED = "collected"  # the results are in the index
    FAILED = "failed"  # Gemini gave up on the job, or its results are gone
    EXPIRED = "expired"  # Gemini did not get to it in 48 hours
    CANCELLED = "cancelled"  # somebody cancelled it
    REFUSED = "refused"  # a definite no to the create call: nothing is owed, not an attempt


LIVE_STATES = frozenset({JobState.UNCONFIRMED, JobState.PENDING, JobState.RUNNING})
DEAD_STATES = frozenset({JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED})

_FROM_REMOTE = {JobState.PENDING, JobState.RUNNING, JobState.SUCCEEDED} | DEAD_STATES

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # SUCCEEDED directly: the synchronous route has its answer in one step.
    JobState.RESERVED: frozenset({JobState.UNCONFIRMED, JobState.REFUSED, JobState.SUCCEEDED}),
    # Back to RESERVED: refused for now, or absent from Gemini's list for long enough.
    JobState.UNCONFIRMED: frozenset({JobState.RESERVED, JobState.REFUSED} | _FROM_REMOTE),
    JobState.PENDING: frozenset(_FROM_REMOTE - {JobState.PENDING}),
    JobState.RUNNING: frozenset(_FROM_REMOTE - {JobState.RUNNING}),
    JobState.SUCCEEDED: frozenset({JobState.COLLECTED, JobState.FAILED}),
    JobState.COLLECTED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.EXPIRED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.REFUSED: frozenset(),
}

# Gemini writes BATCH_STATE_X on the wire, the SDK and older answers JOB_STATE_X.
_REMOTE_STATES = {
    "UNSPECIFIED": JobState.PENDING,
    "QUEUED": JobState.PENDING,
    "PENDING": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "CANCELLING": JobState.RUNNING,
    "SUCCEEDED": JobState.SUCCEEDED,
    "PARTIALLY_SUCCEEDED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
    "EXPIRED": JobState.EXPIRED,
    "CANCELLED": JobState.CANCELLED,
}

# Users saw the limit ease after 15 to 20 minutes, and no Retry-After (AI developers forum, 2026).
_LONGEST_BACKOFF = 15  # times the first
_MAX_JITTER = 0.25  # of the back-off: workers that were refused together do not return together
_MAX_DOUBLINGS = 10  # far beyond the longest back-off; a timedelta overflows at some 40
# A first refusal may be about anything; a second one in a row is about the size.
_REFUSALS_BEFORE_SPLIT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """One attempt, as the ledger has it. Names are Gemini's, the rest is ours."""

    shard_id: int
    shard_key: str
    attempt: int
    display_name: str
    requests_sha256: str
    state: JobState
    input_file_name: str | None
    job_name: str | None
    result_file_name: str | None
    error_message: str | None
    reserved_at: datetime
    unconfirmed_at: datetime | None
    submitted_at: datetime | None
    ended_at: datetime | None
    released_at: datetime | None  # its job stayed absent; it may still appear
    cancel_requested_at: datetime | None  # it took too long


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob:
    """A batch job as Gemini reports it."""

    name: str
    display_name: str
    state_name: str  # BATCH_STATE_PENDING and the like, as it came
    result_file_name: str | None  # where answers are, or will be if the job succeeded
    has_output: bool  # Gemini names a result file; a job that died may have one, too
    error_message: str | None
    created_at: datetime | None
    ended_at: datetime | None

    @property
    def state(self) -> JobState:
        """Our word for Gemini's state. Raises LedgerError for one that is not known."""
        bare = self.state_name.removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
        try:
            return _REMOTE_STATES[bare]
        except KeyError:
            raise LedgerError(
                f"job {self.name} is in state {self.state_name!r}, which this version does not "
                "know; look at it in Google's console and upgrade embedding-assets"
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """An uploaded file as Gemini lists it; result files are not among them."""

    name: str
    display_name: str
    n_bytes: int
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatus:
    """An open shard and its newest attempt: what the sensors decide on."""

    shard: Shard
    job: BatchJob | None
    n_attempts: int  # attempts that count: refusals do not
    submit_requested_at: datetime | None
    collect_requested_at: datetime | None
    failure_reported_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """What Gemini's refusals taught us; kept across restarts."""

    not_before: datetime | None = None
    n_refusals: int = 0
    max_enqueued_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionLimits:
    """What may be under way at Gemini at the same time."""

    max_concurrent_jobs: int
    max_enqueued_tokens: int
    max_job_attempts: int
    first_backoff: timedelta  # after a 429; it doubles with each one in a row
    retry_after: timedelta  # when a requested run that changed nothing may be requested again


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Shard keys to act on, and why these and no others, in a few clauses with numbers.

    There is no reason where there is nothing to say.
    """

    shard_keys: tuple[str, ...]
    reason: str


def check_transition(old: JobState, new: JobState) -> None:
    """Raises LedgerError for a transition that the table does not have."""
    if new not in TRANSITIONS[old]:
        raise LedgerError(f"a batch job cannot go from {old.value!r} to {new.value!r}")


def display_name(*, index_id: str, shard_key: str, attempt: int, requests_sha256: str) -> str:
    """The deterministic name by which an attempt is found again in Gemini's list."""
    return f"embedding-assets/{index_id}/{shard_key}/{attempt}/{requests_sha256[:16]}"


def throttle_after_refusal(
    throttle: Throttle, *, limits: SubmissionLimits, jitter: float, now: datetime
) -> Throttle:
    """A 429: wait longer each time, and offer half as many tokens until Gemini accepts again.

    ``jitter``, from 0 to 1, lengthens the wait by up to a quarter.
    """
    n_doublings = min(throttle.n_refusals, _MAX_DOUBLINGS)
    wait = limits.first_backoff * min(2**n_doublings, _LONGEST_BACKOFF)
    return Throttle(
        not_before=now + wait * (1 + _MAX_JITTER * jitter),
        n_refusals=throttle.n_refusals + 1,
        max_enqueued_tokens=max(1, _token_limit(limits, throttle) // 2),
    )


def throttle_after_acceptance(throttle: Throttle, *, limits: SubmissionLimits) -> Throttle:
    """A job was created: no need to wait, and the token limit doubles back to the setting."""
    if throttle.max_enqueued_tokens is None:
        return Throttle()
    recovered = throttle.max_enqueued_tokens * 2
    is_throttled = recovered < limits.max_enqueued_tokens
    return Throttle(max_enqueued_tokens=recovered if is_throttled else None)


def decide_submissions(
    statuses: Sequence[ShardStatus],
    *,
    limits: SubmissionLimits,
    throttle: Throttle,
    purse: Purse,
    now: datetime,
) -> Decision:
    """The shards to submit now: waiting ones, in order, as long as jobs, tokens and money allow.

    A shard that alone exceeds the token limit is submitted when nothing else is under way, so
    that it does not wait for ever; smaller ones behind it do not overtake it. Shards of the
    synchronous route occupy nothing and wait for nobody.
    """
    waiting = [status for status in statuses if _is_waiting(status, limits, now)]
    n_jobs, n_tokens = _occupied(statuses, limits, now)
    occupancy = partial(_occupancy, limits=limits, throttle=throttle)
    if not waiting:
        asked_for = _asked_for(statuses, limits, now)
        reason = f"no shard waits to be submitted; {occupancy(n_jobs, n_tokens)}{asked_for}"
        return Decision(shard_keys=(), reason=reason)
    if throttle.not_before is not None and now < throttle.not_before:
        return Decision(
            shard_keys=(),
            reason=(
                f"{_waiting(len(waiting))} because Gemini refuses for now; it is asked again from "
                f"{utc(throttle.not_before)}; {occupancy(n_jobs, n_tokens)}"
            ),
        )
    token_limit = _token_limit(limits, throttle)
    if throttle.n_refusals >= _REFUSALS_BEFORE_SPLIT:
        # What would be split waits until nothing smaller does: that may be accepted as it is.
        waiting.sort(key=lambda status: status.shard.estimated_tokens > token_limit)
    n_for_room = n_for_money = 0
    too_dear: dict[int, str] = {}  # by generation
    chosen: list[str] = []
    for status in waiting:
        shard = status.shard
        usd = estimated_usd(shard)
        against = purse.reason_against(shard.generation_id, usd)
        if against is not None:
            too_dear.setdefault(shard.generation_id, against)
        if shard.generation_id in too_dear:
            n_for_money += 1
            continue
        if shard.route is Route.BATCH:
            over_tokens = n_jobs > 0 and n_tokens + shard.estimated_tokens > token_limit
            if n_for_room or n_jobs >= limits.max_concurrent_jobs or over_tokens:
                n_for_room += 1
                continue
            n_jobs += 1
            n_tokens += shard.estimated_tokens
        purse = purse.after(shard.generation_id, usd)
        chosen.append(shard.key)
    clauses = [occupancy(n_jobs, n_tokens)]
    if chosen:
        submitting = f"submitting {len(chosen):,} of {count(len(waiting), 'waiting shard')}"
        clauses = [f"{submitting}; then {clauses[0]}"]
    if n_for_room:
        clauses.append(f"{_waiting(n_for_room)} until jobs have ended")
    if too_dear:
        why = ", ".join(too_dear.values())
        clauses.append(f"{_waiting(n_for_money)} for money, no more is sent: {why}")
    return Decision(shard_keys=tuple(chosen), reason="; ".join(clauses))


def _waiting(n_shards: int) -> str:
    return count(n_shards, "shard waits", "shards wait")


def _occupancy(n_jobs: int, n_tokens: int, *, limits: SubmissionLimits, throttle: Throttle) -> str:
    """What is under way, or about to be, of what is allowed."""
    token_limit = _token_limit(limits, throttle)
    lowered = (
        f" (lowered from {limits.max_enqueued_tokens:,} after Gemini's refusals)"
        if token_limit < limits.max_enqueued_tokens
        else ""
    )
    return (
        f"{n_jobs:,} of {count(limits.max_concurrent_jobs, 'job')} and {n_tokens:,} of "
        f"{count(token_limit, 'token')}{lowered} are under way"
    )


def _asked_for(statuses: Sequence[ShardStatus], limits: SubmissionLimits, now: datetime) -> str:
    """The shards for which a run was requested that has not come to them yet."""
    moments = [
        status.submit_requested_at
        for status in statuses
        if status.submit_requested_at is not None
        and _is_recent(status.submit_requested_at, limits.retry_after, now)
        and _is_submittable(status, limits)
    ]
    if not moments:
        return ""
    runs = count(len(moments), "shard has its run", "shards have their run")
    return f"; {runs} requested, and again from {utc(min(moments) + limits.retry_after)}"


def reason_to_wait(
    shard: Shard,
    statuses: Sequence[ShardStatus],
    *,
    limits: SubmissionLimits,
    throttle: Throttle,
    now: datetime,
) -> str | None:
    """Why Gemini's limits do not admit this batch shard now; None if they do.

    For a run that is about to submit it: what other runs were asked for does not count.
    """
    if throttle.not_before is not None and now < throttle.not_before:
        return f"it refuses for now, backing off until {utc(throttle.not_before)}"
    live = [
        status.shard.estimated_tokens
        for status in statuses
        if status.job is not None
        and status.job.state in LIVE_STATES
        and status.shard.route is Route.BATCH
    ]
    token_limit = _token_limit(limits, throttle)
    if len(live) >= limits.max_concurrent_jobs:
        return f"{len(live)} of {limits.max_concurrent_jobs} jobs are under way"
    if live and sum(live) + shard.estimated_tokens > token_limit:
        return f"{sum(live):,} of {token_limit:,} tokens are under way"
    return None


def must_split(shard: Shard, *, limits: SubmissionLimits, throttle: Throttle) -> bool:
    """Whether a batch shard alone is more than Gemini takes, by setting or by its refusals."""
    if shard.n_requests == 1 or shard.route is not Route.BATCH:
        return False
    if throttle.n_refusals < _REFUSALS_BEFORE_SPLIT:
        return shard.estimated_tokens > limits.max_enqueued_tokens
    return shard.estimated_tokens > _token_limit(limits, throttle)


def _token_limit(limits: SubmissionLimits, throttle: Throttle) -> int:
    return min(
        limits.max_enqueued_tokens, throttle.max_enqueued_tokens or limits.max_enqueued_tokens
    )


def _is_waiting(status: ShardStatus, limits: SubmissionLimits, now: datetime) -> bool:
    is_asked_for = _is_recent(status.submit_requested_at, limits.retry_after, now)
    return not is_asked_for and _is_submittable(status, limits)


def _is_submittable(status: ShardStatus, limits: SubmissionLimits) -> bool:
    job = status.job
    if job is None or job.state is JobState.RESERVED:
        return True
    return job.state in DEAD_STATES and status.n_attempts < limits.max_job_attempts


def _is_recent(asked_at: datetime | None, retry_after: timedelta, now: datetime) -> bool:
    return asked_at is not None and now - asked_at < retry_after


def _occupied(
    statuses: Sequence[ShardStatus], limits: SubmissionLimits, now: datetime
) -> tuple[int, int]:
    """Jobs and tokens under way at Gemini, with those that a run is about to submit."""
    occupying = [
        status.shard.estimated_tokens
        for status in statuses
        if status.shard.route is Route.BATCH and _occupies(status, limits, now)
    ]
    return len(occupying), sum(occupying)


def _occupies(status: ShardStatus, limits: SubmissionLimits, now: datetime) -> bool:
    if status.job is not None and status.job.state in LIVE_STATES:
        return True
    is_asked_for = _is_recent(status.submit_requested_at, limits.retry_after, now)
    return is_asked_for and _is_submittable(status, limits)


def decide_collections(
    statuses: Sequence[ShardStatus], *, retry_after: timedelta, now: datetime
) -> Decision:
    """The shards whose results Gemini has ready and nobody is collecting."""
    ready = [s for s in statuses if s.job is not None and s.job.state is JobState.SUCCEEDED]
    keys = tuple(
        s.shard.key for s in ready if not _is_recent(s.collect_requested_at, retry_after, now)
    )
    n_live = sum(s.job is not None and s.job.state in LIVE_STATES for s in statuses)
    under_way = f"{count(n_live, 'job is', 'jobs are')} under way"
    if keys:
        collecting = f"collecting {count(len(keys), 'finished job')}"
        return Decision(shard_keys=keys, reason=f"{collecting}; {under_way}")
    moments = [s.collect_requested_at for s in ready if s.collect_requested_at is not None]
    if moments:
        runs = count(len(ready), "finished job has its run", "finished jobs have their run")
        again = utc(min(moments) + retry_after)
        return Decision(
            shard_keys=(), reason=f"{under_way}; {runs} requested, and again from {again}"
        )
    return Decision(shard_keys=(), reason=f"{under_way}, none is newly finished")


def decide_failure_reports(statuses: Sequence[ShardStatus], *, max_job_attempts: int) -> Decision:
    """The shards that are given up and whose partition is not red yet."""
    given_up = [s for s in statuses if is_given_up(s, max_job_attempts=max_job_attempts)]
    keys = tuple(s.shard.key for s in given_up if s.failure_reported_at is None)
    if keys:
        red = count(len(keys), "shard is given up and turns", "shards are given up and turn")
        return Decision(shard_keys=keys, reason=f"{red} red")
    if given_up:
        return Decision(
            shard_keys=(),
            reason=(
                f"{count(len(given_up), 'shard is', 'shards are')} given up: materialize the "
                "failed partitions of batch_jobs"
            ),
        )
    return Decision(shard_keys=(), reason="")


def needs_job(job: BatchJob | None) -> bool:
    """Whether a shard with this newest attempt may be submitted without paying twice."""
    if job is None:
        return True
    return job.state in DEAD_STATES | {JobState.RESERVED, JobState.REFUSED}


def is_given_up(status: ShardStatus, *, max_job_attempts: int) -> bool:
    """No job is left and none will be created unless a person asks for it."""
    if status.job is None:
        return False
    if status.job.state is JobState.REFUSED:
        return True
    return status.job.state in DEAD_STATES and status.n_attempts >= max_job_attempts
