"""A text for which Gemini refuses a whole job is found by halving; all others are embedded."""

import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import running
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import RefusedError
from embedding_assets.gaps import Gap
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import ShardState
from embedding_assets.pipeline.isolate import isolate_texts
from embedding_assets.pipeline.status import Status
from embedding_assets.settings.values import Publishing
from embedding_assets.store.index import open_index
from tests.factories import NOW, write_corpus
from tests.integration.dagster_support import Pipeline, a_pipeline, digest
from tests.integration.worker import Work
from tests.integration.world import World, a_text, notes

FAILS = {"is_refused": False}
REFUSED = {"is_refused": True}
N_TEXTS = 60


def text_of(number: int, poisoned: set[int]) -> str:
    """A text unlike any other; a poisoned one says so."""
    return f"{a_text(number)} {'Poison.' if number in poisoned else 'Food.'}"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A shard takes all texts, and a month needs only half of them."""
    publishing = {"min_coverage": 0.5}
    limits = {"max_requests_per_job": N_TEXTS}
    with a_pipeline(tmp_path, monkeypatch, limits=limits, publishing=publishing) as opened:
        yield opened


def reindex(pipeline: Pipeline, n_texts: int, poisoned: set[int], **how: Any) -> Status:
    """A whole reindex of so many texts, some of them poisoned."""
    texts = {f"{number:02d}.txt": text_of(number, poisoned) for number in range(n_texts)}
    write_corpus(pipeline.docs, texts)
    pipeline.fault(FaultKind.POISON_TEXT, match="Poison.", message="It is not food.", **how)
    return pipeline.reindex()


@pytest.mark.parametrize("how", [FAILS, REFUSED], ids=["fails", "refused"])
@pytest.mark.parametrize("poisoned", [{17}, {0, 59}, set(range(3, 60, 7))], ids=len)
def test_all_other_texts_are_embedded_and_the_month_is_published(
    pipeline: Pipeline, poisoned: set[int], how: dict[str, bool]
) -> None:
    """Of sixty texts those that are poisoned have failed, with Gemini's words; the rest is bought
    once, and the bill is the emulator's."""
    status = reindex(pipeline, N_TEXTS, poisoned, **how)

    assert status.building is None
    assert status.published is not None
    n_good = N_TEXTS - len(poisoned)
    progress = status.published.progress
    assert (progress.n_embedded, progress.n_failed) == (n_good, len(poisoned))
    failures = pipeline.failures()
    assert {failure.uri.rpartition("/")[2] for failure in failures} == {
        f"{number:02d}.txt" for number in poisoned
    }
    assert {failure.error_code for failure in failures} == {"INVALID_ARGUMENT"}
    assert all("It is not food." in failure.error_message for failure in failures)
    assert {failure.attempts for failure in failures} == {1}
    good = {digest(text_of(n, poisoned)) for n in range(N_TEXTS) if n not in poisoned}
    assert pipeline.bought() == good
    bill = pipeline.emulator.state.bill()
    assert (bill.bought_twice, status.published.bill.billed_tokens) == ((), bill.tokens)
    assert set(pipeline.partitions("batch_jobs").values()) == {"materialized"}
    assert set(pipeline.partitions("embeddings").values()) == {"materialized"}


def test_a_text_that_is_alone_has_failed(pipeline: Pipeline) -> None:
    """A text that is refused alone, and alone once more, has failed for good."""
    pipeline = pipeline.with_settings(publishing=Publishing(min_coverage=0))
    status = reindex(pipeline, 1, {0}, is_refused=True)

    assert (status.n_open_shards, status.n_given_up_shards) == (0, 0)
    [failure] = pipeline.failures()
    assert (failure.error_code, failure.attempts) == ("INVALID_ARGUMENT", 1)
    bill = pipeline.emulator.state.bill()
    assert (bill.calls["create"], bill.jobs_created) == (2, 0)


def test_a_text_that_is_refused_once_is_embedded(pipeline: Pipeline) -> None:
    """One refusal of a shard of one text may be about anything: it is tried once more."""
    status = reindex(pipeline, 1, {0}, is_refused=True, times=1)

    assert status.published is not None
    assert status.published.progress.n_embedded == 1
    assert pipeline.bill() == (1, 1)


@pytest.mark.parametrize("how", [FAILS, REFUSED], ids=["fails", "refused"])
def test_what_every_text_is_refused_for_is_not_about_a_text(
    pipeline: Pipeline, how: dict[str, bool]
) -> None:
    """Where nothing is accepted halving ends, after some thirty shards: no text has failed, what is
    left is given up with Gemini's words, and nothing is published."""
    status = reindex(pipeline, N_TEXTS, set(range(N_TEXTS)), **how)

    assert status.building is not None
    assert status.building.progress.n_failed == 0
    assert status.n_given_up_shards == status.n_open_shards > 0
    red = [key for key, colour in pipeline.partitions("batch_jobs").items() if colour == "failed"]
    assert len(red) == status.n_open_shards
    assert all("It is not food." in (pipeline.job(key).error_message or "") for key in red)
    assert pipeline.failures() == []
    limit = 2 * math.log2(N_TEXTS) + 8
    assert len(pipeline.shard_keys()) < 2 * limit
    assert pipeline.bill()[1] == 0


