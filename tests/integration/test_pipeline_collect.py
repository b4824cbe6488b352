"""Collection: every request gets its outcome, every vector lands once, nothing goes uncounted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.files import FILE_LIFETIME_S
from embedding_assets.errors import (
    LedgerError,
    OutcomeUnknownError,
    RefusedError,
    ResultFileError,
)
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.model.tokens import DEFAULT
from embedding_assets.model.vectors import unit_vector
from embedding_assets.store.shards import RequestCounts
from tests.factories import SPEC
from tests.integration.world import StandingClock, World, a_text, notes

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard of ten requests, not submitted yet."""
    [planned] = world.plan(world.build(notes(range(10))))
    return planned


def answered(world: World, shard: Shard) -> Shard:
    """Submit a shard and wait for Gemini's answer."""
    world.submit(shard)
    world.poll()
    return shard


def test_results_in_any_order_find_their_chunks(world: World, shard: Shard, rows: Rows) -> None:
    """Each text gets the vector that it gets when embedded by itself, in whatever order."""
    world.finish(answered(world, shard))
    keys = [
        line.partition(b'"key":')[2] for line in world.result_path(shard).read_bytes().splitlines()
    ]
    assert keys != sorted(keys)
    found: dict[str, bytes] = dict(
        rows("SELECT c.text, v.vector FROM chunks AS c JOIN vectors AS v USING (chunk_id)")
    )
    assert found == {a_text(n): vector_of(world, a_text(n)) for n in range(10)}


def vector_of(world: World, text: str) -> bytes:
    """The unit vector that the synchronous API has for a text."""
    answer = world.gemini.embed(
        [text], model=SPEC.model, dimensions=SPEC.dimensions, task_type=SPEC.task_type
    )
    return unit_vector(np.array(answer.vectors[0]), dimensions=SPEC.dimensions)


def test_every_kind_of_bad_line_hurts_only_its_own_chunk(
    world: World, shard: Shard, rows: Rows
) -> None:
    """Missing, refused, misshapen and unknown lines are counted and explained; the rest is in."""
    world.strike(FaultKind.MISSING_LINE, match="Note 1 ")
    world.strike(FaultKind.ERROR_LINE, match="Note 2 ", code=8, message="quota of one line")
    world.strike(FaultKind.WRONG_DIMENSION, match="Note 3 ")
    world.strike(FaultKind.NAN_VALUE, match="Note 4 ")
    world.strike(FaultKind.DUPLICATE_LINE, match="Note 5 ")
    world.strike(FaultKind.MALFORMED_LINE, match="Note 6 ")
    answered(world, shard)
    summary = world.collect(shard)
    assert (summary.n_embedded, summary.n_failed) == (5, 5)
    assert (summary.n_unknown_lines, summary.n_duplicate_lines) == (1, 1)
    counts = world.index.shards.counts(shard)
    assert counts == RequestCounts(
        n_requests=10,
        n_embedded=5,
        n_failed=5,
        n_pending=0,
        billed_tokens=counts.billed_tokens,
        uncounted_tokens=DEFAULT.estimate(a_text(1)),
    )
    assert counts.adds_up
    failed = rows(
        "SELECT text, error_code, attempts FROM chunks WHERE error_message IS NOT NULL ORDER BY 1"
    )
    assert failed == [
        (a_text(1), "MISSING_LINE", 1),
        (a_text(2), "RESOURCE_EXHAUSTED", 1),
        (a_text(3), "BAD_VECTOR", 1),
        (a_text(4), "BAD_VECTOR", 1),
        (a_text(6), "MISSING_LINE", 1),
    ]
    query = "SELECT error_message FROM chunks WHERE text = ?"
    assert rows(query, a_text(2)) == [("quota of one line",)]
    assert rows(
        "SELECT count(*) FROM requests AS r JOIN chunks AS c USING (chunk_id)"
        " WHERE r.outcome = 'failed' AND r.error_message = c.error_message"
    ) == [(5,)]


def test_a_line_for_a_request_of_another_shard_is_ignored(world: World, shard: Shard) -> None:
    """A key that is none of the shard's is counted, and nothing else comes of it."""
    answered(world, shard)
    world.results_dir.mkdir(parents=True)
    path = world.result_path(shard)
    job = world.job(shard)
    assert job.result_file_name is not None
    world.gemini.download(job.result_file_name, path)
    path.write_bytes(path.read_bytes().replace(b'"chunk_3"', b'"chunk_999"'))
    summary = world.collect(shard)
    assert (summary.n_embedded, summary.n_failed, summary.n_unknown_lines) == (9, 1, 1)


def test_collecting_twice_is_refused_and_changes_nothing(
    world: World, shard: Shard, rows: Rows
) -> None:
    """Two collectors of one job: one records, the other is told so."""
    job = world.job(answered(world, shard))
    world.collect(shard, job)
    before = rows("SELECT * FROM requests"), rows("SELECT * FROM vectors")
    with pytest.raises(LedgerError, match="2026-11-0001 were collected already"):
        world.collect(shard, job)
    with pytest.raises(LedgerError, match="'collected' to 'collected'"):
        world.collect(shard)
    assert (rows("SELECT * FROM requests"), rows("SELECT * FROM vectors")) == before


