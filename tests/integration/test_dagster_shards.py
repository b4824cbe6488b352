"""Ranged runs over shards: one bad shard hurts only itself, and nothing is bought twice."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import StorageError
from embedding_assets.model.batch_jobs import BatchJob, JobState
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.collect import result_path
from embedding_assets.settings.values import Limits
from embedding_assets.store.jobs import Jobs
from embedding_assets.store.shards import FailedRequest, Shards
from tests.integration.dagster_support import (
    ANIMALS,
    MONTH,
    Pipeline,
    a_pipeline,
    counts_check,
    failure_of,
)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Twelve documents in three shards, nothing planned yet."""
    with a_pipeline(tmp_path, monkeypatch) as opened:
        opened.write(ANIMALS[:12])
        yield opened


def _answered(pipeline: Pipeline) -> list[str]:
    """The keys of three shards whose results wait at Gemini."""
    return pipeline.brought_to(_ask_gemini)


def _ask_gemini(pipeline: Pipeline) -> list[str]:
    """Plan, submit and poll."""
    keys = pipeline.plan()
    assert pipeline.run("submit_shards", shards=keys).success
    pipeline.emulator.state.wait_idle()
    pipeline.poll()
    return keys


# --- submission -------------------------------------------------------------------------------


def test_refused_shard_is_the_only_red_one(pipeline: Pipeline) -> None:
    """When Gemini refuses one shard of a range, its partition is red and the others are not."""
    first, second, third = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, match=f"/{second}/", status=404)

    result = pipeline.run("submit_shards", shards=[first, second, third])

    assert not result.success
    assert "1 shard not submitted" in failure_of(result)
    assert second in failure_of(result)
    assert set(pipeline.partitions("request_shards").values()) == {"materialized"}
    assert pipeline.partitions("batch_jobs") == {
        first: "materialized",
        second: "failed",
        third: "materialized",
    }
    assert pipeline.bill() == (2, 8)


def test_refused_shard_is_reported_once(pipeline: Pipeline) -> None:
    """Its partition is red from the run that was refused: the sensor asks for no second one."""
    _, second, _ = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, match=f"/{second}/", status=404)

    pipeline.settle()

    assert pipeline.partitions("batch_jobs")[second] == "failed"
    runs = pipeline.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert len(runs) == 1


def test_refused_shard_has_no_job_to_name(pipeline: Pipeline) -> None:
    """A report that was asked for all the same says which attempt was refused, and why."""
    first, *_ = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=404)
    pipeline.run("submit_shards", shards=[first])

    tags = {"embedding_assets/report_failures": "yes"}
    result = pipeline.run("submit_shards", shards=[first], tags=tags)

    assert f"shard {first} is given up (attempt 1, refused): " in failure_of(result)


def test_unplanned_shard_is_the_only_red_one(pipeline: Pipeline) -> None:
    """A partition that no plan knows fails with advice, the others are submitted."""
    pipeline.instance.add_dynamic_partitions("shards", ["2026-11-0099"])
    unplanned, *planned = pipeline.plan()

    result = pipeline.run("submit_shards", shards=[unplanned, *planned])

    assert "there is no shard '2026-11-0099': no plan of this index has it" in failure_of(result)
    expected = {unplanned: "failed", **dict.fromkeys(planned, "materialized")}
    assert pipeline.partitions("request_shards") == expected
    assert pipeline.partitions("batch_jobs") == expected


def test_unwritable_request_file_is_the_only_red_one(pipeline: Pipeline) -> None:
    """A shard whose file cannot be written is red in both assets, its neighbours are green."""
    first, second, third = pipeline.brought_to(Pipeline.plan)
    (pipeline.settings.shards_dir / f"{second}.jsonl").mkdir(parents=True)

    result = pipeline.run("submit_shards", shards=[first, second, third])

    assert not result.success
    expected = {first: "materialized", second: "failed", third: "materialized"}
    assert pipeline.partitions("request_shards") == expected
    assert pipeline.partitions("batch_jobs") == expected
    assert second in failure_of(result)
    assert "unexpected" not in failure_of(result)


def test_rate_limited_shard_waits_and_does_not_turn_red(pipeline: Pipeline) -> None:
    """A shard that Gemini refuses for now (429) waits, those after it too; it is no attempt."""
    first, second, third = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(
        FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, match=f"/{second}/", status=429, times=1
    )

    assert pipeline.run("submit_shards", shards=[first, second, third]).success

    assert pipeline.partitions("batch_jobs") == {
        first: "materialized",
        second: "missing",
        third: "missing",
    }
    job = pipeline.job(second)
    assert (job.state, job.attempt) == (JobState.RESERVED, 1)
    assert pipeline.emulator.state.bill().calls["create"] == 2


