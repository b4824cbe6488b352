"""The estimate: what the plan will be, known before anything is written."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.cli.encode import encode
from embedding_assets.clock import utc_now
from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.files import read_files
from embedding_assets.corpus.find import find_documents
from embedding_assets.corpus.snapshots import open_previous, read_snapshot, write_snapshot
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.errors import CorpusError, SettingsError
from embedding_assets.model.shards import Route
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.money.estimate import Estimate, Unreadable
from embedding_assets.pipeline.estimate import estimate_reindex
from embedding_assets.pipeline.plan import Plan
from embedding_assets.settings.values import (
    Chunking,
    Corpus,
    Embedding,
    Limits,
    RouteChoice,
    Settings,
)
from embedding_assets.store.index import open_index_or_empty
from tests.factories import NOW, SPEC, write_corpus
from tests.integration.world import World, a_text

Rows = Callable[..., list[tuple[Any, ...]]]
Desk = Callable[[Mapping[str, str]], World]


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    """A world whose settings name a corpus on disk: the files of the last call."""
    corpus = tmp_path / "corpus"

    def written(texts: Mapping[str, str]) -> World:
        for path in sorted(corpus.glob("*")):
            path.unlink()
        write_corpus(corpus, dict(texts))
        return replace(world, settings=_with(world.settings, corpus=Corpus(paths=(str(corpus),))))

    corpus.mkdir()
    return written


def _with(settings: Settings, **sections: object) -> Settings:
    return settings.model_copy(update=sections)


def notes(*numbers: int) -> dict[str, str]:
    """Files of one chunk each."""
    return {f"{number:04}.md": a_text(number) for number in numbers}


def corpus_of(world: World, *, now: datetime = NOW) -> Iterator[Document]:
    """The documents as the pipeline reads them."""
    settings = world.settings.corpus
    keep_for = timedelta(days=settings.keep_unreadable_days)
    with open_previous(world.settings.snapshots_dir) as previous:
        found = find_documents(settings.paths)
        yield from read_files(
            found, previous, now=now, keep_for=keep_for, max_bytes=settings.max_file_bytes
        )


def estimate(world: World, *, provider: str = "emulator", now: datetime = NOW) -> Estimate:
    """What the world's next reindex would send."""
    return estimate_reindex(world.index, world.settings, provider=provider, now=now)


def plan(world: World, *, now: datetime = NOW) -> Plan:
    """What is planned if the corpus is built now."""
    settings = world.settings
    spec = EmbeddingSpec(
        provider="emulator",
        model=settings.embedding.model,
        dimensions=settings.embedding.dimensions,
        task_type=settings.embedding.task_type,
    )
    corpus = corpus_of(world, now=now)
    chunking = settings.chunking
    built = world.build(corpus, spec=spec, max_chars=chunking.max_chars, has_path=chunking.path)
    return world.make_plan(built)


def assert_agree(world: World, *, now: datetime = NOW) -> Estimate:
    """The estimate, after it has proved to be what is planned next, to the chunk and the cent."""
    found = estimate(world, now=now)
    planned = plan(world, now=now)
    assert (found.progress, found.packed) == (planned.progress, planned.packed)
    assert found.packed.n_requests == planned.packed.n_requests
    assert found.packed.n_bytes == planned.packed.n_bytes
    assert found.packed.n_tokens == planned.packed.n_tokens
    assert found.token_basis == planned.tariff.estimator.basis
    assert (found.route, found.costs.by(found.route), found.costs.sync_usd) == (
        planned.route,
        planned.estimated_cost_usd,
        planned.sync_cost_usd,
    )
    return found


def test_the_first_reindex(desk: Desk) -> None:
    """With an empty index everything is sent, the same text in two documents once."""
    world = desk({**notes(*range(30)), "copy.md": a_text(7), "long.txt": a_text(1) * 100})
    found = assert_agree(world)
    assert found.progress.n_documents == 32
    assert found.packed.n_requests == found.progress.n_chunks > 30
    assert (found.n_jobs, found.duration.n_waves) == (1, 1)


def estimate_at_first(world: World, directory: Path) -> Estimate:
    """The same before there is an index."""
    path = directory / "no data yet" / "index.db"
    with open_index_or_empty(path) as index:
        found = estimate_reindex(index, world.settings, provider="emulator", now=NOW)
    assert not path.parent.exists()
    return found


