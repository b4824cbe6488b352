"""What Gemini refuses for now: told apart by its quota, waited for or turned red, and kept."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.cli.encode import json_of
from embedding_assets.emulator import errors as emulated
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import (
    NoRoomError,
    Quota,
    RateLimitedError,
    RefusedError,
)
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.room import Throttle
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.status import read_status
from embedding_assets.settings.values import RouteChoice
from embedding_assets.store.index import open_index
from tests.factories import NOW, SPEC
from tests.integration.dagster_support import ANIMALS, Pipeline, a_pipeline, failure_of
from tests.integration.test_dagster_sensors import tick
from tests.integration.world import FakeTime, World, a_pacer, notes

A_DAY = timedelta(days=1)
SUBMIT = "submit_shards_sensor"


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard of five requests, planned and not submitted."""
    [planned] = world.plan(world.build(notes(range(5))))
    return planned


def refuse(world: World, quota: Quota, endpoint: Endpoint = Endpoint.CREATE, **rule: Any) -> None:
    """Every such call is refused for this quota."""
    emulators = emulated.Quota(quota.value)
    world.strike(FaultKind.CALL_ERROR, endpoint=endpoint, quota=emulators, **rule)


def throttle_of(world: World) -> Throttle:
    return world.index.jobs.ledger().throttles["emulator", SPEC.model]


# --- through the SDK --------------------------------------------------------------------------

CALLS: dict[Endpoint, Callable[[GeminiClient, Path], object]] = {
    Endpoint.CREATE: lambda gemini, path: gemini.create_embeddings_job(
        model=SPEC.model, input_file_name="files/x", display_name="ours"
    ),
    Endpoint.UPLOAD: lambda gemini, path: gemini.upload(path, display_name="ours"),
    Endpoint.UPLOAD_CHUNK: lambda gemini, path: gemini.upload(path, display_name="ours"),
    Endpoint.FILES_GET: lambda gemini, path: gemini.has_file("files/x"),
    Endpoint.LIST: lambda gemini, path: list(gemini.list_jobs()),
    Endpoint.EMBED: lambda gemini, path: gemini.embed(
        ["a"], model=SPEC.model, dimensions=8, task_type=None
    ),
}


@pytest.mark.parametrize("endpoint", CALLS)
@pytest.mark.parametrize("quota", emulated.Quota)
def test_every_quota_is_told_apart_whatever_was_called(
    world: World, tmp_path: Path, endpoint: Endpoint, quota: emulated.Quota
) -> None:
    """Enqueued tokens are named by no detail: only where a job is created it can be them."""
    path = tmp_path / "requests.jsonl"
    path.write_text("{}\n")
    world.strike(FaultKind.CALL_ERROR, endpoint=endpoint, quota=quota)
    with pytest.raises(RateLimitedError, match="429 RESOURCE_EXHAUSTED: You") as caught:
        CALLS[endpoint](world.gemini, path)
    is_unnamed = quota is emulated.Quota.TOKENS and endpoint is not Endpoint.CREATE
    assert caught.value.quota == (Quota.UNKNOWN if is_unnamed else quota)
    is_a_minute = quota is emulated.Quota.REQUESTS
    assert caught.value.retry_after == (timedelta(seconds=7) if is_a_minute else None)


BILLING = "Please enable billing on your project in Google AI Studio."


@pytest.mark.parametrize("status", [402, 403])
def test_billing_is_refused_with_other_codes_too(world: World, status: int) -> None:
    """Neither is the key bad then, nor is the file gone."""
    world.strike(FaultKind.CALL_ERROR, status=status, message=BILLING)
    with pytest.raises(RateLimitedError, match="enable billing") as caught:
        world.gemini.has_file("files/x")
    assert caught.value.quota is Quota.CREDITS


