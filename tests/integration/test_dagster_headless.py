"""The headless reindex: it ends when nothing moves, and says what happened."""

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from embedding_assets.clock import utc_now
from embedding_assets.defs.at_work import at_work
from embedding_assets.defs.headless import HeadlessReindex
from embedding_assets.defs.outage import GeminiOutOfReachError
from embedding_assets.defs.tags import RUN_KEY_TAG, RunTags
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import ReindexError
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.pipeline.status import Status
from embedding_assets.settings.values import Budget, Corpus, Gemini
from embedding_assets.store.index import open_index
from tests.integration.dagster_support import ANIMALS, MONTH, Pipeline, a_pipeline

FOUND = "8 documents: 8 added, 0 changed, 0 moved, 0 unchanged; 0 removed"
FILES = "8 files: 8 read"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Eight documents in two shards, nothing planned yet."""
    with a_pipeline(tmp_path, monkeypatch, is_persistent=True) as opened:
        opened.write(ANIMALS[:8])
        yield opened


def a_new_index(pipeline: Pipeline) -> str:
    """What is said before the first reindex buys anything."""
    where = str(pipeline.settings.index_path)
    return f"there is no index at {where!r} yet; a new one is made there"


def test_a_second_reindex_hears_of_the_first(pipeline: Pipeline) -> None:
    """It says so at once, and both end well."""
    with at_work(pipeline.settings.data_dir, now=utc_now()):
        assert pipeline.headless().published is not None
    assert re.match(r"another reindex is at work here: process [0-9]+, since ", pipeline.notes[0])
    pipeline.notes.clear()
    assert pipeline.headless().published is not None
    assert not any("another reindex" in note for note in pipeline.notes)


def test_whole_reindex(pipeline: Pipeline) -> None:
    """From documents to the published index in one call; that and where it is made is said."""
    status = pipeline.headless()

    assert status.building is None
    assert status.published is not None
    assert status.published.progress.n_embedded == 8
    assert (status.n_open_shards, status.n_live_jobs, status.n_finished_jobs) == (0, 0, 0)
    assert pipeline.notes == [a_new_index(pipeline), FOUND, FILES]
    assert pipeline.bill() == (2, 8)
    assert [hit.title for hit in pipeline.search("gecko", k=1)] == ["gecko"]


def test_progress_never_goes_back(pipeline: Pipeline) -> None:
    """Each status shows at least as many embedded chunks as the one before, up to all."""
    pipeline.emulator.state.settings = EmulatorSettings(latency_s=0.3)

    pipeline.headless()

    looks = [status.building or status.published for status in pipeline.statuses]
    counts = [look.progress.n_embedded for look in looks if look is not None]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 8)


def test_given_up_shard_ends_the_reindex(pipeline: Pipeline) -> None:
    """A shard that Gemini gives up on does not hang the command: it returns and says which."""
    pipeline.fault(FaultKind.JOB_FAILED, match="/2026-11-0002/", message="The moon is full.")

    status = pipeline.headless()

    assert status.building is not None
    assert (status.n_open_shards, status.n_given_up_shards) == (1, 1)
    assert status.building.progress.n_embedded == 4
    assert pipeline.partitions("batch_jobs") == {
        "2026-11-0001": "materialized",
        "2026-11-0002": "failed",
    }
    assert any("The moon is full." in note for note in pipeline.notes)
    assert pipeline.emulator.state.bill().jobs_created == 4


def test_next_reindex_takes_up_a_given_up_shard(pipeline: Pipeline) -> None:
    """Running again after Gemini has recovered buys what is missing and publishes."""
    pipeline.fault(FaultKind.JOB_FAILED, match="/2026-11-0002/", times=3)
    pipeline.headless()

    status = pipeline.headless()

    assert status.building is None
    assert pipeline.bill()[1] == 8


def test_refused_shard_ends_the_reindex(pipeline: Pipeline) -> None:
    """A shard that Gemini refuses outright is given up at once, with Gemini's words in a note."""
    pipeline.fault(
        FaultKind.CALL_ERROR,
        endpoint=Endpoint.CREATE,
        match="/2026-11-0002/",
        status=404,
        message="Not this one.",
    )

    status = pipeline.headless()

    assert (status.n_open_shards, status.n_given_up_shards) == (1, 1)
    assert any("Not this one." in note for note in pipeline.notes)


