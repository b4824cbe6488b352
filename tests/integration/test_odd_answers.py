"""Answers of a shape that nobody foresaw: held, not bought again, and on the bill."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.files import FILE_LIFETIME_S
from embedding_assets.errors import (
    AnswerHeldError,
    LedgerError,
    NoRoomError,
    ResultFileError,
    ResultsNotReadyError,
)
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.reading import Reading
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.pipeline.collect import read_anew
from embedding_assets.pipeline.decide import decide_collections
from embedding_assets.pipeline.status import read_status
from tests.factories import NOW
from tests.integration.world import StandingClock, World, a_text, notes

N = 12

# What is paid for and cannot be understood, each with a word of the reason.
ODD = [
    (FaultKind.KEY_RENAMED, {}, "12 lines have no key of this shard"),
    (FaultKind.UNKNOWN_KEY, {"is_billed": True}, "12 lines have no key of this shard"),
    (FaultKind.WRONG_DIMENSION, {"is_billed": True}, "a vector of 7 values came, 8 were asked"),
    (FaultKind.NAN_VALUE, {"is_billed": True}, "a value that is not a finite number"),
    (FaultKind.TEXT_VALUES, {}, "a value that is not a number"),
    (FaultKind.MISSING_LINE, {"is_billed": True, "probability": 0.9}, "no line for this request"),
]
# What is no answer, and says nothing about it.
NO_RESULTS = [
    (FaultKind.SIGN_IN_PAGE, "<!DOCTYPE html>"),
    (FaultKind.EMPTY_DOWNLOAD, "0 lines"),
    (FaultKind.ERROR_DOCUMENT, "error"),
]


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard of twelve requests, not submitted yet."""
    [planned] = world.plan(world.build(notes(range(N))))
    return planned


def answer(world: World, shard: Shard) -> Shard:
    """Submit a shard and wait for Gemini's answer."""
    world.submit(shard)
    world.poll()
    return shard


def held(world: World, shard: Shard) -> str:
    """The answer is collected and held; what is said of it."""
    with pytest.raises(AnswerHeldError) as said:
        world.collect_shard(shard)
    assert world.state(shard) is JobState.HELD
    return str(said.value)


def read(world: World, shard: Shard, reading: Reading) -> None:
    read_anew(world.index, world.gemini, shard, world.settings, reading=reading, now=NOW)


def spent(world: World) -> Decimal:
    """What the budget takes for spent this month."""
    return look_into_purse(
        world.index, world.settings, provider=world.gemini.provider, now=NOW
    ).month_spent_usd


@pytest.mark.parametrize(("kind", "rule", "reason"), ODD)
def test_what_is_not_understood_is_held_and_never_bought_again(
    world: World, shard: Shard, kind: FaultKind, rule: dict[str, Any], reason: str
) -> None:
    """Its file is kept, nothing like it is sent, and a person is told what it looks like."""
    world.strike(kind, **rule)
    message = held(world, answer(world, shard))
    assert reason in message
    assert a_text(3) not in message
    assert world.result_path(shard).exists()

    bill = world.emulator.bill()
    assert [held(world, shard) for _ in range(2)] == [message, message]
    with pytest.raises(LedgerError):
        world.index.jobs.reserve(shard, requests_sha256="0" * 64, now=NOW)
    [other] = world.plan(world.build(notes(range(N + 1))))
    with pytest.raises(NoRoomError, match=f"the answer to {shard.key} is held"):
        world.submit_shard(other)
    assert world.emulator.bill() == replace(bill, calls=world.emulator.bill().calls)
    assert read_status(world.index, world.settings).held_answers == (message,)


@pytest.mark.parametrize(("kind", "rule", "reason"), ODD)
def test_what_is_held_is_on_the_bill_and_in_the_budget(
    world: World, shard: Shard, kind: FaultKind, rule: dict[str, Any], reason: str
) -> None:
    """The month's limit stops the same edition that it stops with an answer that is understood."""
    world.strike(kind, **rule)
    held(world, answer(world, shard))
    bill = world.index.bills.of(world.index.generations.get(shard.generation_id))
    billed = world.emulator.bill().tokens
    assert bill.billed_tokens == pytest.approx(billed, rel=0.3)
    assert bill.uncounted_tokens == bill.billed_tokens
    assert spent(world) == bill.billed_usd


