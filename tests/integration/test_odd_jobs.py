"""Jobs of which Gemini says odd things: nothing is lost, paid for twice, or waited for in vain."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import OutcomeUnknownError, ResultFileError
from embedding_assets.model.batch_jobs import JobState, is_given_up
from embedding_assets.model.shards import Shard
from tests.factories import NOW
from tests.integration.world import GRACE, OUTPUT_GRACE, Switchboard, World, notes

N = 5

Change = Callable[[dict[str, Any]], None]


class Rewriting:
    """An application whose lists of jobs say something else of each of them."""

    def __init__(self, app: ASGIApp, change: Change) -> None:
        self._app = app
        self._change = change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].endswith("/batches"):
            await self._app(scope, receive, send)
            return
        start: list[Message] = []

        async def rewrite(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            page = json.loads(message["body"])
            for operation in page.get("operations", []):
                self._change(operation)
            body = json.dumps(page).encode()
            length = (b"content-length", str(len(body)).encode())
            await send({**start[0], "headers": [(b"content-type", b"application/json"), length]})
            await send({**message, "body": body})

        await self._app(scope, receive, rewrite)


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard that is not submitted yet."""
    [planned] = world.plan(world.build(notes(range(N))))
    return planned


def say(switchboard: Switchboard, change: Change) -> None:
    """From now on Gemini lists jobs like that."""
    switchboard.app = Rewriting(switchboard.app, change)


def nothing_but_done(operation: dict[str, Any]) -> None:
    """Done, and not a word on how."""
    del operation["metadata"]["state"], operation["response"]


def without_output(operation: dict[str, Any]) -> None:
    del operation["response"], operation["metadata"]["output"]


def test_a_job_that_is_done_and_says_no_more_has_succeeded(
    world: World, shard: Shard, switchboard: Switchboard
) -> None:
    """It is not under way for ever: its results are where those of all jobs are."""
    say(switchboard, nothing_but_done)
    world.submit(shard)
    world.finish(shard)
    assert world.index.shards.counts(shard).n_embedded == N


@pytest.mark.parametrize("year", [1970, 9999])
def test_a_job_that_ended_when_it_cannot_have(
    world: World, shard: Shard, switchboard: Switchboard, year: int
) -> None:
    """Its results are waited for from when it was seen: not for ever, and not given up at once."""

    def end(operation: dict[str, Any]) -> None:
        without_output(operation)
        operation["metadata"]["endTime"] = f"{year}-12-31T23:59:59Z"

    say(switchboard, end)
    world.submit(shard)
    world.poll()
    assert world.state(shard) is JobState.RUNNING
    seen_at = NOW + OUTPUT_GRACE
    world.poll(now=seen_at)
    assert world.job(shard).ended_at == seen_at
    assert world.state(shard) is JobState.SUCCEEDED

    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.DOWNLOAD, status=404)
    with pytest.raises(ResultFileError, match="are gone"):
        world.collect(shard, now=seen_at + OUTPUT_GRACE)


def test_a_clock_that_is_days_slow_makes_no_job_overdue(
    world: World, shard: Shard, switchboard: Switchboard
) -> None:
    """A job whose creation was not answered is found, and not cancelled for its age."""

    def be_slow(operation: dict[str, Any]) -> None:
        for name in ("createTime", "updateTime", "endTime"):
            if name in operation["metadata"]:
                then = datetime.fromisoformat(operation["metadata"][name])
                operation["metadata"][name] = (then - timedelta(days=2)).isoformat()

    say(switchboard, be_slow)
    world.strike(FaultKind.JOB_STUCK)
    world.strike(FaultKind.CREATE_THEN_DROP)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shard)
    assert world.poll().n_overdue == 0
    assert world.job(shard).submitted_at == NOW


def test_a_conflict_on_creation_is_no_refusal(world: World, shard: Shard) -> None:
    """409 may be said because the job is there: it is looked for, and made if it is not."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=409, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shard)
    assert world.state(shard) is JobState.UNCONFIRMED
    assert world.poll(now=NOW + GRACE).n_released == 1
    world.submit(shard, now=NOW + GRACE)
    world.finish(shard)
    assert world.index.shards.counts(shard).n_embedded == N


def test_jobs_that_can_never_be_found_are_made_so_often_and_no_more(
    world: World, shard: Shard, switchboard: Switchboard
) -> None:
    """No creation is answered and no listed job is known: each may be paid for, and is billed."""

    def be_nameless(operation: dict[str, Any]) -> None:
        del operation["metadata"]["displayName"]

    say(switchboard, be_nameless)
    world.strike(FaultKind.CREATE_THEN_DROP)
    now = NOW.astimezone(UTC)
    created_after = []
    while now < NOW + timedelta(days=1):
        if shard.key in world.chosen():
            with pytest.raises(OutcomeUnknownError):
                world.submit(shard, now=now)
            created_after.append((now - NOW) / GRACE)
        now += GRACE
        world.poll(now=now)
    assert created_after == [0, 1, 2, 3, 4, 5]
    bill = world.index.bills.of(world.index.generations.get(shard.generation_id))
    assert bill.billed_tokens == 3 * shard.estimated_tokens
    [given_up] = world.index.jobs.ledger().statuses
    assert is_given_up(given_up, max_job_attempts=world.settings.limits.max_job_attempts)
