"""The doctor at the command line: what it prints and its exit codes."""

import json
import sqlite3
from contextlib import closing

from tests.e2e.command_line import CommandLine, write_settings
from tests.factories import write_corpus


def test_a_doctor_visit(command_line: CommandLine) -> None:
    """A fresh index is in order; what is spoilt is said, repaired on request, and then quiet."""
    write_corpus(command_line.docs, {f"note {n}.md": f"# Note {n}\n\nText {n}." for n in range(5)})
    assert command_line.run("reindex").returncode == 0

    healthy = command_line.run("doctor")
    assert (healthy.returncode, healthy.stdout) == (0, "nothing is wrong\n")
    assert "using the built-in emulator" in healthy.stderr

    with closing(sqlite3.connect(command_line.index_path)) as connection:
        connection.execute("UPDATE vectors SET vector = x'00' WHERE chunk_id = 1")
        connection.commit()
    ill = command_line.run("doctor", "--offline")
    assert ill.returncode == 1
    assert ill.stdout.startswith(
        "wrong: [vectors] 1 vector must not be served: chunk 1 (1 bytes, not 3,072)\n"
    )
    assert ill.stdout.endswith(
        "Gemini's side was not looked at: --offline was asked for\nwrong: 1\n"
    )
    as_json = command_line.run("doctor", "--offline", "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)["wrong"]) == (1, 1)

    repaired = command_line.run("doctor", "--offline", "--repair")
    assert repaired.returncode == 0
    assert repaired.stdout.startswith("repaired: [vectors] ")
    assert command_line.json("doctor", "--offline") == {
        "wrong": 0,
        "repaired": 0,
        "gemini_not_looked_at": "--offline was asked for",
        "findings": [],
    }


def test_nobody_to_ask(command_line: CommandLine) -> None:
    """Without a key for an address that needs one, the index is still examined."""
    write_corpus(command_line.docs, {"note.md": "# Note\n\nA text."})
    assert command_line.run("reindex").returncode == 0
    write_settings(command_line, gemini={"base_url": "https://gemini.invalid"})

    done = command_line.run("doctor")

    assert done.returncode == 0
    assert "GEMINI_API_KEY is not set" in done.stdout
    live = command_line.run("doctor", "--live")
    assert live.returncode == 2
    assert live.stderr == (
        "error: gemini.base_url is 'https://gemini.invalid' but GEMINI_API_KEY is not set\n"
    )


def test_what_cannot_be_done(command_line: CommandLine) -> None:
    """No index, options that exclude each other, a key without consent: a line and exit code 2."""
    nothing = command_line.run("doctor")
    both = command_line.run("doctor", "--live", "--repair")
    write_settings(command_line, gemini={"base_url": "https://gemini.invalid"})
    unasked = command_line.run("doctor", "--live", GEMINI_API_KEY="secret")
    assert [done.returncode for done in (nothing, both, unasked)] == [2, 2, 2]
    assert nothing.stderr.startswith("error: there is no index at ")
    assert both.stderr.startswith("error: --live looks at the service alone")
    assert unasked.stderr == ("error: --live sends three requests to Gemini: agree with --yes\n")


def test_a_canary_for_the_emulator(command_line: CommandLine) -> None:
    """Without a key the canary sings for the emulator, and says what that is worth."""
    done = command_line.run("doctor", "--live")

    assert done.returncode == 0, done.stdout
    assert "this was the emulator: it proves nothing about the live service" in done.stdout
    assert done.stdout.endswith("12 of 12 answers are as assumed\n")
