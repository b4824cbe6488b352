"""``embedding-assets costs``: the bill on the terminal, for spreadsheets and for programs."""

import csv
from decimal import Decimal

from tests.e2e.command_line import MONTH, CommandLine
from tests.factories import write_corpus


def test_costs(command_line: CommandLine) -> None:
    """What was billed is the emulator's bill, in every form, and so says the status."""
    write_corpus(command_line.docs, {f"{n}.txt": f"Lantern {n} is lit at dusk." for n in range(7)})
    assert command_line.run("reindex", "--month", MONTH).returncode == 0
    bill = command_line.bill()
    found = command_line.json("costs", "--by", "generation")
    [row] = found["rows"]
    assert (row["requests"], row["embedded"], row["failed"]) == (7, 7, 0)
    assert row["billed_tokens"] == bill.tokens
    # So few texts go synchronously, and all of them are new.
    usd = bill.tokens * Decimal("0.15") / 1_000_000
    assert [Decimal(row[name]) for name in ("billed_usd", "sync_usd", "without_reuse_usd")] == (
        [usd] * 3
    )
    published = command_line.json("status")["published"]
    assert [Decimal(published[name]) for name in ("sync_usd", "without_reuse_usd")] == [usd] * 2

    done = command_line.run("costs", "--csv")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["month"] for row in rows] == [MONTH, "total"]
    assert {int(row["billed_tokens"]) for row in rows} == {bill.tokens}

    shown = command_line.run("costs").stdout
    assert MONTH in shown
    assert f"{bill.tokens:,}" in shown
    assert "whenever it was billed" in shown


def test_two_forms_at_once(command_line: CommandLine) -> None:
    """CSV and JSON together are refused, in one line."""
    done = command_line.run("costs", "--csv", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --csv and --json exclude each other: choose one\n"


def test_no_index(command_line: CommandLine) -> None:
    """Without an index there is nothing to show, and none is made."""
    done = command_line.run("costs")
    assert done.returncode == 2
    assert "there is no index at" in done.stderr
    assert not command_line.data.exists()
