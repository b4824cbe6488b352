"""Answers that are mixed up, from the command line: held, understood, bought again, published."""

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import running
from embedding_assets.emulator.settings import EmulatorSettings
from tests.e2e.command_line import CommandLine, write_settings
from tests.factories import write_corpus

N_DOCUMENTS, N_COMPARED = 120, 38
WORDS = [
    *("amber", "basin", "cedar", "delta", "ember", "fjord"),
    *("gravel", "harbour", "island", "juniper", "kettle", "lantern"),
]


def test_mixed_up_answers_are_held_until_they_are_bought_again(command_line: CommandLine) -> None:
    """What the gate says can be typed, and what it cost is on the bill to the token."""
    write_corpus(command_line.docs, {f"{n:03d}.txt": _text(n) for n in range(N_DOCUMENTS)})
    directory = command_line.directory / "emulator"
    with running(directory, settings=EmulatorSettings(latency_s=0)) as emulator:
        write_settings(
            command_line,
            gemini={"base_url": emulator.base_url},
            publishing={"agreement_samples": 50},
        )
        fault = Fault(kind=FaultKind.SWAPPED_VECTORS, match="-0002/", times=1)
        emulator.state.faults.add(fault)
        held = command_line.run("reindex")
        assert held.returncode == 1
        assert "embedding-assets retry --shard 2026-11-0002" in held.stderr.replace("\n", " ")
        assert command_line.json("status")["published"] is None

        again = command_line.run("retry", "--shard", "2026-11-0002")
        assert (again.returncode, again.stdout.split(" chunks")[0]) == (0, "queued again: 60")
        done = command_line.run("reindex")
        assert done.returncode == 0, done.stderr
        bill = emulator.state.bill()
        # Sixty are too few for a batch job.
        assert (bill.batch_requests, bill.sync_requests) == (N_DOCUMENTS, 60 + N_COMPARED)
        [total] = command_line.json("costs")["totals"]
        assert (total["billed_tokens"], total["compared"]) == (bill.tokens, N_COMPARED)
        assert command_line.run("doctor").returncode == 0


def _text(number: int) -> str:
    """Three words, others than in any other text but one or two of them."""
    first, second = divmod(number, len(WORDS))
    return f"{WORDS[second]} {WORDS[first]} {chr(97 + first) * 3}{chr(97 + second) * 4}"
