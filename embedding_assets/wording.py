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


def format_usd(amount: Decimal, *, exact: bool = False) -> str:
    """Dollars for people: ``$25.00``, ``$0.0403``, ``-$0.0012``, ``$0.00000025``.

    To the cent from a dollar on, below it to a hundredth of a cent, and of less than that two
    digits: only nothing is shown as zero. ``exact``, where amounts are compared: every digit.
    """
    size = abs(amount)
    if size == round(size, 2) or (size >= 1 and not exact):
        shown = f"{size:,.2f}"
    elif exact:
        shown = f"{size.normalize():,f}"
    else:
        shown = f"{size:,.{max(4, 1 - size.adjusted())}f}"
    return f"-${shown}" if amount < 0 else f"${shown}"
