"""The budget: what may still be spent, by one reindex and in a calendar month.

Belongs here: when it counts as spent, and whether something more fits. Does not belong here: what a
shard costs (bill.py), and what happens to what does not fit (pipeline/).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from embedding_assets.money.bill import ShardBill
from embedding_assets.settings.values import Budget
from embedding_assets.wording import format_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What may still be spent. An approved reindex has a limit of its own, whatever the month."""

    limit_usd: Decimal
    month_limit_usd: Decimal
    spent_usd: Mapping[int, Decimal]  # by generation_id
    month_spent_usd: Decimal
    approved_usd: Mapping[int, Decimal]  # by generation_id

    def reason_against(self, generation_id: int, usd: Decimal) -> str | None:
        """Why this much more is too much for a generation; None if it fits. Nothing always fits."""
        if not usd:
            return None
        spent_usd = self.spent_usd.get(generation_id, Decimal(0))
        approved_usd = self.approved_usd.get(generation_id)
        if approved_usd is not None:
            return _reason(spent_usd, usd, approved_usd, "the approved cost")
        return _reason(spent_usd, usd, self.limit_usd, "budget.max_cost_usd") or _reason(
            self.month_spent_usd, usd, self.month_limit_usd, "budget.max_cost_per_month_usd"
        )

    def after(self, generation_id: int, usd: Decimal) -> "Purse":
        """What is left when that was spent."""
        spent_usd = self.spent_usd.get(generation_id, Decimal(0)) + usd
        return replace(
            self,
            spent_usd={**self.spent_usd, generation_id: spent_usd},
            month_spent_usd=self.month_spent_usd + usd,
        )


def _reason(spent_usd: Decimal, usd: Decimal, limit_usd: Decimal, name: str) -> str | None:
    if spent_usd + usd <= limit_usd:
        return None
    more, spent, limit = (format_usd(each, exact=True) for each in (usd, spent_usd, limit_usd))
    return f"{more} on top of {spent} spent or under way is over {name}, {limit}"


def fill_purse(
    shards: Iterable[ShardBill],
    budget: Budget,
    *,
    approved_usd: Mapping[int, Decimal],
    with_unsent: bool,
    now: datetime,
) -> Purse:
    """What is left of the budget.

    Before a plan, what was planned and not sent yet counts as spent (``with_unsent``); before
    a submission it does not, because it is that which is about to be spent.
    """
    spent_usd: dict[int, Decimal] = defaultdict(Decimal)
    month_spent_usd = Decimal(0)
    begin = month_start(now)
    for shard in shards:
        unsent_usd = shard.unsent_usd if with_unsent else Decimal(0)
        spent_usd[shard.generation_id] += shard.spent_usd + unsent_usd
        is_this_month = shard.sent_at is None or shard.sent_at >= begin
        month_spent_usd += unsent_usd + (shard.spent_usd if is_this_month else 0)
    return Purse(
        limit_usd=budget.max_cost_usd,
        month_limit_usd=budget.max_cost_per_month_usd,
        spent_usd=dict(spent_usd),
        month_spent_usd=month_spent_usd,
        approved_usd=approved_usd,
    )


def month_start(now: datetime) -> datetime:
    """The beginning of the calendar month, in UTC."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
