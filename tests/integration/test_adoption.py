"""Adopt before create: what is at Gemini for exactly these requests is not bought again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import LedgerError, RateLimitedError
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.store.index import open_index
from tests.factories import NOW
from tests.integration.world import GRACE, StandingClock, World, notes

SLOW = EmulatorSettings(latency_s=3600)
LATER = NOW + GRACE


@pytest.fixture
def shards(world: World) -> list[Shard]:
    """Three shards of two requests each."""
    return world.changed(max_requests_per_job=2).plan(world.build(notes(range(6))))


@contextmanager
def as_it_was(world: World, name: str = "backup.db") -> Iterator[World]:
    """The index restored to what it is now, whatever happens to it meanwhile."""
    path = world.settings.index_path.with_name(name)
    with (
        closing(sqlite3.connect(world.settings.index_path)) as source,
        closing(sqlite3.connect(path)) as copy,
    ):
        source.backup(copy)
    with open_index(path) as index:
        data_dir = path.with_name(f"of {name}")
        settings = world.settings.model_copy(update={"data_dir": data_dir})
        yield replace(world, index=index, settings=settings)


def assert_bought_once(world: World, n_requests: int) -> None:
    bill = world.emulator.bill()
    assert (bill.requests, bill.bought_twice) == (n_requests, ())
    assert bill.calls.get("cancel") is None


def test_an_older_index_adopts_what_was_answered_and_what_is_under_way(
    world: World, shards: list[Shard], clock: StandingClock
) -> None:
    """A backup from before the submission gets all vectors without a single create call."""
    with as_it_was(world) as restored:
        for shard in shards[:2]:
            world.submit(shard)
            world.finish(shard)
        world.emulator.settings = SLOW
        world.submit(shards[2])
        lookout = restored.lookout()
        n_lists = world.emulator.bill().calls["list"]
        for shard in shards:
            job = restored.submit(shard, lookout=lookout)
            assert (job.state, job.job_name) == (JobState.PENDING, world.job(shard).job_name)
        assert world.emulator.bill().calls["list"] == n_lists + 1
        now = clock.advance(7200)
        restored.poll(now=now)
        for shard in shards:
            assert restored.collect(shard, now=now).n_embedded == 2
    assert world.emulator.bill().jobs_created == 3
    assert_bought_once(world, 6)


def test_a_job_is_adopted_whatever_shard_it_was_made_for(world: World) -> None:
    """The digest of the requests decides; the attempt that it is named for leaves it alone."""
    world.emulator.settings = SLOW
    [shard] = world.plan(world.build(notes(range(2))))
    world.strike(FaultKind.CREATE_REFUSED_LATE, times=1)
    with pytest.raises(RateLimitedError):
        world.submit(shard)
    [successor] = world.plan(world.build(notes(range(2))))
    assert world.index.shards.get(shard.key).state is ShardState.ABANDONED
    job = world.submit(successor, now=LATER)
    assert f"/{shard.key}/" not in job.display_name
    n_gets = world.emulator.bill().calls.get("get", 0)
    summary = world.poll(now=LATER)
    assert (summary.n_looked_at, summary.n_duplicates, summary.problems) == (2, 0, [])
    assert world.state(successor) is JobState.PENDING
    bill = world.emulator.bill()
    assert (bill.jobs_created, bill.calls.get("get", 0) - n_gets) == (1, 0)


def test_a_creation_that_was_refused_and_made_a_job_is_found(
    world: World, shards: list[Shard], clock: StandingClock
) -> None:
    """A 429 is no proof: the next submission looks, and has its job."""
    world.emulator.settings = SLOW
    world.strike(FaultKind.CREATE_REFUSED_LATE, times=1)
    with pytest.raises(RateLimitedError):
        world.submit(shards[0])
    refused = world.job(shards[0])
    assert (refused.state, refused.released_at) == (JobState.RESERVED, NOW)
    job = world.submit(shards[0], now=LATER)
    assert (job.state, job.attempt) == (JobState.PENDING, 1)
    assert world.emulator.bill().jobs_created == 1
    now = clock.advance(7200)
    world.poll(now=now)
    world.collect(shards[0], now=now)
    assert_bought_once(world, 2)
    assert world.index.identity.doubt is None


def test_a_poll_finds_the_job_of_a_refused_creation_too(world: World, shards: list[Shard]) -> None:
    """The reservation is looked for although nothing is under way."""
    world.emulator.settings = SLOW
    world.strike(FaultKind.CREATE_REFUSED_LATE, times=1)
    with pytest.raises(RateLimitedError):
        world.submit(shards[0])
    summary = world.poll(now=LATER)
    assert (summary.adopted, summary.n_duplicates) == ([shards[0].key], 0)
    assert world.state(shards[0]) is JobState.PENDING
    with pytest.raises(LedgerError, match="it needs no other"):
        world.submit(shards[0])


def test_a_shard_that_has_a_job_is_not_split(world: World) -> None:
    """Whatever room there is: what is at Gemini already takes none that it does not have."""
    [shard] = world.plan(world.build(notes(range(8))))
    world.emulator.settings = SLOW
    world.strike(FaultKind.CREATE_REFUSED_LATE, times=1)
    with pytest.raises(RateLimitedError):
        world.submit_shard(shard)
    assert world.changed(max_enqueued_tokens=10).submit_shard(shard, now=LATER).attempt == 1
    assert world.index.shards.get(shard.key).state is ShardState.OPEN
    assert world.emulator.bill().jobs_created == 1


def test_a_dead_attempt_is_followed_by_what_is_there(world: World, shards: list[Shard]) -> None:
    """An answer for the same requests, made by nobody on record, is taken instead of a new job."""
    world.emulator.settings = SLOW
    with as_it_was(world) as restored:
        first = world.submit(shards[0])
        world.gemini.cancel_job(first.job_name or "")
        world.poll()
        second = world.submit(shards[0])
        assert second.attempt == 2
        adopted = restored.submit(shards[0])
        assert (adopted.attempt, adopted.job_name) == (1, second.job_name)
        # Its display name is that of another attempt: it is found by its own.
        n_gets = world.emulator.bill().calls.get("get", 0)
        assert restored.poll().problems == []
        assert world.emulator.bill().calls.get("get", 0) == n_gets


def test_an_index_restored_before_its_job_died_adopts_the_next_one(
    world: World, shards: list[Shard]
) -> None:
    """What it takes for under way has ended and was submitted again: that job is its own."""
    world.emulator.settings = SLOW
    first = world.submit(shards[0])
    with as_it_was(world) as restored:
        world.gemini.cancel_job(first.job_name or "")
        world.poll()
        second = world.submit(shards[0])
        restored.submit(shards[1])
        summary = restored.poll()
        assert (summary.n_dead, summary.problems) == (1, [])
        assert restored.submit(shards[0]).job_name == second.job_name
        assert restored.index.identity.doubt is None
    assert world.emulator.bill().jobs_created == 3


def test_an_answer_of_another_model_is_not_adopted(world: World, shards: list[Shard]) -> None:
    """The requests may be the same to the byte: the vectors are not."""
    file = world.write(shards[0])
    job = world.index.jobs.reserve(shards[0], requests_sha256=file.sha256, now=NOW)
    name = world.gemini.upload(file.path, display_name=job.display_name)
    world.emulator.settings = SLOW
    world.gemini.create_embeddings_job(
        model="gemini-embedding-2", input_file_name=name, display_name=job.display_name
    )
    world.submit(shards[0])
    assert world.emulator.bill().jobs_created == 2


def test_two_attempts_cannot_have_one_job(world: World, shards: list[Shard]) -> None:
    """Whoever comes second is told whose it is."""
    first = world.submit(shards[0])
    job = world.index.jobs.reserve(shards[1], requests_sha256="ab" * 32, now=NOW)
    job = world.index.jobs.move(job, JobState.UNCONFIRMED)
    with pytest.raises(LedgerError, match="attempt 1 of shard 2026-11-0001 has it"):
        world.index.jobs.move(job, JobState.PENDING, job_name=first.job_name)


def test_a_reservation_of_other_requests_stays_if_a_call_was_made_for_it(
    world: World, shards: list[Shard]
) -> None:
    """Its job may still appear: it is on record, as no attempt that counts."""
    job = world.index.jobs.reserve(shards[0], requests_sha256="ab" * 32, now=NOW)
    job = world.index.jobs.move(job, JobState.UNCONFIRMED, unconfirmed_at=NOW)
    job = world.index.jobs.move(job, JobState.RESERVED, released_at=NOW)
    new = world.index.jobs.reserve(shards[0], requests_sha256="cd" * 32, now=LATER)
    assert new.attempt == 2
    [status] = [s for s in world.index.jobs.ledger().statuses if s.shard == shards[0]]
    assert status.n_attempts == 1
    watched = world.index.jobs.watched(
        provider="emulator", released_after=NOW - timedelta(seconds=1)
    )
    assert [(old.attempt, old.state) for old in watched] == [(1, JobState.REFUSED)]
