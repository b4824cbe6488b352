"""What goes wrong is red, says why, and is put right with a click."""

from pathlib import Path

import pytest

from tests.browser.pages import DagsterPages
from tests.e2e.command_line import MONTH, wait_until
from tests.e2e.web_ui import PATIENCE_S, WebUI, texts

SHARDS = [f"{MONTH}-{number:04}" for number in range(1, 7)]
BAD = [SHARDS[1], SHARDS[5]]
MESSAGE = "The model is overloaded."


@pytest.fixture(scope="module")
def sections() -> dict[str, dict[str, object]]:
    """A job is tried once, to save the time of two more failures."""
    return {"limits": {"max_job_attempts": 1}}


def test_failed_jobs_are_submitted_again(ui: WebUI, pages: DagsterPages) -> None:
    """Two of six jobs fail for good: two red partitions, which *Materialize… → Failed* mends.

    Nothing is bought twice, and nobody else's partition runs again.
    """
    for shard in BAD:
        ui.emulator.fault("job_failed", match=f"/{shard}/", message=MESSAGE)
    ui.write(texts(30))
    ui.reindex()
    ui.wait_for_partitions("batch_jobs", materialized=4, failed=2)
    ui.wait_for_partitions("embeddings", materialized=4, missing=2)

    pages.open_partitions("batch_jobs")
    numbers = {"Failed": 2, "Materialized": 4, "Materializing": 0, "Missing": 0}
    assert pages.n_partitions() == numbers
    assert pages.show_only("Failed") == BAD
    said = pages.failure_of(BAD[0])
    assert f"shard {BAD[0]} is given up (attempt 1, job batches/" in said
    assert MESSAGE in said
    assert "materialize this partition of batch_jobs to submit it again" in said

    ui.emulator.lift_faults()
    earlier = {run.run_id for run in ui.wait_for_runs()}
    pages.open_partitions("batch_jobs")
    assert pages.materialize_failed("batch_jobs") == BAD
    pages.open("/runs?view=backfills", "2 partitions", "batch_jobs")
    pages.says("Success", timeout_s=PATIENCE_S)

    ui.wait_for_publication(30)
    pages.open_partitions("batch_jobs")
    numbers = {"Failed": 0, "Materialized": 6, "Materializing": 0, "Missing": 0}
    assert pages.n_partitions() == numbers
    pages.open("/assets/search_index", MONTH, "coverage")
    later = [run for run in ui.runs() if run.run_id not in earlier]
    assert {run.status for run in later} == {"SUCCESS"}
    assert {shard for run in later for shard in run.covers(SHARDS)} == set(BAD)
    bill = ui.emulator.bill()
    assert (bill["requests"], bill["bought_twice"]) == (30, [])
    assert bill["jobs_created"] == 6 + 2


def test_failed_collection_is_made_up_for(ui: WebUI, pages: DagsterPages) -> None:
    """Results that cannot be kept make a red partition of embeddings; its answers are not lost.

    The job is not run again: what it answered is downloaded when there is a place for it.
    """
    ui.emulator.change(latency_s=8)  # time to put something in the way
    ui.write(texts(15))
    ui.reindex()
    obstacle = wait_until(lambda: _result_path(ui, SHARDS[1]), timeout_s=PATIENCE_S, what="a job")
    obstacle.mkdir(parents=True)
    ui.wait_for_partitions("embeddings", materialized=2, failed=1)
    assert ui.n_published() == 0

    pages.open_partitions("embeddings")
    assert pages.show_only("Failed") == [SHARDS[1]]
    said = pages.failure_of(SHARDS[1])
    assert f"the results of shard {SHARDS[1]} cannot be kept in" in said
    assert "nothing is lost, make room and try again" in said

    obstacle.rmdir()
    pages.open_partitions("embeddings")
    assert pages.materialize_failed("embeddings") == [SHARDS[1]]
    pages.says("Materialized (3)", timeout_s=PATIENCE_S)
    ui.wait_for_publication(15)

    assert ui.materializations("embeddings") == SHARDS[:3]
    bill = ui.emulator.bill()
    assert (bill["requests"], bill["bought_twice"], bill["jobs_created"]) == (15, [], 3)


def _result_path(ui: WebUI, shard: str) -> Path | None:
    """Where the results of a shard's job will be kept, as soon as there is one."""
    rows = ui.command_line.rows(
        "SELECT key, attempt, requests_sha256 FROM batch_jobs JOIN shards USING (shard_id)"
    )
    names = {key: f"{key}-{attempt}-{digest[:16]}.jsonl" for key, attempt, digest in rows}
    return ui.command_line.data / "results" / names[shard] if shard in names else None
