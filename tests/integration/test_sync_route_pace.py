"""The synchronous route at its pace: close to the limit, never over it, nothing paid for twice."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import RateLimitedError, RefusedError
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import Route, Shard
from embedding_assets.pipeline.retry import retry_failures
from embedding_assets.pipeline.sync_route import Pacer
from embedding_assets.settings.values import RouteChoice
from embedding_assets.store.index import open_index
from tests.factories import SPEC
from tests.integration.world import StandingClock, Switchboard, World, a_book, notes

N_TEXTS = 5_000
TEXTS_PER_MINUTE = 1_500


class DistantServer:
    """A server at some distance: no call takes as long as another, there or back."""

    def __init__(self, app: ASGIApp, clock: StandingClock) -> None:
        self._app = app
        self._clock = clock
        self._random = Random(7)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_back(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._clock.advance(self._random.uniform(0.05, 0.5))
            await send(message)

        self._clock.advance(self._random.uniform(0.02, 1.0))
        await self._app(scope, receive, send_back)


@pytest.fixture
def world(world: World, switchboard: Switchboard, clock: StandingClock) -> World:
    """The synchronous route for any number of requests, to a server at some distance."""
    switchboard.app = DistantServer(switchboard.app, clock)
    return world.changed(route=RouteChoice.SYNC)


@pytest.fixture
def pacer(clock: StandingClock) -> Pacer:
    """The pace of a real account, by the emulator's clock."""
    return paced_by(clock)


def paced_by(clock: StandingClock) -> Pacer:
    def sleep(seconds: float) -> None:
        clock.advance(seconds)

    return Pacer(texts_per_minute=TEXTS_PER_MINUTE, clock=clock, sleep=sleep)


def planned(world: World, n: int) -> Shard:
    """A shard of so many requests."""
    [shard] = world.plan(world.build([a_book(n)], max_chars=100))
    assert (shard.route, shard.n_requests) == (Route.SYNC, n)
    return shard


def test_the_limit_is_used_and_kept(world: World, pacer: Pacer, clock: StandingClock) -> None:
    """5,000 texts provoke no 429, at 95 % or more of what is allowed."""
    shard = planned(world, N_TEXTS)
    began_at = clock.now
    world.embed(shard, pacer=pacer)
    per_minute = 60 * N_TEXTS / (clock.now - began_at)
    bill = world.emulator.bill()
    assert (bill.calls, bill.sync_requests) == ({"embed": N_TEXTS / 100}, N_TEXTS)
    assert 0.95 * TEXTS_PER_MINUTE <= per_minute <= TEXTS_PER_MINUTE


def test_refusals_for_now_are_waited_for(
    world: World, pacer: Pacer, patient_gemini: GeminiClient, clock: StandingClock
) -> None:
    """With a minute that others have used up, 429s and 503s, every text is billed once."""
    world = replace(world, gemini=patient_gemini)
    for hundred in range(12):
        others = [f"of another program {hundred}, {n}" for n in range(100)]
        world.gemini.embed(others, model=SPEC.model, dimensions=8, task_type=None)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=503, probability=0.3)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=429, probability=0.2)
    shard = planned(world, N_TEXTS)
    assert world.embed(shard, pacer=pacer).state is JobState.SUCCEEDED
    assert world.collect(shard).n_embedded == N_TEXTS
    bill = world.emulator.bill()
    n_tries = bill.calls["embed"] - 12
    assert n_tries > 1.4 * N_TEXTS / 100
    assert (bill.sync_requests, bill.bought_twice) == (1200 + N_TEXTS, ())


class Killed(BaseException):
    """Nobody catches it."""


