"""Alerts: what is posted to a webhook, how often, and what never is."""

import json
import logging
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from embedding_assets.clock import utc_now
from embedding_assets.defs.alerts import tell_failure
from embedding_assets.defs.headless import serve_generation
from embedding_assets.defs.outage import GeminiOutOfReachError, follow_outage, report_outage
from embedding_assets.defs.webhook import Alert, post_alert
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.errors import (
    PublishingError,
    RefusedError,
    ReindexError,
    UnavailableError,
)
from embedding_assets.model.gates import GateName
from embedding_assets.settings.values import Alerts, Budget
from embedding_assets.store.index import open_index
from tests.integration.dagster_support import ANIMALS, MONTH, Pipeline, a_pipeline

SECRET = "/services/T0/B0/XXXXsecretXXXX"
HELLO = Alert(line="hello")


@dataclass(slots=True, kw_only=True)
class Webhook:
    """A Slack that answers as it is told, at last with ok."""

    url: str = ""
    answers: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    bodies: list[dict[str, str]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """What arrived."""
        return [body["text"] for body in self.bodies]


@contextmanager
def serving(webhook: Webhook) -> Iterator[None]:
    """Listen for posts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers = webhook.answers.pop(0) if webhook.answers else (200, {})
            if self.path == SECRET and self.headers["Content-Type"] == "application/json":
                webhook.bodies.append(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        webhook.url = f"http://127.0.0.1:{server.server_address[1]}{SECRET}"
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook that takes everything."""
    made = Webhook()
    with serving(made):
        yield made


@pytest.fixture
def is_persistent() -> bool:
    """Whether a headless reindex is to share the instance."""
    return False


with_headless = pytest.mark.parametrize("is_persistent", [True], ids=["headless"])


@pytest.fixture
def pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, webhook: Webhook, is_persistent: bool
) -> Iterator[Pipeline]:
    """Eight documents in two shards, nothing planned yet, and the webhook in the settings."""
    alerts = {"webhook_url": webhook.url}
    with a_pipeline(tmp_path, monkeypatch, is_persistent=is_persistent, alerts=alerts) as opened:
        opened.write(ANIMALS[:8])
        yield opened


# --- posting ----------------------------------------------------------------------------------


