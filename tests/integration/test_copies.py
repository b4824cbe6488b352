"""Two index files with one id and one key: each says so, and neither hurts the other."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from embedding_assets.doctor.examine import examine
from embedding_assets.doctor.findings import Check, Report
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import IndexInDoubtError, LedgerError, OutcomeUnknownError
from embedding_assets.model.batch_jobs import JobState, RemoteJob
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.status import read_status
from embedding_assets.pipeline.submit import cancel_job_of
from embedding_assets.store.index import open_index
from tests.factories import NOW
from tests.integration.conftest import Rows
from tests.integration.world import GRACE, StandingClock, World, notes

SLOW = EmulatorSettings(latency_s=3600)
A_DAY = timedelta(days=1)


@contextmanager
def copied(world: World) -> Iterator[World]:
    """A copy of the index as it is now, elsewhere, with the same key."""
    path = world.settings.data_dir.with_name("copy") / "index.db"
    path.parent.mkdir()
    with (
        closing(sqlite3.connect(world.settings.index_path)) as source,
        closing(sqlite3.connect(path)) as copy,
    ):
        source.backup(copy)
    with open_index(path) as index:
        settings = world.settings.model_copy(update={"data_dir": path.parent})
        yield replace(world, index=index, settings=settings)


def finish(world: World, shards: Iterable[Shard], now: datetime) -> int:
    """Poll and collect; how many vectors came."""
    world.poll(now=now)
    return sum(world.collect(shard, now=now).n_embedded for shard in shards)


def planned(world: World, numbers: Iterable[int], *, month: str) -> list[Shard]:
    """Shards of two requests each."""
    return world.changed(max_requests_per_job=2).plan(world.build(notes(numbers), month=month))


def report_on(world: World) -> Report:
    return examine(
        world.index,
        world.settings,
        connect=lambda: nullcontext(world.gemini),
        repair=True,
        now=NOW,
    )


def assert_nothing_was_cancelled(world: World) -> None:
    assert world.emulator.bill().calls.get("cancel") is None


def put_job(world: World, display_name: str) -> RemoteJob:
    """A job that nobody here has created."""
    requests = [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8}]
    world.emulator.create_batch_inlined("gemini-embedding-001", display_name, requests)
    return next(iter(world.gemini.list_jobs()))


def test_a_copy_made_after_planning_shares_every_job(world: World, clock: StandingClock) -> None:
    """As far as the requests agree, both get the answers, which are paid for once."""
    world.emulator.settings = SLOW
    shards = planned(world, range(6), month="2026-11")
    with copied(world) as copy:
        world.submit(shards[0])
        for shard in shards:
            copy.submit(shard)
        for shard in shards[1:]:
            world.submit(shard)
        assert copy.index.identity.doubt is None
        now = clock.advance(7200)
        assert (finish(world, shards, now), finish(copy, shards, now)) == (6, 6)
    bill = world.emulator.bill()
    assert (bill.jobs_created, bill.requests, bill.bought_twice) == (3, 6, ())
    assert_nothing_was_cancelled(world)
    assert [finding.check for finding in report_on(world).findings] == []


def test_two_copies_that_go_different_ways_stop_and_say_so(
    world: World, clock: StandingClock
) -> None:
    """Copied between months: both notice, nothing is cancelled, and both go on when told how."""
    world.reindex(notes(range(2)), month="2026-10")
    world.emulator.settings = SLOW
    with copied(world) as copy:
        ours = planned(world, range(10, 16), month="2026-11")
        theirs = planned(copy, range(20, 26), month="2026-11")
        world.submit(ours[0])
        with pytest.raises(IndexInDoubtError, match="1 job under this index's id that this index"):
            copy.submit(theirs[0])
        assert "adopt-index" in (read_status(copy.index, copy.settings).doubt or "")
        assert copy.index.identity.doubt in [f.message for f in report_on(copy).findings]
        # The copy's owner says that it goes on under its id: then the other one notices.
        copy.index.identity.take_over(now=NOW)
        clock.advance(3600)
        copy.submit(theirs[0], now=NOW + A_DAY)
        with pytest.raises(IndexInDoubtError):
            world.submit(ours[1], now=NOW + A_DAY)
        assert world.poll(now=NOW + A_DAY).problems == [world.index.identity.doubt]
        world.index.identity.begin_anew()
        # One of them has a new id, the other one its old one: nobody is a stranger any more.
        copy.index.identity.take_over(now=NOW + A_DAY)
        for shard in ours[1:]:
            world.submit(shard, now=NOW + A_DAY)
        for shard in theirs[1:]:
            copy.submit(shard, now=NOW + A_DAY)
        now = clock.advance(7200)
        assert (finish(world, ours, now), finish(copy, theirs, now)) == (6, 6)
        assert [each.index.identity.doubt for each in (world, copy)] == [None, None]
        assert report_on(world).n_wrong == 0
    bill = world.emulator.bill()
    assert (bill.requests, bill.bought_twice) == (2 + 12, ())
    assert_nothing_was_cancelled(world)


def test_two_jobs_of_one_attempt_are_two_indexes(world: World) -> None:
    """Both created at the same moment: the namesake is neither cancelled nor adopted."""
    world.emulator.settings = SLOW
    [shard] = world.plan(world.build(notes(range(2))))
    with copied(world) as copy:
        lookout = copy.lookout()
        lookout.answer_to(shard, "00" * 32)  # it looked a moment before
        job = world.submit(shard)
        other = copy.submit(shard, lookout=lookout)
        assert job.display_name == other.display_name
        assert job.job_name != other.job_name
        for each in (world, copy):
            summary = each.poll()
            assert (summary.n_duplicates, summary.problems) == (0, [each.index.identity.doubt])
            assert each.state(shard) is JobState.PENDING
            report_on(each)
    assert_nothing_was_cancelled(world)


def test_in_doubt_what_is_known_is_collected_and_nothing_is_cancelled(
    world: World, clock: StandingClock
) -> None:
    """Polling goes on; a deadline, a person's impatience and a late second job change nothing."""
    world.emulator.settings = SLOW
    shards = planned(world, range(4), month="2026-11")
    world.submit(shards[0])
    put_job(world, f"embedding-assets/{world.index.identity.index_id}/2026-11-0099/1/{'0' * 16}")
    impatient = world.changed(job_deadline_h=1)
    now = clock.advance(0)
    summary = impatient.poll(now=now + timedelta(hours=2))
    assert (summary.n_overdue, summary.problems) == (0, [world.index.identity.doubt])
    with pytest.raises(IndexInDoubtError):
        cancel_job_of(world.index, world.gemini, shards[0], now=now)
    with pytest.raises(IndexInDoubtError):
        world.submit_shard(shards[1])
    with pytest.raises(IndexInDoubtError):
        world.changed(route="sync").submit_shard(shards[1])
    assert_nothing_was_cancelled(world)
    assert finish(world, shards[:1], clock.advance(7200)) == 2


