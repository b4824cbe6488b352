"""A whole reindex without webserver and daemon: the same assets, sensors and instance.

Belongs here: evaluating the sensors and executing what they ask for, until nothing moves.
Does not belong here: showing it (cli/) and hearing signals (interrupts.py).
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from embedding_assets.clock import utc_now
from embedding_assets.defs.alerts import SEARCH_INDEX, publication_alert, tell, tell_failure
from embedding_assets.defs.at_work import at_work
from embedding_assets.defs.failures import TickFailedError, why_failed
from embedding_assets.defs.instance import daemon_is_running, fail_lost_runs, open_instance
from embedding_assets.defs.interrupts import unswallowed_interrupts
from embedding_assets.defs.jobs import COLLECT_EMBEDDINGS, PUBLISH_INDEX, REINDEX
from embedding_assets.defs.outage import forget_outage
from embedding_assets.defs.partitions import add_shards, check_month
from embedding_assets.defs.resources import build_resources
from embedding_assets.defs.sensors import build_sensors, poll_interval_s
from embedding_assets.defs.tags import RUN_KEY_TAG, RunTags
from embedding_assets.errors import PublishingError, ReindexError, ResultFileError
from embedding_assets.model.gates import GateName
from embedding_assets.model.generations import Generation
from embedding_assets.model.reading import Reading
from embedding_assets.pipeline.status import Status, read_status
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import open_index

# Sentences for people in the metadata of a materialization. What search_index says of itself is
# what the command shows at its end.
_SENTENCES = ("summary", "files", "retention")
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
    tags: RunTags = field(default_factory=RunTags)  # of the run that plans
    sleep: Callable[[float], None] = time.sleep

    def run(self) -> Status:
        """Reindex, and return when the month is published or nothing moves any more.

        Raises ReindexError if the corpus cannot be listed or the plan cannot be made.
        """
        with (
            _running(self.definitions, self.settings, self.on_note) as runs,
            at_work(self.settings.data_dir, now=utc_now()) as other,
        ):
            if other is not None:
                self.on_note(other)
            fail_lost_runs(runs.instance)
            self._say_where_a_new_index_is_made()
            is_alone = not daemon_is_running(runs.instance)
            if is_alone:
                self._take_over(runs.instance)
            else:
                self.on_note("the Dagster daemon is running: its sensors do the rest")
            self._plan(runs)
            return self._settle(runs, is_alone=is_alone)

    def _say_where_a_new_index_is_made(self) -> None:
        path = self.settings.index_path
        if not path.exists():
            where = str(path.absolute())
            self.on_note(f"there is no index at {where!r} yet; a new one is made there")

    def _plan(self, runs: "_Runs") -> None:
        request = dg.RunRequest(
            job_name=REINDEX.name, partition_key=self.month, tags=self.tags.as_tags()
        )
        failure = runs.execute(request)
        if failure is not None:
            raise ReindexError(failure)

    def _settle(self, runs: "_Runs", *, is_alone: bool) -> Status:
        """Evaluate the sensors and execute what they ask for, or watch the daemon do it."""
        sensors = _Sensors(definitions=self.definitions, settings=self.settings, runs=runs)
        status = self._look()
        self._say_what_waits_elsewhere(status)
        while True:
            if not is_alone and not daemon_is_running(runs.instance):
                self.on_note("the Dagster daemon has ended; this process goes on")
                self._take_over(runs.instance)
                is_alone = True
            before, now = status, utc_now()
            n_runs = sum(map(runs.execute_if_new, sensors.ask())) if is_alone else 0
            status = self._look()
            # A change without a run counts: one sensor may have made work for another.
            is_still = n_runs == 0 and status == before
            is_waiting = status.is_waiting(now, has_daemon=not is_alone)
            if status.building is None or (is_still and not is_waiting):
                return status
            # What waits and is not moved by a run may be asked for again at once.
            if n_runs == 0 or (is_waiting and status == before):
                self.sleep(poll_interval_s(self.settings))

    def _look(self) -> Status:
        with open_index(self.settings.index_path) as index:
            status = read_status(index, self.settings)
        self.on_status(status)
        return status

    def _say_what_waits_elsewhere(self, status: Status) -> None:
        if status.n_elsewhere:
            self.on_note(
                f"{status.n_elsewhere} shards are under way at another provider than the one "
                "that answers now; they wait for a run that talks to it (is the key set?)"
            )

    def _take_over(self, instance: dg.DagsterInstance) -> None:
        """What a daemon asked for or reported is neither done nor said here yet."""
        forget_outage(instance)
        with open_index(self.settings.index_path, create=True) as index:
            index.jobs.forget_requested_runs()


def serve_generation(
    definitions: dg.Definitions,
    settings: Settings,
    generation: Generation,
    *,
    allow: Iterable[GateName],
    on_note: Callable[[str], None],
) -> None:
    """Publish a generation by the same run as in the UI, whether it is new or was served before.

    Raises PublishingError if a gate that is not allowed is shut, SettingsError if the generation's
    month is no partition by these settings.
    """
    check_month(generation.month, settings, what="the generation's month")
    tags = RunTags(generation=generation.generation_id, allow=frozenset(allow))
    request = dg.RunRequest(
        job_name=PUBLISH_INDEX.name, partition_key=generation.month, tags=tags.as_tags()
    )
    with _running(definitions, settings, on_note) as runs:
        failure = runs.execute(request)
    if failure is not None:
        raise PublishingError(failure)


def read_answers(
    definitions: dg.Definitions,
    settings: Settings,
    shard_keys: Sequence[str],
    *,
    reading: Reading,
    on_note: Callable[[str], None],
) -> None:
    """Read once more what these shards were answered, by the same runs as in the UI.

    Raises ResultFileError if one cannot be read: the others are read all the same.
    """
    failures: list[str] = []
    with _running(definitions, settings, on_note) as runs:
        add_shards(runs.instance, shard_keys)
        for key in shard_keys:
            request = dg.RunRequest(
                job_name=COLLECT_EMBEDDINGS.name,
                partition_key=key,
                tags=RunTags(read=reading).as_tags(),
            )
            failures += filter(None, [runs.execute(request)])
    if failures:
        raise ResultFileError("; ".join(failures))


@contextmanager
def _running(
    definitions: dg.Definitions, settings: Settings, on_note: Callable[[str], None]
) -> Iterator["_Runs"]:
    with open_instance(settings) as instance, unswallowed_interrupts() as check:
        yield _Runs(
            definitions=definitions,
            instance=instance,
            settings=settings,
            on_note=on_note,
            check_interrupts=check,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """Runs in this process, and what there is to say about them."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    settings: Settings
    on_note: Callable[[str], None]
    check_interrupts: Callable[[], None]  # raises: an interrupt is no failure to tell anybody of

    def execute_if_new(self, request: dg.RunRequest) -> bool:
        """Whether there was anything to run: a key is good for one run, as in the daemon."""
        filters = dg.RunsFilter(tags={RUN_KEY_TAG: request.run_key or ""})
        if request.run_key is not None and self.instance.get_runs(filters=filters, limit=1):
            return False
        failure = self.execute(request)
        if failure is not None:
            self.on_note(failure)
        return True

    def execute(self, request: dg.RunRequest) -> str | None:
        """Run a job here and now, and say what its assets have to say; why it failed, or None.

        Others are alerted, as the sensors do for the daemon's runs.
        """
        key_tag = {RUN_KEY_TAG: request.run_key} if request.run_key else {}
        result = self.definitions.resolve_job_def(request.job_name or "").execute_in_process(
            instance=self.instance,
            run_config=_QUIET,
            partition_key=request.partition_key,
            asset_selection=request.asset_selection,
            tags={**request.tags, **key_tag, **RunTags(pid=os.getpid()).as_tags()},
            raise_on_error=False,
        )
        for event in result.get_asset_materialization_events():
            self._say(event.step_materialization_data.materialization)
        self.check_interrupts()  # not sooner: what is published is published
        if result.success:
            return None
        run = result.dagster_run
        why = why_failed(self.instance, run)
        self._note_if(tell_failure(self.instance, run, why.told, self.settings, now=utc_now()))
        return why.shown

    def _say(self, materialization: dg.AssetMaterialization) -> None:
        for name in _SENTENCES:
            sentence = materialization.metadata.get(name)
            if (materialization.asset_key, name) != _SHOWN_AT_THE_END and sentence is not None:
                self.on_note(str(sentence.value))
        if materialization.asset_key == SEARCH_INDEX:
            self._note_if(tell(publication_alert(materialization), self.settings))

    def _note_if(self, problem: str | None) -> None:
        if problem is not None:
            self.on_note(problem)


