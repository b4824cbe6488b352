"""What to do next, as pure functions of what the ledger says and of the clock.

Belongs here: the decisions of all sensors. Does not belong here: doing it (the other modules).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from embedding_assets.model.batch_jobs import (
    _REFUSALS_BEFORE_SPLIT,
    LIVE_STATES,
    JobState,
    ShardStatus,
    is_given_up,
)
from embedding_assets.model.room import (
    SubmissionLimits,
    Throttle,
    is_recent,
    is_submittable,
    is_waiting,
    occupied,
    token_limit,
)
from embedding_assets.model.shards import Route
from embedding_assets.money.budget import Purse
from embedding_assets.money.prices import estimated_usd
from embedding_assets.wording import count, utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Shard keys to act on, and why these and no others, in a few clauses with numbers.

    There is no reason where there is nothing to say.
    """

    shard_keys: tuple[str, ...]
    reason: str


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
    waiting = [status for status in statuses if is_waiting(status, limits, now)]
    n_jobs, n_tokens = occupied(statuses, limits, now)
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
    offered = token_limit(limits, throttle)
    if throttle.n_refusals >= _REFUSALS_BEFORE_SPLIT:
        # What would be split waits until nothing smaller does: that may be accepted as it is.
        waiting.sort(key=lambda status: status.shard.estimated_tokens > offered)
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
            over_tokens = n_jobs > 0 and n_tokens + shard.estimated_tokens > offered
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
    offered = token_limit(limits, throttle)
    lowered = (
        f" (lowered from {limits.max_enqueued_tokens:,} after Gemini's refusals)"
        if offered < limits.max_enqueued_tokens
        else ""
    )
    return (
        f"{n_jobs:,} of {count(limits.max_concurrent_jobs, 'job')} and {n_tokens:,} of "
        f"{count(offered, 'token')}{lowered} are under way"
    )


def _asked_for(statuses: Sequence[ShardStatus], limits: SubmissionLimits, now: datetime) -> str:
    """The shards for which a run was requested that has not come to them yet."""
    moments = [
        status.submit_requested_at
        for status in statuses
        if status.submit_requested_at is not None
        and is_recent(status.submit_requested_at, limits.retry_after, now)
        and is_submittable(status, limits)
    ]
    if not moments:
        return ""
    runs = count(len(moments), "shard has its run", "shards have their run")
    return f"; {runs} requested, and again from {utc(min(moments) + limits.retry_after)}"


def decide_collections(
    statuses: Sequence[ShardStatus], *, retry_after: timedelta, now: datetime
) -> Decision:
    """The shards whose results Gemini has ready and nobody is collecting."""
    ready = [s for s in statuses if s.job is not None and s.job.state is JobState.SUCCEEDED]
    keys = tuple(
        s.shard.key for s in ready if not is_recent(s.collect_requested_at, retry_after, now)
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
