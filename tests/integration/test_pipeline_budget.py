"""The budget at work: no plan over it is written, no shard over it is sent, nothing is lost."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.errors import BudgetExceededError, BudgetReachedError
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.generations import Generation
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.budget import check_plan, look_into_purse
from embedding_assets.pipeline.plan import Plan
from embedding_assets.settings.values import Budget
from tests.factories import NOW
from tests.integration.world import World, a_book, notes

Rows = Callable[..., list[tuple[Any, ...]]]


def check(world: World, plan: Plan) -> None:
    check_plan(world.index, plan, world.settings, now=NOW)


def test_a_plan_over_the_budget_is_refused(world: World, rows: Rows) -> None:
    """It says what it costs, what is allowed and the three ways on, and writes nothing."""
    plan = world.make_plan(world.build([a_book(1000)], max_chars=100))
    poor = world.with_budget(Decimal("0.001"))
    wanted = (
        r"^the plan for 2026-11 costs an estimated \$0\.0015 \(1,000 requests, 19,990 tokens\): "
        r"\$0\.00149925 on top of \$0\.00 spent or under way is over "
        r"budget\.max_cost_usd, \$0\.001; nothing was written or sent\. Raise the limit, narrow "
        r"corpus\.paths, or approve this one with `embedding-assets reindex --approve-cost 0\.01`$"
    )
    with pytest.raises(BudgetExceededError, match=wanted):
        check(poor, plan)
    assert rows("SELECT count(*) FROM shards") == [(0,)]
    world.index.bills.approve(plan.generation, usd=Decimal("0.01"))
    check(poor, plan)


def test_the_budget_counts_what_the_generation_has_cost_already(world: World) -> None:
    """A second plan for the same generation is added to the first."""
    generation = world.build(notes(range(10)))
    plan = world.make_plan(generation)
    world = world.with_budget(plan.estimated_cost_usd * Decimal("1.5"))
    check(world, plan)
    world.plan(generation)
    with pytest.raises(BudgetExceededError):
        check(world, plan)


def test_the_month_counts_what_other_reindexes_have_cost(world: World) -> None:
    """A calendar month has a limit of its own, and the next month begins at nothing."""
    world.reindex(notes(range(10)))
    plan = world.make_plan(world.build(notes(range(10, 20))))
    spent_usd = Decimal("0.075") * world.emulator.bill().tokens / 1_000_000
    budget = Budget(max_cost_per_month_usd=spent_usd + plan.estimated_cost_usd)
    enough = replace(world, settings=world.settings.model_copy(update={"budget": budget}))
    check(enough, plan)
    tight = Budget(max_cost_per_month_usd=budget.max_cost_per_month_usd - Decimal("0.0000001"))
    short = replace(world, settings=world.settings.model_copy(update={"budget": tight}))
    with pytest.raises(BudgetExceededError, match=r"over budget\.max_cost_per_month_usd"):
        check(short, plan)
    check_plan(world.index, plan, short.settings, now=NOW + timedelta(days=31))


# --- midway -----------------------------------------------------------------------------------


@pytest.fixture
def dear(world: World) -> tuple[World, Generation, list[Shard]]:
    """Three shards in a budget that their estimates just keep; Gemini bills more than that."""
    world = world.changed(max_requests_per_job=5)
    generation = world.build(notes(range(15)))
    shards = world.plan(generation)
    estimated_usd = world.index.bills.of(generation).estimated_usd
    return world.with_budget(estimated_usd), generation, shards


def bill(index_path: Path, shard: Shard, *, tokens: int) -> None:
    """As if Gemini had billed that much for a shard of five requests."""
    with closing(sqlite3.connect(index_path)) as connection, connection:
        connection.execute(
            "UPDATE requests SET billed_tokens = ? WHERE shard_id = ?",
            (tokens // 5, shard.shard_id),
        )


def test_a_cap_that_is_reached_midway_stops_what_is_not_sent(
    dear: tuple[World, Generation, list[Shard]], index_path: Path
) -> None:
    """Paid jobs are finished and collected; the rest waits, whole, until more is approved."""
    world, generation, (first, second, third) = dear
    world.submit_shard(first)
    world.submit_shard(second)
    world.finish(first)
    bill(index_path, first, tokens=3 * first.estimated_tokens)
    with pytest.raises(BudgetReachedError, match=r"the budget is reached: \$0\.0000075 on top of"):
        world.submit_shard(third)
    assert world.index.jobs.newest_job(third) is None
    assert world.collect(second).n_embedded == 5
    assert world.progress(generation).n_pending == 5
    world.index.bills.approve(generation, usd=Decimal(1))
    assert world.submit_shard(third).state is JobState.PENDING
    world.finish(third)
    assert world.progress(generation).n_embedded == 15
    total = world.emulator.bill()
    assert (total.jobs_created, total.bought_twice) == (3, ())


def test_a_half_paid_shard_of_before_does_not_hold_up_what_was_approved(world: World) -> None:
    """What a new build waits for is approved with it, and other generations' shards go on."""
    world = world.changed(route="sync")
    [early] = world.plan(world.build(notes(range(3))))
    world.index.jobs.reserve(early, requests_sha256=world.write(early).sha256, now=NOW)
    generation = world.build(notes(range(6)))
    [late] = world.plan(generation)
    poor = world.with_budget(Decimal(0))
    with pytest.raises(BudgetReachedError):
        poor.submit_shard(early)
    world.index.bills.approve(generation, usd=Decimal(1))
    for shard in (early, late):
        poor.submit_shard(shard)
        poor.collect(shard)
    assert poor.progress(generation).n_embedded == 6
    assert poor.emulator.bill().bought_twice == ()


def test_the_emulators_dollars_are_nobodys(world: World) -> None:
    """What was tried out without a key takes nothing from the month of the real reindex."""
    world.reindex(notes(range(10)))
    here = look_into_purse(world.index, world.settings, provider="emulator", now=NOW)
    there = look_into_purse(world.index, world.settings, provider="gemini", now=NOW)
    assert here.month_spent_usd > there.month_spent_usd == 0
