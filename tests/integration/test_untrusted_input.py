"""Documents, file names and answers that would like to be more than text."""

import hashlib
import os
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.cli import console
from embedding_assets.cli.show import index as display
from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.snapshots import read_snapshot, write_snapshot
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.errors import LedgerError
from embedding_assets.reader.search import Hit, search
from embedding_assets.store.published import Failure
from tests.factories import NOW, a_reading
from tests.integration.world import World, notes

Rows = Callable[..., list[tuple[Any, ...]]]

SQL = "'; DROP TABLE vectors; -- \" OR 1=1 %s ? :name"
TEMPLATE = "{{ 7 * 7 }} {% raw %} ${7*7} #{7*7} %(name)s {0} {name!r}"
SHELL = "$(touch pwned) `touch pwned`; touch pwned | tee pwned > pwned && touch pwned"
MARKUP = "[red]red[/red] [/] [link=file:///x]x[/link] :bomb: C:\\[bold] \\"
ESCAPES = "\x1b[2J\x1b[31mred\x1b]0;title\x07 \x9b31m \x08\x7f \u202egnp.exe"
HTML = "<script>alert(1)</script><img src=x onerror=alert(1)>"
MARKDOWN = "| a | b |\n|---|---|\n[x](javascript:alert(1)) ![x](http://127.0.0.1/x.png)"
JSON_LINES = '"}\n{"key": "chunk_1", "request": {}}\n{"key": "chunk_2", "error": {"code": 3}}'
HOSTILE = (SQL, TEMPLATE, SHELL, MARKUP, ESCAPES, HTML, MARKDOWN, JSON_LINES)

NAMES = (
    "up..%2f..%2foutside",
    "up\\..\\..\\outside",
    "--rf ~",
    "$(touch pwned)",
    "a\nb\r\x1b[31mc",
    "'; DROP TABLE documents; --",
    "[red]{{ 7 * 7 }}<b>|",
    "x" * 250,
)


def a_text(hostile: str) -> str:
    """A document with something hostile in its title, in its text and at its end."""
    return f"# About {hostile.splitlines()[0]}\n\nHere it is: {hostile}\n\nAnd again: {hostile}"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Every hostile text under an ordinary name, and ordinary texts under every hostile name."""
    directory = tmp_path / "docs"
    directory.mkdir()
    for number, hostile in enumerate(HOSTILE):
        (directory / f"text {number}.md").write_text(a_text(hostile), newline="")
    for number, name in enumerate(NAMES):
        (directory / f"{name}.md").write_text(f"An ordinary text, number {number}.")
        (directory / f"{name[:200]} is empty.md").write_bytes(b"")
    with open(os.fsencode(directory) + b"/not \xff utf-8.md", "wb") as file:
        file.write(b"A text under a name that is no text.")
    return directory


def tree(directory: Path) -> set[str]:
    """Every path under a directory."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def reindexed(world: World, docs: Path) -> list[Document]:
    """The documents as read, after a whole reindex of them."""
    snapshot = world.settings.snapshots_dir / "2026-11.parquet"
    write_snapshot(snapshot, a_reading(str(docs)), now=NOW)
    world.reindex(read_snapshot(snapshot))
    return list(read_snapshot(snapshot))