def test_a_job_that_is_not_finished_cannot_be_collected(world: World, shard: Shard) -> None:
    """Results are recorded for an answered job only."""
    answered(world, shard)
    job = replace(world.job(shard), state=JobState.RUNNING)
    with pytest.raises(LedgerError, match="'running' to 'collected'"):
        world.collect(shard, job)


def test_the_result_file_is_whole_or_not_there(world: World, shard: Shard) -> None:
    """A download that fails leaves nothing behind; the next one brings everything."""
    answered(world, shard)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.DOWNLOAD, status=503, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.collect(shard)
    assert list(world.results_dir.iterdir()) == []
    assert world.collect(shard).n_embedded == 10
    assert list(world.results_dir.iterdir()) == [world.result_path(shard)]


def test_a_result_file_on_disk_is_not_downloaded_again(world: World, shard: Shard) -> None:
    """Killed between download and record, the collection goes on from the file."""
    answered(world, shard)
    world.results_dir.mkdir(parents=True)
    job = world.job(shard)
    assert job.result_file_name is not None
    world.gemini.download(job.result_file_name, world.result_path(shard))
    assert world.collect(shard).n_embedded == 10
    assert world.emulator.bill().calls["download"] == 1


def test_results_that_are_gone_let_the_shard_be_submitted_again(
    world: World, shard: Shard, clock: StandingClock
) -> None:
    """Results that expired before they were collected fail the job; a second attempt follows."""
    answered(world, shard)
    now = clock.advance(FILE_LIFETIME_S)
    with pytest.raises(ResultFileError, match="results of shard 2026-11-0001 are gone: download"):
        world.collect(shard, now=now)
    job = world.job(shard)
    assert job.state is JobState.FAILED
    assert "are gone" in (job.error_message or "")
    assert world.submit(shard).attempt == 2
    assert world.finish(shard).n_embedded == 10


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_blocked_key_does_not_give_results_up(world: World, shard: Shard, status: int) -> None:
    """When it is us whom Gemini refuses, the job stays answered and is collected later."""
    answered(world, shard)
    for endpoint in (Endpoint.DOWNLOAD, Endpoint.LIST):
        world.strike(FaultKind.CALL_ERROR, endpoint=endpoint, status=status, message="your key")
    with pytest.raises(RefusedError, match="your key"):
        world.collect(shard)
    assert world.state(shard) is JobState.SUCCEEDED
    world.emulator.faults.clear()
    assert world.collect(shard).n_embedded == 10


def test_a_disk_that_fails_is_reported_and_loses_nothing(world: World, shard: Shard) -> None:
    """A result file that cannot be kept is one shard's clear error; collecting again is enough."""
    answered(world, shard)
    world.results_dir.touch()
    with pytest.raises(ResultFileError, match=r"cannot be kept in .*results': .*; nothing is lost"):
        world.collect(shard)
    world.results_dir.unlink()
    assert world.collect(shard).n_embedded == 10


def test_a_chunk_that_is_embedded_later_loses_its_error(
    world: World, shard: Shard, rows: Rows
) -> None:
    """A vector clears the failure: code, message and the count of attempts."""
    world.strike(FaultKind.ERROR_LINE, match="Note 2 ", code=14, times=2)
    generation = world.index.generations.building()
    assert generation is not None
    world.finish(answered(world, shard))
    [second] = world.plan(generation)
    world.finish(answered(world, second))
    query = "SELECT error_code, attempts FROM chunks WHERE text = ?"
    assert rows(query, a_text(2)) == [("UNAVAILABLE", 2)]
    assert [f.uri for f in world.index.published.failures(generation)] == ["notes/0002.md"]
    [third] = world.plan(generation)
    world.finish(answered(world, third))
    assert rows(query, a_text(2)) == [(None, 0)]
    assert rows("SELECT count(*) FROM chunks WHERE error_spec_id IS NOT NULL") == [(0,)]
    assert world.index.published.failures(generation) == []


def test_billed_tokens_are_those_of_the_bill(world: World, shard: Shard, rows: Rows) -> None:
    """Every request carries the tokens that Gemini billed for it; together they are the bill."""
    world.strike(FaultKind.ERROR_LINE, match="Note 2 ")
    summary = world.collect(answered(world, shard))
    bill = world.emulator.bill()
    generation = world.index.generations.building()
    assert generation is not None
    ours = world.index.bills.of(generation)
    assert summary.billed_tokens == bill.tokens == ours.billed_tokens
    assert ours.billed_usd == bill.tokens * shard.usd_per_million / 1_000_000
    assert (ours.n_shards, ours.n_requests) == (1, 10)
    assert ours.estimated_tokens == shard.estimated_tokens
    per_request = rows("SELECT min(billed_tokens), max(billed_tokens) FROM requests")
    assert per_request[0][0] == 0
    assert per_request[0][1] > 0


def test_what_a_superseded_generation_bought_is_kept(world: World, shard: Shard) -> None:
    """Results that come after their generation was abandoned serve the next one."""
    answered(world, shard)
    generation = world.build(notes(range(10)))
    world.collect(shard)
    assert world.index.shards.get(shard.key).state is ShardState.SETTLED
    assert world.progress(generation).n_embedded == 10
