"""What to do next, as pure functions of what the ledger says and of the clock.

Belongs here: the decisions of all sensors, and their words. Does not belong here: doing it (the
other modules of pipeline/), what there is room for (model/room.py).
"""

import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from embedding_assets.model.agreement import Silence
from embedding_assets.model.batch_jobs import JobState, ShardStatus, is_given_up, is_submittable
from embedding_assets.model.generations import Generation, Progress
from embedding_assets.model.room import Judgement, Room, Verdict
from embedding_assets.model.shards import Route, Shard
from embedding_assets.money.budget import Purse
from embedding_assets.money.prices import estimated_usd
from embedding_assets.pipeline.waiting import (
    few_requests,
    jobs_under_way,
    late_results,
    spoilt_downloads,
    unconfirmed_jobs,
)
from embedding_assets.settings.values import Limits, Settings
from embedding_assets.wording import count, utc

_CHOSEN = (Verdict.SUBMIT, Verdict.SPLIT)
_GIVEN_UP = "given up: materialize the failed partitions of batch_jobs"
_HELD = "held, not understood: see `embedding-assets status`"
# What came to nothing is asked for again so many hours later at the latest.
_ERA_H = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Shard keys to act on, and why these and no others, in a few clauses with numbers.

    There is no reason where there is nothing to say.
    """

    shard_keys: tuple[str, ...] = ()
    reason: str


# --- what to submit ---------------------------------------------------------------------------


def decide_submissions(
    statuses: Sequence[ShardStatus],
    *,
    room: Room,
    purse: Purse,
    doubt: str | None = None,
    now: datetime,
) -> Decision:
    """The shards to submit now: waiting ones, in order, as long as jobs, tokens and money allow.

    None while there is a ``doubt`` whether this index is a copy.

    A shard that alone exceeds the token limit is submitted when nothing else is under way, so
    that it does not wait for ever; smaller ones behind it do not overtake it. Shards of the
    synchronous route occupy nothing and wait for nobody.
    """
    if doubt is not None:
        return Decision(reason=doubt)
    judgements = judge_shards(statuses, room=room, purse=purse, now=now)
    chosen = tuple(one.shard.key for one in judgements if one.verdict in _CHOSEN)
    return Decision(shard_keys=chosen, reason=explain(judgements, room=room))


def judge_shards(
    statuses: Iterable[ShardStatus], *, room: Room, purse: Purse, now: datetime
) -> list[Judgement]:
    """A verdict on each shard that is to be submitted, in the order of their turns."""
    asked_for: list[Judgement] = []
    waiting: list[Shard] = []
    for status in statuses:
        if not is_submittable(status, max_job_attempts=room.limits.max_job_attempts):
            continue
        until = _asked_until(status.submit_requested_at, room.limits.retry_after, now)
        if until is None:
            waiting.append(status.shard)
        else:
            found = Judgement(shard=status.shard, verdict=Verdict.ASKED_FOR, until=until)
            asked_for.append(found)
    # What would be split waits until nothing smaller does: that may be accepted as it is.
    waiting.sort(key=room.was_too_big)
    room = room.after(found.shard for found in asked_for)
    return [*asked_for, *_judge_waiting(waiting, room, purse, now)]


def _judge_waiting(
    shards: Iterable[Shard], room: Room, purse: Purse, now: datetime
) -> Iterator[Judgement]:
    too_dear: dict[int, str] = {}  # by generation
    is_full = False
    for shard in shards:
        judgement = room.judge(shard, now)
        usd = estimated_usd(shard)
        dear = too_dear.get(shard.generation_id) or purse.reason_against(shard.generation_id, usd)
        if judgement.verdict in (Verdict.REFUSED, Verdict.NOT_UNDERSTOOD):
            pass
        elif dear is not None:
            too_dear[shard.generation_id] = dear
            judgement = Judgement(shard=shard, verdict=Verdict.NO_MONEY, reason=dear)
        elif judgement.verdict is Verdict.NO_ROOM or (is_full and shard.route is Route.BATCH):
            is_full = True
            judgement = replace(judgement, verdict=Verdict.NO_ROOM)
        else:
            room, purse = room.after([shard]), purse.after(shard.generation_id, usd)
        yield judgement


def explain(judgements: Sequence[Judgement], *, room: Room) -> str:
    """The verdicts in a few clauses; ``room`` is as it was before them."""
    found = {verdict: [one for one in judgements if one.verdict is verdict] for verdict in Verdict}
    chosen, asked_for = found[Verdict.SUBMIT] + found[Verdict.SPLIT], found[Verdict.ASKED_FOR]
    n_waiting = len(judgements) - len(asked_for)
    clauses = [] if n_waiting else ["no shard waits to be submitted"]
    if refused := found[Verdict.REFUSED]:
        why = "; ".join(dict.fromkeys(one.reason for one in refused))
        clauses.append(f"{_waiting(refused)}: {why}")
    if chosen:
        submitting = f"submitting {len(chosen):,} of {count(n_waiting, 'waiting shard')}"
        clauses.append(f"{submitting}; then {_under_way(room, [*asked_for, *chosen])}")
    else:
        clauses.append(_under_way(room, asked_for))
    if alike := found[Verdict.NOT_UNDERSTOOD]:
        clauses.append(f"{_waiting(alike)}: {alike[0].reason}")
    if full := found[Verdict.NO_ROOM]:
        clauses.append(f"{_waiting(full)} until jobs have ended")
    if dear := found[Verdict.NO_MONEY]:
        why = ", ".join(dict.fromkeys(one.reason for one in dear))
        clauses.append(f"{_waiting(dear)} for money, no more is sent: {why}")
    if asked_for and not n_waiting:
        runs = count(len(asked_for), "shard has its run", "shards have their run")
        clauses.append(f"{runs} {_requested(one.until for one in asked_for)}")
    return "; ".join(clauses)


def _waiting(judgements: Sequence[Judgement]) -> str:
    return count(len(judgements), "shard waits", "shards wait")


def _requested(untils: Iterable[datetime | None]) -> str:
    return f"requested, and again from {_first(untils)}"


def _first(untils: Iterable[datetime | None]) -> str:
    return utc(min(filter(None, untils)))


def _under_way(room: Room, judgements: Iterable[Judgement]) -> str:
    """What is under way, or about to be, of what is allowed."""
    room = room.after(one.shard for one in judgements)
    limits, offered = room.limits, room.offered_tokens
    lowered = (
        f" (lowered from {limits.max_enqueued_tokens:,} after Gemini's refusals)"
        if offered < limits.max_enqueued_tokens
        else ""
    )
    return (
        f"{room.n_jobs:,} of {count(limits.max_concurrent_jobs, 'job')} and {room.n_tokens:,} of "
        f"{count(offered, 'token')}{lowered} are under way"
    )


def _asked_until(
    asked_at: datetime | None, retry_after: timedelta, now: datetime
) -> datetime | None:
    """Until when a run that was asked for may be coming; None if none is."""
    if asked_at is None or now - asked_at >= retry_after:
        return None
    return asked_at + retry_after


# --- what to collect, what to report ----------------------------------------------------------


def decide_collections(
    statuses: Sequence[ShardStatus], *, limits: Limits, now: datetime
) -> Decision:
    """The shards whose results Gemini has ready and nobody is collecting."""
    retry_after = timedelta(seconds=limits.run_retry_s)
    ready = [s for s in statuses if s.job is not None and s.job.state is JobState.SUCCEEDED]
    untils = {
        s.shard.key: _asked_until(s.collect_requested_at, retry_after, now) or _put_off(s, now)
        for s in ready
    }
    keys = tuple(key for key, until in untils.items() if until is None)
    clauses = [jobs_under_way(statuses, limits), unconfirmed_jobs(statuses, limits)]
    clauses.append(spoilt_downloads(statuses))
    if keys:
        clauses.insert(0, f"collecting {count(len(keys), 'finished job')}")
    elif ready:
        runs = count(len(ready), "finished job has its run", "finished jobs have their run")
        clauses += [f"{runs} {_requested(untils.values())}", late_results(statuses, limits)]
    else:
        clauses[0] += ", none is newly finished"
    return Decision(shard_keys=keys, reason="; ".join(filter(None, clauses)))


def _put_off(status: ShardStatus, now: datetime) -> datetime | None:
    """Until when a download is not tried again, because the last one brought no result file."""
    until = status.job.collect_not_before if status.job else None
    return until if until is not None and now < until else None


def decide_failure_reports(
    statuses: Sequence[ShardStatus],
    *,
    max_job_attempts: int,
    lost_reports: Collection[str] = (),
) -> Decision:
    """The shards that are given up and whose partition is not red yet, nor about to be."""
    given_up = [s for s in statuses if is_given_up(s, max_job_attempts=max_job_attempts)]
    keys = tuple(
        s.shard.key
        for s in given_up
        if s.failure_reported_at is None or s.shard.key in lost_reports
    )
    if keys:
        red = count(len(keys), "shard is given up and turns", "shards are given up and turn")
        return Decision(shard_keys=keys, reason=f"{red} red")
    many = count(len(given_up), "shard is", "shards are")
    return Decision(reason=f"{many} {_GIVEN_UP}" if given_up else "")


# --- what to plan, what to publish ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Nothing is being built."""

    published: Generation | None
    lacks_record: bool  # its run was killed before Dagster knew of the publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A generation is being built, and nothing of it is planned yet."""

    generation: Generation
    waiting_since: datetime | None  # its few requests wait for more of them


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """It is planned, and shards of its provider are open."""

    generation: Generation
    statuses: Sequence[ShardStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It is planned, and no shard is open any more."""

    generation: Generation
    progress: Progress
    last_shard_id: int
    silence: Silence | None  # of Gemini, when texts were to be embedded again to compare


Stage = Idle | Listed | UnderWay | Done


class MonthlyJob(StrEnum):
    """What a sensor asks for a month."""

    PLAN = "plan"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyDecision:
    """What is said of a month, and the job that is asked for it, if one is.

    ``key`` stays the same as long as another run would find what the one before it found.
    """

    reason: str
    job: MonthlyJob | None = None
    month: str = ""
    key: str = ""


def decide_publication(stage: Stage, limits: Limits, *, now: datetime) -> MonthlyDecision:
    """What the newest build needs next: a plan for what waits or failed, or its publication."""
    match stage:
        case Idle():
            return _decide_record(stage)
        case Listed():
            return _decide_flush(stage, limits, now)
        case UnderWay():
            return _wait_for_shards(stage, limits.max_job_attempts)
        case Done():
            return _decide_end(stage, timedelta(seconds=limits.run_retry_s), now)


def _decide_record(stage: Idle) -> MonthlyDecision:
    if stage.published is None:
        reason = "no generation is being built; nothing is published yet"
        return MonthlyDecision(reason=reason)
    month = stage.published.month
    if not stage.lacks_record:
        return MonthlyDecision(reason=f"no generation is being built; readers see {month}")
    return MonthlyDecision(
        reason=f"readers see {month}, but the run that published it ended before it was recorded",
        job=MonthlyJob.PUBLISH,
        month=month,
        key=f"record:{stage.published.generation_id}",
    )


def _decide_flush(stage: Listed, limits: Limits, now: datetime) -> MonthlyDecision:
    """Plan what has been waiting for more requests for long enough."""
    month, since = stage.generation.month, stage.waiting_since
    if since is None:
        return MonthlyDecision(reason=f"{month} waits for its run of shard_plan")
    if now < since + timedelta(hours=limits.max_wait_h):
        return MonthlyDecision(reason=few_requests(month, since, limits))
    return MonthlyDecision(
        reason=f"the requests of {month} have waited since {utc(since)}: they are sent now",
        job=MonthlyJob.PLAN,
        month=month,
        key=f"flush:{stage.generation.generation_id}:{since.isoformat()}",
    )


def _wait_for_shards(stage: UnderWay, max_job_attempts: int) -> MonthlyDecision:
    reason = f"{stage.generation.month} has {count(len(stage.statuses), 'open shard')}"
    n_dead = sum(is_given_up(s, max_job_attempts=max_job_attempts) for s in stage.statuses)
    if n_dead:
        reason += f", {n_dead:,} {_GIVEN_UP}"
    if n_held := sum(status.is_held for status in stage.statuses):
        reason += f", {n_held:,} {_HELD}"
    return MonthlyDecision(reason=reason)


def _decide_end(stage: Done, retry_after: timedelta, now: datetime) -> MonthlyDecision:
    """Plan what gets another try; publish if nothing does."""
    generation, progress, silence = stage.generation, stage.progress, stage.silence
    month = generation.month
    if progress.n_unplanned:
        many = f"chunks of {month} get another try"
        return MonthlyDecision(
            reason=count(progress.n_unplanned, f"chunk of {month} gets another try", many),
            job=MonthlyJob.PLAN,
            month=month,
            key=f"plan:{generation.generation_id}:{stage.last_shard_id}",
        )
    if silence is not None and now < silence.ends_at(retry_after):
        return MonthlyDecision(
            reason=(
                f"{month} is finished, but Gemini could not be asked whether its vectors agree; "
                f"it is asked again from {utc(silence.ends_at(retry_after))}"
            )
        )
    embedded = count(progress.n_chunks, "chunk has a vector", "chunks have a vector")
    return MonthlyDecision(
        reason=(
            f"{month} is finished: {progress.n_embedded:,} of {embedded}, "
            f"{progress.n_failed:,} failed; it is published if its gates are open"
        ),
        job=MonthlyJob.PUBLISH,
        month=month,
        key=_publication_key(stage),
    )


def _publication_key(stage: Done) -> str:
    key = f"publish:{stage.generation.generation_id}:{stage.progress.n_embedded}"
    return f"{key}:{stage.silence.n_calls}" if stage.silence else key


def era_of(settings: Settings, now: datetime) -> str:
    """Part of a run key: what came to nothing is asked for again later, or by other settings."""
    digest = zlib.crc32(settings.model_dump_json().encode())
    return f"{next_era(now):%Y-%m-%d/%H}:{digest:08x}"


def next_era(now: datetime) -> datetime:
    """When what came to nothing is asked for again at the latest."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour + timedelta(hours=_ERA_H - hour.hour % _ERA_H)
