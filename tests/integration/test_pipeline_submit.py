"""The ledger protocol: exactly one batch job for a shard, whatever happens in between."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import (
    EmbeddingAssetsError,
    LedgerError,
    NoRoomError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
)
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.gemini.connection import Connection
from embedding_assets.model.batch_jobs import BatchJob, JobState, RemoteJob
from embedding_assets.model.room import Throttle
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.store.index import open_index
from tests.factories import NOW, SPEC
from tests.integration.world import GRACE, World, notes

LATER = NOW + GRACE


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard of five requests, planned and not submitted."""
    [planned] = world.plan(world.build(notes(range(5))))
    return planned


def assert_embedded_once(world: World, shard: Shard) -> None:
    """Every request has its vector, and the bill has one job and no text twice."""
    counts = world.index.shards.counts(shard)
    bill = world.emulator.bill()
    assert (counts.n_embedded, counts.n_failed, counts.n_pending) == (5, 0, 0)
    assert (bill.jobs_created, bill.requests, bill.bought_twice) == (1, 5, ())
    assert counts.billed_tokens == bill.tokens


def test_a_shard_becomes_one_job_and_then_vectors(world: World, shard: Shard) -> None:
    """Submit, poll, collect: the protocol from end to end, on record at every step."""
    submitted = world.submit(shard)
    assert submitted.state is JobState.PENDING
    assert submitted.display_name.startswith("embedding-assets/")
    assert submitted.display_name.endswith(f"/{shard.key}/1/{submitted.requests_sha256[:16]}")
    assert submitted.job_name is not None
    assert (submitted.reserved_at, submitted.submitted_at) == (NOW, NOW)
    summary = world.poll()
    assert (summary.n_looked_at, summary.n_changed, summary.problems) == (1, 1, [])
    assert world.state(shard) is JobState.SUCCEEDED
    world.collect(shard)
    assert world.state(shard) is JobState.COLLECTED
    assert world.index.shards.get(shard.key).state is ShardState.SETTLED
    assert_embedded_once(world, shard)


def test_the_file_is_the_same_when_written_again(world: World, shard: Shard) -> None:
    """Written twice, a shard's file is the same to the byte."""
    first = world.write(shard)
    content = first.path.read_bytes()
    assert world.write(shard) == first
    assert first.path.read_bytes() == content
    assert (first.n_requests, first.n_bytes) == (shard.n_requests, shard.n_bytes)


def test_a_file_that_cannot_be_written_is_one_shards_error(world: World, shard: Shard) -> None:
    """A disk that fails is reported with the shard and the directory."""
    world.settings.shards_dir.touch()
    with pytest.raises(EmbeddingAssetsError, match=r"requests of shard 2026-11-0001 cannot be wri"):
        world.write(shard)


def test_reserving_again_is_the_same_reservation(world: World, shard: Shard) -> None:
    """A reservation that was not used is taken over, not added to."""
    first = world.index.jobs.reserve(shard, requests_sha256="ab" * 32, now=NOW)
    assert world.index.jobs.reserve(shard, requests_sha256="ab" * 32, now=LATER) == first


def test_a_reservation_of_other_requests_is_replaced(world: World, shard: Shard) -> None:
    """The display name always tells the requests that are sent under it."""
    old = world.index.jobs.reserve(shard, requests_sha256="ab" * 32, now=NOW)
    new = world.index.jobs.reserve(shard, requests_sha256="cd" * 32, now=NOW)
    assert (new.attempt, new.display_name.endswith("/1/cdcdcdcdcdcdcdcd")) == (1, True)
    with pytest.raises(LedgerError, match="attempt 1 of shard 2026-11-0001 is 'gone' by now"):
        world.index.jobs.move(old, JobState.UNCONFIRMED)


@pytest.mark.parametrize(
    "state", [JobState.UNCONFIRMED, JobState.PENDING, JobState.RUNNING, JobState.SUCCEEDED]
)
def test_a_live_or_answered_attempt_excludes_another(
    world: World, shard: Shard, state: JobState
) -> None:
    """No second attempt is reserved while the first may still be paid for."""
    job = world.index.jobs.reserve(shard, requests_sha256="ab" * 32, now=NOW)
    job = world.index.jobs.move(job, JobState.UNCONFIRMED)
    if state is not JobState.UNCONFIRMED:
        world.index.jobs.move(job, state)
    with pytest.raises(LedgerError, match=f"has attempt 1 in state '{state.value}'; it needs no"):
        world.submit(shard)
    assert world.emulator.bill().jobs_created == 0