def test_without_an_index(desk: Desk, tmp_path: Path) -> None:
    """Before there is an index the estimate is what it is for an empty one, and leaves none."""
    world = desk(notes(*range(12)))
    found = estimate_at_first(world, tmp_path)
    assert found == estimate(world)
    assert found.packed.n_requests == 12
    assert found.last_bill is None


@pytest.mark.parametrize(
    "limits",
    [
        {"max_requests_per_job": 7},
        {"max_bytes_per_job": 900},
        {"max_tokens_per_job": 100},
        {"route": RouteChoice.AUTO},
        {"route": RouteChoice.AUTO, "min_batch_requests": 20},
        {"route": RouteChoice.SYNC, "max_tokens_per_job": 100},
    ],
)
def test_every_limit_counts(desk: Desk, limits: dict[str, Any]) -> None:
    """Jobs and route follow the same settings, to the same shards."""
    found = assert_agree(desk(notes(*range(25))).changed(**limits))
    assert found.n_jobs == (len(found.packed.shards) if found.route is Route.BATCH else 0)


def test_what_the_index_has_is_reused(desk: Desk) -> None:
    """Only texts without a vector are sent, numbered on after those that are known."""
    first = desk(notes(*range(100)))
    first.reindex(corpus_of(first))
    found = assert_agree(desk(notes(*range(90, 115))).changed(max_bytes_per_job=900))
    assert (found.progress.n_embedded, found.packed.n_requests) == (10, 15)
    assert found.notes == (
        "the emulator would answer, for nothing; the dollars are what Gemini would charge",
    )


def test_nothing_to_send(desk: Desk) -> None:
    """An unchanged corpus costs nothing."""
    world = desk(notes(*range(5)))
    world.reindex(corpus_of(world))
    found = assert_agree(world)
    assert (found.packed.n_requests, found.n_jobs, found.costs.sync_usd) == (0, 0, Decimal(0))
    assert found.route_reason == "there is nothing to send"


def test_what_is_under_way_is_not_sent_again(desk: Desk) -> None:
    """Texts in a live job are paid for; those planned and not sent are planned again."""
    world = desk(notes(*range(10))).changed(max_requests_per_job=4)
    first, *_ = world.plan(world.build(corpus_of(world)))
    world.submit(first)
    found = assert_agree(world)
    assert (found.progress.n_pending, found.packed.n_requests) == (4, 6)


def test_a_half_paid_synchronous_shard_is_under_way(desk: Desk) -> None:
    """A reservation of the synchronous route may have been paid in part already."""
    world = desk(notes(*range(5))).changed(route=RouteChoice.SYNC)
    [shard] = world.plan(world.build(corpus_of(world)))
    world.index.jobs.reserve(shard, requests_sha256="ab" * 32, now=NOW)
    assert assert_agree(world).progress.n_pending == 5


def test_failures(desk: Desk) -> None:
    """A text that failed for good is left alone, one that may pass is sent again."""
    world = desk(notes(*range(5)))
    world.strike(FaultKind.ERROR_LINE, match="Note 1 ", code=3)
    world.strike(FaultKind.ERROR_LINE, match="Note 2 ", code=13)
    world.embed_all(corpus_of(world))
    found = assert_agree(world)
    assert (found.progress.n_embedded, found.progress.n_failed) == (3, 1)
    assert found.packed.n_requests == 1


def test_another_spec_buys_everything_anew(desk: Desk) -> None:
    """With other dimensions nothing is reused, and the estimate says why."""
    world = desk(notes(*range(5)))
    world.reindex(corpus_of(world))
    changed = replace(
        world, settings=_with(world.settings, embedding=Embedding(dimensions=SPEC.dimensions * 2))
    )
    found = assert_agree(changed)
    assert (found.progress.n_embedded, found.packed.n_requests) == (0, 5)
    assert found.notes[0] == (
        "reused 0, because the embedding spec changed from emulator / gemini-embedding-001 / "
        "8 dimensions / RETRIEVAL_DOCUMENT to emulator / gemini-embedding-001 / 16 dimensions / "
        "RETRIEVAL_DOCUMENT, and their vectors are never mixed"
    )


def test_requests_go_in_the_order_of_their_numbers(desk: Desk) -> None:
    """A new text that stands before known ones is sent after them, as the plan has it."""
    first = desk(notes(*range(50, 60)))
    first.plan(first.build(corpus_of(first)))
    found = assert_agree(desk(notes(*range(40, 60))).changed(max_requests_per_job=6))
    assert found.packed.shards[0].chunk_ids == (1, 2, 3, 4, 5, 6)


