"""Agreement: what is stored for a text against what Gemini answers for it when asked again."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.documents import Document
from embedding_assets.doctor.examine import examine
from embedding_assets.doctor.findings import Check, Severity
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import LedgerError, PublishingError
from embedding_assets.model.gates import Gate, GateName
from embedding_assets.model.generations import Generation
from embedding_assets.model.shards import Route
from embedding_assets.pipeline.build import build_generation
from embedding_assets.pipeline.retry import buy_again
from embedding_assets.settings.values import Budget, Publishing
from tests import factories
from tests.factories import NOW
from tests.integration.conftest import Rows
from tests.integration.test_pipeline_providers import a_client
from tests.integration.world import World, documents

SAMPLES = 8  # two of them of earlier months
SPEC = replace(factories.SPEC, dimensions=256)  # in eight everything is near everything
NEXT_MONTH = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)


@pytest.fixture
def world(world: World) -> World:
    """The same world, comparing some texts; a shard has ten."""
    publishing = Publishing(agreement_samples=SAMPLES)
    settings = world.settings.model_copy(update={"publishing": publishing})
    return replace(world, settings=settings).changed(max_requests_per_job=10)


def unlike(numbers: Iterable[int]) -> list[Document]:
    """Documents of one chunk each that have no word in common."""
    letters = {number: hashlib.sha256(b"%d" % number).hexdigest() for number in numbers}
    in_words = str.maketrans("0123456789", "ghijklmnop")
    texts = {f"{n:04d}.txt": " ".join(re.findall("....", h)) for n, h in letters.items()}
    return documents({uri: text.translate(in_words) for uri, text in texts.items()})


def embedded(world: World, numbers: Iterable[int], *, month: str = "2026-11") -> Generation:
    """A generation whose batch jobs are answered."""
    return world.embed_all(unlike(numbers), month=month, spec=SPEC)


def compared(world: World, generation: Generation, *, now: datetime = NOW) -> Gate:
    """The gate, after sampled texts could be embedded again."""
    assert world.compare(generation, now=now) is None
    return world.gates(generation, now=now)[GateName.AGREEMENT]


def counts(gate: Gate) -> tuple[Any, ...]:
    """How many were compared, how many new and old ones disagree, how many are elsewhere."""
    names = ("compared", "disagreeing_new", "disagreeing_old", "stored_elsewhere")
    return tuple(gate.numbers[name] for name in names)


def sync_requests(world: World) -> int:
    """What was bought by the synchronous route so far."""
    return world.emulator.bill().sync_requests


def test_what_batch_jobs_answered_agrees_and_is_embedded_again_once(world: World) -> None:
    """The emulator's doors answer alike; the gate is open however often it is looked at."""
    generation = embedded(world, range(30))
    gate = compared(world, generation)
    assert (gate.is_open, counts(gate)) == (True, (6, 0, 0, 0))
    assert gate.verdict == (
        "6 sampled texts that were bought for it and 0 that were bought before agree with what "
        "Gemini answers for them now: their cosine is 1.000 or more, publishing.min_agreement is "
        "0.99"
    )
    assert compared(world, generation) == gate
    assert (sync_requests(world), world.emulator.bill().calls["embed"]) == (6, 1)


def test_looking_at_the_gates_sends_nothing(world: World) -> None:
    """Without a call before, there is nothing to say and nothing to hold."""
    generation = embedded(world, range(30))
    gate = world.gates(generation)[GateName.AGREEMENT]
    assert gate.verdict == "no text was embedded again to be compared with what is stored"
    assert (gate.is_open, sync_requests(world)) == (True, 0)


def test_answers_that_are_mixed_up_hold_the_publication(world: World) -> None:
    """Right keys, each with the vector of the next request: self-retrieval is content with that."""
    world.strike(FaultKind.SWAPPED_VECTORS)
    generation = embedded(world, range(30))
    assert world.compare(generation) is None
    gates = world.gates(generation)
    assert gates[GateName.SELF_RETRIEVAL].is_open
    assert counts(gates[GateName.AGREEMENT]) == (6, 6, 0, 6)
    with pytest.raises(PublishingError, match="so the answers of 2026-11-0001, 2026-11-0002, "):
        world.publish(generation)
    world.publish(generation, allow=[GateName.AGREEMENT])


def test_one_shard_of_many_is_enough(world: World) -> None:
    """Every shard has a sample as long as there are as many samples as shards."""
    world.strike(FaultKind.SWAPPED_VECTORS, match="-0004/")
    generation = embedded(world, range(60))
    gate = compared(world, generation)
    assert counts(gate) == (6, 1, 0, 1)
    assert "so the answers of 2026-11-0004 are mixed up" in gate.verdict


