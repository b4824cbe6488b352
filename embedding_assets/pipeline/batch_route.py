"""The batch route: from a shard to exactly one batch job, by the ledger protocol.

Belongs here: the order of intent, act and record around the call that creates a job.
Does not belong here: whether to submit (submit.py), the other route (sync_route.py).

    reserve ─> look ─> upload ─> record ─> "a create call is about to be made" ─> create ─> record
                 │                          └─ outcome unknown: the attempt stays unconfirmed, and
                 │                             poll.py looks for the job by its display name
                 └─ Gemini has a job for these requests: it is adopted
"""

import random
from datetime import datetime
from functools import partial

from embedding_assets.clock import Clock
from embedding_assets.errors import (
    FileGoneError,
    LedgerError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
)
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import BatchJob, JobState, RemoteJob
from embedding_assets.model.request_file import ShardFile
from embedding_assets.model.room import (
    SubmissionLimits,
    throttle_after_acceptance,
    throttle_after_refusal,
)
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.adoption import Lookout, adopt
from embedding_assets.pipeline.uploads import upload
from embedding_assets.store.index import Index


def submit_batch_job(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    file: ShardFile,
    *,
    limits: SubmissionLimits,
    lookout: Lookout,
    clock: Clock,
) -> BatchJob:
    """Create one batch job for a shard, unless Gemini has it already, and record it.

    Not attempts, so that it can be called again: NoRoomError (our limits), NotLookedError (its
    list cannot be had), RateLimitedError (a 429; the throttle is set) and FileGoneError (the
    upload expired). Also raises IndexInDoubtError (this may be a copy), RefusedError (a
    clear no, on the record), OutcomeUnknownError (a job may exist; the attempt stays
    unconfirmed) and LedgerError (somebody else is at it).
    """
    job = index.jobs.reserve(shard, requests_sha256=file.sha256, now=clock())
    pass_gap(Gap.RESERVED)
    try:
        found = lookout.answer_to(shard, file.sha256)
        if found is not None:
            return adopt(index, job, found, now=clock())
        lookout.check_absence(job)
        job = _uploaded(index, gemini, job, file)
        # Not the time of the reservation: an upload may take longer than the grace that begins now.
        job = index.jobs.announce(job, limits=limits, now=clock())
        pass_gap(Gap.ANNOUNCED)
        remote = gemini.create_embeddings_job(
            model=shard.spec.model,
            input_file_name=job.input_file_name or "",
            display_name=job.display_name,
        )
        pass_gap(Gap.CREATED)
    except RateLimitedError as exc:
        _free(index, job, lookout, clock())
        raise learn_refusal(index, shard, exc, limits=limits, now=clock()) from exc
    except FileGoneError as exc:
        job = _free(index, job, lookout, clock())
        if gemini.has_file(job.input_file_name or ""):
            raise _refused(index, job, exc, clock()) from exc
        index.jobs.record_upload(job, input_file_name=None)
        raise
    except RefusedError as exc:
        lookout.look_again()
        raise _refused(index, job, exc, clock()) from exc
    except OutcomeUnknownError:
        lookout.look_again()
        raise
    job = _confirmed(index, shard, job, remote, clock())
    pass_gap(Gap.CONFIRMED)
    index.jobs.change_throttle(shard.spec, partial(throttle_after_acceptance, limits=limits))
    return job


def learn_refusal(
    index: Index,
    shard: Shard,
    refusal: RateLimitedError,
    *,
    limits: SubmissionLimits,
    now: datetime,
) -> RateLimitedError:
    """The refusal in words that say when Gemini is asked again, by whatever process."""
    refused = partial(
        throttle_after_refusal, refusal=refusal, limits=limits, jitter=random.random(), now=now
    )
    throttle = index.jobs.change_throttle(shard.spec, refused)
    return RateLimitedError(throttle.sentence, quota=throttle.quota)


def _uploaded(index: Index, gemini: GeminiClient, job: BatchJob, file: ShardFile) -> BatchJob:
    """The attempt with its file at Gemini; one that an earlier process uploaded is used."""
    if job.input_file_name is not None and gemini.has_file(job.input_file_name):
        return job
    name = upload(index, gemini, file.path, display_name=job.display_name)
    pass_gap(Gap.UPLOADED)
    job = index.jobs.record_upload(job, input_file_name=name)
    pass_gap(Gap.UPLOAD_RECORDED)
    return job


def _free(index: Index, job: BatchJob, lookout: Lookout, now: datetime) -> BatchJob:
    """The attempt as it was before its create call was announced, with a mark that it was made.

    There is no job, by all that was said; it is looked for all the same.
    """
    lookout.look_again()
    if job.state is not JobState.UNCONFIRMED:
        return job
    return index.jobs.move(job, JobState.RESERVED, released_at=now)


def _refused(index: Index, job: BatchJob, reason: RefusedError, now: datetime) -> RefusedError:
    # Of what came before the create call no text can be the reason.
    code = reason.code if job.state is JobState.UNCONFIRMED else None
    index.jobs.move(job, JobState.REFUSED, error_code=code, error_message=str(reason), ended_at=now)
    return RefusedError(str(reason))


def _confirmed(
    index: Index, shard: Shard, job: BatchJob, remote: RemoteJob, now: datetime
) -> BatchJob:
    """The attempt with its job's name on record; poll.py may have been quicker to find it."""
    try:
        return index.jobs.move(job, JobState.PENDING, job_name=remote.name, submitted_at=now)
    except LedgerError:
        newest = index.jobs.newest_job(shard)
        if newest is None or newest.job_name != remote.name:
            raise
        return newest