def test_the_emulators_vectors_are_not_googles(desk: Desk) -> None:
    """With a key nothing that the emulator answered is reused."""
    world = desk(notes(*range(5)))
    world.reindex(corpus_of(world))
    found = estimate(world, provider="gemini")
    assert found.packed.n_requests == 5
    [note] = found.notes
    assert note.startswith("reused 0, because the embedding spec changed from emulator / gemini-")


def test_another_way_of_cutting_is_said(desk: Desk) -> None:
    """With shorter chunks long documents are new texts, short ones are what they were."""
    world = desk({**notes(1, 2), "book.txt": "\n\n".join(a_text(n) for n in range(50))})
    world.reindex(corpus_of(world))
    shorter = replace(
        world, settings=_with(world.settings, chunking=Chunking(max_chars=400, path=False))
    )
    found = assert_agree(shorter)
    assert found.progress.n_embedded == 2
    assert "documents are read or cut in another way than the published ones" in found.notes[0]


def test_documents_that_cannot_be_read_are_named(desk: Desk) -> None:
    """They are counted, a few are named, and the others are estimated."""
    world = desk({**notes(1), **{f"bad{n}.md": "\0" for n in range(5)}})
    found = assert_agree(world)
    assert (found.progress.n_documents, found.n_unreadable, found.packed.n_requests) == (6, 5, 1)
    corpus = world.settings.corpus.paths[0]
    assert found.unreadable == tuple(
        Unreadable(
            uri=f"{corpus}/bad{n}.md",
            error_message="it is binary, not text: it contains NUL bytes; if it is UTF-16, save it "
            "as UTF-8",
        )
        for n in range(3)
    )


def _spoil(corpus: Path) -> None:
    (corpus / "0001.md").write_bytes(b"\0")


def _edit(corpus: Path) -> None:
    (corpus / "0001.md").write_text("Another text.")


def _rename(corpus: Path) -> None:
    (corpus / "0001.md").rename(corpus / "renamed.md")


def _swap(corpus: Path) -> None:
    write_corpus(corpus, {"0001.md": a_text(2), "0002.md": a_text(1)})


def _touch(corpus: Path) -> None:
    os.utime(corpus / "0001.md", (0, 0))


@pytest.mark.parametrize(
    ("change", "n_requests", "n_embedded"),
    [(_spoil, 0, 5), (_edit, 1, 4), (_rename, 0, 5), (_swap, 0, 5), (_touch, 0, 5)],
)
def test_what_a_snapshot_saves_is_saved_by_both(
    desk: Desk, change: Callable[[Path], None], n_requests: int, n_embedded: int
) -> None:
    """Read by the help of the month before, plan and estimate find the same to send."""
    world = desk(notes(*range(5)))
    now = utc_now() + timedelta(hours=1)
    snapshot = world.settings.snapshots_dir / "2026-10.parquet"
    write_snapshot(snapshot, corpus_of(world, now=now), now=now)
    world.reindex(read_snapshot(snapshot))

    change(Path(world.settings.corpus.paths[0]))

    found = assert_agree(world, now=now + timedelta(days=30))
    assert (found.packed.n_requests, found.progress.n_embedded) == (n_requests, n_embedded)
    assert (found.progress.n_documents, found.n_unreadable) == (5, 0)


def test_a_file_that_keeps_its_last_good_version_is_said(desk: Desk) -> None:
    """It is not left out while it is kept, and left out after that."""
    world = desk(notes(1, 2))
    now = utc_now() + timedelta(hours=1)
    snapshot = world.settings.snapshots_dir / "2026-10.parquet"
    write_snapshot(snapshot, corpus_of(world, now=now), now=now)
    _spoil(Path(world.settings.corpus.paths[0]))
    write_snapshot(snapshot, corpus_of(world, now=now), now=now)

    found = assert_agree(world, now=now + timedelta(days=89))
    assert (found.packed.n_requests, found.unreadable) == (2, ())
    assert found.notes[0] == (
        "1 file cannot be read; the last good version is kept (corpus.keep_unreadable_days)"
    )
    assert assert_agree(world, now=now + timedelta(days=90)).n_unreadable == 1


