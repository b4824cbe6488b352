"""Jobs at Gemini that carry this index's id and that none of its attempts has.

Belongs here: which of them answer requests of ours, which say that another index has our id, and
the sentence that says so. Does not belong here: asking Gemini, adopting (pipeline/adoption.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from embedding_assets.model.batch_jobs import (
    LIVE_STATES,
    BatchJob,
    JobState,
    RemoteJob,
    is_under,
    short_digest,
)
from embedding_assets.wording import count, some

# Between Gemini's clock and ours.
CLOCK_SKEW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Gemini's list beside the ledger, which was read after it.

    An attempt is on record before its job is made: what is listed without one is nobody's here.
    """

    index_id: str
    jobs: Sequence[RemoteJob]
    attempts: Sequence[BatchJob]  # all that have the name or the display name of one of the jobs
    taken_over_at: datetime | None  # a person said that what was there by then is no stranger

    @property
    def claimed_names(self) -> set[str]:
        """Of the jobs that an attempt has."""
        return {attempt.job_name for attempt in self.attempts if attempt.job_name is not None}

    @property
    def unclaimed(self) -> list[RemoteJob]:
        """Those of our id that are or may be paid for and that no attempt has or is looking for."""
        claimed = self.claimed_names
        looked_for = {attempt.display_name for attempt in self.attempts if _looks_for_job(attempt)}
        return [
            job
            for job in self.jobs
            if is_under(job, self.index_id)
            and job.may_be_owed
            and job.name not in claimed
            and job.display_name not in looked_for
        ]

    def answer_to(self, requests_sha256: str, *, model: str) -> RemoteJob | None:
        """A job for exactly these requests, an answered one if there is one."""
        fitting = [
            job
            for job in self.unclaimed
            if job.digest == short_digest(requests_sha256) and job.model in (None, model)
        ]
        return max(fitting, key=lambda job: job.state_name.endswith("SUCCEEDED"), default=None)

    def evidence(
        self, waiting: Collection[str] = (), under_way: Collection[str] = ()
    ) -> list[RemoteJob]:
        """Those that say that another index has our id.

        Not those that come from our own past; not those that answer requests that wait to be
        submitted, of which ``waiting`` has the short digests; and not further attempts at what is
        under way here: of an index that was restored it may have ended since.
        """
        attempts = {attempt.display_name: attempt for attempt in self.attempts}
        return [
            job
            for job in self.unclaimed
            if job.digest not in waiting
            and not (job.digest in under_way and job.display_name not in attempts)
            and not self.was_taken_over(job)
            and not _may_have_another(attempts.get(job.display_name))
        ]

    def was_taken_over(self, job: RemoteJob) -> bool:
        """It was there when a person said that this index goes on."""
        if self.taken_over_at is None:
            return False
        return job.created_at is None or job.created_at <= self.taken_over_at + CLOCK_SKEW


def _looks_for_job(attempt: BatchJob) -> bool:
    return attempt.job_name is None and attempt.state in LIVE_STATES


def _may_have_another(attempt: BatchJob | None) -> bool:
    """A create call of it was put aside, as refused or without a job, and may have made one."""
    if attempt is None:
        return False
    was_refused = attempt.state in (JobState.RESERVED, JobState.REFUSED)
    return attempt.released_at is not None or (was_refused and attempt.unconfirmed_at is not None)


def doubt_about(evidence: Sequence[RemoteJob]) -> str:
    """What is said until a person has decided."""
    return (
        f"Gemini has {count(len(evidence), 'job')} under this index's id that this index did not "
        f"make ({some([job.name for job in evidence])}): it is a copy, or was restored from a "
        "backup; nothing is submitted or cancelled until you say that it goes on "
        "(`embedding-assets adopt-index`) or that another one does (`embedding-assets adopt-index "
        "--new-id`)"
    )
