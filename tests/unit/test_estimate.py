"""Estimates: waves within the limits, and how long they take."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.model.shards import Packed, PackedShard, Route
from embedding_assets.money.estimate import Duration, count_waves, estimate_duration
from embedding_assets.settings.values import Settings


@pytest.mark.parametrize(
    ("tokens", "waves"),
    [
        ([], 0),
        ([1], 1),
        ([50, 50], 1),
        ([50, 51], 2),
        ([60, 60, 60], 3),
        ([30, 30, 30, 30], 2),
        ([10, 10, 10, 10, 10, 10], 2),  # no more than five jobs
        ([250], 3),  # split on the way
        ([10, 250, 10], 5),
    ],
)
def test_waves(tokens: list[int], waves: int) -> None:
    """Jobs go in their order, as many at once as a hundred tokens and five jobs allow."""
    assert count_waves(tokens, max_enqueued_tokens=100, max_concurrent_jobs=5) == waves


@given(
    tokens=st.lists(st.integers(1, 100), max_size=50),
    max_jobs=st.integers(1, 8),
)
def test_waves_are_as_few_as_the_limits_allow(tokens: list[int], max_jobs: int) -> None:
    """Cutting the list greedily gives the fewest consecutive groups within both limits."""
    found = count_waves(tokens, max_enqueued_tokens=100, max_concurrent_jobs=max_jobs)
    assert found == _fewest_groups(tokens, max_tokens=100, max_jobs=max_jobs)


def _fewest_groups(tokens: Sequence[int], *, max_tokens: int, max_jobs: int) -> int:
    """By dynamic programming over every way to cut the list."""
    fewest = [0]
    for end in range(1, len(tokens) + 1):
        fewest.append(
            1
            + min(
                fewest[start]
                for start in range(max(0, end - max_jobs), end)
                if sum(tokens[start:end]) <= max_tokens
            )
        )
    return fewest[-1]


def a_packed_shard(n_tokens: int, n_requests: int = 2) -> PackedShard:
    return PackedShard(chunk_ids=tuple(range(n_requests)), n_bytes=700, n_tokens=n_tokens)


def test_a_wave_takes_as_long_as_a_job() -> None:
    """Under tier 1's 500,000 enqueued tokens three jobs of 250,000 go in two waves."""
    packed = Packed(shards=(a_packed_shard(250_000),) * 3)
    assert estimate_duration(Route.BATCH, packed, Settings()) == Duration(
        n_waves=2, max_enqueued_tokens=500_000, minutes_from=20, minutes_to=60
    )
    assert estimate_duration(Route.BATCH, Packed(shards=()), Settings()) == Duration(
        n_waves=0, max_enqueued_tokens=500_000, minutes_from=0, minutes_to=0
    )


def test_the_synchronous_route_takes_its_pace() -> None:
    """Without jobs there are no waves, only so many requests a minute."""
    shards = (a_packed_shard(100, n_requests=1_000), a_packed_shard(100, n_requests=501))
    packed = Packed(shards=shards)
    assert estimate_duration(Route.SYNC, packed, Settings()) == Duration(
        n_waves=0, max_enqueued_tokens=500_000, minutes_from=1, minutes_to=2
    )
