"""Results that come late, in part or cut off: everything that was paid for is brought in."""

from contextlib import closing
from dataclasses import replace

import pytest

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import OutcomeUnknownError, ResultFileError, ResultsNotReadyError
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import Shard, ShardState
from tests.factories import NOW
from tests.integration.conftest import a_client
from tests.integration.world import OUTPUT_GRACE, StandingClock, World, notes

LATE_S = 600.0


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard of twenty requests, not submitted yet."""
    [planned] = world.plan(world.build(notes(range(20))))
    return planned


def assert_all_embedded_and_bought_once(world: World, shard: Shard) -> None:
    counts = world.index.shards.counts(shard)
    assert (counts.n_embedded, counts.n_failed, counts.n_pending) == (20, 0, 0)
    bill = world.emulator.bill()
    assert (bill.jobs_created, bill.requests, bill.bought_twice) == (1, 20, ())


def test_a_download_that_was_cut_off_is_repeated(world: World, shard: Shard) -> None:
    """A file that lacks answers is downloaded again, and again, until it has them all."""
    world.strike(FaultKind.DOWNLOAD_TRUNCATED, times=2)
    world.submit(shard)
    assert world.finish(shard).n_embedded == 20
    assert world.emulator.bill().calls["download"] == 3
    assert_all_embedded_and_bought_once(world, shard)


def test_a_download_that_comes_differently_each_time_is_not_believed(
    world: World, shard: Shard
) -> None:
    """No answer is given up because the line is bad: later the rest is there."""
    world.strike(FaultKind.DOWNLOAD_TRUNCATED, times=4)
    world.submit(shard)
    world.poll()
    with pytest.raises(ResultFileError, match="lack answers and came differently each of 4 times"):
        world.collect(shard)
    assert (world.state(shard), list(world.results_dir.iterdir())) == (JobState.SUCCEEDED, [])
    assert world.collect(shard).n_embedded == 20
    assert_all_embedded_and_bought_once(world, shard)


def test_a_file_that_lacks_answers_is_believed_when_it_comes_the_same_twice(
    world: World, shard: Shard
) -> None:
    """A line that Gemini never wrote is a failure with a message, after a second look."""
    world.strike(FaultKind.MISSING_LINE, times=1)
    world.submit(shard)
    summary = world.finish(shard)
    assert (summary.n_embedded, summary.n_failed) == (19, 1)
    assert world.emulator.bill().calls["download"] == 2


def test_a_download_that_breaks_off_leaves_nothing(world: World, shard: Shard) -> None:
    """A connection that ends before the announced length is noticed; the next try is whole."""
    world.strike(FaultKind.DOWNLOAD_BROKEN, times=1)
    world.submit(shard)
    world.poll()
    with pytest.raises(OutcomeUnknownError, match="download of files/batch-"):
        world.collect(shard)
    assert list(world.results_dir.iterdir()) == []
    assert world.collect(shard).n_embedded == 20
    assert_all_embedded_and_bought_once(world, shard)


def test_a_download_that_trickles_ends(world: World, shard: Shard, base_url: str) -> None:
    """No pause is longer than the time-out of a read; the time for the whole is up all the same."""
    world.strike(FaultKind.DOWNLOAD_TRICKLES, times=1)
    world.submit(shard)
    world.poll()
    with (
        closing(a_client(base_url, attempts=1, download_timeout_s=0.2)) as impatient,
        pytest.raises(OutcomeUnknownError, match=r"ReadTimeout: .* not all there after 0\.2 s"),
    ):
        replace(world, gemini=impatient).collect(shard)
    assert list(world.results_dir.iterdir()) == []
    assert world.collect(shard).n_embedded == 20
    assert_all_embedded_and_bought_once(world, shard)


def test_an_upload_that_breaks_off_is_sent_again(world: World, shard: Shard) -> None:
    """Half a file at Gemini is never made a job of."""
    world.strike(FaultKind.UPLOAD_BROKEN, times=1)
    with pytest.raises(OutcomeUnknownError, match=r"upload of 2026-11-0001\.jsonl"):
        world.submit(shard)
    assert world.state(shard) is JobState.RESERVED
    world.submit(shard)
    assert world.finish(shard).n_embedded == 20
    assert_all_embedded_and_bought_once(world, shard)


def test_a_job_without_its_output_yet_is_under_way(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """A job that has succeeded is answered when its output is there, not before."""
    world.strike(FaultKind.LATE_OUTPUT, delay_s=LATE_S, times=1)
    world.submit(shard)
    world.emulator.wait_idle()
    world.poll(now=clock.advance(LATE_S - 1))
    assert world.state(shard) is JobState.RUNNING
    now = clock.advance(1)
    world.poll(now=now)
    assert world.state(shard) is JobState.SUCCEEDED
    world.collect(shard, now=now)
    assert_all_embedded_and_bought_once(world, shard)


def test_an_output_that_is_never_named_is_looked_for_where_it_always_was(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """When the grace is over the results are tried under the name that they have had so far."""
    world.strike(FaultKind.LATE_OUTPUT, delay_s=OUTPUT_GRACE.total_seconds() * 2, times=1)
    world.submit(shard)
    world.emulator.wait_idle()
    now = clock.advance(OUTPUT_GRACE.total_seconds())
    world.poll(now=now)
    job = world.job(shard)
    assert job.state is JobState.SUCCEEDED
    assert job.result_file_name is not None
    now = clock.advance(OUTPUT_GRACE.total_seconds())
    world.collect(shard, now=now)
    assert_all_embedded_and_bought_once(world, shard)


def test_results_that_are_not_there_yet_are_not_given_up(world: World, shard: Shard) -> None:
    """A 403 just after the job's end means not yet; an hour later it means gone."""
    world.submit(shard)
    world.poll()
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.DOWNLOAD, status=403, times=2)
    with pytest.raises(ResultsNotReadyError, match="are not there yet"):
        world.collect(shard)
    assert world.state(shard) is JobState.SUCCEEDED
    with pytest.raises(ResultFileError, match="are gone"):
        world.collect(shard, now=NOW + OUTPUT_GRACE)
    assert world.state(shard) is JobState.FAILED


