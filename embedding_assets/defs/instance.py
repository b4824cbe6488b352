"""The Dagster instance of a data directory: where runs, events and logs are kept.

Belongs here: opening it, and putting in order what a killed process left in it.
Does not belong here: running anything (headless.py).
"""

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from textwrap import shorten

import dagster as dg
import yaml
from dagster._check import CheckError
from dagster._core.instance.ref import InstanceRef  # there is no public way to override a setting
from dagster._core.storage.tags import GRPC_INFO_TAG  # where the default launcher started a run
from filelock import FileLock

from embedding_assets.defs.tags import process_of
from embedding_assets.errors import SettingsError
from embedding_assets.files import replacing
from embedding_assets.gemini.connection import is_alive
from embedding_assets.settings.values import Settings
from embedding_assets.store.database import storage_errors

# The repository's dagster.yaml says the same, for a bare `dagster dev`; a test compares them.
INSTANCE_SETTINGS = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
# A reindex is a chain of short runs: by itself each would wait for up to 5 seconds in the queue.
run_coordinator:
  module: dagster._core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
run_monitoring:
  enabled: true
"""

# A daemon says every 30 seconds that it is there (dagster 1.13, its daemon controller).
_HEARTBEAT_TOLERANCE_S = 120

_UNDER_WAY = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

# Directories of a Dagster home: runs and events, schedules and sensors.
_DATABASES = ("history", "schedules")

_UNCAPTURED = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def dagster_home(settings: Settings) -> Path:
    """The directory for DAGSTER_HOME, with a dagster.yaml that a user may change.

    A DAGSTER_HOME that is set already wins. Raises SettingsError if it is no directory. If
    Dagster could not use the path as it is, it is a link to it.
    """
    named = os.environ.get("DAGSTER_HOME")
    if named:
        if not (Path(named).is_absolute() and Path(named).is_dir()):
            raise SettingsError(
                f"DAGSTER_HOME is {named!r}; expected the absolute path of a directory"
            )
        return _usable(Path(named))
    home = settings.dagster_dir.resolve()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        with replacing(config) as beside:
            beside.write_text(INSTANCE_SETTINGS)
    return _usable(home)


def _usable(home: Path) -> Path:
    """Dagster takes a path for a part of a URL (1.13, create_db_conn_string): "?" would end it."""
    if not any(mark in str(home) for mark in "?%"):
        return home
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embedding-assets"
    cache.mkdir(parents=True, exist_ok=True)
    link = cache / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    with suppress(FileExistsError):
        link.symlink_to(home)
    return link


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance that the UI and the command line share.

    What a run in this process prints is the terminal's: it is not captured, which would take two
    more processes a run. Raises SettingsError for a dagster.yaml that Dagster does not understand.
    """
    home = dagster_home(settings)
    with storage_errors(home), ExitStack() as stack:
        with _config_errors(home / "dagster.yaml"):
            ref = InstanceRef.from_dir(str(home), overrides=_UNCAPTURED)
            _create_databases(home)
            instance = stack.enter_context(dg.DagsterInstance.from_ref(ref))
        yield instance


@contextmanager
def _config_errors(config: Path) -> Iterator[None]:
    try:
        yield
    except (yaml.YAMLError, CheckError, dg.DagsterError) as exc:
        raise SettingsError(f"'{config}' cannot be used: {shorten(str(exc), 200)}") from exc


def _create_databases(home: Path) -> None:
    """Make Dagster's databases, all of them or none.

    Dagster makes each when it first needs it. A process that is killed meanwhile, or two that do it
    at once, leave a database behind that no later one can use.
    """
    history, schedules, unfinished = (home / name for name in (*_DATABASES, ".unfinished"))
    with FileLock(home / ".creation.lock"):
        if history.exists():
            return
        for remains in (unfinished, schedules):
            shutil.rmtree(remains, ignore_errors=True)
        unfinished.mkdir()
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(unfinished))) as instance:
            instance.get_runs_count()
            instance.get_dynamic_partitions("")
            instance.all_instigator_state()
        (unfinished / schedules.name).rename(schedules)
        (unfinished / history.name).rename(history)
        shutil.rmtree(unfinished)


def create_instance(settings: Settings) -> Path:
    """Make the instance for processes that are about to open it by themselves; its home.

    Runs that died with the processes before them are failed.
    """
    with open_instance(settings) as instance:
        fail_lost_runs(instance)
        return dagster_home(settings)


def daemon_is_running(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon evaluates the sensors, so that nobody else has to."""
    # Dagster itself believes in a daemon for half an hour after its last heartbeat.
    heartbeat = instance.get_daemon_heartbeats().get("SENSOR")
    return heartbeat is not None and time.time() - heartbeat.timestamp < _HEARTBEAT_TOLERANCE_S


def fail_lost_runs(instance: dg.DagsterInstance) -> None:
    """A run whose process was killed stays STARTED for ever: say that it failed.

    Else it would hold one of the two places for ever, and nothing runs any more after two of them.
    """
    under_way = dg.RunsFilter(statuses=[*_UNDER_WAY])
    for run in instance.get_runs(filters=under_way):
        if _is_lost(run):
            instance.report_run_failed(run, "the process of this run is gone")


def _is_lost(run: dg.DagsterRun) -> bool:
    """Its process, or the code server that has it for a child, does not live any more."""
    pid = process_of(run.tags)
    if pid is not None:
        return not is_alive(pid)
    address = json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket")
    if address is None:
        return False  # nobody knows
    with socket.socket(socket.AF_UNIX) as server:
        return server.connect_ex(address) != 0
