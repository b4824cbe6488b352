"""What the sensors say: one sentence a tick, and once that Gemini does not answer."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg
import httpx2
import pytest

from embedding_assets.clock import utc_now
from embedding_assets.defs.outage import GeminiOutOfReachError, follow_outage, known_outage
from embedding_assets.defs.tags import RUN_KEY_TAG
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import Quota, RateLimitedError, RefusedError, UnavailableError
from embedding_assets.settings.values import Gemini
from embedding_assets.store.index import open_index
from embedding_assets.wording import utc
from tests.integration.dagster_support import ANIMALS, MONTH, Pipeline, a_pipeline, failure_of

BAD_KEY = "API key not valid. Please pass a valid API key."
POLL = "poll_batch_jobs_sensor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What a person sees of one evaluation."""

    skip_reason: str
    log: tuple[str, ...]  # as "INFO: …"
    run_keys: tuple[str, ...]


def tick(pipeline: Pipeline, sensor_name: str) -> Tick:
    """Evaluate a sensor once, as a daemon that has just been started does."""
    context = pipeline.sensor_context()
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = (  # type: ignore[method-assign]
        lambda record: lines.append(f"{record.levelname}: {record.getMessage()}")
    )
    context.log.handlers = [handler]
    data = pipeline.definitions.resolve_sensor_def(sensor_name).evaluate_tick(context)
    return Tick(
        skip_reason=data.skip_message or "",
        log=tuple(lines),
        run_keys=tuple(request.run_key or "" for request in data.run_requests or ()),
    )


@pytest.fixture
def unplanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Eight documents in two shards."""
    with a_pipeline(tmp_path, monkeypatch) as opened:
        opened.write(ANIMALS[:8])
        yield opened


@pytest.fixture
def pipeline(unplanned: Pipeline) -> Pipeline:
    """The same, planned."""
    unplanned.brought_to(Pipeline.plan)
    return unplanned


@pytest.fixture
def under_way(unplanned: Pipeline) -> Pipeline:
    """The same with both jobs at Gemini, for a long time."""
    unplanned.emulator.state.settings = EmulatorSettings(latency_s=1000)
    unplanned.brought_to(_submit)
    return unplanned


def _submit(pipeline: Pipeline) -> None:
    assert pipeline.run("submit_shards", shards=pipeline.plan()).success


def lift_faults(pipeline: Pipeline) -> None:
    """Gemini answers again."""
    httpx2.delete(f"{pipeline.emulator.base_url}/emulator/faults").raise_for_status()


def unreachable(pipeline: Pipeline) -> None:
    """Gemini gives no answer that helps; the SDK does not try this one again."""
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=501, message="out of order")


def times(pipeline: Pipeline, key: str = "2026-11-0001") -> str:
    """Since when this job is under way, and until when it may be."""
    since = pipeline.job(key).submitted_at
    assert since is not None
    until = since + timedelta(hours=pipeline.settings.limits.job_deadline_h)
    return f"(the first since {utc(since)}, until {utc(until)} at the latest)"


# --- an outage --------------------------------------------------------------------------------


def test_an_outage_is_one_failed_tick(under_way: Pipeline) -> None:
    """The first tick fails with one sentence; the next ones say it as their reason to skip."""
    unreachable(under_way)

    with pytest.raises(GeminiOutOfReachError) as caught:
        tick(under_way, POLL)
    ticks = [tick(under_way, POLL) for _ in range(2)]

    sentence = str(caught.value)
    assert sentence.startswith("no answer since 20")
    assert "it is tried again at every tick: GET batches: Gemini answered 501" in sentence
    assert (
        ticks
        == [
            Tick(
                skip_reason=(
                    f"{sentence}; 2 jobs are under way {times(under_way)}, none is newly finished"
                ),
                log=(),
                run_keys=(),
            )
        ]
        * 2
    )


def test_the_end_of_an_outage_is_said_once(under_way: Pipeline) -> None:
    """The sensor recovers by itself and says so in its log; another outage is reported again."""
    unreachable(under_way)
    with pytest.raises(GeminiOutOfReachError):
        tick(under_way, POLL)
    lift_faults(under_way)

    first, second = tick(under_way, POLL), tick(under_way, POLL)

    (line,) = first.log
    assert line.startswith("WARNING: Gemini answers again; it did not since 20")
    assert second == Tick(
        skip_reason=(
            "asked Gemini about 2 jobs: nothing has changed; 2 jobs are under way "
            f"{times(under_way)}, none is newly finished"
        ),
        log=(),
        run_keys=(),
    )
    unreachable(under_way)
    with pytest.raises(GeminiOutOfReachError):
        tick(under_way, POLL)


def test_a_refused_key_is_said_in_words(under_way: Pipeline) -> None:
    """A wrong key says what to set and that it takes a restart, before anything else."""
    under_way.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=400, message=BAD_KEY)
    with pytest.raises(
        GeminiOutOfReachError, match=r"^Gemini refuses the API key: set GEMINI_API_"
    ):
        tick(under_way, POLL)
    reason = tick(under_way, POLL).skip_reason
    assert "to a valid key and restart, a running web UI keeps the old one" in reason


def test_a_key_without_permission_is_said_in_words(under_way: Pipeline) -> None:
    """A key that may not list jobs is told from a wrong one."""
    under_way.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=403, message="Forbidden.")
    with pytest.raises(GeminiOutOfReachError, match=r"^Gemini does not let this API key do that: "):
        tick(under_way, POLL)


def test_an_emulator_that_is_not_running_is_said_in_words(under_way: Pipeline) -> None:
    """Without the emulator the tick names the command that starts it."""
    alone = under_way.with_settings(gemini=Gemini(base_url="emulator"))
    with pytest.raises(GeminiOutOfReachError, match=r"^no emulator is running and .* start one"):
        tick(alone, POLL)
    assert tick(alone, POLL).skip_reason.startswith("no emulator is running")


def test_an_outage_that_becomes_a_matter_for_people_is_reported(under_way: Pipeline) -> None:
    """Gemini that answers again, but only to refuse the key, is news."""
    unreachable(under_way)
    with pytest.raises(GeminiOutOfReachError, match="no answer"):
        tick(under_way, POLL)
    lift_faults(under_way)
    under_way.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=400, message=BAD_KEY)
    with pytest.raises(GeminiOutOfReachError, match="refuses the API key"):
        tick(under_way, POLL)


def test_a_rate_limit_is_no_matter_for_people(under_way: Pipeline) -> None:
    """429 and 503 in turn are one outage, and it is reported once."""
    now, busy = utc_now(), "Overloaded."
    troubles = (UnavailableError(busy), RateLimitedError("Slow down."), UnavailableError(busy))
    outages = [follow_outage(under_way.instance, trouble, now) for trouble in troubles]
    assert [outage.is_for_people for outage in outages if outage] == [False] * 3
    assert outages[0] is not None
    assert outages[0].sentence.endswith("; it is tried again at every tick: Overloaded")


def test_money_is_a_matter_for_people(under_way: Pipeline) -> None:
    """Jobs that cannot be polled for want of credits are told of, in Gemini's words."""
    depleted = RateLimitedError("Credits are depleted.", quota=Quota.CREDITS)
    outage = follow_outage(under_way.instance, depleted, utc_now())
    assert outage is not None
    assert outage.is_for_people
    assert outage.sentence.startswith("Credits are depleted, since 20")


