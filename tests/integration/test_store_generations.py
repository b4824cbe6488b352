"""Generations: what is listed, what is missing, how far it is, what is given up."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.errors import LedgerError, PublishingError
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.generations import GenerationState, Progress
from embedding_assets.model.shards import ShardState
from embedding_assets.store.documents import SplitDocument
from embedding_assets.store.index import Index
from tests.factories import NOW, SPEC, a_document
from tests.integration.world import World, a_text, documents, notes

Rows = Callable[..., list[tuple[Any, ...]]]


def states(rows: Rows) -> list[str]:
    """The states of all generations, oldest first."""
    return [state for (state,) in rows("SELECT state FROM generations ORDER BY generation_id")]


def test_a_generation_goes_from_draft_to_published(world: World) -> None:
    """A draft is nobody's until it is sealed, is then being built, and is read once published."""
    generations = world.index.generations
    draft = generations.draft(month="2026-11", spec=SPEC, chunker="knife", now=NOW)
    assert draft.state is GenerationState.DRAFT
    assert (generations.building(), generations.newest("2026-11")) == (None, None)
    sealed = generations.seal(draft)
    assert sealed == replace(draft, state=GenerationState.BUILDING)
    assert (generations.building(), generations.published()) == (sealed, None)
    published = generations.publish(sealed, now=NOW)
    assert published == replace(sealed, state=GenerationState.PUBLISHED, published_at=NOW)
    assert (generations.building(), generations.published()) == (None, published)
    assert generations.newest("2026-11") == published
    assert generations.newest("2026-10") is None


def test_publishing_retires_the_generation_before(world: World, rows: Rows) -> None:
    """There is one published generation; the one before is kept, vectors and all."""
    world.reindex(notes(range(2)))
    world.reindex(notes(range(1, 4)))
    assert states(rows) == ["retired", "published"]
    assert rows("SELECT count(*) FROM vectors") == [(4,)]


def test_only_the_generation_being_built_can_be_published(world: World, rows: Rows) -> None:
    """Publishing what was superseded meanwhile is refused, and readers keep what they have."""
    old = world.reindex(notes(range(2)))
    superseded = world.build(notes(range(2)))
    world.build(notes(range(2)))
    with pytest.raises(PublishingError, match=f"generation {superseded.generation_id} cannot be"):
        world.index.generations.publish(superseded, now=NOW)
    assert states(rows) == ["published", "abandoned", "building"]
    published = world.index.generations.published()
    assert published is not None
    assert published.generation_id == old.generation_id


def test_the_same_text_in_many_documents_is_one_chunk(world: World, rows: Rows) -> None:
    """A text is kept and bought once, wherever and however often it stands."""
    corpus = documents({f"copies/{n}.txt": "The same in all of them." for n in range(10)})
    generation = world.build(corpus)
    assert rows("SELECT count(*) FROM document_chunks") == [(10,)]
    assert world.missing(generation) == ["The same in all of them."]
    assert world.progress(generation) == Progress(
        n_documents=10, n_chunks=1, n_embedded=0, n_pending=0, n_failed=0, n_unplanned=1
    )


def test_a_known_version_is_not_split_again(world: World) -> None:
    """Only documents whose content is new are split; all are listed."""
    world.build(notes(range(5)))
    summary = world.build_summary(notes(range(3, 9)))
    assert (summary.n_documents, summary.n_split, summary.n_failed) == (6, 4, 0)
    assert world.progress(summary.generation).n_chunks == 6


def test_another_way_of_cutting_splits_everything_again(world: World) -> None:
    """A version is known only as that chunker cut it."""
    world.build(notes(range(5)))
    assert world.build_summary(notes(range(5)), max_chars=1000).n_split == 5


def test_a_document_with_an_error_does_not_stop_the_others(world: World) -> None:
    """A document that cannot be read is listed with its reason; the rest is built."""
    broken = a_document(uri="broken.html", sha256="", text="", error_message="it is not text")
    summary = world.build_summary([broken, *notes(range(2))])
    assert (summary.n_documents, summary.n_split, summary.n_failed) == (3, 2, 1)
    [failure] = world.index.published.failures(summary.generation)
    assert (failure.kind, failure.uri, failure.error_message) == (
        "document",
        "broken.html",
        "it is not text",
    )


def test_a_document_that_can_be_read_again_is_split(world: World, rows: Rows) -> None:
    """An error is not for ever: the same bytes read well later are split, as another version."""
    [good] = documents({"notes.md": "A note."})
    world.build([replace(good, text="", title="", error_message="time-out")])
    summary = world.build_summary([good])
    assert (summary.n_split, world.missing(summary.generation)) == (1, ["A note."])
    query = "SELECT d.title, d.error_message FROM documents AS d JOIN generation_documents"
    query += " USING (document_id) ORDER BY generation_id"
    assert rows(query) == [("", "time-out"), (good.title, None)]
    assert world.index.published.failures(summary.generation) == []


