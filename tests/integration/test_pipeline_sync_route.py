"""The synchronous route: the same results as a batch job's, each text paid for once."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import orjson
import pytest

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import (
    AnswerHeldError,
    LedgerError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
    ResultFileError,
)
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import Route, Shard
from embedding_assets.pipeline.sync_route import Pacer
from embedding_assets.settings.values import RouteChoice
from tests.factories import SPEC
from tests.integration.world import FakeTime, World, a_book, a_pacer, a_text

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def world(world: World) -> World:
    """The same world, with the synchronous route for any number of requests."""
    return world.changed(route=RouteChoice.SYNC)


def planned(world: World, n: int) -> Shard:
    """A shard of so many requests."""
    [shard] = world.plan(world.build([a_book(n)], max_chars=100))
    assert (shard.route, shard.n_requests) == (Route.SYNC, n)
    return shard


def partial_lines(world: World, shard: Shard) -> list[dict[str, Any]]:
    """The answers written so far."""
    path = world.partial_path(shard)
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(("n", "n_calls"), [(99, 1), (100, 1), (101, 2), (250, 3)])
def test_texts_go_a_hundred_a_call(world: World, n: int, n_calls: int) -> None:
    """As many calls as needed and no more, and everything ends up in the index."""
    shard = planned(world, n)
    job = world.embed(shard)
    assert (job.state, job.job_name) == (JobState.SUCCEEDED, None)
    assert world.collect(shard).n_embedded == n
    bill = world.emulator.bill()
    assert (bill.calls, bill.sync_requests, bill.bought_twice) == ({"embed": n_calls}, n, ())


def test_tokens_add_up_to_what_was_billed(world: World) -> None:
    """Each text carries a share of its call's tokens, and the shares lose nothing."""
    shard = planned(world, 250)
    world.embed(shard)
    summary = world.collect(shard)
    assert summary.billed_tokens == world.emulator.bill().tokens
    assert world.index.shards.counts(shard).billed_tokens == summary.billed_tokens


def test_both_routes_give_the_same_vectors(world: World, rows: Rows) -> None:
    """A text's vector does not depend on the door that it went through."""
    shard = planned(world, 20)
    world.embed(shard)
    world.collect(shard)
    by_sync = rows("SELECT text, vector FROM vectors JOIN chunks USING (chunk_id) ORDER BY 1")
    spec = shard.spec
    batch = world.changed(route=RouteChoice.BATCH)
    batch.embed_all([a_book(20)], max_chars=100, spec=replace(spec, task_type=""))
    by_batch = rows(
        "SELECT text, vector FROM vectors JOIN chunks USING (chunk_id) WHERE spec_id = 2 ORDER BY 1"
    )
    assert by_batch == by_sync


def test_a_text_that_gemini_refuses_becomes_an_error_line(world: World, rows: Rows) -> None:
    """One text that Gemini refuses among a hundred hurts only itself."""
    world.strike(
        FaultKind.CALL_ERROR,
        endpoint=Endpoint.EMBED,
        status=400,
        match="Note 42 ",
        message="contains an empty Part",
    )
    shard = planned(world, 100)
    world.embed(shard)
    summary = world.collect(shard)
    assert (summary.n_embedded, summary.n_failed) == (99, 1)
    assert rows("SELECT text, error_code FROM chunks WHERE error_message IS NOT NULL") == [
        (a_text(42), "INVALID_ARGUMENT")
    ]
    assert "contains an empty Part" in rows("SELECT max(error_message) FROM requests")[0][0]
    bill = world.emulator.bill()
    assert (bill.sync_requests, bill.bought_twice) == (100, ())  # 99 and one word to make sure


def test_several_refused_texts_hurt_only_themselves(world: World) -> None:
    """However they lie in a call, the texts between them are embedded and paid for once."""
    for number in (0, 1, 6, 9):
        world.strike(
            FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=400, match=f"Note {number} "
        )
    shard = planned(world, 10)
    world.embed(shard)
    summary = world.collect(shard)
    assert (summary.n_embedded, summary.n_failed) == (6, 4)
    bought_twice = [text.sha256 for text in world.emulator.bill().bought_twice]
    assert bought_twice == [sha256(b"ok").hexdigest()]  # the word that tells a bad text from a key


