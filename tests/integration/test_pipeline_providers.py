"""Gemini and the emulator never answer for each other, and never for another index."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import (
    AnswerCountError,
    AnswerHeldError,
    IndexInDoubtError,
    LedgerError,
    NoRoomError,
    OtherProviderError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
)
from embedding_assets.gemini.client import GeminiClient, RetryPolicy, SyncAnswer
from embedding_assets.gemini.connection import Connection
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.room import Throttle
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.poll import PollSummary
from embedding_assets.store.index import open_index
from tests.factories import NOW, SPEC
from tests.integration.world import GRACE, StandingClock, World, notes


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard of five requests, planned for the emulator and not submitted."""
    [planned] = world.plan(world.build(notes(range(5))))
    return planned


class Answering(GeminiClient):
    """A client of the emulator that can be told how to answer."""

    n_lost = 0  # vectors that do not come back

    def embed(self, texts: Any, **values: Any) -> SyncAnswer:
        answer = super().embed(texts, **values)
        if not self.n_lost:
            return answer
        self.n_lost -= 1
        raise AnswerCountError("one too few", billed_tokens=answer.billed_tokens)


def put_dead_job(world: World, display_name: str) -> None:
    """A job of ours that came to nothing: it shows that this is our project."""
    requests = [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8}]
    batch = world.emulator.create_batch_inlined(SPEC.model, display_name, requests)
    world.emulator.batches.cancel(batch.batch_id, now=world.emulator.clock())


def a_client(base_url: str, provider: str) -> Answering:
    return Answering(
        Connection(provider=provider, base_url=base_url, api_key="secret-key"),
        api_version="v1beta",
        timeout_s=10,
        retries=RetryPolicy(attempts=1, initial_delay_s=0.001, max_delay_s=0.002),
    )


@pytest.fixture
def stranger(world: World, base_url: str) -> Iterator[World]:
    """The same index in a process that talks to somebody else."""
    client = a_client(base_url, "gemini")
    yield replace(world, gemini=client)
    client.close()


def test_a_shard_is_not_sent_to_somebody_else(world: World, stranger: World, shard: Shard) -> None:
    """What was planned for one provider is neither submitted to nor embedded by another."""
    with pytest.raises(OtherProviderError, match="planned for 'emulator' and 'gemini' answers now"):
        stranger.submit_shard(shard)
    assert world.emulator.bill().calls == {}
    assert world.submit_shard(shard).state is JobState.PENDING


def test_jobs_at_somebody_else_are_left_alone(world: World, stranger: World, shard: Shard) -> None:
    """A forgotten key does not turn paid jobs into failed ones, nor their answers into nothing."""
    world.submit(shard)
    assert stranger.poll(now=NOW + 10 * GRACE) == PollSummary()
    assert world.state(shard) is JobState.PENDING
    ledger = world.index.jobs.ledger()
    assert (ledger.count_elsewhere("gemini"), ledger.count_elsewhere("emulator")) == (1, 0)
    assert ledger.at("gemini") == []
    world.poll()
    with pytest.raises(OtherProviderError):
        stranger.collect(shard)
    assert world.collect(shard).n_embedded == 5


def test_jobs_at_somebody_else_take_no_room(world: World, stranger: World, shard: Shard) -> None:
    """The sensor sees room at Gemini beside the emulator's job, and so does the run it asks for."""
    world.submit(shard)
    stranger = stranger.changed(max_concurrent_jobs=1)
    first, second = planned_for_gemini(stranger, n_shards=2)
    assert stranger.chosen() == (first.key,)
    assert stranger.submit_shard(first).state is JobState.PENDING
    assert (stranger.chosen(), world.chosen()) == ((), ())
    with pytest.raises(NoRoomError, match="1 of 1 jobs are under way"):
        stranger.submit_shard(second)


def test_a_refusal_of_somebody_else_teaches_nothing_about_gemini(
    world: World, stranger: World, shard: Shard
) -> None:
    """The emulator's 429 neither starts Gemini's back-off nor lowers what is offered to it."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=429, times=1)
    with pytest.raises(RateLimitedError):
        world.submit(shard)
    assert world.chosen() == ()
    [other] = planned_for_gemini(stranger, n_shards=1)
    assert stranger.chosen() == (other.key,)
    assert stranger.submit_shard(other).state is JobState.PENDING
    throttles = world.index.jobs.ledger().throttles
    assert throttles["gemini", SPEC.model] == Throttle()
    assert throttles["emulator", SPEC.model].n_refusals == 1


def planned_for_gemini(world: World, *, n_shards: int) -> list[Shard]:
    """So many shards of five requests for the same model of Google's."""
    world = world.changed(max_requests_per_job=5)
    corpus = notes(range(100, 100 + 5 * n_shards))
    return world.plan(world.build(corpus, spec=replace(SPEC, provider="gemini")))