def test_drafts_left_by_a_crash_are_given_up(world: World, rows: Rows) -> None:
    """A draft that nobody sealed is abandoned when the next one begins."""
    generations = world.index.generations
    generations.draft(month="2026-11", spec=SPEC, chunker="knife", now=NOW)
    world.build(notes(range(1)))
    assert states(rows) == ["abandoned", "building"]


def test_sealing_gives_up_the_shards_for_which_nothing_is_owed(world: World) -> None:
    """A superseded generation's shards live on exactly if a job is or may be under way for them."""
    small = world.changed(max_requests_per_job=1)
    states_before: list[JobState | None] = [
        None,
        JobState.RESERVED,
        JobState.UNCONFIRMED,
        JobState.PENDING,
        JobState.RUNNING,
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.REFUSED,
    ]
    shards = small.plan(world.build(notes(range(len(states_before)))))
    for shard, state in zip(shards, states_before, strict=True):
        _bring(world.index, shard.key, state)
    world.build(notes(range(len(states_before))))
    after = {
        state: world.index.shards.get(shard.key).state
        for shard, state in zip(shards, states_before, strict=True)
    }
    owed = {JobState.UNCONFIRMED, JobState.PENDING, JobState.RUNNING, JobState.SUCCEEDED}
    assert after == {
        state: ShardState.OPEN if state in owed else ShardState.ABANDONED for state in states_before
    }


def _bring(index: Index, key: str, state: JobState | None) -> None:
    """Give a shard an attempt in a state."""
    if state is None:
        return
    shard = index.shards.get(key)
    job = index.jobs.reserve(shard, requests_sha256="ab" * 32, now=NOW)
    if state is JobState.RESERVED:
        return
    job = index.jobs.move(job, JobState.UNCONFIRMED, unconfirmed_at=NOW)
    if state is not JobState.UNCONFIRMED:
        index.jobs.move(job, state)


def test_a_half_paid_synchronous_shard_outlives_its_generation(world: World) -> None:
    """What the synchronous route has begun to pay for is finished, not bought again."""
    [shard] = world.changed(route="sync").plan(world.build(notes(range(3))))
    world.index.jobs.reserve(shard, requests_sha256="ab" * 32, now=NOW)
    generation = world.build(notes(range(3)))
    assert world.index.shards.get(shard.key).state is ShardState.OPEN
    assert world.missing(generation) == []


def test_settled_shards_stay_settled(world: World) -> None:
    """Superseding a generation does not touch shards that are done."""
    [shard] = world.plan(world.build(notes(range(2))))
    world.submit(shard)
    world.finish(shard)
    world.build(notes(range(2)))
    assert world.index.shards.get(shard.key).state is ShardState.SETTLED


def test_what_an_older_generation_has_under_way_is_not_planned_again(world: World) -> None:
    """Chunks in a live shard of a superseded generation count as pending in the new one."""
    [shard] = world.plan(world.build(notes(range(3))))
    world.submit(shard)
    generation = world.build(notes(range(5)))
    assert world.missing(generation) == [a_text(3), a_text(4)]
    assert world.progress(generation).n_pending == 3
    world.finish(shard)
    assert world.progress(generation).n_embedded == 3


def test_what_an_abandoned_shard_held_is_planned_again(world: World) -> None:
    """Chunks of a shard that was given up unsent are missing again."""
    world.plan(world.build(notes(range(3))))
    assert len(world.missing(world.build(notes(range(3))))) == 3


def test_a_chunk_that_failed_for_good_is_not_planned_again(world: World) -> None:
    """A text that Gemini rejects is tried once; all others go on."""
    world.strike(FaultKind.ERROR_LINE, match="Note 1 ", code=3, message="no such words here")
    generation = world.embed_all(notes(range(3)))
    assert world.missing(generation) == []
    assert world.progress(generation) == Progress(
        n_documents=3, n_chunks=3, n_embedded=2, n_pending=0, n_failed=1, n_unplanned=0
    )


def test_a_chunk_is_tried_as_often_as_the_settings_say(world: World) -> None:
    """A failure that may pass is planned again until the attempts are used up."""
    world.strike(FaultKind.ERROR_LINE, match="Note 1 ", code=13)
    generation = world.build(notes(range(3)))
    planned = []
    for _ in range(4):
        shards = world.plan(generation)
        planned.append(sum(shard.n_requests for shard in shards))
        for shard in shards:
            world.submit(shard)
            world.finish(shard)
    assert planned == [3, 1, 1, 0]
    assert world.progress(generation).n_failed == 1


def test_another_spec_starts_afresh(world: World) -> None:
    """Neither vectors nor failures of one spec count for another."""
    world.strike(FaultKind.ERROR_LINE, match="Note 1 ", code=3, times=1)
    world.embed_all(notes(range(3)))
    other = world.build(notes(range(3)), spec=replace(SPEC, dimensions=16))
    assert len(world.missing(other)) == 3
    assert world.progress(other).n_unplanned == 3


