"""The time, as an argument: whoever needs it more than once is given a clock, not a moment.

Belongs here: the type and the real clock. Does not belong here: durations and schedules.
"""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time now, aware and in UTC."""
    return datetime.now(UTC)