def test_a_bad_key_marks_nothing_as_failed(
    world: World, base_url: str, connect: Callable[..., GeminiClient], rows: Rows
) -> None:
    """When Gemini refuses us and not a text, the shard is refused and every request waits."""
    shard = planned(world, 10)
    with pytest.raises(RefusedError, match="API key not valid"):
        replace(world, gemini=connect(base_url, api_key="invalid")).embed(shard)
    assert rows("SELECT DISTINCT outcome FROM requests") == [("pending",)]
    assert partial_lines(world, shard) == []
    job = world.job(shard)
    assert job.state is JobState.REFUSED
    assert "API key not valid" in (job.error_message or "")
    assert world.embed(shard).attempt == 2
    assert world.collect(shard).n_embedded == 10


def test_killed_midway_it_goes_on_without_paying_again(world: World) -> None:
    """Answers on disk are kept, a last line cut short is asked for again, and nothing else."""
    shard = planned(world, 250)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=503, match="Note 200 ")
    with pytest.raises(OutcomeUnknownError):
        world.embed(shard)
    assert world.state(shard) is JobState.RESERVED
    path = world.partial_path(shard)
    assert path.read_bytes().count(b"\n") == 200
    path.write_bytes(path.read_bytes()[:-20])
    world.emulator.faults.clear()
    world.embed(shard)
    assert world.collect(shard).n_embedded == 250
    bill = world.emulator.bill()
    assert bill.sync_requests == 251  # the one whose line was cut short
    assert [text.times for text in bill.bought_twice] == [2]


def test_what_is_not_an_answer_is_cut_off(world: World) -> None:
    """Bytes that a power failure left at the end are no obstacle."""
    shard = planned(world, 10)
    world.embed(shard)
    done = world.result_path(shard)
    lines = done.read_bytes().splitlines(keepends=True)
    _answer_was_lost(world, shard)
    partial = world.partial_path(shard)
    partial.write_bytes(b"".join(lines[:4]) + b"\0\0\0\n" + b"".join(lines[4:]))
    world.embed(shard)
    assert world.collect(shard).n_embedded == 10
    assert len(world.emulator.bill().bought_twice) == 6


def _answer_was_lost(world: World, shard: Shard) -> None:
    """The result file is removed, which fails its attempt."""
    world.result_path(shard).unlink()
    with pytest.raises(ResultFileError, match="does not exist and Gemini has no copy; submit it"):
        world.collect(shard)
    assert world.state(shard) is JobState.FAILED


def test_killed_before_the_record_it_pays_nothing_again(world: World) -> None:
    """A finished result file that the ledger does not know of is found and used."""
    shard = planned(world, 10)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=503, match="Note 9 ")
    with pytest.raises(OutcomeUnknownError):
        world.embed(shard)  # reserves
    partial = world.partial_path(shard)
    world.emulator.faults.clear()
    answers = world.gemini.embed(
        [a_text(n) for n in range(10)], model=SPEC.model, dimensions=8, task_type=None
    )
    lines = [
        {"key": f"chunk_{n}", "response": {"tokenCount": "1", "embedding": {"values": vector}}}
        for n, vector in enumerate(answers.vectors, start=1)
    ]
    partial.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    partial.replace(world.result_path(shard))
    world.embed(shard)
    assert world.collect(shard).n_embedded == 10
    assert world.emulator.bill().sync_requests == 10


def test_a_finished_shard_is_not_embedded_again(world: World) -> None:
    """The second of two workers is told that the shard is answered; nothing is sent."""
    shard = planned(world, 10)
    world.embed(shard)
    with pytest.raises(LedgerError, match="in state 'succeeded'; it needs no other"):
        world.embed(shard)
    assert world.emulator.bill().sync_requests == 10


