"""The emulator as a program: `python -m embedding_assets.emulator --state-dir DIRECTORY`.

Belongs here: arguments, signals, the ready line, the address file. Does not belong here: serving
(`server`).
"""

import argparse
import itertools
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import orjson

from embedding_assets.emulator.database import OtherSchemaVersion
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import running
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import StateDirectoryInUse


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code is 2 if that cannot begin."""
    arguments = _parser().parse_args(argv)
    try:
        settings = _settings(arguments)
        faults = [_fault(text) for text in arguments.fault]
    except ValueError as error:
        return _refuse(str(error))
    try:
        try:
            _serve(arguments, settings, faults)
        except OtherSchemaVersion:
            _move_aside(arguments.state_dir)
            _serve(arguments, settings, faults)
    except StateDirectoryInUse as error:
        return _refuse(str(error))
    except (OSError, OverflowError, sqlite3.OperationalError) as error:
        if isinstance(error, sqlite3.Error) or getattr(error, "filename", None) is not None:
            return _refuse(f"cannot keep anything in {arguments.state_dir}: {error}")
        # Of an address; Python overflows on ports over 65535.
        return _refuse(f"cannot serve on {arguments.host}:{arguments.port}: {error}")
    return 0


def _serve(
    arguments: argparse.Namespace, settings: EmulatorSettings, faults: Sequence[Fault]
) -> None:
    stop = _stop_on_signals()
    server = running(
        arguments.state_dir,
        settings=settings,
        faults=faults,
        host=arguments.host,
        port=arguments.port,
        names=arguments.allow_host,
    )
    with server as emulator, _address_file(arguments.address_file, emulator.base_url):
        sys.stdout.write(f"emulator ready at {emulator.base_url}\n")
        sys.stdout.flush()
        stop.wait()


def _move_aside(state_dir: Path) -> None:
    """Begin anew beside what another version of the emulator left; nothing of it is deleted."""
    numbers = itertools.count(1)
    beside = (state_dir.with_name(f"{state_dir.name}.old{number}") for number in numbers)
    kept = next(path for path in beside if not path.exists())
    state_dir.rename(kept)
    sys.stderr.write(
        f"emulator: {state_dir} was made by another version; it is kept as {kept.name}, "
        "and everything begins anew\n"
    )


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextmanager
def _address_file(path: Path | None, base_url: str) -> Iterator[None]:
    """Say in a file where the emulator is, until it is no longer there."""
    if path is None:
        yield
        return
    content = json.dumps({"base_url": base_url, "pid": os.getpid()})
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(content, encoding="utf-8")
    beside.replace(path)
    try:
        yield
    finally:
        # A later emulator may have written its own address there.
        if path.exists() and path.read_text(encoding="utf-8") == content:
            path.unlink()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m embedding_assets.emulator",
        description="A local Gemini for files, batch embedding jobs and embedContent. "
        "Its vectors know words, not meanings.",
    )
    parser.add_argument("--state-dir", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another host name to answer to; can be repeated",
    )
    parser.add_argument("--address-file", type=Path, help="write base_url and pid there as JSON")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="JSON",
        help='a rule such as \'{"kind": "job_failed", "times": 1}\', in force from the start;'
        " can be repeated",
    )
    for field in fields(EmulatorSettings):
        parser.add_argument(
            _flag(field.name),
            dest=field.name,
            type=_number_type(field.name),
            default=field.default,
            metavar="N",
            help="default: %(default)s",
        )
    return parser


def _flag(setting: str) -> str:
    return "--" + setting.removesuffix("_s").replace("_", "-")


def _number_type(setting: str) -> type[int] | type[float]:
    return float if setting.endswith("_s") else int


def _settings(arguments: argparse.Namespace) -> EmulatorSettings:
    names = [field.name for field in fields(EmulatorSettings)]
    return EmulatorSettings(**{name: getattr(arguments, name) for name in names})


def _fault(text: str) -> Fault:
    try:
        return Fault.from_json(orjson.loads(text))
    except ValueError as exc:
        raise ValueError(f"bad --fault {text!r}: {exc}") from exc


def _refuse(reason: str) -> int:
    sys.stderr.write(f"emulator: {reason}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
