"""Gates: what a generation must show before readers may see it."""

from dataclasses import replace
from typing import Any

import pytest

from embedding_assets.model.agreement import Agreement, Sample
from embedding_assets.model.gates import (
    Gate,
    GateName,
    Retrieval,
    judge_gates,
    shut_gates,
)
from embedding_assets.model.generations import Progress
from embedding_assets.settings.values import Publishing
from tests.factories import a_generation

COMPLETE = Progress(
    n_documents=70, n_chunks=200, n_embedded=200, n_pending=0, n_failed=0, n_unplanned=0
)
EMPTY = replace(COMPLETE, n_documents=0, n_chunks=0, n_embedded=0)
ALL_FOUND = Retrieval(n_sought=20, n_found=20)
NOT_COMPARED = Agreement()
N_AGREEING = 20


def a_sample(**changes: Any) -> Sample:
    """A new text that agrees."""
    values: dict[str, Any] = {
        "chunk_id": 4,
        "shard_key": "2026-11-0003",
        "is_new": True,
        "cosine": 1.0,
        "is_elsewhere": False,
    }
    return Sample(**{**values, **changes})


def judged(
    progress: Progress = COMPLETE,
    *,
    published: Progress | None = None,
    published_chunker: str = "characters, 2000",
    retrieval: Retrieval = ALL_FOUND,
    agreement: Agreement = NOT_COMPARED,
    **limits: Any,
) -> dict[GateName, Gate]:
    """Every gate of a generation with this progress."""
    old = None
    if published is not None:
        old = a_generation(
            generation_id=2,
            chunker=published_chunker,
            n_documents=published.n_documents,
            n_chunks=published.n_chunks,
        )
    gates = judge_gates(a_generation(), progress, old, retrieval, agreement, Publishing(**limits))
    return {gate.name: gate for gate in gates}


def embedded(n_documents: int, n_chunks: int) -> Progress:
    """All of them with a vector."""
    return replace(COMPLETE, n_documents=n_documents, n_chunks=n_chunks, n_embedded=n_chunks)


def test_every_gate_is_judged_in_its_order() -> None:
    """A complete first generation finds all gates open."""
    gates = judged()
    assert list(gates) == list(GateName)
    assert all(gate.is_open for gate in gates.values())


@pytest.mark.parametrize(
    ("progress", "problem"),
    [
        (
            replace(COMPLETE, n_embedded=199, n_pending=1),
            "1 of 200 chunks are still in open shards; the sensors submit and collect them, but ",
        ),
        (
            replace(COMPLETE, n_embedded=198, n_unplanned=2),
            "2 of 200 chunks are not planned yet; materialize shard_plan, or run ",
        ),
        (
            replace(COMPLETE, n_embedded=197, n_unplanned=2, n_pending=1),
            "1 of 200 chunks are still in open shards; ",
        ),
        (replace(COMPLETE, n_embedded=0, n_failed=200), ""),
    ],
)
def test_a_generation_must_be_finished(progress: Progress, problem: str) -> None:
    """What is under way or unplanned holds it back; what has failed does not, by itself."""
    gate = judged(progress)[GateName.FINISHED]
    assert (gate.problem or "").startswith(problem)
    assert gate.is_open is not bool(problem)


@pytest.mark.parametrize(
    ("n_embedded", "problem"),
    [
        (190, None),
        (
            189,
            "only 189 of 200 chunks are embedded (94.5%), publishing.min_coverage is 95.0%; "
            "see `embedding-assets failures`",
        ),
    ],
)
def test_enough_chunks_must_be_embedded(n_embedded: int, problem: str | None) -> None:
    """A generation is served once it is covered well enough; else it says why."""
    progress = replace(COMPLETE, n_embedded=n_embedded, n_failed=200 - n_embedded)
    assert judged(progress)[GateName.COVERAGE].problem == problem


