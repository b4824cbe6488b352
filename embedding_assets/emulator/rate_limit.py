"""The limit on synchronous requests: so many texts in any sixty seconds, by the given clock.

Belongs here: counting. Does not belong here: the limit itself (`settings`).
It is kept in memory: a restart is a fresh minute.
"""

import threading
from collections import deque
from collections.abc import Callable

from embedding_assets.emulator.errors import Quota, refused_for

_WINDOW_S = 60.0


class SlidingMinute:
    """Admits requests until the last minute is full."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._admitted: deque[tuple[float, int]] = deque()

    def admit(self, n_requests: int, *, limit: int) -> None:
        """Count requests in, all or none. Raises ApiError 429 when they do not fit."""
        with self._lock:
            now = self._clock()
            while self._admitted and self._admitted[0][0] <= now - _WINDOW_S:
                self._admitted.popleft()
            found = n_requests + sum(n for _, n in self._admitted)
            if found > limit:
                raise refused_for(Quota.REQUESTS)
            self._admitted.append((now, n_requests))
