"""Whole reindexes with the console script, from files on disk to a search."""

import json
import os
import pty
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import running
from embedding_assets.emulator.settings import EmulatorSettings
from tests.e2e.command_line import REPOSITORY, CommandLine, write_settings
from tests.factories import write_corpus

AT_ONCE = EmulatorSettings(latency_s=0)
ESCAPE = "\x1b"
WORDS = ("river", "stone", "lantern", "harbour", "violin", "meadow", "copper", "glacier")


def _write_small_corpus(command_line: CommandLine, n_documents: int = 130) -> None:
    write_corpus(
        command_line.docs,
        {
            f"note {number:03}.md": f"# Note {number}\n\nThe {word} of note {number} is here."
            for number in range(n_documents)
            for word in (WORDS[number % len(WORDS)],)
        },
    )


def _vectors(command_line: CommandLine) -> np.ndarray:
    """The published vectors as any SQLite client reads them; (chunks, dimensions)."""
    rows = command_line.rows("SELECT vector FROM published_chunks")
    return np.array([np.frombuffer(vector, dtype="<f4") for (vector,) in rows])


def test_nasty_corpus(command_line: CommandLine) -> None:
    """Files that cannot be used are listed with the reason; all the others can be found."""
    write_settings(command_line, gemini={"tier": 3}, limits={"max_requests_per_job": 2000})
    same = "# Twins\n\nThis text is in two files and is bought once."
    write_corpus(
        command_line.docs,
        {
            "whitespace.txt": " \n\t\n  ",
            "one line.txt": " ".join(f"word{n}" for n in range(500_000)),
            "twin a.md": same,
            "sub dir/twin b.md": same,
            "name with spaces.md": "# Spaces\n\nA xylophone among the spaces.",
            "Документ.md": "# Документ\n\nБелый медведь живёт на севере.",  # noqa: RUF001
            "🦓.md": "# Stripes\n\nA zebra 🦓 crossing the savannah.",
            "page.html": "<html><title>A page</title><body><p>Tangerine marmalade</p></body>",
        },
    )
    (command_line.docs / "empty.txt").write_bytes(b"")
    (command_line.docs / "empty.html").write_bytes(b"")
    (command_line.docs / "invalid.md").write_bytes(
        "# Größe\n\nüber äöü ".encode() + b"\xff\xfe\xc3"
    )
    assert (command_line.docs / "one line.txt").stat().st_size > 5_000_000

    done = command_line.run("reindex")

    assert done.returncode == 0, done.stderr
    failures = {Path(f["uri"]).name: f["error_message"] for f in command_line.json("failures")}
    assert failures.keys() == {"whitespace.txt", "empty.txt", "empty.html", "invalid.md"}
    assert failures["empty.txt"] == failures["empty.html"] == "the file is empty"
    assert failures["whitespace.txt"] == "there is no text in it, only whitespace"
    assert failures["invalid.md"].startswith("it is not valid UTF-8 at byte")
    found = {
        query: Path(command_line.json("search", query, "-k", "1")[0]["uri"]).name
        for query in ("zebra savannah", "белый медведь", "xylophone", "tangerine marmalade")
    }
    assert list(found.values()) == ["🦓.md", "Документ.md", "name with spaces.md", "page.html"]
    bill = command_line.bill()
    assert bill.bought_twice == ()
    (n_chunks,) = command_line.rows("SELECT count(DISTINCT chunk_id) FROM published_chunks")[0]
    assert bill.batch_requests == n_chunks
    twins = command_line.rows("SELECT count(*) FROM published_chunks WHERE title = 'Twins'")
    assert twins == [(2,)]