def test_coverage_may_be_demanded_in_full_or_not_at_all() -> None:
    """With a coverage of 1 a single failure holds it back, with 0 nothing does."""
    one_failed = replace(COMPLETE, n_embedded=199, n_failed=1)
    none_embedded = replace(COMPLETE, n_embedded=0, n_failed=200)
    assert not judged(one_failed, min_coverage=1.0)[GateName.COVERAGE].is_open
    assert judged(none_embedded, min_coverage=0.0)[GateName.COVERAGE].is_open


@pytest.mark.parametrize("published", [None, COMPLETE])
def test_an_empty_corpus_is_not_published(published: Progress | None) -> None:
    """An emptied source folder does not empty the index, and makes none that is empty."""
    gate = judged(EMPTY, published=published, max_shrinkage=1.0)[GateName.SHRINKAGE]
    assert gate.problem == (
        "it has no chunks at all; an empty corpus does not replace the published index: see that "
        "corpus.paths names the documents, and reindex"
    )


@pytest.mark.parametrize(
    ("progress", "is_open"),
    [
        (embedded(70, 200), True),
        (embedded(56, 160), True),
        (embedded(55, 160), False),
        (embedded(56, 159), False),
        (embedded(170, 400), True),
    ],
)
def test_neither_documents_nor_chunks_may_fall_too_far(progress: Progress, is_open: bool) -> None:
    """A fifth may go by default; growth is never a problem."""
    assert judged(progress, published=COMPLETE)[GateName.SHRINKAGE].is_open is is_open


def test_the_larger_loss_is_named_with_its_numbers() -> None:
    """The reason says how much there was, how much there is, and what is allowed."""
    gate = judged(embedded(60, 100), published=COMPLETE)[GateName.SHRINKAGE]
    assert gate.problem == (
        "it has 100 chunks, 50.0% fewer than the 200 that are published; publishing.max_shrinkage "
        "is 20.0%: if documents are missing, bring them back and reindex"
    )
    assert gate.numbers["chunks"] == 100
    assert gate.numbers["published_chunks"] == 200
    assert gate.numbers["chunks_fallen"] == 0.5


def test_fewer_chunks_are_no_loss_when_documents_are_cut_in_another_way() -> None:
    """Larger chunks are fewer; then only the number of documents counts."""
    larger = embedded(70, 100)
    gates = judged(larger, published=COMPLETE, published_chunker="characters, 1000")
    assert gates[GateName.SHRINKAGE].is_open
    fewer = embedded(40, 100)
    gates = judged(fewer, published=COMPLETE, published_chunker="characters, 1000")
    assert "it has 40 documents, 42.9% fewer" in (gates[GateName.SHRINKAGE].problem or "")


@pytest.mark.parametrize(("n_found", "is_open"), [(20, True), (18, True), (17, False), (0, False)])
def test_vectors_must_find_their_own_chunks(n_found: int, is_open: bool) -> None:
    """Nine in ten of the sample must be found by default."""
    retrieval = Retrieval(n_sought=20, n_found=n_found)
    gate = judged(retrieval=retrieval)[GateName.SELF_RETRIEVAL]
    assert gate.is_open is is_open
    assert (gate.numbers["sought"], gate.numbers["found"]) == (20, n_found)


def test_without_vectors_nothing_is_sought() -> None:
    """That nothing was found is then no reason against it: coverage is."""
    assert judged(retrieval=Retrieval(n_sought=0, n_found=0))[GateName.SELF_RETRIEVAL].is_open


@pytest.mark.parametrize(("cosine", "is_open"), [(1.0, True), (0.99, True), (0.98, False)])
def test_one_sample_that_disagrees_is_enough(cosine: float, is_open: bool) -> None:
    """Of so few the only one that is wrong would hardly ever be met."""
    agreement = Agreement(samples=(*N_AGREEING * (a_sample(),), a_sample(cosine=cosine)))
    gate = judged(agreement=agreement)[GateName.AGREEMENT]
    assert gate.is_open is is_open
    assert gate.numbers["min_cosine"] == cosine
    assert judged(agreement=agreement, min_agreement=0.98)[GateName.AGREEMENT].is_open