def test_shard_whose_job_is_alive_is_not_submitted_again(pipeline: Pipeline) -> None:
    """Materializing batch_jobs while the jobs run creates no job and stays green."""
    pipeline.emulator.state.settings = EmulatorSettings(latency_s=3600)
    keys = pipeline.plan()
    assert pipeline.run("submit_shards", shards=keys).success

    result = pipeline.run("submit_shards", shards=keys)

    assert result.success
    assert pipeline.emulator.state.bill().jobs_created == 3
    assert pipeline.emulator.state.bill().calls["create"] == 3
    assert set(pipeline.partitions("batch_jobs").values()) == {"materialized"}


def test_collected_shard_is_not_submitted_again(pipeline: Pipeline) -> None:
    """Materializing batch_jobs for shards whose vectors are in buys nothing and stays green."""
    pipeline.brought_to(Pipeline.plan)
    pipeline.settle()
    before = pipeline.bill()

    result = pipeline.run("submit_shards", shards=pipeline.shard_keys())

    assert result.success
    assert pipeline.bill() == before == (3, 12)
    assert set(pipeline.partitions("batch_jobs").values()) == {"materialized"}
    assert {pipeline.job(key).state for key in pipeline.shard_keys()} == {JobState.COLLECTED}


def test_only_batch_jobs_can_be_selected(pipeline: Pipeline) -> None:
    """Materializing batch_jobs alone writes the file it needs and leaves request_shards as is."""
    keys = pipeline.brought_to(Pipeline.plan)

    assert pipeline.run("submit_shards", shards=keys, only="batch_jobs").success

    assert set(pipeline.partitions("batch_jobs").values()) == {"materialized"}
    assert set(pipeline.partitions("request_shards").values()) == {"missing"}
    assert pipeline.bill() == (3, 12)


def test_only_request_shards_can_be_selected(pipeline: Pipeline) -> None:
    """Materializing request_shards alone writes files and asks Gemini nothing."""
    keys = pipeline.brought_to(Pipeline.plan)

    assert pipeline.run("submit_shards", shards=keys, only="request_shards").success

    assert pipeline.emulator.state.bill().calls == {}
    assert sorted(path.name for path in pipeline.settings.shards_dir.iterdir()) == [
        f"{key}.jsonl" for key in keys
    ]


def test_page_of_a_red_partition_says_why(pipeline: Pipeline) -> None:
    """The given-up job's own words, its name and attempt are observed on batch_jobs alone."""
    pipeline = pipeline.with_settings(limits=_changed(pipeline, max_job_attempts=1))
    _, second, _ = pipeline.plan()
    pipeline.fault(FaultKind.JOB_FAILED, match=f"/{second}/", message="Too many animals.")

    pipeline.settle()

    job = pipeline.job(second)
    assert pipeline.partitions("batch_jobs")[second] == "failed"
    assert _observed(pipeline, "request_shards") == {}
    ((partition, metadata),) = _observed(pipeline, "batch_jobs").items()
    assert partition == second
    assert metadata["message"] == (
        f"shard {second} is given up (attempt 1, job {job.job_name}, failed): Too many animals.; "
        "materialize this partition of batch_jobs to submit it again"
    )
    assert (metadata["attempt"], metadata["job_name"]) == (1, job.job_name)
    assert (metadata["state"], type(metadata["wait_seconds"])) == ("failed", float)


def test_asset_that_is_done_is_not_said_to_have_failed(pipeline: Pipeline) -> None:
    """A refusal is observed on batch_jobs, not on the file; an unwritable file on both."""
    first, second, third = pipeline.brought_to(Pipeline.plan)
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, match=f"/{second}/", status=404)
    (pipeline.settings.shards_dir / f"{third}.jsonl").mkdir(parents=True)

    pipeline.run("submit_shards", shards=[first, second, third])

    assert set(_observed(pipeline, "request_shards")) == {third}
    assert set(_observed(pipeline, "batch_jobs")) == {second, third}


def _observed(pipeline: Pipeline, asset: str) -> dict[str, dict[str, Any]]:
    """The newest observation's plain metadata of every partition that has one."""
    found: dict[str, dict[str, Any]] = {}
    for record in pipeline.instance.fetch_observations(dg.AssetKey(asset), limit=100).records:
        event = record.asset_observation
        assert event is not None
        values = {name: entry.value for name, entry in event.metadata.items()}
        found.setdefault(event.partition or "", values)
    return found


# --- collection -------------------------------------------------------------------------------


