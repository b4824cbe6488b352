"""The plan: what is missing, within the limits and the budget, bought by one plan only."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from embedding_assets.errors import BudgetExceededError, LedgerError, SettingsError
from embedding_assets.pipeline.plan import check_budget, write_plan
from embedding_assets.settings import RouteChoice
from embedding_assets.shards import Route, ShardState
from tests.factories import NOW, SPEC
from tests.integration.world import World, a_book, notes

Rows = Callable[..., list[tuple[Any, ...]]]


def test_a_plan_names_requests_tokens_and_dollars(world: World) -> None:
    """A plan is priced by its route before anything is written."""
    plan = world.make_plan(world.build(notes(range(10))))
    assert (plan.route, plan.n_requests, plan.progress.n_unplanned) == (Route.BATCH, 10, 10)
    assert plan.estimated_tokens == 190
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


def test_a_plan_over_the_budget_is_refused(world: World, rows: Rows) -> None:
    """A plan that costs too much says what it costs and what is allowed, and writes nothing."""
    plan = world.make_plan(world.build([a_book(1000)], max_chars=100))
    wanted = (
        r"2026-11 costs an estimated \$0\.0015 \(1,000 requests, 19,990 tokens\) on top of "
        r"\$0\.00, budget\.max_cost_usd is \$0\.0010;"
    )
    with pytest.raises(BudgetExceededError, match=wanted):
        check_budget(world.index, plan, max_cost_usd=Decimal("0.001"))
    assert rows("SELECT count(*) FROM shards") == [(0,)]


def test_the_budget_counts_what_the_generation_has_cost_already(world: World) -> None:
    """A second plan for the same generation is added to the first."""
    generation = world.build(notes(range(10)))
    plan = world.make_plan(generation)
    limit = plan.estimated_cost_usd * Decimal("1.5")
    check_budget(world.index, plan, max_cost_usd=limit)
    world.plan(generation)
    with pytest.raises(BudgetExceededError):
        check_budget(world.index, plan, max_cost_usd=limit)


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
    assert world.index.shards.keys(ShardState.OPEN) == keys[2]


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
    with pytest.raises(LedgerError, match="there is no shard '2026-11-0007'; materialize"):
        world.index.shards.get("2026-11-0007")
