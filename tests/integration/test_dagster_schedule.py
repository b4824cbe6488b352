"""The monthly schedule, by Dagster's own scheduler: which month, and how often."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import dagster._daemon  # without it the scheduler cannot be imported
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from embedding_assets.definitions import build_definitions
from embedding_assets.defs.instance import open_instance
from embedding_assets.settings.reading import load_settings
from embedding_assets.settings.values import Schedule, Settings
from tests.integration.dagster_support import scrub

# Dagster asks its own schedules for what it has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition:DeprecationWarning")

BERLIN = ZoneInfo("Europe/Berlin")

# A look of the scheduler at the clock, which is given; the runs there are then, newest first.
Look = Callable[[datetime], list[dg.DagsterRun]]


@contextmanager
def a_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **schedule: str) -> Iterator[Look]:
    """The daemon's scheduler with these settings; the runs it asks for are queued, not begun."""
    scrub(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name, value in schedule.items():
        monkeypatch.setenv(f"EMBEDDING_ASSETS_SCHEDULE__{name.upper()}", value)
    code = LoadableTargetOrigin(module_name="embedding_assets.definitions")
    target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(code))
    with (
        open_instance(load_settings()) as instance,
        WorkspaceProcessContext(instance, target) as workspace,
    ):

        def look(now: datetime) -> list[dg.DagsterRun]:
            errors = launch_scheduled_runs(workspace, logging.getLogger("test"), now, {})
            assert [error for error in errors if error is not None] == []
            return list(instance.get_runs())

        yield look


def months_of(runs: list[dg.DagsterRun]) -> list[str]:
    """The partitions of the runs, newest first."""
    return [run.tags["dagster/partition"] for run in runs]


def test_five_missed_ticks_are_caught_up_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five hours without a daemon an hourly schedule reindexes once, not five times."""
    began = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    with a_scheduler(tmp_path, monkeypatch, cron="0 * * * *") as look:
        assert look(began) == []
        assert months_of(look(began + timedelta(hours=1))) == ["2026-11"]

        (newest, _) = look(began + timedelta(hours=6))

        assert newest.tags["dagster/run_key"] == "reindex:2026-11-20T14:00:00+00:00"
        assert len(look(began + timedelta(hours=6, minutes=1))) == 2
        assert newest.job_name == "reindex"


def test_months_that_were_missed_are_not_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three months without a daemon only the newest is reindexed: the corpus is today's."""
    with a_scheduler(tmp_path, monkeypatch) as look:
        look(datetime(2026, 11, 23, tzinfo=UTC))
        assert months_of(look(datetime(2027, 2, 20, tzinfo=UTC))) == ["2027-02"]


def test_every_firing_of_a_month_reindexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule that fires twice a month reindexes the month twice."""
    with a_scheduler(tmp_path, monkeypatch, cron="0 3 1,15 * *") as look:
        look(datetime(2026, 11, 23, tzinfo=UTC))
        look(datetime(2026, 12, 2, tzinfo=UTC))
        assert months_of(look(datetime(2026, 12, 16, tzinfo=UTC))) == ["2026-12", "2026-12"]


def test_the_month_is_that_of_the_time_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour into December in Berlin it is December, though it is November in UTC."""
    fires_at = datetime(2026, 12, 1, 0, 30, tzinfo=BERLIN)
    assert fires_at.astimezone(UTC).month == 11
    schedule = {"cron": "30 0 1 * *", "timezone": "Europe/Berlin"}
    with a_scheduler(tmp_path, monkeypatch, **schedule) as look:
        assert look(fires_at - timedelta(seconds=1)) == []
        (run,) = look(fires_at + timedelta(seconds=1))
    assert months_of([run]) == ["2026-12"]
    assert run.tags["dagster/run_key"] == "reindex:2026-12-01T00:30:00+01:00"


def test_before_the_first_month_nothing_is_reindexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month without a partition is skipped in words, instead of failing a tick."""
    with a_scheduler(tmp_path, monkeypatch, first_month="2026-11") as look:
        look(datetime(2026, 8, 31, tzinfo=UTC))
        assert look(datetime(2026, 9, 2, tzinfo=UTC)) == []
    schedule = build_definitions(
        Settings(schedule=Schedule(first_month="2027-03"))
    ).resolve_schedule_def("monthly_reindex")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=datetime(2027, 1, 1, 3, tzinfo=UTC)
        )
        tick = schedule.evaluate_tick(context)
    assert tick.skip_message == "2027-01 is before schedule.first_month, 2027-03"