def test_an_invalid_argument_that_speaks_of_billing_is_one(world: World) -> None:
    """What is said of an argument may quote anything."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=400, message=BILLING)
    with pytest.raises(RefusedError) as caught:
        list(world.gemini.list_jobs())
    assert type(caught.value) is RefusedError


# --- what is learnt ---------------------------------------------------------------------------


@pytest.mark.parametrize("quota", [q for q in Quota if q not in (Quota.TOKENS, Quota.UNKNOWN)])
def test_only_enqueued_tokens_lower_what_is_offered(
    world: World, shard: Shard, quota: Quota, index_path: Path
) -> None:
    """Any other quota is waited for at full size, however often it refuses: nothing is split."""
    refuse(world, quota)
    for n_days in range(4):
        with pytest.raises(RateLimitedError):
            world.submit_shard(shard, now=NOW + n_days * A_DAY)
    with open_index(index_path) as reopened:
        throttle = reopened.jobs.ledger().throttles["emulator", SPEC.model]
    assert (throttle.quota, throttle.n_refusals, throttle.max_enqueued_tokens) == (quota, 4, None)
    assert "429 RESOURCE_EXHAUSTED: You" in throttle.message
    assert world.state(shard) is JobState.RESERVED
    world.emulator.faults.clear()
    world.submit_shard(shard, now=NOW + 4 * A_DAY)
    assert throttle_of(world) == Throttle()


def test_refusals_in_a_row_are_counted_by_quota(world: World, shard: Shard) -> None:
    """One refusal for tokens among others is the first of its kind: it splits nothing."""
    for n_days, quota in enumerate((Quota.SPEND, Quota.TOKENS, Quota.SPEND, Quota.TOKENS)):
        refuse(world, quota, times=1)
        with pytest.raises(RateLimitedError):
            world.submit_shard(shard, now=NOW + n_days * A_DAY)
        assert throttle_of(world).n_refusals == 1
    assert throttle_of(world).max_enqueued_tokens == 125_000  # of 500,000, halved twice


def test_a_minute_is_waited_for_as_long_as_gemini_says(world: World, shard: Shard) -> None:
    """Requests a minute are over in seconds, not after the first back-off of minutes."""
    refuse(world, Quota.REQUESTS, times=1)
    with pytest.raises(
        RateLimitedError, match="takes no more calls for now; Gemini is asked again"
    ):
        world.submit_shard(shard)
    until = throttle_of(world).not_before
    assert until is not None
    assert timedelta(seconds=7) <= until - NOW <= timedelta(seconds=9)
    with pytest.raises(NoRoomError, match="takes no more calls for now; Gemini is asked again"):
        world.submit_shard(shard, now=until - timedelta(seconds=1))
    assert world.submit_shard(shard, now=until).state is JobState.PENDING


def test_storage_that_never_frees_itself_is_asked_again(world: World, shard: Shard) -> None:
    """The 292 billion years that Gemini names for file storage are no time to wait."""
    refuse(world, Quota.STORAGE)
    with pytest.raises(RateLimitedError):
        world.submit_shard(shard)
    until = throttle_of(world).not_before
    assert until is not None
    assert until - NOW < timedelta(minutes=3)


# --- file storage -----------------------------------------------------------------------------


def test_uploads_of_ours_that_nobody_needs_make_room(world: World) -> None:
    """They are deleted before anybody is told; those of live jobs, of others and of what this
    index does not know stay."""
    world = world.changed(max_requests_per_job=5)
    done, live, next_one = world.plan(world.build(notes(range(15))))
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.FILES_DELETE, status=501)
    world.submit(done)
    world.finish(done)
    world.emulator.faults.clear()
    world.submit(live)
    path = world.write(next_one).path
    others = [
        world.gemini.upload(path, display_name=name)
        for name in ("somebody else's", "embedding-assets/copy/2026-11-0001/1/0123456789abcdef")
    ]
    refuse(world, Quota.STORAGE, Endpoint.UPLOAD, times=1)

    assert world.submit_shard(next_one).state is JobState.PENDING

    left = {file.name for file in world.gemini.list_files()}
    assert left == {world.job(live).input_file_name, world.job(next_one).input_file_name, *others}


def test_a_full_storage_says_whose_it_is_and_what_to_delete(world: World) -> None:
    """How much of it is ours and needed, how much is not, and that results cannot be deleted."""
    world = world.changed(max_requests_per_job=5)
    live, next_one = world.plan(world.build(notes(range(10))))
    world.submit(live)
    world.gemini.upload(world.write(next_one).path, display_name="somebody else's")
    refuse(world, Quota.STORAGE, Endpoint.UPLOAD)
    with pytest.raises(RateLimitedError) as caught:
        world.submit_shard(next_one)
    message = str(caught.value)
    assert message.startswith(
        "the file storage of the Google project is full; Gemini is asked again"
    )
    assert (
        "0.0 MB in 1 file are of embedding-assets, and needed, 0.0 MB in 1 file are not" in message
    )
    assert "Results of batch jobs count, too" in message
    assert world.state(next_one) is JobState.RESERVED


# --- the synchronous route --------------------------------------------------------------------


@pytest.mark.parametrize("quota", [Quota.SPEND, Quota.CREDITS])
def test_money_is_not_waited_for_within_a_run(world: World, quota: Quota) -> None:
    """A call that is refused for money is asked again by another run, not within minutes."""
    world = world.changed(route=RouteChoice.SYNC)
    [shard] = world.plan(world.build(notes(range(3))))
    refuse(world, quota, Endpoint.EMBED, times=1)
    time = FakeTime()
    with pytest.raises(RateLimitedError):
        world.embed(shard, pacer=a_pacer(time))
    assert world.emulator.bill().calls["embed"] == 1
    assert time.now < 5


def test_a_refused_synchronous_shard_waits_like_any_other(world: World) -> None:
    """What was refused is on record for the next process; an answer ends it."""
    world = world.changed(route=RouteChoice.SYNC)
    [shard] = world.plan(world.build(notes(range(3))))
    refuse(world, Quota.CREDITS, Endpoint.EMBED, times=1)
    with pytest.raises(
        RateLimitedError, match="has no credits or no billing; Gemini is asked again"
    ):
        world.submit_shard(shard)
    assert world.chosen() == ()
    with pytest.raises(NoRoomError, match="has no credits or no billing"):
        world.submit_shard(shard)
    world.submit_shard(shard, now=NOW + A_DAY)
    assert throttle_of(world) == Throttle()
    assert world.finish(shard).n_embedded == 3


def test_a_synchronous_shard_does_not_wait_for_tokens(world: World, shard: Shard) -> None:
    """Enqueued tokens and file storage are no matter of the synchronous route."""
    refuse(world, Quota.TOKENS)
    with pytest.raises(RateLimitedError):
        world.submit_shard(shard)
    learnt = throttle_of(world)
    sync = world.changed(route=RouteChoice.SYNC)
    [few] = sync.plan(sync.build(notes(range(5, 8))))
    assert sync.submit_shard(few).state is JobState.SUCCEEDED
    assert throttle_of(world) == learnt


# --- what people see --------------------------------------------------------------------------


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Eight documents in two shards; what is refused is asked again at once."""
    with a_pipeline(tmp_path, monkeypatch, limits={"backoff_s": 0.001}) as opened:
        opened.write(ANIMALS[:8])
        yield opened