def test_the_words_of_gemini_end_where_ours_begin(under_way: Pipeline) -> None:
    """A full stop of Gemini's does not stand in the middle of our sentence."""
    outage = follow_outage(under_way.instance, RefusedError("A fault was asked for."), utc_now())
    assert outage is not None
    assert outage.sentence.startswith("A fault was asked for, since 20")


@pytest.mark.parametrize(
    "stored", ["not JSON", "[]", "{}", '{"since": 1}', '{"since": "2026-11-02", "other": 1}']
)
def test_an_outage_in_another_shape_is_none(under_way: Pipeline, stored: str) -> None:
    """What another version remembered keeps no tick from its work."""
    under_way.instance.daemon_cursor_storage.set_cursor_values(
        {"embedding_assets/gemini_outage": stored}
    )
    assert known_outage(under_way.instance) is None
    assert tick(under_way, POLL).skip_reason.startswith("asked Gemini about 2 jobs")


def test_what_needs_no_answer_goes_on_in_an_outage(pipeline: Pipeline) -> None:
    """A finished job is collected at once; the outage is reported when nothing else is to do."""
    pipeline.fault(FaultKind.JOB_STUCK, match="/2026-11-0002/")
    assert pipeline.run("submit_shards", shards=pipeline.shard_keys()).success
    pipeline.emulator.state.wait_idle()
    assert len(pipeline.poll()) == 1
    with open_index(pipeline.settings.index_path) as index:
        index.jobs.forget_requested_runs()  # as if nobody had asked yet
    unreachable(pipeline)

    first = tick(pipeline, POLL)

    assert [key.partition(":2026-11-0001:")[0] for key in first.run_keys] == ["collect_embeddings"]
    (line,) = first.log
    assert line.startswith("INFO: no answer since 20")
    assert line.endswith(
        f"collecting 1 finished job; 1 job is under way {times(pipeline, '2026-11-0002')}"
    )
    with pytest.raises(GeminiOutOfReachError):
        tick(pipeline, POLL)


