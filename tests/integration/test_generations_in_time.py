"""Generations one after another: what readers see, what is held back, changes of the spec."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from embedding_assets.errors import PublishingError
from embedding_assets.model.gates import GateName
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.reader.search import search
from tests.factories import NOW, SPEC
from tests.integration.conftest import Rows
from tests.integration.world import World, a_text, documents, notes

SHORTER = replace(SPEC, dimensions=4)
SECOND_MODEL = EmbeddingSpec(
    provider="emulator", model="gemini-embedding-2", dimensions=8, task_type="RETRIEVAL_DOCUMENT"
)


def found_texts(world: World, query: str, k: int = 3) -> list[str]:
    return [hit.text for hit in search(world.index, world.gemini, query, k=k)]


def test_an_emptied_source_does_not_empty_the_index(world: World) -> None:
    """A folder without documents is listed, and its generation is held back with a reason."""
    world.reindex(notes(range(10)))
    emptied = world.embed_all([], month="2026-12")
    with pytest.raises(PublishingError, match="it has no chunks at all; an empty corpus does not"):
        world.publish(emptied)
    assert found_texts(world, a_text(7), k=1) == [a_text(7)]


def test_a_person_may_publish_what_a_gate_holds_back(world: World) -> None:
    """On purpose, by name: then readers see the smaller index."""
    world.reindex(notes(range(10)))
    halved = world.embed_all(notes(range(5)), month="2026-12")
    with pytest.raises(PublishingError, match=r"--allow shrinkage`"):
        world.publish(halved, allow=[GateName.COVERAGE])
    world.publish(halved, allow=[GateName.SHRINKAGE])
    published = world.index.generations.published()
    assert published is not None
    assert published.n_chunks == 5


def test_a_month_can_be_reindexed_any_number_of_times(world: World, rows: Rows) -> None:
    """Each time beside what is served, and each text is bought once."""
    for round_number in range(4):
        world.reindex(notes(range(round_number, round_number + 10)))
    assert rows("SELECT state, count(*) FROM generations GROUP BY 1 ORDER BY 1") == [
        ("published", 1),
        ("retired", 3),
    ]
    assert rows("SELECT count(*), count(DISTINCT chunk_id) FROM requests") == [(13, 13)]


@pytest.mark.parametrize("changed", [SHORTER, SECOND_MODEL], ids=["dimensions", "model"])
def test_a_changed_spec_is_built_beside_and_can_be_taken_back(
    world: World, rows: Rows, changed: EmbeddingSpec
) -> None:
    """Until the flip queries are embedded as before; after it as the new ones; both ways back."""
    old = world.reindex(notes(range(10)))
    new = world.build(notes(range(10)), month="2026-12", spec=changed)
    assert len(world.missing(new)) == 10
    for shard in world.plan(new):
        world.submit(shard)
        world.finish(shard)
        assert found_texts(world, a_text(3), k=1) == [a_text(3)]  # of the old one still
    world.publish(new, now=NOW)
    with world.index.published.view() as view:
        assert view.spec == changed
        (block,) = view.vector_blocks()
        assert block.matrix.shape == (10, changed.dimensions)
    assert found_texts(world, a_text(3), k=1) == [a_text(3)]
    before = world.index.generations.before(new)
    assert before is not None
    assert before.generation_id == old.generation_id
    world.index.generations.publish(before, now=NOW)
    with world.index.published.view() as view:
        assert view.spec == SPEC
    assert found_texts(world, a_text(3), k=1) == [a_text(3)]
    assert rows("SELECT count(*) FROM requests") == [(20,)]


def test_going_back_to_a_spec_buys_nothing(world: World) -> None:
    """Vectors of the earlier spec are still there for the texts that have them."""
    world.reindex(notes(range(5)))
    world.reindex(notes(range(5)), month="2026-12", spec=SHORTER)
    assert world.missing(world.build(notes(range(6)), month="2027-01")) == [a_text(5)]


def test_documents_cut_in_another_way_are_a_generation_beside(world: World) -> None:
    """Another chunk size lists the same documents anew; the texts that stay the same are reused."""
    text = "\n\n".join(a_text(number) for number in range(20))
    corpus = documents({"long.txt": text, "short.txt": a_text(99)})
    world.reindex(corpus, max_chars=2000)
    smaller = world.build(corpus, month="2026-12", max_chars=100)
    assert a_text(99) not in world.missing(smaller)
    assert len(world.missing(smaller)) == 20
    published = world.index.generations.published()
    assert published is not None
    assert published.chunker != smaller.chunker


def test_an_unfinished_generation_may_be_served_on_purpose(world: World) -> None:
    """What is still under way then joins what readers see as it is collected."""
    two = world.changed(max_requests_per_job=5)
    generation = two.build(notes(range(10)))
    first, second = two.plan(generation)
    two.submit(first)
    two.finish(first)
    with pytest.raises(PublishingError, match="5 of 10 chunks are still in open shards"):
        two.publish(generation, allow=[GateName.COVERAGE])
    two.publish(generation, allow=[GateName.COVERAGE, GateName.FINISHED])
    assert len(found_texts(two, "naming", k=20)) == 5
    two.submit(second)
    two.finish(second)
    assert len(found_texts(two, "naming", k=20)) == 10


def test_swapped_vectors_are_not_published(world: World) -> None:
    """If what is in the index is not what was answered, the self-retrieval gate is shut."""
    generation = world.embed_all(notes(range(40)))
    with closing(sqlite3.connect(world.settings.index_path)) as other, other:
        rows = other.execute("SELECT chunk_id, vector FROM vectors ORDER BY chunk_id").fetchall()
        other.executemany(
            "UPDATE vectors SET vector = ? WHERE chunk_id = ?",
            [(vector, 41 - chunk_id) for chunk_id, vector in rows],
        )
    gate = world.gates(generation)[GateName.SELF_RETRIEVAL]
    assert not gate.is_open
    assert gate.numbers["sought"] > 0
