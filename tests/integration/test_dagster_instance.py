"""The Dagster instance of a data directory: made whole or not at all."""

import json
import os
import random
import socket
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from embedding_assets.defs.instance import create_instance, open_instance
from embedding_assets.defs.tags import RunTags
from embedding_assets.settings.values import Settings
from tests.forks import PROCESSES


def is_usable(settings: Settings) -> bool:
    """Each of the databases can be asked something."""
    with open_instance(settings) as instance:
        instance.all_instigator_state()
        return instance.get_runs_count() == 0 and instance.get_dynamic_partitions("shards") == []


@pytest.mark.parametrize("seed", range(12))
def test_killed_while_it_is_made(tmp_path: Path, seed: int) -> None:
    """Whenever a process dies that makes the databases, the next one has good ones."""
    settings = Settings(data_dir=tmp_path)
    process = PROCESSES.Process(target=create_instance, args=(settings,))
    process.start()
    process.join(random.Random(seed).uniform(0, 0.8))
    process.kill()
    process.join()
    assert is_usable(settings)
    assert {path.name for path in settings.dagster_dir.iterdir()} >= {"history", "schedules"}
    assert not (settings.dagster_dir / ".unfinished").exists()


def test_what_a_killed_process_left_is_made_anew(tmp_path: Path) -> None:
    """Without the last of the databases in its place the others are not trusted."""
    settings = Settings(data_dir=tmp_path)
    for remains in (".unfinished/history/runs", "schedules"):
        (settings.dagster_dir / remains).mkdir(parents=True)
        (settings.dagster_dir / remains / "index.db").touch()
    assert is_usable(settings)
    assert not (settings.dagster_dir / "schedules" / "index.db").exists()


def test_made_by_many_at_once(tmp_path: Path) -> None:
    """However many processes start on an empty directory, all of them can use it."""
    settings = Settings(data_dir=tmp_path)
    processes = [PROCESSES.Process(target=create_instance, args=(settings,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert is_usable(settings)


def a_run_under_way(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> str:
    """A run as a process leaves it that is killed."""
    run = dg.DagsterRun(job_name="reindex", status=dg.DagsterRunStatus.STARTED, tags=tags)
    return instance.add_run(run).run_id


def test_runs_of_dead_processes_are_failed_before_the_next_start(tmp_path: Path) -> None:
    """Else they would hold the places of others for ever; what may be alive is left alone."""
    settings = Settings(data_dir=tmp_path)
    alive = tmp_path / "alive"
    with open_instance(settings) as instance, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(alive))
        server.listen()
        gone = tmp_path / "gone"
        lost = [
            a_run_under_way(instance, {GRPC_INFO_TAG: json.dumps({"socket": str(gone)})}),
            a_run_under_way(instance, RunTags(pid=2**22 + 1).as_tags()),
        ]
        kept = [
            a_run_under_way(instance, {GRPC_INFO_TAG: json.dumps({"socket": str(alive)})}),
            a_run_under_way(instance, RunTags(pid=os.getpid()).as_tags()),
            a_run_under_way(instance, {}),
        ]
        create_instance(settings)
        found = {run.run_id: run.status.value for run in instance.get_runs()}
    assert found == dict.fromkeys(lost, "FAILURE") | dict.fromkeys(kept, "STARTED")