def test_an_outage_with_nothing_left_to_poll_is_forgotten(under_way: Pipeline) -> None:
    """When there is no job any more nobody claims that Gemini answers again."""
    unreachable(under_way)
    with pytest.raises(GeminiOutOfReachError):
        tick(under_way, POLL)
    elsewhere = under_way.with_settings(gemini=Gemini(base_url="https://gemini.invalid"))
    assert tick(elsewhere, POLL) == Tick(
        skip_reason=(
            "0 jobs are under way, none is newly finished; 2 shards are under way at another "
            "provider; is the key set?"
        ),
        log=(),
        run_keys=(),
    )
    assert known_outage(under_way.instance) is None


def test_a_problem_with_one_job_is_no_outage(under_way: Pipeline) -> None:
    """What goes wrong with one job is in the reason and in the log, and nothing fails."""
    limits = under_way.settings.limits.model_copy(update={"job_deadline_h": 1e-9})
    hasty = under_way.with_settings(limits=limits)
    hasty.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CANCEL, status=501, times=1)

    found = tick(hasty, POLL)

    (problem,) = found.log
    assert problem.startswith("WARNING: cancellation of batches/")
    assert found.skip_reason.endswith(problem.removeprefix("WARNING: "))
    assert "asked Gemini about 2 jobs: 1 job asked to be cancelled; 2 jobs are" in (
        found.skip_reason
    )
    assert known_outage(hasty.instance) is None


def test_a_job_that_died_is_said(pipeline: Pipeline) -> None:
    """The tick that sees a job fail says so; the next one of the other sensor submits it again."""
    pipeline.fault(FaultKind.JOB_FAILED, match="/2026-11-0002/", times=1)
    assert pipeline.run("submit_shards", shards=pipeline.shard_keys()).success
    pipeline.emulator.state.wait_idle()
    assert tick(pipeline, POLL).log == (
        "INFO: asked Gemini about 2 jobs: 2 changed, 1 of them died; collecting 1 finished job; "
        "0 jobs are under way",
    )
    (line,) = tick(pipeline, "submit_shards_sensor").log
    assert line.startswith("INFO: submitting 1 of 1 waiting shard; then 1 of 50 jobs and ")


# --- what a tick says -------------------------------------------------------------------------


def test_a_tick_that_asks_for_runs_says_why_in_its_log(pipeline: Pipeline) -> None:
    """Dagster shows no reason with runs, so that it is in the log that the tick links to."""
    found = tick(pipeline, "submit_shards_sensor")
    assert len(found.run_keys) == 1
    assert found.skip_reason == ""
    (line,) = found.log
    assert line.startswith("INFO: submitting 2 of 2 waiting shards; then 2 of 50 jobs and ")


def test_given_up_shards_are_said_as_long_as_they_are(pipeline: Pipeline) -> None:
    """After the run that turns it red, the reasons still say what a person has to do."""
    pipeline.fault(FaultKind.JOB_FAILED, match="/2026-11-0002/", times=3)
    pipeline.settle()
    assert tick(pipeline, POLL).skip_reason == (
        "0 jobs are under way, none is newly finished; 1 shard is given up: materialize the failed "
        "partitions of batch_jobs"
    )
    assert tick(pipeline, "publish_index_sensor").skip_reason == (
        "2026-11 has 1 open shard, 1 given up: materialize the failed partitions of batch_jobs"
    )


def test_a_report_that_was_lost_is_asked_for_again(pipeline: Pipeline) -> None:
    """A shard is red in the end, though a process was killed between asking for it and its run."""
    pipeline.fault(FaultKind.JOB_FAILED, times=3, match="/2026-11-0001/")
    pipeline.fault(FaultKind.JOB_FAILED, times=3, match="/2026-11-0002/")
    limits = pipeline.settings.limits.model_copy(update={"max_job_attempts": 1, "run_retry_s": 900})
    patient = pipeline.with_settings(limits=limits)
    assert patient.run("submit_shards", shards=patient.shard_keys()).success
    patient.emulator.state.wait_idle()
    assert len(patient.poll()) == 1  # and nothing comes of it
    assert patient.poll() == []

    hasty = patient.with_settings(limits=limits.model_copy(update={"run_retry_s": 0}))
    (again,) = hasty.poll()
    assert again.job_name == "submit_shards"
    result = hasty.run(
        "submit_shards", shards=hasty.shard_keys(), only="batch_jobs", tags=dict(again.tags)
    )

    assert "is given up" in failure_of(result)
    assert set(hasty.partitions("batch_jobs").values()) == {"failed"}
    assert hasty.poll() == []


