"""The code location: what Dagster sees when it loads the definitions."""

import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import is_valid_cron_schedule
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.definitions import build_definitions
from embedding_assets.defs.instance import create_instance
from embedding_assets.defs.partitions import build_months
from embedding_assets.defs.resources import build_resources
from embedding_assets.errors import SettingsError
from embedding_assets.settings.values import Schedule, Settings
from tests.integration.dagster_support import scrub

ORDER = (
    "documents",
    "chunks",
    "shard_plan",
    "request_shards",
    "batch_jobs",
    "embeddings",
    "search_index",
)
SENSORS = ("submit_shards_sensor", "poll_batch_jobs_sensor", "publish_index_sensor")
ALERTS = ("failed_run_alert", "published_index_alert")
# Each of these costs tenths of a second in every run, and a run needs few of them.
HEAVY = (
    *("pandas", "pyarrow", "matplotlib", "google.genai", "selectolax", "semantic_text_splitter"),
    *("cchardet", "resiliparse", "uvicorn", "pypdfium2"),
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The defaults, with a data directory of their own."""
    scrub(monkeypatch)
    return Settings(data_dir=tmp_path / "data")


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name)


def test_definitions_can_be_loaded(settings: Settings) -> None:
    """Dagster's own validation has nothing to say against the definitions."""
    dg.Definitions.validate_loadable(build_definitions(settings))


def test_seven_assets_in_one_row(settings: Settings) -> None:
    """The seven assets are in one group, each depending on the one before and on nothing else."""
    graph = build_definitions(settings).resolve_asset_graph()

    assert graph.get_all_asset_keys() == {_key(name) for name in ORDER}
    assert {graph.get(_key(name)).group_name for name in ORDER} == {"embedding_index"}
    parents = {name: graph.get(_key(name)).parent_keys for name in ORDER}
    expected: dict[str, set[dg.AssetKey]] = {"documents": set()}
    for before, after in pairwise(ORDER):
        expected[after] = {_key(before)}
    assert parents == expected


def test_assets_say_what_they_are(settings: Settings) -> None:
    """Every description says what a partition is, and what to do if one is red or unsynced."""
    graph = build_definitions(settings).resolve_asset_graph()

    descriptions = [graph.get(_key(name)).description or "" for name in ORDER]

    for said in ("One partition is one", "\n\nRed: ", "\n\nUnsynced: "):
        assert all(said in description for description in descriptions), said


def test_months_and_shards_are_the_partitions(settings: Settings) -> None:
    """Corpus, chunks, plan and index have a partition a month; the rest one a shard."""
    graph = build_definitions(settings).resolve_asset_graph()

    kinds = {name: type(graph.get(_key(name)).partitions_def) for name in ORDER}

    by_shard = dict.fromkeys(("request_shards", "batch_jobs", "embeddings"))
    assert kinds == {
        name: dg.DynamicPartitionsDefinition if name in by_shard else dg.MonthlyPartitionsDefinition
        for name in ORDER
    }


def test_sensors_and_schedule_are_on_by_default(settings: Settings) -> None:
    """Sensors, alerts and the schedule run without anybody switching them on."""
    definitions = build_definitions(settings)

    sensors = {sensor.name: sensor.default_status for sensor in definitions.sensors or ()}
    assert sensors == dict.fromkeys((*SENSORS, *ALERTS), dg.DefaultSensorStatus.RUNNING)
    schedule = definitions.resolve_schedule_def("monthly_reindex")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_four_jobs_select_the_assets_they_are_named_for(settings: Settings) -> None:
    """Between them the four jobs cover the seven assets, each asset in one job."""
    definitions = build_definitions(settings)

    selected = {
        name: {
            key.to_user_string()
            for key in definitions.resolve_job_def(name).asset_layer.executable_asset_keys
        }
        for name in ("reindex", "submit_shards", "collect_embeddings", "publish_index")
    }

    assert selected == {
        "reindex": {"documents", "chunks", "shard_plan"},
        "submit_shards": {"request_shards", "batch_jobs"},
        "collect_embeddings": {"embeddings"},
        "publish_index": {"search_index"},
    }


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_schedule_fires_for_the_month_that_begins(settings: Settings, timezone: str) -> None:
    """At three in the morning of the first the new month is a partition already, in its zone."""
    local = settings.model_copy(update={"schedule": Schedule(timezone=timezone)})
    definitions = build_definitions(local)
    fired_at = datetime(2027, 2, 1, 3, 0, tzinfo=ZoneInfo(timezone))

    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=fired_at,
            repository_def=definitions.get_repository_def(),
        )
        tick = definitions.resolve_schedule_def("monthly_reindex").evaluate_tick(context)

    (request,) = tick.run_requests or ()
    assert request.partition_key == "2027-02"
    assert request.run_key == f"reindex:{fired_at.isoformat()}"
    assert request.tags["dagster/partition"] == "2027-02"
    months = build_months(local).get_partition_keys(current_time=fired_at)
    assert list(months) == ["2026-11", "2026-12", "2027-01", "2027-02"]


def test_loading_the_definitions_imports_no_heavy_library() -> None:
    """What only some runs need is imported by those runs, not by every one."""
    code = (
        "import sys; from embedding_assets.definitions import build_definitions; "
        "from embedding_assets.settings.values import Settings; build_definitions(Settings()); "
        f"print([module for module in {HEAVY} if module in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("cron", ["0 3 30 2 *", "0 3 */0 * *", "0 3 5-1-2 * *"])
def test_cron_that_dagster_does_not_understand_is_refused(settings: Settings, cron: str) -> None:
    """A bad cron expression is one line that names the setting and what was found."""
    changed = settings.model_copy(update={"schedule": Schedule(cron=cron)})

    with pytest.raises(SettingsError, match=r"schedule\.cron: .* \(found '"):
        build_definitions(changed)


_CRON_PARTS = st.sampled_from(
    [
        *("*", "?", "0", "00", "1", "5", "7", "12", "23", "31", "32", "59", "60", "1,2", "1-5"),
        *("1-5/2", "*/2", "0/5", "jan", "MON", "mon-fri", "mon#1", "5#3", "l", "L", "l5", "r", "w"),
    ]
)


@given(fields=st.lists(_CRON_PARTS, min_size=4, max_size=6))
def test_no_cron_that_dagster_understands_is_refused_by_the_settings(fields: list[str]) -> None:
    """What they say at once is never more than Dagster would say later."""
    cron = " ".join(fields)
    if is_valid_cron_schedule(cron):
        assert Schedule(cron=cron).cron == cron


def test_sensors_do_not_create_an_index(settings: Settings) -> None:
    """Where nothing was ever reindexed the sensors say so and leave no file behind."""
    definitions = build_definitions(settings)
    for name in SENSORS:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(
                instance=instance, definitions=definitions, resources=build_resources(settings)
            )
            tick = definitions.resolve_sensor_def(name).evaluate_tick(context)
        assert "no index yet" in (tick.skip_message or "")
    assert not settings.index_path.exists()


def test_instance_is_created_before_anyone_needs_it(settings: Settings) -> None:
    """Webserver and daemon find every database made, so that they cannot race to make it."""
    home = create_instance(settings)

    made = {str(path.relative_to(home)) for path in home.rglob("*.db")}
    assert made >= {"history/runs.db", "history/runs/index.db", "schedules/schedules.db"}
