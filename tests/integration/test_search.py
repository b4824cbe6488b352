"""Search: exactly the nearest published chunks, each once, in the same order every time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import GeminiError, IndexMissingError, RefusedError, SettingsError
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.gemini.connection import Connection
from embedding_assets.model.gates import GateName
from embedding_assets.model.results import RequestOutcome
from embedding_assets.model.vectors import unit_vector
from embedding_assets.reader.search import Hit, embed_query, nearest, search
from tests.factories import SPEC
from tests.integration.statements import listening
from tests.integration.world import World, a_book, a_text, documents, notes


def publish_vectors(world: World, matrix: np.ndarray) -> None:
    """A published generation whose n-th chunk has the n-th row for a vector."""
    generation = world.build([a_book(len(matrix))], max_chars=100)
    [shard] = world.plan(generation)
    job = world.submit(shard)
    world.poll()
    outcomes = [
        RequestOutcome(chunk_id=n, vector=unit_vector(row, dimensions=SPEC.dimensions))
        for n, row in enumerate(matrix.astype(np.float64), start=1)
    ]
    world.index.results.record_outcomes(world.job(shard), outcomes)
    assert job.shard_key == shard.key
    world.publish(generation, allow=[GateName.SELF_RETRIEVAL])  # some put in are all alike


@pytest.fixture
def random_world(world: World) -> World:
    """A published index of 300 random vectors."""
    publish_vectors(world, np.random.default_rng(7).normal(size=(300, SPEC.dimensions)))
    return world


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 400))
def test_the_nearest_are_those_of_a_brute_force_answer(
    random_world: World, seed: int, k: int
) -> None:
    """For any query and any k the hits are those of sorting all similarities."""
    query = np.random.default_rng(seed).normal(size=SPEC.dimensions)
    query = (query / np.linalg.norm(query)).astype(np.float32)
    matrix = np.random.default_rng(7).normal(size=(300, SPEC.dimensions))
    scores = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)) @ query
    expected = np.argsort(-scores, kind="stable")[:k]
    with random_world.index.published.view() as view:
        hits = nearest(view, query, k=k)
    assert [hit.position for hit in hits] == expected.tolist()
    assert [hit.rank for hit in hits] == list(range(1, min(k, 300) + 1))
    assert [hit.score for hit in hits] == pytest.approx(scores[expected].tolist(), abs=1e-6)


def test_equal_scores_come_in_the_order_of_the_chunks(world: World) -> None:
    """Ties are broken the same way whatever is asked for around them."""
    matrix = np.zeros((40, SPEC.dimensions))
    matrix[:, 1] = 1
    matrix[17] = np.eye(SPEC.dimensions)[0]
    publish_vectors(world, matrix)
    query = np.array([0.8, 0.6] + [0] * 6, dtype=np.float32)
    with world.index.published.view() as view:
        hits = nearest(view, query, k=5)
        assert nearest(view, query, k=3) == hits[:3]
    assert [hit.position for hit in hits] == [17, 0, 1, 2, 3]


def test_more_than_there_is_gives_all_there_is(world: World) -> None:
    """A k beyond the index is no error."""
    world.reindex(notes(range(3)))
    assert len(search(world.index, world.gemini, "naming", k=10)) == 3


def test_a_query_finds_its_own_text_first(world: World) -> None:
    """A hit says where its text stands and how near it is."""
    world.reindex(notes(range(20)))
    hits = search(world.index, world.gemini, a_text(7), k=3)
    assert hits[0] == Hit(
        rank=1,
        score=hits[0].score,
        uri="notes/0007.md",
        title="gzip",
        position=0,
        section="",
        anchor="",
        page=None,
        url="",
        metadata={},
        text=a_text(7),
    )
    assert hits[0].score == pytest.approx(1)
    assert [hit.rank for hit in hits] == [1, 2, 3]


def test_a_text_in_two_documents_is_one_hit(world: World) -> None:
    """The first document by its uri stands for the text."""
    world.reindex(documents({"b.md": "the same", "a.md": "the same", "c.md": "another"}))
    hits = search(world.index, world.gemini, "the same", k=10)
    assert [(hit.uri, hit.text) for hit in hits] == [("a.md", "the same"), ("c.md", "another")]


def test_the_places_of_a_few_chunks_are_looked_up(world: World) -> None:
    """However many documents there are, those that do not have the chunks are not read."""
    world.reindex(notes(range(20)))
    with world.index.published.view() as view, listening() as heard:
        assert len(view.places(range(1, 11))) == 10
        assert len(view.vectors_of(range(1, 11)).chunk_ids) == 10
    assert heard.scans_of_members(world.settings.index_path) == []


def test_failed_chunks_are_not_served(world: World) -> None:
    """A chunk without a vector is left out, and listed among the failures instead."""
    world.strike(FaultKind.ERROR_LINE, match="Note 2 ", code=3)
    generation = world.reindex(notes(range(40)))
    hits = search(world.index, world.gemini, a_text(2), k=100)
    assert len(hits) == 39
    assert a_text(2) not in [hit.text for hit in hits]
    assert [f.uri for f in world.index.published.failures(generation)] == ["notes/0002.md"]


def test_only_the_published_generation_is_searched(world: World) -> None:
    """What is being built is not found yet, what was removed is not found any more."""
    world.reindex(notes(range(3)))
    world.reindex(notes(range(2, 5)))
    world.embed_all(notes(range(4, 9)))
    hits = search(world.index, world.gemini, "naming", k=10)
    assert sorted(hit.uri for hit in hits) == [f"notes/000{n}.md" for n in (2, 3, 4)]


def test_nothing_published_is_an_error_that_says_so(world: World) -> None:
    """Before the first publication there is nothing to search."""
    world.embed_all(notes(range(2)))
    with pytest.raises(IndexMissingError, match=r"nothing is published in .*; run `embedding-"):
        search(world.index, world.gemini, "naming", k=3)


def test_another_providers_vectors_are_not_searched(world: World) -> None:
    """Google's vectors and the emulator's mean nothing to each other."""
    world.reindex(notes(range(2)))
    google = GeminiClient(
        Connection(provider="gemini", base_url="http://127.0.0.1:9", api_key="k"),
        api_version="v1beta",
        timeout_s=1,
    )
    try:
        with pytest.raises(SettingsError, match="come from 'emulator', the settings point to 'gem"):
            search(world.index, google, "naming", k=3)
    finally:
        google.close()


def test_a_query_that_gemini_refuses_is_an_error(world: World) -> None:
    """Gemini's no to a query reaches the one who asked."""
    world.reindex(notes(range(2)))
    with pytest.raises(RefusedError, match="empty Part"):
        search(world.index, world.gemini, "  ", k=3)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=429)
    with pytest.raises(GeminiError, match="429"):
        search(world.index, world.gemini, "naming", k=3)


def test_a_querys_vector_is_made_for_the_published_spec(world: World) -> None:
    """A query is embedded with the published dimensions and scaled to length 1."""
    world.reindex(notes(range(2)), spec=replace(SPEC, dimensions=16))
    with world.index.published.view() as view:
        vector: Any = embed_query(world.gemini, "naming", view.spec)
    assert (vector.shape, vector.dtype) == ((16,), np.float32)
    assert np.linalg.norm(vector) == pytest.approx(1)
