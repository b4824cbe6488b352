"""Numbers and times as they stand in sentences.

Belongs here: one thing or many of them, a moment in words. Does not belong here: dollars (costs.py)
and layout (the display modules).
"""

from datetime import UTC, datetime


def count(n: int, one: str, many: str | None = None) -> str:
    """``1 job``, ``1,200 jobs``; ``many`` where an s does not make it."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def utc(moment: datetime) -> str:
    """``2026-11-23 03:02:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
