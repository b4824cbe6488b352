"""What Gemini takes at a time: room, shards that are too big, jobs that take too long."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import (
    EmbeddingAssetsError,
    FileGoneError,
    LedgerError,
    NoRoomError,
    RateLimitedError,
    RefusedError,
)
from embedding_assets.model.batch_jobs import BatchJob, JobState
from embedding_assets.model.shards import Route, Shard, ShardState
from embedding_assets.settings.values import AfterDeadline
from embedding_assets.store.index import open_index
from tests.factories import NOW
from tests.integration.world import StandingClock, World, notes

DEADLINE = timedelta(hours=30)
BACKED_OFF = timedelta(minutes=40)


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard of ten requests of some twenty tokens each, planned and not submitted."""
    [planned] = world.plan(world.build(notes(range(10))))
    return planned


# --- room -------------------------------------------------------------------------------------


def test_room_is_looked_for_and_taken_at_once(world: World) -> None:
    """A worker that found room before its upload finds it taken when it is about to create."""
    world = world.changed(max_requests_per_job=5, max_concurrent_jobs=1)
    first, second = world.plan(world.build(notes(range(10))))
    world.submit(first)
    with pytest.raises(NoRoomError, match="no room at Gemini: 1 of 1 jobs are under way"):
        world.submit(second)
    assert world.state(second) is JobState.RESERVED
    assert world.emulator.bill().calls["create"] == 1
    world.finish(first)
    world.submit(second)
    assert world.finish(second).n_embedded == 5


def test_jobs_of_an_earlier_month_take_room(world: World) -> None:
    """What is under way at Gemini counts, whichever month it is for."""
    world = world.changed(max_requests_per_job=5, max_concurrent_jobs=1)
    [october] = world.plan(world.build(notes(range(5)), month="2026-10"))
    world.submit(october)
    [november] = world.plan(world.build(notes(range(5, 10))))
    with pytest.raises(NoRoomError, match="1 of 1 jobs"):
        world.submit(november)


def test_workers_at_the_same_moment_never_exceed_the_limits(world: World, index_path: Path) -> None:
    """Of many workers with a shard each as many create a job as Gemini has room for."""
    world = world.changed(max_requests_per_job=1, max_concurrent_jobs=3)
    shards = world.plan(world.build(notes(range(12))))
    world.emulator.settings = EmulatorSettings(latency_s=1000)
    start = threading.Barrier(len(shards))

    def submit(shard: Shard) -> bool:
        with open_index(index_path) as index:
            start.wait()
            try:
                replace(world, index=index).submit(shard)
            except NoRoomError:
                return False
            return True

    with ThreadPoolExecutor(len(shards)) as pool:
        created = list(pool.map(submit, shards))
    assert sum(created) == world.emulator.bill().jobs_created == 3


def test_two_workers_at_the_same_moment_make_one_job(
    world: World, shard: Shard, index_path: Path
) -> None:
    """Whoever comes second to a shard finds its job made, which is no failure."""
    start = threading.Barrier(6)

    def submit(_: int) -> BatchJob | str:
        with open_index(index_path) as index:
            worker = replace(world, index=index)
            start.wait()
            try:
                return worker.submit_shard(shard)
            except EmbeddingAssetsError as exc:
                return str(exc)

    with ThreadPoolExecutor(6) as pool:
        jobs = list(pool.map(submit, range(6)))
    assert {job.attempt if isinstance(job, BatchJob) else job for job in jobs} == {1}
    assert world.emulator.bill().jobs_created == 1
    world.finish(shard)
    assert world.emulator.bill().bought_twice == ()


# --- files that expire ------------------------------------------------------------------------


def test_a_file_that_expires_before_its_job_is_created_is_uploaded_again(
    world: World, shard: Shard
) -> None:
    """A 403 on a file that is not there any more is no refusal of the shard."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=403, times=1)
    file = world.write(shard)
    job = world.index.jobs.reserve(shard, requests_sha256=file.sha256, now=NOW)
    world.index.jobs.record_upload(job, input_file_name="files/long-gone")
    # It is there when it is looked at, and gone when the job is created.
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.FILES_GET, status=403)
    with pytest.raises(FileGoneError, match="403"):
        world.submit(shard)
    assert (world.state(shard), world.job(shard).input_file_name) == (JobState.RESERVED, None)
    world.emulator.faults.clear()
    assert world.submit(shard).attempt == 1
    assert world.finish(shard).n_embedded == 10


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_while_the_file_is_there_is_one(world: World, shard: Shard, status: int) -> None:
    """With the file in its place a 403 or 404 is about the key or the model: on record, red."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=status, times=1)
    with pytest.raises(RefusedError, match=str(status)):
        world.submit(shard)
    assert world.state(shard) is JobState.REFUSED


# --- shards that are too big ------------------------------------------------------------------


def test_a_shard_over_the_limit_is_split_in_two(world: World, shard: Shard) -> None:
    """After a change to a lower tier a shard planned before it goes in halves."""
    world = world.changed(max_enqueued_tokens=shard.estimated_tokens - 1)
    with pytest.raises(NoRoomError, match="2026-11-0002 and 2026-11-0003 take its place"):
        world.submit_shard(shard)
    assert world.index.shards.get(shard.key).state is ShardState.ABANDONED
    halves = [world.index.shards.get(f"2026-11-000{n}") for n in (2, 3)]
    assert [half.n_requests for half in halves] == [5, 5]
    for size in ("n_bytes", "estimated_tokens"):
        assert sum(getattr(half, size) for half in halves) == getattr(shard, size)
    for half in halves:
        world.submit_shard(half)
        assert world.finish(half).n_embedded == 5
    bill = world.emulator.bill()
    assert (bill.requests, bill.bought_twice) == (10, ())


