"""``generations``, ``publish`` and ``rollback``: going forth and back between what was built."""

from typing import Any

from tests.e2e.command_line import MONTH, CommandLine
from tests.factories import write_corpus


def lanterns(command_line: CommandLine, n: int) -> None:
    """A corpus of so many documents, the earlier ones gone."""
    for path in command_line.docs.glob("*.txt"):
        path.unlink()
    write_corpus(command_line.docs, {f"{k}.txt": f"Lantern {k} is lit at dusk." for k in range(n)})


def reindexed(command_line: CommandLine) -> int:
    return command_line.run("reindex", "--month", MONTH).returncode


def states(command_line: CommandLine) -> list[tuple[str, str, int, int | None]]:
    found: list[dict[str, Any]] = command_line.json("generations")
    return [(row["month"], row["state"], row["chunks"], row["embedded"]) for row in found]


def test_a_reindex_is_rolled_back_and_served_again(command_line: CommandLine) -> None:
    """One command takes readers back, another one forth; nothing is sent for either."""
    lanterns(command_line, 5)
    assert reindexed(command_line) == 0
    lanterns(command_line, 6)
    assert reindexed(command_line) == 0
    n_jobs_and_tokens = command_line.bill()

    back = command_line.run("rollback")
    assert back.returncode == 0
    assert back.stdout == "published generation 1 of 2026-11: 5 chunks of 5 documents\n"
    assert states(command_line) == [
        ("2026-11", "published", 5, 5),
        ("2026-11", "retired", 6, 6),
    ]
    again = command_line.run("rollback")
    assert again.returncode == 2
    assert "there is no earlier generation to go back to" in again.stderr

    forth = command_line.run("publish", "2")
    assert forth.returncode == 0
    assert [state for _, state, _, _ in states(command_line)] == ["retired", "published"]
    assert command_line.bill() == n_jobs_and_tokens
    shown = command_line.run("generations").stdout
    assert all(word in shown for word in (MONTH, "published", "gemini-embedding-001"))


def test_a_shut_gate_is_opened_on_purpose(command_line: CommandLine) -> None:
    """A corpus that lost half of its documents is held back, until a person allows it by name."""
    lanterns(command_line, 6)
    assert reindexed(command_line) == 0
    lanterns(command_line, 3)
    done = command_line.run("reindex", "--month", MONTH)
    assert done.returncode == 1
    assert "it has 3 documents, 50.0% fewer than the 6 that are published" in done.stderr
    assert [state for _, state, _, _ in states(command_line)] == ["published", "building"]

    refused = command_line.run("publish", "--allow", "coverage")
    assert refused.returncode == 2
    assert "`embedding-assets publish --allow shrinkage`" in refused.stderr
    assert command_line.run("publish", "--allow", "shrinkage").returncode == 0
    assert [state for _, state, _, _ in states(command_line)] == ["retired", "published"]


def test_what_cannot_be_served(command_line: CommandLine) -> None:
    """Nothing being built, an id of no generation, a gate of no such name: one line each."""
    lanterns(command_line, 2)
    assert reindexed(command_line) == 0
    for arguments, message in [
        (["publish"], "no generation is being built"),
        (["publish", "7"], "generation 7 does not exist"),
        (["rollback"], "there is no earlier generation"),
    ]:
        done = command_line.run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
    assert command_line.run("publish", "--allow", "luck").returncode == 2
