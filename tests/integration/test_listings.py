"""Gemini's list of jobs in odd shapes: no job is cancelled, lost or bought again for it."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as HttpRoute

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import NotLookedError, OutcomeUnknownError, RateLimitedError
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import Shard
from tests.factories import NOW
from tests.integration.world import GRACE, Switchboard, World, notes

ODD_LISTS = (
    FaultKind.LIST_OVERLAP,
    FaultKind.LIST_DOUBLED,
    FaultKind.LIST_REPEATS,
    FaultKind.LIST_NULL,
    FaultKind.LIST_FOREIGN,
)
# What is listed cannot be all: nothing is known to be absent.
CUT_SHORT = (FaultKind.LIST_REPEATS, FaultKind.LIST_NULL)


@pytest.fixture
def shards(world: World) -> list[Shard]:
    """Three shards of two requests each."""
    return world.changed(max_requests_per_job=2).plan(world.build(notes(range(6))))


def n_lists(world: World) -> int:
    return world.emulator.bill().calls["list"]


@pytest.mark.parametrize("kind", ODD_LISTS)
def test_a_reindex_under_an_odd_list(world: World, shards: list[Shard], kind: FaultKind) -> None:
    """Everything is submitted, followed and collected, and bought once; nothing is cancelled."""
    world.strike(kind)
    for shard in shards:
        world.submit(shard)
    n_before = n_lists(world)
    summary = world.poll()
    assert summary.n_duplicates == 0
    assert n_lists(world) - n_before <= 3
    assert len(summary.problems) == (kind in CUT_SHORT)
    for shard in shards:
        world.collect(shard)
    bill = world.emulator.bill()
    assert (bill.jobs_created, bill.requests, bill.bought_twice) == (3, 6, ())
    assert bill.calls.get("cancel") is None
    assert world.index.identity.doubt is None


@pytest.mark.parametrize("kind", ODD_LISTS)
def test_an_attempt_is_only_released_if_its_job_is_absent(
    world: World, shards: list[Shard], kind: FaultKind
) -> None:
    """A list that is cut short says nothing of what it does not have."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=503, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shards[0])
    world.submit(shards[1])
    world.strike(kind)
    summary = world.poll(now=NOW + GRACE)
    assert summary.n_released == (kind not in CUT_SHORT)
    expected = JobState.UNCONFIRMED if kind in CUT_SHORT else JobState.RESERVED
    assert world.state(shards[0]) is expected


def test_a_released_attempt_is_not_sent_again_under_a_list_that_is_cut_short(
    world: World, shards: list[Shard]
) -> None:
    """Its job may be there; a shard that was never sent is sent."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=429, times=1)
    with pytest.raises(RateLimitedError):
        world.submit(shards[0])
    world.strike(FaultKind.LIST_NULL)
    with pytest.raises(NotLookedError, match="it may have a job at Gemini: Gemini's list of"):
        world.submit(shards[0], now=NOW + GRACE)
    assert world.submit(shards[1], now=NOW + GRACE).state is JobState.PENDING


@pytest.mark.parametrize("status", [429, 503])
def test_nothing_is_created_without_a_look(world: World, shards: list[Shard], status: int) -> None:
    """A list that cannot be had now lets the shard wait; it teaches nothing about tokens."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=status, message="not now")
    with pytest.raises(NotLookedError, match="not now"):
        world.submit(shards[0])
    assert (world.state(shards[0]), world.emulator.bill().jobs_created) == (JobState.RESERVED, 0)
    assert world.index.jobs.ledger().throttles == {}


def test_one_look_serves_a_run(world: World, shards: list[Shard]) -> None:
    """Shards submitted one after the other share it, until a create call goes wrong."""
    world.emulator.settings = EmulatorSettings(latency_s=100)
    lookout = world.lookout()
    world.submit(shards[0], lookout=lookout)
    world.submit(shards[1], lookout=lookout)
    assert n_lists(world) == 1
    world.strike(FaultKind.CREATE_THEN_DROP, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shards[2], lookout=lookout)
    assert n_lists(world) == 1
    lookout.answer_to(shards[2], "00" * 32)
    assert n_lists(world) == 2


def test_one_of_ours_that_cannot_be_read_is_a_problem_and_the_others_go_on(
    world: World, switchboard: Switchboard, shards: list[Shard]
) -> None:
    """Without a name of its own a job of ours is said; its neighbours are followed."""
    first, second = (world.submit(shard) for shard in shards[:2])

    async def listing(request: Request) -> Response:
        broken = {"metadata": {"displayName": first.display_name, "state": "BATCH_STATE_RUNNING"}}
        whole = {
            "name": second.job_name,
            "metadata": {"displayName": second.display_name, "state": "BATCH_STATE_RUNNING"},
        }
        return JSONResponse({"operations": [broken, whole]})

    async def one(request: Request) -> Response:
        return JSONResponse({"metadata": {"state": "BATCH_STATE_RUNNING"}})

    switchboard.app = Starlette(
        routes=[HttpRoute("/v1beta/batches", listing), HttpRoute("/v1beta/batches/{id}", one)]
    )
    summary = world.poll()
    [problem] = summary.problems
    assert f"{first.display_name!r} without a name of its own" in problem
    assert [world.state(shard) for shard in shards[:2]] == [JobState.RUNNING] * 2