def test_a_job_at_another_provider_takes_no_room(pipeline: Pipeline) -> None:
    """With a job of Google's on its way, no run at the emulator is asked for that finds no room."""
    google = pipeline.with_settings(gemini=Gemini(base_url="https://gemini.invalid"))
    key, *_ = google.plan()
    with open_index(google.settings.index_path) as index:
        job = index.jobs.reserve(index.shards.get(key), requests_sha256="ab" * 32, now=utc_now())
        index.jobs.move(job, JobState.UNCONFIRMED)
    one = {"max_concurrent_jobs": 1, "max_requests_per_job": 8}
    limits = pipeline.settings.limits.model_copy(update=one)

    status = pipeline.with_settings(limits=limits).headless()

    assert (status.building, status.n_elsewhere) == (None, 1)
    assert pipeline.bill() == (1, 8)
    runs = [run for run in pipeline.instance.get_runs() if run.job_name == "submit_shards"]
    assert len(runs) == 1


def test_run_key_is_not_run_twice(pipeline: Pipeline) -> None:
    """What failed under a run key is not tried again and again: one publishing run, one note."""
    pipeline.fault(FaultKind.ERROR_LINE, match="badger", code=3)

    status = pipeline.headless()

    assert status.building is not None
    publishing = [run for run in pipeline.instance.get_runs() if run.job_name == "publish_index"]
    assert [run.status for run in publishing] == [dg.DagsterRunStatus.FAILURE]
    keys = [
        run.tags[RUN_KEY_TAG] for run in pipeline.instance.get_runs() if RUN_KEY_TAG in run.tags
    ]
    assert len(keys) == len(set(keys))
    (note,) = [note for note in pipeline.notes if "cannot be published" in note]
    assert "only 7 of 8 chunks are embedded" in note


def test_corpus_that_does_not_exist(pipeline: Pipeline) -> None:
    """A corpus path that is not there ends the reindex with the words of the asset."""
    lost = pipeline.with_settings(corpus=Corpus(paths=(str(pipeline.docs / "nowhere"),)))

    with pytest.raises(ReindexError, match="nowhere' does not exist"):
        lost.headless()

    assert pipeline.emulator.state.bill().calls == {}


def test_plan_over_budget(pipeline: Pipeline) -> None:
    """A plan over the budget ends the reindex before anything is sent."""
    poor = pipeline.with_settings(budget=Budget.model_validate({"max_cost_usd": "0"}))

    with pytest.raises(ReindexError, match=r"over budget\.max_cost_usd, \$0"):
        poor.headless()

    assert pipeline.emulator.state.bill().calls == {}


def test_gemini_out_of_reach_is_a_note(pipeline: Pipeline) -> None:
    """A poll that fails is said once, though it fails again and again, and so is its end."""
    pipeline.plan()
    assert pipeline.run("submit_shards", shards=pipeline.shard_keys()).success
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=501, times=5)

    status = pipeline.headless()

    assert status.building is None
    assert pipeline.bill() == (2, 8)
    _, _, trouble, end, _ = pipeline.notes
    assert trouble.startswith("no answer since 20")
    assert "GET batches: Gemini answered 501" in trouble
    assert end.startswith("Gemini answers again; it did not since 20")


