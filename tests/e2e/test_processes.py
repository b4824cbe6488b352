"""Processes that are killed, and the daemon left to itself."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from embedding_assets.emulator.server import running
from embedding_assets.emulator.settings import EmulatorSettings
from tests.e2e.command_line import (
    MONTH,
    CommandLine,
    GraphQL,
    free_port,
    wait_until,
    write_settings,
)
from tests.e2e.web_ui import IMPATIENT
from tests.factories import write_corpus

N_DOCUMENTS = 150
MONTHLY = ("documents", "chunks", "shard_plan", "search_index")
BY_SHARD = ("request_shards", "batch_jobs", "embeddings")

_LAUNCH = """
mutation Launch($p: ExecutionParams!) {
  launchRun(executionParams: $p) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_STATES = """
query States($keys: [AssetKeyInput!]) {
  assetNodes(assetKeys: $keys) {
    assetKey { path }
    assetMaterializations(limit: 100) { partition }
  }
  runsOrError(limit: 100) { ... on Runs { results { jobName status } } }
}
"""


@pytest.fixture
def corpus(command_line: CommandLine) -> CommandLine:
    """A corpus of three batch jobs."""
    write_corpus(
        command_line.docs,
        {f"{n:03}.txt": f"Document number {n} is about topic {n}." for n in range(N_DOCUMENTS)},
    )
    return command_line


def _has_live_jobs(command_line: CommandLine) -> bool:
    return bool(command_line.rows("SELECT 1 FROM batch_jobs WHERE state = 'pending'"))


def _assert_finished(command_line: CommandLine) -> None:
    """The index is whole and nothing was bought twice, in few jobs or many."""
    published = command_line.rows("SELECT count(*), count(DISTINCT uri) FROM published_chunks")
    assert published == [(N_DOCUMENTS, N_DOCUMENTS)]
    bill = command_line.bill()
    assert bill.requests == N_DOCUMENTS
    assert bill.bought_twice == ()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_reindex_takes_the_emulator_along(
    corpus: CommandLine, ending: signal.Signals
) -> None:
    """Ended politely in the middle it leaves no process, and the next run buys nothing twice."""
    log = corpus.directory / "reindex.log"
    process = corpus.start("reindex", log=log)
    wait_until(lambda: _has_live_jobs(corpus), timeout_s=120, what="a live job")
    assert any("embedding_assets.emulator" in words for words in corpus.processes().values())

    process.send_signal(ending)

    assert process.wait(timeout=30) not in (0, -signal.SIGKILL)
    wait_until(lambda: not corpus.processes(), timeout_s=30, what="no process is left")
    assert "Traceback" not in log.read_text()
    assert corpus.rows("SELECT count(*) FROM published_chunks") == [(0,)]

    done = corpus.run("reindex")

    assert done.returncode == 0, done.stderr
    _assert_finished(corpus)


def test_sigterm_ends_a_reindex_that_ignores_ctrl_c(corpus: CommandLine) -> None:
    """Started in the background of a script, and between two runs: it ends cleanly and says so."""
    with running(
        corpus.directory / "gemini", settings=EmulatorSettings(latency_s=1000)
    ) as emulator:
        write_settings(corpus, gemini={"base_url": emulator.base_url})
        log = corpus.directory / "reindex.log"
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a child inherits
        try:
            process = corpus.start("reindex", log=log)
        finally:
            signal.signal(signal.SIGINT, before)
        wait_until(lambda: _has_submitted(corpus), timeout_s=120, what="the run that submits ended")

        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=60) == 130
    last = log.read_text().splitlines()[-1]
    assert last == "note: interrupted; nothing is lost, the same command goes on from here"
    assert "Traceback" not in log.read_text()
    assert _has_live_jobs(corpus)


