"""What must not leak: the API key, and files to other users of the machine."""

import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import running
from embedding_assets.emulator.settings import EmulatorSettings
from tests.e2e.command_line import CommandLine, write_settings
from tests.factories import write_corpus

KEY = "AIza-made-up-key-4711"
GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_THEM = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Observed:
    """A command that ended, and what anybody could see of its processes while they lived."""

    exit_code: int
    output: str
    command_lines: set[str]
    addresses: set[str]


def observed_reindex(command_line: CommandLine, *, umask: int) -> Observed:
    """A reindex of two documents, one of them empty, with a key in the environment."""
    write_corpus(command_line.docs, {"lantern.txt": "A lantern.", "empty.txt": ""})
    log = command_line.directory / "reindex.log"
    before = os.umask(umask)
    try:
        process = command_line.start("reindex", log=log, GEMINI_API_KEY=KEY)
    finally:
        os.umask(before)
    command_lines: set[str] = set()
    addresses: set[str] = set()
    while process.poll() is None:
        command_lines.update(command_line.processes().values())
        addresses.update(command_line.listening())
        threading.Event().wait(0.2)
    return Observed(process.returncode, log.read_text(), command_lines, addresses)


def modes(directory: Path, mask: int) -> set[str]:
    """Files and directories with any of these permissions."""
    found = (path for path in (directory, *directory.rglob("*")) if not path.is_symlink())
    return {f"{path} {stat.filemode(m)}" for path in found if (m := path.stat().st_mode) & mask}


def test_a_key_that_is_not_needed(command_line: CommandLine) -> None:
    """It is in no file, output or command line; all files are ours alone, as the umask asks."""
    observed = observed_reindex(command_line, umask=0o077)

    assert observed.exit_code == 0, observed.output
    assert KEY not in observed.output
    assert [line for line in observed.command_lines if KEY in line] == []
    assert any("embedding_assets.emulator" in line for line in observed.command_lines)
    assert [address.rpartition(":")[0] for address in observed.addresses] == ["127.0.0.1"]
    assert command_line.files_that_have(KEY) == []
    assert modes(command_line.data, GROUP_AND_OTHERS) == set()


def test_a_key_that_is_sent(command_line: CommandLine) -> None:
    """Though it is sent, and refused, it is in no file, output, error or command line."""
    state_dir = command_line.directory / "gemini"
    with running(state_dir, settings=EmulatorSettings(latency_s=0)) as emulator:
        # By its usual address it would be an emulator, which gets no key.
        base_url = emulator.base_url.replace("127.0.0.1", "0.0.0.0")
        write_settings(
            command_line, gemini={"base_url": base_url}, limits={"min_batch_requests": 0}
        )
        refusal = Fault(kind=FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=403)
        emulator.state.faults.add(refusal)
        observed = observed_reindex(command_line, umask=0o022)

    assert observed.exit_code == 1, observed.output
    assert "answered 403" in observed.output
    assert command_line.rows("SELECT provider, state FROM specs, batch_jobs") == [
        ("gemini", "refused")
    ]
    assert KEY not in observed.output
    assert [line for line in observed.command_lines if KEY in line] == []
    assert observed.addresses == set()
    assert command_line.files_that_have(KEY) == []
    assert modes(command_line.data, WRITABLE_BY_THEM) == set()
