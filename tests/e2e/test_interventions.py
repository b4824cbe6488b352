"""People who cancel, repeat, wipe and backfill: nothing is lost by it, and nothing bought twice.

One web UI serves all of these tests, because to start one takes longer than any of them. Each has
texts of its own, and looks at what came of those.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.command_line import BIN, MONTH, REPOSITORY, wait_until
from tests.e2e.web_ui import BY_SHARD, MONTHLY, PATIENCE_S, Run, WebUI, a_web_ui, texts

N_CHUNKS, N_SHARDS = 30, 6
LATENCY_S = 2

# With --dist loadgroup in one process, and so on one web UI.
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("interventions")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A corpus of six batch jobs that the web UI has never seen, and what there was before."""

    ui: WebUI
    title: str
    shards: list[str]
    earlier_runs: frozenset[str]
    earlier_bill: dict[str, int]

    def runs(self) -> list[Run]:
        """Those that are new, newest first."""
        return [run for run in self.ui.runs() if run.run_id not in self.earlier_runs]

    def partitions(self, asset: str) -> dict[str, str]:
        """The colours of its shards, as far as they are known."""
        found = self.ui.partitions(asset)
        return {key: found[key] for key in self.shards if key in found}

    def wait_for_partitions(self, asset: str, **numbers: int) -> None:
        wait_until(
            lambda: Counter(self.partitions(asset).values()) == numbers,
            timeout_s=PATIENCE_S,
            what=f"{asset} has {numbers}",
            every_s=0.5,
        )

    def n_jobs(self, state: str) -> int:
        rows = self.ui.command_line.rows(
            "SELECT key, state FROM batch_jobs JOIN shards USING (shard_id)"
        )
        return [found for key, found in rows if key in self.shards].count(state)

    def n_published(self) -> int:
        rows = self.ui.command_line.rows("SELECT text FROM published_chunks")
        return sum(text.startswith(self.title) for (text,) in rows)

    def wait_for_publication(self) -> None:
        """Wait until readers see its texts and nothing else, and the web UI says that they do."""
        wait_until(
            lambda: self.n_published() == N_CHUNKS, timeout_s=PATIENCE_S, what="it is published"
        )
        assert self.ui.n_published() == N_CHUNKS
        self.ui.wait_for_runs()

    def assert_complete(self, *, n_jobs: int = N_SHARDS) -> None:
        """Everything is published, the month is green, and every text was bought once."""
        self.wait_for_publication()
        for asset in MONTHLY:
            assert self.ui.partitions(asset)[MONTH] == "materialized", asset
        bill = self.ui.emulator.bill()
        assert bill["bought_twice"] == []
        assert bill["requests"] - self.earlier_bill["requests"] == N_CHUNKS
        assert bill["jobs_created"] - self.earlier_bill["jobs_created"] == n_jobs

    def assert_green(self, *assets: str) -> None:
        """Every shard of these assets is materialized."""
        for asset in assets:
            assert self.partitions(asset) == dict.fromkeys(self.shards, "materialized"), asset


@pytest.fixture(scope="module")
def web_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    """A web UI under which a job is tried once."""
    directory = tmp_path_factory.mktemp("interventions")
    with a_web_ui(directory, os.environ, limits={"max_job_attempts": 1}) as started:
        yield started


@pytest.fixture
def scene(web_ui: WebUI, request: pytest.FixtureRequest) -> Scene:
    """Texts that begin with the name of the test, in six shards that are not planned yet."""
    earlier = web_ui.wait_for_runs() if web_ui.runs() else []
    web_ui.emulator.lift_faults()
    web_ui.emulator.change(latency_s=LATENCY_S)
    title = request.node.name
    web_ui.write([f"{title}: {text}" for text in texts(N_CHUNKS)])
    rows = web_ui.command_line.rows("SELECT key FROM shards")
    last = max((int(key.rpartition("-")[2]) for (key,) in rows), default=0)
    return Scene(
        ui=web_ui,
        title=title,
        shards=[f"{MONTH}-{last + number:04}" for number in range(1, N_SHARDS + 1)],
        earlier_runs=frozenset(run.run_id for run in earlier),
        earlier_bill=web_ui.emulator.bill(),
    )


