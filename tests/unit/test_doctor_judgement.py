"""The doctor's judgement: what is wrong, what is only worth knowing, what is nothing."""

from dataclasses import replace
from typing import Any

import pytest

from embedding_assets.cli.encode import encode
from embedding_assets.doctor.findings import CancelJob, Check, Finding, Report, SettleShard
from embedding_assets.doctor.gemini_side import RemoteSide, judge_remote
from embedding_assets.doctor.index_side import judge_shard, judge_standstill, judge_vectors
from embedding_assets.model.batch_jobs import JobState, RemoteFile, RemoteJob
from embedding_assets.model.shards import ShardState
from embedding_assets.model.strangers import Sight
from embedding_assets.model.vectors import BadVector
from embedding_assets.store.checkup import ShardRecord
from embedding_assets.wording import some
from tests.factories import NOW, a_job, a_remote_job, a_status


def a_record(*states: JobState, **changes: Any) -> ShardRecord:
    """An open shard of five requests, three of them pending, with an attempt in each state."""
    jobs = tuple(
        a_job(
            state,
            attempt=n,
            display_name=f"embedding-assets/1a2b3c4d/2026-11-0003/{n}/0011223344556677",
            job_name=f"batches/job-{n}",
            input_file_name=f"files/input-{n}",
        )
        for n, state in enumerate(states, start=1)
    )
    values: dict[str, Any] = {
        "key": "2026-11-0003",
        "state": ShardState.OPEN,
        "n_requests": 5,
        "n_rows": 5,
        "n_pending": 3,
        "n_without_vector": 0,
        "n_unbilled": 0,
        "n_unusable": 0,
        "jobs": jobs,
    }
    return ShardRecord(**{**values, **changes})


def remote(attempt: int, state: str, **changes: Any) -> RemoteJob:
    """Gemini's job for an attempt."""
    return a_remote_job(
        **{
            "name": f"batches/job-{attempt}",
            "display_name": f"embedding-assets/1a2b3c4d/2026-11-0003/{attempt}/0011223344556677",
            "state_name": f"BATCH_STATE_{state}",
            **changes,
        }
    )


def checks(findings: list[Finding]) -> list[tuple[Check, str, bool]]:
    """Of each finding the check, how bad it is, and whether something is safe to do."""
    return [(f.check, f.severity.value, f.repair is not None) for f in findings]


# --- shards and attempts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "states",
    [
        [],
        [JobState.RESERVED],
        [JobState.UNCONFIRMED],
        [JobState.PENDING],
        [JobState.SUCCEEDED],
        [JobState.FAILED],
        [JobState.REFUSED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED],
        [JobState.FAILED, JobState.RUNNING],
    ],
)
def test_a_shard_under_way_is_in_order(states: list[JobState]) -> None:
    """Nothing is said of attempts as the ledger's protocol leaves them."""
    assert list(judge_shard(a_record(*states))) == []


def test_a_part_that_one_text_has_ended_is_in_order() -> None:
    """What such a job did not get to is halved at the next tick; of any other it is forgotten."""
    record = a_record(JobState.COLLECTED)
    [job] = record.jobs
    halved = replace(job, error_code="INVALID_ARGUMENT")
    assert list(judge_shard(replace(record, jobs=(halved,)))) == []
    assert [finding.check for finding in judge_shard(record)] == [Check.ATTEMPTS]


@pytest.mark.parametrize("state", [ShardState.SETTLED, ShardState.ABANDONED])
def test_a_live_attempt_needs_an_open_shard(state: ShardState) -> None:
    """The answer for a closed shard would be paid for and not collected."""
    record = a_record(JobState.RUNNING, state=state, n_pending=0)
    [finding] = judge_shard(record)
    assert (
        finding.message
        == f"attempt 1 of shard 2026-11-0003 is running, but the shard is {state.value}"
    )
    assert finding.next_step == "nobody will collect its answer: cancel batches/job-1 at Gemini"


def test_several_live_attempts_are_one_finding() -> None:
    """Two jobs under way for one shard are said once, with both."""
    [finding] = judge_shard(a_record(JobState.PENDING, JobState.UNCONFIRMED))
    assert finding.message == (
        "shard 2026-11-0003 has 2 attempts under way, one is allowed: "
        "attempt 1 (pending), attempt 2 (unconfirmed)"
    )


