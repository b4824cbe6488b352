"""From a shard to its JSONL file, and by one of the two routes to its answer.

Belongs here: writing the requests, whether a shard may be submitted now, which route it takes.
Does not belong here: the routes themselves (batch_route.py, sync_route.py).
"""

from datetime import datetime, timedelta
from pathlib import Path

from embedding_assets.clock import Clock
from embedding_assets.errors import (
    LedgerError,
    NoRoomError,
    NotYetError,
    RateLimitedError,
    RefusedError,
    StorageError,
)
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import (
    LIVE_STATES,
    BatchJob,
    JobState,
    is_under,
    needs_job,
)
from embedding_assets.model.request_file import ShardFile, request_lines, write_shard_file
from embedding_assets.model.room import SubmissionLimits, Verdict, throttle_after_answer
from embedding_assets.model.shards import Route, Shard
from embedding_assets.money.prices import cost_usd, price_of
from embedding_assets.pipeline.adoption import Lookout, check_doubt
from embedding_assets.pipeline.batch_route import learn_refusal, submit_batch_job
from embedding_assets.pipeline.budget import check_shard, look_into_purse
from embedding_assets.pipeline.collect import check_provider
from embedding_assets.pipeline.isolate import halve_shard
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
    lines = request_lines(shard.spec, index.shards.pending_requests(shard))
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
    file: ShardFile,
    settings: Settings,
    pacer: Pacer,
    *,
    lookout: Lookout,
    clock: Clock,
) -> BatchJob:
    """Submit a shard that needs a job by its route, and return its attempt.

    ``file`` is what ``write_requests`` wrote. Raises BudgetReachedError if it would cost more
    than is left, and NoRoomError if it is not submitted now: the sensor submits it, or the two
    shards that take its place, when there is room. NotYetError is one that Gemini refuses for one
    of its texts (isolate.py). Other errors are those of the routes.
    """
    check_provider(shard, gemini)
    check_doubt(index)
    now, limits = clock(), submission_limits(settings)
    try:
        shard = _rerouted(index, shard, settings, now)
        check_shard(index, shard, settings, now=now)
        # Before the upload; batch_route.py looks again when it takes the room.
        judgement = index.jobs.ledger().room_at(shard.spec.provider, limits).judge(shard, now)
        if shard.route is Route.SYNC:
            if judgement.verdict is Verdict.SUBMIT:
                return _embed(index, gemini, shard, file, settings, pacer, clock)
        elif judgement.verdict is Verdict.SUBMIT or lookout.answer_to(shard, file.sha256):
            return submit_batch_job(
                index, gemini, shard, file, limits=limits, lookout=lookout, clock=clock
            )
        elif judgement.verdict is Verdict.SPLIT:
            halves = " and ".join(half.key for half in halve_shard(index, shard, now))
            raise NoRoomError(f"it is more than Gemini takes in one job; {halves} take its place")
        else:
            index.jobs.reserve(shard, requests_sha256=file.sha256, now=now)
        raise NoRoomError(f"there is no room at Gemini: {judgement.reason}")
    except RefusedError as exc:
        if index.jobs.ledger().is_poisoned(shard):
            raise NotYetError(f"one of its texts is refused, and is sought: {exc}") from exc
        raise
    except LedgerError:
        newest = index.jobs.newest_job(shard)
        if newest is None or needs_job(newest):
            raise
        return newest  # another worker was quicker; its job is this shard's


def _embed(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    file: ShardFile,
    settings: Settings,
    pacer: Pacer,
    clock: Clock,
) -> BatchJob:
    """By the synchronous route; what it refuses or answers is learnt as from batch jobs."""
    try:
        job = embed_shard(
            index, gemini, shard, file, results_dir=settings.results_dir, pacer=pacer, clock=clock
        )
    except RateLimitedError as exc:
        limits = submission_limits(settings)
        raise learn_refusal(index, shard, exc, limits=limits, now=clock()) from exc
    index.jobs.change_throttle(shard.spec, throttle_after_answer)
    return job


def cancel_job_of(
    index: Index, gemini: GeminiClient, shard: Shard, *, now: datetime
) -> BatchJob | None:
    """Have a shard's live job cancelled and return it; None if none is alive.

    The shard is not submitted here: while the job may be alive, another one would be a second bill.
    The ledger says that it is to be cancelled, so that polling goes on if this call fails, or if
    the job is not known by name yet. Raises IndexInDoubtError if this may be a copy, LedgerError if
    the job was made under another id: it may be another index's, too.
    """
    job = index.jobs.newest_job(shard)
    if job is None or job.state not in LIVE_STATES:
        return None
    check_doubt(index)
    if not is_under(job, index.identity.index_id):
        raise LedgerError(
            f"the job of shard {shard.key} was made under the id that this index had before, and "
            "may be another index's, too: it is not cancelled"
        )
    job = index.jobs.request_cancellation(job, now=now)
    pass_gap(Gap.CANCEL_RECORDED)
    if job.job_name is not None:
        gemini.cancel_job(job.job_name)
    return job


def _rerouted(index: Index, shard: Shard, settings: Settings, now: datetime) -> Shard:
    """The shard on the synchronous route, if its job was too late, and setting and budget say so.

    Otherwise as it was.
    """
    if settings.limits.after_deadline is not AfterDeadline.SYNC:
        return shard
    job = index.jobs.newest_job(shard)
    if job is None or not _was_too_late(job, settings):
        return shard
    sync_price = price_of(shard.spec.model, settings.prices).per_million(Route.SYNC)
    usd = cost_usd(shard.estimated_tokens, sync_price)
    purse = look_into_purse(index, settings, provider=shard.spec.provider, now=now)
    if purse.reason_against(shard.generation_id, usd):
        return shard
    return index.shards.take_sync_route(shard, usd_per_million=sync_price)


def _was_too_late(job: BatchJob, settings: Settings) -> bool:
    """It was cancelled for its deadline, not because a person wanted it to be."""
    deadline = timedelta(hours=settings.limits.job_deadline_h)
    asked_at, submitted_at = job.cancel_requested_at, job.submitted_at
    return (
        job.state is JobState.CANCELLED
        and asked_at is not None
        and submitted_at is not None
        and asked_at - submitted_at >= deadline
    )
