"""Jobs under our id that no attempt has: which are adopted, and which say that this is a copy."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from embedding_assets.model.batch_jobs import BatchJob, JobState, RemoteJob
from embedding_assets.model.strangers import Sight, doubt_about
from tests.factories import NOW, a_job, a_remote_job

DIGEST = "0011223344556677" * 4
ITS_OWN = a_job(JobState.RUNNING, job_name="batches/job-3")
STRANGE_NAME = "embedding-assets/1a2b3c4d/2026-11-0007/1/8899aabbccddeeff"


def a_sight(
    *jobs: RemoteJob, attempts: tuple[BatchJob, ...] = (), taken_over_at: datetime | None = None
) -> Sight:
    return Sight(index_id="1a2b3c4d", jobs=jobs, attempts=attempts, taken_over_at=taken_over_at)


def a_stranger(**changes: Any) -> RemoteJob:
    return a_remote_job(**{"name": "batches/x", "display_name": STRANGE_NAME, **changes})


def test_what_the_ledger_knows_is_no_evidence() -> None:
    """An attempt's own job, by whatever display name, and one that is being looked for."""
    assert a_sight(a_remote_job(), attempts=(ITS_OWN,)).evidence() == []
    assert a_sight(a_stranger(name="batches/job-3"), attempts=(ITS_OWN,)).evidence() == []
    looking = a_job(JobState.UNCONFIRMED, job_name=None)
    assert a_sight(a_remote_job(), attempts=(looking,)).evidence() == []


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "SUCCEEDED", "MEDITATING"])
def test_a_job_that_the_ledger_never_made_is_evidence(state: str) -> None:
    """Alive, answered, or in a state that nobody knows."""
    stranger = a_stranger(state_name=f"BATCH_STATE_{state}")
    assert a_sight(stranger).evidence() == [stranger]


@pytest.mark.parametrize(
    "changes",
    [
        {"state_name": "BATCH_STATE_FAILED"},
        {"state_name": "BATCH_STATE_EXPIRED"},
        {"state_name": "BATCH_STATE_CANCELLED"},
        {"display_name": "embedding-assets/00000000/2026-11-0007/1/8899aabbccddeeff"},
        {"display_name": "embedding-assets-canary/1a2b3c4d"},
        {"display_name": "somebody else's"},
    ],
)
def test_what_cost_nothing_or_is_of_others_is_no_evidence(changes: dict[str, Any]) -> None:
    """Jobs without an answer, of another index, of a canary, of another program."""
    assert a_sight(a_stranger(**changes)).evidence() == []


def test_a_dead_job_with_answers_is_evidence() -> None:
    """They were paid for."""
    stranger = a_stranger(state_name="BATCH_STATE_EXPIRED", has_output=True)
    assert a_sight(stranger).evidence() == [stranger]


@pytest.mark.parametrize(
    ("attempt", "is_evidence"),
    [
        (a_job(JobState.RUNNING), True),  # one create call, two jobs
        (a_job(JobState.COLLECTED), True),
        (a_job(JobState.RUNNING, released_at=NOW), False),
        (a_job(JobState.COLLECTED, released_at=NOW), False),
        (a_job(JobState.RESERVED, job_name=None), False),  # refused for now
        (a_job(JobState.REFUSED, job_name=None), False),
        (a_job(JobState.RESERVED, job_name=None, unconfirmed_at=None), True),  # never made
        (a_job(JobState.REFUSED, job_name=None, unconfirmed_at=None), True),
    ],
)
def test_a_second_job_of_an_attempt_is_evidence_unless_a_call_was_put_aside(
    attempt: BatchJob, is_evidence: bool
) -> None:
    """An index's own past is no evidence: late jobs of released attempts and of refused calls."""
    namesake = a_remote_job(name="batches/second")
    assert bool(a_sight(namesake, attempts=(attempt,)).evidence()) is is_evidence


def test_what_waits_to_be_submitted_explains_a_job() -> None:
    """It is about to be adopted."""
    stranger = a_stranger()
    assert a_sight(stranger).evidence({"8899aabbccddeeff"}) == []
    assert a_sight(stranger).evidence({"0000000000000000"}) == [stranger]


def test_a_further_attempt_at_what_is_under_way_is_no_evidence() -> None:
    """Of a restored index the attempt on record may have ended since; a namesake may not be."""
    digest = {ITS_OWN.requests_sha256[:16]}
    further = a_remote_job(
        name="batches/y",
        display_name="embedding-assets/1a2b3c4d/2026-11-0003/2/0011223344556677",
    )
    sight = a_sight(a_remote_job(), further, attempts=(ITS_OWN,))
    assert sight.evidence() == [further]
    assert sight.evidence(under_way=digest) == []
    namesake = a_remote_job(name="batches/y")
    assert a_sight(namesake, attempts=(ITS_OWN,)).evidence(under_way=digest) == [namesake]


@pytest.mark.parametrize(
    ("created_at", "is_evidence"),
    [
        (NOW - timedelta(days=9), False),
        (NOW + timedelta(minutes=5), False),  # by Gemini's clock
        (NOW + timedelta(hours=1), True),
        (None, False),
    ],
)
def test_what_a_person_took_over_is_no_evidence(
    created_at: datetime | None, is_evidence: bool
) -> None:
    """Only what comes later is."""
    sight = a_sight(a_stranger(created_at=created_at), taken_over_at=NOW)
    assert bool(sight.evidence()) is is_evidence


def test_the_answer_to_requests() -> None:
    """Of jobs for exactly these requests an answered one, whatever shard it was made for."""
    alive = a_remote_job(name="batches/alive")
    answered = a_remote_job(name="batches/done", state_name="BATCH_STATE_SUCCEEDED")
    assert a_sight(alive).answer_to(DIGEST, model="m") == alive
    assert a_sight(alive, answered).answer_to(DIGEST, model="m") == answered
    assert a_sight(a_stranger()).answer_to(DIGEST, model="m") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "batches/job-3"},
        {"state_name": "BATCH_STATE_CANCELLED"},
        {"model": "another-model"},
        {"display_name": "embedding-assets/00000000/2026-11-0003/1/0011223344556677"},
    ],
)
def test_no_answer_to_requests(changes: dict[str, Any]) -> None:
    """One that an attempt has, that is dead, of another model, or of another index."""
    sight = a_sight(a_remote_job(**{"name": "batches/x", **changes}), attempts=(ITS_OWN,))
    assert sight.answer_to(DIGEST, model="m") is None


def test_what_is_said() -> None:
    """How many, which, and the two things that a person may say."""
    said = doubt_about([a_stranger()])
    assert said.startswith("Gemini has 1 job under this index's id that this index did not make")
    assert "(batches/x)" in said
    assert "`embedding-assets adopt-index --new-id`" in said
