"""A bound for the whole of an answer: the time-outs of HTTP clients are for each piece of it.

Belongs here: counting the time while an answer is read. Does not belong here: how long which
answer may take, and what follows if it takes longer (client.py).
"""

import time
from collections.abc import Callable, Iterator

import httpx2


def bound_answer(
    response: httpx2.Response, limit_s: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Have reading the answer raise httpx2.ReadTimeout when it is not all there by then."""
    response.stream = _Bounded(response.stream, limit_s, clock)  # type: ignore[arg-type]


class _Bounded(httpx2.SyncByteStream):
    def __init__(
        self, stream: httpx2.SyncByteStream, limit_s: float, clock: Callable[[], float]
    ) -> None:
        self._stream = stream
        self._limit_s = limit_s
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        begun_at = self._clock()
        for piece in self._stream:
            if self._clock() - begun_at > self._limit_s:
                raise httpx2.ReadTimeout(f"the answer is not all there after {self._limit_s:g} s")
            yield piece

    def close(self) -> None:
        self._stream.close()