def test_shard_whose_results_are_gone_is_the_only_red_one(pipeline: Pipeline) -> None:
    """Results that Gemini no longer has turn one partition red, and the counts are checked."""
    pipeline = pipeline.with_settings(limits=_changed(pipeline, output_grace_s=0))
    first, second, third = _answered(pipeline)
    batch_id = (pipeline.job(second).job_name or "").removeprefix("batches/")
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.DOWNLOAD, match=batch_id, status=403)

    result = pipeline.run("collect_embeddings", shards=[first, second, third])

    assert not result.success
    assert f"the results of shard {second} are gone" in failure_of(result)
    assert pipeline.partitions("embeddings") == {
        first: "materialized",
        second: "failed",
        third: "materialized",
    }
    check = counts_check(result)
    assert check is not None
    assert check.passed


def test_shard_whose_results_are_gone_is_submitted_again(pipeline: Pipeline) -> None:
    """After its results are gone a shard gets another attempt, and the month is published."""
    pipeline = pipeline.with_settings(limits=_changed(pipeline, output_grace_s=0))
    keys = pipeline.plan()
    assert pipeline.run("submit_shards", shards=keys).success
    second = keys[1]
    batch_id = (pipeline.job(second).job_name or "").removeprefix("batches/")
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.DOWNLOAD, match=batch_id, status=403)

    pipeline.settle()

    assert pipeline.job(second).attempt == 2
    assert set(pipeline.partitions("embeddings").values()) == {"materialized"}
    assert pipeline.emulator.state.bill().jobs_created == 4
    assert pipeline.values("search_index")[MONTH]["dagster/row_count"] == 12


def test_shard_whose_results_are_not_there_yet_is_not_red(pipeline: Pipeline) -> None:
    """Results that Gemini does not have just after a job's end are looked for later, in peace."""
    first, second, third = _answered(pipeline)
    batch_id = (pipeline.job(second).job_name or "").removeprefix("batches/")
    pipeline.fault(
        FaultKind.CALL_ERROR, endpoint=Endpoint.DOWNLOAD, match=batch_id, status=403, times=1
    )

    early = pipeline.run("collect_embeddings", shards=[first, second, third])

    assert early.success
    green = {first: "materialized", third: "materialized"}
    assert pipeline.partitions("embeddings") == {**green, second: "missing"}
    assert pipeline.run("collect_embeddings", shards=[second]).success
    assert pipeline.partitions("embeddings") == {**green, second: "materialized"}
    assert pipeline.emulator.state.bill().jobs_created == 3


def _changed(pipeline: Pipeline, **limits: Any) -> Limits:
    """The pipeline's limits but for these."""
    return pipeline.settings.limits.model_copy(update=limits)


def test_unreadable_result_file_is_the_only_red_one(pipeline: Pipeline) -> None:
    """A result file that cannot be opened turns one partition red, and the counts are checked."""
    first, second, third = _answered(pipeline)
    in_the_way = result_path(pipeline.settings.results_dir, pipeline.job(second))
    in_the_way.mkdir(parents=True)

    result = pipeline.run("collect_embeddings", shards=[first, second, third])

    assert not result.success
    assert pipeline.partitions("embeddings") == {
        first: "materialized",
        second: "failed",
        third: "materialized",
    }
    assert counts_check(result) is not None
    assert "unexpected" not in failure_of(result)
    in_the_way.rmdir()
    assert pipeline.run("collect_embeddings", shards=[second]).success
    assert set(pipeline.partitions("embeddings").values()) == {"materialized"}
    assert pipeline.bill() == (3, 12)


def test_shard_that_does_not_add_up_is_the_only_red_one(pipeline: Pipeline) -> None:
    """A shard that lost a request is not materialized; the blocking check says which and why."""
    first, second, third = _answered(pipeline)
    _lose_a_request(pipeline, second)

    result = pipeline.run("collect_embeddings", shards=[first, second, third])

    message = (
        f"shard {second} was planned with 4 requests, but 3 are embedded, 0 failed and 0 pending; "
        "run `embedding-assets doctor`, which says what to do"
    )
    assert failure_of(result) == f"1 shard not collected; the first: {message}"
    assert pipeline.partitions("embeddings") == {
        first: "materialized",
        second: "failed",
        third: "materialized",
    }
    check = counts_check(result)
    assert check is not None
    assert (check.passed, check.blocking) == (False, True)
    assert (check.severity, check.description) == (dg.AssetCheckSeverity.ERROR, message)
    assert (check.metadata["shards"].value, check.metadata["shards_miscounted"].value) == (3, 1)
    miscounted = check.metadata["miscounted"]
    assert isinstance(miscounted, dg.TableMetadataValue)
    assert [record.data for record in miscounted.records] == [
        {"shard": second, "planned": 4, "embedded": 3, "failed": 0, "pending": 0}
    ]


