"""From Gemini's list of jobs to the ledger: states, adoption, release, cancellation.

Belongs here: one look at Gemini and what it means for every attempt it may have news of.
Does not belong here: what happens next (decide.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from embedding_assets.errors import GeminiError, LedgerError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import (
    DEAD_ENDINGS,
    DEAD_STATES,
    LIVE_STATES,
    BatchJob,
    JobState,
    RemoteJob,
    absent_from,
    is_under,
)
from embedding_assets.model.shards import ShardState
from embedding_assets.model.strangers import CLOCK_SKEW, Sight
from embedding_assets.pipeline.adoption import notice_doubt, take_sight
from embedding_assets.settings.values import Limits
from embedding_assets.store.index import Index
from embedding_assets.wording import count

# Google gives a job up after 48 hours (Gemini Batch API guide, 2026): no older one can appear.
_JOB_LIFETIME = timedelta(hours=48)


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
    listing = gemini.list_jobs()
    seen = _read(listing, jobs, index_id=index.identity.index_id)
    pass_gap(Gap.POLLED)
    sight = take_sight(index, seen)
    doubt = notice_doubt(index, sight, provider=gemini.provider)
    summary.problems += [*listing.problems, *filter(None, [doubt])]
    poll = _Poll(
        index=index,
        gemini=gemini,
        limits=limits,
        now=now,
        index_id=sight.index_id,
        by_name={remote.name: remote for remote in seen},
        namesakes=_namesakes(sight),
        is_read_well=not listing.problems,
        is_in_doubt=doubt is not None,
        summary=summary,
    )
    poll.bring_up_to_date(jobs)
    return summary


def _read(
    listing: Iterable[RemoteJob], jobs: Sequence[BatchJob], *, index_id: str
) -> list[RemoteJob]:
    """Gemini's jobs of this index and of the attempts that we want to know of.

    The list begins with the newest. It is read as far back as any of them, or a second job of
    one, can be; and to its end as long as one under way is missing: nothing is to be sent twice.
    """
    wanted = {name for job in jobs for name in (job.display_name, job.job_name)}
    missing = {job.job_name or job.display_name for job in jobs if job.state in LIVE_STATES}
    horizon = min(job.reserved_at for job in jobs) - CLOCK_SKEW
    found = []
    for remote in listing:
        if is_under(remote, index_id) or wanted & {remote.name, remote.display_name}:
            found.append(remote)
            missing -= {remote.name, remote.display_name}
        is_older = remote.created_at is not None and remote.created_at < horizon
        if is_older and not missing:
            break
    return found


def _namesakes(sight: Sight) -> Mapping[str, Sequence[RemoteJob]]:
    claimed = sight.claimed_names
    found: dict[str, list[RemoteJob]] = defaultdict(list)
    for remote in sight.jobs:
        if remote.name not in claimed:
            found[remote.display_name].append(remote)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Poll:
    """One look at Gemini, applied to one attempt after the other."""

    index: Index
    gemini: GeminiClient
    limits: Limits
    now: datetime
    index_id: str
    by_name: Mapping[str, RemoteJob]  # what was seen of ours
    namesakes: Mapping[str, Sequence[RemoteJob]]  # of it, by display name, what no attempt has
    is_read_well: bool  # or what is not in the list may be there all the same
    is_in_doubt: bool  # another index may have the same id: nothing is cancelled
    summary: PollSummary

    def bring_up_to_date(self, jobs: Sequence[BatchJob]) -> None:
        """Each of them, whatever becomes of the others."""
        found: list[tuple[BatchJob, RemoteJob | None]] = []
        for job in jobs:
            with self._noting_problems():
                found.append((job, self._its_own(job) or self._look_up(job)))
        is_elsewhere = self._note_if_elsewhere(found)
        for job, own in found:
            with self._noting_problems():
                self._follow(job, own, is_elsewhere=is_elsewhere)

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        try:
            yield
        except (LedgerError, GeminiError) as exc:
            self.summary.problems.append(str(exc))

    def _its_own(self, job: BatchJob) -> RemoteJob | None:
        """The job that the attempt stands for; without its name, the one that is furthest."""
        if job.job_name is not None:
            return self.by_name.get(job.job_name)
        if job.state not in LIVE_STATES | {JobState.RESERVED}:
            return None
        found = self.namesakes[job.display_name]
        answered = [remote for remote in found if remote.state_name.endswith("SUCCEEDED")]
        alive = [remote for remote in found if not remote.state_name.endswith(DEAD_ENDINGS)]
        return next(iter([*answered, *alive, *found]), None)

    def _look_up(self, job: BatchJob) -> RemoteJob | None:
        """A job that the list does not have; None if Gemini does not know it, or we its name."""
        if job.job_name is None or job.state not in LIVE_STATES:
            return None
        return self.gemini.get_job(job.job_name)

    def _note_if_elsewhere(self, found: Sequence[tuple[BatchJob, RemoteJob | None]]) -> bool:
        """Whether nothing here was ever heard of us: then this is not where our jobs are."""
        n_lost = sum(
            own is None and job.job_name is not None and job.state in LIVE_STATES
            for job, own in found
        )
        if not n_lost or self.by_name or any(own for _, own in found):
            return False
        self.summary.problems.append(elsewhere(n_lost))
        return True

    def _follow(self, job: BatchJob, own: RemoteJob | None, *, is_elsewhere: bool) -> None:
        if job.state is JobState.RESERVED and own is not None:
            self._take_up(job, own)
        elif job.state in LIVE_STATES and own is not None:
            self._record(job, own)
        elif job.state in LIVE_STATES and self._is_absent_for_long(job):
            self._miss(job, is_elsewhere=is_elsewhere)
        others = self.namesakes[job.display_name]
        self._cancel_left_over(job, [other for other in others if other != own])

    def _miss(self, job: BatchJob, *, is_elsewhere: bool) -> None:
        """A job that is not there. Not at once: a new one may not be known everywhere yet."""
        if job.job_name is None:
            if self.is_read_well and not is_elsewhere:
                self._release(job)
        elif not is_elsewhere or self._is_out_of_patience(job):
            self._give_up(job, f"Gemini no longer knows {job.job_name}")

    def _release(self, job: BatchJob) -> None:
        """Once a call that was not answered may have come to nothing; twice its job may be paid.

        Then the attempt counts, and there are only so many of them.
        """
        if job.released_at is None:
            self.index.jobs.move(job, JobState.RESERVED, released_at=self.now)
            self.summary.n_released += 1
        else:
            self._give_up(job, "its creation was not answered twice, and no job of it is listed")

    def _give_up(self, job: BatchJob, reason: str) -> None:
        self.index.jobs.move(
            job,
            JobState.FAILED,
            error_message=reason,
            ended_at=self.now,
            unmatched_tokens=self.index.shards.get(job.shard_key).estimated_tokens,
        )
        self.summary.n_changed += 1
        self.summary.n_dead += 1

    def _take_up(self, job: BatchJob, remote: RemoteJob) -> None:
        """A job that appeared after its attempt was put aside, which has no other one yet."""
        if self.index.shards.get(job.shard_key).state is ShardState.OPEN:
            self._record(self.index.jobs.move(job, JobState.UNCONFIRMED), remote)
        else:
            self._cancel_left_over(job, [remote])

    def _cancel_left_over(self, job: BatchJob, others: Sequence[RemoteJob]) -> None:
        """Second jobs of an attempt, if the ledger says that it has had more than one create call.

        Without that they are another index's, and not ours to cancel.
        """
        if job.released_at is None or not self._may_cancel(job):
            return
        for remote in others:
            # A submission may have adopted it a moment ago.
            if remote.state in LIVE_STATES and not self._is_claimed_by_now(remote):
                self.gemini.cancel_job(remote.name)
                self.summary.n_duplicates += 1

    def _is_claimed_by_now(self, remote: RemoteJob) -> bool:
        attempts = self.index.jobs.attempts_of([remote])
        return any(attempt.job_name == remote.name for attempt in attempts)

    def _may_cancel(self, job: BatchJob) -> bool:
        return not self.is_in_doubt and is_under(job, self.index_id)

    def _record(self, job: BatchJob, remote: RemoteJob) -> None:
        state = self._state_of(job, remote)
        if state is not job.state:
            columns: dict[str, object] = {
                "job_name": remote.name,
                "error_code": remote.error_code,
                "n_answered": remote.n_answered,
                "error_message": remote.error_message,
            }
            if job.submitted_at is None:
                columns["submitted_at"] = self._credible(remote.created_at, job) or self.now
            if state is JobState.SUCCEEDED:
                columns["result_file_name"] = remote.result_file_name
            if state not in LIVE_STATES:
                columns["ended_at"] = self._credible(remote.ended_at, job) or self.now
            moved = self.index.jobs.move(job, state, **columns)
            self.summary.n_changed += 1
            self.summary.n_dead += state in DEAD_STATES
            if job.job_name is None:
                self.summary.adopted.append(job.shard_key)
            job = moved
        if job.state in LIVE_STATES and self._is_overdue(job) and self._may_cancel(job):
            self.index.jobs.request_cancellation(job, now=self.now)
            pass_gap(Gap.CANCEL_RECORDED)
            self.gemini.cancel_job(remote.name)
            self.summary.n_overdue += 1

    def _credible(self, moment: datetime | None, job: BatchJob) -> datetime | None:
        """What Gemini says of a time, if it can be: waits and deadlines count from it."""
        begun_at = job.submitted_at or job.reserved_at
        if moment is None or not begun_at - CLOCK_SKEW <= moment <= self.now + CLOCK_SKEW:
            return None
        return min(moment, self.now)

    def _state_of(self, job: BatchJob, remote: RemoteJob) -> JobState:
        """What a job's state means for us: answered is what has an output, however it ended."""
        state = remote.state
        if state in DEAD_STATES and remote.has_output:
            return JobState.SUCCEEDED
        if (
            state is JobState.SUCCEEDED
            and not remote.has_output
            and self._ended_lately(job, remote)
        ):
            return JobState.RUNNING
        return state

    def _ended_lately(self, job: BatchJob, remote: RemoteJob) -> bool:
        since = self._credible(remote.ended_at, job) or job.submitted_at or job.reserved_at
        return self.now - since < timedelta(seconds=self.limits.output_grace_s)

    def _is_overdue(self, job: BatchJob) -> bool:
        """It takes too long, or a person has had enough; and it was not asked to end just now."""
        asked_at = job.cancel_requested_at
        if asked_at is not None:
            return self.now - asked_at >= timedelta(seconds=self.limits.run_retry_s)
        deadline = timedelta(hours=self.limits.job_deadline_h)
        return job.submitted_at is not None and self.now - job.submitted_at >= deadline

    def _is_absent_for_long(self, job: BatchJob) -> bool:
        since = absent_from(job, timedelta(seconds=self.limits.unconfirmed_grace_s))
        return since is not None and self.now >= since

    def _is_out_of_patience(self, job: BatchJob) -> bool:
        """A person wants it replaced, or Gemini itself would have given it up by now."""
        since = job.submitted_at or job.reserved_at
        return job.cancel_requested_at is not None or self.now - since >= _JOB_LIFETIME


def elsewhere(n_jobs: int) -> str:
    """What is said of a project that knows none of the jobs that are under way."""
    nothing = "does not know the only job that is under way"
    if n_jobs > 1:
        nothing = f"knows none of the {n_jobs:,} jobs that are under way"
    return (
        f"Gemini {nothing}, nor anything else of this index: is this the key of another Google "
        "project? With the right one its jobs are collected, without it they are given up 48 "
        "hours after their submission"
    )