def test_an_outage_that_was_reported_elsewhere_is_a_note(pipeline: Pipeline) -> None:
    """Whoever starts a reindex in an outage is told of it, whatever a daemon has shown before."""
    pipeline.plan()
    pipeline.emulator.state.settings = EmulatorSettings(latency_s=1000)
    assert pipeline.run("submit_shards", shards=pipeline.shard_keys()).success
    message = "API key not valid."
    pipeline.fault(
        FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=400, message=message, times=3
    )
    with pytest.raises(GeminiOutOfReachError):
        pipeline.poll()

    def stop_waiting(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _reindex(pipeline, sleep=stop_waiting)

    (note,) = [note for note in pipeline.notes if "API key" in note]
    assert note.startswith("Gemini refuses the API key: set GEMINI_API_KEY")


def test_a_problem_with_one_job_is_a_note(pipeline: Pipeline) -> None:
    """What goes wrong with one job is said on the terminal, once, and the reindex goes on."""
    limits = pipeline.settings.limits.model_copy(update={"job_deadline_h": 1e-9, "run_retry_s": 0})
    hasty = pipeline.with_settings(limits=limits)
    hasty.fault(FaultKind.JOB_STUCK, times=2)
    hasty.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CANCEL, status=501, times=6)

    assert hasty.headless().building is None

    cancellations = [note for note in hasty.notes if note.startswith("cancellation of batches/")]
    assert len(cancellations) == len(set(cancellations)) == 2


def test_runs_of_a_dead_process_are_marked_failed(pipeline: Pipeline) -> None:
    """A run that a killed command left as started is failed by the next; others are left alone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    job = pipeline.definitions.resolve_job_def("publish_index")
    runs = {
        name: pipeline.instance.create_run_for_job(
            job, status=dg.DagsterRunStatus.STARTED, tags=tags
        ).run_id
        for name, tags in {"dead": RunTags(pid=ended.pid).as_tags(), "daemon": {}}.items()
    }

    pipeline.headless()

    statuses = {
        name: run.status
        for name, run_id in runs.items()
        if (run := pipeline.instance.get_run_by_id(run_id)) is not None
    }
    assert statuses == {
        "dead": dg.DagsterRunStatus.FAILURE,
        "daemon": dg.DagsterRunStatus.STARTED,
    }


def test_empty_corpus_does_not_replace_the_published_index(pipeline: Pipeline) -> None:
    """When every document is gone readers keep what they have, and a note says why."""
    pipeline.headless()
    for path in pipeline.docs.iterdir():
        path.unlink()

    status = pipeline.headless()

    assert status.building is not None
    assert status.published is not None
    assert status.published.progress.n_embedded == 8
    assert any("it has no chunks at all" in note for note in pipeline.notes)


def test_a_shut_gate_is_not_waited_for(pipeline: Pipeline) -> None:
    """When the run that publishes has failed and nothing else moves, the reindex ends at once."""
    pipeline.headless()
    for path in pipeline.docs.iterdir():
        path.unlink()
    slept: list[float] = []

    status = _reindex(pipeline, sleep=slept.append)

    assert status.building is not None
    assert slept == []


def test_job_whose_creation_was_not_answered_is_found(pipeline: Pipeline) -> None:
    """A dropped answer costs one red run and nothing else: the job is adopted, and all is green."""
    pipeline.fault(FaultKind.CREATE_THEN_DROP, times=1)

    status = pipeline.headless()

    assert status.building is None
    assert any("batch job" in note for note in pipeline.notes)
    assert set(pipeline.partitions("batch_jobs").values()) == {"materialized"}
    assert pipeline.bill()[1] == 8


def test_synchronous_route(pipeline: Pipeline) -> None:
    """Few texts go by the synchronous door: no job, same index, and no partition is missing."""
    few = pipeline.with_settings(
        limits=pipeline.settings.limits.model_copy(update={"min_batch_requests": 100})
    )

    status = few.headless()

    assert status.building is None
    assert few.bill() == (0, 8)
    for asset in ("request_shards", "batch_jobs", "embeddings"):
        assert set(few.partitions(asset).values()) == {"materialized"}
    assert {job["job_name"] for job in few.values("batch_jobs").values()} == {"synchronous"}
    assert few.values("search_index")[MONTH]["dagster/row_count"] == 8


@pytest.mark.parametrize("moment", ["RUN_START", "STEP_START", "RUN_SUCCESS"])
def test_ctrl_c_is_never_lost(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Ctrl-C ends the reindex also while Dagster begins or ends a run; the next one finishes."""
    wanted = dg.DagsterEventType[moment]

    def is_the_moment(event: dg.DagsterEvent) -> bool:
        return event.event_type is wanted and event.job_name == "submit_shards"

    pipeline.interrupt_headless(monkeypatch, is_the_moment)

    assert pipeline.headless().building is None
    assert pipeline.bill()[1] == 8