def test_hostile_documents_are_only_text(
    world: World, docs: Path, tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are embedded, stored and found to the letter, and nothing is written anywhere else."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = tree(docs), os.listdir(tmp_path.parent)

    documents = reindexed(world, docs)

    texts = {Path(document.uri).name: document.text for document in documents}
    for number, hostile in enumerate(HOSTILE):
        assert texts[f"text {number}.md"] == a_text(hostile).replace("\r\n", "\n")
    readable = {document.uri: document.text for document in documents if document.text}
    assert dict(rows("SELECT uri, text FROM published_chunks")) == readable
    assert len(readable) == len(HOSTILE) + len(NAMES) + 1
    bought = {text.sha256 for text in world.emulator.bill().texts}
    assert bought == {hashlib.sha256(text.encode()).hexdigest() for text in readable.values()}
    for hostile in HOSTILE:
        assert search(world.index, world.gemini, a_text(hostile), k=1)[0].text == a_text(hostile)
    assert (tree(docs), os.listdir(tmp_path.parent)) == before
    assert tree(tmp_path / "here") == set()
    results = world.result_path(world.index.shards.get("2026-11-0001"))
    ours = {path for path in tree(tmp_path) if not path.startswith(("docs", "emulator"))}
    assert ours == {
        *("here", "data", "data/index.db", "data/index.db-wal", "data/index.db-shm"),
        *("data/snapshots", "data/snapshots/2026-11.parquet"),
        *("data/shards", "data/shards/2026-11-0001.jsonl"),
        *("data/results", f"data/results/{results.name}"),
    }


def test_hostile_texts_on_the_terminal(
    world: World, docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hits and failures are shown to the letter, without anything that a terminal obeys."""
    monkeypatch.setenv("COLUMNS", "2000")
    documents = reindexed(world, docs)
    generation = world.index.generations.published()
    assert generation is not None
    failures = world.index.published.failures(generation)
    assert len(failures) == len(NAMES)

    display.hits(search(world.index, world.gemini, "text", k=len(documents)))
    display.failures(failures)

    shown = capsys.readouterr().out
    assert commands_in(shown) == set()
    for hostile in (SQL, TEMPLATE, SHELL, MARKUP, HTML):
        assert f"About {hostile}" in shown
        assert f"Here it is: {hostile}" in shown
    assert "\\x1b[2J\\x1b[31mred\\x1b]0;title\\x07 \\x9b31m" in shown
    assert "a\\nb\\r\\x1b[31mc is empty.md" in shown
    assert "[red]{{ 7 * 7 }}<b>| is empty.md" in shown


@pytest.mark.parametrize("say", [console.error, console.note])
def test_hostile_messages_on_the_terminal(
    say: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A note or an error is one line, to the letter."""
    for message in HOSTILE:
        say(message)

    shown = capsys.readouterr().err
    assert commands_in(shown) == set()
    assert len(shown.splitlines()) == len(HOSTILE)
    assert f": {MARKUP}\n" in shown


def test_hostile_answers_on_the_terminal(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Gemini says about a failed chunk is text, too."""
    monkeypatch.setenv("COLUMNS", "2000")
    world.strike(FaultKind.ERROR_LINE, code=3, message=f"{ESCAPES} {MARKUP} {HTML}")
    generation = world.embed_all(notes([1]))

    display.failures(world.index.published.failures(generation))

    shown = capsys.readouterr().out
    assert commands_in(shown) == set()
    assert f"{MARKUP} {HTML}" in shown


def test_a_long_name_is_cut_wherever_its_words_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A heading without spaces is seen, too, as far as there is room."""
    hit = Hit(
        rank=1,
        score=0.5,
        uri="a.md",
        title="见" * 100,
        position=0,
        section="Short › " + "f(" + "a," * 60,
        anchor="",
        page=None,
        url="",
        metadata={},
        text="text",
    )

    display.hits([hit])

    shown = "".join(capsys.readouterr().out.split("\n"))
    assert f"1. {'见' * 79}… › Short › f({'a,' * 38}a…" in shown


def test_no_control_character_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Every one of them is shown as an escape, wherever it comes from."""
    text = "".join(f"before{chr(n)}after" for n in (*range(32), *range(0x7F, 0xA0), 0x2028))
    hit = Hit(
        rank=1,
        score=0.5,
        uri=text,
        title=text,
        position=0,
        section=text,
        anchor=text,
        page=None,
        url="",
        metadata={text: text},
        text=text,
    )
    failure = Failure(
        kind="chunk",
        uri=text,
        position=0,
        chunk_id=1,
        error_code=None,
        error_message=text,
        attempts=1,
    )

    display.hits([hit, replace(hit, url=text)])
    display.failures([failure])
    console.error(text)

    told = capsys.readouterr()
    assert commands_in(told.out + told.err) == set()


def commands_in(shown: str) -> set[str]:
    """Characters that a terminal obeys, but for the end of a line."""
    categories = {"Cc", "Zl", "Zp"}
    directions = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    obeyed = {c for c in shown if unicodedata.category(c) in categories or c in directions}
    return obeyed - {"\n"}


def test_a_key_that_no_plan_has_is_no_path(world: World) -> None:
    """A shard partition that somebody added by hand is refused before any file is touched."""
    with pytest.raises(LedgerError, match=r"no shard '\.\./\.\./outside'"):
        world.index.shards.get("../../outside")
