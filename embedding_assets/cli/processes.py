"""Child processes: the emulator, the webserver and the daemon.

Belongs here: starting them so that they end with us, and knowing when they are ready.
Does not belong here: what they do.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from embedding_assets.errors import ProcessError
from embedding_assets.gemini.connection import running_emulator
from embedding_assets.settings.values import Settings

LOOPBACK = "127.0.0.1"

_CODE_LOCATION = "embedding_assets.definitions"
_PR_SET_PDEATHSIG = 1
_WATCH_INTERVAL_S = 0.5
_STOP_TIMEOUT_S = 10


@contextmanager
def child(
    arguments: Sequence[str], *, environ: Mapping[str, str] | None = None, is_piped: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own group, ended (with its own children) when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE if is_piped else None,
        text=True,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process and its group: politely first."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def _die_with_parent() -> None:
    """Runs in the child: a killed parent must not leave it behind (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_DFL)


def check_port(host: str, port: int) -> None:
    """Raises ProcessError if something else listens there, or the host is not this machine's."""
    try:
        [(family, *_, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as exc:
        raise ProcessError(
            f"port {port} on {host} cannot be used ({exc.strerror}); choose another one "
            "with --port, or --host"
        ) from exc


def place_of(host: str, port: int) -> str:
    """As it stands in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def emulator(settings: Settings) -> Iterator[str]:
    """The address of an emulator of this data directory: the running one, or a new child."""
    address = running_emulator(settings.emulator_address_file)
    if address is not None:
        yield address
        return
    with child(_emulator_arguments(settings, port=0), is_piped=True) as process:
        ready = process.stdout.readline() if process.stdout else ""
        if not ready:
            raise ProcessError("the emulator did not start; it said why above")
        yield ready.strip().rpartition(" ")[2]


def run_emulator(settings: Settings, *, port: int, latency_s: float) -> int:
    """Run the emulator until it ends, or until Ctrl-C; its exit code."""
    arguments = [*_emulator_arguments(settings, port=port), f"--latency={latency_s}"]
    with child(arguments) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            return 0


def _emulator_arguments(settings: Settings, *, port: int) -> list[str]:
    """The emulator enforces the limits that the settings take for granted."""
    return [
        "embedding_assets.emulator",
        f"--state-dir={settings.emulator_dir}",
        f"--address-file={settings.emulator_address_file}",
        f"--host={LOOPBACK}",
        f"--port={port}",
        f"--max-concurrent-jobs={settings.limits.max_concurrent_jobs}",
        f"--max-enqueued-tokens={settings.max_enqueued_tokens}",
        f"--max-sync-requests-per-minute={settings.limits.sync_requests_per_minute}",
    ]


def run_web_ui(
    *,
    host: str,
    port: int,
    names: Iterable[str],
    home: Path,
    on_start: Callable[[str], None],
) -> None:
    """Run webserver and daemon until Ctrl-C; raises ProcessError if one ends by itself.

    ``names`` are host names by which it may be asked for, beside those of this machine.
    """
    environ = {"DAGSTER_HOME": str(home)}
    webserver = [
        "embedding_assets.defs.webserver",
        f"--module={_CODE_LOCATION}",
        f"--host={host}",
        f"--port={port}",
        *(f"--allow-host={name}" for name in names),
    ]
    daemon = ["dagster._daemon", "run", "-m", _CODE_LOCATION]
    with (
        child(webserver, environ=environ) as web_process,
        child(daemon, environ=environ) as daemon_process,
        suppress(KeyboardInterrupt),
    ):
        on_start(
            f"the web UI will be at http://{place_of(host, port)} in some seconds; Ctrl-C ends it"
        )
        while True:
            for name, process in {"webserver": web_process, "daemon": daemon_process}.items():
                if process.poll() is not None:
                    raise ProcessError(f"the {name} ended with exit code {process.returncode}")
            time.sleep(_WATCH_INTERVAL_S)