def test_an_alert_is_posted_as_slack_takes_it(
    webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    """A JSON object with the escaped line as its text; the address is in no log."""
    with caplog.at_level(logging.DEBUG):
        assert post_alert(Alert.of("R&D <!channel>"), webhook.url) is None
    assert webhook.bodies == [{"text": "R&amp;D &lt;!channel&gt;"}]
    assert "XXXXsecretXXXX" not in caplog.text


def test_requests_of_others_are_still_logged(
    webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    """Afterwards httpx2 logs what it logged before."""
    post_alert(HELLO, webhook.url)
    with caplog.at_level(logging.INFO, logger="httpx2"):
        logging.getLogger("httpx2").info("HTTP Request")
    assert caplog.messages == ["HTTP Request"]


def test_an_overloaded_webhook_is_asked_again(webhook: Webhook) -> None:
    """429 and 5xx are tried again: after what Retry-After says, or later each time."""
    webhook.answers = [(503, {}), (429, {"Retry-After": "3"}), (500, {})]
    naps: list[float] = []
    assert post_alert(HELLO, webhook.url, sleep=naps.append) is None
    assert naps == [0.5, 3, 2]
    assert webhook.texts == ["hello"] * 4


def test_a_webhook_that_stays_overloaded(webhook: Webhook) -> None:
    """After four attempts it is given up, with the host and the status and nothing else."""
    webhook.answers = [(500, {})] * 9
    problem = post_alert(HELLO, webhook.url, sleep=lambda _: None)
    assert problem == "an alert could not be posted to 127.0.0.1: it answered 500"
    assert len(webhook.answers) == 5


def test_a_long_retry_after_is_not_waited_for(webhook: Webhook) -> None:
    """Whoever asks for minutes is not posted to again: a sensor has seconds."""
    webhook.answers = [(429, {"Retry-After": "60"})]
    naps: list[float] = []
    problem = post_alert(HELLO, webhook.url, sleep=naps.append)
    assert problem == "an alert could not be posted to 127.0.0.1: it answered 429"
    assert naps == []


@pytest.mark.parametrize("status", [302, 400, 403, 404, 410])
def test_a_refusal_is_final(webhook: Webhook, status: int) -> None:
    """What will never be taken is tried once, and a redirection is not followed."""
    webhook.answers = [(status, {"Location": webhook.url})]
    assert post_alert(HELLO, webhook.url) == (
        f"an alert could not be posted to 127.0.0.1: it answered {status}; check alerts.webhook_url"
    )
    assert len(webhook.bodies) == 1


def test_nobody_listens() -> None:
    """A connection that fails is tried again and then a reason without the address."""
    naps: list[float] = []
    with socket.socket() as bound:  # taken, so that nobody else can have it, and not listening
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}{SECRET}"
        problem = post_alert(HELLO, url, sleep=naps.append)
    assert problem == "an alert could not be posted to 127.0.0.1: ConnectError"
    assert naps == [0.5, 1, 2]


# --- the daemon's runs ------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class AlertSensors:
    """Both alert sensors, with the cursors that they leave."""

    pipeline: Pipeline
    cursors: dict[str, str | None] = field(default_factory=dict)

    def tick(self) -> list[str]:
        """Evaluate each once; what they logged."""
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        for name in ("failed_run_alert", "published_index_alert"):
            context = dg.build_sensor_context(
                instance=self.pipeline.instance,
                cursor=self.cursors.get(name),
                definitions=self.pipeline.definitions,
                resources={"settings": self.pipeline.settings},
            )
            context.log.handlers = [handler]
            data = self.pipeline.definitions.resolve_sensor_def(name).evaluate_tick(context)
            reactions = data.dagster_run_reactions or ()
            assert [reaction.error for reaction in reactions if reaction.error] == []
            self.cursors[name] = data.cursor
        return lines


@pytest.fixture
def sensors(pipeline: Pipeline) -> AlertSensors:
    """The sensors of a daemon that has just been started for the first time."""
    made = AlertSensors(pipeline=pipeline)
    assert made.tick() == []
    return made


def an_unexpected_failure(pipeline: Pipeline, message: str) -> dg.DagsterRun:
    """A run that failed with an error that is not ours."""

    @dg.op
    def breaks() -> None:
        raise LookupError(message)

    @dg.job
    def broken() -> None:
        breaks()

    return broken.execute_in_process(instance=pipeline.instance, raise_on_error=False).dagster_run


def test_a_failed_run_is_told(sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook) -> None:
    """Job, partition, our words and the run, in one line, in the tick's log and at the webhook."""
    poor = pipeline.with_settings(budget=Budget.model_validate({"max_cost_usd": "0"}))
    result = poor.run("reindex", month=MONTH)

    (line,) = sensors.tick()

    assert line.startswith("embedding-assets: reindex of 2026-11 failed: the plan for 2026-11 ")
    assert line.endswith(f". Next: its run in the web UI, {result.run_id}")
    assert webhook.texts == [line]
    assert sensors.tick() == []


def test_an_unexpected_error_is_told_by_its_name(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook
) -> None:
    """An error of SQL or the like carries other people's words: of it only the class is said."""
    run = an_unexpected_failure(pipeline, "INSERT … ['the text of a document']")
    sensors.tick()
    assert webhook.texts == [
        "embedding-assets: broken failed: unexpectedly, LookupError. Next: its run in the web UI, "
        f"{run.run_id}"
    ]


def test_a_range_of_shards_is_named(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook
) -> None:
    """A run of many partitions is told with the first and the last."""
    first, second = pipeline.plan()
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=404, message="no <!here>")
    pipeline.run("submit_shards", shards=[first, second])
    (line,) = sensors.tick()
    assert line.startswith(
        f"embedding-assets: submit_shards of {first}..{second} failed: 2 shards "
    )
    assert "no <!here>" in line
    assert "no &lt;!here&gt;" in webhook.texts[0]


def test_a_cancelled_run_did_not_fail(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook
) -> None:
    """Whoever cancels a run knows it."""
    job = pipeline.definitions.resolve_job_def("publish_index")
    run = pipeline.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    pipeline.instance.report_run_canceling(run)
    pipeline.instance.report_run_canceled(run)
    assert sensors.tick() == []
    assert webhook.texts == []


def test_a_run_that_is_gone_is_told_in_the_words_of_who_found_it(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook
) -> None:
    """A run without a failed step, say of a killed process, has the reason of its end."""
    job = pipeline.definitions.resolve_job_def("publish_index")
    run = pipeline.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    pipeline.instance.report_run_failed(run, "its process is gone.")
    sensors.tick()
    (text,) = webhook.texts
    assert text.startswith("embedding-assets: publish_index failed: its process is gone. Next: ")


def test_the_same_failure_again_is_posted_once(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook
) -> None:
    """Twenty runs that fail in the same words but for numbers and names are logged, not posted."""
    for n in range(4):
        an_unexpected_failure(pipeline, f"shard 2026-11-{n:04}")
    assert len(sensors.tick()) == 4
    assert len(webhook.texts) == 1


