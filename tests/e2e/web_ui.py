"""A running ``embedding-assets ui``: webserver, daemon and emulator, each asked by its own door.

Belongs here: starting and ending it, launching, and what Dagster and the emulator have recorded.
Does not belong here: expectations, except that the servers complain of nothing; and what a person
sees (tests/browser).
"""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from embedding_assets.gemini.connection import running_emulator
from tests.e2e.command_line import (
    MONTH,
    CommandLine,
    GraphQL,
    a_command_line,
    free_port,
    wait_until,
    write_settings,
)
from tests.factories import write_corpus

T = TypeVar("T")

MONTHLY = ("documents", "chunks", "shard_plan", "search_index")
BY_SHARD = ("request_shards", "batch_jobs", "embeddings")
LOCATION = "embedding_assets.definitions"

# A job takes five requests, and even few go by the Batch API: a small corpus makes many shards.
SMALL_JOBS: Mapping[str, object] = {"max_requests_per_job": 5, "min_batch_requests": 0}

# On PYTHONPATH it makes a daemon look around every second, and runs begin at once.
IMPATIENT = Path(__file__).with_name("impatient")

# Everything takes seconds; on a busy machine, where runs wait for each other, minutes.
PATIENCE_S = 240
_PACE_S = 0.5  # every question costs the webserver some hundredths of a second
_STOP_S = 40

_COMPLAINT = re.compile(r"WARNING|ERROR|CRITICAL|Traceback|Warning:")
_KNOWN_COMPLAINTS = (
    # Events of runs, which have a log of their own: a failed job is not the daemon's complaint.
    " - dagster - WARNING - ",
    " - dagster - ERROR - ",
    # Dagster's daemon loads the code anew every minute; the process it had before ends like this.
    "dagster.code_server - \x1b[34mWARNING\x1b[0m - No heartbeat received in 20 seconds",
    # A backfill of embeddings whose jobs still run: they are collected when those are done.
    "has partitions with no materialization status despite all runs being complete",
)

_ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
_REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": LOCATION}

_LAUNCH = """
mutation Launch($p: ExecutionParams!) {
  launchRun(executionParams: $p) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
_REEXECUTE = """
mutation Reexecute($parent: String!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $parent, strategy: ALL_STEPS}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
_TERMINATE = """
mutation Terminate($run: String!) {
  terminateRun(runId: $run) { __typename ... on TerminateRunFailure { message } }
}
"""
_BACKFILL = """
mutation Backfill($p: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $p) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""
_WIPE = """
mutation Wipe($ranges: [PartitionsByAssetSelector!]!) {
  wipeAssets(assetPartitionRanges: $ranges) {
    __typename ... on PythonError { message } ... on UnsupportedOperationError { message }
  }
}
"""
_RUNS = """
{ runsOrError(limit: 500) { ... on Runs { results { runId jobName status tags { key value } } } } }
"""
_BACKFILLS = """
{ partitionBackfillsOrError(limit: 100) { ... on PartitionBackfills { results { id status } } } }
"""
_PARTITIONS = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetPartitionStatuses {
      ... on DefaultPartitionStatuses {
        missing: unmaterializedPartitions
        materializing: materializingPartitions
        materialized: materializedPartitions
        failed: failedPartitions
      }
      ... on TimePartitionStatuses { ranges { startKey status } }
    }
    assetMaterializations(limit: 500) { partition }
  } }
}
"""
_SCHEDULE = """
query Schedule($schedule: ScheduleSelector!) {
  scheduleOrError(scheduleSelector: $schedule) { ... on Schedule {
    scheduleState { id status ticks(limit: 50) { status timestamp runIds } }
  } }
}
"""
_STOP_SCHEDULE = """
mutation Stop($id: String!) {
  stopRunningSchedule(id: $id) {
    __typename ... on PythonError { message } ... on UnauthorizedError { message }
  }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as Dagster has recorded it, newest first in lists."""

    run_id: str
    job: str
    status: str
    tags: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    def covers(self, shards: Sequence[str]) -> tuple[str, ...]:
        """Those of these shards, given in order, that the run was launched for."""
        one = self.tags.get("dagster/partition", "")
        first = self.tags.get("dagster/asset_partition_range_start", one)
        last = self.tags.get("dagster/asset_partition_range_end", one)
        return tuple(key for key in shards if first <= key <= last)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorAdmin:
    """The emulator's own endpoints."""

    url: str

    def fault(self, kind: str, **values: object) -> None:
        """Put a rule in force."""
        self._ask("POST", "faults", {"kind": kind, **values})

    def lift_faults(self) -> None:
        self._ask("DELETE", "faults")

    def change(self, **settings: object) -> None:
        """Change settings, as in ``latency_s=5``; jobs that are there keep theirs."""
        self._ask("PATCH", "settings", settings)

    def bill(self) -> dict[str, Any]:
        """What was bought so far: jobs_created, requests, bought_twice and more."""
        return self._ask("GET", "bill")

    def _ask(self, method: str, what: str, body: object = None) -> dict[str, Any]:
        answer = httpx2.request(method, f"{self.url}/emulator/{what}", json=body, timeout=30)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found


