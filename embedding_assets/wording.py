"""Numbers and times as they stand in sentences.

Belongs here: one thing or many of them, a moment in words. Does not belong here: dollars (costs.py)
and layout (the display modules).
"""

from datetime import UTC, datetime
from decimal import Decimal


def count(n: int, one: str, many: str | None = None) -> str:
    """``1 job``, ``1,200 jobs``; ``many`` where an s does not make it."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


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
