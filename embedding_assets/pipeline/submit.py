"""From a shard to its JSONL file, and by one of the two routes to its answer.

Belongs here: writing the requests, whether a shard may be submitted now, which route it takes.
Does not belong here: the routes themselves (batch_route.py, sync_route.py).
"""

from datetime import datetime, timedelta
from pathlib import Path

from embedding_assets.clock import Clock
from embedding_assets.errors import LedgerError, NoRoomError, StorageError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import LIVE_STATES, BatchJob, JobState, needs_job
from embedding_assets.model.request_file import ShardFile, request_line, write_shard_file
from embedding_assets.model.room import SubmissionLimits, must_split, reason_to_wait
from embedding_assets.model.shards import Route, Shard, halve
from embedding_assets.money.prices import cost_usd, price_of
from embedding_assets.pipeline.batch_route import submit_batch_job
from embedding_assets.pipeline.budget import check_shard, look_into_purse
from embedding_assets.pipeline.collect import check_provider
from embedding_assets.pipeline.plan import learned_estimator, sized_request
from embedding_assets.pipeline.sync_route import Pacer, embed_shard
from embedding_assets.settings.values import AfterDeadline, Settings
from embedding_assets.store.index import Index


def submission_limits(settings: Settings) -> SubmissionLimits:
    """What the settings allow to be under way at Gemini."""
    return SubmissionLimits(
        max_concurrent_jobs=settings.limits.max_concurrent_jobs,
        max_enqueued_tokens=settings.max_enqueued_tokens,
        max_job_attempts=settings.limits.max_job_attempts,
        first_backoff=timedelta(seconds=settings.limits.backoff_s),
        retry_after=timedelta(seconds=settings.limits.run_retry_s),
    )


def write_requests(index: Index, shard: Shard, *, shards_dir: Path) -> ShardFile:
    """The JSONL file of a shard's requests that have no outcome yet.

    Written again it is the same file, to the byte, as long as no outcome came in between.
    Raises StorageError if the disk fails.
    """
    spec = index.shards.spec_of(shard)
    lines = (
        request_line(spec, chunk_id, text)
        for chunk_id, text in index.shards.pending_requests(shard)
    )
    try:
        file = write_shard_file(shards_dir / f"{shard.key}.jsonl", lines)
    except OSError as exc:
        raise StorageError(
            f"the requests of shard {shard.key} cannot be written to {str(shards_dir)!r}: {exc}; "
            "make room on its disk and try again"
        ) from exc
    pass_gap(Gap.REQUESTS_WRITTEN)
    return file


def submit_shard(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    file: ShardFile | None,
    settings: Settings,
    pacer: Pacer,
    *,
    clock: Clock,
) -> BatchJob:
    """Submit a shard by its route and return its attempt; one that needs no job has it already.

    ``file`` is what ``write_requests`` wrote, None if nothing is left to request. Raises
    BudgetReachedError if it would cost more than is left, and NoRoomError if it is not submitted
    now: the sensor submits it, or the two shards that take its place, when there is room. Other
    errors are those of the routes.
    """
    job = index.jobs.newest_job(shard)
    if file is None or not needs_job(job):
        if job is None:
            raise LedgerError(f"shard {shard.key} was abandoned before it was sent")
        return job
    check_provider(index, shard, gemini)
    if _was_too_late(job, settings) and settings.limits.after_deadline is AfterDeadline.SYNC:
        shard = _by_sync_route_within_budget(index, shard, settings, clock())
    check_shard(index, shard, settings, now=clock())
    try:
        if shard.route is Route.SYNC:
            return embed_shard(
                index,
                gemini,
                shard,
                file,
                results_dir=settings.results_dir,
                pacer=pacer,
                clock=clock,
            )
        limits = submission_limits(settings)
        _check_room(index, shard, file, limits, clock())
        return submit_batch_job(index, gemini, shard, file, limits=limits, clock=clock)
    except LedgerError:
        newest = index.jobs.newest_job(shard)
        if newest is None or needs_job(newest):
            raise
        return newest  # another worker was quicker; its job is this shard's


def cancel_job_of(
    index: Index, gemini: GeminiClient, shard: Shard, *, now: datetime
) -> BatchJob | None:
    """Have a shard's live job cancelled and return it; None if none is alive.

    The shard is not submitted here: while the job may be alive, another one would be a second bill.
    The ledger says that it is to be cancelled, so that polling goes on if this call fails, or if
    the job is not known by name yet.
    """
    job = index.jobs.newest_job(shard)
    if job is None or job.state not in LIVE_STATES:
        return None
    job = index.jobs.request_cancellation(job, now=now)
    pass_gap(Gap.CANCEL_RECORDED)
    if job.job_name is not None:
        gemini.cancel_job(job.job_name)
    return job


def _was_too_late(job: BatchJob | None, settings: Settings) -> bool:
    """It was cancelled for its deadline, not because a person wanted it to be."""
    if job is None or job.state is not JobState.CANCELLED:
        return False
    deadline = timedelta(hours=settings.limits.job_deadline_h)
    asked_at, submitted_at = job.cancel_requested_at, job.submitted_at
    return asked_at is not None and submitted_at is not None and asked_at - submitted_at >= deadline


def _by_sync_route_within_budget(
    index: Index, shard: Shard, settings: Settings, now: datetime
) -> Shard:
    """The shard on the synchronous route, or as it was if that would exceed the budget."""
    generation = index.generations.get(shard.generation_id)
    sync_price = price_of(generation.spec.model, settings.prices).per_million(Route.SYNC)
    usd = cost_usd(shard.estimated_tokens, sync_price)
    purse = look_into_purse(index, settings, provider=generation.spec.provider, now=now)
    if purse.reason_against(shard.generation_id, usd):
        return shard
    return index.shards.take_sync_route(shard, usd_per_million=sync_price)


def _check_room(
    index: Index, shard: Shard, file: ShardFile, limits: SubmissionLimits, now: datetime
) -> None:
    """Look for room before the upload; batch_route.py looks again when it takes it."""
    throttle = index.jobs.throttle(index.shards.spec_of(shard).model)
    if must_split(shard, limits=limits, throttle=throttle):
        halves = _split(index, shard, now)
        names = " and ".join(half.key for half in halves)
        raise NoRoomError(f"it is more than Gemini takes in one job; {names} take its place")
    statuses = index.jobs.statuses()
    reason = reason_to_wait(shard, statuses, limits=limits, throttle=throttle, now=now)
    if reason is not None:
        index.jobs.reserve(shard, requests_sha256=file.sha256, now=now)
        raise NoRoomError(f"there is no room at Gemini: {reason}")


def _split(index: Index, shard: Shard, now: datetime) -> list[Shard]:
    spec = index.shards.spec_of(shard)
    estimator = learned_estimator(index, spec)
    pending = index.shards.pending_requests(shard)
    requests = [sized_request(spec, chunk_id, text, estimator) for chunk_id, text in pending]
    return index.shards.split(shard, halve(requests), now=now)
