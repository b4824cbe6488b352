"""A month through the daemon: time beyond the jobs' own latency, runs and CPU seconds.

    python benchmarks/daemon_month.py [--shards 100] [--failing 2] [--latency 30] [--cores 2]

``embedding-assets ui`` runs on so many cores, the emulator beside it. The schedule fires in the
next minute but one, and nobody touches anything until the jobs of the failing shards have failed as
often as the settings allow. Then the fault is lifted and a backfill of the red partitions launched,
as a person does with *Materialize… → Failed*. It ends when the index is published.

The jobs' own latency is the time in which at least one was under way; the rest is ours.
"""

import argparse
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx2

from embedding_assets.cli.processes import child

REQUESTS_PER_SHARD = 100
PATIENCE_S = 1800
COMMAND = Path(sys.executable).with_name("embedding-assets")
WORDS = (
    "amber",
    "basin",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "gravel",
    "harbour",
    "island",
    "kettle",
)
_ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

T = TypeVar("T")

_RUNS = "{ runsOrError(limit: 1000) { ... on Runs { results { jobName status } } } }"
_BACKFILL = """
mutation Backfill($p: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $p) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_FAILED = """
{ assetNodeOrError(assetKey: {path: ["batch_jobs"]}) { ... on AssetNode {
    assetPartitionStatuses { ... on DefaultPartitionStatuses { failedPartitions } } } } }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where everything of one measurement is."""

    directory: Path
    port: int
    emulator_port: int

    @property
    def config(self) -> Path:
        return self.directory / "settings.toml"

    @property
    def index(self) -> Path:
        return self.directory / "data" / "index.db"

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """What Dagster's webserver answers."""
        url = f"http://127.0.0.1:{self.port}/graphql"
        answer = httpx2.post(url, json={"query": query, "variables": variables}, timeout=60).json()
        if "errors" in answer:
            raise SystemExit(f"the webserver says {answer['errors']}")
        data: dict[str, Any] = answer["data"]
        return data

    def emulator(self, method: str, what: str, body: object = None) -> dict[str, Any]:
        """What the emulator answers on its own endpoints."""
        url = f"http://127.0.0.1:{self.emulator_port}/emulator/{what}"
        answer = httpx2.request(method, url, json=body, timeout=60)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def number(self, query: str) -> int:
        """A number from the index; 0 before there is one."""
        if not self.index.exists():
            return 0
        with (
            closing(sqlite3.connect(f"file:{self.index}?mode=ro", uri=True)) as connection,
            suppress(sqlite3.OperationalError),  # no table yet
        ):
            return int(connection.execute(query).fetchone()[0])
        return 0

    def backfill(self, shards: list[str]) -> None:
        """What *Materialize… → Failed → Launch backfill* does."""
        parameters = {"assetSelection": [{"path": ["batch_jobs"]}], "partitionNames": shards}
        launched = self.ask(_BACKFILL, p=parameters)["launchPartitionBackfill"]
        if launched["__typename"] != "LaunchBackfillSuccess":
            raise SystemExit(f"no backfill: {launched}")

    def ended_runs(self) -> list[tuple[str, str]]:
        """Job and status of every run; none while one is under way."""
        runs = self.ask(_RUNS)["runsOrError"]["results"]
        found = [(run["jobName"], run["status"]) for run in runs]
        return found if all(status in _ENDED for _, status in found) else []

    def failed_partitions(self) -> list[str]:
        """The red partitions of batch_jobs."""
        statuses = self.ask(_FAILED)["assetNodeOrError"]["assetPartitionStatuses"]
        return sorted(statuses["failedPartitions"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--failing", type=int, default=2, help="of them, until they are backfilled")
    parser.add_argument("--latency", type=float, default=30, help="of every job, in seconds")
    parser.add_argument("--cores", type=int, default=2, help="for webserver, daemon and runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daemon-month-") as name:
        site = Site(directory=Path(name), port=_free_port(), emulator_port=_free_port())
        measure(site, arguments)


def measure(site: Site, arguments: argparse.Namespace) -> None:
    """One month, from the tick to the published index."""
    n_chunks = arguments.shards * REQUESTS_PER_SHARD
    write_corpus(site.directory / "docs", n_chunks)
    step = max(1, arguments.shards // max(1, arguments.failing))
    numbers = range(1, arguments.failing * step + 1, step)
    bad = [f"{datetime.now(UTC):%Y-%m}-{number:04}" for number in numbers]
    n_good = n_chunks - len(bad) * REQUESTS_PER_SHARD
    with emulator(site, arguments.latency):
        for shard in bad:
            site.emulator("POST", "faults", {"kind": "job_failed", "match": f"/{shard}/"})
        tick = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=2)
        write_settings(site, tick)
        print(f"{n_chunks:,} requests; the schedule fires at {tick:%H:%M} UTC", flush=True)
        with web_ui(site, n_cores=arguments.cores) as ui:
            planned = wait(lambda: site.number("SELECT count(*) FROM shards") > 0, "a plan")
            ready = wait(
                lambda: site.number("SELECT count(*) FROM vectors") >= n_good, "the good shards"
            )
            red = wait(lambda: site.failed_partitions() == bad, f"{bad} are red")
            if bad:
                site.emulator("DELETE", "faults")
                site.backfill(bad)
            published = wait(
                lambda: site.number("SELECT count(*) FROM published_chunks") == n_chunks,
                "the published index",
            )
            runs = wait(site.ended_runs, "the end of every run")[1]
            cpu_s = cpu_seconds(ui)
        bill = site.emulator("GET", "bill")
    under_way_s = under_way(site.index)
    start = tick.timestamp()
    print(f"tick to plan               {planned[0] - start:.0f} s")
    print(f"tick to good shards in     {ready[0] - start:.0f} s")
    print(f"tick to red partitions     {red[0] - start:.0f} s")
    print(f"backfill to published      {published[0] - red[0]:.0f} s")
    print(f"tick to published          {published[0] - start:.0f} s")
    print(f"  with a job under way     {under_way_s:.0f} s")
    print(f"  beyond that              {published[0] - start - under_way_s:.0f} s")
    print(f"CPU of webserver, daemon and runs, their start included: {cpu_s:.0f} s")
    print(f"runs                       {len(runs)}")
    for (job, status), number in sorted(Counter(runs).items()):
        print(f"  {job:<24} {number} {status}")
    print(f"jobs created               {bill['jobs_created']}")
    print(f"requests billed            {bill['requests']:,}, twice: {len(bill['bought_twice'])}")


def under_way(index: Path) -> float:
    """Seconds in which at least one job was under way, by the ledger."""
    query = (
        "SELECT submitted_at, ended_at FROM batch_jobs "
        "WHERE submitted_at IS NOT NULL AND ended_at IS NOT NULL ORDER BY submitted_at"
    )
    with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as connection:
        rows = connection.execute(query).fetchall()
    total = 0.0
    until = datetime.min.replace(tzinfo=UTC)
    for submitted_at, ended_at in ((_time(a), _time(b)) for a, b in rows):
        total += max(0.0, (ended_at - max(submitted_at, until)).total_seconds())
        until = max(until, ended_at)
    return total


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wait(look: Callable[[], T], what: str) -> tuple[float, T]:
    """The first true thing that is seen, and when."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE_S} s in vain for {what}")
        time.sleep(0.2)
    return time.time(), found


# --- corpus, settings, processes ----------------------------------------------------------------


def write_corpus(docs: Path, n_documents: int) -> None:
    """Documents of one chunk each, some 1,500 characters."""
    docs.mkdir()
    random = Random(0)
    for number in range(n_documents):
        words = " ".join(random.choices(WORDS, k=220))
        (docs / f"{number:05}.txt").write_text(f"Document {number}. {words}", encoding="utf-8")


def write_settings(site: Site, tick: datetime) -> None:
    """The defaults, but for small jobs and the moment of the schedule."""
    site.config.write_text(
        f"""
        data_dir = "{site.directory / "data"}"
        [corpus]
        paths = ["{site.directory / "docs"}"]
        [gemini]
        base_url = "http://127.0.0.1:{site.emulator_port}"
        tier = 3
        [limits]
        max_requests_per_job = {REQUESTS_PER_SHARD}
        [schedule]
        cron = "{tick.minute} {tick.hour} * * *"
        first_month = "{tick:%Y-%m}"
        """,
        encoding="utf-8",
    )


@contextmanager
def emulator(site: Site, latency_s: float) -> Iterator[None]:
    """Gemini's part, whose CPU time is not counted."""
    arguments = [
        "embedding_assets.emulator",
        f"--state-dir={site.directory / 'emulator'}",
        f"--port={site.emulator_port}",
        f"--latency={latency_s}",
        "--max-enqueued-tokens=10000000",
    ]
    with child(arguments, is_piped=True) as process:
        if process.stdout:
            process.stdout.readline()
        yield


@contextmanager
def web_ui(site: Site, *, n_cores: int) -> Iterator[int]:
    """``embedding-assets ui`` on some of the cores; its process id."""
    cores = os.sched_getaffinity(0)
    with (site.directory / "ui.log").open("w") as log:
        os.sched_setaffinity(0, sorted(cores)[:n_cores])
        process = subprocess.Popen(
            [COMMAND, "-c", site.config, "ui", "--port", str(site.port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.sched_setaffinity(0, cores)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def cpu_seconds(pid: int) -> float:
    """What a process and all that came of it have used, those that have ended included."""
    parents = {}
    used = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                used[int(entry.name)] = sum(map(int, fields[11:15]))
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used[member] for member in family) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
