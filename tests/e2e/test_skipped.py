"""Every file of the corpus is accounted for, where people look: reindex, estimate, failures."""

import json

import pytest

from embedding_assets.cli.show import index as display
from embedding_assets.corpus.census import Census, Enumeration, Outcome
from embedding_assets.store.published import Failure
from tests.e2e.command_line import MONTH, CommandLine
from tests.factories import write_corpus

DEEP = "a-folder-with-a-long-name/" * 4 + "photo.png"
LINE = "4 files: 1 read, 1 unreadable, 2 left out (2 of a kind that is not supported: 2 .png)"


@pytest.fixture
def corpus(command_line: CommandLine) -> CommandLine:
    write_corpus(command_line.docs, {"a.md": "text", "bad.md": "\0", "b.png": "x", DEEP: "x"})
    return command_line


def test_files_that_are_left_out_are_said(corpus: CommandLine) -> None:
    """Before it is paid for, when it is done, and as a list for people and for programs."""
    estimate = corpus.run("estimate")
    reindex = corpus.run("reindex", "--month", MONTH)
    skipped = corpus.run("failures", "--skipped")
    found = corpus.json("failures", "--skipped")

    assert LINE in estimate.stdout
    assert corpus.json("estimate")["files"] == LINE
    assert LINE in reindex.stderr
    assert skipped.stdout.startswith(f"{LINE}\n\n2 files of a kind that is not supported\n")
    assert DEEP in skipped.stdout, "in a pipe nothing is cut"
    assert found["files"] == 4
    (left_out,) = (each for each in found["tallies"] if each["kind"] == ".png")
    assert left_out["outcome"] == "of a kind that is not supported"
    assert [uri.removeprefix(f"{corpus.docs}/") for uri in left_out["samples"]] == [DEEP, "b.png"]


def test_failures_are_lines_that_nothing_is_cut_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A document or a chunk each, with its whole uri and the whole reason."""
    document = Failure(kind="document", uri=DEEP, error_message="it is binary " * 20)
    chunk = Failure(
        kind="chunk",
        uri="a.md",
        position=3,
        chunk_id=17,
        error_code="INVALID_ARGUMENT",
        error_message="refused",
        attempts=2,
    )

    display.failures([document, chunk])

    assert capsys.readouterr().out.splitlines() == [
        f"{DEEP}: {document.error_message}",
        "a.md, chunk 3, INVALID_ARGUMENT, tried 2 times: refused",
    ]


def test_a_name_that_the_terminal_has_no_letters_for_is_shown_all_the_same(
    corpus: CommandLine,
) -> None:
    """Escaped, where the locale's encoding lacks them."""
    write_corpus(corpus.docs, {"größe 数.png": "x"})
    corpus.run("reindex", "--month", MONTH)

    words = [*corpus.program, "failures", "--skipped"]
    skipped = corpus.run_program(words, corpus.directory, PYTHONIOENCODING="ascii")

    assert skipped.returncode == 0, skipped.stderr
    assert r"gr\xf6\xdfe \u6570.png" in skipped.stdout


def test_a_search_that_finds_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Or it looks like a command that did nothing."""
    display.hits([])

    assert capsys.readouterr().out == "nothing was found\n"


def test_without_a_generation_nothing_is_known(command_line: CommandLine) -> None:
    """There is no snapshot to look into."""
    write_corpus(command_line.docs, {})
    command_line.run("reindex", "--month", MONTH)

    assert json.loads(command_line.run("failures", "--skipped", "--json").stdout)["files"] == 0


def test_on_a_terminal_the_end_of_a_path_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """80 columns are enough for every line, and what is cut is the beginning."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    files = Enumeration()
    for n in range(5):
        files.add(f"{'directory/' * 20}{n}.png", Outcome.UNKNOWN_KIND)

    display.census(files.census)

    _, *lines = capsys.readouterr().out.splitlines()
    shown = [line for line in lines if ".png" in line]
    assert len(shown) == 3
    assert all(len(line) <= 80 and line.endswith(f"/{n}.png") for n, line in enumerate(shown))


def test_an_empty_census_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """As what it is."""
    display.census(Census())

    assert capsys.readouterr().out == "0 files: 0 read\n"
