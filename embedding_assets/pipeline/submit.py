"""From a shard to its JSONL file, and by one of the two routes to its answer.

Belongs here: writing the requests, whether a shard may be submitted now, which route it takes.
Does not belong here: the routes themselves (batch_route.py, sync_route.py).
"""

from datetime import datetime, timedelta
from pathlib import Path

from embedding_assets.batch_jobs import (
    DEAD_STATES,
    BatchJob,
    JobState,
    SubmissionLimits,
    reason_to_wait,
)
from embedding_assets.errors import EmbeddingAssetsError, LedgerError, RateLimitedError
from embedding_assets.gemini import GeminiClient
from embedding_assets.pipeline.batch_route import submit_batch_job
from embedding_assets.pipeline.sync_route import Pacer, embed_shard
from embedding_assets.settings import Settings
from embedding_assets.shards import Route, Shard, ShardFile, request_line, write_shard_file
from embedding_assets.store.index import Index


def submission_limits(settings: Settings) -> SubmissionLimits:
    """What the settings allow to be under way at Gemini."""
    return SubmissionLimits(
        max_concurrent_jobs=settings.limits.max_concurrent_jobs,
        max_enqueued_tokens=settings.max_enqueued_tokens,
        max_job_attempts=settings.limits.max_job_attempts,
        retry_after=timedelta(seconds=settings.limits.run_retry_s),
    )


def write_requests(index: Index, shard: Shard, *, shards_dir: Path) -> ShardFile:
    """The JSONL file of a shard's requests that have no outcome yet.

    Written again it is the same file, to the byte, as long as no outcome came in between.
    Raises EmbeddingAssetsError if the disk fails.
    """
    spec = index.shards.spec_of(shard)
    lines = (
        request_line(spec, chunk_id, text)
        for chunk_id, text in index.shards.pending_requests(shard)
    )
    try:
        return write_shard_file(shards_dir / f"{shard.key}.jsonl", lines)
    except OSError as exc:
        raise EmbeddingAssetsError(
            f"the requests of shard {shard.key} cannot be written to {str(shards_dir)!r}: {exc}"
        ) from exc


def needs_job(job: BatchJob | None) -> bool:
    """Whether a shard with this newest attempt may be submitted without paying twice."""
    if job is None:
        return True
    return job.state in DEAD_STATES | {JobState.RESERVED, JobState.REFUSED}


def submit_shard(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    file: ShardFile | None,
    settings: Settings,
    pacer: Pacer,
    *,
    now: datetime,
) -> BatchJob:
    """Submit a shard by its route and return its attempt; one that needs no job has it already.

    ``file`` is what ``write_requests`` wrote, None if nothing is left to request. Raises
    RateLimitedError if there is no room at Gemini: the attempt is reserved, and the sensor
    submits it when there is. Other errors are those of the routes.
    """
    job = index.ledger.newest_job(shard)
    if file is None or not needs_job(job):
        if job is None:
            raise LedgerError(f"shard {shard.key} was abandoned before it was sent")
        return job
    if shard.route is Route.SYNC:
        return embed_shard(
            index, gemini, shard, file, results_dir=settings.results_dir, pacer=pacer, now=now
        )
    _check_room(index, shard, file, settings, now)
    return submit_batch_job(
        index, gemini, shard, file, max_enqueued_tokens=settings.max_enqueued_tokens, now=now
    )


def _check_room(
    index: Index, shard: Shard, file: ShardFile, settings: Settings, now: datetime
) -> None:
    reason = reason_to_wait(
        shard,
        index.ledger.statuses(),
        limits=submission_limits(settings),
        throttle=index.ledger.throttle(index.shards.spec_of(shard).model),
        now=now,
    )
    if reason is not None:
        index.ledger.reserve(shard, requests_sha256=file.sha256, now=now)
        raise RateLimitedError(f"there is no room at Gemini: {reason}")