MIXED_UP = "so the answers of 2026-11-0003 are mixed up; `embedding-assets retry --shard 2026-11-"
OLD = {"is_new": False, "shard_key": "2026-10-0001"}


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([a_sample(cosine=0.5, is_elsewhere=True)] * 2, MIXED_UP),
        ([a_sample(cosine=0.5, is_elsewhere=True), a_sample(cosine=0.5)], "are not of these texts"),
        ([a_sample(cosine=0.5, **OLD)], "has changed behind its name"),
        ([a_sample(cosine=0.5, **OLD), a_sample(cosine=0.5)], "has changed behind its name"),
        ([a_sample(cosine=0.5, is_elsewhere=True, **OLD)], "2026-10-0001 are mixed up; with anoth"),
    ],
)
def test_a_disagreement_says_what_is_probably_wrong(samples: list[Sample], words: str) -> None:
    """By whose texts they are, and by whether their vectors are stored with others."""
    agreement = Agreement(samples=(*N_AGREEING * (a_sample(),), *samples))
    assert words in judged(agreement=agreement)[GateName.AGREEMENT].verdict


def test_texts_that_could_not_be_compared_shut_the_gate() -> None:
    """What is known to disagree is said first."""
    trouble = Agreement(samples=(a_sample(),), trouble="Gemini said no")
    assert judged(agreement=trouble)[GateName.AGREEMENT].verdict == "Gemini said no"
    worse = replace(trouble, samples=(a_sample(cosine=0.5),))
    assert "are not of these texts" in judged(agreement=worse)[GateName.AGREEMENT].verdict


def test_an_open_gate_says_what_was_seen() -> None:
    """The verdict of every gate has its numbers, also when nothing is wrong."""
    progress = replace(COMPLETE, n_chunks=1200, n_embedded=1198, n_failed=2)
    gates = judged(progress, published=COMPLETE)
    assert {name: gate.verdict for name, gate in gates.items()} == {
        GateName.FINISHED: (
            "nothing is under way: 1,198 chunks have a vector, 2 have failed for good"
        ),
        GateName.COVERAGE: (
            "1,198 of 1,200 chunks are embedded (99.8%), publishing.min_coverage is 95.0%"
        ),
        GateName.SHRINKAGE: (
            "it has 1,200 chunks of 70 documents, published are 200 of 70; "
            "publishing.max_shrinkage is 20.0%"
        ),
        GateName.SELF_RETRIEVAL: (
            "20 of 20 sampled chunks are found by a search for their own vector (100.0%), "
            "publishing.min_self_retrieval is 90.0%"
        ),
        GateName.AGREEMENT: "no text was embedded again to be compared with what is stored",
    }
    assert judged()[GateName.SHRINKAGE].verdict == (
        "it has 200 chunks of 70 documents; none were published"
    )


def test_a_shut_gate_says_why() -> None:
    """Its verdict is the reason, with the next step."""
    gate = judged(replace(COMPLETE, n_embedded=100, n_failed=100))[GateName.COVERAGE]
    assert gate.verdict == gate.problem
    assert "see `embedding-assets failures`" in gate.verdict


def test_a_person_may_open_gates_one_by_one() -> None:
    """A waived gate holds nothing back; the others still do."""
    half = replace(COMPLETE, n_chunks=100, n_embedded=50, n_failed=50)
    gates = judged(half, published=COMPLETE).values()
    shut = [GateName.COVERAGE, GateName.SHRINKAGE]
    assert [gate.name for gate in shut_gates(gates, allow=())] == shut
    assert [gate.name for gate in shut_gates(gates, allow=[GateName.SHRINKAGE])] == shut[:1]
    assert shut_gates(gates, allow=shut) == []


def test_without_a_vector_nothing_can_be_looked_for() -> None:
    """The gate is open, and does not speak of a share of nothing."""
    gate = judged(EMPTY, retrieval=Retrieval(n_sought=0, n_found=0))[GateName.SELF_RETRIEVAL]
    assert gate.is_open
    assert gate.verdict == "no vector of this generation can be looked for"