def test_a_collected_shard_is_not_submitted_again(world: World, shard: Shard) -> None:
    """A shard with nothing left to do is refused, whoever asks."""
    file = world.write(shard)
    world.submit(shard)
    world.finish(shard)
    with pytest.raises(LedgerError, match=r"2026-11-0001 is 'settled': nothing of it is to be"):
        world.index.jobs.reserve(shard, requests_sha256=file.sha256, now=NOW)


def test_a_second_worker_loses_cleanly(world: World, shard: Shard) -> None:
    """Of two workers with the same reservation one creates the job, the other is told so."""
    job = world.index.jobs.reserve(shard, requests_sha256=world.write(shard).sha256, now=NOW)
    world.submit(shard)
    with pytest.raises(LedgerError, match="is 'pending' by now, not 'reserved': somebody else"):
        world.index.jobs.move(job, JobState.UNCONFIRMED)
    with pytest.raises(LedgerError, match="somebody else"):
        world.index.jobs.record_upload(job, input_file_name="files/second")
    world.finish(shard)
    assert_embedded_once(world, shard)


def test_no_job_is_created_for_a_shard_abandoned_meanwhile(world: World, shard: Shard) -> None:
    """A worker that was uploading when a new build superseded its shard stops before it pays."""
    job = world.index.jobs.reserve(shard, requests_sha256="ab" * 32, now=NOW)
    world.build(notes(range(5)))
    with pytest.raises(LedgerError, match="2026-11-0001 is 'abandoned'"):
        world.index.jobs.move(job, JobState.UNCONFIRMED)
    with pytest.raises(LedgerError, match="2026-11-0001 is 'abandoned'"):
        world.submit(shard)
    assert world.emulator.bill().jobs_created == 0


# --- definite refusals ------------------------------------------------------------------------


def test_too_many_requests_is_not_an_attempt(world: World, shard: Shard, index_path: Path) -> None:
    """A 429 sets the back-off clock, halves the tokens, is remembered, and costs no attempt."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=429, times=2)
    world.index.jobs.mark_submit_requested([shard.key], now=NOW)
    with pytest.raises(RateLimitedError, match="429"):
        world.submit(shard)
    assert world.state(shard) is JobState.RESERVED
    [status] = world.index.jobs.ledger().statuses
    assert (status.n_attempts, status.submit_requested_at) == (1, None)
    with pytest.raises(NoRoomError, match="Gemini is asked again from 2026-11-23 03:0"):
        world.submit(shard)
    with pytest.raises(RateLimitedError):
        world.submit(shard, now=LATER)
    with open_index(index_path) as reopened:
        throttle = reopened.jobs.ledger().throttles["emulator", SPEC.model]
        assert throttle == Throttle(
            not_before=throttle.not_before,
            n_refusals=2,
            max_enqueued_tokens=125_000,
            message=throttle.message,
        )
        assert "Gemini answered 429 RESOURCE_EXHAUSTED: A fault was asked for." in throttle.message
        assert throttle.not_before is not None
        assert timedelta(minutes=4) <= throttle.not_before - LATER <= timedelta(minutes=5)
    assert world.submit(shard, now=LATER + timedelta(minutes=5)).attempt == 1
    throttles = world.index.jobs.ledger().throttles
    assert throttles == {("emulator", SPEC.model): Throttle(max_enqueued_tokens=250_000)}
    world.finish(shard)
    assert_embedded_once(world, shard)
    assert world.emulator.bill().calls["upload"] == 1


@pytest.mark.parametrize("status", [400, 404])
def test_a_refused_job_is_on_record_with_its_reason(
    world: World, shard: Shard, status: int
) -> None:
    """A definite no leaves the attempt refused, with Gemini's words; the next try is another."""
    world.strike(
        FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=status, message="not like this"
    )
    with pytest.raises(RefusedError, match=f"{status} .*: not like this"):
        world.submit(shard)
    job = world.job(shard)
    assert (job.state, job.attempt, job.ended_at) == (JobState.REFUSED, 1, NOW)
    assert "not like this" in (job.error_message or "")
    assert [status.n_attempts for status in world.index.jobs.ledger().statuses] == [0]
    world.emulator.faults.clear()
    assert world.submit(shard).attempt == 2


