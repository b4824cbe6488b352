"""Retention: what nobody needs goes, what a job or a kept generation needs stays, bills stay."""

import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.cli.encode import encode
from embedding_assets.doctor.index_side import judge_shard
from embedding_assets.errors import PublishingError
from embedding_assets.gaps import Gap
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.gates import GateName
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.money.bill import Grouping, make_statement
from embedding_assets.pipeline.publish import generation_to_serve
from embedding_assets.settings.values import Retention
from tests.factories import NOW, SPEC
from tests.integration.conftest import Rows
from tests.integration.worker import remove_superfluous
from tests.integration.world import World, a_text, notes

ALL = frozenset(GateName)
MONTHS = ("2026-07", "2026-08", "2026-09", "2026-10", "2026-11")
DAY = timedelta(days=1)


def keeping(world: World, n: int = 1, *, unused_days: int = 0) -> World:
    """The same world with less to keep."""
    retention = Retention(keep_generations=n, unused_vectors_days=unused_days)
    return replace(world, settings=world.settings.model_copy(update={"retention": retention}))


def months_of_notes(world: World, n: int = 5) -> list[Generation]:
    """So many months, in each of which two of five notes are replaced by new ones."""
    published = []
    for number, month in enumerate(MONTHS[:n]):
        corpus = notes(range(2 * number, 2 * number + 5))
        generation = world.embed_all(corpus, month=month)
        world.publish(generation, now=NOW + number * DAY)
        published.append(generation)
    return published


def states(world: World) -> list[str]:
    return [generation.state.value for generation in world.index.generations.all()]


def bill(world: World) -> dict[str, Any]:
    """What every generation cost, and what it would have cost otherwise."""
    statement: dict[str, Any] = encode(
        make_statement(world.index.bills.all({}), by=Grouping.GENERATION)
    )
    for row in statement["rows"]:
        del row["state"]
    return statement


def texts(rows: Rows) -> set[str]:
    """What is left of all texts."""
    return {text for (text,) in rows("SELECT text FROM chunks WHERE text != ''")}


def test_the_last_generations_are_kept(world: World, rows: Rows) -> None:
    """Three by default, the published one included; of the others only their bill is left."""
    months_of_notes(world)
    before = bill(world)
    removed = keeping(world, 3).retain()
    assert states(world) == ["removed", "removed", "retired", "retired", "published"]
    assert removed.n_generations == 2
    assert removed.n_chunks == removed.n_vectors == 4
    assert texts(rows) == {a_text(number) for number in range(4, 13)}
    assert rows("SELECT count(*) FROM vectors") == [(9,)]
    assert bill(world) == before


def test_what_was_served_last_is_kept_not_what_is_newest(world: World) -> None:
    """After a roll-back the generation that was gone back to outlives the one that was bad."""
    first, _, third = months_of_notes(world, 3)
    again = generation_to_serve(world.index, first.generation_id)
    world.index.generations.publish(again, now=NOW + 3 * DAY)
    fourth = world.embed_all(notes(range(5)), month="2026-10")
    world.publish(fourth, now=NOW + 4 * DAY)
    keeping(world, 2).retain()
    assert states(world) == ["retired", "removed", "removed", "published"]
    assert generation_to_serve(world.index, first.generation_id).month == first.month
    with pytest.raises(PublishingError, match=rf"generation {third.generation_id} of 2026-09 is r"):
        generation_to_serve(world.index, third.generation_id)


def test_an_abandoned_generation_is_cleaned_up(world: World, rows: Rows) -> None:
    """What was superseded before it was published is never served, and leaves nothing behind."""
    world.build(notes(range(50, 60)))
    world.reindex(notes(range(3)))
    keeping(world, 3).retain()
    assert states(world) == ["abandoned", "published"]
    assert texts(rows) == {a_text(number) for number in range(3)}
    assert rows("SELECT count(*) FROM documents") == [(3,)]


def test_unused_vectors_wait_in_case_their_texts_come_back(world: World) -> None:
    """Within unused_vectors_days a text that comes back costs nothing, afterwards it is new."""
    kept = keeping(world, unused_days=30)
    months_of_notes(kept, 2)
    assert kept.retain(now=NOW).n_vectors == 0
    assert kept.retain(now=NOW + 29 * DAY).n_vectors == 0
    comes_back = kept.build(notes(range(1)), month="2026-12")
    assert kept.missing(comes_back) == []
    kept.publish(comes_back, allow=ALL, now=NOW + 29 * DAY)
    assert kept.retain(now=NOW + 31 * DAY).n_vectors == 1  # the other one of the first month
    assert kept.missing(kept.build(notes(range(2)), month="2027-01")) == [a_text(1)]


