"""Every command of docs/operations.md, run in the order in which it stands there."""

import configparser
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from embedding_assets.gemini.connection import running_emulator
from tests.e2e.command_line import (
    BIN,
    REPOSITORY,
    CommandLine,
    GraphQL,
    free_port,
    wait_until,
    write_settings,
)
from tests.e2e.web_ui import IMPATIENT
from tests.factories import write_corpus

PAGE = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
LIMITS = {"max_requests_per_job": 5, "min_batch_requests": 0, "max_job_attempts": 1}
FAILING, UNCOLLECTED = ("2026-11-0002", "2026-11-0005"), "2026-11-0004"
_FAILED = """
query Failed($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetPartitionStatuses { ... on DefaultPartitionStatuses { failedPartitions } }
  } }
}
"""
PATIENCE_S = 240


def blocks(language: str) -> dict[str, list[str]]:
    """The page's blocks of a language by section, in order."""
    found: dict[str, list[str]] = {}
    for section in PAGE.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        found[title] = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return {title: codes for title, codes in found.items() if codes}


@dataclass(slots=True, kw_only=True)
class Shell:
    """Runs the page's commands as someone would type them: variables stay from one to the next."""

    command_line: CommandLine
    environ: dict[str, str]
    port: int = field(default_factory=free_port)
    _ui: "subprocess.Popen[str] | None" = None

    @property
    def directory(self) -> Path:
        return self.command_line.directory

    def type(self, block: str) -> str:
        """Run a block, which must succeed; what it printed. Its ``ui`` is left running."""
        script, ui, rest = block.partition(".venv/bin/embedding-assets ui")
        assert ui == "" or rest.partition("#")[0].strip() == "", "nothing is typed after the ui"
        # What setup would install is installed: this very environment.
        script = re.sub(r"^make setup$", "make --dry-run setup", script, flags=re.MULTILINE)
        after = self.directory / "environment"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{script}\nenv -0 > {shlex.quote(str(after))}"],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        pairs = after.read_text().rstrip("\0").split("\0")
        self.environ = dict(pair.split("=", 1) for pair in pairs)
        if ui:
            self.start_ui([str(BIN / "embedding-assets"), "ui"])
        return done.stdout

    def start_ui(self, arguments: list[str]) -> None:
        """Start the web UI on a free port, and wait until it answers."""
        with (self.directory / "ui.log").open("a") as log:
            self._ui = subprocess.Popen(
                [*arguments, "--port", str(self.port)],
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        wait_until(self._web.is_up, timeout_s=PATIENCE_S, what="the web UI is up")

    @property
    def _web(self) -> GraphQL:
        return GraphQL(url=f"http://127.0.0.1:{self.port}")

    def stop_ui(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ctrl-C, or what else ends it; it goes without complaint."""
        assert self._ui is not None
        self._ui.send_signal(how)
        assert self._ui.wait(timeout=PATIENCE_S) == 0
        wait_until(lambda: not self.command_line.processes(), timeout_s=30, what="all have ended")

    def kill_ui(self) -> None:
        """If a test left it running."""
        if self._ui is not None:
            self._ui.kill()
            self._ui.wait()

    def emulator(self, method: str, what: str, **body: object) -> None:
        """Ask something of the emulator that answers here."""
        url = running_emulator(self.command_line.data / "emulator" / "address.json")
        answer = httpx2.request(method, f"{url}/emulator/{what}", json=body, timeout=30)
        assert answer.is_success, answer.text

    def wait_for_failures(self, asset: str, shards: Sequence[str]) -> None:
        """Wait until just these partitions are red."""

        def is_so() -> bool:
            node = self._web.ask(_FAILED, key={"path": [asset]})["assetNodeOrError"]
            return sorted(node["assetPartitionStatuses"]["failedPartitions"]) == sorted(shards)

        wait_until(is_so, timeout_s=PATIENCE_S, what=f"{asset}: {shards} are red")

    def wait_for(self, query: str, expected: object, what: str) -> None:
        """Wait for a number in the index."""
        wait_until(
            lambda: self.command_line.rows(query) == [(expected,)], timeout_s=PATIENCE_S, what=what
        )

    def wait_for_publication(self, n_chunks: int) -> None:
        """Wait until readers see so many chunks, and nothing is being built."""
        self.wait_for("SELECT count(*) FROM published_chunks", n_chunks, f"{n_chunks} published")
        building = "SELECT count(*) FROM generations WHERE state IN ('draft', 'building')"
        self.wait_for(building, 0, "nothing is being built")


@pytest.fixture
def shell(command_line: CommandLine) -> Iterator[Shell]:
    """A directory as after a clone and ``make setup``, with the emulator in Gemini's place."""
    directory = command_line.directory
    (directory / ".venv").symlink_to(sys.prefix)
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "workspace.yaml"):
        (directory / name).symlink_to(REPOSITORY / name)
    write_settings(command_line, limits=LIMITS)
    (directory / "embedding_assets.toml").symlink_to(command_line.config)
    (directory / "home").mkdir()
    made = Shell(
        command_line=command_line,
        environ={
            **command_line.environ,
            "HOME": str(directory / "home"),
            "COLUMNS": "200",
            "PYTHONPATH": str(IMPATIENT),
        },
    )
    yield made
    made.kill_ui()


MONTHLY = ("Start", "The schedule", "Watch", "Failed partitions", "Resubmit", "Roll back")
A_COPY = "A copy, or a backup of an earlier day"
SELDOM = ("Rotate the key", "Move the data directory", A_COPY, "Upgrade")


def test_every_section_is_tried() -> None:
    """A section with commands that no test runs is noticed."""
    assert tuple(blocks("sh")) == MONTHLY + SELDOM


@pytest.mark.timeout(900)
def test_commands_of_every_month(shell: Shell) -> None:
    """From the first start to a roll-back, with what goes wrong on the way."""
    page = blocks("sh")
    written(shell, 4, "first")

    start, validate = page["Start"]
    shell.type(start)
    shell.type(validate)

    ask, here, approved = page["The schedule"]
    assert "chunks" in shell.type(ask)
    shell.wait_for_publication(4)
    shell.type(here)
    shell.type(approved)

    watch, alert = page["Watch"]
    assert "published" in shell.type(watch)
    assert "published" in shell.type(alert)

    some_fail(shell, ask)
    resubmit, collect, read_again = page["Failed partitions"]
    shell.type(resubmit)
    shell.wait_for("SELECT count(*) FROM batch_jobs WHERE state = 'collected'", 6, "all but one")
    shell.type(collect)
    shell.wait_for_publication(29)
    assert "read: 1 answer" in shell.type(read_again)

    retry, again = page["Resubmit"]
    shell.emulator("DELETE", "faults")
    assert "poison" in shell.type(retry)
    shell.type(again)
    shell.wait_for_publication(30)

    (back_and_forth,) = page["Roll back"]
    assert "generation 4" in shell.type(back_and_forth)


@pytest.mark.timeout(900)
def test_commands_of_rarer_days(shell: Shell) -> None:
    """Another key, another place, another version: the index is served before and after."""
    page = blocks("sh")
    written(shell, 4, "first")
    shell.type(".venv/bin/embedding-assets reindex")

    (rotated,) = page["Rotate the key"]
    shell.type(rotated)

    shell.stop_ui()
    (moved,) = page["Move the data directory"]
    shell.type(moved)
    assert not (shell.directory / "data").exists()
    status = shell.type(".venv/bin/embedding-assets status")
    assert "published" in status

    (decided,) = page[A_COPY]
    said = shell.type(decided)
    assert "goes on under its id" in said
    assert "goes on under the new id" in said

    shell.stop_ui()
    (upgraded,) = page["Upgrade"]
    shell.type(upgraded)
    shell.stop_ui()


def written(shell: Shell, n: int, what: str) -> None:
    """So many more documents of one chunk."""
    texts = {f"{what} {k}.txt": f"The {what} lantern {k} is lit at dusk." for k in range(n)}
    write_corpus(shell.command_line.docs, texts)


def some_fail(shell: Shell, begin: str) -> None:
    """A reindex, begun by this block: two failed jobs, lost results, and a text that is refused."""
    for key in FAILING:
        shell.emulator("POST", "faults", kind="job_failed", match=f"/{key}/")
    shell.emulator("POST", "faults", kind="error_line", match="poison", code=3)
    shell.emulator("PATCH", "settings", latency_s=10)
    written(shell, 25, "second")
    written(shell, 1, "poison")
    shell.type(begin)
    obstacle = wait_until(
        lambda: result_path(shell, UNCOLLECTED), timeout_s=PATIENCE_S, what="its job is there"
    )
    obstacle.mkdir(parents=True)
    shell.wait_for_failures("batch_jobs", FAILING)
    shell.wait_for_failures("embeddings", (UNCOLLECTED,))
    obstacle.rmdir()
    shell.emulator("DELETE", "faults")
    shell.emulator("POST", "faults", kind="error_line", match="poison", code=3)
    shell.emulator("PATCH", "settings", latency_s=0)


def result_path(shell: Shell, key: str) -> Path | None:
    """Where the results of a shard's job will be, as soon as it has one."""
    jobs = shell.command_line.rows(
        "SELECT key, attempt, substr(requests_sha256, 1, 16) FROM batch_jobs"
        " JOIN shards USING (shard_id) WHERE job_name IS NOT NULL"
    )
    names = {shard: f"{shard}-{attempt}-{digest}.jsonl" for shard, attempt, digest in jobs}
    return shell.command_line.data / "results" / names[key] if key in names else None


def test_the_unit_starts_and_stops_the_web_ui(shell: Shell) -> None:
    """What systemd would run starts, and ends by its signal without an error."""
    (text,) = blocks("ini")["systemd"]
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program == f"{service['WorkingDirectory']}/.venv/bin/embedding-assets"
    shell.start_ui([str(BIN / "embedding-assets"), *arguments])
    shell.stop_ui(signal.SIGTERM)
    assert os.listdir(shell.command_line.data / "dagster")
