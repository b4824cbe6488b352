"""Two writers of one index: a write names the state that it expects, and finds no other one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from embedding_assets.corpus.chunks import Chunk
from embedding_assets.corpus.documents import Document
from embedding_assets.errors import LedgerError, PublishingError
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.model.passages import Passage
from embedding_assets.model.shards import Route
from embedding_assets.model.vectors import BadVector
from embedding_assets.pipeline.publish import publish_generation
from embedding_assets.store.documents import SplitDocument
from tests.factories import NOW, SPEC
from tests.integration.conftest import Rows
from tests.integration.dagster_support import ANIMALS, MONTH, a_pipeline, failure_of
from tests.integration.world import World, notes

ABANDONED = "generation 1 of 2026-11 is abandoned by now, not draft"
SUPERSEDED = "generation 1 of 2026-11 is abandoned by now, not building"


def a_draft(world: World, *, month: str = "2026-11") -> Generation:
    return world.index.generations.draft(month=month, spec=SPEC, chunker="knife", now=NOW)


def split(corpus: list[Document]) -> list[SplitDocument]:
    """Documents of one chunk each, as a build hands them over."""
    return [
        SplitDocument(
            document=one,
            chunker="knife",
            chunks=(Chunk(passage=Passage(text=one.text), section="", anchor=""),),
        )
        for one in corpus
    ]


# --- listing ----------------------------------------------------------------------------------


def test_a_draft_that_was_abandoned_is_not_filled(world: World, rows: Rows) -> None:
    """With retention in between it would lack what it had before, and be sealed all the same."""
    draft, corpus = a_draft(world), notes(range(8))
    world.index.documents.add(draft, split(corpus[:5]))
    world.reindex(notes(range(20, 22)), month="2026-12")
    world.retain()
    with pytest.raises(LedgerError, match=ABANDONED):
        world.index.documents.add(draft, split(corpus[5:]))
    assert rows("SELECT count(*) FROM generation_documents WHERE generation_id = 1") == [(0,)]


def test_a_draft_that_was_abandoned_is_not_sealed(world: World, rows: Rows) -> None:
    """The one that began later is built; what it has in work is not abandoned for this one."""
    draft = a_draft(world)
    world.index.documents.add(draft, split(notes(range(3))))
    later = world.build(notes(range(2)), month="2026-12")
    shards = world.plan(later)
    with pytest.raises(LedgerError, match=ABANDONED):
        world.index.generations.seal(draft)
    assert world.index.generations.building() == world.index.generations.get(later.generation_id)
    assert world.index.shards.of(later) == shards
    assert rows("SELECT state FROM generations ORDER BY generation_id") == [
        ("abandoned",),
        ("building",),
    ]


def test_a_generation_is_sealed_once(world: World) -> None:
    """Sealed again it would abandon itself, and with it what was planned for it."""
    draft = a_draft(world)
    building = world.index.generations.seal(draft)
    with pytest.raises(LedgerError, match="generation 1 of 2026-11 is building by now, not draft"):
        world.index.generations.seal(draft)
    assert world.index.generations.building() == building


def test_of_two_builds_at_once_the_later_one_is_built(world: World) -> None:
    """The build that is overtaken while it reads fails, and says by what."""

    def overtaken() -> Iterator[Document]:
        yield from notes(range(3))
        world.build(notes(range(5)), month="2026-12")

    with pytest.raises(LedgerError, match=ABANDONED):
        world.build(overtaken())
    building = world.index.generations.building()
    assert building is not None
    assert (building.month, building.n_documents) == ("2026-12", 5)


def test_chunks_that_were_overtaken_say_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asset's partition is red, and its message names both states and where to look."""
    with a_pipeline(tmp_path, monkeypatch) as pipeline:
        pipeline.write(ANIMALS[:3])
        assert pipeline.run("reindex", month=MONTH).success
        with closing(sqlite3.connect(pipeline.settings.index_path)) as other, other:
            other.execute(
                "CREATE TRIGGER another_run AFTER INSERT ON generation_documents BEGIN "
                "UPDATE generations SET state = 'abandoned' WHERE state = 'draft'; END"
            )
        result = pipeline.run("reindex", month=MONTH, only="chunks")
        assert failure_of(result) == (
            "generation 2 of 2026-11 is abandoned by now, not draft: another run came in between; "
            "see `embedding-assets generations` for what is being built"
        )


# --- planning ---------------------------------------------------------------------------------


