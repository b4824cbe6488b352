"""The path of a chunk: sent before its text, part of its identity, apart from what is read."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.factories import write_corpus
from tests.integration.dagster_support import MONTH, Pipeline, a_pipeline

MANUAL = """# Manual of the {name} {version}

What it is for, in a few words that stand right under the title and nowhere else.

## Commands

### Sending

{body}

### Receiving

Whatever arrives is kept until somebody looks at it, and is deleted on the day after that.
"""
LONG = "A sentence about {name} that is long enough to be something. " * 30


def manual(name: str, version: str) -> str:
    return MANUAL.format(name=name, version=version, body=LONG.format(name=name))


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Two manuals, chunks of 400 characters, and texts that are sent behind their path."""
    chunking = {"path": True, "max_chars": 400}
    first = {"first_month": MONTH}
    with a_pipeline(tmp_path, monkeypatch, chunking=chunking, schedule=first) as made:
        for name in ("Snail", "Pigeon"):
            write_corpus(made.docs, {f"{name}.md": manual(name, "1.0")})
        yield made


def rows(pipeline: Pipeline, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(pipeline.settings.index_path)) as connection:
        return connection.execute(query).fetchall()


def sent(pipeline: Pipeline) -> set[str]:
    """All texts in the request files, as Gemini got them."""
    lines = [
        json.loads(line)
        for path in pipeline.settings.shards_dir.glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return {line["request"]["content"]["parts"][0]["text"] for line in lines}


def test_gemini_gets_the_path_and_readers_the_text(pipeline: Pipeline) -> None:
    """Readers have text, section and anchor; what is sent begins with title and headings."""
    pipeline.reindex()

    found = rows(
        pipeline,
        "SELECT section, anchor, text FROM published_chunks WHERE uri LIKE '%Snail.md' "
        "AND section = 'Commands › Sending' ORDER BY position",
    )
    # The first one begins with the heading above.
    assert [anchor for _, anchor, _ in found][:2] == ["commands", "sending"]
    path = "Manual of the Snail › Commands › Sending"
    assert {f"{path}\n\n{text}" for _, _, text in found} <= sent(pipeline)
    assert not any(path in text for _, _, text in found)
    [hit] = pipeline.search(f"{path}\n\n{found[-1][2]}", k=1)
    assert (hit.section, hit.anchor, hit.text) == found[-1]
    assert hit.title == "Manual of the Snail 1.0"


def test_a_text_under_another_heading_is_another_chunk(pipeline: Pipeline) -> None:
    """What stands in two documents is bought for each of their titles, and once in a copy."""
    write_corpus(pipeline.docs, {"copy of Snail.md": manual("Snail", "1.0")})
    pipeline.reindex()

    chunks = rows(pipeline, "SELECT path FROM chunks WHERE text LIKE '%Whatever arrives%'")
    places = rows(pipeline, "SELECT uri FROM published_chunks WHERE text LIKE '%Whatever arrives%'")
    assert (len(chunks), len(places)) == (2, 3)


def test_another_version_in_the_title_buys_only_what_names_it(pipeline: Pipeline) -> None:
    """The path has no version, so that of each manual only the chunk with its title is new."""
    pipeline.reindex()
    before = pipeline.bought()
    for name in ("Snail", "Pigeon"):
        write_corpus(pipeline.docs, {f"{name}.md": manual(name, "1.1")})

    pipeline.reindex()

    assert len(pipeline.bought() - before) == 2