WORDS = {
    emulated.Quota.SPEND: "the Google project may not spend more for now; Gemini is asked again",
    emulated.Quota.CREDITS: "the Google project has no credits or no billing; Gemini is asked",
}


@pytest.mark.parametrize("quota", WORDS)
def test_money_turns_red_and_is_asked_for_again(pipeline: Pipeline, quota: emulated.Quota) -> None:
    """The run fails with what Google says and when it is asked again; then all shards are sent."""
    patient = pipeline.with_settings(
        limits=pipeline.settings.limits.model_copy(update={"backoff_s": 3600.0})
    )
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, quota=quota)
    first, second = patient.plan()

    result = patient.run("submit_shards", shards=[first, second])

    why = failure_of(result)
    assert f"1 shard not submitted; the first: {WORDS[quota]}" in why
    assert "Gemini answered 429 RESOURCE_EXHAUSTED: Your p" in why
    assert pipeline.partitions("batch_jobs") == {first: "failed", second: "failed"}
    said = tick(patient, SUBMIT)
    assert said.skip_reason.startswith(f"2 shards wait: {WORDS[quota]}")
    with open_index(patient.settings.index_path) as index:
        status = read_status(index, patient.settings)
    [wait] = status.waits
    assert wait in said.skip_reason
    [refusal] = json.loads(json_of(status))["refusals"]
    assert (refusal["quota"], refusal["refusals"]) == (quota.value, 1)
    assert "Your p" in refusal["message"]
    pipeline.emulator.state.faults.clear()
    lift_back_off(pipeline)
    pipeline.settle()
    assert pipeline.bill() == (2, 8)
    assert set(pipeline.partitions("batch_jobs").values()) == {"materialized"}


def lift_back_off(pipeline: Pipeline) -> None:
    """As when its time has come."""
    with open_index(pipeline.settings.index_path) as index:
        generation = index.generations.building()
        assert generation is not None
        index.jobs.change_throttle(generation.spec, lambda throttle: Throttle())
