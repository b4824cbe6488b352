"""What a reindex waits for, and until when: in the same words in terminal, `status` and ticks.

Belongs here: the sentences. Does not belong here: what comes after the wait (decide.py), and what
Gemini refuses (the sentence of a Throttle, model/room.py).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from embedding_assets.model.batch_jobs import BatchJob, JobState, ShardStatus, absent_from
from embedding_assets.settings.values import Limits
from embedding_assets.wording import count, utc


def jobs_under_way(statuses: Sequence[ShardStatus], limits: Limits) -> str:
    """How many jobs Gemini works on, or may work on, since when, and until when at the latest."""
    live = [status.job for status in statuses if status.job is not None and status.is_live]
    jobs = f"{count(len(live), 'job is', 'jobs are')} under way"
    since = min((job.submitted_at for job in live if job.submitted_at), default=None)
    if since is None:
        return jobs
    until = since + timedelta(hours=limits.job_deadline_h)
    return f"{jobs} (the first since {utc(since)}, until {utc(until)} at the latest)"


def unconfirmed_jobs(statuses: Sequence[ShardStatus], limits: Limits) -> str:
    """Jobs that may not exist, and when their shards are submitted again; nothing without any."""
    found = _jobs_in(statuses, JobState.UNCONFIRMED)
    grace = timedelta(seconds=limits.unconfirmed_grace_s)
    until = max(filter(None, (absent_from(job, grace) for job in found)), default=None)
    if until is None:
        return ""
    jobs = count(len(found), "job may or may not exist", "jobs may or may not exist")
    return f"{jobs}, looked for until {utc(until)} and then submitted again"


def late_results(statuses: Sequence[ShardStatus], limits: Limits) -> str:
    """Finished jobs whose collection has not brought results yet, and until when; or nothing."""
    late = [status for status in statuses if status.collect_requested_at is not None]
    until = results_due_at(late, limits)
    if until is None:
        return ""
    n_jobs = len(_jobs_in(late, JobState.SUCCEEDED))
    return f"the results of {count(n_jobs, 'finished job')} are looked for until {utc(until)}"


def spoilt_downloads(statuses: Sequence[ShardStatus]) -> str:
    """Finished jobs for which something else came than results, and from when it is tried again."""
    found = _jobs_in(statuses, JobState.SUCCEEDED)
    untils = [job.collect_not_before for job in found if job.collect_not_before]
    if not untils:
        return ""
    jobs = count(len(untils), "finished job")
    return (
        f"what was downloaded for {jobs} is no result file, but a page, an error or nothing; it is "
        f"downloaded again from {utc(min(untils))}"
    )


def results_due_at(statuses: Sequence[ShardStatus], limits: Limits) -> datetime | None:
    """Until when results are waited for that Gemini does not have yet."""
    found = [job for job in _jobs_in(statuses, JobState.SUCCEEDED) if job.result_file_name]
    grace = timedelta(seconds=limits.output_grace_s)
    ends = [job.ended_at + grace for job in found if job.ended_at]
    put_off = [job.collect_not_before for job in found if job.collect_not_before]
    return max([*ends, *put_off], default=None)


def _jobs_in(statuses: Sequence[ShardStatus], state: JobState) -> list[BatchJob]:
    return [status.job for status in statuses if status.job and status.job.state is state]


def few_requests(month: str, since: datetime, limits: Limits) -> str:
    """So few requests that they wait for more of them."""
    until = since + timedelta(hours=limits.max_wait_h)
    return f"the few requests of {month} wait for more until {utc(until)}"
