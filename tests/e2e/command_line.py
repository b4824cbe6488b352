"""The console script in a data directory of its own, and every process that comes of it.

Belongs here: starting, waiting, ending, and reading what was left on disk.
Does not belong here: expectations.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import httpx2

from embedding_assets.cli.app import main
from embedding_assets.emulator.bill import Bill
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State, StateDirectoryInUse
from tests.forks import PROCESSES

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MONTH = "2026-11"

# By this variable, which children inherit, every process of a test is found again.
_MARK = "E2E_TEST_DIRECTORY"
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
_COMMAND_TIMEOUT_S = 120
_NOBODY = 65534
_LISTENING = "0A"  # in /proc/net/tcp

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T | None], *, timeout_s: float, what: str, every_s: float = 0.1
) -> T:
    """Return the predicate's first true value. Raises AssertionError after the time is up."""
    deadline = time.monotonic() + timeout_s
    while not (found := predicate()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        threading.Event().wait(every_s)
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass(slots=True, kw_only=True)
class CommandLine:
    """``embedding-assets`` with its settings file, its corpus and its data directory."""

    directory: Path
    environ: dict[str, str]
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def docs(self) -> Path:
        return self.directory / "docs"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def config(self) -> Path:
        return self.directory / "settings.toml"

    @property
    def index_path(self) -> Path:
        return self.data / "index.db"

    # --- doing ------------------------------------------------------------------------------

    @property
    def program(self) -> list[str]:
        """The console script, told where its settings are."""
        return [str(BIN / "embedding-assets"), "-c", str(self.config)]

    def run(
        self,
        *arguments: str,
        from_directory: Path | None = None,
        is_unprivileged: bool = False,
        **environ: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without a terminal; if asked to, without root's rights.

        Its process is forked from one that has imported everything, which takes longer than most
        commands; the others here are started as a user starts them.
        """
        words = [*self.program, *arguments]
        directory = from_directory or self.directory
        with TemporaryDirectory() as said:
            stdout, stderr = Path(said, "stdout"), Path(said, "stderr")
            process = PROCESSES.Process(
                target=_be_the_command,
                args=(
                    *(words, directory, {**self.environ, **environ}),
                    *(stdout, stderr, is_unprivileged),
                ),
            )
            process.start()
            process.join(_COMMAND_TIMEOUT_S)
            if process.exitcode is None:
                process.kill()
                raise subprocess.TimeoutExpired(words, _COMMAND_TIMEOUT_S)
            return subprocess.CompletedProcess(
                words, process.exitcode, stdout.read_text(), stderr.read_text()
            )

    def run_program(
        self, arguments: Sequence[str], directory: Path, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run any program in a directory and the scrubbed environment."""
        return subprocess.run(
            arguments,
            cwd=directory,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )

    def start(
        self, *arguments: str, log: Path, terminal: int | None = None, **environ: str
    ) -> subprocess.Popen[str]:
        """Start a command; both outputs go to a log file, or to a terminal if one is given."""
        with log.open("w") as file:
            process = subprocess.Popen(
                [*self.program, *arguments],
                cwd=self.directory,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=file if terminal is None else terminal,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def processes(self) -> dict[int, str]:
        """Every living process of this test, by id, with its command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and self._is_ours(entry):
                    words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    found[int(entry.name)] = " ".join(words).strip()
        return found

    def _is_ours(self, entry: Path) -> bool:
        mark = f"{_MARK}={self.environ[_MARK]}".encode()
        is_zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not is_zombie and mark in (entry / "environ").read_bytes().split(b"\0")

    def listening(self) -> set[str]:
        """Where the living processes of this test listen by TCP, as ``127.0.0.1:3000``."""
        sockets = set().union(*map(_open_files, self.processes()))
        return {address for inode, address in _listening() if f"socket:[{inode}]" in sockets}

    def end_everything(self) -> None:
        """Kill whatever this test started and is still there."""
        for process in self._started:
            process.kill()
            process.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # --- looking ----------------------------------------------------------------------------

    def json(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        return self.json_of(*arguments, exit_code=0)

    def json_of(self, *arguments: str, exit_code: int) -> Any:
        """The same of a command that ends with this code."""
        done = self.run(*arguments, "--json")
        assert done.returncode == exit_code, done.stderr
        return json.loads(done.stdout)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the index as any SQLite client can; no rows while there is no index."""
        if not self.index_path.exists():
            return []
        uri = f"file:{self.index_path}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
            try:
                return connection.execute(query).fetchall()
            except sqlite3.OperationalError:  # no table yet
                return []

    def files_that_have(self, secret: str) -> list[Path]:
        """Files of the data directory, Dagster's included, in which these bytes are."""
        files = [path for path in self.data.rglob("*") if path.is_file()]
        assert len(files) > 10
        return [path for path in files if secret.encode() in path.read_bytes()]

    def bill(self) -> Bill:
        """The built-in emulator's bill, when it has ended."""
        # A process that is ending has no environment any more, but its files for a moment longer.
        return wait_until(self._bill_or_none, timeout_s=10, what="the emulator has let go")

    def _bill_or_none(self) -> Bill | None:
        emulator_dir = self.data / "emulator"
        try:
            with State(emulator_dir, settings=EmulatorSettings(), clock=_long_after) as state:
                return state.bill()
        except StateDirectoryInUse:
            return None


def _be_the_command(
    words: list[str],
    directory: Path,
    environ: Mapping[str, str],
    stdout: Path,
    stderr: Path,
    is_unprivileged: bool,
) -> None:
    """Runs in the forked process."""
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    if is_unprivileged and os.geteuid() == 0:
        os.seteuid(_NOBODY)
    sys.argv = words
    main()


def _open_files(pid: int) -> set[str]:
    """What a process has open, as far as it is still there to say."""
    found = set()
    with suppress(FileNotFoundError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.add(os.readlink(descriptor))
    return found


def _listening() -> Iterator[tuple[str, str]]:
    """Every listening TCP socket of this machine: its inode and its address."""
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTENING:
                host, port = local.split(":")
                words = [bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8)]
                yield inode, f"{socket.inet_ntop(family, b''.join(words))}:{int(port, 16)}"


def _long_after() -> float:
    """Jobs are on the bill when they end: by this time all have."""
    return time.time() + 3600


def a_command_line(directory: Path, environ: Mapping[str, str]) -> CommandLine:
    """A data directory with the settings of most tests: the built-in emulator, small jobs."""
    kept = {name: environ[name] for name in _KEPT_VARIABLES if name in environ}
    made = CommandLine(directory=directory, environ={**kept, _MARK: str(directory)})
    made.docs.mkdir()
    write_settings(made)
    return made


def write_settings(command_line: CommandLine, **sections: Mapping[str, object]) -> None:
    """Write the settings file; ``sections`` add to the usual ones or replace their values."""
    values: dict[str, dict[str, object]] = {
        "corpus": {"paths": [str(command_line.docs)]},
        "gemini": {"base_url": "emulator"},
        "limits": {"max_requests_per_job": 60},
        # What is embedded again to compare would be in the way where nothing is bought twice.
        "publishing": {"agreement_samples": 0},
        "schedule": {"poll_interval_s": 1},
    }
    for section, changes in sections.items():
        values[section] = {**values.get(section, {}), **changes}
    lines = [f"data_dir = {json.dumps(str(command_line.data))}"]
    for section, settings in values.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    command_line.config.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphQL:
    """The web UI's own door."""

    url: str

    def is_up(self) -> bool:
        """Whether it answers and has loaded the code location, which comes some seconds later."""
        try:
            found = self.ask(
                "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
            )
        except httpx2.HTTPError:
            return False
        return bool(found["repositoriesOrError"].get("nodes"))

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The data of an answer. Raises AssertionError for an error."""
        answer = httpx2.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data