def test_results_of_an_index_that_was_restored_are_not_taken_for_others(
    world: World, index_path: Path
) -> None:
    """Keys and ids begin anew after a restore; files of before are not what is asked for."""
    world.reindex(notes(range(1)))
    backup = index_path.with_name("backup.db")
    with closing(sqlite3.connect(index_path)) as source, closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)
    [first] = world.plan(world.build(notes(range(1, 6))))
    world.submit(first)
    world.finish(first)
    with open_index(backup) as index:
        restored = replace(world, index=index)
        [second] = restored.plan(restored.build(notes(range(10, 15))))
        assert (second.key, second.n_requests) == (first.key, first.n_requests)
        with pytest.raises(IndexInDoubtError, match="1 job under this index's id that this index"):
            restored.submit(second)
        index.identity.take_over(now=NOW)
        restored.submit(second)
        restored.poll()
        assert restored.collect(second).n_embedded == 5
        assert restored.result_path(second) != world.result_path(first)
    assert world.emulator.bill().calls["download"] == 3


def test_half_a_synchronous_answer_of_another_index_is_not_gone_on_with(world: World) -> None:
    """What was answered for other requests is not taken for an answer to these."""
    world = world.changed(route="sync")
    [shard] = world.plan(world.build(notes(range(5))))
    world.results_dir.mkdir()
    stale = world.results_dir / f"{shard.key}-{'0' * 16}.partial"
    stale.write_bytes(b'{"key":"chunk_1","error":{"code":3,"message":"of another index"}}\n')
    world.embed(shard)
    assert world.collect(shard).n_embedded == 5


# --- what Gemini says that is not what it seems -----------------------------------------------


def test_a_job_that_is_not_known_everywhere_yet_has_not_failed(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """A 404 just after the creation is not believed; after the grace it is, where we are known."""
    world.emulator.settings = EmulatorSettings(latency_s=3600)
    job = world.submit(shard)
    put_dead_job(world, job.display_name)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.GET, status=404)
    world.emulator.batches.delete((job.job_name or "").removeprefix("batches/"))
    assert world.poll(now=clock.advance(1)).n_changed == 0
    assert world.state(shard) is JobState.PENDING
    world.poll(now=clock.advance(GRACE.total_seconds()))
    assert world.state(shard) is JobState.FAILED


def test_a_call_that_was_given_up_at_gemini_may_have_been_carried_out(
    world: World, shard: Shard
) -> None:
    """A 499 is no refusal: the attempt stays unconfirmed until its job was looked for."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=499, times=1)
    with pytest.raises(OutcomeUnknownError, match="499"):
        world.submit(shard)
    assert world.state(shard) is JobState.UNCONFIRMED


def test_a_late_job_of_a_refused_attempt_is_cancelled(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """Released, refused, and then the first job appears: it is nobody's any more."""
    world.emulator.settings = EmulatorSettings(latency_s=GRACE.total_seconds() * 10)
    world.strike(FaultKind.CREATE_LATE, delay_s=GRACE.total_seconds() * 2, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shard)
    now = clock.advance(GRACE.total_seconds())
    world.poll(now=now)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=400, times=1)
    with pytest.raises(RefusedError):
        world.submit(shard, now=now)
    assert world.poll(now=clock.advance(GRACE.total_seconds())).n_duplicates == 1


def test_a_release_does_not_hit_a_newer_create_call(world: World, shard: Shard) -> None:
    """Of two pollers the slower one, which read the attempt before, changes nothing any more."""
    job = world.index.jobs.reserve(shard, requests_sha256="ab" * 32, now=NOW)
    stale = world.index.jobs.move(job, JobState.UNCONFIRMED, unconfirmed_at=NOW)
    freed = world.index.jobs.move(stale, JobState.RESERVED, released_at=NOW)
    later = NOW + timedelta(minutes=1)
    world.index.jobs.move(freed, JobState.UNCONFIRMED, unconfirmed_at=later)
    with pytest.raises(LedgerError, match="somebody else is working on it"):
        world.index.jobs.move(stale, JobState.RESERVED)
    assert world.state(shard) is JobState.UNCONFIRMED


def test_too_few_vectors_are_not_asked_for_again_and_again(world: World, base_url: str) -> None:
    """Nobody could say whose they are: what was paid for is held, and nothing is asked again."""
    client = a_client(base_url, "emulator")
    client.n_lost = 3
    world = replace(world.changed(route="sync"), gemini=client)
    [shard] = world.plan(world.build(notes(range(4))))
    world.embed(shard)
    with pytest.raises(AnswerHeldError, match="one too few"):
        world.collect_shard(shard)
    client.close()
    assert client.n_lost == 2
