"""Room: what Gemini has room for, what it has refused, and what is split for being too big."""

from dataclasses import replace
from datetime import timedelta

import pytest

from embedding_assets.errors import Quota, RateLimitedError
from embedding_assets.model.room import (
    Throttle,
    Verdict,
    throttle_after_acceptance,
    throttle_after_refusal,
)
from embedding_assets.model.shards import Route
from tests.factories import LIMITS, NOW, a_room, a_shard, a_status

REFUSAL = RateLimitedError("so there", quota=Quota.TOKENS)
TIER_1 = replace(LIMITS, max_enqueued_tokens=500_000)


def test_the_back_off_grows() -> None:
    """Each refusal in a row doubles the wait, from two minutes up to thirty."""
    throttle, waits = Throttle(), []
    for _ in range(6):
        throttle = throttle_after_refusal(throttle, REFUSAL, limits=TIER_1, jitter=0, now=NOW)
        assert throttle.not_before is not None
        waits.append((throttle.not_before - NOW) / timedelta(minutes=1))
    assert waits == [2, 4, 8, 16, 30, 30]
    assert throttle.n_refusals == 6


def test_the_token_limit_halves_and_recovers() -> None:
    """Each refusal halves the tokens on offer, each created job doubles them up to the setting."""
    throttle, offered = Throttle(), []
    for _ in range(3):
        throttle = throttle_after_refusal(throttle, REFUSAL, limits=TIER_1, jitter=0, now=NOW)
        offered.append(throttle.max_enqueued_tokens)
    for _ in range(3):
        throttle = throttle_after_acceptance(throttle, limits=TIER_1)
        offered.append(throttle.max_enqueued_tokens)
    assert offered == [250_000, 125_000, 62_500, 125_000, 250_000, None]
    assert throttle == Throttle()


def test_an_acceptance_ends_the_back_off() -> None:
    """A created job shows that waiting is over; the next refusal starts at two minutes again."""
    refused = Throttle(not_before=NOW, n_refusals=5, max_enqueued_tokens=1000)
    accepted = throttle_after_acceptance(refused, limits=TIER_1)
    assert accepted == Throttle(max_enqueued_tokens=2000)


def test_an_acceptance_without_refusals_changes_nothing() -> None:
    """Where nothing was learnt there is nothing to forget."""
    assert throttle_after_acceptance(Throttle(), limits=TIER_1) == Throttle()


def test_days_of_refusals() -> None:
    """However often Gemini refuses, the wait stays half an hour and a token is on offer."""
    throttle = Throttle()
    for _ in range(2000):
        throttle = throttle_after_refusal(throttle, REFUSAL, limits=TIER_1, jitter=0, now=NOW)
    assert throttle == Throttle(
        not_before=NOW + timedelta(minutes=30),
        n_refusals=2000,
        max_enqueued_tokens=1,
        message="so there",
    )


def test_the_back_off_is_jittered() -> None:
    """Workers that were refused at the same moment come back up to a quarter of the wait apart."""
    throttles = [
        throttle_after_refusal(Throttle(), REFUSAL, limits=LIMITS, jitter=jitter, now=NOW)
        for jitter in (0, 0.5, 1)
    ]
    waits = [throttle.not_before for throttle in throttles]
    assert waits == [NOW + timedelta(seconds=s) for s in (120, 135, 150)]


@pytest.mark.parametrize(
    ("estimated_tokens", "n_requests", "throttle", "expected"),
    [
        (100, 5, Throttle(), False),
        (101, 5, Throttle(), True),  # over the setting
        (101, 1, Throttle(), False),  # one request cannot be made smaller
        (60, 5, Throttle(n_refusals=1, max_enqueued_tokens=50), False),  # one 429 proves nothing
        (60, 5, Throttle(n_refusals=2, max_enqueued_tokens=25), True),
        (25, 5, Throttle(n_refusals=2, max_enqueued_tokens=25), False),
        (60, 5, Throttle(n_refusals=0, max_enqueued_tokens=25), False),  # it is recovering
    ],
)
def test_a_shard_that_is_too_big_alone(
    estimated_tokens: int, n_requests: int, throttle: Throttle, expected: bool
) -> None:
    """A shard is split if it exceeds the setting, or what was refused twice in a row."""
    status = a_status(1, estimated_tokens=estimated_tokens)
    shard = replace(status.shard, n_requests=n_requests)
    limits = replace(LIMITS, max_enqueued_tokens=100)
    room = a_room(replace(status, shard=shard), limits=limits, throttle=throttle)
    assert (room.judge(shard, NOW).verdict is Verdict.SPLIT) is expected


def test_a_synchronous_shard_is_never_too_big() -> None:
    """The synchronous route goes call by call."""
    shard = a_shard(route=Route.SYNC, estimated_tokens=10**9)
    assert a_room().judge(shard, NOW).verdict is Verdict.SUBMIT