def test_progress_adds_up_at_every_stage(world: World) -> None:
    """From the list of documents to the last vector the four parts make the whole."""
    small = world.changed(max_requests_per_job=2)
    generation = world.build(notes(range(4)))
    parts = [_parts(world.progress(generation))]
    first, second = small.plan(generation)
    parts.append(_parts(world.progress(generation)))
    world.submit(first)
    world.finish(first)
    parts.append(_parts(world.progress(generation)))
    world.strike(FaultKind.ERROR_LINE, match="Note 3 ", code=3)
    world.submit(second)
    world.finish(second)
    parts.append(_parts(world.progress(generation)))
    assert parts == [(0, 0, 0, 4), (0, 4, 0, 0), (2, 2, 0, 0), (3, 0, 1, 0)]


def _parts(progress: Progress) -> tuple[int, int, int, int]:
    """Embedded, pending, failed, unplanned."""
    return (progress.n_embedded, progress.n_pending, progress.n_failed, progress.n_unplanned)


def test_an_incomplete_generation_is_not_published(world: World, rows: Rows) -> None:
    """The gate says in numbers what is missing, and readers keep the old index."""
    world.reindex(notes(range(2)))
    generation = world.build(notes(range(4)))
    with pytest.raises(PublishingError, match="2026-11 cannot be published: 2 of 4 chunks are not"):
        world.publish(generation)
    world.plan(generation)
    with pytest.raises(PublishingError, match="2 of 4 chunks are still in open shards"):
        world.publish(generation)
    assert rows("SELECT count(*) FROM published_chunks") == [(2,)]


def test_a_document_that_becomes_readable_is_another_version(world: World, rows: Rows) -> None:
    """The same bytes, unusable once and usable now: what is published does not change by that."""
    good, bad = notes([0]), notes([1])
    unusable = replace(bad[0], text="", error_message="no luck today")
    world.reindex([*good, unusable])
    before = rows("SELECT chunk_id, uri, vector FROM published_chunks")
    generation = world.embed_all([*good, *bad])
    assert rows("SELECT chunk_id, uri, vector FROM published_chunks") == before
    world.publish(generation)
    assert len(rows("SELECT chunk_id FROM published_chunks")) == 2
    assert world.index.published.failures(generation) == []


def test_a_kept_version_is_counted_and_split_as_what_it_is(world: World, rows: Rows) -> None:
    """Text of another extraction is another version, so that it is not taken for today's."""
    [good] = documents({"notes.md": "A note."})
    kept = replace(good, error_message="no luck today", extraction="1")
    summary = world.build_summary([kept])
    assert (summary.n_documents, summary.n_split, summary.n_kept, summary.n_failed) == (1, 1, 1, 0)
    assert world.build_summary([good]).n_split == 1
    [(one,), (two,)] = rows("SELECT chunker FROM documents ORDER BY document_id")
    assert one.replace("extraction 1", f"extraction {good.extraction}") == two
    assert world.build_summary([kept]).n_split == 0


def test_a_version_that_was_removed_meanwhile_is_not_lost(world: World, index_path: Path) -> None:
    """If retention took what the build had found known, the build fails and says what to do."""
    generations = world.index.generations
    world.build(notes(range(2)))
    [document] = notes(range(1))
    draft = generations.draft(month="2026-11", spec=SPEC, chunker="knife", now=NOW)
    item = SplitDocument(document=document, chunker="knife", chunks=None)
    with pytest.raises(LedgerError, match=r"'notes/0000.md' was removed .* chunks again"):
        world.index.documents.add(draft, [item])


def test_a_forgotten_text_comes_back(world: World, rows: Rows, index_path: Path) -> None:
    """A chunk whose text retention forgot has it again, under its old id, once it is needed."""
    world.build(notes(range(2)))
    before = rows("SELECT chunk_id, sha256, text FROM chunks")
    with closing(sqlite3.connect(index_path)) as connection, connection:
        connection.execute("DELETE FROM document_chunks")
        connection.execute("DELETE FROM generation_documents")
        connection.execute("DELETE FROM documents")
        connection.execute("UPDATE chunks SET text = ''")
    generation = world.build(notes(range(2)))
    assert rows("SELECT chunk_id, sha256, text FROM chunks") == before
    assert world.missing(generation) == [a_text(0), a_text(1)]


def test_the_same_document_twice_is_listed_once(world: World, rows: Rows) -> None:
    """Two files whose names look the same to us are one document; no error, nothing lost."""
    [one] = notes(range(1))
    summary = world.build_summary([one, one])
    assert summary.n_documents == 2
    assert rows("SELECT count(*) FROM generation_documents") == [(1,)]
