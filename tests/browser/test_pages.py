"""What a person finds who only looks: the graph, every asset's pages, the schedule, the sensors.

What there is to see on a page stands in the tables. It is one test, because its web UI takes longer
than all pages; each page is a subtest, and a bad one does not hide the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.browser.pages import DagsterPages
from tests.e2e.command_line import MONTH
from tests.e2e.web_ui import BY_SHARD, WebUI, texts

On = Callable[[str], AbstractContextManager[None]]

SHARD = f"{MONTH}-0001"
JOBS = ("reindex", "submit_shards", "collect_embeddings", "publish_index")

REFUSED = "Not this one."
NASTY = (
    "<script>alert('no')</script> **bold** | a table | `code`",
    'Quotes " and \\ backslashes and {"json": NaN}',
    "Белый медведь 🦓 живёт на севере",
)
N_CHUNKS = 30

# Of every asset, in the order of the lineage, what its tabs say; Partitions is a partition's page.
ASSETS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "documents": {
        "Overview": ("One partition is one month", "Red: ", "Columns", "knowledge-base"),
        "Partitions": ("Materialized (1)", "Missing (0)", "dagster/row_count", "invalid.md"),
        "Checks": ("No checks defined",),
    },
    "chunks": {
        "Overview": ("One partition is one month", "Red: ", "Columns", "knowledge-base"),
        "Partitions": ("Materialized (1)", "Missing (0)", "chunks_without_vector"),
        "Checks": ("No checks defined",),
    },
    "shard_plan": {
        "Overview": ("One partition is one month", "Red: ", "Columns", "knowledge-base"),
        "Partitions": ("Materialized (1)", "Missing (0)", "estimated_cost_usd", SHARD),
        "Checks": ("No checks defined",),
    },
    "request_shards": {
        "Overview": ("One partition is one shard", "Red: ", "Columns", "knowledge-base"),
        "Partitions": ("Materialized (6)", "Missing (0)", "sha256", f"{SHARD}.jsonl"),
        "Checks": ("No checks defined",),
    },
    "batch_jobs": {
        "Overview": ("One partition is one shard", "Red: ", "Columns", "knowledge-base"),
        "Partitions": ("Materialized (6)", "Missing (0)", "job_name", "batches/"),
        "Checks": ("No checks defined",),
    },
    "embeddings": {
        "Overview": ("One partition is one shard", "Red: ", "Columns", "knowledge-base"),
        "Partitions": ("Materialized (6)", "Missing (0)", "billed_tokens", REFUSED),
        "Checks": ("requests_add_up", "blocking asset check", "Passed"),
    },
    "search_index": {
        "Overview": ("One partition is one month", "Red: ", "Columns", "knowledge-base"),
        "Partitions": (
            "Materialized (1)",
            "Missing (0)",
            "is published: 30 chunks",
            "share_reused",
        ),
        "Checks": (
            *("coverage", "finished", "shrinkage", "self_retrieval", "agreement"),
            "cost_against_estimate",
            *("published_vectors_are_sound", "Passed"),
        ),
    },
}
PICTURES = ("by_month", "job_waits", "corpus_map")  # of search_index

# Lists, and what their links lead to.
LISTS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "/automation": {
        "monthly_reindex": ("Reindexes the corpus", "0 3 1 * *", "UTC", "Running"),
        "submit_shards_sensor": ("Sensor in", "Latest tick", "Running"),
        "poll_batch_jobs_sensor": ("Sensor in", "Latest tick", "Running"),
        "publish_index_sensor": ("Sensor in", "Latest tick", "Running"),
        "failed_run_alert": ("Sensor in", "Running"),
        "published_index_alert": ("Sensor in", "Running"),
    },
    "/jobs": {
        "reindex": ("Take a month's snapshot",),
        "submit_shards": ("Write shards' files",),
        "collect_embeddings": ("Bring finished jobs' results",),
        "publish_index": ("Publish the month's generation",),
    },
}

# Why the newest tick asked for no run.
REASONS: Mapping[str, str] = {
    "submit_shards_sensor": "no shard waits to be submitted; 0 of 50 jobs and 0 of 500,000 tokens",
    "poll_batch_jobs_sensor": "0 jobs are under way",
    "publish_index_sensor": f"no generation is being built; readers see {MONTH}",
}

# Pages by themselves.
PAGES: Mapping[str, Sequence[str]] = {
    "/": ("Timeline", *JOBS),
    "/assets": tuple(ASSETS),
    "/locations": ("embedding_assets.definitions", "Loaded"),
    "/deployment/daemons": ("Sensors", "Scheduler", "Backfill", "Run queue", "Running"),
}


@pytest.fixture
def reindexed(ui: WebUI) -> WebUI:
    """A reindex is behind it: 30 texts of which one was refused, two files without text."""
    ui.emulator.fault("error_line", match="refused", code=3, message=REFUSED)
    ui.write([*NASTY, "This one is refused", *texts(N_CHUNKS - len(NASTY) - 1)])
    (ui.command_line.docs / "empty <b>.txt").write_bytes(b"")
    (ui.command_line.docs / "invalid.md").write_bytes(b"\xff\xfe\xc3 no text")
    ui.reindex()
    ui.wait_for_partitions("search_index", materialized=1)
    ui.wait_for_runs()
    return ui


@pytest.fixture
def on(pages: DagsterPages, subtests: pytest.Subtests, artifacts: Path) -> On:
    """A subtest of its own for a page, which is kept if it is bad."""

    @contextmanager
    def subtest(page: str) -> Iterator[None]:
        with subtests.test(page):
            try:
                yield
            except Exception:
                pages.keep(artifacts / page.strip("/").replace("/", "-"))
                raise

    return subtest


def test_pages(reindexed: WebUI, pages: DagsterPages, on: On) -> None:
    """Every page has its words and numbers, and shows no error and no value it cannot show."""
    with on("lineage"):
        assert pages.lineage(len(ASSETS)) == list(ASSETS)
    for asset, tabs in ASSETS.items():
        with on(asset):
            _look_through_tabs(pages, asset, tabs)
    with on("pictures"):
        pages.open(f"/assets/search_index?view=partitions&partition={MONTH}", *PICTURES)
        assert all(pages.picture_size(picture) > (100, 100) for picture in PICTURES)
    runs = {run.run_id[:8]: ("Success", "RUN_SUCCESS") for run in reindexed.runs()}
    for address, links in {**LISTS, "/runs": runs}.items():
        for link, words in links.items():
            with on(link):
                _look_behind_link(pages, address, link, words)
    for address, words in PAGES.items():
        with on(address):
            pages.open(address, *words)


def _look_through_tabs(pages: DagsterPages, asset: str, tabs: Mapping[str, Sequence[str]]) -> None:
    partition = SHARD if asset in BY_SHARD else MONTH
    pages.open(f"/assets/{asset}?view=partitions&partition={partition}", "Metadata")
    pages.says(*tabs["Partitions"])
    for tab in ("Overview", "Checks", "Events", "Lineage"):
        pages.click_tab(tab)
        pages.says(*tabs.get(tab, (asset,)))


def _look_behind_link(pages: DagsterPages, address: str, link: str, words: Sequence[str]) -> None:
    pages.open_once(address, link)
    pages.follow(link)
    pages.says(*words)
    if link in REASONS:
        pages.newest_tick_says(REASONS[link])
    pages.page.go_back()
