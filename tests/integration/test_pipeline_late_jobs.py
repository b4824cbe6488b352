"""Jobs whose creation was not answered: found, found late, or found twice, and paid once."""

from datetime import datetime, timedelta

import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import OutcomeUnknownError
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.pipeline.batch_route import submit_batch_job
from embedding_assets.pipeline.poll import PollSummary
from embedding_assets.pipeline.submit import submission_limits
from tests.factories import NOW
from tests.integration.world import GRACE, StandingClock, World, notes

GRACE_S = GRACE.total_seconds()


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard of five requests, planned and not submitted."""
    [planned] = world.plan(world.build(notes(range(5))))
    return planned


@pytest.fixture
def released(world: World, shard: Shard, clock: StandingClock) -> datetime:
    """The time at which the attempt was released; its job exists and is not in the list yet."""
    world.emulator.settings = EmulatorSettings(latency_s=GRACE_S * 10)
    world.strike(FaultKind.CREATE_LATE, delay_s=GRACE_S * 2, times=1)
    with pytest.raises(OutcomeUnknownError, match="504"):
        world.submit(shard)
    now = clock.advance(GRACE_S)
    assert world.poll(now=now).n_released == 1
    assert world.state(shard) is JobState.RESERVED
    return now


def finish(world: World, shard: Shard, clock: StandingClock) -> None:
    """Let the jobs end, and collect."""
    now = clock.advance(GRACE_S * 20)
    world.poll(now=now)
    world.collect(shard, now=now)


def assert_bought_once(world: World) -> None:
    """Five requests are on the bill, each text once."""
    bill = world.emulator.bill()
    assert (bill.requests, bill.bought_twice) == (5, ())


def test_the_grace_begins_with_the_create_call(world: World, shard: Shard) -> None:
    """An upload may take longer than the grace: what counts is when the job was asked for."""
    world.strike(FaultKind.CREATE_THEN_DROP, times=1)
    asked_at = NOW + GRACE * 2
    times = iter([NOW, asked_at])
    with pytest.raises(OutcomeUnknownError):
        submit_batch_job(
            world.index,
            world.gemini,
            shard,
            world.write(shard),
            limits=submission_limits(world.settings),
            lookout=world.lookout(),
            clock=lambda: next(times),
        )
    assert (world.job(shard).reserved_at, world.job(shard).unconfirmed_at) == (NOW, asked_at)


@pytest.mark.usefixtures("released")
def test_a_job_that_appears_after_its_attempt_was_released_is_adopted(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """As long as no other job was created for it, a late job is what the attempt asked for."""
    summary = world.poll(now=clock.advance(GRACE_S))
    assert (summary.adopted, summary.n_duplicates) == ([shard.key], 0)
    assert world.job(shard).attempt == 1
    finish(world, shard, clock)
    assert world.emulator.bill().jobs_created == 1
    assert_bought_once(world)


def test_a_job_that_appears_after_another_was_created_is_cancelled(
    world: World, shard: Shard, clock: StandingClock, released: datetime
) -> None:
    """Of two jobs for the same requests the one on record goes on, the late one is cancelled."""
    job = world.submit(shard, now=released)
    assert job.attempt == 1
    summary = world.poll(now=clock.advance(GRACE_S))
    assert (summary.n_duplicates, summary.problems) == (1, [])
    assert world.job(shard).job_name == job.job_name
    assert world.poll(now=clock.advance(1)).n_duplicates == 0
    finish(world, shard, clock)
    assert world.emulator.bill().jobs_created == 2
    assert_bought_once(world)


def test_a_late_job_is_cancelled_even_after_its_shard_was_collected(
    world: World, shard: Shard, clock: StandingClock, released: datetime
) -> None:
    """For as long as a lost job may appear it is looked for, whatever became of its shard."""
    world.emulator.settings = EmulatorSettings(latency_s=0)
    world.submit(shard, now=released)
    world.poll(now=released)
    world.collect(shard, now=released)
    assert world.state(shard) is JobState.COLLECTED
    assert world.poll(now=clock.advance(GRACE_S)).n_duplicates == 1
    clock.advance(GRACE_S * 20)
    assert_bought_once(world)
    two_days_later = clock.advance(timedelta(hours=48).total_seconds())
    assert world.poll(now=two_days_later) == PollSummary()


@pytest.mark.usefixtures("released")
def test_a_late_job_of_a_shard_that_nobody_wants_is_cancelled(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """Its chunks were planned anew for the next generation, which pays for them itself."""
    [successor] = world.plan(world.build(notes(range(5))))
    assert world.index.shards.get(shard.key).state is ShardState.ABANDONED
    summary = world.poll(now=clock.advance(GRACE_S))
    assert (summary.n_duplicates, summary.adopted) == (1, [])
    world.submit(successor, now=clock.advance(1))
    finish(world, successor, clock)
    assert_bought_once(world)