def test_a_run_is_cancelled_midway_and_executed_again(scene: Scene) -> None:
    """What was submitted before stays submitted; run again it submits the rest."""
    ui = scene.ui
    ui.emulator.fault("call_error", endpoint="upload", match=scene.shards[2], status=503)
    ui.reindex()
    wait_until(lambda: scene.n_jobs("pending") == 2, timeout_s=PATIENCE_S, what="it is midway")
    (submission,) = [run for run in scene.runs() if run.job == "submit_shards"]

    ui.terminate(submission.run_id)

    assert ui.wait_for_run(submission.run_id).status == "CANCELED"
    assert scene.n_jobs("pending") <= 2
    ui.emulator.lift_faults()
    again = ui.reexecute(submission.run_id)
    assert ui.wait_for_run(again).status == "SUCCESS"
    scene.assert_complete()
    scene.assert_green(*BY_SHARD)


def test_everything_is_backfilled_while_jobs_are_live(scene: Scene) -> None:
    """A backfill of all partitions of all assets finds the live jobs and submits none again."""
    ui = scene.ui
    ui.emulator.change(latency_s=20)
    ui.reindex()
    scene.wait_for_partitions("batch_jobs", materialized=N_SHARDS)

    backfill = ui.backfill_everything()

    assert scene.n_jobs("pending") == N_SHARDS
    # Dagster calls it failed if a job still ran when the turn of embeddings came: the sensor has
    # that collected when it is done.
    ui.wait_for_backfill(backfill)
    scene.assert_complete()
    assert list(scene.partitions("embeddings")) == scene.shards, "what was paid for is still shown"


def test_materializations_are_wiped(scene: Scene) -> None:
    """Without its history the index is served as before; materialized again nothing is bought."""
    ui = scene.ui
    ui.reindex()
    scene.assert_complete()

    ui.wipe(*MONTHLY, *BY_SHARD)

    assert scene.partitions("embeddings") == dict.fromkeys(scene.shards, "missing")
    assert ui.n_published() == N_CHUNKS
    for job in ("submit_shards", "collect_embeddings"):
        assert ui.wait_for_run(ui.launch(job, shards=scene.shards)).status == "SUCCESS"
    scene.assert_green("embeddings")
    ui.wait_for_run(ui.reindex())
    ui.wait_for_partitions("search_index", materialized=1)
    scene.assert_complete()


def test_failed_partitions_from_the_command_line(scene: Scene) -> None:
    """``dagster job backfill`` submits just the named partitions again, and all is published."""
    ui = scene.ui
    bad = [scene.shards[1], scene.shards[5]]
    for shard in bad:
        ui.emulator.fault("job_failed", match=f"/{shard}/")
    ui.reindex()
    scene.wait_for_partitions("batch_jobs", materialized=N_SHARDS - 2, failed=2)
    ui.emulator.lift_faults()
    earlier = {run.run_id for run in ui.wait_for_runs()}
    earlier_backfills = ui.backfill_states().keys()

    done = ui.command_line.run_program(
        [
            *(str(BIN / "dagster"), "job", "backfill", "-w", "workspace.yaml"),
            *("-j", "submit_shards", "--partitions", ",".join(bad), "--noprompt"),
        ],
        REPOSITORY,
        DAGSTER_HOME=str(ui.dagster_home),
        EMBEDDING_ASSETS_CONFIG=str(ui.command_line.config),
    )

    assert done.returncode == 0, done.stderr
    scene.wait_for_publication()
    # This command launches the runs itself, and calls that completed.
    states = ui.backfill_states()
    assert [states[each] for each in states.keys() - earlier_backfills] == ["COMPLETED"]
    scene.assert_green("batch_jobs")
    later = [run for run in ui.runs() if run.run_id not in earlier]
    assert {run.status for run in later} == {"SUCCESS"}
    assert {shard for run in later for shard in run.covers(scene.shards)} == set(bad)
    scene.assert_complete(n_jobs=N_SHARDS + 2)
