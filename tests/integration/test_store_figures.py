"""What the pictures of an index are made of: bills by month, and how long jobs took."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from embedding_assets.defs.pictures import months_of
from embedding_assets.defs.plots import Month
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import RefusedError
from embedding_assets.model.gates import GateName
from embedding_assets.model.generations import Generation
from embedding_assets.money.bill import Grouping, make_statement
from embedding_assets.settings.values import RouteChoice
from embedding_assets.store.jobs import JobWait
from tests.factories import NOW, SPEC
from tests.integration.world import World, notes

ALL = frozenset(GateName)
BATCH_PRICE = Decimal("0.075") / 1_000_000


def months(world: World) -> list[Month]:
    return months_of(world.index, provider="emulator")


def test_a_month_is_what_readers_saw_and_what_was_billed(world: World) -> None:
    """Chunks of the index, requests and dollars of what was sent for it."""
    world.reindex(notes(range(10)))
    first = world.emulator.bill().tokens
    world.reindex(notes(range(2, 13)), month="2026-12")
    second = world.emulator.bill().tokens - first

    november, december = months(world)

    assert (november.month, november.n_chunks, november.bill.n_requests) == ("2026-11", 10, 10)
    assert november.bill.billed_usd == first * BATCH_PRICE
    estimated = world.index.shards.get("2026-12-0001").estimated_tokens
    assert (december.month, december.n_chunks) == ("2026-12", 11)
    assert (december.bill.n_shards, december.bill.n_requests) == (1, 3)
    assert (december.bill.estimated_tokens, december.bill.billed_tokens) == (estimated, second)
    assert december.bill.estimated_usd == estimated * BATCH_PRICE
    assert december.bill.billed_usd == second * BATCH_PRICE


def test_every_build_of_a_month_is_on_its_bill(world: World) -> None:
    """Also one that was superseded; the chunks are those that readers saw last."""
    world.embed_all(notes(range(10)))
    world.reindex(notes(range(12)))
    world.embed_all(notes(range(20)))  # not published yet

    (november,) = months(world)

    assert november.n_chunks == 12
    assert november.bill.n_requests == 20
    assert november.bill.billed_usd == world.emulator.bill().tokens * BATCH_PRICE


def test_the_picture_and_the_statement_say_the_same(world: World) -> None:
    """One bill, whether a month is drawn, published or listed among the costs."""
    world.strike(FaultKind.ERROR_LINE, match="Note 3 ")
    generation = world.embed_all(notes(range(5)))
    world.publish(generation, allow=ALL)

    (november,) = months(world)
    statement = make_statement(world.index.bills.all({}), by=Grouping.MONTH)

    (line,) = statement.lines
    sent = replace(line.bill, sync_usd=None, without_reuse_usd=None, n_not_bought=0)
    assert sent == november.bill
    assert november.bill == world.index.bills.publication(generation)
    assert november.bill == world.index.bills.of(generation)
    assert (november.bill.n_embedded, november.bill.n_failed) == (4, 1)


def test_another_providers_dollars_are_left_out(world: World) -> None:
    """The emulator's dollars are nobody's: they are not added to Google's."""
    world.reindex(notes(range(5)))
    world.build(notes(range(5)), spec=replace(SPEC, provider="gemini"))

    assert [month.bill.n_requests for month in months(world)] == [5]
    gemini = months_of(world.index, provider="gemini")
    assert [(month.n_chunks, month.bill.billed_usd) for month in gemini] == [(0, Decimal(0))]


def test_no_month_before_the_first_reindex(world: World) -> None:
    """An empty index has none."""
    assert months(world) == []


def test_a_chunk_that_was_sent_twice_counts_once(world: World) -> None:
    """A request that failed and was sent again is two requests, and one chunk that was sent."""
    world.strike(FaultKind.ERROR_LINE, match="Note 3 ", times=1, code=13)
    generation = world.embed_all(notes(range(5)))
    (again,) = world.plan(generation)
    world.submit(again)
    world.finish(again)

    assert world.index.bills.of(generation).n_requests == 6
    assert world.index.bills.count_sent(generation) == 5