def test_interrupt_that_hits_a_finalizer_is_not_printed(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python prints what a finalizer raises; an interrupt there is heard anyway, so it is not."""

    class Interrupted:
        def __del__(self) -> None:
            raise dg.DagsterExecutionInterruptedError

    def finalize_one() -> None:
        Interrupted()

    HeadlessReindex(
        definitions=pipeline.definitions,
        settings=pipeline.settings,
        month=MONTH,
        on_status=lambda _: finalize_one(),
        on_note=pipeline.notes.append,
    ).run()

    assert "Interrupted" not in capsys.readouterr().err


def test_wait_for_an_unconfirmed_job_is_said(pipeline: Pipeline) -> None:
    """Whoever waits for a job that may not exist is told so, and for how long."""
    impatient = pipeline.with_settings(
        limits=pipeline.settings.limits.model_copy(update={"unconfirmed_grace_s": 3})
    )
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=503, times=1)

    assert impatient.headless().building is None

    [wait] = {wait for status in pipeline.statuses for wait in status.waits if "may or" in wait}
    assert wait.startswith("1 job may or may not exist, looked for until 20")
    assert wait.endswith(" UTC and then submitted again")
    assert pipeline.bill()[1] == 8


def _reindex(pipeline: Pipeline, *, sleep: Callable[[float], None]) -> Status:
    """A headless reindex with its own way of waiting."""
    return HeadlessReindex(
        definitions=pipeline.definitions,
        settings=pipeline.settings,
        month=MONTH,
        on_status=pipeline.statuses.append,
        on_note=pipeline.notes.append,
        sleep=sleep,
    ).run()


# --- a daemon that is there, or was -----------------------------------------------------------


def heartbeat(pipeline: Pipeline, *, age_s: float) -> None:
    """A daemon said so long ago that it is there."""
    pipeline.instance.add_daemon_heartbeat(
        DaemonHeartbeat(
            timestamp=time.time() - age_s, daemon_type="SENSOR", daemon_id="test", errors=[]
        )
    )


def test_a_daemon_that_has_ended_is_not_waited_for(pipeline: Pipeline) -> None:
    """Some minutes after its last heartbeat a daemon is gone, whatever Dagster still believes."""
    heartbeat(pipeline, age_s=200)
    assert pipeline.instance.get_daemon_statuses()["SENSOR"].healthy
    status = pipeline.headless()
    assert status.building is None
    assert pipeline.notes == [a_new_index(pipeline), FOUND, FILES]
    assert pipeline.bill() == (2, 8)


def test_a_daemon_that_ends_meanwhile_is_stood_in_for(pipeline: Pipeline) -> None:
    """The reindex waits for a daemon as long as there is one, and then goes on by itself."""
    heartbeat(pipeline, age_s=0)
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            heartbeat(pipeline, age_s=1000)

    status = _reindex(pipeline, sleep=sleep)

    assert status.building is None
    assert pipeline.notes == [
        a_new_index(pipeline),
        "the Dagster daemon is running: its sensors do the rest",
        FOUND,
        FILES,
        "the Dagster daemon has ended; this process goes on",
    ]
    assert pipeline.bill() == (2, 8)


def test_a_forgotten_key_is_said(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs at another provider are left to whoever talks to it, and somebody is told."""
    pipeline.emulator.state.settings = EmulatorSettings(latency_s=1000)
    keys = pipeline.plan()
    assert pipeline.run("submit_shards", shards=keys).success
    with closing(sqlite3.connect(pipeline.settings.index_path)) as index, index:
        index.execute("UPDATE specs SET provider = 'gemini'")
    pipeline.emulator.state.settings = EmulatorSettings(latency_s=0)

    status = pipeline.headless()

    assert status.building is None
    assert status.n_elsewhere == 2
    assert pipeline.notes[2].startswith("2 shards are under way at another provider than the one")
    assert pipeline.emulator.state.bill().jobs_created == 4