@pytest.mark.parametrize("state", [JobState.RESERVED, JobState.SUCCEEDED, JobState.RUNNING])
def test_an_older_attempt_must_have_ended(state: JobState) -> None:
    """No attempt follows one that may still bring something."""
    [finding] = judge_shard(a_record(state, JobState.FAILED))
    assert finding.message == (
        f"attempt 1 of shard 2026-11-0003 is {state.value}, but attempt 2 came after it"
    )


def test_an_open_shard_without_pending_requests_can_be_settled() -> None:
    """That is safe unless an answer is still to come."""
    [idle] = judge_shard(a_record(JobState.COLLECTED, n_pending=0))
    [owed] = judge_shard(a_record(JobState.SUCCEEDED, n_pending=0))
    assert idle.message == "shard 2026-11-0003 is open, but each of its 5 requests has an outcome"
    assert (idle.repair, owed.repair) == (SettleShard(shard_key="2026-11-0003"), None)
    assert owed.message == idle.message


# --- vectors ----------------------------------------------------------------------------------


def test_many_bad_vectors_are_one_finding() -> None:
    """The first few are named, all are counted and all are repaired."""
    bad = [BadVector(spec_id=1, chunk_id=n, flaw="length 0, not 1") for n in range(5)]
    [finding] = judge_vectors(bad)
    assert finding.message == (
        "5 vectors must not be served: chunk 0 (length 0, not 1), chunk 1 (length 0, not 1), "
        "chunk 2 (length 0, not 1) and 2 more"
    )


@pytest.mark.parametrize(
    ("things", "said"),
    [(["a"], "a"), (["a", "b", "c"], "a, b, c"), (["a"] * 4, "a, a, a and 1 more")],
)
def test_examples(things: list[str], said: str) -> None:
    """Up to three are named, the others counted."""
    assert some(things) == said


# --- Gemini's side ----------------------------------------------------------------------------


def judged(record: ShardRecord, *jobs: RemoteJob, **side: Any) -> list[Finding]:
    """The judgement on one shard and Gemini's jobs."""
    taken_over_at = side.pop("taken_over_at", None)
    sight = Sight(index_id="1a2b3c4d", jobs=jobs, attempts=record.jobs, taken_over_at=taken_over_at)
    values = {"evidence": sight.evidence(), "files": (), **side}
    return list(judge_remote([record], RemoteSide(sight=sight, **values)))


@pytest.mark.parametrize(
    ("ledger", "gemini"),
    [
        (JobState.PENDING, "RUNNING"),
        (JobState.RUNNING, "SUCCEEDED"),
        (JobState.RUNNING, "FAILED"),
        (JobState.SUCCEEDED, "SUCCEEDED"),
        (JobState.COLLECTED, "SUCCEEDED"),
        (JobState.EXPIRED, "EXPIRED"),
        (JobState.CANCELLED, "FAILED"),
    ],
)
def test_a_ledger_that_agrees_or_lags_is_in_order(ledger: JobState, gemini: str) -> None:
    """What the next poll will see is nothing to report."""
    assert judged(a_record(ledger), remote(1, gemini)) == []


@pytest.mark.parametrize(
    ("states", "job", "check", "is_repairable"),
    [
        ([], remote(1, "RUNNING"), Check.ORPHANED_JOBS, False),
        ([], remote(1, "SUCCEEDED"), Check.ORPHANED_JOBS, False),
        ([JobState.FAILED], remote(1, "PENDING"), Check.ORPHANED_JOBS, True),
        ([JobState.REFUSED], remote(1, "QUEUED"), Check.ORPHANED_JOBS, True),
        ([JobState.FAILED], remote(1, "SUCCEEDED"), Check.UNCOLLECTED_JOBS, False),
        ([JobState.RUNNING], remote(1, "RUNNING", name="batches/b"), Check.DUPLICATE_JOBS, False),
        ([JobState.COLLECTED], remote(1, "RUNNING", name="batches/b"), Check.DUPLICATE_JOBS, False),
        ([JobState.RUNNING], remote(1, "SUCCEEDED", name="batches/b"), Check.DUPLICATE_JOBS, False),
        ([JobState.RUNNING], remote(1, "MEDITATING"), Check.STATES, False),
    ],
)
def test_a_job_that_nobody_waits_for_is_wrong(
    states: list[JobState], job: RemoteJob, check: Check, is_repairable: bool
) -> None:
    """It can be cancelled if the ledger has it; another one may be another index's."""
    assert checks(judged(a_record(*states), job)) == [(check, "wrong", is_repairable)]


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.COLLECTED, JobState.REFUSED])
def test_a_second_job_of_an_attempt_that_had_two_create_calls_can_be_cancelled(
    state: JobState,
) -> None:
    """That an attempt was released says that both of its jobs are ours; or it was not we."""
    job = a_job(state, job_name="batches/job-1", released_at=NOW)
    second = a_remote_job(name="batches/b", state_name="BATCH_STATE_RUNNING")
    [finding] = judged(a_record(jobs=(job,)), second)
    assert finding.repair == CancelJob(job_name="batches/b")


