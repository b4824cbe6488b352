"""An answer that nobody understands: what the commands say of it, and the way to what was paid."""

from pathlib import Path

import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import running
from embedding_assets.emulator.settings import EmulatorSettings
from tests.e2e.command_line import CommandLine, write_settings
from tests.factories import write_corpus

AT_ONCE = EmulatorSettings(latency_s=0)
N = 20
SHARD = "2026-11-0001"


@pytest.fixture
def corpus(command_line: CommandLine) -> Path:
    """Twenty documents of one chunk."""
    texts = {f"{n:02}.md": f"The lantern of note {n} hangs in the harbour." for n in range(N)}
    write_corpus(command_line.docs, texts)
    return command_line.docs


def test_held_said_and_read_again(command_line: CommandLine, corpus: Path) -> None:
    """The reindex ends and says why; nothing is bought twice, until a person says so."""
    batch = {"route": "batch"}
    with running(command_line.directory / "emulator", settings=AT_ONCE) as emulator:
        write_settings(command_line, gemini={"base_url": emulator.base_url}, limits=batch)
        emulator.state.faults.add(Fault(kind=FaultKind.KEY_RENAMED))
        done = command_line.run("reindex")
        assert done.returncode == 1
        assert f"the answer to shard {SHARD} is held: 20 of 20 answers cannot be used" in (
            " ".join(done.stdout.split())
        )
        assert "custom_id" in done.stdout
        [said] = command_line.json("status")["held_answers"]
        assert SHARD in said
        [finding] = command_line.json_of("doctor", exit_code=1)["findings"]
        assert (finding["check"], finding["severity"]) == ("held_answers", "wrong")

        assert command_line.run("reindex").returncode == 1
        again = command_line.run("collect", SHARD, "--again")
        assert again.returncode == 2
        assert "what was kept of it is as it was" in again.stderr
        assert emulator.state.bill().bought_twice == ()
        [row] = command_line.json("costs")["rows"]
        assert row["billed_tokens"] == row["uncounted_tokens"] > 0
        assert "tokens by estimate" in command_line.run("costs").stdout

        taken = command_line.run("collect", SHARD, "--as-is")
        assert (taken.returncode, taken.stdout[:14]) == (0, "read: 1 answer")
        emulator.state.faults.clear()
        assert command_line.run("reindex").returncode == 0
        assert emulator.state.bill().requests == 2 * N
        billed = command_line.json("costs")["totals"][0]
        assert billed["billed_tokens"] == pytest.approx(emulator.state.bill().tokens, rel=0.2)
    assert command_line.json("status")["published"]["embedded"] == N


def test_how_it_is_to_be_read_must_be_said(command_line: CommandLine) -> None:
    """Neither way, or both, is refused in one line."""
    for options in ((), ("--again", "--as-is")):
        done = command_line.run("collect", SHARD, *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: how are they to be read?")


def test_a_shard_that_is_in_no_plan(command_line: CommandLine, corpus: Path) -> None:
    """It is said before anybody is asked: no emulator is started."""
    assert command_line.run("reindex").returncode == 0
    done = command_line.run("collect", "2026-11-0099", "--again")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: there is no shard '2026-11-0099': no plan of this index has it\n"
    )