def test_published_vectors_for_any_client(command_line: CommandLine) -> None:
    """The plain sqlite3 module reads as many chunks as vectors, all of 768 values and norm 1."""
    _write_small_corpus(command_line)

    done = command_line.run("reindex")

    assert done.returncode == 0, done.stderr
    vectors = _vectors(command_line)
    assert vectors.shape == (130, 768)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    query = "SELECT uri, position, length(text), length(vector) FROM published_chunks"
    uri, position, n_chars, n_bytes = command_line.rows(f"{query} ORDER BY uri LIMIT 1")[0]
    assert (Path(uri).name, position, n_bytes) == ("note 000.md", 0, 768 * 4)
    assert n_chars > 20


def test_second_run_sends_nothing_and_says_so(command_line: CommandLine) -> None:
    """Run again over an unchanged corpus: no job, no request, the same published content."""
    _write_small_corpus(command_line)
    assert command_line.run("reindex").returncode == 0
    bill, vectors = command_line.bill(), _vectors(command_line)

    done = command_line.run("reindex")

    assert done.returncode == 0, done.stderr
    assert "nothing to send" in done.stdout
    assert "nothing was sent and nothing was billed" in done.stdout
    after = command_line.bill()
    assert (after.jobs_created, after.requests) == (bill.jobs_created, bill.requests) == (3, 130)
    assert np.array_equal(_vectors(command_line), vectors)
    assert command_line.json("status")["published"]["requests"] == 0


def test_output_without_terminal_is_plain(command_line: CommandLine) -> None:
    """In a pipe there are lines and no escape codes: plan, progress, result, bill."""
    _write_small_corpus(command_line)

    done = command_line.run("reindex", "--month", "2026-11")

    assert ESCAPE not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("plan for 2026-11: 130 documents, 130 chunks, 130 requests in 3")
    assert any("jobs at Gemini" in line for line in lines[1:-2])
    assert lines[-2] == "published 2026-11: 130 of 130 chunks of 130 documents"
    assert lines[-1].startswith("130 requests sent in 3 shards; ")
    emulator, new, found, files = done.stderr.splitlines()
    assert emulator.startswith("note: using the built-in emulator at http://127.0.0.1:")
    assert new.startswith("note: there is no index at ")
    assert found.startswith("note: 130 documents: 130 added, 0 changed")
    assert files == "note: 130 files: 130 read"


def test_progress_bars_on_a_terminal(command_line: CommandLine) -> None:
    """On a terminal a bar shows how many chunks are embedded."""
    _write_small_corpus(command_line)
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other side is closed
                return
            if not data:
                return
            shown.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        process = command_line.start(
            "reindex",
            log=command_line.directory / "unused.log",
            terminal=theirs,
            TERM="xterm-256color",
        )
        os.close(theirs)
        assert process.wait(timeout=90) == 0
        reader.join(timeout=10)
    finally:
        command_line.end_everything()
        reader.join(timeout=10)
        os.close(ours)

    text = shown.decode()
    assert "━" in text
    assert "130/130" in text
    assert "chunks embedded" in text
    assert ESCAPE in text
    assert "published" in text


def test_failed_chunk_makes_exit_code_1_until_it_is_retried(command_line: CommandLine) -> None:
    """A chunk that is left failed is said and makes exit code 1; retried, it is embedded."""
    _write_small_corpus(command_line)
    with running(command_line.directory / "emulator", settings=AT_ONCE) as emulator:
        write_settings(command_line, gemini={"base_url": emulator.base_url})
        rule = Fault(kind=FaultKind.ERROR_LINE, match="note 77 ", code=3, message="Not this one.")
        emulator.state.faults.add(rule)
        done = command_line.run("reindex")

    assert done.returncode == 1
    assert "1 chunks failed: see `embedding-assets failures`" in done.stdout
    (failure,) = command_line.json("failures")
    assert failure["error_message"] == "Not this one."
    assert failure["uri"].endswith("note 077.md")

    assert command_line.run("retry", "--code", "NOT_FOUND").stdout == "nothing to retry\n"
    queued = command_line.run("retry", "--document", "*/note 077.md")
    assert queued.stdout.startswith("queued again: 1 chunks, and the requests of 0 shards")
    assert command_line.json("failures") == []
    with running(command_line.directory / "emulator", settings=AT_ONCE) as emulator:
        emulator.state.faults.clear()
        write_settings(command_line, gemini={"base_url": emulator.base_url})
        assert command_line.run("reindex").returncode == 0
        assert emulator.state.bill().bought_twice == ()
    assert command_line.json("status")["published"]["embedded"] == 130


