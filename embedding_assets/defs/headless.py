"""A whole reindex without webserver and daemon: the same assets, sensors and instance.

Belongs here: evaluating the sensors and executing what they ask for, until nothing moves.
Does not belong here: showing it (cli/) and hearing signals (interrupts.py).
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from embedding_assets.clock import utc_now
from embedding_assets.defs.alerts import (
    SEARCH_INDEX,
    failure_words,
    publication_alert,
    tell,
    tell_failure,
)
from embedding_assets.defs.instance import (
    PID_TAG,
    daemon_is_running,
    fail_lost_runs,
    open_instance,
)
from embedding_assets.defs.interrupts import unswallowed_interrupts
from embedding_assets.defs.jobs import PUBLISH_INDEX, REINDEX
from embedding_assets.defs.outage import GeminiOutOfReachError, forget_outage
from embedding_assets.defs.resources import build_resources
from embedding_assets.defs.search_index import ALLOW_TAG, GENERATION_TAG
from embedding_assets.defs.sensors import RUN_KEY_TAG, build_sensors, poll_interval_s
from embedding_assets.errors import EmbeddingAssetsError, PublishingError, ReindexError
from embedding_assets.model.gates import GateName
from embedding_assets.model.generations import Generation
from embedding_assets.pipeline.status import Status, read_status
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import open_index

# Sentences for people in the metadata of a materialization. What search_index says of itself is
# what the command shows at its end.
_SENTENCES = ("summary", "retention")
_SHOWN_AT_THE_END = (SEARCH_INDEX, "summary")

# Dagster's own log of an in-process run goes to the event log; the terminal is the caller's.
_QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(slots=True, kw_only=True)
class HeadlessReindex:
    """One reindex of one month in this process.

    ``on_status`` is called after every step with a fresh look at the ledger, ``on_note`` with
    sentences for people.
    """

    definitions: dg.Definitions
    settings: Settings
    month: str
    on_status: Callable[[Status], None]
    on_note: Callable[[str], None]
    tags: Mapping[str, str] = field(default_factory=dict)  # of the run that plans
    sleep: Callable[[float], None] = time.sleep
    _cursors: dict[str, str | None] = field(default_factory=dict, init=False)
    _troubles: dict[str, frozenset[str]] = field(default_factory=dict, init=False)  # last tick's
    _check: Callable[[], None] = field(default=lambda: None, init=False)

    def run(self) -> Status:
        """Reindex, and return when the month is published or nothing moves any more.

        Raises ReindexError if the corpus cannot be listed or the plan cannot be made.
        """
        with open_instance(self.settings) as instance, unswallowed_interrupts() as self._check:
            fail_lost_runs(instance)
            is_alone = not daemon_is_running(instance)
            if is_alone:
                self._take_over(instance)
            else:
                self.on_note("the Dagster daemon is running: its sensors do the rest")
            request = dg.RunRequest(
                job_name=REINDEX.name, partition_key=self.month, tags=dict(self.tags)
            )
            failure = self._execute(instance, request)
            if failure is not None:
                raise ReindexError(failure)
            status = self._status()
            self.on_status(status)
            if status.n_elsewhere:
                self.on_note(
                    f"{status.n_elsewhere} shards are under way at another provider than the one "
                    "that answers now; they wait for a run that talks to it (is the key set?)"
                )
            while True:
                if not is_alone and not daemon_is_running(instance):
                    self.on_note("the Dagster daemon has ended; this process goes on")
                    self._take_over(instance)
                    is_alone = True
                before, now = status, utc_now()
                n_runs = self._tick(instance) if is_alone else 0
                status = self._status()
                self.on_status(status)
                self._say_what_is_unconfirmed(status)
                # A change without a run counts: one sensor may have made work for another.
                is_still = n_runs == 0 and status == before
                if status.building is None or (
                    is_still and not status.is_waiting(now, has_daemon=not is_alone)
                ):
                    return status
                if n_runs == 0:
                    self.sleep(poll_interval_s(self.settings))

    def _tick(self, instance: dg.DagsterInstance) -> int:
        """Evaluate every sensor once and execute what it asks for; the number of runs."""
        n_runs = 0
        for sensor in build_sensors(self.settings):
            context = dg.build_sensor_context(
                instance=instance,
                cursor=self._cursors.get(sensor.name),
                definitions=self.definitions,
                resources=build_resources(self.settings),
            )
            with _warnings_of(context) as troubles:
                try:
                    tick = sensor.evaluate_tick(context)
                except (EmbeddingAssetsError, GeminiOutOfReachError) as exc:
                    troubles.append(str(exc))
                    continue
                finally:
                    self._say_news(sensor.name, troubles)
            self._cursors[sensor.name] = tick.cursor
            for event in tick.asset_events:
                instance.report_runless_asset_event(event)
            for request in tick.run_requests or ():
                if _was_run(instance, request):
                    continue
                n_runs += 1
                failure = self._execute(instance, request)
                if failure is not None:
                    self.on_note(failure)
        return n_runs

    def _say_news(self, sensor_name: str, troubles: Sequence[str]) -> None:
        """What went wrong at one tick after the other is said once."""
        before = self._troubles.get(sensor_name, frozenset())
        self._troubles[sensor_name] = frozenset(troubles)
        for trouble in troubles:
            if trouble not in before:
                self.on_note(trouble)

    def _execute(self, instance: dg.DagsterInstance, request: dg.RunRequest) -> str | None:
        """Run a job here and now; why it failed, or None."""
        return _execute(
            self.definitions, instance, request, self.settings, self.on_note, self._check
        )

    def _say_what_is_unconfirmed(self, status: Status) -> None:
        if status.n_unconfirmed_jobs:
            grace_s = self.settings.limits.unconfirmed_grace_s
            self.on_note(
                f"{status.n_unconfirmed_jobs} jobs may or may not exist, their creation was not "
                f"answered; looking for them, and submitting again after {grace_s:g} s without"
            )

    def _take_over(self, instance: dg.DagsterInstance) -> None:
        """What a daemon asked for or reported is neither done nor said here yet."""
        forget_outage(instance)
        with open_index(self.settings.index_path, create=True) as index:
            index.jobs.forget_requested_runs()

    def _status(self) -> Status:
        with open_index(self.settings.index_path) as index:
            return read_status(index, self.settings)


def serve_generation(
    definitions: dg.Definitions,
    settings: Settings,
    generation: Generation,
    *,
    allow: Iterable[GateName],
    on_note: Callable[[str], None],
) -> None:
    """Publish a generation by the same run as in the UI, whether it is new or was served before.

    Raises PublishingError if a gate that is not allowed is shut.
    """
    request = dg.RunRequest(
        job_name=PUBLISH_INDEX.name,
        partition_key=generation.month,
        tags={
            GENERATION_TAG: str(generation.generation_id),
            ALLOW_TAG: " ".join(sorted(allow)),
        },
    )
    with open_instance(settings) as instance, unswallowed_interrupts() as check:
        failure = _execute(definitions, instance, request, settings, on_note, check)
    if failure is not None:
        raise PublishingError(failure)


def _execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    request: dg.RunRequest,
    settings: Settings,
    on_note: Callable[[str], None],
    check: Callable[[], None],
) -> str | None:
    """Run a job here and now, and say what its assets have to say; why it failed, or None.

    Others are alerted, as the sensors do for the daemon's runs. ``check`` raises if a person has
    interrupted it: that is no failure to tell anybody of.
    """
    key_tag = {RUN_KEY_TAG: request.run_key} if request.run_key else {}
    result = definitions.resolve_job_def(request.job_name or "").execute_in_process(
        instance=instance,
        run_config=_QUIET,
        partition_key=request.partition_key,
        asset_selection=request.asset_selection,
        tags={**request.tags, **key_tag, PID_TAG: str(os.getpid())},
        raise_on_error=False,
    )
    for event in result.get_asset_materialization_events():
        metadata = event.step_materialization_data.materialization.metadata
        for name in _SENTENCES:
            if name in metadata and (event.asset_key, name) != _SHOWN_AT_THE_END:
                on_note(str(metadata[name].value))
        if event.asset_key == SEARCH_INDEX:
            alert = publication_alert(event.step_materialization_data.materialization)
            _note_if(tell(alert, settings), on_note)
    check()  # not sooner: what is published is published
    if result.success:
        return None
    run = result.dagster_run
    why = failure_words(instance, run)
    _note_if(tell_failure(instance, run, why, settings, now=utc_now()), on_note)
    return _failure_of(result)


def _note_if(problem: str | None, on_note: Callable[[str], None]) -> None:
    if problem is not None:
        on_note(problem)


@contextmanager
def _warnings_of(context: dg.SensorEvaluationContext) -> Iterator[list[str]]:
    """What a sensor warns of, instead of its whole log on the terminal."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    context.log.handlers = [handler]
    yield found


def _was_run(instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    """A key is good for one run, as in the daemon."""
    if request.run_key is None:
        return False
    filters = dg.RunsFilter(tags={RUN_KEY_TAG: request.run_key})
    return bool(instance.get_runs(filters=filters, limit=1))


def _failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The first failed step's words."""
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return data.user_failure_data.description
        error = data.error.cause or data.error if data.error else None
        return f"{event.step_key}: {_first_line(error.message) if error else 'no reason given'}"
    return f"run {result.run_id} of {result.job_def.name} failed before its first step"


def _first_line(message: str) -> str:
    """An error of SQL goes on with the statement, and an index has other people's words in it."""
    return message.strip().partition("\n")[0]
