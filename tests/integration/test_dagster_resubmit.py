"""A job that a person has had enough of: cancelled first, then its shard is submitted again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedding_assets.batch_jobs import JobState
from embedding_assets.defs.shard_assets import RESUBMIT_TAG
from embedding_assets.emulator.faults import Endpoint, FaultKind
from tests.integration.dagster_support import ANIMALS, Pipeline, a_pipeline

RESUBMIT = {RESUBMIT_TAG: "true"}


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Eight documents in two shards; what was asked for in vain is asked for again at once."""
    with a_pipeline(tmp_path, monkeypatch, limits={"run_retry_s": 0}) as opened:
        opened.write(ANIMALS[:8])
        yield opened


def test_a_stuck_job_is_cancelled_and_its_shard_submitted_again(pipeline: Pipeline) -> None:
    """Only the tagged shard gets a second job, after its first one was cancelled; one bill."""
    stuck, other = pipeline.plan()
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
    keys = pipeline.plan()
    assert pipeline.run("submit_shards", shards=keys).success
    pipeline.emulator.state.wait_idle()

    assert pipeline.run("submit_shards", shards=keys, tags=RESUBMIT).success
    pipeline.settle()

    assert {pipeline.job(key).state for key in keys} == {JobState.COLLECTED}
    assert pipeline.bill() == (2, 8)


def test_polling_goes_on_with_a_cancellation_that_did_not_arrive(pipeline: Pipeline) -> None:
    """The call fails: the partition is red and says so, and the next look asks once more."""
    stuck, other = pipeline.plan()
    pipeline.fault(FaultKind.JOB_STUCK, match=f"/{stuck}/1/")
    assert pipeline.run("submit_shards", shards=[stuck, other]).success
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CANCEL, status=400, times=1)

    assert not pipeline.run("submit_shards", shards=[stuck], tags=RESUBMIT).success
    assert pipeline.partitions("batch_jobs")[stuck] == "failed"
    pipeline.settle()

    assert pipeline.job(stuck).attempt == 2
    assert pipeline.bill() == (3, 8)
    assert pipeline.partitions("batch_jobs")[stuck] == "materialized"