def test_standard_library_demo(command_line: CommandLine) -> None:
    """The demo: 200 documents or more, three jobs or more, a search that can be judged."""
    script = [sys.executable, str(REPOSITORY / "examples" / "stdlib_documents.py")]
    write_settings(
        command_line,
        limits={"max_requests_per_job": 500},
        publishing={"agreement_samples": 50},  # as by default
    )
    written = command_line.run_program([*script, str(command_line.docs)], command_line.directory)
    assert written.returncode == 0, written.stderr

    done = command_line.run("reindex")

    assert done.returncode == 0, done.stderr
    bill = command_line.bill()
    assert bill.jobs_created >= 3
    assert (bill.sync_requests, [text.times for text in bill.bought_twice]) == (38, [2] * 38)
    status = command_line.json("status")["published"]
    assert status["documents"] >= 200
    assert status["embedded"] == status["chunks"] == bill.batch_requests
    hits = command_line.json("search", "compress a file with gzip", "-k", "3")
    assert "gzip.md" in [Path(hit["uri"]).name for hit in hits]
    assert command_line.json("failures") == []

    written = command_line.run_program([*script, str(command_line.docs)], command_line.directory)
    assert written.returncode == 0, written.stderr
    assert command_line.run("reindex").returncode == 0
    again = command_line.bill()
    assert (again.jobs_created, again.batch_requests) == (bill.jobs_created, bill.batch_requests)
    assert again.sync_requests == bill.sync_requests + 1  # the search


def test_json_output_is_all_there_is(command_line: CommandLine) -> None:
    """With --json the standard output is one JSON document, notes go to the other stream."""
    _write_small_corpus(command_line, 5)
    assert command_line.run("reindex").returncode == 0

    done = command_line.run("search", "lantern", "-k", "2", "--json")

    hits = json.loads(done.stdout)
    fields = "rank score uri title position section anchor page url metadata text"
    assert [" ".join(hit) for hit in hits] == [fields] * 2
    assert hits[0]["title"] == "Note 2"
    assert hits[0]["score"] >= hits[1]["score"]
    [hit] = command_line.json("search", "lantern", "--where", "title = 'Note 4'")
    assert hit["title"] == "Note 4"
    assert done.stderr.startswith("note: ")


def test_a_dear_reindex_is_approved_by_hand(command_line: CommandLine) -> None:
    """Over the budget nothing is sent, and the error says how to approve just this one."""
    _write_small_corpus(command_line)
    write_settings(command_line, budget={"max_cost_usd": 0})

    refused = command_line.run("reindex")

    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: the plan for 2026-11 costs an est")
    assert "approve this one with `embedding-assets reindex --approve-cost 0.01`" in refused.stderr
    assert command_line.bill().requests == 0
    approved = command_line.run("reindex", "--approve-cost", "0.01")
    assert approved.returncode == 0, approved.stderr
    assert command_line.bill().requests == 130


def test_few_requests_wait_if_they_are_told_to(command_line: CommandLine) -> None:
    """With limits.max_wait_h a trickle waits, which is no failure; --now sends it."""
    _write_small_corpus(command_line, 5)
    write_settings(command_line, limits={"max_wait_h": 24})

    waits = command_line.run("reindex")

    assert waits.returncode == 0, waits.stderr
    assert "few requests of " in waits.stdout
    assert " wait for more until " in waits.stdout
    assert "`embedding-assets reindex --now` sends them" in waits.stdout
    assert command_line.json("status")["held_since"] is not None
    assert command_line.bill().requests == 0
    sent = command_line.run("reindex", "--now")
    assert sent.returncode == 0, sent.stderr
    assert command_line.bill().requests == 5
