"""Room at Gemini: how much may be under way, what a refusal teaches, whether a shard fits now.

Belongs here: limits, the throttle, reasons to wait, when a shard must be split.
Does not belong here: deciding on shards (pipeline/decide.py), reading the ledger (store/jobs.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from embedding_assets.model.batch_jobs import (
    _REFUSALS_BEFORE_SPLIT,
    DEAD_STATES,
    LIVE_STATES,
    JobState,
    ShardStatus,
)
from embedding_assets.model.shards import Route, Shard
from embedding_assets.wording import utc

# Users saw the limit ease after 15 to 20 minutes, and no Retry-After (AI developers forum, 2026).
_LONGEST_BACKOFF = 15  # times the first
_MAX_JITTER = 0.25  # of the back-off: workers that were refused together do not return together
_MAX_DOUBLINGS = 10  # far beyond the longest back-off; a timedelta overflows at some 40


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
        max_enqueued_tokens=max(1, token_limit(limits, throttle) // 2),
    )


def throttle_after_acceptance(throttle: Throttle, *, limits: SubmissionLimits) -> Throttle:
    """A job was created: no need to wait, and the token limit doubles back to the setting."""
    if throttle.max_enqueued_tokens is None:
        return Throttle()
    recovered = throttle.max_enqueued_tokens * 2
    is_throttled = recovered < limits.max_enqueued_tokens
    return Throttle(max_enqueued_tokens=recovered if is_throttled else None)


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
    offered = token_limit(limits, throttle)
    if len(live) >= limits.max_concurrent_jobs:
        return f"{len(live)} of {limits.max_concurrent_jobs} jobs are under way"
    if live and sum(live) + shard.estimated_tokens > offered:
        return f"{sum(live):,} of {offered:,} tokens are under way"
    return None


def must_split(shard: Shard, *, limits: SubmissionLimits, throttle: Throttle) -> bool:
    """Whether a batch shard alone is more than Gemini takes, by setting or by its refusals."""
    if shard.n_requests == 1 or shard.route is not Route.BATCH:
        return False
    if throttle.n_refusals < _REFUSALS_BEFORE_SPLIT:
        return shard.estimated_tokens > limits.max_enqueued_tokens
    return shard.estimated_tokens > token_limit(limits, throttle)


def token_limit(limits: SubmissionLimits, throttle: Throttle) -> int:
    return min(
        limits.max_enqueued_tokens, throttle.max_enqueued_tokens or limits.max_enqueued_tokens
    )


def is_waiting(status: ShardStatus, limits: SubmissionLimits, now: datetime) -> bool:
    is_asked_for = is_recent(status.submit_requested_at, limits.retry_after, now)
    return not is_asked_for and is_submittable(status, limits)


def is_submittable(status: ShardStatus, limits: SubmissionLimits) -> bool:
    job = status.job
    if job is None or job.state is JobState.RESERVED:
        return True
    return job.state in DEAD_STATES and status.n_attempts < limits.max_job_attempts


def is_recent(asked_at: datetime | None, retry_after: timedelta, now: datetime) -> bool:
    return asked_at is not None and now - asked_at < retry_after


def occupied(
    statuses: Sequence[ShardStatus], limits: SubmissionLimits, now: datetime
) -> tuple[int, int]:
    """Jobs and tokens under way at Gemini, with those that a run is about to submit."""
    occupying = [
        status.shard.estimated_tokens
        for status in statuses
        if status.shard.route is Route.BATCH and occupies(status, limits, now)
    ]
    return len(occupying), sum(occupying)


def occupies(status: ShardStatus, limits: SubmissionLimits, now: datetime) -> bool:
    if status.job is not None and status.job.state in LIVE_STATES:
        return True
    is_asked_for = is_recent(status.submit_requested_at, limits.retry_after, now)
    return is_asked_for and is_submittable(status, limits)