def test_an_answer_that_is_understood_later_costs_nothing_more(
    world: World, shard: Shard, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """The way to what was paid for: read again, by a version or a Gemini that makes sense."""
    world.strike(FaultKind.SIGN_IN_PAGE)
    put_off_until_held(world, answer(world, shard))
    with pytest.raises(ResultFileError, match="what was kept of it is as it was"):
        read(world, shard, Reading.AGAIN)
    assert b"Please sign in" in world.result_path(shard).read_bytes()

    world.emulator.faults.clear()
    read(world, shard, Reading.AGAIN)
    assert world.state(shard) is JobState.COLLECTED
    assert world.index.shards.counts(shard).n_embedded == N
    bill = world.index.bills.of(world.index.generations.get(shard.generation_id))
    assert (bill.billed_tokens, bill.uncounted_tokens) == (world.emulator.bill().tokens, 0)
    assert rows("SELECT unmatched_tokens, hold_reason FROM batch_jobs") == [(0, None)]
    assert read_status(world.index, world.settings).held_answers == ()


def test_what_was_kept_is_understood_when_gemini_has_it_no_more(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """The file on disk is the last copy of what was paid for: it is read, not given up."""
    world.strike(FaultKind.KEY_RENAMED)
    message = held(world, answer(world, shard))
    clock.advance(FILE_LIFETIME_S * 2)
    with pytest.raises(ResultFileError, match="what was kept of it is as it was"):
        read(world, shard, Reading.AGAIN)
    assert held(world, shard) == message

    path = world.result_path(shard)
    odd_key = min(re.findall(rb'"[a-z_]+": ?"chunk_', path.read_bytes())).partition(b":")[0]
    path.write_bytes(path.read_bytes().replace(odd_key, b'"key"'))
    read(world, shard, Reading.AGAIN)
    assert world.index.shards.counts(shard).n_embedded == N


def test_why_a_job_ended_early_is_not_forgotten_while_its_answer_is_held(
    world: World, shard: Shard
) -> None:
    """What Gemini did not get to is no evidence when the answer is read again either."""
    world.strike(FaultKind.JOB_EXPIRED, answered=0.3, message="Out of time.")
    answer(world, shard)
    with world.index.database.write() as connection:  # not every job says how many it answered
        connection.exec_driver_sql("UPDATE batch_jobs SET n_answered = NULL")
    world.results_dir.mkdir(parents=True)
    world.result_path(shard).write_text("{}\n" * 4)
    held(world, shard)

    read(world, shard, Reading.AGAIN)
    counts = world.index.shards.counts(shard)
    assert 0 < counts.n_embedded < counts.n_failed
    assert world.job(shard).error_message == "Out of time."


def put_off_until_held(world: World, shard: Shard) -> str:
    """Download after download, each when it is due."""
    now = NOW
    for _ in range(4):
        with pytest.raises(ResultsNotReadyError, match="still lies at Gemini"):
            world.collect_shard(shard, now=now)
        due = world.job(shard).collect_not_before
        assert due is not None
        assert due > now
        statuses = world.index.jobs.ledger().statuses
        early = decide_collections(
            statuses, limits=world.settings.limits, now=due - timedelta(seconds=1)
        )
        assert early.shard_keys == ()
        due_now = decide_collections(statuses, limits=world.settings.limits, now=due)
        assert due_now.shard_keys == (shard.key,)
        assert not world.result_path(shard).exists()
        now = due
    return held(world, shard)


@pytest.mark.parametrize(("kind", "reason"), NO_RESULTS)
def test_what_is_no_result_file_is_downloaded_again_and_again(
    world: World, shard: Shard, kind: FaultKind, reason: str
) -> None:
    """With growing pauses: the answer is not gone because a proxy, or nobody, speaks for Gemini."""
    world.strike(kind)
    assert reason in put_off_until_held(world, answer(world, shard))
    assert world.emulator.bill().jobs_created == 1


def test_a_part_of_the_answer_is_not_taken_for_all_of_it(world: World, shard: Shard) -> None:
    """Cut short the same way each time it is held, not bought again; and read anew once whole."""
    answer(world, shard)
    path = world.emulator.download_path(str(world.job(shard).result_file_name)[len("files/") :])
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[: N // 2]))
    assert "Gemini counts 12 as answered" in held(world, shard)
    assert world.missing(world.index.generations.get(shard.generation_id)) == []

    path.write_bytes(whole)
    read(world, shard, Reading.AGAIN)
    assert world.index.shards.counts(shard).n_embedded == N


@pytest.mark.parametrize(("kind", "reason"), NO_RESULTS)
def test_the_answer_is_taken_as_soon_as_it_comes(
    world: World, shard: Shard, kind: FaultKind, reason: str
) -> None:
    """Once something else came in its place; then it is collected like any other."""
    world.strike(kind, times=1)
    with pytest.raises(ResultsNotReadyError, match=reason):
        world.collect_shard(answer(world, shard))
    assert world.collect(shard).n_embedded == N


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.KEY_IN_METADATA,
        FaultKind.USAGE_METADATA,
        FaultKind.EMBEDDINGS_LIST,
        FaultKind.INLINED_RESULTS,
    ],
)
def test_shapes_that_are_understood(world: World, shard: Shard, kind: FaultKind) -> None:
    """Keys, vectors and tokens are found where they were seen; the bill is Gemini's."""
    world.strike(kind)
    assert world.collect(answer(world, shard)).n_embedded == N
    bill = world.index.bills.of(world.index.generations.get(shard.generation_id))
    assert (bill.billed_tokens, bill.uncounted_tokens) == (world.emulator.bill().tokens, 0)


def test_results_that_lay_in_the_operation_have_gone_into_a_file(
    world: World, shard: Shard
) -> None:
    """What a look at the jobs has said need not be so when it is fetched."""
    world.submit(shard)
    world.strike(FaultKind.INLINED_RESULTS, times=1)
    world.poll()
    assert world.job(shard).result_file_name == world.job(shard).job_name
    assert world.collect(shard).n_embedded == N


def test_without_a_count_the_estimate_is_billed(world: World, shard: Shard) -> None:
    """Marked as such: no budget is blind, and no estimate learns from itself."""
    world.strike(FaultKind.UNCOUNTED)
    assert world.collect(answer(world, shard)).n_embedded == N
    bill = world.index.bills.of(world.index.generations.get(shard.generation_id))
    assert bill.billed_tokens == pytest.approx(world.emulator.bill().tokens, rel=0.3)
    assert bill.uncounted_tokens == bill.billed_tokens
    assert spent(world) == bill.billed_usd > 0
    assert world.index.shards.billed_sample(shard.spec, limit=10) == []


def test_an_error_under_the_name_of_status(world: World, shard: Shard) -> None:
    """It keeps its code and its message, and is nobody's misunderstanding."""
    world.strike(FaultKind.STATUS_LINE, code=3, message="too long for the model")
    summary = world.collect(answer(world, shard))
    assert (summary.n_failed, summary.billed_tokens) == (N, 0)
    [first, *_] = world.index.shards.failed_requests(shard, limit=2)
    assert (first.error_code, first.error_message) == (
        "INVALID_ARGUMENT",
        "too long for the model",
    )


def test_taken_as_it_is(world: World, shard: Shard) -> None:
    """What is usable is embedded, the rest fails and is planned again; all of it stays billed."""
    world.strike(FaultKind.WRONG_DIMENSION, is_billed=True, probability=0.8)
    message = held(world, answer(world, shard))
    assert "--as-is" in message
    read(world, shard, Reading.AS_IS)
    counts = world.index.shards.counts(shard)
    assert (counts.n_pending, counts.n_embedded + counts.n_failed) == (0, N)
    assert counts.n_embedded > 0
    generation = world.index.generations.get(shard.generation_id)
    assert world.index.bills.of(generation).billed_tokens >= world.emulator.bill().tokens

    world.emulator.faults.clear()
    [rest] = world.plan(generation)
    assert rest.n_requests == counts.n_failed
    world.submit(rest)
    assert world.finish(rest).n_embedded == rest.n_requests


def billed(world: World, shard: Shard) -> int:
    """Tokens on the bill of the shard's generation."""
    return world.index.bills.of(world.index.generations.get(shard.generation_id)).billed_tokens


def test_what_is_taken_as_it_is_before_it_is_held_is_billed(world: World, shard: Shard) -> None:
    """A person may be quicker than the run that would hold it: it is paid for all the same."""
    world.embed(shard)
    path = world.result_path(shard)
    path.write_bytes(path.read_bytes().replace(b'"key"', b'"id"'))
    read(world, shard, Reading.AS_IS)
    assert world.index.shards.counts(shard).n_failed == N
    assert billed(world, shard) == world.emulator.bill().tokens


def test_what_is_understood_in_part_later_stays_billed_as_a_whole(
    world: World, shard: Shard
) -> None:
    """Taken as it was, then read by a version that understands more of it: nothing becomes free."""
    world.embed(shard)
    path = world.result_path(shard)
    lines = path.read_bytes().splitlines(keepends=True)
    odd = [line.replace(b'"key"', b'"id"') for line in lines]
    path.write_bytes(b"".join(odd))
    held(world, shard)
    read(world, shard, Reading.AS_IS)
    assert billed(world, shard) == world.emulator.bill().tokens

    path.write_bytes(b"".join(lines[:8] + odd[8:]))
    read(world, shard, Reading.AGAIN)
    assert world.index.shards.counts(shard).n_embedded == 8
    assert billed(world, shard) == world.emulator.bill().tokens


def test_what_is_held_and_gone_stays_billed_as_it_was(world: World, shard: Shard) -> None:
    """Gemini said what the answer cost, and what it says is better than an estimate."""
    world.embed(shard)
    path = world.result_path(shard)
    path.write_bytes(path.read_bytes().replace(b'"key"', b'"id"'))
    held(world, shard)
    path.unlink()
    with pytest.raises(ResultFileError, match="are gone"):
        read(world, shard, Reading.AS_IS)
    assert world.state(shard) is JobState.FAILED
    assert billed(world, shard) == world.emulator.bill().tokens != shard.estimated_tokens


def test_synchronous_answers_that_are_gone_stay_on_the_bill(world: World, shard: Shard) -> None:
    """Their only file was ours; whoever deletes it has paid for it."""
    world.embed(shard)
    world.result_path(shard).unlink()
    with pytest.raises(ResultFileError, match="are gone"):
        world.collect_shard(shard)
    assert billed(world, shard) == shard.estimated_tokens


def test_results_that_are_gone_stay_on_the_bill(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """What was answered, and nobody can have any more, was paid for."""
    answer(world, shard)
    now = clock.advance(FILE_LIFETIME_S * 2)
    with pytest.raises(ResultFileError, match="are gone"):
        world.collect_shard(shard, now=now)
    assert world.state(shard) is JobState.FAILED
    bill = world.index.bills.of(world.index.generations.get(shard.generation_id))
    assert bill.billed_tokens == bill.uncounted_tokens == shard.estimated_tokens
    assert world.index.shards.abandon_given_up([shard.key]) == 1
    assert (
        world.index.bills.of(world.index.generations.get(shard.generation_id)).billed_tokens
        == shard.estimated_tokens
    )


def test_results_that_are_gone_twice_are_not_bought_a_third_time(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """Once may be an accident; a person looks at the second time."""
    answer(world, shard)
    with pytest.raises(ResultFileError, match="are gone"):
        world.collect_shard(shard, now=clock.advance(FILE_LIFETIME_S * 2))
    answer(world, shard)
    with pytest.raises(AnswerHeldError, match="for the second time"):
        world.collect_shard(shard, now=clock.advance(FILE_LIFETIME_S * 2))
    assert world.state(shard) is JobState.HELD
    bill = world.index.bills.of(world.index.generations.get(shard.generation_id))
    assert bill.billed_tokens == 2 * shard.estimated_tokens


def test_a_few_bad_texts_are_their_own_fault(world: World) -> None:
    """Texts of which nothing usable ever comes hold nobody up: they fail as often as they may."""
    world.strike(FaultKind.WRONG_DIMENSION, match="Note 1 ", is_billed=True)
    world.strike(FaultKind.MISSING_LINE, match="Note 2 ", is_billed=True)
    generation = world.build(notes(range(N)))
    for n_failed in (2, 2, 2):
        [shard] = world.plan(generation)
        world.submit(shard)
        assert world.finish(shard).n_failed == n_failed
    assert world.plan(generation) == []
    assert world.progress(generation).n_embedded == N - 2


def test_a_collected_shard_is_read_again(world: World, shard: Shard) -> None:
    """What an earlier version took for failures gets its vectors, while Gemini has the file."""
    answer(world, shard)
    world.results_dir.mkdir(parents=True)
    job = world.job(shard)
    assert job.result_file_name is not None
    path = world.result_path(shard)
    world.gemini.download(job.result_file_name, path)
    path.write_bytes(path.read_bytes().replace(b'"chunk_3"', b'"chunk_999"'))
    assert world.collect(shard).n_failed == 1
    assert world.index.shards.get(shard.key).state is ShardState.SETTLED

    read(world, shard, Reading.AGAIN)
    assert world.index.shards.counts(shard).n_embedded == N
    assert world.emulator.bill().requests == N
    generation = world.index.generations.get(shard.generation_id)
    assert world.index.bills.of(generation).billed_tokens == world.emulator.bill().tokens


def test_there_is_nothing_to_read_again(world: World, shard: Shard) -> None:
    """A shard that was not sent, or has no answer yet, is told so."""
    with pytest.raises(LedgerError, match="was not submitted yet"):
        read(world, shard, Reading.AGAIN)
    world.submit(shard)
    with pytest.raises(LedgerError, match="its job is pending"):
        read(world, shard, Reading.AGAIN)