def test_nothing_under_an_earlier_id_is_cancelled_or_deleted(
    world: World, clock: StandingClock
) -> None:
    """After `--new-id` jobs of before are collected; they, and their files, are left alone."""
    world.emulator.settings = SLOW
    shards = planned(world, range(4), month="2026-11")
    job = world.submit(shards[0])
    world.index.jobs.reserve(shards[1], requests_sha256=world.write(shards[1]).sha256, now=NOW)
    old_id = world.index.identity.index_id
    assert world.index.identity.begin_anew() != old_id
    with pytest.raises(LedgerError, match="under the id that this index had before"):
        cancel_job_of(world.index, world.gemini, shards[0], now=NOW)
    assert world.changed(job_deadline_h=1).poll(now=NOW + timedelta(hours=2)).n_overdue == 0
    assert f"/{world.index.identity.index_id}/" in world.submit(shards[1]).display_name
    assert finish(world, shards[:1], clock.advance(7200)) == 2
    assert job.input_file_name in [file.name for file in world.gemini.list_files()]
    assert_nothing_was_cancelled(world)
    assert report_on(world).n_wrong == 0


def test_an_unconfirmed_attempt_under_an_earlier_id_is_followed_by_one_under_the_new(
    world: World,
) -> None:
    """A create call is never made under an id that another index goes on with."""
    [shard] = world.plan(world.build(notes(range(2))))
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=503, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shard)
    world.index.identity.begin_anew()
    assert world.poll(now=NOW + GRACE).n_released == 1
    job = world.submit(shard, now=NOW + GRACE)
    assert (job.attempt, f"/{world.index.identity.index_id}/" in job.display_name) == (2, True)


def test_an_index_alone_never_doubts(world: World, clock: StandingClock) -> None:
    """Released, refused, late, cancelled and replaced jobs are its own past."""
    world.emulator.settings = EmulatorSettings(latency_s=GRACE.total_seconds() * 10)
    [shard] = world.plan(world.build(notes(range(2))))
    world.strike(FaultKind.CREATE_LATE, delay_s=GRACE.total_seconds() * 2, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shard)
    released = clock.advance(GRACE.total_seconds())
    assert world.poll(now=released).n_released == 1
    world.submit(shard, now=released)
    assert world.poll(now=clock.advance(GRACE.total_seconds())).n_duplicates == 1
    now = clock.advance(GRACE.total_seconds() * 20)
    assert finish(world, [shard], now) == 2
    world.publish(world.index.generations.building() or pytest.fail("nothing is built"))
    [later] = world.plan(world.build(notes(range(3, 5)), month="2026-12"))
    world.submit(later, now=now)
    assert world.poll(now=now).problems == []
    assert world.index.identity.doubt is None


def test_jobs_of_another_project_are_not_given_up(world: World, clock: StandingClock) -> None:
    """Where nothing of ours is known nothing has died: that is said, and waited with."""
    world.emulator.settings = SLOW
    shards = planned(world, range(6), month="2026-11")
    for shard in shards[:2]:
        job = world.submit(shard)
        world.emulator.batches.delete((job.job_name or "").removeprefix("batches/"))
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=503, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shards[2])
    summary = world.poll(now=NOW + GRACE)
    [said] = summary.problems
    assert said.startswith("Gemini knows none of the 2 jobs that are under way, nor anything else")
    assert (summary.n_changed, summary.n_released) == (0, 0)
    [finding] = report_on(world).findings
    assert (finding.check, finding.message) == (Check.LOST_JOBS, said)
    # A person has the first one submitted again; the others are given up after two days.
    cancel_job_of(world.index, world.gemini, shards[0], now=NOW)
    world.poll(now=NOW + GRACE)
    assert [world.state(shard) for shard in shards[:2]] == [JobState.FAILED, JobState.PENDING]
    world.poll(now=NOW + timedelta(hours=48))
    assert world.state(shards[1]) is JobState.FAILED


def test_a_job_that_is_lost_was_paid_for(world: World, rows: Rows) -> None:
    """Nobody knows what it cost, so it counts as estimated."""
    shards = planned(world, range(4), month="2026-11")
    job = world.submit(shards[0])
    world.submit(shards[1])
    world.emulator.batches.delete((job.job_name or "").removeprefix("batches/"))
    world.poll(now=NOW + GRACE)
    found = rows("SELECT state, unmatched_tokens FROM batch_jobs ORDER BY shard_id")
    assert found == [("failed", shards[0].estimated_tokens), ("succeeded", 0)]