def test_an_approval_is_for_what_is_being_built(world: World, rows: Rows) -> None:
    """What a person approved for a generation that was superseded meanwhile is not recorded."""
    generation = world.build(notes(range(3)))
    world.build(notes(range(4)), month="2026-12")
    with pytest.raises(LedgerError, match=SUPERSEDED):
        world.index.bills.approve(generation, usd=Decimal(5))
    assert rows("SELECT approved_usd FROM generations") == [(None,), (None,)]


def test_a_superseded_generation_does_not_begin_to_wait(world: World) -> None:
    """Its successor was planned, and the next few requests would go at once by a wait long past."""
    generation = world.build(notes(range(3)))
    world.plan(world.build(notes(range(4)), month="2026-12"))
    with pytest.raises(LedgerError, match=SUPERSEDED):
        world.index.generations.start_waiting(generation, now=NOW)
    assert world.index.generations.waiting_since() is None


def test_a_shard_that_has_a_job_stays_on_its_route(world: World) -> None:
    """Another worker submitted it meanwhile: it keeps the price at which it is billed."""
    [shard] = world.plan(world.build(notes(range(3))))
    world.submit(shard)
    with pytest.raises(LedgerError, match=f"shard {shard.key} has a job or is not open any more"):
        world.index.shards.take_sync_route(shard, usd_per_million=Decimal(7))
    assert world.index.shards.get(shard.key) == shard


def test_a_shard_that_was_abandoned_stays_on_its_route(world: World) -> None:
    """Nothing of it is sent any more, by neither route."""
    [shard] = world.plan(world.build(notes(range(3))))
    world.build(notes(range(3)))
    with pytest.raises(LedgerError, match=f"shard {shard.key} has a job or is not open any more"):
        world.index.shards.take_sync_route(shard, usd_per_million=Decimal(7))
    assert world.index.shards.get(shard.key).route is Route.BATCH


def test_a_shard_with_a_new_job_is_not_given_up(world: World) -> None:
    """Its requests are on their way again since it was found to be given up."""
    [shard] = world.plan(world.build(notes(range(3))))
    world.index.jobs.move(world.submit(shard), JobState.FAILED)
    world.submit(shard)
    assert world.index.shards.abandon_given_up([shard.key]) == 0
    assert world.finish(shard).n_embedded == 3


# --- publishing -------------------------------------------------------------------------------


def test_a_slow_publication_does_not_roll_readers_back(world: World) -> None:
    """Its generation was published by another run, and superseded, since its gates were judged."""
    slow = world.embed_all(notes(range(3)))
    gates = list(world.gates(slow).values())
    world.publish(slow)
    newer = world.reindex(notes(range(4)), month="2026-12")
    with pytest.raises(
        PublishingError, match=r"generation 1 cannot be served: it is retired by now, not building"
    ):
        publish_generation(world.index, slow, gates, now=NOW)
    published = world.index.generations.published()
    assert published is not None
    assert published.generation_id == newer.generation_id


def test_of_two_publications_at_once_the_second_finds_it_done(world: World) -> None:
    """Readers see the generation once; it is published, whichever run was quicker."""
    generation = world.embed_all(notes(range(3)))
    first = world.index.generations.publish(generation, now=NOW)
    assert world.index.generations.publish(generation, now=NOW) == first


# --- removing ---------------------------------------------------------------------------------


def test_a_generation_that_is_served_again_is_not_removed(world: World) -> None:
    """Nor if it was retired once more since: then it is among the last that were served."""
    generations = world.index.generations
    world.reindex(notes(range(3)))
    second = world.reindex(notes(range(4)), month="2026-12")
    [old] = world.index.retention.superfluous(keep=1)
    generations.publish(old, now=NOW.replace(hour=23))
    world.index.retention.remove_generation(old)
    assert generations.get(old.generation_id).state is GenerationState.PUBLISHED
    generations.publish(generations.get(second.generation_id), now=NOW.replace(hour=23))
    world.index.retention.remove_generation(old)
    assert generations.get(old.generation_id).state is GenerationState.RETIRED


def test_a_vector_that_is_good_by_now_is_not_removed(world: World, rows: Rows) -> None:
    """Another doctor took the bad one out, and its text was bought again: this one is paid for."""
    generation = world.reindex(notes(range(3)))
    seen = BadVector(spec_id=generation.spec_id, chunk_id=2, flaw="length 0, not 1")
    assert world.index.checkup.remove_vectors([seen]) == 0
    assert rows("SELECT count(*) FROM vectors") == [(3,)]
    assert rows("SELECT outcome, count(*) FROM requests GROUP BY 1") == [("embedded", 3)]