@pytest.mark.parametrize(
    ("later", "why", "is_posted"),
    [
        (timedelta(hours=5), "shard 2026-11-0007 refused: 17 texts", False),
        (timedelta(hours=7), "shard 2026-11-0003 refused: 4 texts", True),
        (timedelta(minutes=1), "shard 2026-11-0003 expired: 4 texts", True),
        (timedelta(minutes=1), "shard 2026-11-0003 refused: 1 text", False),
    ],
)
def test_what_counts_as_the_same(
    pipeline: Pipeline, webhook: Webhook, later: timedelta, why: str, is_posted: bool
) -> None:
    """Other numbers are the same failure for some hours; other words are another one."""
    run, now = an_unexpected_failure(pipeline, "x"), utc_now()
    settings = pipeline.settings
    first = "shard 2026-11-0003 refused: 4 texts"
    assert tell_failure(pipeline.instance, run, first, settings, now=now) is None
    assert tell_failure(pipeline.instance, run, why, settings, now=now + later) is None
    assert len(webhook.texts) == 1 + is_posted


def test_what_could_not_be_posted_is_posted_the_next_time(
    pipeline: Pipeline, webhook: Webhook
) -> None:
    """A failure counts as told when it has arrived."""
    run, now = an_unexpected_failure(pipeline, "x"), utc_now()
    webhook.answers = [(404, {})]
    problem = tell_failure(pipeline.instance, run, "no room", pipeline.settings, now=now)
    assert problem is not None
    assert tell_failure(pipeline.instance, run, "no room", pipeline.settings, now=now) is None
    assert len(webhook.texts) == 2


def test_a_daemon_begins_with_what_happens_from_then_on(
    pipeline: Pipeline, webhook: Webhook
) -> None:
    """Sensors that are evaluated for the first time do not tell of the past."""
    an_unexpected_failure(pipeline, "long ago")
    pipeline.reindex()
    sensors = AlertSensors(pipeline=pipeline)
    assert sensors.tick() == sensors.tick() == []
    assert webhook.texts == []


def test_a_publication_is_told(sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook) -> None:
    """One line for the month, none for the runs before it, none for publishing nothing."""
    pipeline.brought_to(Pipeline.reindex)
    (line,) = sensors.tick()
    assert line.startswith("embedding-assets: 2026-11 is published")
    assert webhook.texts == [line]

    assert pipeline.run("publish_index", month=MONTH).success
    assert sensors.tick() == []


def test_a_publication_that_could_not_be_told_is_told_later(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook
) -> None:
    """A webhook that refuses is asked again at the next tick; nothing is lost, nothing repeated."""
    pipeline.brought_to(Pipeline.reindex)
    webhook.answers = [(404, {})]
    line, problem = sensors.tick()
    assert problem.endswith("; the next tick tries again")
    assert sensors.tick() == [line]
    assert sensors.tick() == []
    assert webhook.texts == [line, line]


def test_a_publication_is_not_tried_to_be_told_for_ever(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some hours it is given up, with a line in the log."""
    pipeline.brought_to(Pipeline.reindex)
    later = utc_now() + timedelta(hours=7)
    monkeypatch.setattr("embedding_assets.defs.alerts.utc_now", lambda: later)
    webhook.answers = [(404, {})]
    _, problem = sensors.tick()
    assert problem.endswith("; it is given up")
    assert sensors.tick() == []


def test_a_publication_by_the_button_is_told(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook
) -> None:
    """Materializing search_index in the UI makes a run of no job of ours; it counts, too."""
    assert pipeline.run("reindex", month=MONTH).success
    while requests := [*pipeline.ask("submit_shards_sensor"), *pipeline.poll()]:
        for request in requests:
            name = request.job_name or ""
            assert pipeline.run(name, shards=pipeline.shard_keys()).success
        pipeline.emulator.state.wait_idle()
    job = pipeline.definitions.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(
        instance=pipeline.instance,
        partition_key=MONTH,
        asset_selection=[dg.AssetKey("search_index")],
    ).success
    (line,) = sensors.tick()
    assert webhook.texts == [line]


def test_without_a_webhook_it_is_only_logged(sensors: AlertSensors, pipeline: Pipeline) -> None:
    """The tick's log has the line."""
    sensors.pipeline = pipeline.with_settings(alerts=Alerts())
    an_unexpected_failure(pipeline, "x")
    (line,) = sensors.tick()
    assert "LookupError" in line


# --- an outage --------------------------------------------------------------------------------


def an_outage(pipeline: Pipeline, *, status: int, message: str) -> None:
    """A job is under way, and Gemini does not answer any more."""
    pipeline.fault(FaultKind.JOB_STUCK)
    assert pipeline.run("submit_shards", shards=pipeline.plan()).success
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=status, message=message)


def test_a_revoked_key_is_told_once(pipeline: Pipeline, webhook: Webhook) -> None:
    """No run fails while jobs are only polled, so that the sensor itself tells of it."""
    an_outage(pipeline, status=403, message="Forbidden.")
    with pytest.raises(GeminiOutOfReachError):
        pipeline.poll()
    pipeline.poll()
    (text,) = webhook.texts
    assert text.startswith("embedding-assets: Gemini does not let this API key do that: ")


