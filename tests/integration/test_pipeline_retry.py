"""Another try for what failed: what is chosen, and that it is bought once in the end."""

import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.model.generations import Generation
from embedding_assets.model.shards import ShardState
from embedding_assets.pipeline.retry import RetrySummary, retry_failures
from embedding_assets.store.published import Failure
from tests.factories import NOW
from tests.integration.world import World, a_text, notes

INVALID_ARGUMENT = 3
NOT_FOUND = 5


@pytest.fixture
def generation(world: World) -> Generation:
    """Ten documents, two of which Gemini rejected for good and one that it did not find once."""
    world.strike(FaultKind.ERROR_LINE, match=a_text(2), code=INVALID_ARGUMENT, times=1)
    world.strike(FaultKind.ERROR_LINE, match=a_text(4), code=INVALID_ARGUMENT, times=1)
    world.strike(FaultKind.ERROR_LINE, match=a_text(7), code=NOT_FOUND, times=1)
    return world.changed(max_chunk_attempts=1).embed_all(notes(range(10)))


def retry(world: World, *, document: str | None = None, code: str | None = None) -> tuple[int, int]:
    """Chunks and shards that are queued again."""
    summary = retry_failures(world.index, world.settings, document=document, code=code)
    return summary.n_chunks, summary.n_shards


def failures(world: World, generation: Generation) -> list[Failure]:
    return world.index.published.failures(generation)


def test_everything_that_failed_is_tried_again(world: World, generation: Generation) -> None:
    """Queued again, a chunk is planned whatever its code and attempts were, and bought once."""
    assert len(failures(world, generation)) == 3
    assert retry(world) == (3, 0)
    assert failures(world, generation) == []
    [shard] = world.plan(generation)
    world.submit(shard)
    assert world.finish(shard).n_embedded == 3
    bill = world.emulator.bill()
    assert (bill.requests, bill.bought_twice) == (10, ())
    assert retry(world) == (0, 0)


@pytest.mark.parametrize(
    ("document", "code", "n_chunks"),
    [
        (None, "INVALID_ARGUMENT", 2),
        (None, "NOT_FOUND", 1),
        (None, "INTERNAL", 0),
        ("notes/0002.md", None, 1),
        ("notes/*", None, 3),
        ("notes/*", "NOT_FOUND", 1),
        ("notes/0002.md", "NOT_FOUND", 0),
        ("notes/0003.md", None, 0),
    ],
)
def test_what_is_tried_again_can_be_chosen(
    world: World,
    generation: Generation,
    document: str | None,
    code: str | None,
    n_chunks: int,
) -> None:
    """By document, by a pattern of documents, by code, or by both."""
    assert retry(world, document=document, code=code) == (n_chunks, 0)
    assert len(failures(world, generation)) == 3 - n_chunks
    assert len(world.changed(max_chunk_attempts=1).missing(generation)) == n_chunks


def test_failures_of_the_published_generation_wait_for_the_next_reindex(
    world: World, generation: Generation
) -> None:
    """Readers see nothing of it until a reindex sends the chunks, and the summary says whose."""
    world.index.generations.publish(generation, now=NOW)
    summary = retry_failures(world.index, world.settings, document=None, code=None)
    assert summary == RetrySummary(month="2026-11", is_building=False, n_chunks=3, n_shards=0)
    again = world.build(notes(range(10)))
    [shard] = world.plan(again)
    assert shard.n_requests == 3


def test_shards_that_were_given_up_are_planned_anew(world: World) -> None:
    """Their requests go into new shards; a shard whose job lives is left alone."""
    world = world.changed(max_requests_per_job=5, max_job_attempts=1)
    dead, alive = world.plan(generation := world.build(notes(range(10))))
    world.strike(FaultKind.JOB_FAILED, times=1)
    world.submit(dead)
    world.poll()
    world.submit(alive)
    assert retry(world, code="NOT_FOUND") == (0, 0)
    assert retry(world) == (0, 1)
    assert world.index.shards.get(dead.key).state is ShardState.ABANDONED
    assert world.index.shards.get(alive.key).state is ShardState.OPEN
    [again] = world.plan(generation)
    world.submit(again)
    assert world.finish(again).n_embedded == 5
    assert world.collect(alive).n_embedded == 5
    bill = world.emulator.bill()
    assert (bill.requests, bill.bought_twice) == (10, ())


def test_nothing_to_retry(world: World) -> None:
    """An index without a generation has nothing that failed."""
    summary = retry_failures(world.index, world.settings, document=None, code=None)
    assert summary == RetrySummary(month=None, is_building=False, n_chunks=0, n_shards=0)