@pytest.mark.parametrize(
    ("kind", "answered"),
    [
        (FaultKind.JOB_PARTIAL, 0.6),
        (FaultKind.JOB_FAILED, 0.6),
        (FaultKind.JOB_EXPIRED, 0.6),
        (FaultKind.JOB_CANCELLED, 0.6),
    ],
)
def test_what_a_job_answered_before_it_ended_is_kept(
    world: World, shard: Shard, kind: FaultKind, answered: float
) -> None:
    """However a job ended, its output is harvested first; only what is missing is sent again."""
    world.strike(kind, answered=answered, message="Out of time.", times=1)
    world.submit(shard)
    summary = world.finish(shard)
    assert (summary.n_embedded, summary.n_failed) == (12, 8)
    generation = world.index.generations.building()
    assert generation is not None
    messages = {f.error_message for f in world.index.published.failures(generation)}
    early = "" if kind is FaultKind.JOB_PARTIAL else "; the job ended early: Out of time."
    assert messages == {f"the result file has no line for this request{early}"}
    [rest] = world.plan(generation)
    assert rest.n_requests == 8
    world.submit(rest)
    assert world.finish(rest).n_embedded == 8
    bill = world.emulator.bill()
    assert (bill.jobs_created, bill.requests, bill.bought_twice) == (2, 20, ())


def test_every_line_failed_is_not_a_dead_job(world: World, shard: Shard) -> None:
    """A job can succeed with every row an error: each is recorded, and sent again if it may be."""
    world.strike(FaultKind.ERROR_LINE, times=20)
    world.submit(shard)
    summary = world.finish(shard)
    assert (summary.n_embedded, summary.n_failed) == (0, 20)
    assert world.index.shards.get(shard.key).state is ShardState.SETTLED
    generation = world.index.generations.building()
    assert generation is not None
    [again] = world.plan(generation)
    world.submit(again)
    assert world.finish(again).n_embedded == 20
    assert world.emulator.bill().bought_twice == ()


def test_an_answer_under_an_unknown_key_is_counted_and_its_request_sent_again(
    world: World, shard: Shard
) -> None:
    """A key that nobody asked for embeds nothing; the request it belonged to lacks its line."""
    world.strike(FaultKind.UNKNOWN_KEY, times=1)
    world.submit(shard)
    summary = world.finish(shard)
    assert (summary.n_embedded, summary.n_failed, summary.n_unknown_lines) == (19, 1, 1)


def test_the_uploaded_file_is_deleted_when_its_results_are_in(world: World, shard: Shard) -> None:
    """Nothing of ours is left at Gemini but the job itself."""
    job = world.submit(shard)
    assert world.gemini.has_file(job.input_file_name or "")
    world.finish(shard)
    assert not world.gemini.has_file(job.input_file_name or "")


def test_a_file_that_cannot_be_deleted_does_not_undo_a_collection(
    world: World, shard: Shard
) -> None:
    """What is in the index is in the index, whatever Gemini says of its files."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.FILES_DELETE, status=503)
    world.submit(shard)
    assert world.finish(shard).n_embedded == 20


def test_two_collectors_at_once_are_one_collection(world: World, shard: Shard) -> None:
    """Who comes second finds everything done, which is no failure."""
    world.submit(shard)
    world.poll()
    assert world.collect_shard(shard) is not None
    assert world.collect_shard(shard) is None
    assert_all_embedded_and_bought_once(world, shard)
