"""The three sensors: they read the ledger, decide, and ask for runs. They do no work.

Belongs here: query, pure decision, SensorResult with a reason that has numbers.
Does not belong here: the decisions (pipeline/decide.py) and the work (the rest of pipeline/).

What was asked for is marked in the ledger first, and asked for again after ``run_retry_s``
if nothing came of it; run keys carry the time of asking, to the moment or to some hours, because a
failed run uses its key up.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

import dagster as dg

from embedding_assets.clock import utc_now
from embedding_assets.defs.alerts import tell
from embedding_assets.defs.catalog import version_tags
from embedding_assets.defs.failures import ticks_in_words
from embedding_assets.defs.jobs import COLLECT_EMBEDDINGS, PUBLISH_INDEX, REINDEX, SUBMIT_SHARDS
from embedding_assets.defs.outage import follow_outage, known_outage, report_outage
from embedding_assets.defs.partitions import (
    SHARDS,
    ShardRange,
    build_months,
    keep_shards,
    shard_ranges,
)
from embedding_assets.defs.resources import IndexResource
from embedding_assets.defs.search_index import is_recorded
from embedding_assets.defs.tags import RUN_KEY_TAG, RunTags, process_of
from embedding_assets.defs.webhook import Alert
from embedding_assets.errors import GeminiError, SettingsError
from embedding_assets.gemini.client import open_client
from embedding_assets.gemini.connection import provider_of
from embedding_assets.model.batch_jobs import ShardStatus
from embedding_assets.model.generations import Generation
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.pipeline.decide import (
    Decision,
    Done,
    Idle,
    Listed,
    MonthlyDecision,
    MonthlyJob,
    Stage,
    UnderWay,
    decide_collections,
    decide_failure_reports,
    decide_publication,
    decide_submissions,
    era_of,
    next_era,
)
from embedding_assets.pipeline.isolate import isolate_texts
from embedding_assets.pipeline.poll import PollSummary, jobs_to_look_at, poll_jobs
from embedding_assets.pipeline.submit import submission_limits
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.wording import count, utc

# Creating a run costs up to a second each, and a tick has sixty of them.
_MAX_RUNS_PER_TICK = 20
_EMULATOR_POLL_S = 1

_NO_INDEX = "there is no index yet: nothing was ever reindexed"

# Of a partition, by Dagster's account: a run failed for it, or has yet to come to it.
_RED_OR_ABOUT_TO_BE = (dg.AssetPartitionStatus.FAILED, dg.AssetPartitionStatus.IN_PROGRESS)
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def poll_interval_s(settings: Settings) -> int:
    """Seconds between two looks: as set for Gemini, seldom more than a moment for an emulator."""
    is_emulator = _provider(settings) == "emulator"
    interval_s = settings.schedule.poll_interval_s
    return min(interval_s, _EMULATOR_POLL_S) if is_emulator else interval_s


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors, on by default, ticking every ``schedule.poll_interval_s``."""
    sensor = partial(
        dg.sensor,
        minimum_interval_seconds=poll_interval_s(settings),
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    submit = sensor(job=SUBMIT_SHARDS, description=submit_shards_sensor.__doc__)
    poll = sensor(
        jobs=[COLLECT_EMBEDDINGS, SUBMIT_SHARDS], description=poll_batch_jobs_sensor.__doc__
    )
    publish = sensor(jobs=[PUBLISH_INDEX, REINDEX], description=publish_index_sensor.__doc__)
    return [
        submit(ticks_in_words(submit_shards_sensor)),
        poll(ticks_in_words(poll_batch_jobs_sensor)),
        publish(ticks_in_words(publish_index_sensor)),
    ]


def submit_shards_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.SensorResult:
    """Submits planned shards as far as Gemini's limits allow, and halves those it refuses."""
    if not index.exists:
        return dg.SensorResult(skip_reason=_NO_INDEX)
    now, provider = utc_now(), _provider(settings)
    with index.open() as opened:
        isolations = isolate_texts(opened, provider=provider, now=now)
        settled = [event for each in isolations for event in _settled(opened, each.shard)]
        with opened.one_look():
            ledger = opened.jobs.ledger()
            purse = look_into_purse(opened, settings, provider=provider, now=now)
            doubt = opened.identity.doubt
        room = ledger.room_at(provider, submission_limits(settings))
        decision = decide_submissions(
            ledger.at(provider), room=room, purse=purse, doubt=doubt, now=now
        )
        ranges = _this_tick(keep_shards(context.instance, ledger), decision)
        opened.jobs.mark_submit_requested(_keys(ranges), now=now)
    for isolation in isolations:
        context.log.warning(isolation.sentence)
    reason = "; ".join([*(each.sentence for each in isolations), decision.reason])
    return _result(context, reason, _runs(SUBMIT_SHARDS.name, ranges, now), settled)


def _settled(index: Index, shard: Shard) -> Iterator[dg.AssetMaterialization]:
    """No run comes to a shard whose last text is refused: its partitions are done all the same."""
    if index.shards.get(shard.key).state is not ShardState.SETTLED:
        return
    counts = index.shards.counts(shard)
    generation = index.generations.get(shard.generation_id)
    metadata = {
        "dagster/row_count": counts.n_embedded,
        "requests_failed": counts.n_failed,
        "billed_tokens": counts.billed_tokens,
    }
    for asset, after in (("batch_jobs", "request_shards"), ("embeddings", "batch_jobs")):
        yield dg.AssetMaterialization(
            asset,
            partition=shard.key,
            description="what Gemini refused of it has failed",
            metadata=metadata if asset == "embeddings" else {},
            tags=version_tags(generation, after=after),
        )


def poll_batch_jobs_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.SensorResult:
    """Looks at Gemini once, and has finished jobs collected and given-up ones reported."""
    if not index.exists:
        return dg.SensorResult(skip_reason=_NO_INDEX)
    now, provider = utc_now(), _provider(settings)
    limits = submission_limits(settings)
    with index.open() as opened:
        before = known_outage(context.instance)
        summary, trouble = _poll(opened, settings, now)
        outage = follow_outage(context.instance, trouble, now)
        ledger = opened.jobs.ledger()
        registered = keep_shards(context.instance, ledger)
        statuses = ledger.at(provider)
        finished = decide_collections(statuses, limits=settings.limits, now=now)
        lost = _lost_reports(context.instance, statuses, limits.retry_after, now)
        dead = decide_failure_reports(
            statuses, max_job_attempts=limits.max_job_attempts, lost_reports=lost
        )
        finished_ranges = _this_tick(registered, finished)
        dead_ranges = _this_tick(registered, dead)
        if outage is not None and not finished_ranges + dead_ranges:
            # Not before there is nothing to do.
            report_outage(context.instance, outage, partial(_tell_people, context, settings))
        opened.jobs.mark_collect_requested(_keys(finished_ranges), now=now)
        opened.jobs.mark_failure_reported(_keys(dead_ranges), now=now)
        adopted = [_adopted(opened, key) for key in summary.adopted]
    for problem in summary.problems:
        context.log.warning(problem)
    if before is not None and outage is None and summary.n_looked_at:
        context.log.warning(f"Gemini answers again; it did not since {utc(before.since)}")
    requests = [
        *_runs(COLLECT_EMBEDDINGS.name, finished_ranges, now),
        *_runs(SUBMIT_SHARDS.name, dead_ranges, now, is_report=True),
    ]
    clauses = [
        outage.sentence if outage is not None else "",
        summary.sentence,
        finished.reason,
        dead.reason,
        _elsewhere(ledger.count_elsewhere(provider)),
        *summary.problems,
    ]
    return _result(context, "; ".join(filter(None, clauses)), requests, adopted)


def _lost_reports(
    instance: dg.DagsterInstance,
    statuses: Sequence[ShardStatus],
    retry_after: timedelta,
    now: datetime,
) -> set[str]:
    """The shards for which a report was asked some time ago that has not turned them red.

    Its run was lost before there was one, with the process that asked for it.
    """
    asked = [
        status.shard.key
        for status in statuses
        if status.failure_reported_at is not None
        and now - status.failure_reported_at >= retry_after
    ]
    if not asked:
        return set()
    found = instance.get_status_by_partition(dg.AssetKey("batch_jobs"), asked, SHARDS) or {}
    return {key for key in asked if found.get(key) not in _RED_OR_ABOUT_TO_BE}


def _elsewhere(n_shards: int) -> str:
    if not n_shards:
        return ""
    shards = count(n_shards, "shard is", "shards are")
    return f"{shards} under way at another provider; is the key set?"


def _tell_people(context: dg.SensorEvaluationContext, settings: Settings, sentence: str) -> None:
    problem = tell(Alert.of(f"embedding-assets: {sentence}"), settings)
    if problem is not None:
        context.log.warning(problem)


def _adopted(index: Index, key: str) -> dg.AssetMaterialization:
    """Its run failed, not knowing whether there is a job: there is, so the partition is green."""
    generation = index.generations.get(index.shards.get(key).generation_id)
    return dg.AssetMaterialization(
        "batch_jobs",
        partition=key,
        description="found at Gemini by its display name",
        tags=version_tags(generation, after="request_shards"),
    )


def publish_index_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.SensorResult:
    """Publishes a generation when nothing is left to do for it, or has retryable chunks planned."""
    if not index.exists:
        return dg.SensorResult(skip_reason=_NO_INDEX)
    now = utc_now()
    with index.open() as opened, opened.one_look():
        stage = _stage(context.instance, opened, settings)
    decision = decide_publication(stage, settings.limits, now=now)
    return _ask_once(context, decision, settings, now)


def _stage(instance: dg.DagsterInstance, index: Index, settings: Settings) -> Stage:
    """Where the newest build stands; its chunks are counted only when no shard is open."""
    generation = index.generations.building()
    if generation is None:
        published = index.generations.published()
        lacks_record = published is not None and _lacks_record(instance, published, settings)
        return Idle(published=published, lacks_record=lacks_record)
    if generation.planned_at is None:
        return Listed(generation=generation, waiting_since=index.generations.waiting_since())
    statuses = index.jobs.ledger().at(generation.spec.provider)
    if statuses:
        return UnderWay(generation=generation, statuses=statuses)
    return Done(
        generation=generation,
        progress=index.generations.progress(generation, limits=settings.limits),
        last_shard_id=index.shards.last_id(),
        silence=index.agreements.silence(generation),
    )


def _lacks_record(instance: dg.DagsterInstance, published: Generation, settings: Settings) -> bool:
    """Whether a publication is to be recorded: its run was killed before it could say so."""
    unfinished = dg.RunsFilter(job_name=PUBLISH_INDEX.name, statuses=_UNFINISHED)
    return (
        not instance.get_runs(unfinished, limit=1)  # first: one may record it between the two looks
        and not is_recorded(instance, published)
        and build_months(settings).has_partition_key(published.month)  # by these settings
    )


def _ask_once(
    context: dg.SensorEvaluationContext,
    decision: MonthlyDecision,
    settings: Settings,
    now: datetime,
) -> dg.SensorResult:
    """Ask for a run, or say what became of it: the daemon is silent on a key that was used."""
    reason, key = decision.reason, f"{decision.key}:{era_of(settings, now)}"
    if decision.job is None:
        return dg.SensorResult(skip_reason=reason)
    filters = dg.RunsFilter(tags={RUN_KEY_TAG: key})
    runs = context.instance.get_runs(filters)
    run = next((run for run in runs if process_of(run.tags) is None), None)
    if run is None:
        is_plan = decision.job is MonthlyJob.PLAN
        request = dg.RunRequest(
            run_key=key,
            job_name=REINDEX.name if is_plan else PUBLISH_INDEX.name,
            asset_selection=[dg.AssetKey("shard_plan")] if is_plan else None,
            partition_key=decision.month,
        )
        return _result(context, reason, [request])
    if not run.is_finished:
        return dg.SensorResult(skip_reason=f"run {run.run_id} of {run.job_name} is on its way")
    return dg.SensorResult(
        skip_reason=(
            f"{reason}; but run {run.run_id} of {run.job_name} has come to nothing: see why in it; "
            f"it is asked for again at {utc(next_era(now))}, or when a setting changes"
        )
    )


def _result(
    context: dg.SensorEvaluationContext,
    reason: str,
    requests: list[dg.RunRequest],
    asset_events: Sequence[dg.AssetMaterialization] = (),
) -> dg.SensorResult:
    """The reason stands where the tick shows it: in its log if it asks for runs."""
    if not requests:
        return dg.SensorResult(skip_reason=reason, asset_events=asset_events)
    context.log.info(reason)
    return dg.SensorResult(run_requests=requests, asset_events=asset_events)


def _provider(settings: Settings) -> str:
    return provider_of(settings.gemini.base_url, os.environ)


def _poll(
    index: Index, settings: Settings, now: datetime
) -> tuple[PollSummary, GeminiError | SettingsError | None]:
    """What one look at Gemini changed, or why it could not be asked."""
    jobs = jobs_to_look_at(index, provider=_provider(settings), now=now)
    if not jobs:
        return PollSummary(), None  # without asking for a connection, which may not be had
    try:
        with open_client(settings) as client:
            return poll_jobs(index, client, jobs, limits=settings.limits, now=now), None
    except (GeminiError, SettingsError) as exc:
        return PollSummary(), exc


def _this_tick(registered: Sequence[str], decision: Decision) -> list[ShardRange]:
    return shard_ranges(registered, decision.shard_keys)[:_MAX_RUNS_PER_TICK]


def _keys(ranges: Sequence[ShardRange]) -> list[str]:
    return [key for shards in ranges for key in shards.keys]


def _runs(
    job_name: str, ranges: Sequence[ShardRange], now: datetime, *, is_report: bool = False
) -> list[dg.RunRequest]:
    tags = RunTags(report_failures=is_report).as_tags()
    return [
        dg.RunRequest(
            run_key=f"{job_name}:{shards}:{now.isoformat()}",
            job_name=job_name,
            tags={**shards.tags, **tags},
            asset_selection=[dg.AssetKey("batch_jobs")] if is_report else None,
        )
        for shards in ranges
    ]