@dataclass(slots=True, kw_only=True)
class WebUI:
    """One data directory with its web UI running."""

    command_line: CommandLine
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        """What webserver, daemon, code servers and emulator said."""
        return self.command_line.directory / "ui.log"

    @property
    def dagster_home(self) -> Path:
        return self.command_line.data / "dagster"

    @property
    def emulator(self) -> EmulatorAdmin:
        address = running_emulator(self.command_line.data / "emulator" / "address.json")
        assert address is not None, self.log_path.read_text()
        return EmulatorAdmin(url=address)

    @property
    def _web(self) -> GraphQL:
        return GraphQL(url=self.url)

    # --- starting and ending ----------------------------------------------------------------

    def start(self) -> None:
        """Start it, and wait until it answers and knows the assets."""
        arguments = ("ui", "--port", str(self.port))
        self.process = self.command_line.start(
            *arguments, log=self.log_path, PYTHONPATH=str(IMPATIENT)
        )
        _wait_until(self._is_up, "the web UI is up")

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_path.read_text()
        return self._web.is_up()

    def stop(self) -> None:
        """End it as Ctrl-C does, with everything it started."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(timeout=_STOP_S) == 0, self.log_path.read_text()
        wait_until(
            lambda: not self.command_line.processes(), timeout_s=_STOP_S, what="all has ended"
        )

    def complaints(self) -> list[str]:
        """The lines of the log that are warnings or errors, without those we cannot help."""
        return [
            line
            for line in self.log_path.read_text(errors="replace").splitlines()
            if _COMPLAINT.search(line) and not any(known in line for known in _KNOWN_COMPLAINTS)
        ]

    # --- doing ------------------------------------------------------------------------------

    def write(self, texts: Sequence[str]) -> None:
        """A document for each of these; one chunk, if it is short."""
        write_corpus(self.command_line.docs, {f"{n:03}.txt": text for n, text in enumerate(texts)})

    def launch(self, job: str, *, month: str | None = None, shards: Sequence[str] = ()) -> str:
        """Launch a job for a month or for a range of shards; the run's id."""
        tags = {"dagster/partition": month} if month else {}
        if shards:
            tags["dagster/asset_partition_range_start"] = shards[0]
            tags["dagster/asset_partition_range_end"] = shards[-1]
        params = {
            "selector": {**_REPOSITORY, "jobName": job},
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
        }
        return _run_id(self._web.ask(_LAUNCH, p=params)["launchRun"])

    def reindex(self) -> str:
        """Launch the monthly job, as the schedule does; sensors do the rest."""
        return self.launch("reindex", month=MONTH)

    def reexecute(self, run_id: str) -> str:
        """Run all of a run again; the new run's id."""
        return _run_id(self._web.ask(_REEXECUTE, parent=run_id)["launchRunReexecution"])

    def terminate(self, run_id: str) -> None:
        """Ask a run to stop."""
        answer = self._web.ask(_TERMINATE, run=run_id)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", json.dumps(answer)

    def backfill_everything(self) -> str:
        """Launch a backfill of all partitions of all assets; its id."""
        params = {"assetSelection": _keys(*MONTHLY, *BY_SHARD), "allPartitions": True}
        answer = self._web.ask(_BACKFILL, p=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", json.dumps(answer)
        return str(answer["backfillId"])

    def stop_schedule(self) -> None:
        """Switch the schedule off."""
        answer = self._web.ask(_STOP_SCHEDULE, id=self.schedule()["id"])["stopRunningSchedule"]
        assert answer["__typename"] == "ScheduleStateResult", json.dumps(answer)

    def wipe(self, *assets: str) -> None:
        """Forget every materialization of these assets."""
        ranges = [{"assetKey": key} for key in _keys(*assets)]
        answer = self._web.ask(_WIPE, ranges=ranges)["wipeAssets"]
        assert answer["__typename"] == "AssetWipeSuccess", json.dumps(answer)

    # --- looking ----------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        return [
            Run(
                run_id=found["runId"],
                job=found["jobName"],
                status=found["status"],
                tags={tag["key"]: tag["value"] for tag in found["tags"]},
            )
            for found in self._web.ask(_RUNS)["runsOrError"]["results"]
        ]

    def backfill_states(self) -> dict[str, str]:
        """The state of every backfill by its id."""
        found = self._web.ask(_BACKFILLS)["partitionBackfillsOrError"]["results"]
        return {each["id"]: each["status"] for each in found}

    def partitions(self, asset: str) -> dict[str, str]:
        """The colour of every partition: materialized, failed, materializing or missing."""
        found = self._ask_partitions(asset)["assetPartitionStatuses"]
        if "ranges" in found:
            return {each["startKey"]: each["status"].lower() for each in found["ranges"]}
        return {key: state for state, keys in found.items() for key in keys}

    def materializations(self, asset: str) -> list[str]:
        """The partition of every materialization ever, in order of the keys."""
        found = self._ask_partitions(asset)["assetMaterializations"]
        return sorted(each["partition"] for each in found)

    def _ask_partitions(self, asset: str) -> dict[str, Any]:
        (key,) = _keys(asset)
        found: dict[str, Any] = self._web.ask(_PARTITIONS, key=key)["assetNodeOrError"]
        return found

    def schedule(self) -> dict[str, Any]:
        """The schedule's id, status and ticks, the newest first with timestamp and runIds."""
        selector = {**_REPOSITORY, "scheduleName": "monthly_reindex"}
        found = self._web.ask(_SCHEDULE, schedule=selector)["scheduleOrError"]
        state: dict[str, Any] = found["scheduleState"]
        return state

    def n_published(self) -> int:
        """The number of chunks that readers see."""
        rows = self.command_line.rows("SELECT count(*) FROM published_chunks")
        return int(rows[0][0]) if rows else 0

    # --- waiting ----------------------------------------------------------------------------

    def wait_for_partitions(self, asset: str, **numbers: int) -> None:
        """Wait until so many partitions have these colours, and none another."""
        _wait_until(
            lambda: Counter(self.partitions(asset).values()) == numbers, f"{asset} has {numbers}"
        )

    def wait_for_publication(self, n_chunks: int) -> None:
        """Wait until readers see so many chunks, and the web UI says that they do."""
        _wait_until(lambda: self.n_published() == n_chunks, f"{n_chunks} chunks are published")
        self.wait_for_runs()

    def wait_for_runs(self) -> list[Run]:
        """Wait until no run is queued or under way; all of them."""

        def ended() -> list[Run] | None:
            runs = self.runs()
            return runs if all(run.has_ended for run in runs) else None

        return _wait_until(ended, "every run has ended")

    def wait_for_run(self, run_id: str) -> Run:
        """Wait until a run has ended."""

        def ended() -> Run | None:
            return next((r for r in self.runs() if r.run_id == run_id and r.has_ended), None)

        return _wait_until(ended, f"run {run_id} has ended")

    def wait_for_backfill(self, backfill_id: str) -> str:
        """Wait until a backfill has come to an end; the state it ended in."""

        def ended() -> str | None:
            state = self.backfill_states()[backfill_id]
            return None if state in ("REQUESTED", "CANCELING", "FAILING") else state

        return _wait_until(ended, f"backfill {backfill_id} has ended")


