"""What documents say about themselves and where people find them: published, linked, asked for."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedding_assets.clock import utc_now
from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.snapshots import open_previous, read_snapshot, write_snapshot
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.model.filters import Condition, Filter, parse_filter
from embedding_assets.model.generations import Generation
from embedding_assets.pipeline.build import build_generation
from embedding_assets.pipeline.read import read_documents
from embedding_assets.pipeline.retry import retry_failures
from embedding_assets.reader.search import nearest
from embedding_assets.settings.values import Corpus
from tests.factories import NOW, SPEC, a_document, write_corpus
from tests.integration.world import World, a_text

Rows = Callable[..., list[tuple[Any, ...]]]

PUBLISHED = "SELECT url, metadata FROM published_chunks ORDER BY uri"


# --- from month to month --------------------------------------------------------------------


def built(world: World, folder: Path, month: int, **urls: str) -> Generation:
    """A month's generation of the files in a folder, embedded and not published."""
    corpus = Corpus(paths=("docs",), urls=urls)
    asked = world.settings.model_copy(update={"corpus": corpus})
    asked = asked.placed(data_dir=Path(), corpus=folder, tables=folder, source=folder)
    now = utc_now() + timedelta(hours=month)
    snapshot = asked.snapshots_dir / f"2026-{month:02}.parquet"
    with open_previous(asked.snapshots_dir) as previous:
        read = write_snapshot(snapshot, read_documents(asked, previous, now=now), now=now)
    assert read.documents == read.readable
    generation = build_generation(
        world.index,
        read_snapshot(snapshot),
        month=f"2026-{month:02}",
        spec=SPEC,
        chunker=Chunker.of(asked, SPEC),
        now=NOW,
    ).generation
    for shard in world.plan(generation):
        world.submit(shard)
        world.finish(shard)
    return generation


def test_changing_only_metadata_sends_nothing(world: World, tmp_path: Path, rows: Rows) -> None:
    """It is published with its generation, and what was said before is served again with its."""
    text = "---\ntitle: Notes\nauthor: {}\n---\n" + a_text(1)
    write_corpus(tmp_path / "docs", {"a.md": text.format("Ada")})
    ada = [("", '{"author": "Ada", "title": "Notes"}')]
    bob = [("", '{"author": "Bob", "title": "Notes"}')]
    first = built(world, tmp_path, 1)
    world.publish(first)
    bill = world.emulator.bill()

    write_corpus(tmp_path / "docs", {"a.md": text.format("Bob")})
    second = built(world, tmp_path, 2)

    assert rows(PUBLISHED) == ada
    world.publish(second)
    assert rows(PUBLISHED) == bob
    assert world.emulator.bill() == bill
    world.index.generations.publish(world.index.generations.get(first.generation_id), now=NOW)
    assert rows(PUBLISHED) == ada


def test_other_urls_take_effect_on_unchanged_documents(
    world: World, tmp_path: Path, rows: Rows
) -> None:
    """Nothing is sent; links change when the generation is published, and back with it."""
    write_corpus(tmp_path / "docs", {"a.md": f"# One\n\n{a_text(1)}"})
    first = built(world, tmp_path, 1)
    world.publish(first)
    bill = world.emulator.bill()
    assert rows(PUBLISHED) == [("", "{}")]

    links = []
    for month, address in [(2, "https://old.example/"), (3, "https://new.example/{stem}/")]:
        generation = built(world, tmp_path, month, **{"docs/": address})
        links += rows(PUBLISHED)
        world.publish(generation)

    assert [url for url, _ in links + rows(PUBLISHED)] == [
        "",
        "https://old.example/a.md#one",
        "https://new.example/a/#one",
    ]
    assert world.emulator.bill() == bill
    world.index.generations.publish(world.index.generations.get(first.generation_id), now=NOW)
    assert rows(PUBLISHED) == [("", "{}")]


# --- links ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "media_type", "anchor", "page", "link"),
    [
        ("", "text/html", "a", 0, ""),
        ("", "application/pdf", "", 3, ""),
        ("https://x.example/a", "text/html", "", 0, "https://x.example/a"),
        ("https://x.example/a", "text/html", "b", 0, "https://x.example/a#b"),
        ("https://x.example/#/a", "text/html", "b", 0, "https://x.example/#/a"),
        ("https://x.example/a", "application/pdf", "", 3, "https://x.example/a#page=3"),
        ("https://x.example/a", "application/pdf", "b", 3, "https://x.example/a#b"),
        ("https://x.example/a", "application/x-slides", "", 3, "https://x.example/a"),
    ],
)
def test_a_link_leads_to_the_place(
    world: World, rows: Rows, url: str, media_type: str, anchor: str, page: int, link: str
) -> None:
    """To the anchor, or the page of a PDF; SQL clients, readers and the command see the same."""
    text = "One\n\nmore"
    blocks = (
        Block(BlockKind.HEADING, 0, 3, level=1, label="One", anchor=anchor, page=page),
        Block(BlockKind.PROSE, 5, 9, page=page),
    )
    metadata = {"author": "Ada", "tags": ["x", "y"]}
    document = a_document(
        text=text, blocks=blocks, url=url, media_type=media_type, metadata=json.dumps(metadata)
    )
    world.reindex([document])

    [seen] = rows("SELECT chunk_id, page, url, metadata FROM published_chunks")
    assert seen == (1, page or None, link, json.dumps(metadata))
    with world.index.published.view() as view:
        place = view.places([1])[1]
        [hit] = nearest(view, np.ones(SPEC.dimensions, np.float32), k=1)
    for found in (place, hit):
        assert (found.page, found.url, found.metadata) == (page or None, link, metadata)