def test_a_forgotten_text_that_comes_back_is_the_same_chunk(world: World, rows: Rows) -> None:
    """It is bought again under its old id, and what it cost the first time stays on the bill."""
    months_of_notes(keeping(world), 2)
    (chunk_id,) = rows("SELECT chunk_id FROM chunks WHERE text = ?", a_text(0))[0]
    keeping(world).retain()
    assert rows("SELECT text FROM chunks WHERE chunk_id = ?", chunk_id) == [("",)]
    world.publish(world.embed_all(notes(range(1)), month="2026-09"), allow=ALL)
    assert rows("SELECT text FROM chunks WHERE chunk_id = ?", chunk_id) == [(a_text(0),)]
    assert rows("SELECT count(*) FROM requests WHERE chunk_id = ?", chunk_id) == [(2,)]


def test_the_doctor_misses_nothing_that_was_forgotten(world: World) -> None:
    """Requests that were embedded and whose vectors are gone on purpose are no finding."""
    months_of_notes(world)
    keeping(world).retain()
    shards = world.index.checkup.shards()
    assert [finding for shard in shards for finding in judge_shard(shard)] == []


def test_a_live_job_keeps_its_texts(world: World) -> None:
    """A superseded generation's job is still collected: its requests, texts and files stay."""
    superseded = world.build(notes(range(50, 54)), month="2026-09")
    (shard,) = world.plan(superseded)
    world.submit(shard)
    world.reindex(notes(range(3)), month="2026-10")
    keeping(world).retain(now=NOW + 365 * DAY)
    file = world.settings.shards_dir / f"{shard.key}.jsonl"
    assert file.exists()
    assert [passage.text for _, passage in world.index.shards.pending_requests(shard)] == [
        a_text(number) for number in range(50, 54)
    ]
    summary = world.finish(shard)
    assert summary.n_embedded == 4
    assert world.state(shard) is JobState.COLLECTED


def test_a_job_that_may_still_appear_keeps_its_texts(world: World, rows: Rows) -> None:
    """A call without an answer is watched for days; its texts are there when its job appears."""
    months_of_notes(world, 1)
    given_up = world.build(notes(range(70, 72)), month="2026-08")
    world.plan(given_up)
    world.reindex(notes(range(4)), month="2026-08")
    keeping(world).retain(now=NOW + DAY)
    assert a_text(70) in texts(rows)
    keeping(world).retain(now=NOW + 8 * DAY)
    assert a_text(70) not in texts(rows)


def test_nothing_is_removed_while_a_generation_is_listed(world: World, rows: Rows) -> None:
    """A draft may be about to take up a version that no other generation has any more."""
    months_of_notes(world, 3)
    world.index.generations.draft(month="2026-10", spec=SPEC, chunker="any", now=NOW)
    assert keeping(world).retain().n_documents == 0
    assert len(texts(rows)) == 9
    world.build(notes(range(4, 9)), month="2026-10")
    assert keeping(world).retain().n_documents == 4


def test_vectors_of_a_spec_that_no_generation_has_go_too(world: World, rows: Rows) -> None:
    """After a change of the spec the old vectors stay as long as one can roll back to them."""
    world.reindex(notes(range(5)), month="2026-07")
    other = replace(SPEC, dimensions=4)
    for number, month in enumerate(MONTHS[1:4], start=1):
        generation = world.embed_all(notes(range(5)), month=month, spec=other)
        world.publish(generation, now=NOW + number * DAY)
    query = "SELECT length(vector), count(*) FROM vectors GROUP BY 1 ORDER BY 1"
    keeping(world, 4).retain(now=NOW + 4 * DAY)
    assert rows(query) == [(16, 5), (32, 5)]
    keeping(world, 3, unused_days=5).retain(now=NOW + 4 * DAY)
    assert rows(query) == [(16, 5), (32, 5)]
    assert keeping(world, 3).retain(now=NOW + 4 * DAY).n_vectors == 5
    assert rows(query) == [(16, 5)]
    shards = world.index.checkup.shards()
    assert [finding for shard in shards for finding in judge_shard(shard)] == []


