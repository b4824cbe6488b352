"""What goes wrong at Gemini and how the sensors deal with it, until the month is published."""

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from embedding_assets.defs.tags import RunTags
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.settings.values import Budget, Limits, Publishing
from tests.factories import write_corpus
from tests.integration.dagster_support import (
    ANIMALS,
    MONTH,
    Pipeline,
    a_pipeline,
    digest,
    failure_of,
    text_about,
)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Twelve documents in three shards, nothing planned yet."""
    with a_pipeline(tmp_path, monkeypatch) as opened:
        opened.write(ANIMALS[:12])
        yield opened


@pytest.mark.parametrize(
    "kind", [FaultKind.JOB_FAILED, FaultKind.JOB_EXPIRED, FaultKind.JOB_CANCELLED]
)
def test_dead_job_is_submitted_again(pipeline: Pipeline, kind: FaultKind) -> None:
    """A job that dies is followed by another attempt without anybody's help."""
    _, second, _ = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(kind, match=f"/{second}/", times=2)

    pipeline.settle()

    assert (pipeline.job(second).attempt, pipeline.job(second).state) == (3, JobState.COLLECTED)
    assert pipeline.bill() == (5, 12)
    assert pipeline.values("search_index")[MONTH]["dagster/row_count"] == 12


def test_shard_out_of_attempts_turns_red_and_a_backfill_submits_it_again(
    pipeline: Pipeline,
) -> None:
    """After max_job_attempts the partition is red with the job's words; backfilling it helps."""
    first, second, third = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(FaultKind.JOB_FAILED, match=f"/{second}/", times=3, message="The moon is full.")

    pipeline.settle()

    assert pipeline.partitions("batch_jobs") == {
        first: "materialized",
        second: "failed",
        third: "materialized",
    }
    report = _newest_report(pipeline)
    assert "The moon is full." in report
    assert "attempt 3" in report
    assert "materialize this partition of batch_jobs" in report
    assert pipeline.emulator.state.bill().jobs_created == 5
    assert pipeline.materializations("search_index") == {}

    assert pipeline.run("submit_shards", shards=[second], only="batch_jobs").success
    pipeline.settle()

    assert pipeline.job(second).attempt == 4
    assert set(pipeline.partitions("batch_jobs").values()) == {"materialized"}
    assert pipeline.bill() == (6, 12)
    assert pipeline.values("search_index")[MONTH]["dagster/row_count"] == 12


def test_job_whose_creation_was_not_answered_turns_green_when_it_is_found(
    pipeline: Pipeline,
) -> None:
    """The run that does not know fails; the poll sensor finds the one job, and all is well."""
    first, second, third = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(FaultKind.CREATE_THEN_DROP, match=f"/{second}/", times=1)
    assert not pipeline.run("submit_shards", shards=[first, second, third]).success
    assert pipeline.partitions("batch_jobs")[second] == "failed"

    pipeline.settle()

    assert pipeline.partitions("batch_jobs")[second] == "materialized"
    assert pipeline.bill() == (3, 12)


def test_backfill_of_a_shard_that_dies_again_turns_it_red_again(pipeline: Pipeline) -> None:
    """Each given-up attempt is reported: a fourth death is as red as the third."""
    _, second, _ = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(FaultKind.JOB_FAILED, match=f"/{second}/", times=4)
    pipeline.settle()
    assert pipeline.run("submit_shards", shards=[second], only="batch_jobs").success
    assert pipeline.partitions("batch_jobs")[second] == "materialized"

    pipeline.settle()

    assert pipeline.partitions("batch_jobs")[second] == "failed"
    assert pipeline.job(second).attempt == 4


def test_retryable_failed_chunks_are_planned_again(pipeline: Pipeline) -> None:
    """A chunk that Gemini could not embed for the moment is sent again, alone, and embedded."""
    pipeline.fault(FaultKind.ERROR_LINE, match="badger", code=14, times=1)
    pipeline.plan()

    pipeline.settle()

    assert len(pipeline.shard_keys()) == 4
    assert pipeline.bill() == (4, 12)
    assert pipeline.failures() == []
    published = pipeline.values("search_index")[MONTH]
    assert (published["dagster/row_count"], published["chunks_failed"]) == (12, 0)


def test_permanently_failed_chunk_stays_failed_and_the_rest_is_published(
    pipeline: Pipeline,
) -> None:
    """A text that Gemini rejects keeps its message, is not sent again, and stops nobody."""
    publishing = Publishing(min_coverage=0.9, agreement_samples=0)
    lenient = pipeline.with_settings(publishing=publishing)
    lenient.fault(FaultKind.ERROR_LINE, match="badger", code=3, message="No badgers here.")
    lenient.plan()

    lenient.settle()

    (failure,) = lenient.failures()
    assert failure.uri.endswith("badger.txt")
    assert (failure.kind, failure.error_code) == ("chunk", "INVALID_ARGUMENT")
    assert failure.error_message == "No badgers here."
    assert lenient.bill() == (3, 11)
    published = lenient.values("search_index")[MONTH]
    assert (published["dagster/row_count"], published["chunks_failed"]) == (11, 1)


def test_too_little_coverage_is_not_published(pipeline: Pipeline) -> None:
    """An index that lacks more than publishing.min_coverage allows fails with the numbers."""
    pipeline.fault(FaultKind.ERROR_LINE, match="badger", code=3)
    pipeline.plan()

    pipeline.settle()

    assert pipeline.materializations("search_index") == {}
    result = pipeline.run("publish_index", month=MONTH)
    assert not result.success
    assert failure_of(result) == (
        "2026-11 cannot be published: only 11 of 12 chunks are embedded (91.7%), "
        "publishing.min_coverage is 95.0%; see `embedding-assets failures`. Readers see what they "
        "saw; to publish it all the same: `embedding-assets publish --allow coverage`"
    )
    shut = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [(check.check_name, check.severity) for check in shut] == [
        ("coverage", dg.AssetCheckSeverity.ERROR)
    ]
    assert shut[0].metadata["embedded"].value == 11


