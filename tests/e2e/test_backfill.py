"""Failed partitions put right from the command line, as Dagster offers it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import BIN, MONTH, REPOSITORY
from tests.e2e.web_ui import WebUI, a_web_ui, texts

N_CHUNKS, N_SHARDS = 30, 6
SHARDS = [f"{MONTH}-{number:04}" for number in range(1, N_SHARDS + 1)]
BAD = [SHARDS[1], SHARDS[5]]


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[WebUI]:
    """A web UI under which a job is tried once."""
    with a_web_ui(tmp_path, os.environ, limits={"max_job_attempts": 1}) as started:
        yield started


@pytest.mark.timeout(600)
def test_failed_partitions_from_the_command_line(ui: WebUI) -> None:
    """``dagster job backfill`` submits just the named partitions again, and all is published."""
    for shard in BAD:
        ui.emulator.fault("job_failed", match=f"/{shard}/")
    ui.write(texts(N_CHUNKS))
    ui.reindex()
    ui.wait_for_partitions("batch_jobs", materialized=N_SHARDS - 2, failed=2)
    ui.emulator.lift_faults()
    earlier = {run.run_id for run in ui.wait_for_runs()}

    done = ui.command_line.run_program(
        [
            *(str(BIN / "dagster"), "job", "backfill", "-w", "workspace.yaml"),
            *("-j", "submit_shards", "--partitions", ",".join(BAD), "--noprompt"),
        ],
        REPOSITORY,
        DAGSTER_HOME=str(ui.dagster_home),
        EMBEDDING_ASSETS_CONFIG=str(ui.command_line.config),
    )

    assert done.returncode == 0, done.stderr
    ui.wait_for_publication(N_CHUNKS)
    # This command launches the runs itself, and calls that completed.
    assert list(ui.backfill_states().values()) == ["COMPLETED"]
    assert ui.partitions("batch_jobs") == dict.fromkeys(SHARDS, "materialized")
    later = [run for run in ui.runs() if run.run_id not in earlier]
    assert {run.status for run in later} == {"SUCCESS"}
    assert {shard for run in later for shard in run.covers(SHARDS)} == set(BAD)
    bill = ui.emulator.bill()
    assert (bill["requests"], bill["bought_twice"]) == (N_CHUNKS, [])
    assert bill["jobs_created"] == N_SHARDS + 2
