"""Wording: dollars as people read them."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.wording import format_usd


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("25.0", "$25.00"),
        ("0.125", "$0.1250"),
        ("0.0403", "$0.0403"),
        ("0.00000025", "$0.00000025"),
        ("0.0000002549", "$0.00000025"),
        ("0.00015", "$0.00015"),
        ("0.00009", "$0.000090"),
        ("1234.567", "$1,234.57"),
        ("-0.0012", "-$0.0012"),
        ("-1234.567", "-$1,234.57"),
    ],
)
def test_dollars_for_people(amount: str, shown: str) -> None:
    """Cents where they are enough, more digits below a dollar, no zero for what is not nothing."""
    assert format_usd(Decimal(amount)) == shown


@given(st.decimals(min_value=-(10**6), max_value=10**6, places=12), st.booleans())
def test_only_nothing_is_shown_as_zero(amount: Decimal, exact: bool) -> None:
    """However small; the sign stands first, and what is read again is what was meant."""
    shown = format_usd(amount, exact=exact)
    assert re.fullmatch(r"-?\$[0-9,]+\.[0-9]{2,}", shown)
    read = Decimal(shown.replace("$", "").replace(",", ""))
    assert (read == 0) == (amount == 0)
    if exact:
        assert read == amount
    else:
        assert abs(read - amount) <= max(Decimal("0.00005"), abs(amount) / 200)
        assert abs(read - amount) <= abs(amount) / 20


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        ("25.004", "$25.004"),
        ("25", "$25.00"),
        ("0.00000025", "$0.00000025"),
        ("-0.5000", "-$0.50"),
        ("-0.00385", "-$0.00385"),
    ],
)
def test_dollars_to_the_last_digit(usd: str, shown: str) -> None:
    """Where two amounts are compared nothing is rounded."""
    assert format_usd(Decimal(usd), exact=True) == shown
