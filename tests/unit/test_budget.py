"""The budget: what counts as spent, what fits, and what a person approved."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from embedding_assets.money.bill import Bill, ShardBill
from embedding_assets.money.budget import Purse, fill_purse, month_start
from embedding_assets.settings.values import Budget
from tests.factories import NOW, a_purse

BUDGET = Budget(max_cost_usd=Decimal(10), max_cost_per_month_usd=Decimal(15))


def a_shard_bill(usd: str, *, sent_at: datetime | None = NOW, **changes: Any) -> ShardBill:
    """Of a shard that waits for answers, expected to cost that much."""
    values: dict[str, Any] = {
        "generation_id": 1,
        "bill": Bill(n_shards=1, estimated_usd=Decimal(usd)),
        "is_under_way": sent_at is not None,
        "is_unsent": sent_at is None,
        "was_sent": sent_at is not None,
        "sent_at": sent_at,
    }
    return ShardBill(**{**values, **changes})


def fill(*shards: ShardBill, with_unsent: bool = False, **approved: str) -> Purse:
    approved_usd = {int(name.removeprefix("g")): Decimal(usd) for name, usd in approved.items()}
    return fill_purse(shards, BUDGET, approved_usd=approved_usd, with_unsent=with_unsent, now=NOW)


@pytest.mark.parametrize(("usd", "fits"), [("10", True), ("10.000001", False), ("0", True)])
def test_a_reindex_has_a_limit(usd: str, fits: bool) -> None:
    """To the last fraction of a cent."""
    assert (fill().reason_against(1, Decimal(usd)) is None) is fits


def test_what_was_spent_before_counts() -> None:
    """A retry of the same generation has what is left; another generation its own limit."""
    purse = fill(a_shard_bill("7"))
    assert purse.reason_against(1, Decimal(3)) is None
    assert purse.reason_against(1, Decimal("3.01")) == (
        "$3.01 on top of $7.00 spent or under way is over budget.max_cost_usd, $10.00"
    )
    assert purse.reason_against(2, Decimal(8)) is None


def test_a_settled_shard_counts_with_its_bill() -> None:
    """What was estimated counts until every answer is there, then what was billed."""
    bill = Bill(estimated_usd=Decimal(9), billed_usd=Decimal(4))
    for shard, usd in (
        (a_shard_bill("9"), Decimal(9)),
        (a_shard_bill("0", bill=bill, is_under_way=False), Decimal(4)),
    ):
        purse = fill(shard)
        assert purse.spent_usd == {1: usd}
        assert purse.month_spent_usd == usd


def test_what_was_paid_in_vain_counts_beside_what_is_under_way() -> None:
    """A shard whose first answer was lost is paid for twice."""
    bill = Bill(estimated_usd=Decimal(9), billed_usd=Decimal(4))
    assert fill(a_shard_bill("0", bill=bill)).spent_usd == {1: Decimal(13)}
    unsent = a_shard_bill("0", bill=bill, is_under_way=False, is_unsent=True)
    assert fill(unsent).spent_usd == {1: Decimal(4)}
    assert fill(unsent, with_unsent=True).spent_usd == {1: Decimal(13)}


def test_a_month_has_a_limit() -> None:
    """Several reindexes together stay within the month's limit; the month before is over."""
    last_month = NOW.replace(day=1, hour=0) - timedelta(seconds=1)
    purse = fill(
        a_shard_bill("6", generation_id=1),
        a_shard_bill("5", generation_id=2),
        a_shard_bill("100", generation_id=3, sent_at=last_month),
    )
    assert purse.month_spent_usd == 11
    assert purse.reason_against(4, Decimal(4)) is None
    assert "over budget.max_cost_per_month_usd, $15.00" in str(
        purse.reason_against(4, Decimal("4.5"))
    )


def test_what_is_planned_and_not_sent_counts_for_a_plan() -> None:
    """And not for a submission, because it is that which is submitted."""
    waiting = a_shard_bill("8", sent_at=None)
    assert fill(waiting).reason_against(1, Decimal(8)) is None
    assert fill(waiting, with_unsent=True).reason_against(1, Decimal(8)) is not None


def test_an_approved_reindex_has_a_limit_of_its_own() -> None:
    """Beyond both limits, and not beyond what was approved."""
    purse = fill(a_shard_bill("12"), g1="40")
    assert purse.reason_against(1, Decimal(28)) is None
    assert "over the approved cost, $40.00" in str(purse.reason_against(1, Decimal(29)))
    assert purse.reason_against(2, Decimal(4)) is not None


def test_spending_empties_the_purse() -> None:
    """What was spent a moment ago is spent, for the reindex and for the month."""
    purse = a_purse(limit_usd=Decimal(2), month_limit_usd=Decimal(3)).after(1, Decimal(2))
    assert purse.reason_against(1, Decimal("0.01")) is not None
    assert purse.reason_against(2, Decimal(1)) is None
    assert purse.reason_against(2, Decimal("1.01")) is not None


def test_a_month_begins_in_utc() -> None:
    """Whatever the time zone of the clock."""
    early = datetime(2026, 12, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert month_start(early) == datetime(2026, 11, 1, tzinfo=UTC)


def test_nothing_always_fits() -> None:
    """A reindex that sends nothing is not refused because the money is gone."""
    purse = fill(a_shard_bill("100"))
    assert purse.reason_against(1, Decimal(0)) is None
    assert purse.reason_against(1, Decimal("0.000001")) is not None