def test_a_given_up_shard_is_halved_as_soon_as_others_are_accepted(pipeline: Pipeline) -> None:
    """What was refused for everything, and then for one text only, is found after all."""
    pipeline.fault(FaultKind.POISON_TEXT, match="naming", message="Not now.", is_refused=True)
    assert reindex(pipeline, N_TEXTS, {5}, is_refused=True).n_given_up_shards > 0
    pipeline.emulator.state.faults.clear()
    pipeline.fault(FaultKind.POISON_TEXT, match="Poison.", is_refused=True)

    red = [key for key, colour in pipeline.partitions("batch_jobs").items() if colour == "failed"]
    pipeline.run("submit_shards", shards=red)
    pipeline.settle()

    assert [failure.uri.rpartition("/")[2] for failure in pipeline.failures()] == ["05.txt"]
    assert pipeline.bill()[1] == N_TEXTS - 1
    assert set(pipeline.partitions("batch_jobs").values()) == {"materialized"}


def test_a_job_that_was_answered_in_part_is_halved_for_the_rest(pipeline: Pipeline) -> None:
    """What the job answered before it failed is kept and paid for once; only the rest is halved."""
    status = reindex(pipeline, N_TEXTS, {17}, answered=0.5)

    assert status.published is not None
    progress = status.published.progress
    assert progress.n_embedded >= N_TEXTS - 1  # the poisoned text may be among the answered
    bill = pipeline.emulator.state.bill()
    assert (bill.requests, bill.bought_twice) == (progress.n_embedded, ())
    assert status.published.bill.billed_tokens == bill.tokens
    with open_index(pipeline.settings.index_path) as index:
        shards = index.shards.of(status.published.generation)
        assert all(index.shards.counts(shard).adds_up for shard in shards)
        assert sum(s.n_requests for s in shards if s.state is ShardState.SETTLED) == N_TEXTS
    assert set(pipeline.partitions("embeddings").values()) == {"materialized"}


@pytest.mark.parametrize("is_refused", [False, True])
def test_killed_before_a_shard_is_halved(tmp_path: Path, is_refused: bool) -> None:
    """Killed twice after a refusal was seen, the search goes on where it was, and ends the same."""
    texts = {f"notes/{number:04d}.md": text_of(number, {4}) for number in range(20)}
    limits = {"route": "batch", "max_requests_per_job": 20, "unconfirmed_grace_s": 0}
    fault = Fault(kind=FaultKind.POISON_TEXT, match="Poison.", is_refused=is_refused)
    settings = EmulatorSettings(latency_s=0)
    with running(tmp_path / "emulator", settings=settings, faults=[fault]) as emulator:
        work = Work(
            data_dir=tmp_path / "data", base_url=emulator.base_url, texts=texts, limits=limits
        )
        assert work.run(die_in=Gap.REFUSED) == -signal.SIGKILL
        assert work.run(die_in=Gap.REFUSED) == -signal.SIGKILL
        assert work.run() == 0
        bill = emulator.state.bill()
        # Only what is compared before the publication is embedded again.
        assert (bill.batch_requests, len(bill.bought_twice)) == (19, bill.sync_requests)


def test_a_halved_shard_uses_up_no_attempt_of_its_halves(world: World) -> None:
    """Each half has all of its attempts, whatever became of the whole."""
    world = world.changed(max_job_attempts=1)
    [shard] = world.plan(world.build(notes(range(4))))
    world.strike(FaultKind.JOB_FAILED, code=3, times=1)
    world.submit(shard)
    world.poll()
    [found] = isolate_texts(world.index, provider="emulator", now=NOW)
    assert found.sentence == (
        "2026-11-0001 was refused for one of its 4 texts and is halved: 2026-11-0002 and "
        "2026-11-0003"
    )
    halves = world.index.jobs.ledger().statuses
    assert [(half.shard.n_requests, half.n_attempts) for half in halves] == [(2, 0), (2, 0)]
    for half in halves:
        world.submit_shard(half.shard)
        assert world.finish(half.shard).n_embedded == 2


@pytest.mark.parametrize(
    ("status", "message"),
    [(400, "API key not valid. Please pass a valid API key."), (404, "no such model"), (403, "no")],
)
def test_a_refusal_that_is_about_us_halves_nothing(world: World, status: int, message: str) -> None:
    """A key or a model that is refused is refused for every half: the shard stays whole."""
    [shard] = world.plan(world.build(notes(range(4))))
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=status, message=message)
    with pytest.raises(RefusedError):
        world.submit_shard(shard)
    assert isolate_texts(world.index, provider="emulator", now=NOW) == []
    assert world.state(shard) is JobState.REFUSED


@pytest.mark.parametrize("status", [400, 403])
def test_a_refused_upload_is_not_about_a_text(world: World, status: int) -> None:
    """Before the create call no text was looked at."""
    [shard] = world.plan(world.build(notes(range(4))))
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.UPLOAD, status=status)
    with pytest.raises(RefusedError):
        world.submit_shard(shard)
    assert isolate_texts(world.index, provider="emulator", now=NOW) == []