def test_files_go_with_their_generations(world: World) -> None:
    """Snapshots, requests and results of removed generations go; what is not ours stays."""
    settings = world.settings
    months_of_notes(world)
    settings.snapshots_dir.mkdir(exist_ok=True)
    for name in (*MONTHS, "2026-12", "my-own-copy"):
        (settings.snapshots_dir / f"{name}.parquet").write_bytes(b"0123456789")
    (settings.results_dir / "notes.txt").touch()
    removed = keeping(world, 2).retain()
    assert names(settings.snapshots_dir) == [
        *(f"{month}.parquet" for month in (*MONTHS[3:], "2026-12")),
        "my-own-copy.parquet",
    ]
    assert names(settings.shards_dir) == ["2026-10-0001.jsonl", "2026-11-0001.jsonl"]
    kept = [name.rpartition("-1-")[0] for name in names(settings.results_dir)[:2]]
    assert kept == ["2026-10-0001", "2026-11-0001"]
    assert names(settings.results_dir)[2:] == ["notes.txt"]
    assert removed.shard_keys == ("2026-07-0001", "2026-08-0001", "2026-09-0001")
    assert removed.n_files == 9


def test_what_was_bought_for_a_superseded_generation_stays_with_the_next_one(world: World) -> None:
    """Its shards are where the vectors of the served one come from, until that one goes, too."""
    world.embed_all(notes(range(3)), month="2026-07")
    world.publish(world.build(notes(range(3)), month="2026-07"), now=NOW)
    assert states(world) == ["abandoned", "published"]
    assert keeping(world).retain().shard_keys == ()
    assert names(world.settings.shards_dir) == ["2026-07-0001.jsonl"]

    world.publish(world.build(notes(range(3)), month="2026-08"), now=NOW + DAY)
    assert keeping(world).retain().shard_keys == ("2026-07-0001",)
    assert names(world.settings.shards_dir) == []


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_file_becomes_smaller_and_says_by_how_much(world: World) -> None:
    """Freed pages are given back to the disk, and counted."""
    world.reindex(notes(range(400)), month="2026-07")
    world.publish(world.build(notes(range(4)), month="2026-08"), allow=ALL, now=NOW + DAY)
    world.index.retention.vacuum()
    before = world.settings.index_path.stat().st_size
    removed = keeping(world).retain()
    freed_files = before - world.settings.index_path.stat().st_size
    assert removed.n_vectors == 396
    assert 0 < freed_files <= removed.n_bytes
    assert "396 vectors" in removed.summary
    assert f"{removed.n_bytes:,} bytes are free again" in removed.summary


def test_what_is_asked_for_again_removes_nothing_more(world: World) -> None:
    """Retention is safe to repeat, and says that there was nothing to do."""
    months_of_notes(world)
    keeping(world).retain()
    assert keeping(world).retain().summary == "nothing was old enough to be removed"


@pytest.mark.parametrize(
    "gap", [Gap.GENERATIONS_REMOVED, Gap.DOCUMENTS_REMOVED, Gap.CHUNKS_FORGOTTEN]
)
def test_a_retention_that_is_killed_is_finished_by_the_next(
    world: World, rows: Rows, gap: Gap
) -> None:
    """Wherever it dies the index is sound and served whole, and the next one removes the rest."""
    months_of_notes(world)
    small = keeping(world)
    assert remove_superfluous(small.settings, die_in=gap) == -signal.SIGKILL
    assert rows("PRAGMA integrity_check") == [("ok",)]
    assert rows("PRAGMA foreign_key_check") == []
    assert rows("SELECT count(*), count(vector) FROM published_chunks") == [(5, 5)]
    assert [finding for s in world.index.checkup.shards() for finding in judge_shard(s)] == []
    assert remove_superfluous(small.settings) == 0
    assert texts(rows) == {a_text(number) for number in range(8, 13)}
    assert rows("SELECT count(*) FROM vectors") == [(5,)]
    assert names(world.settings.shards_dir) == ["2026-11-0001.jsonl"]
    assert states(world) == [*["removed"] * 4, "published"]


def test_a_reader_of_what_is_removed_is_not_disturbed(world: World) -> None:
    """Who reads an old generation while it is removed goes on reading all of it."""
    months_of_notes(world, 1)
    with world.index.published.view() as view:
        world.publish(world.embed_all(notes(range(90, 95)), month="2026-08"), now=NOW + DAY)
        assert keeping(world).retain().n_vectors == 5
        (block,) = view.vector_blocks()
        assert len(block.chunk_ids) == 5
        assert view.examine().n_chunks == 5
    assert world.index.generations.all()[0].state is GenerationState.REMOVED