def test_a_refused_upload_is_on_record_with_its_reason(world: World, shard: Shard) -> None:
    """A refusal before the create call, say of the key, is as definite as one after it."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.UPLOAD, status=401, message="who?")
    with pytest.raises(RefusedError, match="who"):
        world.submit(shard)
    assert (world.state(shard), world.job(shard).attempt) == (JobState.REFUSED, 1)


def test_a_refused_attempt_of_a_superseded_generation_is_the_end_of_its_shard(
    world: World, shard: Shard
) -> None:
    """Nothing waits for a shard that nobody wants and Gemini refuses."""
    job = world.index.jobs.reserve(shard, requests_sha256="ab" * 32, now=NOW)
    job = world.index.jobs.move(job, JobState.UNCONFIRMED)
    world.build(notes(range(5)))
    world.index.jobs.move(job, JobState.REFUSED)
    assert world.index.shards.get(shard.key).state is ShardState.ABANDONED


# --- unknown outcomes -------------------------------------------------------------------------


def test_a_job_whose_creation_was_not_answered_is_adopted(world: World, shard: Shard) -> None:
    """A dropped connection leaves the attempt unconfirmed; polling finds the job by its name."""
    world.strike(FaultKind.CREATE_THEN_DROP, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shard)
    assert (world.state(shard), world.job(shard).job_name) == (JobState.UNCONFIRMED, None)
    with pytest.raises(LedgerError, match="'unconfirmed'; it needs no other"):
        world.submit(shard)
    summary = world.poll()
    assert (summary.n_changed, summary.adopted, summary.n_released) == (1, [shard.key], 0)
    world.collect(shard)
    assert_embedded_once(world, shard)


def test_an_attempt_that_stays_absent_is_released(world: World, shard: Shard) -> None:
    """A create call that came to nothing blocks its shard for the grace period, no longer."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=503, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shard)
    assert world.poll(now=LATER - timedelta(seconds=1)).n_released == 0
    assert world.state(shard) is JobState.UNCONFIRMED
    assert world.poll(now=LATER).n_released == 1
    assert world.submit(shard).attempt == 1
    world.finish(shard)
    assert_embedded_once(world, shard)


class Overtaken(GeminiClient):
    """A client whose answer to a create call comes after somebody has polled."""

    def __init__(self, world: World, base_url: str) -> None:
        super().__init__(
            Connection(provider="emulator", base_url=base_url, api_key="secret-key"),
            api_version="v1beta",
            timeout_s=10,
        )
        self.world = world

    def create_embeddings_job(
        self, *, model: str, input_file_name: str, display_name: str
    ) -> RemoteJob:
        remote = super().create_embeddings_job(
            model=model, input_file_name=input_file_name, display_name=display_name
        )
        self.world.poll()
        return remote


@pytest.fixture
def overtaken(world: World, base_url: str) -> Iterator[World]:
    """A world whose submissions are overtaken by polls."""
    client = Overtaken(world, base_url)
    yield replace(world, gemini=client)
    client.close()


def test_a_poll_may_overtake_a_submission(overtaken: World, shard: Shard) -> None:
    """A job that is adopted before its creator records it is that creator's job all the same."""
    job = overtaken.submit(shard)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
    overtaken.collect(shard)
    assert_embedded_once(overtaken, shard)


# --- killed in between ------------------------------------------------------------------------


def after_reserve(world: World, shard: Shard) -> BatchJob:
    return world.index.jobs.reserve(shard, requests_sha256=world.write(shard).sha256, now=NOW)


def after_upload(world: World, shard: Shard) -> BatchJob:
    job = after_reserve(world, shard)
    world.gemini.upload(world.write(shard).path, display_name=job.display_name)
    return job