# --- filters --------------------------------------------------------------------------------


ODD = 'it\'s [not] "a".b $[0] --'


def corpus() -> list[Document]:
    """Documents that differ in what they say about themselves; each begins with its own name."""
    about: dict[str, dict[str, Any]] = {
        "ada": {"author": "Ada", "tags": ["house", "rules"], "language": "en"},
        "bob": {"author": ["Bob", "Ada"], "tags": "house", "a.b": "x"},
        "eve": {"language": "de", ODD: ODD, "a": "nothing"},
        "nil": {},
    }
    return [
        a_document(
            uri=f"docs/{name}.md",
            sha256=f"{n:064}",
            title=name.title(),
            text=f"# Part of {name}\n\n{a_text(n)}",
            url="" if name == "nil" else f"https://docs.example/{name}/",
            metadata=json.dumps(said),
        )
        for n, (name, said) in enumerate(about.items())
    ]


def found(world: World, where: Filter) -> list[str]:
    """Names of the documents that a search among these finds."""
    with world.index.published.view() as view:
        hits = nearest(view, np.ones(SPEC.dimensions, np.float32), k=100, where=where)
    return sorted(Path(hit.uri).stem for hit in hits)


# Each with the documents that are meant.
FILTERS = {
    "docs/*": "ada bob eve nil",
    "docs/[ab]*": "ada bob",
    "uri != docs/[ab]* ": "eve nil",
    "url = https://docs.example/e*": "eve",
    "url = ''": "nil",
    "title = Ada": "ada",
    "title = ada": "",
    "section = 'Part of [a-b]*'": "ada bob",
    "text = *number?2*": "eve",
    "author = Ada": "ada bob",
    "author = A*": "ada bob",
    "author = B?b": "bob",
    "author != Ada": "eve nil",
    "author != *": "eve nil",
    "tags = house": "ada bob",
    "tags = rules and author = Ada": "ada",
    "tags = house and author != Bob and language = en": "ada",
    "a.b = x": "bob",
    "a = *": "eve",
    "tags = *house*rules*": "",
    "nothing = *": "",
    "nothing != *": "ada bob eve nil",
    'author = "x\' OR 1=1 --" ': "",
    "'x\") OR 1=1 --' = x": "",
    "'$' = *": "",
}


def test_a_filter_finds_what_it_means(world: World) -> None:
    """Own names and metadata, texts and lists, whatever is in quotes."""
    world.reindex(corpus())
    assert {where: " ".join(found(world, parse_filter(where))) for where in FILTERS} == FILTERS


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1), pattern=st.text(), is_negated=st.booleans())
def test_whatever_is_asked_is_answered(
    world: World, name: str, pattern: str, is_negated: bool
) -> None:
    """Any name and any pattern, those that are no UTF-8 included."""
    if world.index.generations.published() is None:
        world.reindex(corpus())
    for asked in (name, f"{name}\udc80", ODD):
        condition = Condition(name=asked, pattern=pattern, is_negated=is_negated)
        assert len(found(world, Filter(conditions=(condition,)))) <= 4


def test_what_equals_a_pattern_is_found(world: World) -> None:
    """Names and values with all that patterns and SQL have in them can be asked for."""
    world.reindex(corpus())
    condition = Condition(name=ODD, pattern=ODD)
    assert found(world, Filter(conditions=(condition,))) == ["eve"]
    endless = Condition(name=ODD, pattern="\N{GRINNING FACE}" * 10_000)
    assert found(world, Filter(conditions=(endless,) * 100)) == []


def test_failures_are_filtered_and_tried_again_by_metadata(world: World) -> None:
    """What has no chunks has no section, and is not found by one."""
    world.strike(FaultKind.ERROR_LINE, code=3)
    broken = a_document(uri="docs/bad.md", text="", sha256="", error_message="no", blocks=())
    generation = world.embed_all([*corpus(), broken])

    def failed(where: str) -> list[str]:
        failures = world.index.published.failures(generation, parse_filter(where))
        return [Path(failure.uri).stem for failure in failures]

    assert failed("docs/*") == ["bad", "ada", "bob", "eve", "nil"]
    assert failed("author = Ada") == ["ada", "bob"]
    assert failed("author != Ada") == ["bad", "eve", "nil"]
    assert failed("section = *eve") == ["eve"]
    assert failed("section != *eve") == ["ada", "bob", "nil"]
    summary = retry_failures(world.index, world.settings, document="author = Ada", code=None)
    assert summary.n_chunks == 2
    assert failed("docs/*") == ["bad", "eve", "nil"]