@dataclass(slots=True, kw_only=True)
class _Sensors:
    """The sensors as the daemon evaluates them: each with its cursor from tick to tick."""

    definitions: dg.Definitions
    settings: Settings
    runs: _Runs
    _cursors: dict[str, str | None] = field(default_factory=dict, init=False)
    _troubles: dict[str, frozenset[str]] = field(default_factory=dict, init=False)  # last tick's

    def ask(self) -> Iterator[dg.RunRequest]:
        """Evaluate every sensor once, each after what the ones before it have asked for is done."""
        for sensor in build_sensors(self.settings):
            yield from self._tick(sensor)

    def _tick(self, sensor: dg.SensorDefinition) -> list[dg.RunRequest]:
        instance = self.runs.instance
        context = dg.build_sensor_context(
            instance=instance,
            cursor=self._cursors.get(sensor.name),
            definitions=self.definitions,
            resources=build_resources(self.settings),
        )
        with _warnings_of(context) as troubles:
            try:
                tick = sensor.evaluate_tick(context)
            except TickFailedError as exc:
                troubles.append(str(exc))
                return []
            finally:
                self._say_news(sensor.name, troubles)
        self._cursors[sensor.name] = tick.cursor
        for event in tick.asset_events:
            instance.report_runless_asset_event(event)
        return list(tick.run_requests or ())

    def _say_news(self, sensor_name: str, troubles: Iterable[str]) -> None:
        """What went wrong at one tick after the other is said once."""
        before = self._troubles.get(sensor_name, frozenset())
        self._troubles[sensor_name] = frozenset(troubles)
        for trouble in troubles:
            if trouble not in before:
                self.runs.on_note(trouble)


@contextmanager
def _warnings_of(context: dg.SensorEvaluationContext) -> Iterator[list[str]]:
    """What a sensor warns of, instead of its whole log on the terminal."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    context.log.handlers = [handler]
    yield found
