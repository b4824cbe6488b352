"""The emulator as a program of its own: what it prints, writes, refuses and leaves behind."""

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launch(state_dir: Path) -> Iterator[Launch]:
    """Start the program on the state directory; whatever still runs is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def launched(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-m", "embedding_assets.emulator"]
        process = subprocess.Popen(
            [*command, "--state-dir", str(state_dir), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield launched
    for process in started:
        process.kill()
        process.communicate()


def test_it_says_where_it_is_and_stops_when_asked(launch: Launch, tmp_path: Path) -> None:
    """One line on stdout, an address file while it runs, and a clean end on SIGTERM."""
    address_file = tmp_path / "address.json"
    process = launch("--latency", "0.5", "--address-file", str(address_file))
    base_url = _base_url(process)
    assert json.loads(address_file.read_text()) == {"base_url": base_url, "pid": process.pid}
    settings = httpx2.get(f"{base_url}/emulator/health").json()["settings"]
    assert settings["latency_s"] == 0.5
    assert _stop(process, signal.SIGTERM) == (0, "", "")
    assert list(tmp_path.glob("address.json*")) == []


def test_it_leaves_the_address_file_of_another_alone(launch: Launch, tmp_path: Path) -> None:
    """An address written meanwhile by a later emulator is not removed; SIGINT ends it as well."""
    address_file = tmp_path / "address.json"
    process = launch("--address-file", str(address_file))
    _base_url(process)
    address_file.write_text("another's")
    assert _stop(process, signal.SIGINT) == (0, "", "")
    assert address_file.read_text() == "another's"


def test_it_refuses_a_directory_in_use(launch: Launch, state_dir: Path) -> None:
    """A second emulator ends with one line and exit code 2; a killed one leaves the way free."""
    first = launch()
    _base_url(first)
    second = launch()
    output, errors = second.communicate()
    assert (second.returncode, output) == (2, "")
    assert errors == f"emulator: another emulator is using {state_dir}\n"
    first.kill()
    first.wait()
    assert _base_url(launch())


def test_it_refuses_a_port_in_use(launch: Launch) -> None:
    """A port that is taken ends it with one line and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = launch("--port", str(port))
        output, errors = process.communicate()
    assert (process.returncode, output) == (2, "")
    assert errors.startswith(f"emulator: cannot serve on 127.0.0.1:{port}: ")
    assert "Address already in use" in errors
    assert errors.count("\n") == 1


def test_it_refuses_a_bad_setting(launch: Launch) -> None:
    """A setting out of range ends it with exit code 2 and names the setting."""
    process = launch("--max-concurrent-jobs", "-1")
    output, errors = process.communicate()
    assert (process.returncode, output) == (2, "")
    assert "max_concurrent_jobs must be a number of 0 or more" in errors


def test_faults_are_in_force_from_the_start(launch: Launch) -> None:
    """Every rule given is; after a restart the same one is not added again, and keeps its count."""
    rule = '{"kind": "call_error", "endpoint": "list", "times": 1}'
    other = '{"kind": "job_failed", "match": "moon"}'
    first = launch("--fault", rule, "--fault", other)
    base_url = _base_url(first)
    assert httpx2.get(f"{base_url}/v1beta/batches?key=test").status_code == 503
    _stop(first, signal.SIGTERM)
    base_url = _base_url(launch("--fault", rule, "--fault", '{"kind": "job_stuck"}'))
    faults = httpx2.get(f"{base_url}/emulator/faults").json()["faults"]
    assert [(fault["kind"], fault["struck"]) for fault in faults] == [
        ("call_error", 1),
        ("job_failed", 0),
        ("job_stuck", 0),
    ]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("{", "bad --fault '{': "),
        ("[]", "bad --fault '[]': a fault is a JSON object"),
        ('{"kind": "meteor"}', "'meteor' is none of error_line, missing_line, "),
        ('{"kind": "job_failed", "times": "often"}', "times must be a whole number, not 'often'"),
    ],
)
def test_it_refuses_a_bad_fault(launch: Launch, rule: str, reason: str) -> None:
    """A rule that makes no sense ends it with one line and exit code 2."""
    process = launch("--fault", rule)
    output, errors = process.communicate()
    assert (process.returncode, output) == (2, "")
    assert reason in errors
    assert errors.count("\n") == 1


def test_it_begins_anew_beside_what_another_version_left(launch: Launch, state_dir: Path) -> None:
    """What is there is kept under another name, in one line on stderr, and is not served."""
    for number in (1, 2):
        state_dir.mkdir()
        with closing(sqlite3.connect(state_dir / "state.db")) as other, other:
            other.execute("CREATE TABLE batches (batch_id TEXT)")
        process = launch()
        base_url = _base_url(process)
        assert httpx2.get(f"{base_url}/emulator/bill").json()["jobs_created"] == 0
        code, _, said = _stop(process, signal.SIGTERM)
        kept = state_dir.with_name(f"{state_dir.name}.old{number}")
        assert (code, said) == (
            0,
            f"emulator: {state_dir} was made by another version; it is kept as {kept.name}, and "
            "everything begins anew\n",
        )
        assert (kept / "state.db").exists()
        shutil.rmtree(state_dir)


def _base_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    words = process.stdout.readline().split()
    assert words[:3] == ["emulator", "ready", "at"]
    return words[3]


def _stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, Any, Any]:
    process.send_signal(number)
    output, errors = process.communicate(timeout=10)
    return process.returncode, output, errors