def test_nothing_is_repaired_while_another_index_may_have_the_id() -> None:
    """What looks superfluous here may be what the other one waits for."""
    own = remote(1, "PENDING")
    stranger = remote(7, "RUNNING")
    assert [f.repair for f in judged(a_record(JobState.FAILED), own)] != [None]
    found = judged(a_record(JobState.FAILED), own, stranger)
    assert [(f.repair, "adopt-index" in f.next_step) for f in found] == [(None, True)] * 2
    [doubted] = judged(a_record(JobState.FAILED), own, is_in_doubt=True)
    assert doubted.repair is None


@pytest.mark.parametrize("state", ["RUNNING", "SUCCEEDED"])
def test_a_stranger_that_a_person_knows_of_is_a_note(state: str) -> None:
    """The doctor's advice works: after `adopt-index` what was there is not wrong any more."""
    stranger = remote(7, state)
    [before] = judged(a_record(), stranger)
    [after] = judged(a_record(), stranger, taken_over_at=NOW)
    assert ("adopt-index" in before.next_step, before.severity.value) == (True, "wrong")
    assert ("adopts it" in after.next_step, after.severity.value) == (True, "note")


@pytest.mark.parametrize("state", ["FAILED", "EXPIRED", "CANCELLED"])
def test_a_superfluous_job_that_came_to_nothing_is_nothing(state: str) -> None:
    """It cost nothing; a job that the doctor cancelled is not reported again."""
    assert judged(a_record(), remote(1, state)) == []
    assert judged(a_record(JobState.RUNNING), remote(1, state, name="batches/other")) == []


def test_an_answer_that_was_seen_and_lost_is_nothing() -> None:
    """A result file on record means that the failure is about the file, not about the job."""
    job = a_job(JobState.FAILED, job_name="batches/job-3", result_file_name="files/batch-3")
    own = a_remote_job(state_name="BATCH_STATE_SUCCEEDED")
    assert judged(a_record(jobs=(job,)), own) == []


@pytest.mark.parametrize("state", [JobState.RESERVED, JobState.UNCONFIRMED])
def test_a_late_job_is_a_note(state: JobState) -> None:
    """The next poll adopts it: nothing is wrong, and nothing is to be cancelled."""
    record = a_record(jobs=(a_job(state, job_name=None),))
    assert checks(judged(record, a_remote_job())) == [(Check.LATE_JOBS, "note", False)]


def test_of_two_late_jobs_the_doctor_chooses_none() -> None:
    """Which one is the attempt's is for the poll to say; until then none is safe to cancel."""
    record = a_record(jobs=(a_job(JobState.UNCONFIRMED, job_name=None),))
    found = judged(record, a_remote_job(), a_remote_job(name="batches/second"))
    assert checks(found) == [(Check.DUPLICATE_JOBS, "wrong", False)]


def test_a_late_job_of_a_closed_shard_is_cancelled() -> None:
    """Nobody adopts a job for a shard whose requests were planned anew."""
    job = a_job(JobState.RESERVED, job_name=None, released_at=NOW)
    [finding] = judged(a_record(jobs=(job,), state=ShardState.ABANDONED), a_remote_job())
    assert finding.repair == CancelJob(job_name="batches/job-3")
    assert finding.message == (
        "batches/job-3 is under way at Gemini for attempt 1 of shard 2026-11-0003, which is "
        "reserved in the ledger"
    )


def test_a_job_that_gemini_does_not_know_is_wrong() -> None:
    """Only for an attempt that waits for it; Gemini forgets the others in time."""
    unknown = frozenset({"batches/job-1"})
    assert judged(a_record(JobState.COLLECTED), unknown_names=unknown) == []
    [finding] = judged(a_record(JobState.RUNNING), unknown_names=unknown)
    assert finding.message == (
        "attempt 1 of shard 2026-11-0003 is running, but Gemini does not know batches/job-1"
    )


