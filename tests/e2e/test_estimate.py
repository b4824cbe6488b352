"""``estimate`` from the command line: what it prints, what it refuses, that it leaves no trace."""

import json
from decimal import Decimal

import pytest

from tests.e2e.command_line import MONTH, CommandLine, write_settings
from tests.factories import write_corpus

# A file name may have what terminals and Rich take for commands.
BAD_NAME = "[red]bad\x1b[2J.md"


def test_before_and_after_the_first_reindex(command_line: CommandLine) -> None:
    """It needs no index and makes none; after the reindex that it announced nothing is left."""
    write_corpus(command_line.docs, {f"{n}.md": f"Note number {n}." for n in range(120)})

    before = command_line.json("estimate")

    assert not command_line.data.exists()
    assert (before["requests"], before["route"], before["jobs"]) == (120, "batch", 2)
    assert command_line.run("reindex", "--month", MONTH).returncode == 0
    sent = command_line.json("status")["published"]
    assert (sent["requests"], sent["shards"], sent["estimated_tokens"]) == (
        before["requests"],
        before["jobs"],
        before["tokens"],
    )
    assert Decimal(sent["estimated_usd"]) == Decimal(before["cost_usd"])
    after = command_line.json("estimate")
    assert (after["requests"], after["reused"]) == (0, 120)
    assert Decimal(after["cost_usd"]) == 0
    assert after["last_estimate"]["billed_tokens"] == sent["billed_tokens"]


def test_what_people_read(command_line: CommandLine) -> None:
    """A short table and a few sentences; names from the corpus are shown, not obeyed."""
    write_settings(command_line, budget={"max_cost_usd": 0})
    write_corpus(command_line.docs, {"good.md": "A note.", BAD_NAME: "\0"})

    done = command_line.run("estimate")

    assert done.returncode == 0
    assert "route: sync, because 1 request is fewer than limits.min_batch_requests" in done.stdout
    assert "over the budget: " in done.stdout
    assert "[red]bad\\x1b[2J.md: it is binary, not text" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_calculator(command_line: CommandLine) -> None:
    """10,000 documents of 500 tokens at $0.025 a million tokens are $0.125, to the digit."""
    prices = ("--sync-price", "0.025", "--batch-price", "0.0125")

    done = command_line.run("calculate", "--documents", "10000", *prices)

    assert done.returncode == 0
    assert "│    10,000 │  5,000,000 │      $0.125 │" in done.stdout
    assert "12 reindexes a year of 10,000 documents: $1.50 synchronous, $0.75" in done.stdout
    arguments = ("--documents", "10000", "--tokens-per-document", "500", *prices)
    found = command_line.json("calculate", *arguments, "--reindexes-per-year", "4")
    assert [row["documents"] for row in found["scenarios"]] == [10, 1_000, 10_000, 100_000]
    assert found["scenarios"][2]["sync_usd"] == "0.125"
    assert found["yearly"] == {"sync_usd": "0.500", "batch_usd": "0.2500", "saving_usd": "0.2500"}


def test_a_batch_that_is_dearer_is_said(command_line: CommandLine) -> None:
    """Such prices are odd, not impossible."""
    prices = ("--sync-price", "0.1", "--batch-price", "0.2")

    done = command_line.run("calculate", "--documents", "1000", *prices)

    assert done.returncode == 0
    assert "-$0.05" in done.stdout
    assert done.stdout.endswith("note: at these prices batch jobs are the dearer route\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--documents", "-1"], "--documents is -1; expected a number from 1 to 100,000,000"),
        (["--documents", "1", "--sync-price", "1"], "--sync-price and --batch-price go together"),
        (
            ["--documents", "1", "--sync-price", "-1", "--batch-price", "1"],
            "--sync-price is '-1'; expected dollars",
        ),
    ],
)
def test_options_that_cannot_be(
    command_line: CommandLine, arguments: list[str], complaint: str
) -> None:
    """One clear line and exit code 2."""
    done = command_line.run("calculate", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert complaint in line


@pytest.mark.parametrize(
    "arguments",
    [["--documents", "10000"], ["--tokens-per-document", "500"], ["--reindexes-per-year=12"]],
)
def test_whoever_seeks_the_calculator_in_estimate_is_told_of_it(
    command_line: CommandLine, arguments: list[str]
) -> None:
    """One line names the option and the command that has it."""
    done = command_line.run("estimate", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: estimate is of your corpus and has no {arguments[0]!r}; ")
    assert "`embedding-assets calculate --documents N`" in line


def test_json_is_json_whatever_the_names(command_line: CommandLine) -> None:
    """Control characters of a file name are escaped as JSON wants it."""
    write_corpus(command_line.docs, {BAD_NAME: "\0"})

    done = command_line.run("estimate", "--json")

    assert json.loads(done.stdout)["unreadable"][0]["uri"].endswith(BAD_NAME)
    assert "\x1b" not in done.stdout
