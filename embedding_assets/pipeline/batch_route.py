"""The batch route: from a shard to exactly one batch job, by the ledger protocol.

Belongs here: the order of intent, act and record around the call that creates a job.
Does not belong here: whether to submit (submit.py), the other route (sync_route.py).

    reserve ─> upload ─> record ─> "a create call is about to be made" ─> create ─> record
                                    └─ outcome unknown: the attempt stays unconfirmed, and poll.py
                                       looks for the job by its display name
"""

from datetime import datetime

from embedding_assets.batch_jobs import (
    BatchJob,
    JobState,
    RemoteJob,
    throttle_after_acceptance,
    throttle_after_refusal,
)
from embedding_assets.errors import LedgerError, RateLimitedError, RefusedError
from embedding_assets.gemini import GeminiClient
from embedding_assets.shards import Shard, ShardFile
from embedding_assets.store.index import Index


def submit_batch_job(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    file: ShardFile,
    *,
    max_enqueued_tokens: int,
    now: datetime,
) -> BatchJob:
    """Create one batch job for a shard and record it.

    Raises RateLimitedError (not an attempt; the throttle is set), RefusedError (a clear no, on
    the record), OutcomeUnknownError (a job may exist; the attempt stays unconfirmed) and
    LedgerError (somebody else is at it).
    """
    job = index.ledger.reserve(shard, requests_sha256=file.sha256, now=now)
    input_file_name = _uploaded(index, gemini, job, file, now)
    model = index.shards.spec_of(shard).model
    # From here to the last line a job may exist that the ledger has no name for.
    job = index.ledger.move(job, JobState.UNCONFIRMED, unconfirmed_at=now)
    try:
        remote = gemini.create_embeddings_job(
            model=model, input_file_name=input_file_name, display_name=job.display_name
        )
    except RateLimitedError:
        index.ledger.move(job, JobState.RESERVED)
        throttle = throttle_after_refusal(
            index.ledger.throttle(model), max_enqueued_tokens=max_enqueued_tokens, now=now
        )
        index.ledger.record_throttle(model, throttle)
        raise
    except RefusedError as exc:
        index.ledger.move(job, JobState.REFUSED, error_message=str(exc), ended_at=now)
        raise
    job = _confirmed(index, shard, job, remote, now)
    throttle = throttle_after_acceptance(
        index.ledger.throttle(model), max_enqueued_tokens=max_enqueued_tokens
    )
    index.ledger.record_throttle(model, throttle)
    return job


def _uploaded(
    index: Index, gemini: GeminiClient, job: BatchJob, file: ShardFile, now: datetime
) -> str:
    """The name of the shard's file at Gemini; one that an earlier process uploaded is used."""
    try:
        if job.input_file_name is not None and gemini.has_file(job.input_file_name):
            return job.input_file_name
        name = gemini.upload(file.path, display_name=job.display_name)
    except RateLimitedError:
        raise
    except RefusedError as exc:
        index.ledger.move(job, JobState.REFUSED, error_message=str(exc), ended_at=now)
        raise
    index.ledger.record_upload(job, input_file_name=name)
    return name


def _confirmed(
    index: Index, shard: Shard, job: BatchJob, remote: RemoteJob, now: datetime
) -> BatchJob:
    """The attempt with its job's name on record; poll.py may have been quicker to find it."""
    try:
        return index.ledger.move(job, JobState.PENDING, job_name=remote.name, submitted_at=now)
    except LedgerError:
        newest = index.ledger.newest_job(shard)
        if newest is None or newest.job_name != remote.name:
            raise
        return newest