def test_a_publication_takes_over_what_an_abandoned_build_has_bought(world: World) -> None:
    """From the build that was served before it on; of its chunks only those that it still has."""
    served = world.reindex(notes(range(4)))
    world.embed_all(notes(range(10)))
    newest = world.reindex(notes(range(8)))

    bills, ours = world.index.bills, world.index.bills.of(newest)
    assert (ours.n_requests, bills.publication(newest).n_requests) == (0, 6)
    assert bills.count_sent(newest) == 4
    assert (bills.publication(served).n_requests, bills.count_sent(served)) == (4, 4)
    billed = bills.publication(served).billed_tokens + bills.publication(newest).billed_tokens
    assert billed == world.emulator.bill().tokens


def test_what_was_never_submitted_was_not_sent(world: World) -> None:
    """A plan is no bill, also if it was published without waiting for it."""
    generation = world.build(notes(range(3)))
    (shard,) = world.plan(generation)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=400)
    with pytest.raises(RefusedError):
        world.submit(shard)

    assert world.index.bills.publication(generation).n_requests == 0
    assert world.index.bills.count_sent(generation) == 0
    assert [month.bill.n_requests for month in months(world)] == [0]


def test_an_estimate_is_compared_with_what_was_answered_in_full(world: World) -> None:
    """Texts that a job left out are planned and so estimated again: they are counted once."""
    world.strike(FaultKind.JOB_PARTIAL, times=1)
    generation = world.embed_all(notes(range(10)))
    while again := world.plan(generation):
        for shard in again:
            world.submit(shard)
            world.finish(shard)

    whole, all_of_it = (
        world.index.bills.comparable(generation),
        world.index.bills.publication(generation),
    )
    assert 0 < whole.n_requests < 10 < all_of_it.n_requests
    assert whole.estimated_tokens / whole.billed_tokens < 1.25
    assert all_of_it.estimated_tokens / all_of_it.billed_tokens > 1.25


def test_a_month_has_the_chunks_that_readers_saw_last(world: World) -> None:
    """After a roll-back those of the earlier build."""
    first = world.reindex(notes(range(4)))
    world.reindex(notes(range(6)))
    retired = world.index.generations.get(first.generation_id)
    world.publish(retired, allow=ALL, now=NOW + timedelta(days=1))
    assert [month.n_chunks for month in months(world)] == [4]


def sent(world: World, generation: Generation, *, ago: timedelta) -> None:
    """Submit all of a generation so long before NOW, which is when Gemini ends everything."""
    for shard in world.plan(generation):
        world.submit(shard, now=NOW - ago)
    world.poll()


def test_a_job_waits_from_its_submission_to_its_end(world: World) -> None:
    """Jobs in the order of their builds, each with its seconds and whether it was answered."""
    first = world.build(notes(range(3)))
    sent(world, first, ago=timedelta(minutes=7))
    (shard,) = world.index.shards.of(first)
    world.collect(shard)
    world.strike(FaultKind.JOB_EXPIRED, times=1)
    second = world.build(notes(range(5)), month="2026-12")
    sent(world, second, ago=timedelta(hours=30))

    answered = JobWait(
        generation_id=first.generation_id, month="2026-11", seconds=420.0, is_answered=True
    )
    expired = JobWait(
        generation_id=second.generation_id, month="2026-12", seconds=108_000.0, is_answered=False
    )
    assert world.index.jobs.waits(second) == [answered, expired]
    assert world.index.jobs.waits(first) == [answered]


def test_what_has_not_ended_or_was_sent_synchronously_did_not_wait(world: World) -> None:
    """Only a batch job that is over has a waiting time."""
    at_once = world.changed(route=RouteChoice.SYNC)
    generation = at_once.build(notes(range(3)))
    (shard,) = at_once.plan(generation)
    at_once.embed(shard)
    at_once.collect(shard)
    pending = world.build(notes(range(6)))
    for shard in world.plan(pending):
        world.submit(shard)

    assert world.index.jobs.waits(pending) == []


def test_a_clock_ahead_of_geminis_makes_no_negative_wait(world: World) -> None:
    """A job that ended before it was submitted took no time."""
    generation = world.build(notes(range(3)))
    sent(world, generation, ago=timedelta(seconds=-5))

    assert [wait.seconds for wait in world.index.jobs.waits(generation)] == [0.0]
