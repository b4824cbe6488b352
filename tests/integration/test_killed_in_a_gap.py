"""Killed by SIGKILL in every gap between an effect and its record: adopted, never duplicated."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import Emulator, running
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.gaps import Gap
from tests.integration.worker import N_COMPARED, Work
from tests.integration.world import a_text

TEXTS = {f"notes/{number:04d}.md": a_text(number) for number in range(9)}
BATCH = {"route": "batch", "max_requests_per_job": 3, "unconfirmed_grace_s": 0}
SYNC = {"route": "sync", "max_requests_per_job": 3}
STUCK = {**BATCH, "job_deadline_h": 0.2 / 3600, "run_retry_s": 0.1}

LIMITS = dict.fromkeys(Gap, BATCH) | {
    Gap.ANSWERED: SYNC,
    Gap.ANSWER_WRITTEN: SYNC,
    Gap.ANSWERS_KEPT: SYNC,
    Gap.CANCEL_RECORDED: STUCK,
}
# A synchronous answer exists nowhere but in the process that asked: at most one call is lost.
LOST_WITH_THE_PROCESS = {Gap.ANSWERED: 3, Gap.EMBEDDED_AGAIN: N_COMPARED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A reindex of nine documents in three shards, and the emulator it talks to."""

    work: Work
    emulator: Emulator

    def vectors(self) -> dict[str, bytes]:
        """What readers see: the vector of each text."""
        with closing(sqlite3.connect(self.work.data_dir / "index.db")) as connection:
            return dict(connection.execute("SELECT text, vector FROM published_chunks"))

    def counts(self) -> list[tuple[str, int]]:
        """Requests by outcome."""
        query = "SELECT outcome, count(*) FROM requests GROUP BY outcome"
        with closing(sqlite3.connect(self.work.data_dir / "index.db")) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Nothing is done yet; jobs take no time."""
    settings = EmulatorSettings(latency_s=0)
    with running(tmp_path / "emulator", settings=settings) as emulator:
        work = Work(
            data_dir=tmp_path / "data", base_url=emulator.base_url, texts=TEXTS, limits=BATCH
        )
        yield Scene(work=work, emulator=emulator)


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    """The vectors of a reindex that nobody disturbed."""
    with running(tmp_path / "other", settings=EmulatorSettings(latency_s=0)) as emulator:
        work = Work(
            data_dir=tmp_path / "calm", base_url=emulator.base_url, texts=TEXTS, limits=BATCH
        )
        calm = Scene(work=work, emulator=emulator)
        assert calm.work.run() == 0
        return calm.vectors()


@pytest.mark.parametrize("gap", Gap)
def test_a_process_killed_in_any_gap_is_followed_by_one_that_finishes(
    scene: Scene, undisturbed: dict[str, bytes], gap: Gap
) -> None:
    """Twice killed in the same gap, the reindex ends whole, every text bought once.

    Those aside that are embedded again, once, to be compared with what was bought.
    """
    scene = replace(scene, work=replace(scene.work, limits=LIMITS[gap]))
    if gap is Gap.CANCEL_RECORDED:
        scene.emulator.state.faults.add(Fault(kind=FaultKind.JOB_STUCK, times=2))
    assert scene.work.run(die_in=gap) == -signal.SIGKILL
    if gap is not Gap.PLANNED:  # which is passed once, and for good
        assert scene.work.run(die_in=gap) == -signal.SIGKILL
    assert scene.work.run() == 0
    assert scene.vectors() == undisturbed
    assert scene.counts() == [("embedded", 9)]
    bill = scene.emulator.state.bill()
    is_sync = LIMITS[gap] is SYNC
    n_again = 2 * LOST_WITH_THE_PROCESS.get(gap, 0) + (0 if is_sync else N_COMPARED)
    assert bill.requests == 9 + n_again
    assert sum(text.times - 1 for text in bill.bought_twice) == n_again
    n_cancelled = 2 if gap is Gap.CANCEL_RECORDED else 0
    assert bill.jobs_created == (0 if is_sync else 3 + n_cancelled)


def test_workers_on_one_index_make_one_job_a_shard(
    scene: Scene, undisturbed: dict[str, bytes]
) -> None:
    """Four processes that all reindex the planned generation do not get in each other's way."""
    patient = {**BATCH, "unconfirmed_grace_s": 60}  # longer than a create call takes
    scene = replace(scene, work=replace(scene.work, limits=patient))
    assert scene.work.run(die_in=Gap.PLANNED) == -signal.SIGKILL
    workers = [scene.work.start() for _ in range(4)]
    for worker in workers:
        worker.join(60)
    assert 0 in [worker.exitcode for worker in workers]
    assert scene.vectors() == undisturbed
    assert scene.counts() == [("embedded", 9)]
    bill = scene.emulator.state.bill()
    assert (bill.jobs_created, bill.requests) == (3, 9 + N_COMPARED)
    assert [text.times for text in bill.bought_twice] == [2] * N_COMPARED