def test_vectors_of_nothing_that_is_stored_are_no_mix_up(world: World) -> None:
    """New answers of another model disagree, and are found nowhere."""
    world.strike(FaultKind.CHANGED_MODEL)
    generation = embedded(world, range(30))
    gate = compared(world, generation)
    assert counts(gate) == (6, 6, 0, 0)
    assert "are not of these texts" in gate.verdict


def test_a_model_that_changed_behind_its_name_is_noticed(world: World) -> None:
    """What both doors answer now agrees, and nothing of it with what was bought a month ago."""
    world.reindex(unlike(range(30)), spec=SPEC)
    world.strike(FaultKind.CHANGED_MODEL)
    world.strike(FaultKind.CHANGED_SYNC_MODEL)
    generation = embedded(world, range(40), month="2026-12")
    gate = compared(world, generation, now=NEXT_MONTH)
    assert counts(gate) == (8, 0, 2, 0)
    assert "the model has changed behind its name" in gate.verdict


def test_a_month_without_a_purchase_compares_old_texts_once(world: World) -> None:
    """A reindex of the same texts, and another one in the same month, cost two texts together."""
    world.reindex(unlike(range(30)), spec=SPEC)
    for _ in range(2):
        generation = embedded(world, range(30), month="2026-12")
        gate = compared(world, generation, now=NEXT_MONTH)
        assert (gate.is_open, counts(gate), sync_requests(world)) == (True, (2, 0, 0, 0), 2)


def test_a_disagreement_is_not_forgotten_by_another_reindex(world: World) -> None:
    """In the same month the next generation is held, too, and nothing is sent for that."""
    world.reindex(unlike(range(30)), spec=SPEC)
    world.strike(FaultKind.CHANGED_SYNC_MODEL)
    for _ in range(2):
        gate = compared(world, embedded(world, range(30), month="2026-12"), now=NEXT_MONTH)
        assert counts(gate) == (2, 0, 2, 0)
    assert sync_requests(world) == 2


def test_other_old_texts_are_compared_in_every_month(world: World) -> None:
    """So that one text that is wrong is not met again and again."""
    world.reindex(unlike(range(30)), spec=SPEC)
    seen: list[frozenset[int]] = []
    for months in range(2):
        now = NEXT_MONTH + timedelta(days=31 * months)
        generation = embedded(world, range(30), month="2026-12")
        compared(world, generation, now=now)
        found = world.index.agreements.fresh_vectors(generation, since=now)
        seen.append(frozenset(one.chunk_id for one in found))
        world.publish(generation, now=now)
    assert [len(ids) for ids in seen] == [2, 2]
    assert not seen[0] & seen[1]


def test_what_the_synchronous_route_brought_is_not_asked_again(world: World) -> None:
    """It came by the same door, at the full price, a moment ago."""
    world = world.changed(route="sync", max_requests_per_job=10)
    generation = world.build(unlike(range(20)), spec=SPEC)
    for shard in world.plan(generation):
        assert shard.route is Route.SYNC
        world.embed(shard)
        world.collect(shard)
    assert counts(compared(world, generation)) == (0, 0, 0, 0)
    assert sync_requests(world) == 20


def test_nothing_is_embedded_again_while_something_is_under_way(world: World) -> None:
    """A generation that cannot be published is not compared."""
    generation = world.build(unlike(range(30)), spec=SPEC)
    first, *_ = world.plan(generation)
    world.submit(first)
    world.finish(first)
    assert world.compare(generation) is None
    assert sync_requests(world) == 0


def test_what_is_served_is_not_embedded_again(world: World) -> None:
    """Neither what readers see, nor what they go back to."""
    first = world.reindex(unlike(range(30)), spec=SPEC)
    world.reindex(unlike(range(31)), spec=SPEC)
    for served in (world.index.generations.published(), first):
        assert served is not None
        retired = world.index.generations.get(served.generation_id)
        assert world.compare(retired, now=NEXT_MONTH) is None
    assert sync_requests(world) == 0


def test_none_is_sampled_if_none_is_asked_for(world: World) -> None:
    """With publishing.agreement_samples = 0 nothing is sent."""
    settings = world.settings.model_copy(update={"publishing": Publishing(agreement_samples=0)})
    world = replace(world, settings=settings)
    assert counts(compared(world, embedded(world, range(30)))) == (0, 0, 0, 0)
    assert sync_requests(world) == 0


# --- money ------------------------------------------------------------------------------------


