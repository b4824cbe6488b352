"""A bound for the whole of an answer, however its pieces come."""

from collections.abc import Iterator
from itertools import count

import httpx2
import pytest

from embedding_assets.gemini.deadline import bound_answer


class Pieces(httpx2.SyncByteStream):
    """An answer in three pieces, which says whether it was closed."""

    is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from (b"one ", b"two ", b"three")

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(("limit_s", "is_in_time"), [(2.9, False), (3.0, True), (1e9, True)])
def test_an_answer_that_is_not_whole_in_time_is_a_timeout(limit_s: float, is_in_time: bool) -> None:
    """No piece took long; it is the sum that counts, and the connection is let go."""
    pieces = Pieces()
    response = httpx2.Response(200, stream=pieces)
    seconds = count()
    bound_answer(response, limit_s, clock=lambda: float(next(seconds)))
    if is_in_time:
        assert response.read() == b"one two three"
    else:
        with pytest.raises(httpx2.ReadTimeout, match=r"not all there after 2\.9 s"):
            response.read()
    response.close()
    assert pieces.is_closed