def test_the_error_of_the_last_estimate_is_known(desk: Desk) -> None:
    """What was billed corrects the tokens of the next estimate, as it does the plan's."""
    world = desk(notes(*range(200)))
    world.reindex(corpus_of(world))
    found = assert_agree(desk(notes(*range(150, 400))))
    bill = found.last_bill
    assert bill is not None
    assert bill.estimate_error is not None
    assert bill.billed_tokens > 0
    assert found.token_basis.startswith("calibrated on 200 billed requests")
    assert encode(found)["last_estimate"] == {
        "estimated_tokens": bill.estimated_tokens,
        "billed_tokens": bill.billed_tokens,
        "off_by_percent": round(bill.estimate_error * 100, 2),
    }


def test_both_budgets_are_asked(desk: Desk, tmp_path: Path) -> None:
    """A reindex that would be refused says so, with its own limit or that of the month."""
    world = desk(notes(*range(10)))
    assert estimate(world).over_budget is None
    small = world.with_budget(Decimal("0.0000001"))
    assert "budget.max_cost_usd" in str(estimate(small).over_budget)
    fresh = estimate_at_first(small, tmp_path)
    assert fresh.over_budget == estimate(small).over_budget


def test_what_was_spent_this_month_counts(desk: Desk) -> None:
    """The month's budget knows what earlier reindexes of the month have cost."""
    world = desk(notes(*range(10)))
    world.reindex(corpus_of(world))
    more = desk(notes(*range(12)))
    limit = estimate(more).costs.batch_usd * 2
    budget = world.settings.budget.model_copy(update={"max_cost_per_month_usd": limit})
    poor = replace(more, settings=_with(more.settings, budget=budget))
    assert "budget.max_cost_per_month_usd" in str(estimate(poor).over_budget)


def test_requests_that_would_wait(desk: Desk) -> None:
    """With limits.max_wait_h a trickle is not sent at once, and the estimate says until when."""
    world = desk(notes(*range(3))).changed(route=RouteChoice.AUTO, max_wait_h=5)
    assert estimate(world).notes[0] == (
        "they are held for more until 2026-11-23 08:00 UTC (limits.max_wait_h); "
        "`embedding-assets reindex --now` sends them at once"
    )


def test_too_many_synchronous_requests_are_an_answer(desk: Desk) -> None:
    """What the plan refuses is estimated all the same, and said."""
    world = desk(notes(*range(5))).changed(route=RouteChoice.SYNC, max_sync_requests=4)
    found = estimate(world)
    assert found.packed.n_requests == 5
    assert found.notes[0] == (
        "it would be refused: 5 requests are more than limits.max_sync_requests, 4"
    )
    with pytest.raises(SettingsError, match="max_sync_requests"):
        plan(world)


def test_an_estimate_writes_nothing(desk: Desk, rows: Rows, index_path: Path) -> None:
    """Not a row of the index changes, nor any other file."""
    world = desk(notes(*range(5)))
    world.reindex(corpus_of(world))
    changed = desk(notes(*range(3, 9)))
    before = _everything(rows, index_path.parent)
    estimate(changed)
    assert _everything(rows, index_path.parent) == before


def _everything(rows: Rows, directory: Path) -> list[object]:
    tables = rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'vectors'")
    contents = [rows(f"SELECT * FROM {name}") for (name,) in sorted(tables)]  # noqa: S608
    return [*contents, sorted(path.name for path in directory.rglob("*"))]


def test_a_corpus_that_is_not_there(world: World, tmp_path: Path) -> None:
    """A path that does not exist is an error, not a corpus without documents."""
    gone = _with(world.settings, corpus=Corpus(paths=(str(tmp_path / "gone"),)))
    with pytest.raises(CorpusError, match="does not exist"):
        estimate_reindex(world.index, gone, provider="emulator", now=NOW)


def test_more_texts_than_are_looked_up_at_once(desk: Desk) -> None:
    """Numbering goes on across batches, and a text is counted once in all of them."""
    numbers = [str(n) for n in range(1200)]
    book = "\n\n".join(f"{n} " + "word " * 18 for n in numbers)
    world = desk({"a.txt": book, "b.txt": book, "c.txt": book + "\n\nthe end"})
    tiny = replace(
        world,
        settings=_with(
            world.settings, chunking=Chunking(max_chars=100, path=False), limits=Limits()
        ),
    )
    assert assert_agree(tiny).packed.n_requests > 1100


def test_more_documents_than_are_split_at_once(desk: Desk) -> None:
    """A text that stands in an earlier batch, too, is counted once, and numbered there."""
    copies = {f"copy of {name}": text for name, text in notes(*range(300, 600)).items()}
    found = assert_agree(desk({**notes(*range(600)), **copies}))
    assert (found.progress.n_documents, found.packed.n_requests) == (900, 600)