def test_the_bill_has_what_the_emulator_has_billed(world: World) -> None:
    """To the token, at the price of each route, for the generation and in the budget."""
    generation = embedded(world, range(30))
    before = world.index.bills.of(generation)
    compared(world, generation)
    bill, theirs = world.index.bills.of(generation), world.emulator.bill()
    assert (bill.n_requests, bill.n_compared) == (theirs.batch_requests, theirs.sync_requests)
    assert bill.billed_tokens == theirs.tokens
    sync_usd = theirs.sync_tokens * Decimal("0.15") / 1_000_000
    assert bill.billed_usd == before.billed_usd + sync_usd
    assert bill == world.index.bills.publication(generation)
    assert [each for _, each in world.index.bills.sent(provider="emulator")] == [bill]
    committed = world.index.bills.committed(provider="emulator", since=NOW)
    assert sum(shard.spent_usd for shard in committed) == bill.billed_usd
    assert world.index.bills.committed(provider="gemini", since=NOW) == []


def test_a_call_that_nobody_heard_the_end_of_counts_as_billed(world: World) -> None:
    """Announced and never recorded, because its process died: by the estimate."""
    generation = embedded(world, range(30))
    before = world.index.bills.of(generation)
    world.index.agreements.announce(
        generation, n_texts=6, estimated_tokens=90, usd_per_million=Decimal("0.15"), now=NOW
    )
    bill = world.index.bills.of(generation)
    assert bill.billed_tokens == before.billed_tokens + 90
    assert bill.billed_usd == before.billed_usd + Decimal("0.0000135")


def test_a_budget_without_room_holds_the_publication(world: World) -> None:
    """Nothing is sent, and the gate says which limit it is and how to go on without."""
    generation = embedded(world, range(30))
    budget = Budget(max_cost_usd=world.index.bills.of(generation).billed_usd)
    poor = replace(world, settings=world.settings.model_copy(update={"budget": budget}))
    trouble = poor.compare(generation)
    assert re.match(
        r"6 sampled texts were not embedded again to compare: \$.* is over budget.max_cost_usd",
        trouble or "",
    )
    assert sync_requests(world) == 0
    assert world.index.agreements.silence(generation) is None  # another try would end the same way


def test_an_index_that_may_be_a_copy_asks_for_nothing(world: World) -> None:
    """Until a person has said which one goes on nothing is sent by any route."""
    generation = embedded(world, range(30))
    world.index.identity.record_doubt("it may be a copy")
    assert (world.compare(generation) or "").endswith("it may be a copy")
    assert sync_requests(world) == 0
    world.index.identity.take_over(now=NOW)
    assert world.compare(generation) is None


def test_a_plan_counts_what_is_to_be_compared(world: World) -> None:
    """At the most: new texts by the batch route, and old ones that have a vector."""
    world.reindex(unlike(range(30)), spec=SPEC)
    plan = world.make_plan(world.build(unlike(range(40)), month="2026-12", spec=SPEC))
    assert plan.packed.n_requests == 10
    assert plan.agreement.n_texts == 8
    assert plan.budgeted_cost_usd == plan.estimated_cost_usd + plan.agreement.cost_usd
    nothing_new = world.make_plan(world.build(unlike(range(30)), month="2026-12", spec=SPEC))
    assert (nothing_new.agreement.n_texts, nothing_new.budgeted_cost_usd) == (
        2,
        Decimal(0),
    )


# --- when Gemini does not answer --------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_silence_is_tried_again_later(world: World, status: int) -> None:
    """Nothing is owed for it, the gate is shut until there is an answer, and each try is known."""
    generation = embedded(world, range(30))
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=status, times=1)
    bill = world.index.bills.of(generation)
    trouble = world.compare(generation)
    assert str(status) in (trouble or "")
    silence = world.index.agreements.silence(generation)
    assert silence is not None
    assert silence.ends_at(timedelta(minutes=15)) == NOW + timedelta(minutes=15)
    assert replace(silence, n_calls=3).ends_at(timedelta(minutes=15)) == NOW + timedelta(hours=1)
    assert replace(silence, n_calls=99).ends_at(timedelta(minutes=15)) == NOW + timedelta(hours=6)
    assert world.index.bills.of(generation) == bill
    assert compared(world, generation).is_open
    assert world.index.agreements.silence(generation) is None


def test_an_answer_that_is_short_is_on_the_bill(world: World, base_url: str) -> None:
    """Nobody knows whose its vectors are: it was paid for, and is asked for again later."""
    generation = embedded(world, range(30))
    short = a_client(base_url, "emulator")
    short.n_lost = 1
    assert "one too few" in (replace(world, gemini=short).compare(generation) or "")
    assert world.index.agreements.silence(generation) is not None
    assert world.index.bills.of(generation).billed_tokens == world.emulator.bill().tokens
    assert counts(compared(world, generation)) == (6, 0, 0, 0)
    assert world.index.bills.of(generation).billed_tokens == world.emulator.bill().tokens
    short.close()