def test_spoilt_lines_fail_alone_with_a_message_each(pipeline: Pipeline) -> None:
    """Missing, error, short and NaN lines in shuffled results: four failures, the rest is in."""
    lenient = pipeline.with_settings(
        publishing=Publishing(min_coverage=0.5, agreement_samples=0),
        limits=pipeline.settings.limits.model_copy(
            update={"max_chunk_attempts": 1, "max_requests_per_job": 12}
        ),
    )
    lenient.fault(FaultKind.MISSING_LINE, match="aardvark")
    lenient.fault(FaultKind.ERROR_LINE, match="badger", code=13, message="It broke.")
    lenient.fault(FaultKind.WRONG_DIMENSION, match="capybara")
    lenient.fault(FaultKind.NAN_VALUE, match="dolphin")
    (key,) = lenient.plan()

    lenient.settle()

    failures = {Path(failure.uri).stem: failure for failure in lenient.failures()}
    assert {name: failure.error_code for name, failure in failures.items()} == {
        "aardvark": "MISSING_LINE",
        "badger": "INTERNAL",
        "capybara": "BAD_VECTOR",
        "dolphin": "BAD_VECTOR",
    }
    assert "no line for this request" in failures["aardvark"].error_message
    assert failures["badger"].error_message == "It broke."
    assert "15 values came, 16 were asked for" in failures["capybara"].error_message
    assert "not a finite number" in failures["dolphin"].error_message
    collected = lenient.values("embeddings")[key]
    assert (collected["dagster/row_count"], collected["requests_failed"]) == (8, 4)
    assert lenient.bill() == (1, 8)
    assert lenient.bought() == {digest(text_about(animal)) for animal in ANIMALS[4:12]}
    assert lenient.values("search_index")[MONTH]["coverage"] == pytest.approx(8 / 12)


def test_plan_over_budget_sends_nothing(pipeline: Pipeline) -> None:
    """A plan dearer than budget.max_cost_usd fails with both numbers; Gemini hears nothing."""
    poor = pipeline.with_settings(budget=Budget(max_cost_usd=Decimal("0.01")))
    write_corpus(poor.docs, {"long.txt": " ".join(f"word{n}." for n in range(60_000))})

    result = poor.run("reindex", month=MONTH)

    assert not result.success
    assert re.search(
        r"the plan for 2026-11 costs an estimated \$0\.01\d\d .* on top of \$0\.00 .* is over "
        r"budget\.max_cost_usd, \$0\.01; nothing was written or sent",
        failure_of(result),
    )
    assert poor.shard_keys() == []
    poor.settle()
    assert poor.emulator.state.bill().calls == {}
    assert poor.materializations("shard_plan") == {}


def test_limits_of_concurrent_jobs_are_kept(pipeline: Pipeline) -> None:
    """With one job allowed at a time three shards are submitted one after the other."""
    narrow = pipeline.with_settings(
        limits=Limits(max_requests_per_job=4, min_batch_requests=0, max_concurrent_jobs=1)
    )
    keys = narrow.plan()

    (request,) = narrow.ask("submit_shards_sensor")
    assert request.tags["dagster/asset_partition_range_end"] == keys[0]
    narrow.run("submit_shards", shards=keys[:1])
    assert narrow.ask("submit_shards_sensor") == []

    narrow.settle()

    assert narrow.bill() == (3, 12)


def _newest_report(pipeline: Pipeline) -> str:
    """What the newest run that was to report failures said."""
    for run in pipeline.instance.get_runs():
        if RunTags.parse(run.tags).report_failures:
            for entry in pipeline.instance.all_logs(run.run_id):
                event = entry.dagster_event
                if event is not None and event.is_step_failure:
                    data = event.step_failure_data.user_failure_data
                    return str(data.description) if data else ""
    raise AssertionError("no run reported failures")


def test_another_dagster_home_goes_on_with_what_is_under_way(pipeline: Pipeline) -> None:
    """Jobs of before are collected by a Dagster instance that has never heard of their shards."""
    keys = pipeline.brought_to(Pipeline.plan)
    assert pipeline.run("submit_shards", shards=keys).success
    pipeline.emulator.state.wait_idle()
    with dg.DagsterInstance.ephemeral() as instance:
        elsewhere = replace(pipeline, instance=instance)
        elsewhere.settle()
        assert elsewhere.shard_keys() == keys
        assert elsewhere.values("search_index")[MONTH]["dagster/row_count"] == 12
    assert pipeline.bill() == (3, 12)


def test_a_gate_that_is_opened_is_tried_again(pipeline: Pipeline) -> None:
    """A publication that failed is asked for again when what it failed for has changed."""
    pipeline.fault(FaultKind.ERROR_LINE, match="badger", code=3)
    pipeline.plan()
    pipeline.settle()
    assert pipeline.values("search_index") == {}
    lax = pipeline.with_settings(publishing=Publishing(min_coverage=0.5, agreement_samples=0))
    [before] = pipeline.ask("publish_index_sensor")
    [after] = lax.ask("publish_index_sensor")
    assert before.run_key != after.run_key
    lax.settle()
    assert lax.values("search_index")[MONTH]["dagster/row_count"] == 11