def test_many_miscounted_shards_are_a_short_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first few by name, a page of them as a table, and how many others there are."""
    with a_pipeline(tmp_path, monkeypatch, limits={"max_requests_per_job": 1}) as pipeline:
        pipeline.write(ANIMALS[:23])
        keys = _answered(pipeline)
        for key in keys:
            _lose_a_request(pipeline, key)
        check = counts_check(pipeline.run("collect_embeddings", shards=keys))

    assert check is not None
    assert (check.description or "").endswith(" and 20 more")
    assert check.metadata["shards_miscounted"].value == 23
    miscounted = check.metadata["miscounted"]
    assert isinstance(miscounted, dg.TableMetadataValue)
    assert len(miscounted.records) == 20
    assert check.metadata["miscounted_left_out"].value == "3 more rows"


def test_index_that_is_locked_after_a_collection(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are collected; of the red one is said that nothing is bought again, and it isn't.

    That its job cannot be read for the report does not end the run either.
    """
    first, *_ = keys = _answered(pipeline)
    newest_job, failed_requests = Jobs.newest_job, Shards.failed_requests
    locked: set[str] = set()

    def job_unless_locked(jobs: Jobs, shard: Shard) -> BatchJob | None:
        if shard.key in locked:
            raise StorageError("another process is writing; try again")
        return newest_job(jobs, shard)

    def failed_unless_locked(shards: Shards, shard: Shard, *, limit: int) -> list[FailedRequest]:
        if shard.key == first:
            locked.add(first)
            raise StorageError("another process is writing; try again")
        return failed_requests(shards, shard, limit=limit)

    with monkeypatch.context() as patch:
        patch.setattr(Jobs, "newest_job", job_unless_locked)
        patch.setattr(Shards, "failed_requests", failed_unless_locked)
        result = pipeline.run("collect_embeddings", shards=keys)

    assert sorted(pipeline.partitions("embeddings").values()) == [
        *("failed", "materialized", "materialized")
    ]
    assert failure_of(result) == (
        "1 shard not collected; the first: another process is writing; try again; materialize "
        "this partition of embeddings again: what is in the index already is only recorded, and "
        "nothing is bought"
    )
    assert pipeline.run("collect_embeddings", shards=[first]).success
    assert set(pipeline.partitions("embeddings").values()) == {"materialized"}
    assert pipeline.bill() == (3, 12)


def test_miscounted_shard_stays_red_when_it_is_collected_again(pipeline: Pipeline) -> None:
    """Nothing but putting it in order makes it green; the others are not collected again."""
    _, second, _ = keys = _answered(pipeline)
    _lose_a_request(pipeline, second)
    assert not pipeline.run("collect_embeddings", shards=keys).success

    assert not pipeline.run("collect_embeddings", shards=[second]).success

    assert pipeline.partitions("embeddings")[second] == "failed"
    assert len(pipeline.materializations("embeddings")) == 2


def _lose_a_request(pipeline: Pipeline, key: str) -> None:
    """As a damaged file would."""
    with closing(sqlite3.connect(pipeline.settings.index_path)) as database, database:
        database.execute(
            "DELETE FROM requests WHERE chunk_id = (SELECT min(chunk_id) FROM requests "
            "JOIN shards USING (shard_id) WHERE key = ?)",
            [key],
        )


def test_unknown_shard_fails_alone_in_a_collection(pipeline: Pipeline) -> None:
    """A partition that no plan knows does not keep the others from being collected."""
    keys = _answered(pipeline)
    pipeline.instance.add_dynamic_partitions("shards", ["2026-11-0099"])

    result = pipeline.run("collect_embeddings", shards=pipeline.shard_keys())

    assert not result.success
    assert pipeline.partitions("embeddings") == {
        **dict.fromkeys(keys, "materialized"),
        "2026-11-0099": "failed",
    }


@pytest.mark.parametrize("is_stuck", [True, False])
def test_collection_of_a_running_job_succeeds_without_output(
    pipeline: Pipeline, is_stuck: bool
) -> None:
    """Materializing embeddings while the job runs is no failure and materializes nothing."""
    if is_stuck:
        pipeline.fault(FaultKind.JOB_STUCK)
    else:
        pipeline.emulator.state.settings = EmulatorSettings(latency_s=3600)
    keys = _answered(pipeline)

    result = pipeline.run("collect_embeddings", shards=keys)

    assert result.success
    assert set(pipeline.partitions("embeddings").values()) == {"missing"}
    check = counts_check(result)
    assert check is not None
    assert check.passed


def test_collecting_twice_changes_nothing(pipeline: Pipeline) -> None:
    """Materializing embeddings that are in the index already is green and buys nothing."""
    keys = _answered(pipeline)
    assert pipeline.run("collect_embeddings", shards=keys).success

    assert pipeline.run("collect_embeddings", shards=keys).success

    assert pipeline.bill() == (3, 12)
    assert set(pipeline.partitions("embeddings").values()) == {"materialized"}