def test_a_publication_that_failed_is_not_silent(pipeline: Pipeline) -> None:
    """While its run key is used up the sensor says which run failed and when it is asked again."""
    pipeline.fault(FaultKind.ERROR_LINE, match="badger", code=3)
    pipeline.settle()
    asked = tick(pipeline, "publish_index_sensor")
    assert asked.log == (
        "INFO: 2026-11 is finished: 7 of 8 chunks have a vector, 1 failed; it is published if its "
        "gates are open",
    )
    job = pipeline.definitions.resolve_job_def("publish_index")
    run = pipeline.instance.create_run_for_job(
        job, tags={RUN_KEY_TAG: asked.run_keys[0]}, status=dg.DagsterRunStatus.STARTED
    )
    assert tick(pipeline, "publish_index_sensor") == Tick(
        skip_reason=f"run {run.run_id} of publish_index is on its way", log=(), run_keys=()
    )
    pipeline.instance.report_run_failed(run)
    failed = tick(pipeline, "publish_index_sensor")
    assert failed.run_keys == ()
    assert f"but run {run.run_id} of publish_index has come to nothing" in failed.skip_reason
    assert "it is asked for again at 20" in failed.skip_reason


def test_a_month_that_is_published(pipeline: Pipeline) -> None:
    """When nothing is being built the reason says what readers see."""
    pipeline.settle()
    assert tick(pipeline, "publish_index_sensor").skip_reason == (
        f"no generation is being built; readers see {MONTH}"
    )


def test_a_publication_that_was_not_recorded_is_made_up_for(pipeline: Pipeline) -> None:
    """Readers see the month, but its run was killed: another one records it, and only one."""
    pipeline.settle()
    pipeline.instance.wipe_assets([dg.AssetKey("search_index")])

    asked = tick(pipeline, "publish_index_sensor")

    assert asked.log == (
        f"INFO: readers see {MONTH}, but the run that published it ended before it was recorded",
    )
    (key,) = asked.run_keys
    assert key.startswith("record:")
    job = pipeline.definitions.resolve_job_def("publish_index")
    run = pipeline.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick(pipeline, "publish_index_sensor").run_keys == ()  # it may be about to record it
    pipeline.instance.report_run_failed(run)
    (request,) = pipeline.ask("publish_index_sensor")
    assert pipeline.run(request.job_name or "", month=request.partition_key).success
    assert tick(pipeline, "publish_index_sensor").skip_reason == (
        f"no generation is being built; readers see {MONTH}"
    )


def test_requests_that_wait_for_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few requests that wait on purpose are said with the time until which they do."""
    limits = {"min_batch_requests": 100, "max_wait_h": 10}
    with a_pipeline(tmp_path, monkeypatch, limits=limits) as waiting:
        waiting.write(ANIMALS[:1])
        waiting.plan()
        reason = tick(waiting, "publish_index_sensor").skip_reason
    assert reason.startswith("the few requests of 2026-11 wait for more until 20")
    assert reason.endswith(" UTC")


# --- a shard that is refused for one of its texts ---------------------------------------------


def test_the_tick_says_what_is_halved(unplanned: Pipeline) -> None:
    """People read in the tick which shard was refused for one of its texts, and what comes next."""
    for path in list(unplanned.docs.iterdir())[2:]:
        path.unlink()
    unplanned.fault(FaultKind.POISON_TEXT, match="animal", is_refused=True, times=2)
    [key] = unplanned.plan()
    assert unplanned.run("submit_shards", shards=[key]).success

    halved = tick(unplanned, "submit_shards_sensor")

    halves = [f"{MONTH}-0002", f"{MONTH}-0003"]
    sentence = f"{key} was refused for one of its 2 texts and is halved: {' and '.join(halves)}"
    assert halved.log[0] == f"WARNING: {sentence}"
    assert halved.log[1].startswith(f"INFO: {sentence}; submitting 2 of 2 waiting shards")
    assert unplanned.run("submit_shards", shards=halves).success
    alone = tick(unplanned, "submit_shards_sensor")
    sentence = f"the text that {halves[0]} was refused for is found, and has failed"
    assert alone.log == (f"WARNING: {sentence}",)
    assert alone.skip_reason.startswith(f"{sentence}; no shard waits to be submitted")


# --- a copy -----------------------------------------------------------------------------------


def test_in_doubt_nothing_is_asked_for(pipeline: Pipeline) -> None:
    """While this may be a copy a tick says so, and a run that was launched all the same waits."""
    with open_index(pipeline.settings.index_path) as index:
        index.identity.record_doubt("this may be a copy")
    said = tick(pipeline, "submit_shards_sensor")
    assert (said.skip_reason, said.run_keys) == ("this may be a copy", ())
    with open_index(pipeline.settings.index_path) as index:
        keys = [status.shard.key for status in index.jobs.ledger().statuses]
    assert pipeline.run("submit_shards", shards=keys).success
    assert pipeline.emulator.state.bill().jobs_created == 0
    with open_index(pipeline.settings.index_path) as index:
        index.identity.take_over(now=utc_now())
    assert tick(pipeline, "submit_shards_sensor").run_keys != ()