def _has_submitted(command_line: CommandLine) -> bool:
    """Whether Dagster knows of a run of submit_shards that has ended well."""
    runs = command_line.data / "dagster" / "history" / "runs.db"
    if not runs.exists():
        return False
    query = "SELECT 1 FROM runs WHERE pipeline_name = 'submit_shards' AND status = 'SUCCESS'"
    with closing(sqlite3.connect(f"file:{runs}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query).fetchone() is not None


def test_killed_reindex_takes_the_emulator_along(corpus: CommandLine) -> None:
    """Killed in the middle it leaves no process, and the next run finishes its work."""
    process = corpus.start("reindex", log=corpus.directory / "reindex.log")
    wait_until(lambda: _has_live_jobs(corpus), timeout_s=120, what="a live job")

    process.kill()
    process.wait()

    wait_until(lambda: not corpus.processes(), timeout_s=30, what="no process is left")
    done = corpus.run("reindex")
    assert done.returncode == 0, done.stderr
    _assert_finished(corpus)


def test_emulator_command_serves_other_commands(corpus: CommandLine) -> None:
    """Commands without a key find the emulator that somebody runs, and leave it running."""
    log = corpus.directory / "emulator.log"
    emulator = corpus.start("emulator", "--port", str(free_port()), "--latency", "0.1", log=log)
    wait_until(lambda: "ready" in log.read_text(), timeout_s=30, what="the emulator is ready")

    done = corpus.run("reindex")

    assert done.returncode == 0, done.stderr
    assert emulator.poll() is None
    emulator.send_signal(signal.SIGINT)
    assert emulator.wait(timeout=15) == 0
    wait_until(lambda: not corpus.processes(), timeout_s=30, what="no process is left")
    _assert_finished(corpus)


def test_daemon_alone_does_the_rest(corpus: CommandLine) -> None:
    """With the UI running, one launched reindex ends as a published index without any help.

    All of it listens on loopback alone, and shows the key that is in its environment nowhere.
    """
    port, log, key = free_port(), corpus.directory / "ui.log", "AIza-made-up-key-4712"
    ui = corpus.start("ui", "--port", str(port), log=log, GEMINI_API_KEY=key)
    web = GraphQL(url=f"http://127.0.0.1:{port}")
    wait_until(web.is_up, timeout_s=90, what="the web UI is up")
    assert f"127.0.0.1:{port}" in corpus.listening()
    assert {address.rpartition(":")[0] for address in corpus.listening()} == {"127.0.0.1"}
    assert [words for words in corpus.processes().values() if key in words] == []

    _launch_reindex(web)

    def is_published() -> bool:
        assert ui.poll() is None, log.read_text()
        return corpus.rows("SELECT count(*) FROM published_chunks") == [(N_DOCUMENTS,)]

    wait_until(is_published, timeout_s=200, what="the index is published")
    expected = {
        **{asset: {MONTH} for asset in MONTHLY},
        **{asset: {f"{MONTH}-{n:04}" for n in (1, 2, 3)} for asset in BY_SHARD},
    }
    wait_until(lambda: _materialized(web) == expected, timeout_s=30, what="all is materialized")
    wait_until(lambda: _run_states(web) == {"SUCCESS"}, timeout_s=30, what="every run succeeded")
    ui.send_signal(signal.SIGTERM)
    assert ui.wait(timeout=40) == 0
    wait_until(lambda: not corpus.processes(), timeout_s=30, what="no process is left")
    _assert_finished(corpus)
    said = log.read_text() + _compute_logs(corpus.data)
    assert "Traceback" not in said
    assert "Warning" not in said
    assert key not in said
    assert corpus.files_that_have(key) == []


def _launch_reindex(web: GraphQL) -> None:
    selector = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "embedding_assets.definitions",
        "jobName": "reindex",
    }
    launched = web.ask(
        _LAUNCH,
        p={
            "selector": selector,
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": MONTH}]},
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", json.dumps(launched)


def _materialized(web: GraphQL) -> dict[str, set[str]]:
    """The materialized partitions of every asset."""
    keys = [{"path": [asset]} for asset in (*MONTHLY, *BY_SHARD)]
    return {
        node["assetKey"]["path"][0]: {each["partition"] for each in node["assetMaterializations"]}
        for node in web.ask(_STATES, keys=keys)["assetNodes"]
    }


def _run_states(web: GraphQL) -> set[str]:
    return {run["status"] for run in web.ask(_STATES, keys=[])["runsOrError"]["results"]}


def _compute_logs(data: Path) -> str:
    """What the runs' own processes said."""
    logs = [path for ending in ("out", "err") for path in data.rglob(f"*.{ending}")]
    assert logs
    return "".join(path.read_text(errors="replace") for path in logs)


def test_two_reindexes_at_once(corpus: CommandLine) -> None:
    """Two people who reindex at the same moment end with one index and one bill."""
    log = corpus.directory / "emulator.log"
    corpus.start("emulator", "--port", str(free_port()), "--latency", "0.5", log=log)
    wait_until(lambda: "ready" in log.read_text(), timeout_s=30, what="the emulator is ready")
    logs = [corpus.directory / f"reindex {number}.log" for number in (1, 2)]

    both = [corpus.start("reindex", log=log) for log in logs]

    ends = [process.wait(timeout=120) for process in both]
    assert 0 in ends, [log.read_text() for log in logs]
    assert not any("Traceback" in log.read_text() for log in logs)
    assert corpus.run("reindex").returncode == 0
    corpus.end_everything()
    wait_until(lambda: not corpus.processes(), timeout_s=30, what="no process is left")
    _assert_finished(corpus)


def test_two_daemons_on_one_index(corpus: CommandLine) -> None:
    """Two web UIs with a daemon each, on the same data, submit every shard once."""
    log = corpus.directory / "emulator.log"
    corpus.start("emulator", "--port", str(free_port()), "--latency", "0.5", log=log)
    wait_until(lambda: "ready" in log.read_text(), timeout_s=30, what="the emulator is ready")
    for number in (1, 2):
        port = free_port()
        log = corpus.directory / f"ui {number}.log"
        corpus.start("ui", "--port", str(port), log=log, PYTHONPATH=str(IMPATIENT))
        web = GraphQL(url=f"http://127.0.0.1:{port}")
        wait_until(web.is_up, timeout_s=90, what="the web UI is up")

    done = corpus.run("reindex")

    assert done.returncode == 0, done.stderr
    assert "the Dagster daemon is running" in done.stderr
    corpus.end_everything()
    wait_until(lambda: not corpus.processes(), timeout_s=30, what="no process is left")
    _assert_finished(corpus)
    assert corpus.bill().jobs_created == 3
