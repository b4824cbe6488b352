"""Waiting: for what a reindex waits, and until when, in one sentence each."""

from datetime import timedelta

from embedding_assets.errors import Quota
from embedding_assets.model.batch_jobs import JobState, ShardStatus
from embedding_assets.model.room import Throttle
from embedding_assets.pipeline.waiting import (
    few_requests,
    jobs_under_way,
    late_results,
    spoilt_downloads,
    unconfirmed_jobs,
)
from embedding_assets.settings.values import Limits
from tests.factories import NOW, a_job, a_status

LIMITS = Limits(job_deadline_h=30, unconfirmed_grace_s=600, output_grace_s=3600, max_wait_h=24)


def with_job(number: int, state: JobState, **job: object) -> ShardStatus:
    status = a_status(number, collect_requested_at=NOW)
    made = a_job(state, shard_id=number, shard_key=status.shard.key, **job)
    return a_status(number, state, job=made, collect_requested_at=NOW)


def test_jobs_under_way() -> None:
    """The oldest says since when and until when; without any there is nothing to wait for."""
    later = NOW + timedelta(hours=1)
    statuses = [
        with_job(1, JobState.RUNNING, submitted_at=later),
        with_job(2, JobState.PENDING),
        with_job(3, JobState.FAILED, submitted_at=NOW - timedelta(days=9)),
    ]
    assert jobs_under_way(statuses, LIMITS) == (
        "2 jobs are under way (the first since 2026-11-23 03:00:00 UTC, until 2026-11-24 09:00:00 "
        "UTC at the latest)"
    )
    assert jobs_under_way([], LIMITS) == "0 jobs are under way"


def test_jobs_that_may_not_exist() -> None:
    """Until the last of them has been absent for long enough."""
    statuses = [
        with_job(1, JobState.UNCONFIRMED, submitted_at=None),
        with_job(
            2, JobState.UNCONFIRMED, submitted_at=None, unconfirmed_at=NOW + timedelta(minutes=5)
        ),
    ]
    assert unconfirmed_jobs(statuses, LIMITS) == (
        "2 jobs may or may not exist, looked for until 2026-11-23 03:15:00 UTC and then submitted "
        "again"
    )
    assert jobs_under_way(statuses, LIMITS) == "2 jobs are under way"
    assert unconfirmed_jobs([with_job(1, JobState.PENDING)], LIMITS) == ""


def test_results_that_are_late() -> None:
    """What is about to be collected for the first time is not late, nor is our own file."""
    late = with_job(1, JobState.SUCCEEDED, ended_at=NOW, result_file_name="files/batch-1")
    assert late_results([late], LIMITS) == (
        "the results of 1 finished job are looked for until 2026-11-23 04:00:00 UTC"
    )
    new = a_status(1, JobState.SUCCEEDED, job=late.job)
    ours = with_job(1, JobState.SUCCEEDED, ended_at=NOW)
    assert late_results([new, ours], LIMITS) == ""


def test_downloads_that_were_no_result_files() -> None:
    """It is said that something else came, and when it is tried again, also before it was asked."""
    until = NOW + timedelta(minutes=2)
    later = until + timedelta(minutes=6)
    statuses = [
        with_job(1, JobState.SUCCEEDED, collect_not_before=until),
        with_job(2, JobState.SUCCEEDED, collect_not_before=later),
        with_job(3, JobState.SUCCEEDED),
    ]
    assert spoilt_downloads(statuses) == (
        "what was downloaded for 2 finished jobs is no result file, but a page, an error or "
        "nothing; it is downloaded again from 2026-11-23 03:02:00 UTC"
    )
    assert spoilt_downloads(statuses[2:]) == ""


def test_few_requests_that_wait_for_more() -> None:
    """Until they have waited for as long as the setting says."""
    assert few_requests("2026-11", NOW, LIMITS) == (
        "the few requests of 2026-11 wait for more until 2026-11-24 03:00:00 UTC"
    )


def test_a_refusal() -> None:
    """What there is too little of, until when, and Gemini's own words."""
    throttle = Throttle(
        not_before=NOW, quota=Quota.CREDITS, message="Gemini answered 429: Depleted."
    )
    assert throttle.sentence == (
        "the Google project has no credits or no billing; Gemini is asked again from 2026-11-23 "
        "03:00:00 UTC: Gemini answered 429: Depleted."
    )
