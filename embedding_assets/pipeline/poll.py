"""From Gemini's list of jobs to the ledger: states, adoption, release, cancellation.

Belongs here: one look at Gemini and what it means for every attempt it may have news of.
Does not belong here: what happens next (decide.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from embedding_assets.errors import GeminiError, LedgerError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import (
    DEAD_STATES,
    LIVE_STATES,
    BatchJob,
    JobState,
    RemoteJob,
)
from embedding_assets.model.shards import ShardState
from embedding_assets.settings.values import Limits
from embedding_assets.store.index import Index
from embedding_assets.wording import count

# Google gives a job up after 48 hours (Gemini Batch API guide, 2026): no older one can appear.
_JOB_LIFETIME = timedelta(hours=48)
# Between Gemini's clock and ours.
_CLOCK_SKEW = timedelta(minutes=10)

# Of a state's name as it came: one that is not known must not end the search.
_DEAD_ENDINGS = tuple(state.value.upper() for state in DEAD_STATES)


@dataclass(slots=True, kw_only=True)
class PollSummary:
    """What one look at Gemini changed."""

    n_looked_at: int = 0
    n_changed: int = 0
    n_dead: int = 0  # of these: jobs that failed, expired or were cancelled
    adopted: list[str] = field(default_factory=list)  # keys of shards that have a job after all
    n_released: int = 0  # unconfirmed attempts whose job stayed absent
    n_overdue: int = 0  # jobs past their deadline, or a person's patience, asked to be cancelled
    n_duplicates: int = 0  # second jobs of an attempt, whose cancellation was asked for
    problems: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """All that in a few clauses; nothing if there was nothing to look at."""
        if not self.n_looked_at:
            return ""
        found = {
            f"{self.n_changed:,} changed": self.n_changed,
            f"{self.n_dead:,} of them died": self.n_dead,
            f"{count(len(self.adopted), 'lost job')} found by name": len(self.adopted),
            f"{count(self.n_released, 'attempt')} free again, no job appeared": self.n_released,
            f"{count(self.n_overdue, 'job')} asked to be cancelled": self.n_overdue,
            f"{count(self.n_duplicates, 'second job')} cancelled": self.n_duplicates,
        }
        clauses = [clause for clause, n in found.items() if n] or ["nothing has changed"]
        return f"asked Gemini about {count(self.n_looked_at, 'job')}: {', '.join(clauses)}"


def jobs_to_look_at(index: Index, *, provider: str, now: datetime) -> list[BatchJob]:
    """The attempts that the provider may have news of; without any there is nothing to poll."""
    return index.jobs.watched(provider=provider, released_after=now - _JOB_LIFETIME)


def poll_jobs(
    index: Index, gemini: GeminiClient, jobs: Sequence[BatchJob], *, limits: Limits, now: datetime
) -> PollSummary:
    """Bring these attempts up to date. One paged listing, a look-up for the unlisted.

    One job in an unknown state, or one that Gemini gives no word on, is a problem in the
    summary, not the end of the others. Raises GeminiError if the listing fails.
    """
    summary = PollSummary(n_looked_at=len(jobs))
    if not jobs:
        return summary
    found = _find(gemini.list_jobs(), jobs)
    pass_gap(Gap.POLLED)
    poll = _Poll(index=index, gemini=gemini, limits=limits, now=now, summary=summary)
    for job in jobs:
        try:
            poll.bring_up_to_date(job, found[job.display_name])
        except (LedgerError, GeminiError) as exc:
            summary.problems.append(str(exc))
    return summary


def _find(listing: Iterable[RemoteJob], jobs: Sequence[BatchJob]) -> dict[str, list[RemoteJob]]:
    """Gemini's jobs by display name, for the attempts that we want to know of.

    The list begins with the newest. It is read as far back as any of them, or a second job of
    one, can be; and to its end as long as one under way is missing: nothing is to be sent twice.
    """
    wanted = {job.display_name for job in jobs}
    missing = {job.display_name for job in jobs if job.state in LIVE_STATES}
    horizon = min(job.reserved_at for job in jobs) - _CLOCK_SKEW
    found: dict[str, list[RemoteJob]] = defaultdict(list)
    for remote in listing:
        if remote.display_name in wanted:
            found[remote.display_name].append(remote)
            missing.discard(remote.display_name)
        is_older = remote.created_at is not None and remote.created_at < horizon
        if is_older and not missing:
            break
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Poll:
    """One look at Gemini, applied to one attempt after the other."""

    index: Index
    gemini: GeminiClient
    limits: Limits
    now: datetime
    summary: PollSummary

    def bring_up_to_date(self, job: BatchJob, listed: Sequence[RemoteJob]) -> None:
        remote = _its_own(job, listed)
        if job.state in LIVE_STATES:
            self._follow(job, remote or self._look_up(job))
        elif job.state is JobState.RESERVED and remote is not None:
            self._take_up(job, remote)
        # An attempt has two jobs if its first one appeared after it was released.
        self._cancel_all([other for other in listed if other is not remote])

    def _follow(self, job: BatchJob, remote: RemoteJob | None) -> None:
        if remote is not None:
            self._record(job, remote)
        elif job.job_name is None and self._is_absent_for_long(job):
            self.index.jobs.move(job, JobState.RESERVED, released_at=self.now)
            self.summary.n_released += 1

    def _take_up(self, job: BatchJob, remote: RemoteJob) -> None:
        """A job that appeared after its attempt was released, which has no other one yet."""
        if self.index.shards.get(job.shard_key).state is ShardState.OPEN:
            self._record(self.index.jobs.move(job, JobState.UNCONFIRMED), remote)
        else:
            self._cancel_all([remote])

    def _cancel_all(self, duplicates: Sequence[RemoteJob]) -> None:
        for remote in duplicates:
            if remote.state in LIVE_STATES:
                self.gemini.cancel_job(remote.name)
                self.summary.n_duplicates += 1

    def _look_up(self, job: BatchJob) -> RemoteJob | None:
        """A job that the list does not have; one that Gemini does not know at all has failed.

        Not at once: a new job may not be known everywhere yet.
        """
        if job.job_name is None:
            return None
        remote = self.gemini.get_job(job.job_name)
        if remote is not None or not self._is_absent_for_long(job):
            return remote
        return RemoteJob(
            name=job.job_name,
            display_name=job.display_name,
            state_name="FAILED",
            error_message=f"Gemini no longer knows {job.job_name}",
        )

    def _record(self, job: BatchJob, remote: RemoteJob) -> None:
        state = self._state_of(remote)
        if state is not job.state:
            columns: dict[str, object] = {
                "job_name": remote.name,
                "error_code": remote.error_code,
                "error_message": remote.error_message,
            }
            if job.submitted_at is None:
                columns["submitted_at"] = remote.created_at or self.now
            if state is JobState.SUCCEEDED:
                columns["result_file_name"] = remote.result_file_name
                columns["n_answered"] = remote.n_answered
            if state not in LIVE_STATES:
                columns["ended_at"] = remote.ended_at or self.now
            moved = self.index.jobs.move(job, state, **columns)
            self.summary.n_changed += 1
            self.summary.n_dead += state in DEAD_STATES
            if job.job_name is None:
                self.summary.adopted.append(job.shard_key)
            job = moved
        if job.state in LIVE_STATES and self._is_overdue(job):
            self.index.jobs.request_cancellation(job, now=self.now)
            pass_gap(Gap.CANCEL_RECORDED)
            self.gemini.cancel_job(remote.name)
            self.summary.n_overdue += 1

    def _state_of(self, remote: RemoteJob) -> JobState:
        """What a job's state means for us: answered is what has an output, however it ended."""
        state = remote.state
        if state in DEAD_STATES and remote.has_output:
            return JobState.SUCCEEDED
        if state is JobState.SUCCEEDED and not remote.has_output and self._ended_lately(remote):
            return JobState.RUNNING
        return state

    def _ended_lately(self, remote: RemoteJob) -> bool:
        since = remote.ended_at or remote.created_at
        grace = timedelta(seconds=self.limits.output_grace_s)
        return since is not None and self.now - since < grace

    def _is_overdue(self, job: BatchJob) -> bool:
        """It takes too long, or a person has had enough; and it was not asked to end just now."""
        asked_at = job.cancel_requested_at
        if asked_at is not None:
            return self.now - asked_at >= timedelta(seconds=self.limits.run_retry_s)
        deadline = timedelta(hours=self.limits.job_deadline_h)
        return job.submitted_at is not None and self.now - job.submitted_at >= deadline

    def _is_absent_for_long(self, job: BatchJob) -> bool:
        grace = timedelta(seconds=self.limits.unconfirmed_grace_s)
        return job.unconfirmed_at is not None and self.now - job.unconfirmed_at >= grace


def _its_own(job: BatchJob, listed: Sequence[RemoteJob]) -> RemoteJob | None:
    """The job that the attempt stands for; without its name, the one that is furthest."""
    if job.job_name is not None or job.state not in LIVE_STATES | {JobState.RESERVED}:
        return next((remote for remote in listed if remote.name == job.job_name), None)
    answered = [remote for remote in listed if remote.state_name.endswith("SUCCEEDED")]
    alive = [remote for remote in listed if not remote.state_name.endswith(_DEAD_ENDINGS)]
    return next(iter([*answered, *alive, *listed]), None)
