"""People who cancel, repeat, wipe and backfill: nothing is lost by it, and nothing bought twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import MONTH, wait_until
from tests.e2e.web_ui import BY_SHARD, MONTHLY, PATIENCE_S, WebUI, a_web_ui, texts

N_CHUNKS, N_SHARDS = 30, 6
SHARDS = [f"{MONTH}-{number:04}" for number in range(1, N_SHARDS + 1)]


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[WebUI]:
    """A web UI with a corpus of six batch jobs."""
    with a_web_ui(tmp_path, os.environ) as started:
        started.write(texts(N_CHUNKS))
        yield started


def _assert_complete(ui: WebUI) -> None:
    """Everything is published, the month is green, and every text was bought once."""
    ui.wait_for_publication(N_CHUNKS)
    for asset in MONTHLY:
        assert ui.partitions(asset)[MONTH] == "materialized", asset
    bill = ui.emulator.bill()
    assert (bill["requests"], bill["bought_twice"]) == (N_CHUNKS, [])
    assert bill["jobs_created"] == N_SHARDS


def _assert_green(ui: WebUI, *assets: str) -> None:
    """Every shard of these assets is materialized."""
    for asset in assets:
        assert ui.partitions(asset) == dict.fromkeys(SHARDS, "materialized"), asset


def _n_jobs(ui: WebUI, state: str) -> int:
    return [found for (found,) in ui.command_line.rows("SELECT state FROM batch_jobs")].count(state)


@pytest.mark.timeout(600)
def test_a_run_is_cancelled_midway_and_executed_again(ui: WebUI) -> None:
    """What was submitted before stays submitted; run again it submits the rest."""
    ui.emulator.fault("call_error", endpoint="upload", match=SHARDS[2], status=503)
    ui.reindex()
    wait_until(lambda: _n_jobs(ui, "pending") == 2, timeout_s=PATIENCE_S, what="it is midway")
    (submission,) = [run for run in ui.runs() if run.job == "submit_shards"]

    ui.terminate(submission.run_id)

    assert ui.wait_for_run(submission.run_id).status == "CANCELED"
    assert _n_jobs(ui, "pending") <= 2
    ui.emulator.lift_faults()
    again = ui.reexecute(submission.run_id)
    assert ui.wait_for_run(again).status == "SUCCESS"
    _assert_complete(ui)
    _assert_green(ui, *BY_SHARD)


@pytest.mark.timeout(600)
def test_everything_is_backfilled_while_jobs_are_live(ui: WebUI) -> None:
    """A backfill of all partitions of all assets finds the live jobs and submits none again."""
    ui.emulator.change(latency_s=20)
    ui.reindex()
    ui.wait_for_partitions("batch_jobs", materialized=N_SHARDS)

    backfill = ui.backfill_everything()

    assert _n_jobs(ui, "pending") == N_SHARDS
    # Dagster calls it failed if a job still ran when the turn of embeddings came: the sensor has
    # that collected when it is done.
    ui.wait_for_backfill(backfill)
    _assert_complete(ui)
    assert ui.partitions("embeddings").keys() == set(SHARDS), "what was paid for is still shown"


@pytest.mark.timeout(600)
def test_materializations_are_wiped(ui: WebUI) -> None:
    """Without its history the index is served as before; materialized again nothing is bought."""
    ui.reindex()
    _assert_complete(ui)

    ui.wipe(*MONTHLY, *BY_SHARD)

    assert ui.partitions("embeddings") == dict.fromkeys(SHARDS, "missing")
    assert ui.n_published() == N_CHUNKS
    for job in ("submit_shards", "collect_embeddings"):
        assert ui.wait_for_run(ui.launch(job, shards=SHARDS)).status == "SUCCESS"
    _assert_green(ui, "embeddings")
    ui.wait_for_run(ui.reindex())
    ui.wait_for_partitions("search_index", materialized=1)
    _assert_complete(ui)
