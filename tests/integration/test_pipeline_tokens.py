"""Token estimates on a real index: what was billed corrects them, and no text is too long."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.vectors import count_tokens
from embedding_assets.model.tokens import DEFAULT
from embedding_assets.settings.values import RouteChoice
from tests.factories import SPEC
from tests.integration.world import World, documents, notes

Rows = Callable[..., list[tuple[Any, ...]]]

PARAGRAPHS = {
    "en": "Every chunk of a document has a place, and no text is bought a second time. ",
    "ru": "Каждый отрывок документа имеет место, и ничего не покупается во второй раз. ",
    "zh": "索引列出文档的每个片段。任何内容都不会购买两次。",
}


def essays(numbers: range) -> dict[str, str]:
    """Texts of about a chunk in three languages, none like another."""
    return {
        f"{language}/{number}.txt": f"{number}. {paragraph * (1000 // len(paragraph))}".strip()
        for language, paragraph in PARAGRAPHS.items()
        for number in numbers
    }


def error_of_the_plan(world: World, texts: dict[str, str], *, month: str) -> float:
    """The estimate of a plan for these texts against what is billed for them then."""
    generation = world.build(documents(texts), month=month)
    estimated = world.make_plan(generation).packed.n_tokens
    before = world.emulator.bill().tokens
    for shard in world.plan(generation):
        world.submit(shard)
        world.finish(shard)
    return estimated / (world.emulator.bill().tokens - before) - 1


def test_the_second_estimate_is_closer(world: World) -> None:
    """After a month was billed the next one is estimated within 2 %, and says so."""
    first = error_of_the_plan(world, essays(range(20)), month="2026-11")
    second = error_of_the_plan(world, essays(range(20, 40)), month="2026-12")

    assert first > 0.1
    assert abs(second) < 0.02


def test_a_plan_says_what_its_estimate_rests_on(world: World) -> None:
    """First on nothing, then on what was billed; and the error of the last estimate is known."""
    first = world.make_plan(world.embed_all(documents(essays(range(10)))))
    assert (first.tariff.estimator.n_samples, first.packed.n_requests) == (30, 0)

    second = world.make_plan(world.build(documents(essays(range(20))), month="2026-12"))

    assert second.tariff.estimator.basis.startswith("calibrated on 30 billed requests, ratio 0.")
    bill = world.index.bills.of(first.generation)
    assert second.last_estimate_error == bill.estimate_error
    assert bill.estimated_tokens == sum(map(DEFAULT.estimate, essays(range(10)).values()))
    assert bill.billed_tokens == world.emulator.bill().tokens


def test_before_the_first_bill(world: World) -> None:
    """A new index estimates by the default rates, and has no error to show."""
    plan = world.make_plan(world.build(notes(range(3))))

    assert plan.tariff.estimator == DEFAULT
    assert plan.last_estimate_error is None


def test_an_unfinished_generation_is_no_last_estimate(world: World) -> None:
    """What still waits for answers would look like an estimate far too high."""
    world.embed_all(notes(range(10)))
    small = world.changed(max_requests_per_job=5)
    generation = small.build(notes(range(20)), month="2026-12")
    first, second = small.plan(generation)

    small.submit(first)
    small.finish(first)
    assert small.index.bills.last(SPEC) != small.index.bills.of(generation)
    small.submit(second)
    small.finish(second)
    assert small.index.bills.last(SPEC) == small.index.bills.of(generation)


def test_the_sample_is_what_was_sent_and_billed(world: World) -> None:
    """Failed requests, other models and synchronous calls teach nothing."""
    world.strike(FaultKind.ERROR_LINE, match="number 3 of")
    world.embed_all(notes(range(5)))
    sync = world.changed(route=RouteChoice.SYNC)
    (shard,) = sync.plan(sync.build(notes(range(10)), month="2026-12"))
    sync.collect(shard, sync.embed(shard))

    sample = world.index.shards.billed_sample(SPEC, limit=100)

    assert sample == [(d.text, count_tokens(d.text)) for d in notes([0, 1, 2, 4])]
    same_model = replace(SPEC, dimensions=16, task_type="CLUSTERING")
    assert world.index.shards.billed_sample(same_model, limit=100) == sample
    for other in (replace(SPEC, model="gemini-embedding-2"), replace(SPEC, provider="gemini")):
        assert world.index.shards.billed_sample(other, limit=100) == []


def test_the_sample_is_spread_over_the_corpus(world: World) -> None:
    """A tenth of the requests has about a tenth of every part of the corpus, always the same."""
    world.changed(max_requests_per_job=40).embed_all(notes(range(200)))

    sample = world.index.shards.billed_sample(SPEC, limit=20)

    numbers = [int(text.split()[1]) for text, _ in sample]
    assert len(numbers) == 20
    assert [sum(n // 50 == part for n in numbers) for part in range(4)] == [5, 5, 5, 5]
    assert world.index.shards.billed_sample(SPEC, limit=20) == sample


def test_a_prompt_is_part_of_the_sample(world: World) -> None:
    """A model that takes its task in the text is billed for that, too."""
    prompted = replace(SPEC, model="gemini-embedding-2")
    world.embed_all(notes(range(3)), spec=prompted)

    sample = world.index.shards.billed_sample(prompted, limit=100)

    assert len(sample) == 3
    assert all(text.startswith("title: none | text: Note ") for text, _ in sample)


@pytest.mark.parametrize("dense", ["😀🎉🚀", "索引列出文档的每个片段。"], ids=["emoji", "Chinese"])
def test_no_text_exceeds_what_the_model_reads(world: World, rows: Rows, dense: str) -> None:
    """A chunk of too many tokens is cut, every part is embedded, and its place is known."""
    text = dense * (9000 // len(dense))
    generation = world.reindex(documents({"dense.txt": text}), max_chars=8000)

    parts = rows(
        "SELECT c.text, dc.position FROM documents AS d"
        " JOIN document_chunks AS dc USING (document_id) JOIN chunks AS c USING (chunk_id)"
        " WHERE d.uri = 'dense.txt' ORDER BY dc.position"
    )
    texts = [part for part, _ in parts]
    assert "".join(texts) == text
    assert [position for _, position in parts] == list(range(len(parts)))
    assert max(map(len, texts)) <= 2048
    assert max(map(DEFAULT.estimate, texts)) <= SPEC.max_text_tokens
    assert world.progress(generation).n_embedded == len(set(texts))
    assert rows("SELECT position FROM published_chunks ORDER BY position") == [
        (position,) for _, position in parts
    ]
