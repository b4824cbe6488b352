"""A bill against its estimate: what is worth a word, and what is not."""

from decimal import Decimal

import pytest

from embedding_assets.money.bill import Bill, describe_bill, estimate_problem


def a_bill(estimated_usd: str, billed_usd: str) -> Bill:
    """A bill of 1,200 requests."""
    return Bill(
        n_shards=2,
        n_requests=1200,
        estimated_tokens=500_000,
        billed_tokens=400_000,
        estimated_usd=Decimal(estimated_usd),
        billed_usd=Decimal(billed_usd),
    )


@pytest.mark.parametrize(
    ("estimated_usd", "billed_usd"),
    [
        ("0", "0"),
        ("10", "10"),
        ("10", "12.5"),  # by a quarter
        ("10", "7.5"),
        ("0.01", "0.11"),  # by ten cents
        ("0.10", "0"),
        ("0", "0.10"),
    ],
)
def test_a_small_error_is_no_problem(estimated_usd: str, billed_usd: str) -> None:
    """An estimate may be off by a quarter, and by a few cents whatever their share."""
    assert estimate_problem(a_bill(estimated_usd, billed_usd)) is None


def test_a_bill_that_is_too_high() -> None:
    """Dollars, share, what is allowed, and where to look."""
    assert estimate_problem(a_bill("10", "12.51")) == (
        "1,200 requests of shards that were answered in full; $12.51 billed, $10.00 estimated: 25% "
        "more than was expected, beyond the 25% and $0.10 that are no matter; compare "
        "`embedding-assets costs` with Google's bill, and lower budget.max_cost_usd if it must not "
        "happen again; the next plan learns from what was billed"
    )


def test_a_bill_that_is_too_low() -> None:
    """What failed is not in the comparison, so nothing is to be done about it."""
    problem = estimate_problem(a_bill("10", "5"))
    assert problem is not None
    assert "50% less than was expected" in problem
    assert problem.endswith("nothing is to be done: the next plan learns from what was billed")


def test_a_bill_of_what_was_thought_to_be_free() -> None:
    """Without an estimate there is no share to tell."""
    problem = estimate_problem(a_bill("0", "0.11"))
    assert problem is not None
    assert "$0.11 billed, $0.00 estimated: more than was expected" in problem


def test_nothing_sent_is_nothing_billed() -> None:
    """No request, no dollars to compare."""
    nothing = Bill(
        n_shards=0,
        n_requests=0,
        estimated_tokens=0,
        billed_tokens=0,
        estimated_usd=Decimal(0),
        billed_usd=Decimal(0),
    )
    assert describe_bill(nothing) == "nothing was sent, so nothing was billed"
    assert estimate_problem(nothing) is None