def after_recording_the_upload(world: World, shard: Shard) -> BatchJob:
    job = after_reserve(world, shard)
    name = world.gemini.upload(world.write(shard).path, display_name=job.display_name)
    return world.index.jobs.record_upload(job, input_file_name=name)


def before_create(world: World, shard: Shard) -> BatchJob:
    job = after_recording_the_upload(world, shard)
    return world.index.jobs.move(job, JobState.UNCONFIRMED, unconfirmed_at=NOW)


def after_create(world: World, shard: Shard) -> BatchJob:
    job = before_create(world, shard)
    assert job.input_file_name is not None
    world.gemini.create_embeddings_job(
        model=SPEC.model, input_file_name=job.input_file_name, display_name=job.display_name
    )
    return job


def after_record(world: World, shard: Shard) -> BatchJob:
    return world.submit(shard)


def after_poll(world: World, shard: Shard) -> BatchJob:
    job = world.submit(shard)
    world.poll()
    return job


def after_download(world: World, shard: Shard) -> BatchJob:
    job = after_poll(world, shard)
    found = world.job(shard)
    assert found.result_file_name is not None
    world.results_dir.mkdir(parents=True)
    world.gemini.download(found.result_file_name, world.result_path(shard))
    return job


@pytest.mark.parametrize(
    "killed",
    [
        after_reserve,
        after_upload,
        after_recording_the_upload,
        before_create,
        after_create,
        after_record,
        after_poll,
        after_download,
    ],
    ids=lambda step: step.__name__,
)
def test_killed_between_any_two_steps_it_ends_with_one_job(
    world: World, shard: Shard, killed: Callable[[World, Shard], BatchJob]
) -> None:
    """Whatever step was the last, going on as the sensors do embeds everything, paid once."""
    killed(world, shard)
    world.poll(now=LATER)
    if world.state(shard) is JobState.RESERVED:
        world.submit(shard, now=LATER)
        world.poll(now=LATER)
    world.collect(shard)
    assert_embedded_once(world, shard)


def test_an_uploaded_file_that_is_gone_is_uploaded_again(world: World, shard: Shard) -> None:
    """A file that expired between upload and creation is put there once more."""
    job = after_recording_the_upload(world, shard)
    assert job.input_file_name is not None
    world.emulator.files.delete(job.input_file_name.removeprefix("files/"))
    submitted = world.submit(shard)
    assert submitted.input_file_name not in (None, job.input_file_name)
    world.finish(shard)
    assert_embedded_once(world, shard)


def test_an_uploaded_file_that_is_there_is_used(world: World, shard: Shard) -> None:
    """What was uploaded before a crash is not uploaded again."""
    job = after_recording_the_upload(world, shard)
    assert world.submit(shard).input_file_name == job.input_file_name
    assert world.emulator.bill().calls["upload"] == 1


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (FaultKind.JOB_FAILED, JobState.FAILED),
        (FaultKind.JOB_EXPIRED, JobState.EXPIRED),
        (FaultKind.JOB_CANCELLED, JobState.CANCELLED),
    ],
)
def test_a_dead_job_is_followed_by_another_attempt(
    world: World, shard: Shard, fault: FaultKind, state: JobState
) -> None:
    """A job that Gemini gave up on leaves its reason, and a second one of another name."""
    world.strike(fault, times=1, message="gone with the wind")
    first = world.submit(shard)
    world.poll()
    dead = world.job(shard)
    assert (dead.state, dead.error_message) == (state, "gone with the wind")
    assert dead.ended_at is not None
    second = world.submit(shard)
    assert (second.attempt, second.display_name == first.display_name) == (2, False)
    world.finish(shard)
    bill = world.emulator.bill()
    assert (bill.jobs_created, bill.requests, bill.bought_twice) == (2, 5, ())


def test_a_dead_job_of_a_superseded_generation_is_not_followed_by_another(
    world: World, shard: Shard
) -> None:
    """Nobody waits for it any more: its shard is given up, its chunks are missing again."""
    world.strike(FaultKind.JOB_FAILED, times=1)
    world.submit(shard)
    generation = world.build(notes(range(5)))
    world.poll()
    assert world.index.shards.get(shard.key).state is ShardState.ABANDONED
    assert len(world.missing(generation)) == 5
