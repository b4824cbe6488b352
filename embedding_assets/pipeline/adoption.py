"""Gemini's list, looked at before anything is created: what is there already is not bought again.

Belongs here: one look for a whole run, the job that answers a shard's requests, noticing that this
index may be a copy. Does not belong here: which job is what (model/strangers.py), the create call
(batch_route.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from embedding_assets.clock import Clock
from embedding_assets.errors import (
    IndexInDoubtError,
    NotLookedError,
    OutcomeUnknownError,
    RateLimitedError,
)
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import (
    BatchJob,
    JobState,
    RemoteJob,
    is_under,
    needs_job,
    short_digest,
)
from embedding_assets.model.request_file import digest_of, request_lines
from embedding_assets.model.shards import Route, Shard
from embedding_assets.model.strangers import Sight, doubt_about
from embedding_assets.store.index import Index

_MAX_AGE = timedelta(minutes=1)


@dataclass(slots=True, kw_only=True)
class Lookout:
    """Gemini's jobs as a run of many submissions sees them: looked at once, and anew in time."""

    index: Index
    gemini: GeminiClient
    clock: Clock
    _jobs: Sequence[RemoteJob] = field(default=(), init=False)
    _problems: Sequence[str] = field(default=(), init=False)
    _failure: NotLookedError | None = field(default=None, init=False)
    _looked_at: datetime | None = field(default=None, init=False)

    def answer_to(self, shard: Shard, requests_sha256: str) -> RemoteJob | None:
        """A job for exactly these requests that no attempt has, if Gemini has one.

        Raises NotLookedError if its list cannot be had now, RefusedError if it refuses it, and
        IndexInDoubtError if the list says that this may be a copy.
        """
        now = self.clock()
        if self._looked_at is None or now - self._looked_at >= _MAX_AGE:
            self._look()
            self._looked_at = now
        if self._failure is not None:
            raise self._failure
        check_doubt(self.index)
        sight = take_sight(self.index, self._jobs)
        return sight.answer_to(requests_sha256, model=shard.spec.model)

    def check_absence(self, job: BatchJob) -> None:
        """Raises NotLookedError if a job of this attempt may be there that was not seen."""
        if job.unconfirmed_at is not None and self._problems:
            raise NotLookedError(f"it may have a job at Gemini: {self._problems[0]}")

    def look_again(self) -> None:
        """A create call was not answered as it should be: the next shard needs a new look."""
        self._looked_at = None

    def _look(self) -> None:
        index_id = self.index.identity.index_id
        listing = self.gemini.list_jobs()
        try:
            self._jobs = [job for job in listing if is_under(job, index_id)]
        except (OutcomeUnknownError, RateLimitedError) as exc:
            # The other shards of the run need not wait for the same.
            self._failure = NotLookedError(f"Gemini's jobs cannot be listed: {exc}")
            return
        self._problems, self._failure = listing.problems, None
        notice_doubt(self.index, take_sight(self.index, self._jobs), provider=self.gemini.provider)


def take_sight(index: Index, jobs: Sequence[RemoteJob]) -> Sight:
    """Jobs that Gemini listed, and what the ledger has of them by now."""
    return Sight(
        index_id=index.identity.index_id,
        jobs=jobs,
        attempts=index.jobs.attempts_of(jobs),
        taken_over_at=index.identity.taken_over_at,
    )


def check_doubt(index: Index) -> None:
    """Raises IndexInDoubtError while a person has not said whether this is a copy."""
    doubt = index.identity.doubt
    if doubt is not None:
        raise IndexInDoubtError(doubt)


def notice_doubt(index: Index, sight: Sight, *, provider: str) -> str | None:
    """Why this index may be a copy, in a sentence that is on record from now on."""
    doubt = index.identity.doubt
    if doubt is not None:
        return doubt
    found = evidence(index, sight, provider=provider)
    if not found:
        return None
    doubt = doubt_about(found)
    index.identity.record_doubt(doubt)
    return doubt


def evidence(index: Index, sight: Sight, *, provider: str) -> list[RemoteJob]:
    """The jobs that say that another index has our id, apart from those that can be adopted.

    Whether they can, the texts of all shards that wait have to be read for; without evidence they
    are not.
    """
    if not sight.evidence():
        return []
    statuses = index.jobs.ledger().at(provider)
    shards = [status.shard for status in statuses if needs_job(status.job)]
    under_way = [status.job for status in statuses if status.job and not needs_job(status.job)]
    return sight.evidence(
        waiting={_digest(index, shard) for shard in shards if shard.route is Route.BATCH},
        under_way={short_digest(job.requests_sha256) for job in under_way},
    )


def _digest(index: Index, shard: Shard) -> str:
    lines = request_lines(shard.spec, index.shards.pending_requests(shard))
    return short_digest(digest_of(lines))


def adopt(index: Index, job: BatchJob, remote: RemoteJob, *, now: datetime) -> BatchJob:
    """Let a reserved attempt have a job that is there already, without a create call."""
    job = index.jobs.move(job, JobState.UNCONFIRMED, unconfirmed_at=now, cancel_requested_at=None)
    return index.jobs.move(
        job, JobState.PENDING, job_name=remote.name, submitted_at=remote.created_at or now
    )
