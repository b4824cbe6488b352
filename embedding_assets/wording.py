"""Numbers, times, dollars and lists as they stand in sentences.

Belongs here: how one thing or many of them, a moment, an amount are said. Does not belong here:
arithmetic (money/) and layout (cli/show/).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

_MAX_EXAMPLES = 3


def count(n: int, one: str, many: str | None = None) -> str:
    """``1 job``, ``1,200 jobs``; ``many`` where an s does not make it."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def some(things: Sequence[str]) -> str:
    """The first few, and how many others there are."""
    named = ", ".join(things[:_MAX_EXAMPLES])
    n_others = len(things) - _MAX_EXAMPLES
    return f"{named} and {n_others:,} more" if n_others > 0 else named


def utc(moment: datetime) -> str:
    """``2026-11-23 03:02:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def exact_usd(amount: Decimal) -> str:
    """Dollars for programs: all digits, no exponent."""
    return f"{amount.normalize():f}"


def show_usd(amount: Decimal) -> str:
    """To the last digit, and cents at the least."""
    short = amount.normalize()
    is_whole_cents = short == round(short, 2)
    shown = f"{abs(short):,.2f}" if is_whole_cents else f"{abs(short):,f}"
    return f"-${shown}" if amount < 0 else f"${shown}"


def format_usd(amount: Decimal) -> str:
    """Dollars for people: ``$25.00``, ``$0.0403``, and never a zero for what is not nothing."""
    if 0 < amount < Decimal("0.0001"):
        return "under $0.0001"
    is_whole_cents = amount == round(amount, 2)
    return f"${amount:,.2f}" if is_whole_cents or amount >= 1 else f"${amount:,.4f}"