def _wait_until(predicate: Callable[[], T | None], what: str) -> T:
    return wait_until(predicate, timeout_s=PATIENCE_S, what=what, every_s=_PACE_S)


def _run_id(answer: Mapping[str, Any]) -> str:
    assert answer["__typename"] == "LaunchRunSuccess", json.dumps(answer)
    return str(answer["run"]["runId"])


def _keys(*assets: str) -> list[dict[str, list[str]]]:
    return [{"path": [asset]} for asset in assets]


def texts(n: int) -> list[str]:
    """So many different short texts."""
    return [f"Number {number:03} is about topic {number}." for number in range(n)]


@contextmanager
def a_web_ui(
    directory: Path, environ: Mapping[str, str], **sections: Mapping[str, object]
) -> Iterator[WebUI]:
    """A new data directory with its web UI running; ``sections`` change settings.

    When the block has ended well, nothing was complained of so far, and nothing is left running.
    """
    command_line = a_command_line(directory, environ)
    try:
        limits = {**SMALL_JOBS, **sections.get("limits", {})}
        write_settings(command_line, **{**sections, "limits": limits})
        ui = WebUI(command_line=command_line)
        ui.start()
        yield ui
        complaints = ui.complaints()  # ended in the middle of a tick, Dagster complains, too
        ui.stop()
        assert not complaints, "\n".join(complaints)
    finally:
        command_line.end_everything()
