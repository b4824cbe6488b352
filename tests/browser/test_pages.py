"""What a person finds who only looks: the graph, every asset's pages, the schedule, the sensors.

One web UI for all of them, after a reindex with files that cannot be used and a text that Gemini
refused.
"""

import os
import re
from collections.abc import Iterator

import pytest

from tests.browser.pages import DagsterPages
from tests.e2e.command_line import MONTH
from tests.e2e.web_ui import BY_SHARD, MONTHLY, WebUI, a_web_ui, texts

pytestmark = pytest.mark.xdist_group("browser pages")

ASSETS = (
    *("documents", "chunks", "shard_plan", "request_shards", "batch_jobs"),
    *("embeddings", "search_index"),
)
SENSORS = ("submit_shards_sensor", "poll_batch_jobs_sensor", "publish_index_sensor")
JOBS = ("reindex", "submit_shards", "collect_embeddings", "publish_index")
NASTY = [
    "<script>alert('no')</script> **bold** | a table | `code`",
    'Quotes " and \\ backslashes and {"json": NaN}',
    "Белый медведь 🦓 живёт на севере",
]
N_CHUNKS = 30


@pytest.fixture(scope="module")
def ui(executable: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    """A reindex is behind it: 30 texts of which one was refused, two files without text."""
    with a_web_ui(tmp_path_factory.mktemp("pages"), os.environ) as started:
        started.emulator.fault("error_line", match="refused", code=3, message="Not this one.")
        started.write([*NASTY, "This one is refused", *texts(N_CHUNKS - len(NASTY) - 1)])
        (started.command_line.docs / "empty <b>.txt").write_bytes(b"")
        (started.command_line.docs / "invalid.md").write_bytes(b"\xff\xfe\xc3 no text")
        started.reindex()
        started.wait_for_partitions("search_index", materialized=1)
        started.wait_for_runs()
        yield started
        started.stop()
        assert started.complaints() == []


def test_lineage_is_one_line_of_seven(pages: DagsterPages) -> None:
    """The global lineage shows the seven assets from the documents to the index, in a group."""
    assert pages.lineage() == list(ASSETS)

    pages.open("/locations/embedding_assets.definitions/asset-groups/embedding_index/list", *ASSETS)


@pytest.mark.parametrize("asset", ASSETS)
def test_asset_pages(ui: WebUI, pages: DagsterPages, asset: str) -> None:
    """Every page of an asset has its words and numbers, and no value that cannot be shown."""
    partition = MONTH if asset in MONTHLY else f"{MONTH}-0001"
    number = len(ui.partitions(asset))

    pages.open(f"/assets/{asset}?view=overview", "One partition is one", "Latest materialization")
    pages.open(f"/assets/{asset}?view=partitions", f"Materialized ({number})", "Missing (0)")
    pages.open(f"/assets/{asset}?view=partitions&partition={partition}", "Metadata", "Latest mat")
    pages.open(f"/assets/{asset}?view=events", f"{partition[:-1]}")
    pages.open(f"/assets/{asset}?view=lineage", asset)
    checks = {"embeddings": "requests_add_up", "search_index": "published_vectors_are_sound"}
    pages.open(f"/assets/{asset}?view=checks", checks.get(asset, "No asset checks"))


def test_automation_pages(pages: DagsterPages) -> None:
    """The schedule and the three sensors are there, running, and say what they last did."""
    location = "/locations/embedding_assets.definitions"
    pages.open("/automation", "monthly_reindex", *SENSORS)
    pages.open(f"{location}/schedules/monthly_reindex", "Reindex the corpus", "0 3 1 * *")
    for sensor in SENSORS:
        pages.open(f"{location}/sensors/{sensor}", sensor, re.compile("Running"))


@pytest.mark.parametrize("job", JOBS)
def test_job_and_run_pages(ui: WebUI, pages: DagsterPages, job: str) -> None:
    """Every job's page says what it is for, and the page of its run how that went."""
    (run, *_) = ui.runs(job)

    pages.open(f"/locations/embedding_assets.definitions/jobs/{job}", job, "Description")
    pages.open(f"/runs/{run.run_id}", "Success", "RUN_SUCCESS")


def test_overview_pages(pages: DagsterPages) -> None:
    """The first page, the runs, the catalog and the deployment are all without an error."""
    pages.open("/", "Overview")
    pages.open("/runs", "reindex")
    pages.open("/assets", *BY_SHARD, *MONTHLY)
    pages.open("/locations", "embedding_assets.definitions", "Loaded")
    pages.open("/health", "Scheduler", re.compile("Running"))