@pytest.mark.parametrize(
    ("state", "recorded", "is_left"),
    [
        (JobState.RESERVED, "files/a", False),
        (JobState.RESERVED, None, False),  # just uploaded, not on record yet
        (JobState.RESERVED, "files/b", True),
        (JobState.RUNNING, "files/a", False),
        (JobState.SUCCEEDED, "files/a", True),
        (JobState.COLLECTED, "files/a", True),
        (JobState.FAILED, "files/a", True),
    ],
)
def test_a_file_is_left_if_no_attempt_needs_it(
    state: JobState, recorded: str | None, is_left: bool
) -> None:
    """A file is needed from its upload to the end of its attempt's job."""
    job = a_job(state, input_file_name=recorded)
    file = RemoteFile(name="files/a", display_name=job.display_name, n_bytes=1200, created_at=NOW)
    found = judged(a_record(jobs=(job,)), files=(file,))
    assert checks(found) == ([(Check.REMOTE_FILES, "note", True)] if is_left else [])


# --- the report -------------------------------------------------------------------------------


def test_a_repaired_finding_is_not_wrong_any_more() -> None:
    """The exit code and the numbers of a report are about what is left."""
    [wrong] = judge_shard(a_record(n_rows=4))
    [repaired] = judge_shard(a_record(n_pending=0))
    report = Report(findings=(wrong, _done(repaired)), not_looked_at="--offline was asked for")
    assert report.n_wrong == 1
    assert encode(report) == {
        "wrong": 1,
        "repaired": 1,
        "gemini_not_looked_at": "--offline was asked for",
        "findings": [
            {
                "check": "request_counts",
                "severity": "wrong",
                "message": "shard 2026-11-0003 was planned with 5 requests and has 4",
                "next_step": wrong.next_step,
                "is_repairable": False,
                "repaired": None,
            },
            {
                "check": "shard_states",
                "severity": "wrong",
                "message": "shard 2026-11-0003 is open, but each of its 5 requests has an outcome",
                "next_step": repaired.next_step,
                "is_repairable": True,
                "repaired": "it is settled",
            },
        ],
    }


def _done(finding: Finding) -> Finding:
    return Finding(
        check=finding.check,
        severity=finding.severity,
        message=finding.message,
        next_step=finding.next_step,
        repair=finding.repair,
        repaired="it is settled",
    )


# --- what stands still, what was paid for -------------------------------------------------------


def test_what_waits_for_a_person_is_named() -> None:
    """A held answer and a given-up shard, with what can be done; the others are in order."""
    held = a_status(1, JobState.HELD)
    assert held.job is not None
    held = replace(held, job=replace(held.job, hold_reason="12 lines have no key"))
    statuses = [held, a_status(2, JobState.FAILED), a_status(3, JobState.FAILED, n_attempts=3)]
    statuses += [a_status(4, JobState.REFUSED), a_status(5), a_status(6, JobState.RUNNING)]
    found = list(judge_standstill(statuses, max_job_attempts=3))
    assert checks(found) == [
        (Check.HELD_ANSWERS, "wrong", False),
        (Check.GIVEN_UP_SHARDS, "wrong", False),
        (Check.GIVEN_UP_SHARDS, "wrong", False),
    ]
    assert found[0].message == "the answer to shard 2026-11-0001 is held: 12 lines have no key"
    assert "collect 2026-11-0001 --again" in found[0].next_step
    assert "2026-11-0003 is given up after 3 attempts" in found[1].message


def test_what_is_embedded_has_cost_something() -> None:
    """Requests that count nothing were paid for; the repair puts them on the bill."""
    record = a_record(JobState.COLLECTED, state=ShardState.SETTLED, n_pending=0, n_unbilled=4)
    [finding] = judge_shard(record)
    assert checks([finding]) == [(Check.UNBILLED_REQUESTS, "wrong", True)]
    assert finding.message.startswith("4 of the 5 requests of shard 2026-11-0003 are embedded")


@pytest.mark.parametrize(("n_unusable", "n_rows", "is_named"), [(60, 100, True), (20, 20, False)])
def test_an_answer_that_was_recorded_and_is_of_no_use(
    n_unusable: int, n_rows: int, is_named: bool
) -> None:
    """It may be read once more; a few texts that always fail are no such answer."""
    record = a_record(
        JobState.COLLECTED,
        state=ShardState.SETTLED,
        n_pending=0,
        n_requests=n_rows,
        n_rows=n_rows,
        n_unusable=n_unusable,
    )
    assert [finding.check for finding in judge_shard(record)] == (
        [Check.UNUSABLE_ANSWERS] if is_named else []
    )
