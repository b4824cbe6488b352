"""The three sensors: they read the ledger, decide, and ask for runs. They do no work.

Belongs here: query, pure decision, SensorResult with a reason that has numbers.
Does not belong here: the decisions (batch_jobs.py, generations.py) and the work (pipeline/).

What was asked for is marked in the ledger first, and asked for again after ``run_retry_s``
if nothing came of it; run keys carry the time of asking, to the moment or to some hours, because a
failed run uses its key up.
"""

import os
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import dagster as dg

from embedding_assets.batch_jobs import (
    Decision,
    decide_collections,
    decide_failure_reports,
    decide_submissions,
    is_given_up,
)
from embedding_assets.clock import utc_now
from embedding_assets.connection import provider_of
from embedding_assets.defs.jobs import COLLECT_EMBEDDINGS, PUBLISH_INDEX, REINDEX, SUBMIT_SHARDS
from embedding_assets.defs.partitions import (
    ShardRange,
    forget_shards,
    register_shards,
    shard_ranges,
)
from embedding_assets.defs.resources import GeminiResource, IndexResource
from embedding_assets.defs.shard_assets import REPORT_FAILURES_TAG
from embedding_assets.generations import Generation
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.pipeline.poll import PollSummary, jobs_to_look_at, poll_jobs
from embedding_assets.pipeline.submit import submission_limits
from embedding_assets.settings import Settings
from embedding_assets.shards import ShardState
from embedding_assets.store.index import Index

# Creating a run costs up to a second each, and a tick has sixty of them.
_MAX_RUNS_PER_TICK = 20
_EMULATOR_POLL_S = 1
_ERA_H = 6

_NO_INDEX = "there is no index yet: nothing was ever reindexed"


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
    return [
        sensor(job=SUBMIT_SHARDS)(submit_shards_sensor),
        sensor(jobs=[COLLECT_EMBEDDINGS, SUBMIT_SHARDS])(poll_batch_jobs_sensor),
        sensor(jobs=[PUBLISH_INDEX, REINDEX])(publish_index_sensor),
    ]


def submit_shards_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.SensorResult:
    """Submits planned shards as far as Gemini's limits on jobs and tokens allow."""
    if not index.exists:
        return dg.SensorResult(skip_reason=_NO_INDEX)
    now = utc_now()
    with index.open() as opened:
        _keep_partitions(context.instance, opened)
        decision = decide_submissions(
            opened.ledger.statuses(provider=_provider(settings)),
            limits=submission_limits(settings),
            throttle=opened.ledger.throttle(settings.embedding.model),
            purse=look_into_purse(opened, settings, provider=_provider(settings), now=now),
            now=now,
        )
        if not decision.shard_keys:
            return dg.SensorResult(skip_reason=decision.reason)
        ranges = _this_tick(context.instance, decision)
        opened.ledger.mark_submit_requested(_keys(ranges), now=now)
    context.log.info(decision.reason)
    return dg.SensorResult(run_requests=_runs(SUBMIT_SHARDS.name, ranges, now))


def poll_batch_jobs_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
    gemini: GeminiResource,
) -> dg.SensorResult:
    """Looks at Gemini once, and has finished jobs collected and given-up ones reported."""
    if not index.exists:
        return dg.SensorResult(skip_reason=_NO_INDEX)
    now = utc_now()
    limits = submission_limits(settings)
    with index.open() as opened:
        _keep_partitions(context.instance, opened)
        summary = _poll(opened, gemini, settings, now)
        statuses = opened.ledger.statuses(provider=_provider(settings))
        finished = decide_collections(statuses, retry_after=limits.retry_after, now=now)
        dead = decide_failure_reports(statuses, max_job_attempts=limits.max_job_attempts)
        finished_ranges = _this_tick(context.instance, finished)
        dead_ranges = _this_tick(context.instance, dead)
        opened.ledger.mark_collect_requested(_keys(finished_ranges), now=now)
        opened.ledger.mark_failure_reported(_keys(dead_ranges), now=now)
    reason = "; ".join(
        [f"looked at {summary.n_looked_at} jobs", finished.reason, dead.reason, *summary.problems]
    )
    # Its run failed, not knowing whether there is a job: there is, so the partition is green.
    adopted = [
        dg.AssetMaterialization(
            "batch_jobs", partition=key, description="found at Gemini by its display name"
        )
        for key in summary.adopted
    ]
    requests = [
        *_runs(COLLECT_EMBEDDINGS.name, finished_ranges, now),
        *_runs(SUBMIT_SHARDS.name, dead_ranges, now, is_report=True),
    ]
    if not requests:
        return dg.SensorResult(skip_reason=reason, asset_events=adopted)
    context.log.info(reason)
    return dg.SensorResult(run_requests=requests, asset_events=adopted)


