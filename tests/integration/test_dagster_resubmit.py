"""A job that a person has had enough of: cancelled first, then its shard is submitted again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedding_assets.defs.tags import RunTags
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.settings.values import AfterDeadline
from tests.integration.dagster_support import ANIMALS, Pipeline, a_pipeline

RESUBMIT = RunTags(resubmit=True).as_tags()


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Eight documents in two shards; what was asked for in vain is asked for again at once."""
    with a_pipeline(tmp_path, monkeypatch, limits={"run_retry_s": 0}) as opened:
        opened.write(ANIMALS[:8])
        yield opened


def test_a_stuck_job_is_cancelled_and_its_shard_submitted_again(pipeline: Pipeline) -> None:
    """Only the tagged shard gets a second job, after its first one was cancelled; one bill."""
    stuck, other = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(FaultKind.JOB_STUCK, match=f"/{stuck}/1/")
    assert pipeline.run("submit_shards", shards=[stuck, other]).success
    assert pipeline.run("submit_shards", shards=[stuck]).success  # without the tag: left alone
    assert pipeline.bill()[0] == 2

    assert pipeline.run("submit_shards", shards=[stuck], tags=RESUBMIT).success
    assert pipeline.job(stuck).attempt == 1, "while it may be alive nothing takes its place"
    pipeline.settle()

    assert pipeline.job(stuck).attempt == 2
    assert pipeline.job(other).attempt == 1
    assert pipeline.bill() == (3, 8)
    assert len(pipeline.search("walrus", k=20)) == 8


def test_a_job_that_was_answered_first_is_collected(pipeline: Pipeline) -> None:
    """Between the last look and the click Gemini has answered: that answer is taken."""
    keys = pipeline.brought_to(Pipeline.plan)
    assert pipeline.run("submit_shards", shards=keys).success
    pipeline.emulator.state.wait_idle()

    assert pipeline.run("submit_shards", shards=keys, tags=RESUBMIT).success
    pipeline.settle()

    assert {pipeline.job(key).state for key in keys} == {JobState.COLLECTED}
    assert pipeline.bill() == (2, 8)


def test_polling_goes_on_with_a_cancellation_that_did_not_arrive(pipeline: Pipeline) -> None:
    """The call fails: the partition is red and says so, and the next look asks once more."""
    stuck, other = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(FaultKind.JOB_STUCK, match=f"/{stuck}/1/")
    assert pipeline.run("submit_shards", shards=[stuck, other]).success
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CANCEL, status=400, times=1)

    assert not pipeline.run("submit_shards", shards=[stuck], tags=RESUBMIT).success
    assert pipeline.partitions("batch_jobs")[stuck] == "failed"
    pipeline.settle()

    assert pipeline.job(stuck).attempt == 2
    assert pipeline.bill() == (3, 8)
    assert pipeline.partitions("batch_jobs")[stuck] == "materialized"


def test_a_cancellation_is_of_one_job_only(pipeline: Pipeline) -> None:
    """The job that was to be cancelled never came: the one that takes its place is left alone."""
    limits = pipeline.settings.limits.model_copy(update={"unconfirmed_grace_s": 0})
    pipeline = pipeline.with_settings(limits=limits)
    first, other = pipeline.plan()
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=504, times=1)
    pipeline.run("submit_shards", shards=[first])
    assert pipeline.job(first).state is JobState.UNCONFIRMED
    pipeline.run("submit_shards", shards=[first], tags=RESUBMIT)
    assert pipeline.job(first).cancel_requested_at is not None

    pipeline.poll()
    assert pipeline.job(first).state is JobState.RESERVED
    assert pipeline.run("submit_shards", shards=[first]).success
    assert pipeline.job(first).cancel_requested_at is None
    pipeline.settle()

    assert {pipeline.job(key).state for key in (first, other)} == {JobState.COLLECTED}
    assert pipeline.bill() == (2, 8)


def test_what_a_person_cancels_is_not_sent_at_the_full_price(pipeline: Pipeline) -> None:
    """``after_deadline = "sync"`` is for jobs that took too long, not for impatient people."""
    limits = pipeline.settings.limits.model_copy(update={"after_deadline": AfterDeadline.SYNC})
    pipeline = pipeline.with_settings(limits=limits)
    stuck, other = pipeline.plan()
    pipeline.fault(FaultKind.JOB_STUCK, match=f"/{stuck}/1/")
    assert pipeline.run("submit_shards", shards=[stuck, other]).success

    assert pipeline.run("submit_shards", shards=[stuck], tags=RESUBMIT).success
    pipeline.settle()

    assert pipeline.emulator.state.bill().calls.get("embed", 0) == 0
    assert pipeline.bill() == (3, 8)
