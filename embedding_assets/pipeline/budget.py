"""The budget at work: before a plan is written and before a shard is sent.

Belongs here: asking the index what is spent, and refusing. Does not belong here: what counts
(money/budget.py).
"""

from datetime import datetime
from decimal import ROUND_UP, Decimal

from embedding_assets.errors import BudgetExceededError, BudgetReachedError
from embedding_assets.model.shards import Shard
from embedding_assets.money.budget import Purse, fill_purse, month_start
from embedding_assets.money.prices import estimated_usd
from embedding_assets.pipeline.plan import Plan
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.wording import format_usd

_CENT = Decimal("0.01")


def look_into_purse(
    index: Index, settings: Settings, *, provider: str, with_unsent: bool = False, now: datetime
) -> Purse:
    """What may still be spent at a provider, as the index knows it."""
    return fill_purse(
        index.bills.committed(provider=provider, since=month_start(now)),
        settings.budget,
        approved_usd=index.bills.approved(),
        with_unsent=with_unsent,
        now=now,
    )


def check_plan(index: Index, plan: Plan, settings: Settings, *, now: datetime) -> None:
    """Raises BudgetExceededError, with the ways on, for a plan that costs more than allowed.

    What was planned or sent for the same generation before, say before a retry, counts.
    """
    generation = plan.generation
    provider = generation.spec.provider
    purse = look_into_purse(index, settings, provider=provider, with_unsent=True, now=now)
    reason = purse.reason_against(generation.generation_id, plan.budgeted_cost_usd)
    if reason is None:
        return
    total_usd = plan.budgeted_cost_usd + purse.spent_usd.get(generation.generation_id, 0)
    enough = total_usd.quantize(_CENT, rounding=ROUND_UP)
    raise BudgetExceededError(
        f"the plan for {generation.month} costs an estimated "
        f"{format_usd(plan.estimated_cost_usd)} ({plan.packed.n_requests:,} requests, "
        f"{plan.packed.n_tokens:,} tokens): {reason}; nothing was written or sent. Raise the "
        "limit, narrow corpus.paths, or approve this one with "
        f"`embedding-assets reindex --approve-cost {enough}`"
    )


def check_shard(index: Index, shard: Shard, settings: Settings, *, now: datetime) -> None:
    """Raises BudgetReachedError for a shard that would cost more than is left.

    That happens when what was billed is more than was estimated: what is paid for is collected,
    nothing more is sent.
    """
    purse = look_into_purse(index, settings, provider=shard.spec.provider, now=now)
    reason = purse.reason_against(shard.generation_id, estimated_usd(shard))
    if reason is not None:
        raise BudgetReachedError(f"the budget is reached: {reason}")