def test_killed_midway_nothing_answered_is_paid_again(
    world: World, index_path: Path, clock: StandingClock
) -> None:
    """Another process goes on where the first one died, and both together keep the limit."""
    shard = planned(world, N_TEXTS)
    dies_at = clock.now + 60

    def sleep(seconds: float) -> None:
        if clock.now > dies_at:
            raise Killed
        clock.advance(seconds)

    with pytest.raises(Killed):
        world.embed(shard, pacer=Pacer(texts_per_minute=1500, clock=clock, sleep=sleep))
    n_answered = world.emulator.bill().sync_requests
    assert 0 < n_answered < N_TEXTS
    with open_index(index_path) as index:
        world = replace(world, index=index)
        world.embed(shard, pacer=paced_by(clock))
        assert world.collect(shard).n_embedded == N_TEXTS
    bill = world.emulator.bill()
    assert (bill.calls, bill.bought_twice) == ({"embed": N_TEXTS / 100}, ())


def test_a_quota_that_does_not_come_back_leaves_the_shard_waiting(
    world: World, pacer: Pacer, clock: StandingClock
) -> None:
    """After more than a minute of 429s the run ends; the shard is submitted again, and goes on."""
    shard = planned(world, 300)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=429, match="Note 150 ")
    began_at = clock.now
    with pytest.raises(RateLimitedError):
        world.embed(shard, pacer=pacer)
    assert clock.now - began_at > 60
    assert world.state(shard) is JobState.RESERVED
    world.index.jobs.mark_submit_requested([shard.key], now=None)  # as the run does then
    world.emulator.faults.clear()
    assert world.chosen() == (shard.key,)
    world.embed(shard, pacer=paced_by(clock))
    assert world.collect(shard).n_embedded == 300
    assert world.emulator.bill().bought_twice == ()


def test_a_key_that_is_blocked_midway_wastes_nothing(world: World, clock: StandingClock) -> None:
    """What was answered before is not planned again, neither by a retry nor by a new build."""
    shard = planned(world, 300)

    def sleep(seconds: float) -> None:
        clock.advance(seconds)
        if world.emulator.bill().sync_requests == 200:
            world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=403)

    with pytest.raises(RefusedError):
        world.embed(shard, pacer=Pacer(texts_per_minute=1500, clock=clock, sleep=sleep))
    world.emulator.faults.clear()
    assert retry_failures(world.index, world.settings, document=None, code=None).n_shards == 0
    assert world.plan(world.build([a_book(300)], max_chars=100)) == []
    world.embed(shard, pacer=paced_by(clock))
    assert world.collect(shard).n_embedded == 300
    bill = world.emulator.bill()
    assert (bill.sync_requests, bill.bought_twice) == (300, ())


@pytest.mark.parametrize(("n", "n_sync_calls", "n_jobs"), [(99, 2, 1), (100, 1, 2)])
def test_both_routes_publish_the_same_rows(
    world: World, tmp_path: Path, n: int, n_sync_calls: int, n_jobs: int
) -> None:
    """99 requests go synchronously, 100 as a batch job; what is published is the same."""
    left_to_size, by_sync, by_batch = (
        _published(world.changed(route=choice), tmp_path / choice, n) for choice in RouteChoice
    )
    assert len(left_to_size) == n
    assert left_to_size == by_sync == by_batch
    calls = world.emulator.bill().calls
    assert (calls["embed"], calls["create"]) == (n_sync_calls, n_jobs)


def _published(world: World, data_dir: Path, n: int) -> list[tuple[Any, ...]]:
    """What readers see of so many documents, reindexed into an index of their own."""
    settings = world.settings.model_copy(update={"data_dir": data_dir})
    with open_index(settings.index_path, create=True) as index:
        world = replace(world, index=index, settings=settings)
        generation = world.build(notes(range(n)))
        [shard] = world.plan(generation)
        world.submit_shard(shard)
        world.poll()
        world.collect(shard)
        world.publish(generation)
    query = "SELECT chunk_id, uri, title, position, text, vector FROM published_chunks ORDER BY 1"
    with closing(sqlite3.connect(settings.index_path)) as connection:
        found: list[tuple[Any, ...]] = connection.execute(query).fetchall()
    return found