def test_a_shard_that_is_refused_again_and_again_is_split_until_it_is_taken(
    world: World, shard: Shard
) -> None:
    """When Gemini takes less than its limits say, 429s bring the shards down to what it takes."""
    world = world.changed(max_enqueued_tokens=shard.estimated_tokens)
    world.emulator.settings = EmulatorSettings(
        latency_s=0, max_enqueued_tokens=shard.estimated_tokens // 3
    )
    now = NOW
    n_rounds = 0
    while statuses := world.index.jobs.ledger().statuses:
        n_rounds += 1
        assert n_rounds < 40
        now += BACKED_OFF
        try:
            world.submit_shard(statuses[0].shard, now=now)
        except (NoRoomError, RateLimitedError):
            continue
        world.poll(now=now)
        world.collect(statuses[0].shard, now=now)
    generation = world.index.generations.building()
    assert generation is not None
    assert world.progress(generation).n_embedded == 10
    bill = world.emulator.bill()
    assert bill.jobs_created > 2
    assert (bill.requests, bill.bought_twice) == (10, ())


def test_a_shard_with_a_job_is_never_split(world: World, shard: Shard) -> None:
    """What may have been sent stays as it was sent."""
    world.submit(shard)
    with pytest.raises(LedgerError, match="has a job or is not open any more; it stays whole"):
        world.index.shards.split(shard, (), now=NOW)
    assert world.index.shards.get(shard.key).state is ShardState.OPEN


def test_a_shard_of_one_request_is_not_split(world: World) -> None:
    """One request cannot be made smaller: it goes alone, and Gemini decides."""
    [shard] = world.plan(world.build(notes(range(1))))
    world = world.changed(max_enqueued_tokens=1)
    world.submit_shard(shard)
    assert world.finish(shard).n_embedded == 1


# --- jobs that take too long ------------------------------------------------------------------


@pytest.fixture
def stuck(world: World, shard: Shard) -> Shard:
    """The shard whose first job runs and runs."""
    world.strike(FaultKind.JOB_STUCK, times=1)
    world.submit(shard)
    return shard


def test_a_job_past_its_deadline_is_cancelled_and_submitted_again(
    world: World, stuck: Shard, clock: StandingClock
) -> None:
    """A stuck job is cancelled once, seen to be cancelled, and only then followed by another."""
    before = clock.advance(DEADLINE.total_seconds() - 1)
    assert world.poll(now=before).n_overdue == 0
    now = clock.advance(1)
    assert world.poll(now=now).n_overdue == 1
    assert world.state(stuck) is JobState.RUNNING
    now = clock.advance(1)
    assert world.poll(now=now).n_overdue == 0
    assert world.state(stuck) is JobState.CANCELLED
    assert world.submit_shard(stuck, now=now).attempt == 2
    world.poll(now=now)
    assert world.collect(stuck, now=now).n_embedded == 10
    bill = world.emulator.bill()
    assert (bill.requests, bill.bought_twice, bill.calls["cancel"]) == (10, (), 1)


def test_a_cancellation_that_was_not_heard_is_asked_for_again(
    world: World, stuck: Shard, clock: StandingClock
) -> None:
    """While the job goes on it is asked for every quarter of an hour; it is never replaced."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CANCEL, status=503, times=1)
    now = clock.advance(DEADLINE.total_seconds())
    assert "503" in world.poll(now=now).problems[0]
    assert world.poll(now=clock.advance(60)).n_overdue == 0
    assert world.state(stuck) is JobState.RUNNING
    assert world.poll(now=clock.advance(15 * 60)).n_overdue == 1


def test_a_late_shard_may_take_the_synchronous_route(
    world: World, stuck: Shard, clock: StandingClock
) -> None:
    """By setting, a shard whose job took too long is embedded at once, at that route's price."""
    world = world.changed(after_deadline=AfterDeadline.SYNC)
    now = cancelled(world, clock)
    job = world.submit_shard(stuck, now=now)
    assert (job.attempt, job.state) == (2, JobState.SUCCEEDED)
    changed = world.index.shards.get(stuck.key)
    assert (changed.route, changed.usd_per_million) == (Route.SYNC, Decimal("0.15"))
    assert world.collect(changed, now=now).n_embedded == 10
    bill = world.emulator.bill()
    assert (bill.batch_requests, bill.sync_requests, bill.bought_twice) == (0, 10, ())


def test_the_budget_holds_for_a_late_shard_too(
    world: World, stuck: Shard, clock: StandingClock
) -> None:
    """Where the synchronous price does not fit into the budget, another batch job is created."""
    generation = world.index.generations.building()
    assert generation is not None
    planned_usd = world.index.bills.of(generation).estimated_usd
    world = world.changed(after_deadline=AfterDeadline.SYNC).with_budget(planned_usd)
    now = cancelled(world, clock)
    job = world.submit_shard(stuck, now=now)
    assert (job.attempt, job.state) == (2, JobState.PENDING)
    assert world.index.shards.get(stuck.key).route is Route.BATCH


def cancelled(world: World, clock: StandingClock) -> datetime:
    """The time at which the late job is seen to be cancelled."""
    world.poll(now=clock.advance(DEADLINE.total_seconds()))
    now = clock.advance(1)
    world.poll(now=now)
    return now