def publish_index_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.SensorResult:
    """Publishes a generation when nothing is left to do for it, or has retryable chunks planned."""
    if not index.exists:
        return dg.SensorResult(skip_reason=_NO_INDEX)
    max_job_attempts = settings.limits.max_job_attempts
    with index.open() as opened:
        generation = opened.generations.building()
        if generation is None:
            return dg.SensorResult(skip_reason="no generation is being built")
        if generation.planned_at is None:
            return _flush(generation, opened.generations.waiting_since(), settings, utc_now())
        statuses = opened.ledger.statuses(provider=generation.spec.provider)
        if statuses:
            reason = f"{generation.month} has {len(statuses)} open shards"
            n_dead = sum(is_given_up(s, max_job_attempts=max_job_attempts) for s in statuses)
            if n_dead:
                reason += (
                    f", {n_dead} of them given up: materialize the failed partitions of batch_jobs"
                )
            return dg.SensorResult(skip_reason=reason)
        progress = opened.generations.progress(
            generation, max_chunk_attempts=settings.limits.max_chunk_attempts
        )
        n_shards = len(opened.shards.of(generation))
    if progress.n_unplanned:
        context.log.info(f"{progress.n_unplanned} chunks of {generation.month} get another try")
        request = dg.RunRequest(
            run_key=f"plan:{generation.generation_id}:{n_shards}:{_era(settings)}",
            job_name=REINDEX.name,
            asset_selection=[dg.AssetKey("shard_plan")],
            partition_key=generation.month,
        )
    else:
        request = dg.RunRequest(
            run_key=f"publish:{generation.generation_id}:{progress.n_embedded}:{_era(settings)}",
            job_name=PUBLISH_INDEX.name,
            partition_key=generation.month,
        )
    return dg.SensorResult(run_requests=[request])


def _flush(
    generation: Generation, waiting_since: datetime | None, settings: Settings, now: datetime
) -> dg.SensorResult:
    """Plan what has been waiting for more requests for long enough."""
    if waiting_since is None:
        return dg.SensorResult(skip_reason=f"{generation.month} waits for shard_plan")
    until = waiting_since + timedelta(hours=settings.limits.max_wait_h)
    if now < until:
        reason = f"requests of {generation.month} wait for more until {until.isoformat()}"
        return dg.SensorResult(skip_reason=reason)
    request = dg.RunRequest(
        run_key=f"flush:{generation.generation_id}:{waiting_since.isoformat()}:{_era(settings)}",
        job_name=REINDEX.name,
        asset_selection=[dg.AssetKey("shard_plan")],
        partition_key=generation.month,
    )
    return dg.SensorResult(run_requests=[request])


def _provider(settings: Settings) -> str:
    return provider_of(settings.gemini.base_url, os.environ)


def _keep_partitions(instance: dg.DagsterInstance, index: Index) -> None:
    """Shards of a plan, a split or another Dagster home are partitions; given-up ones are not."""
    register_shards(instance, index.shards.keys(ShardState.OPEN))
    forget_shards(instance, index.shards.keys(ShardState.ABANDONED))


def _era(settings: Settings) -> str:
    """Part of a run key: what failed is asked for again some hours later, or under new limits."""
    block = utc_now().strftime("%Y-%m-%d/") + str(utc_now().hour // _ERA_H)
    limits = (settings.publishing.model_dump_json(), settings.budget.model_dump_json())
    return f"{block}:{zlib.crc32(''.join(limits).encode()):08x}"


def _poll(index: Index, gemini: GeminiResource, settings: Settings, now: datetime) -> PollSummary:
    provider = _provider(settings)
    if not jobs_to_look_at(index, provider=provider, now=now):
        return PollSummary()  # without asking for a connection, which may not be had
    with gemini.connected() as client:
        return poll_jobs(index, client, limits=settings.limits, now=now)


def _this_tick(instance: dg.DagsterInstance, decision: Decision) -> list[ShardRange]:
    return shard_ranges(instance, decision.shard_keys)[:_MAX_RUNS_PER_TICK]


def _keys(ranges: Sequence[ShardRange]) -> list[str]:
    return [key for shards in ranges for key in shards.keys]


def _runs(
    job_name: str, ranges: Sequence[ShardRange], now: datetime, *, is_report: bool = False
) -> list[dg.RunRequest]:
    tags = {REPORT_FAILURES_TAG: "true"} if is_report else {}
    return [
        dg.RunRequest(
            run_key=f"{job_name}:{shards}:{now.isoformat()}",
            job_name=job_name,
            tags={**shards.tags, **tags},
            asset_selection=[dg.AssetKey("batch_jobs")] if is_report else None,
        )
        for shards in ranges
    ]