def test_a_refusal_leaves_no_trace(world: World, rows: Rows) -> None:
    """With a bad key the next try would end the same way: a person is told."""
    generation = embedded(world, range(30))
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=403, times=1)
    assert "403" in (world.compare(generation) or "")
    assert rows("SELECT count(*) FROM agreement_calls") == [(0,)]
    assert compared(world, generation).is_open


def test_another_provider_is_not_asked(world: World) -> None:
    """The emulator's vectors say nothing about Gemini's."""
    generation = embedded(world, range(30))
    spec = replace(generation.spec, provider="gemini")
    trouble = world.compare(replace(generation, spec=spec))
    assert "the generation is of gemini, and emulator answers now" in (trouble or "")


# --- what to do about it ----------------------------------------------------------------------


def test_mixed_up_answers_are_bought_again_by_shard(world: World) -> None:
    """As the gate says; what is embedded again already is compared with the new answers."""
    world.strike(FaultKind.SWAPPED_VECTORS, match="-0002/", times=1)
    generation = embedded(world, range(30))
    gate = compared(world, generation)
    assert "`embedding-assets retry --shard 2026-11-0002`" in gate.verdict
    assert buy_again(world.index, "2026-11-0002").n_chunks == 10
    assert not world.gates(generation)[GateName.FINISHED].is_open
    [again] = world.plan(generation)
    world.submit(again)
    assert world.finish(again).n_embedded == 10
    gate = compared(world, generation)
    assert (gate.is_open, counts(gate), sync_requests(world)) == (True, (6, 0, 0, 0), 6)
    world.publish(generation)
    report = examine(world.index, world.settings, connect=None, repair=False, now=NOW)
    assert report.findings == ()


def test_what_readers_see_is_not_bought_again(world: World) -> None:
    """Their vectors stay, whatever is wrong with them."""
    world.reindex(unlike(range(30)), spec=SPEC)
    embedded(world, range(31))
    with pytest.raises(LedgerError, match="shard 2026-11-0001 is not of a generation that is"):
        buy_again(world.index, "2026-11-0001")


def test_what_was_answered_goes_with_its_generation(world: World, rows: Rows) -> None:
    """The vectors of months that nobody keeps are removed, what they cost is not."""
    for month in range(5):
        now = NOW + timedelta(days=31 * month)
        generation = embedded(world, range(30 + month), month=f"{now:%Y-%m}")
        compared(world, generation, now=now)
        world.publish(generation, now=now)
        world.retain(now=now)
    assert rows("SELECT count(*) FROM agreement_calls") == [(5,)]
    of_samples = (
        "SELECT DISTINCT state FROM agreement_samples JOIN agreement_calls USING (call_id) "
        "JOIN generations USING (generation_id) ORDER BY state"
    )
    assert rows(of_samples) == [("published",), ("retired",)]
    assert rows("SELECT count(*) FROM generations WHERE state = 'removed'") == [(2,)]


# --- texts at the model's input limit ---------------------------------------------------------


def test_a_text_at_the_input_limit_is_named(world: World) -> None:
    """Billed with all that the model reads: it is served, and the doctor says so."""
    chunker = Chunker(max_chars=9_000, max_tokens=10_000)
    corpus = [*unlike(range(3)), *documents({"long.txt": "word " * 1_800})]
    generation = build_generation(
        world.index, corpus, month="2026-11", spec=SPEC, chunker=chunker, now=NOW
    ).generation
    [shard] = world.plan(generation)
    world.submit(shard)
    world.finish(shard)
    world.publish(generation)
    assert world.index.shards.count_cut(shard) == 1
    [finding] = examine(world.index, world.settings, connect=None, repair=False, now=NOW).findings
    assert (finding.check, finding.severity) == (Check.CUT_TEXTS, Severity.NOTE)
    assert finding.message == (
        "1 published text reaches the 2,048 tokens that gemini-embedding-001 reads of one, for "
        "example in 'long.txt': what stands after them is not in the vector"
    )


def test_the_doctor_names_the_gate_that_is_shut(world: World) -> None:
    """A month that is finished and not published is no secret; nothing is bought for saying so."""
    world.strike(FaultKind.SWAPPED_VECTORS)
    generation = embedded(world, range(30))
    compared(world, generation)
    bill = world.emulator.bill()
    report = examine(world.index, world.settings, connect=None, repair=False, now=NOW)
    [finding] = report.findings
    assert (finding.check, finding.severity) == (Check.SHUT_GATES, Severity.NOTE)
    assert "2026-11 is finished and not published: " in finding.message
    assert "publish --allow agreement" in finding.next_step
    assert world.emulator.bill() == bill
