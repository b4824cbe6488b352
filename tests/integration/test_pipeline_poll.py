"""One look at Gemini: what it says of every job that is under way, and what it does not say."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as HttpRoute

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import OutcomeUnknownError
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.poll import PollSummary, jobs_to_look_at, poll_jobs
from embedding_assets.settings.values import Limits
from tests.factories import NOW, SPEC
from tests.integration.world import GRACE, StandingClock, Switchboard, World, notes

NOTHING = PollSummary()
LIMITS = Limits(output_grace_s=0)


@pytest.fixture
def shards(world: World) -> list[Shard]:
    """Three shards of two requests each."""
    return world.changed(max_requests_per_job=2).plan(world.build(notes(range(6))))


def test_nothing_under_way_costs_no_call(world: World, shards: list[Shard]) -> None:
    """Without live jobs Gemini is not asked."""
    assert world.poll() == NOTHING
    assert world.emulator.bill().calls == {}


def test_a_jobs_states_are_followed_to_the_end(
    world: World, shards: list[Shard], clock: StandingClock
) -> None:
    """Pending, running and succeeded are recorded as they come, and only when they change."""
    world.emulator.settings = EmulatorSettings(latency_s=100)
    world.submit(shards[0])
    seen = []
    for seconds in (0, 60, 0, 60):
        clock.advance(seconds)
        seen.append((world.poll().n_changed, world.state(shards[0])))
    assert seen == [
        (0, JobState.PENDING),
        (1, JobState.RUNNING),
        (0, JobState.RUNNING),
        (1, JobState.SUCCEEDED),
    ]
    job = world.job(shards[0])
    assert job.job_name is not None
    assert job.result_file_name == f"files/batch-{job.job_name.removeprefix('batches/')}"
    assert job.ended_at is not None


def test_a_stuck_job_stays_under_way(
    world: World, shards: list[Shard], clock: StandingClock
) -> None:
    """A job that runs and runs is neither released nor submitted again."""
    world.strike(FaultKind.JOB_STUCK)
    world.submit(shards[0])
    clock.advance(3600)
    world.poll(now=NOW + 2 * GRACE)
    assert world.state(shards[0]) is JobState.RUNNING


def test_all_jobs_are_looked_at_in_one_listing(world: World, shards: list[Shard]) -> None:
    """However many jobs are under way, one paged call tells their states."""
    for shard in shards:
        world.submit(shard)
    n_before = world.emulator.bill().calls["list"]
    summary = world.poll()
    assert (summary.n_looked_at, summary.n_changed) == (3, 3)
    calls = world.emulator.bill().calls
    assert (calls["list"] - n_before, calls.get("get")) == (1, None)


def test_jobs_of_others_are_ignored(world: World, shards: list[Shard], tmp_path: Path) -> None:
    """A hundred and more foreign jobs on several pages neither disturb nor hide ours."""
    world.submit(shards[0])
    requests = [{"content": {"parts": [{"text": "foreign"}]}, "outputDimensionality": 8}]
    world.emulator.settings = EmulatorSettings(max_concurrent_jobs=1000, latency_s=0)
    for _ in range(130):
        world.emulator.create_batch_inlined(SPEC.model, "somebody else's", requests)
    n_before = world.emulator.bill().calls["list"]
    summary = world.poll()
    assert (summary.n_looked_at, summary.n_changed, summary.problems) == (1, 1, [])
    assert world.state(shards[0]) is JobState.SUCCEEDED
    assert world.emulator.bill().calls["list"] - n_before == 2


def test_a_job_that_is_not_listed_is_looked_up(
    world: World, shards: list[Shard], answering: Callable[..., GeminiClient]
) -> None:
    """A listing may leave a job out; Gemini is then asked for it by name."""
    job = world.submit(shards[0])
    operation = {"name": job.job_name, "metadata": {"state": "BATCH_STATE_RUNNING"}}
    summary = poll(world, answering(single=operation))
    assert summary.n_changed == 1
    assert world.state(shards[0]) is JobState.RUNNING


def test_a_job_that_gemini_does_not_know_has_failed(world: World, shards: list[Shard]) -> None:
    """A job that was deleted at Gemini has failed, with that reason, and is submitted again."""
    job = world.submit(shards[0])
    world.submit(shards[1])
    assert job.job_name is not None
    world.emulator.batches.delete(job.job_name.removeprefix("batches/"))
    assert world.poll(now=NOW + GRACE).n_dead == 1
    failed = world.job(shards[0])
    assert failed.state is JobState.FAILED
    assert failed.error_message == f"Gemini no longer knows {job.job_name}"
    assert world.submit(shards[0]).attempt == 2


@pytest.mark.parametrize("status", [400, 401, 403, 429, 503])
def test_a_look_up_that_is_not_answered_is_a_problem_and_no_failure(
    world: World, shards: list[Shard], status: int
) -> None:
    """A job is never given up because Gemini would not talk about it just now."""
    job = world.submit(shards[0])
    world.submit(shards[1])
    assert job.job_name is not None
    world.emulator.batches.delete(job.job_name.removeprefix("batches/"))
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.GET, status=status, message="not now")
    summary = world.poll()
    assert len(summary.problems) == 1
    assert "not now" in summary.problems[0]
    assert world.state(shards[0]) is JobState.PENDING
    assert world.state(shards[1]) is JobState.SUCCEEDED


def test_a_failed_listing_releases_nothing(world: World, shards: list[Shard]) -> None:
    """Not to have seen a job is not to know that it is absent."""
    world.strike(FaultKind.CREATE_THEN_DROP, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shards[0])
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=503)
    with pytest.raises(OutcomeUnknownError):
        world.poll(now=NOW + 2 * GRACE)
    assert world.state(shards[0]) is JobState.UNCONFIRMED


def test_an_unknown_state_is_a_problem_and_the_others_go_on(
    world: World, shards: list[Shard], answering: Callable[..., GeminiClient]
) -> None:
    """A state that this version does not know is reported by its name; nothing is guessed."""
    jobs = [world.submit(shard) for shard in shards]
    listed = [
        operation_of(jobs[0].job_name, jobs[0].display_name, "BATCH_STATE_MEDITATING"),
        operation_of(jobs[1].job_name, jobs[1].display_name, "BATCH_STATE_RUNNING"),
        operation_of(jobs[2].job_name, jobs[2].display_name, "BATCH_STATE_EXPIRED"),
    ]
    summary = poll(world, answering(listed))
    assert (summary.n_looked_at, summary.n_changed, len(summary.problems)) == (3, 2, 1)
    assert "'BATCH_STATE_MEDITATING'" in summary.problems[0]
    assert [world.state(shard) for shard in shards] == [
        JobState.PENDING,
        JobState.RUNNING,
        JobState.EXPIRED,
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_jobs_of_one_name_the_ledgers_own_counts(
    world: World, shards: list[Shard], answering: Callable[..., GeminiClient], order: int
) -> None:
    """A job that turned up after its attempt was released does not take the place of the next."""
    job = world.submit(shards[0])
    listed = [
        operation_of("batches/late-one", job.display_name, "BATCH_STATE_FAILED"),
        operation_of(job.job_name, job.display_name, "BATCH_STATE_RUNNING"),
    ][::order]
    poll(world, answering(listed))
    found = world.job(shards[0])
    assert (found.state, found.job_name) == (JobState.RUNNING, job.job_name)


@pytest.mark.parametrize(
    ("states", "adopted"),
    [
        (["RUNNING", "SUCCEEDED"], 1),  # what is answered is paid for
        (["FAILED", "RUNNING"], 1),
        (["RUNNING", "FAILED"], 0),
        (["EXPIRED", "CANCELLED"], 0),
        (["FAILED", "MEDITATING"], 1),
    ],
)
def test_of_two_jobs_for_an_unconfirmed_attempt_a_living_one_is_adopted(
    world: World,
    shards: list[Shard],
    answering: Callable[..., GeminiClient],
    states: list[str],
    adopted: int,
) -> None:
    """An answered job is adopted, else the newest that lives, else the newest of the dead."""
    job = world.index.jobs.reserve(shards[0], requests_sha256="ab" * 32, now=NOW)
    job = world.index.jobs.move(job, JobState.UNCONFIRMED, unconfirmed_at=NOW)
    listed = [
        operation_of(f"batches/{n}", job.display_name, f"BATCH_STATE_{state}")
        for n, state in enumerate(states)
    ]
    summary = poll(world, answering(listed))
    found = world.job(shards[0])
    if "MEDITATING" in states:
        assert (summary.adopted, len(summary.problems)) == ([], 1)
        assert found == job
    else:
        assert (len(summary.adopted), found.job_name) == (1, f"batches/{adopted}")
        assert found.state.value.upper() == states[adopted]


def poll(world: World, gemini: GeminiClient) -> PollSummary:
    """Look at a Gemini that answers as it was told to."""
    jobs = jobs_to_look_at(world.index, provider="emulator", now=NOW)
    return poll_jobs(world.index, gemini, jobs, limits=LIMITS, now=NOW)


def operation_of(name: str | None, display_name: str, state: str) -> dict[str, object]:
    """A batch job as Gemini lists it."""
    return {"name": name, "metadata": {"displayName": display_name, "state": state}}


@pytest.fixture
def answering(
    world: World, switchboard: Switchboard, gemini: GeminiClient
) -> Callable[..., GeminiClient]:
    """A Gemini that lists these operations, and knows a single one by its name."""

    def answered(
        operations: list[dict[str, object]] | None = None,
        *,
        single: dict[str, object] | None = None,
    ) -> GeminiClient:
        async def listing(request: Request) -> Response:
            return JSONResponse({"operations": operations} if operations else {})

        async def one(request: Request) -> Response:
            return JSONResponse(single)

        routes = [HttpRoute("/v1beta/batches", listing), HttpRoute("/v1beta/batches/{id}", one)]
        switchboard.app = Starlette(routes=routes)
        return gemini

    return answered
