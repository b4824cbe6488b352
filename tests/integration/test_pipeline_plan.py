"""The plan: what is missing, within the limits and the budget, bought by one plan only."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.errors import LedgerError, SettingsError
from embedding_assets.model.shards import Route
from embedding_assets.pipeline.plan import reason_to_hold, write_plan
from embedding_assets.settings.values import ModelPrice, RouteChoice
from tests.factories import NOW, SPEC
from tests.integration.world import World, notes

Rows = Callable[..., list[tuple[Any, ...]]]


def test_a_plan_names_requests_tokens_and_dollars(world: World) -> None:
    """A plan is priced by its route before anything is written."""
    plan = world.make_plan(world.build(notes(range(10))))
    assert (plan.route, plan.packed.n_requests, plan.progress.n_unplanned) == (Route.BATCH, 10, 10)
    assert plan.packed.n_tokens == 190
    assert plan.estimated_cost_usd == Decimal("0.00001425")
    assert plan.sync_cost_usd == 2 * plan.estimated_cost_usd
    assert world.index.shards.of(plan.generation) == []


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        ({"max_requests_per_job": 4}, [4, 4, 2]),
        ({"max_bytes_per_job": 600}, [3, 3, 3, 1]),
        ({"max_tokens_per_job": 100}, [5, 5]),
    ],
)
def test_shards_keep_to_the_limits(world: World, limit: dict[str, int], sizes: list[int]) -> None:
    """No shard has more requests, bytes or tokens than one job may hold."""
    shards = world.changed(**limit).plan(world.build(notes(range(10))))
    assert [shard.n_requests for shard in shards] == sizes
    assert [shard.n_bytes for shard in shards] == [world.write(shard).n_bytes for shard in shards]


@pytest.mark.parametrize(("n", "route"), [(4, Route.SYNC), (5, Route.BATCH)])
def test_few_requests_take_the_synchronous_route(world: World, n: int, route: Route) -> None:
    """Below the threshold the plan is for the synchronous route, from there on for batch jobs."""
    auto = world.changed(route=RouteChoice.AUTO, min_batch_requests=5)
    shards = auto.plan(auto.build(notes(range(n))))
    assert [shard.route for shard in shards] == [route]


def test_of_two_plans_made_at_once_one_is_written(world: World, rows: Rows) -> None:
    """The second plan for the same chunks is refused, and nothing is requested twice."""
    generation = world.build(notes(range(10)))
    first, second = world.make_plan(generation), world.make_plan(generation)
    write_plan(world.index, first, now=NOW)
    with pytest.raises(LedgerError, match="another plan or build was written; materialize"):
        write_plan(world.index, second, now=NOW)
    assert rows("SELECT count(*), count(DISTINCT chunk_id) FROM requests") == [(10, 10)]


def test_a_plan_for_a_superseded_generation_is_refused(world: World, rows: Rows) -> None:
    """What was planned before a new build began is not written after it."""
    plan = world.make_plan(world.build(notes(range(10))))
    world.build(notes(range(10)))
    with pytest.raises(LedgerError, match="another plan or build was written"):
        write_plan(world.index, plan, now=NOW)
    assert rows("SELECT count(*) FROM requests") == [(0,)]


def test_shards_are_numbered_on_within_the_month(world: World) -> None:
    """No key is used twice, not even by another generation of the month or another month."""
    small = world.changed(max_requests_per_job=2)
    first = small.plan(world.build(notes(range(4))))
    second = small.plan(world.build(notes(range(3))))
    december = small.plan(world.build(notes(range(3)), month="2026-12"))
    keys = [[shard.key for shard in shards] for shards in (first, second, december)]
    assert keys == [
        ["2026-11-0001", "2026-11-0002"],
        ["2026-11-0003", "2026-11-0004"],
        ["2026-12-0001", "2026-12-0002"],
    ]
    statuses = world.index.jobs.ledger().statuses
    assert [status.shard.key for status in statuses] == keys[2]


def test_a_plan_for_nothing_is_empty(world: World) -> None:
    """When all vectors are there the plan has no shards, and its generation counts as planned."""
    world.reindex(notes(range(2)))
    generation = world.build(notes(range(2)))
    assert world.plan(generation) == []
    building = world.index.generations.building()
    assert building is not None
    assert building.planned_at == NOW


def test_a_model_without_a_price_is_refused(world: World) -> None:
    """A model whose price is not known is never taken for free."""
    generation = world.build(notes(range(2)), spec=replace(SPEC, model="gemini-embedding-9"))
    with pytest.raises(SettingsError, match=r"no price is known for embedding.model 'gemini-emb"):
        world.make_plan(generation)


def test_an_unknown_shard_is_named(world: World) -> None:
    """A key that no plan has is an error that says so."""
    with pytest.raises(
        LedgerError, match="there is no shard '2026-11-0007': no plan of this index has it"
    ):
        world.index.shards.get("2026-11-0007")


def test_a_model_with_a_price_of_its_own(world: World) -> None:
    """A model that is not in the table is planned at the price of the settings."""
    own = {"gemini-embedding-9": ModelPrice(sync=Decimal(2), batch=Decimal(1))}
    world = replace(world, settings=world.settings.model_copy(update={"prices": own}))
    plan = world.make_plan(
        world.build(notes(range(10)), spec=replace(SPEC, model="gemini-embedding-9"))
    )
    assert plan.estimated_cost_usd * 1_000_000 == plan.packed.n_tokens
    assert plan.sync_cost_usd == 2 * plan.estimated_cost_usd


def test_many_requests_are_not_sent_synchronously_by_mistake(world: World) -> None:
    """Above the setting the synchronous route is refused, with time and price; it can be forced."""
    slow = world.changed(route=RouteChoice.SYNC, max_sync_requests=9, sync_requests_per_minute=5)
    generation = world.build(notes(range(10)))
    wanted = (
        "limits.route is 'sync' and 10 requests are to be sent: at 5 a minute that takes 2 "
        "minutes, at the full price; use limits.route = 'auto', or raise limits.max_sync_requests"
    )
    with pytest.raises(SettingsError, match=wanted):
        slow.make_plan(generation)
    assert slow.changed(max_sync_requests=10).make_plan(generation).route is Route.SYNC


# --- waiting for more -------------------------------------------------------------------------


def hold(world: World, n: int, **when: Any) -> str | None:
    """Why a plan for so many requests waits for more."""
    plan = world.make_plan(world.build(notes(range(n))))
    values = {"waiting_since": None, "now": NOW, **when}
    return reason_to_hold(plan, world.settings, **values)


def test_few_requests_may_wait_for_more(world: World) -> None:
    """By setting, until there are enough or the time is up."""
    patient = world.changed(min_batch_requests=5, max_wait_h=24)
    assert hold(patient, 4) == (
        "4 requests wait until there are 5, or until 2026-11-24T03:00:00+00:00; "
        "`embedding-assets reindex --now` sends them"
    )
    assert hold(patient, 5) is None
    assert hold(patient, 0) is None
    since = NOW - timedelta(hours=23)
    assert "until 2026-11-23T04:00:00" in str(hold(patient, 4, waiting_since=since))
    assert hold(patient, 4, waiting_since=NOW - timedelta(hours=24)) is None
    assert hold(world.changed(min_batch_requests=5), 4) is None  # the default is not to wait
    assert hold(patient.changed(route=RouteChoice.SYNC), 4) is None


def test_what_is_a_batch_for_being_many_does_not_wait(world: World) -> None:
    """Only what the route calls few waits, and no longer than until it is called many."""
    limits = {"min_batch_requests": 20, "max_sync_requests": 10, "max_wait_h": 24}
    patient = world.changed(route=RouteChoice.AUTO, **limits)
    assert str(hold(patient, 10)).startswith("10 requests wait until there are 11, or until ")
    assert [hold(patient, n) for n in (11, 15)] == [None, None]
    always_batch = patient.changed(route=RouteChoice.BATCH)
    assert str(hold(always_batch, 15)).startswith("15 requests wait until there are 20, or until ")


def test_a_retry_does_not_wait_for_more(world: World) -> None:
    """What is all but complete is finished."""
    patient = world.changed(min_batch_requests=5, max_wait_h=24)
    world.strike(FaultKind.ERROR_LINE, times=1)
    patient.embed_all(notes(range(6)))
    building = world.index.generations.building()
    assert building is not None
    plan = patient.make_plan(building)
    assert plan.packed.n_requests == 1
    assert reason_to_hold(plan, patient.settings, waiting_since=None, now=NOW) is None


def test_waiting_begins_once_and_ends_with_a_plan(world: World) -> None:
    """A trickle waits from its first drop on, whatever generation that was in."""
    generations = world.index.generations
    assert generations.waiting_since() is None
    generation = world.build(notes(range(2)))
    generations.start_waiting(generation, now=NOW)
    generations.start_waiting(generation, now=NOW + timedelta(hours=5))
    assert generations.waiting_since() == NOW
    world.plan(world.build(notes(range(3))))
    assert generations.waiting_since() is None
