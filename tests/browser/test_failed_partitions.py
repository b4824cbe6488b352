"""What goes wrong is red, says why, and is put right with a click."""

import pytest

from tests.browser.pages import DagsterPages
from tests.e2e.command_line import MONTH
from tests.e2e.web_ui import PATIENCE_S, WebUI, texts

SHARDS = [f"{MONTH}-{number:04}" for number in range(1, 7)]
BAD = [SHARDS[1], SHARDS[4]]
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
    assert pages.n_partitions() == {
        "failed": 2,
        "materialized": 4,
        "materializing": 0,
        "missing": 0,
    }
    assert pages.show_only("Failed") == BAD
    said = pages.failure_of("batch_jobs", BAD[0])
    assert f"shard {BAD[0]} is given up (attempt 1, job batches/" in said
    assert MESSAGE in said
    assert "materialize this partition of batch_jobs to submit it again" in said

    ui.emulator.lift_faults()
    earlier = {run.run_id for run in ui.wait_for_runs()}
    pages.open_partitions("batch_jobs")
    assert pages.materialize_failed("batch_jobs") == BAD
    pages.open("/runs?view=backfills", "2 partitions")
    pages.wait_for("Success", timeout_s=PATIENCE_S)

    ui.wait_for_publication(30)
    ui.wait_for_partitions("search_index", materialized=1)
    pages.open_partitions("batch_jobs")
    pages.wait_for("Materialized (6)", timeout_s=PATIENCE_S)
    assert pages.n_partitions()["failed"] == 0
    pages.open_partitions("embeddings")
    assert pages.n_partitions()["materialized"] == 6
    pages.open("/assets/search_index", MONTH, "coverage")

    later = [run for run in ui.wait_for_runs() if run.run_id not in earlier]
    assert {run.status for run in later} == {"SUCCESS"}
    assert {shard for run in later for shard in run.covers(SHARDS)} == set(BAD)
    bill = ui.emulator.bill()
    assert (bill["requests"], bill["bought_twice"]) == (30, [])
    assert bill["jobs_created"] == 6 + 2
