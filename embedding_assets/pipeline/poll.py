"""From Gemini's list of jobs to the ledger: states, adoption, release.

Belongs here: one look at Gemini and what it means for every attempt that is under way.
Does not belong here: what happens next (the decisions of batch_jobs.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from embedding_assets.batch_jobs import (
    DEAD_STATES,
    LIVE_STATES,
    BatchJob,
    JobState,
    RemoteJob,
)
from embedding_assets.errors import GeminiError, LedgerError
from embedding_assets.gemini import GeminiClient
from embedding_assets.store.index import Index

# Of a state's name as it came: one that is not known must not end the search.
_DEAD_ENDINGS = tuple(state.value.upper() for state in DEAD_STATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSummary:
    """What one look at Gemini changed."""

    n_looked_at: int
    n_changed: int
    adopted: tuple[str, ...]  # keys of the shards whose unconfirmed attempt has a job after all
    n_released: int  # unconfirmed attempts whose job stayed absent
    problems: tuple[str, ...]


def poll_jobs(
    index: Index, gemini: GeminiClient, *, unconfirmed_grace: timedelta, now: datetime
) -> PollSummary:
    """Bring every attempt under way up to date. One paged listing, a look-up for the unlisted.

    One job in an unknown state, or one that Gemini gives no word on, is a problem in the
    summary, not the end of the others. Raises GeminiError if the listing fails.
    """
    jobs = index.ledger.jobs_in(*LIVE_STATES)
    if not jobs:
        return PollSummary(n_looked_at=0, n_changed=0, adopted=(), n_released=0, problems=())
    found = _find(gemini.list_jobs(), jobs)
    n_changed = n_released = 0
    adopted: list[str] = []
    problems: list[str] = []
    for job in jobs:
        try:
            remote = found.get(job.display_name) or _look_up(gemini, job)
            if remote is not None:
                n_changed += _record(index, job, remote, now)
                if job.state is JobState.UNCONFIRMED:
                    adopted.append(job.shard_key)
            elif _is_overdue(job, unconfirmed_grace, now):
                index.ledger.move(job, JobState.RESERVED)
                n_released += 1
        except (LedgerError, GeminiError) as exc:
            problems.append(str(exc))
    return PollSummary(
        n_looked_at=len(jobs),
        n_changed=n_changed,
        adopted=tuple(adopted),
        n_released=n_released,
        problems=tuple(problems),
    )


def _find(listing: Iterable[RemoteJob], jobs: list[BatchJob]) -> dict[str, RemoteJob]:
    """Our jobs among the listed ones by display name; pages are read until all are found.

    An attempt that was released and submitted again may have two jobs of one name: the ledger's
    is the one with its job name. Without a job name it is the newest that is not dead.
    """
    wanted = {job.display_name: job.job_name for job in jobs}
    found: dict[str, RemoteJob] = {}
    doubtful: dict[str, RemoteJob] = {}
    for remote in listing:
        name = remote.display_name
        if name not in wanted or wanted[name] not in (None, remote.name):
            continue
        if wanted[name] is None and remote.state_name.endswith(_DEAD_ENDINGS):
            doubtful.setdefault(name, remote)
            continue
        found.setdefault(name, remote)
        if len(found) == len(wanted):
            break
    return doubtful | found


def _look_up(gemini: GeminiClient, job: BatchJob) -> RemoteJob | None:
    """A job that the list does not have; one that Gemini does not know at all has failed."""
    if job.job_name is None:
        return None
    return gemini.get_job(job.job_name) or RemoteJob(
        name=job.job_name,
        display_name=job.display_name,
        state_name="FAILED",
        result_file_name=None,
        error_message=f"Gemini no longer knows {job.job_name}",
        created_at=None,
        ended_at=None,
    )


def _record(index: Index, job: BatchJob, remote: RemoteJob, now: datetime) -> bool:
    state = remote.state
    if state is job.state:
        return False
    columns: dict[str, object] = {"job_name": remote.name, "error_message": remote.error_message}
    if job.submitted_at is None:
        columns["submitted_at"] = remote.created_at or now
    if state is JobState.SUCCEEDED:
        columns["result_file_name"] = remote.result_file_name
    if state is JobState.SUCCEEDED or state in DEAD_STATES:
        columns["ended_at"] = remote.ended_at or now
    index.ledger.move(job, state, **columns)
    return True


def _is_overdue(job: BatchJob, grace: timedelta, now: datetime) -> bool:
    return job.unconfirmed_at is not None and now - job.unconfirmed_at >= grace