def test_too_many_requests_keep_what_was_answered(world: World) -> None:
    """A 429 is no refusal of a text: the shard waits, its answers are kept."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=429, match="Note 100 ")
    shard = planned(world, 150)
    with pytest.raises(RateLimitedError):
        world.embed(shard)
    assert world.state(shard) is JobState.RESERVED
    assert len(partial_lines(world, shard)) == 100
    world.emulator.faults.clear()
    world.embed(shard)
    assert world.collect(shard).n_embedded == 150
    assert world.emulator.bill().bought_twice == ()


def test_a_disk_that_fails_is_one_shards_error(world: World) -> None:
    """Nothing is sent when there is nowhere to keep the answers."""
    shard = planned(world, 3)
    world.results_dir.touch()
    with pytest.raises(ResultFileError, match="results of shard 2026-11-0001 cannot be kept"):
        world.embed(shard)
    assert world.emulator.bill().calls == {}


def test_the_pace_is_kept() -> None:
    """No more than 1,500 texts go out in any minute, counting every text of every call."""
    time = FakeTime()
    pacer = Pacer(texts_per_minute=1500, clock=time.clock, sleep=time.sleep)
    sent: list[float] = []
    for _ in range(40):
        pacer.wait_for(100)
        sent.append(time.now)
    assert max(sum(t <= moment < t + 60 for moment in sent) for t in sent) == 15
    assert sent[-1] == pytest.approx(40 * 4 / 0.97)


def test_time_that_passes_by_itself_is_not_waited_for() -> None:
    """A caller slower than the pace sleeps once, before its first call."""
    time = FakeTime()
    pacer = a_pacer(time)
    pacer.wait_for(100)
    begin = time.now
    for _ in range(3):
        time.now += 4.5
        pacer.wait_for(100)
    assert time.now == begin + 3 * 4.5


def test_calls_that_look_for_a_refused_text_are_paced_too(world: World) -> None:
    """Every text sent counts, also those that are sent again without the refused one."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=400, match="Note 0 ")
    shard = planned(world, 4)
    time = FakeTime()
    world.embed(shard, pacer=Pacer(texts_per_minute=60, clock=time.clock, sleep=time.sleep))
    assert time.now == pytest.approx((4 + 2 + 1 + 1 + 1 + 2) / 0.97)  # one of them to make sure


def test_too_few_vectors_are_billed_and_not_asked_for_again(world: World) -> None:
    """Nobody can say whose they are: the first call ends the shard, which is held."""
    shard = planned(world, 250)
    world.strike(FaultKind.TOO_FEW_VECTORS)
    world.embed(shard)
    with pytest.raises(AnswerHeldError, match="100 texts were sent, 1 vectors came back"):
        world.collect_shard(shard)
    bill = world.emulator.bill()
    assert (bill.calls["embed"], bill.sync_requests) == (1, 100)
    generation = world.index.generations.get(shard.generation_id)
    assert world.index.bills.of(generation).billed_tokens >= bill.tokens


def test_an_answer_that_cannot_be_read_is_billed_and_not_asked_for_again(world: World) -> None:
    """It came after the texts were embedded, for all that is known: the shard is held."""
    shard = planned(world, 250)
    world.strike(FaultKind.UNREADABLE_ANSWER)
    world.embed(shard)
    with pytest.raises(
        AnswerHeldError, match="100 texts were sent, and what came back is no answe"
    ):
        world.collect_shard(shard)
    assert world.emulator.bill().calls["embed"] == 1
    generation = world.index.generations.get(shard.generation_id)
    assert world.index.bills.of(generation).billed_tokens >= world.emulator.bill().tokens


def test_one_short_call_of_many_spoils_only_its_own_texts(world: World) -> None:
    """They fail with their tokens on the bill, and the others go on."""
    shard = planned(world, 450)
    world.strike(FaultKind.TOO_FEW_VECTORS, match=a_text(130))
    world.embed(shard)
    summary = world.collect(shard)
    assert (summary.n_embedded, summary.n_failed) == (350, 100)
    bill = world.emulator.bill()
    assert (bill.sync_requests, bill.bought_twice) == (450, ())
    assert summary.billed_tokens == bill.tokens


def test_a_call_without_a_count_is_billed_by_estimate(world: World) -> None:
    """Marked as such."""
    shard = planned(world, 20)
    world.strike(FaultKind.UNCOUNTED_ANSWER)
    world.embed(shard)
    assert world.collect(shard).n_embedded == 20
    counts = world.index.shards.counts(shard)
    assert counts.uncounted_tokens == counts.billed_tokens
    assert counts.billed_tokens == pytest.approx(world.emulator.bill().tokens, rel=0.3)
