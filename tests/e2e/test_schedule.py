"""The monthly schedule in the live daemon, with no one touching anything."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.e2e.command_line import wait_until
from tests.e2e.web_ui import BY_SHARD, MONTHLY, PATIENCE_S, WebUI, a_web_ui, texts

TIMEZONE = "Asia/Tokyo"
N_CHUNKS, N_SHARDS = 12, 3


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[WebUI]:
    """A web UI whose schedule fires at the next full minute."""
    schedule = {"cron": "* * * * *", "timezone": TIMEZONE}
    with a_web_ui(tmp_path, os.environ, schedule=schedule) as started:
        yield started


@pytest.mark.timeout(600)
def test_the_schedule_reindexes_by_itself(ui: WebUI) -> None:
    """When it fires, the month that it is there and then is reindexed and published."""
    ui.write(texts(N_CHUNKS))

    wait_until(ui.runs, timeout_s=PATIENCE_S, what="the schedule has fired")
    ui.stop_schedule()  # or it would do so every minute
    ui.wait_for_publication(N_CHUNKS)

    fired = [tick for tick in ui.schedule()["ticks"] if tick["status"] == "SUCCESS"]
    fired_at = datetime.fromtimestamp(fired[-1]["timestamp"], UTC)
    month = fired_at.astimezone(ZoneInfo(TIMEZONE)).strftime("%Y-%m")
    shards = [f"{month}-{number:04}" for number in range(1, N_SHARDS + 1)]
    for asset in MONTHLY:
        assert ui.partitions(asset)[month] == "materialized", asset
    for asset in BY_SHARD:
        assert ui.partitions(asset) == dict.fromkeys(shards, "materialized"), asset
    runs = ui.runs()
    assert {run.status for run in runs} == {"SUCCESS"}
    launched = [run for run in runs if run.job == "reindex"]
    assert {run.tags["dagster/schedule_name"] for run in launched} == {"monthly_reindex"}
    assert len(launched) == len(fired)
    bill = ui.emulator.bill()
    assert (bill["requests"], bill["bought_twice"]) == (N_CHUNKS, [])
    assert bill["jobs_created"] == N_SHARDS