def test_a_revoked_key_that_cannot_be_told(pipeline: Pipeline, webhook: Webhook) -> None:
    """A webhook that is gone, too, is a warning, and the tick fails as it does without one."""
    an_outage(pipeline, status=403, message="Forbidden.")
    webhook.answers = [(404, {})]
    context = pipeline.sensor_context()
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    context.log.handlers = [handler]
    with pytest.raises(GeminiOutOfReachError):
        pipeline.definitions.resolve_sensor_def("poll_batch_jobs_sensor").evaluate_tick(context)
    assert lines == [
        "an alert could not be posted to 127.0.0.1: it answered 404; check alerts.webhook_url"
    ]


def test_an_outage_that_ends_by_itself_is_not_told(pipeline: Pipeline, webhook: Webhook) -> None:
    """Nobody needs to do anything about it."""
    an_outage(pipeline, status=501, message="out of order")
    with pytest.raises(GeminiOutOfReachError):
        pipeline.poll()
    assert webhook.texts == []


def test_a_key_that_is_refused_now_and_then_is_told_once(pipeline: Pipeline) -> None:
    """What comes in between is the same outage."""
    told: list[str] = []
    now, forbidden = utc_now(), RefusedError("forbidden")
    for trouble in (forbidden, UnavailableError("overloaded"), forbidden):
        outage = follow_outage(pipeline.instance, trouble, now)
        assert outage is not None
        with pytest.raises(GeminiOutOfReachError):
            report_outage(pipeline.instance, outage, told.append)
    assert len(told) == 1


# --- headless ---------------------------------------------------------------------------------


@with_headless
def test_a_headless_publication_is_told_once(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook
) -> None:
    """The process that published tells of it, and the daemon's sensors do not repeat it."""
    pipeline.headless()
    (text,) = webhook.texts
    assert text.startswith("embedding-assets: 2026-11 is published")
    assert sensors.tick() == []
    assert len(webhook.texts) == 1


@with_headless
def test_a_headless_failure_is_told_once(
    sensors: AlertSensors, pipeline: Pipeline, webhook: Webhook
) -> None:
    """What fails is told by the process that ran it."""
    poor = pipeline.with_settings(budget=Budget.model_validate({"max_cost_usd": "0"}))
    with pytest.raises(ReindexError, match="over budget"):
        poor.headless()
    (text,) = webhook.texts
    assert text.startswith("embedding-assets: reindex of 2026-11 failed: the plan for 2026-11 ")
    assert sensors.tick() == []
    assert len(webhook.texts) == 1


@with_headless
def test_an_undeliverable_alert_is_one_note(pipeline: Pipeline, webhook: Webhook) -> None:
    """A webhook that is gone fails nothing: a note names its host, not its address."""
    webhook.answers = [(404, {})]
    assert pipeline.headless().building is None
    (note,) = [note for note in pipeline.notes if "could not be posted" in note]
    assert "127.0.0.1" in note
    assert "secret" not in note


@with_headless
def test_publishing_by_hand_is_told(pipeline: Pipeline, webhook: Webhook) -> None:
    """`publish` tells of what a gate holds back and of what it publishes in spite of it."""
    pipeline.fault(FaultKind.ERROR_LINE, match="badger", code=3)
    silent = pipeline.with_settings(alerts=Alerts())
    silent.headless()
    with open_index(pipeline.settings.index_path) as index:
        generation = index.generations.building()
    assert generation is not None
    serve = partial(serve_generation, pipeline.definitions, pipeline.settings, generation)

    with pytest.raises(PublishingError):
        serve(allow=(), on_note=pipeline.notes.append)
    serve(allow=[GateName.COVERAGE], on_note=pipeline.notes.append)

    failed, published = webhook.texts
    assert "only 7 of 8 chunks are embedded" in failed
    assert published.startswith("embedding-assets: 2026-11 is published")


@with_headless
def test_a_reindex_that_a_person_interrupts_tells_nobody(
    pipeline: Pipeline, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during a run makes it a failed one for Dagster, and is no failure to tell of."""
    start = dg.DagsterEventType.STEP_START
    pipeline.interrupt_headless(monkeypatch, lambda event: event.event_type is start)
    assert webhook.texts == []


@with_headless
def test_an_interrupted_publication_is_told(
    pipeline: Pipeline, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers see the month, whether or not somebody lost patience at the last moment."""

    def is_recorded(event: dg.DagsterEvent) -> bool:
        is_materialization = event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
        return is_materialization and event.asset_key == dg.AssetKey("search_index")

    pipeline.interrupt_headless(monkeypatch, is_recorded)
    (text,) = webhook.texts
    assert text.startswith("embedding-assets: 2026-11 is published")
