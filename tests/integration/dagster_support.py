"""A whole pipeline in one process: a corpus, an emulator over HTTP, a Dagster instance.

Belongs here: launching jobs and sensors the way the UI and the daemon do, and what they left; and
not doing again for every test what many begin with. Does not belong here: expectations.
"""

import hashlib
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import pytest

from embedding_assets.definitions import build_definitions
from embedding_assets.defs.headless import HeadlessReindex
from embedding_assets.defs.instance import INSTANCE_SETTINGS, open_instance
from embedding_assets.defs.partitions import SHARDS
from embedding_assets.defs.resources import build_resources
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import Emulator, running
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.gemini.connection import connect
from embedding_assets.model.batch_jobs import BatchJob
from embedding_assets.pipeline.status import Status, read_status
from embedding_assets.reader.search import Hit, search
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import open_index
from embedding_assets.store.published import Failure
from tests.factories import write_corpus

MONTH = "2026-11"
DIMENSIONS = 16

ANIMALS = (
    *("aardvark", "badger", "capybara", "dolphin", "echidna", "flamingo", "gecko", "hedgehog"),
    *("ibex", "jaguar", "kangaroo", "lemur", "mongoose", "narwhal", "ocelot", "pangolin"),
    *("quokka", "raccoon", "salamander", "tapir", "umbrellabird", "vicuna", "walrus", "xerus"),
)

# Dagster's own log goes to the event log; a terminal full of it helps nobody.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_TICKS = 40

Result = dg.ExecuteInProcessResult
T = TypeVar("T")


def text_about(animal: str) -> str:
    """What the document about an animal says; one chunk."""
    return f"The {animal} is an animal. Everything here is about the {animal}."


def digest(text: str) -> str:
    """By which the emulator's bill names a text."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """One data directory with everything that works on it."""

    settings: Settings
    docs: Path
    emulator: Emulator
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    draws_pictures: bool = False
    notes: list[str] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)

    # --- doing ------------------------------------------------------------------------------

    def with_settings(self, **changes: Any) -> "Pipeline":
        """The same data directory under other settings."""
        settings = self.settings.model_copy(update=changes)
        return replace(self, settings=settings, definitions=build_definitions(settings))

    def write(self, animals: Sequence[str]) -> None:
        """A document for each of these animals."""
        write_corpus(self.docs, {f"{animal}.txt": text_about(animal) for animal in animals})

    def fault(self, kind: FaultKind, **values: Any) -> None:
        """Put a rule in force at the emulator."""
        self.emulator.state.faults.add(Fault(kind=kind, **values))

    def run(
        self,
        job: str,
        *,
        month: str | None = None,
        shards: Sequence[str] = (),
        only: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> Result:
        """Run a job for a month, or for a range of shards, as a launch from the UI does."""
        ranged = {"start": shards[0], "end": shards[-1]} if shards else {}
        range_tags = {f"dagster/asset_partition_range_{end}": key for end, key in ranged.items()}
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            run_config=_QUIET,
            partition_key=month,
            asset_selection=[dg.AssetKey(only)] if only else None,
            tags={**range_tags, **(tags or {})},
            raise_on_error=False,
        )

    def plan(self) -> list[str]:
        """Run the reindex job; the keys of the shards that are planned now."""
        assert self.run("reindex", month=MONTH).success
        return self.shard_keys()

    def brought_to(self, steps: Callable[["Pipeline"], T]) -> T:
        """As after these first steps, with what they return.

        They are taken once for the same documents, settings and faults. The next test gets a copy
        of what they left, in a hundredth of the time; so nothing else may have been done before.
        """
        assert not self.settings.index_path.exists(), "something was done before the first steps"
        assert not self.settings.dagster_dir.exists(), "only what is in memory can be copied"
        gemini = self.emulator.state
        begin = (
            steps,
            self.settings.model_dump_json(exclude={"gemini", "alerts"}),
            self.draws_pictures,
            _files(self.docs),
            repr((gemini.settings, [record.fault for record in gemini.faults.records()])),
        )
        if begin in _LEFT:
            result, copy = _LEFT[begin]
            copy.restore(self)
        else:
            result = steps(self)
            gemini.wait_idle()
            _LEFT[begin] = result, _Copy.of(self, self.directory.with_name(f"copy {len(_LEFT)}"))
        return result  # type: ignore[no-any-return]

    def reindex(self) -> Status:
        """A whole reindex, as the daemon does it: the job, then its sensors."""
        self.plan()
        self.settle()
        with open_index(self.settings.index_path) as index:
            return read_status(index, self.settings)

    def poll(self) -> list[dg.RunRequest]:
        """Evaluate the poll sensor once; the runs it asks for."""
        return self.ask("poll_batch_jobs_sensor")

    def ask(self, sensor_name: str) -> list[dg.RunRequest]:
        """Evaluate a sensor once; the runs it asks for."""
        sensor = self.definitions.resolve_sensor_def(sensor_name)
        tick = sensor.evaluate_tick(self.sensor_context())
        for event in tick.asset_events:
            self.instance.report_runless_asset_event(event)
        return list(tick.run_requests or ())

    def sensor_context(self) -> dg.SensorEvaluationContext:
        """What the daemon gives a sensor."""
        return dg.build_sensor_context(
            instance=self.instance,
            definitions=self.definitions,
            resources=build_resources(self.settings),
        )

    def settle(self) -> None:
        """Play the daemon until its sensors ask for nothing and change nothing any more."""
        used: set[str | None] = set()
        for _ in range(_TICKS):
            self.emulator.state.wait_idle()
            before = self._content()
            asked = [r for name in SENSORS for r in self.ask(name) if r.run_key not in used]
            used.update(request.run_key for request in asked)
            for request in asked:
                self._launch(request)
            if not asked and self._content() == before:
                return
        raise AssertionError("the sensors do not come to rest")

    def _content(self) -> list[str]:
        """All that is in the index."""
        if not self.settings.index_path.exists():
            return []
        with closing(sqlite3.connect(self.settings.index_path)) as connection:
            return list(connection.iterdump())

    def _launch(self, request: dg.RunRequest) -> Result:
        return self.definitions.resolve_job_def(request.job_name or "").execute_in_process(
            instance=self.instance,
            run_config=_QUIET,
            partition_key=request.partition_key,
            asset_selection=request.asset_selection,
            tags=request.tags,
            raise_on_error=False,
        )

    def headless(self, month: str = MONTH) -> Status:
        """Reindex a month as the command line does."""
        return HeadlessReindex(
            definitions=self.definitions,
            settings=self.settings,
            month=month,
            on_status=self.statuses.append,
            on_note=self.notes.append,
            sleep=_wait_a_moment,
        ).run()

    def interrupt_headless(
        self, monkeypatch: pytest.MonkeyPatch, is_the_moment: Callable[[dg.DagsterEvent], bool]
    ) -> None:
        """A headless reindex that gets a Ctrl-C as Dagster first stores such an event, and ends."""
        report = dg.DagsterInstance.handle_new_event
        is_done = False

        def interrupt(instance: dg.DagsterInstance, event: dg.EventLogEntry, **rest: Any) -> None:
            nonlocal is_done
            report(instance, event, **rest)
            found = event.dagster_event
            if not is_done and found is not None and is_the_moment(found):
                is_done = True
                signal.raise_signal(signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with monkeypatch.context() as dagster_only:
                dagster_only.setattr(dg.DagsterInstance, "handle_new_event", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    self.headless()
        finally:
            signal.signal(signal.SIGINT, before)

    # --- looking ----------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where everything is: the documents, the data and the emulator's own."""
        return self.docs.parent

    def shard_keys(self) -> list[str]:
        """All shards that Dagster knows, in the order of planning."""
        return list(self.instance.get_dynamic_partitions(SHARDS.name or ""))

    def partitions(self, asset: str) -> dict[str, str]:
        """Every shard's colour for an asset: materialized, failed or missing."""
        found = self.instance.get_status_by_partition(dg.AssetKey(asset), self.shard_keys(), SHARDS)
        return {
            key: status.value.lower() if (status := (found or {}).get(key)) else "missing"
            for key in self.shard_keys()
        }

    def materializations(self, asset: str) -> dict[str, dict[str, Any]]:
        """The newest materialization's metadata of every partition."""
        records = self.instance.fetch_materializations(dg.AssetKey(asset), limit=1000).records
        found: dict[str, dict[str, Any]] = {}
        for record in records:
            event = record.asset_materialization
            assert event is not None
            found.setdefault(event.partition or "", dict(event.metadata))
        return found

    def values(self, asset: str) -> dict[str, dict[str, Any]]:
        """As ``materializations``, with plain values instead of Dagster's."""
        return {
            partition: {name: entry.value for name, entry in metadata.items()}
            for partition, metadata in self.materializations(asset).items()
        }

    def bill(self) -> tuple[int, int]:
        """Jobs created and requests bought at the emulator so far."""
        self.emulator.state.wait_idle()
        bill = self.emulator.state.bill()
        assert bill.bought_twice == ()
        return bill.jobs_created, bill.requests

    def bought(self) -> set[str]:
        """The digests of the texts bought so far."""
        return {text.sha256 for text in self.emulator.state.bill().texts}

    def job(self, key: str) -> BatchJob:
        """A shard's newest attempt."""
        with open_index(self.settings.index_path) as index:
            job = index.jobs.newest_job(index.shards.get(key))
        assert job is not None
        return job

    def failures(self) -> list[Failure]:
        """What the newest generation could not use."""
        with open_index(self.settings.index_path) as index:
            generation = index.generations.building() or index.generations.published()
            assert generation is not None
            return index.published.failures(generation)

    def search(self, query: str, k: int = 3) -> list[Hit]:
        """What a reader finds."""
        connection = connect(self.emulator.base_url, address_file=self.docs, environ={})
        client = GeminiClient(connection, api_version="v1beta", timeout_s=20)
        with closing(client), open_index(self.settings.index_path) as index:
            return search(index, client, query, k=k)


def _files(directory: Path) -> tuple[tuple[str, bytes], ...]:
    """Everything in the files of a directory, by name."""
    return tuple(sorted((path.name, path.read_bytes()) for path in directory.iterdir()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """What a pipeline has written: files, the emulator's database, and Dagster's, in memory."""

    directory: Path
    databases: tuple[sqlite3.Connection, ...]

    @classmethod
    def of(cls, pipeline: Pipeline, directory: Path) -> "_Copy":
        for name in ("data", "emulator"):
            shutil.copytree(pipeline.directory / name, directory / name, ignore=_ignore_state)
        copies = []
        with _databases(pipeline) as originals:
            for original in originals:
                copies.append(sqlite3.connect(":memory:", check_same_thread=False))
                original.backup(copies[-1])
        return cls(directory=directory, databases=tuple(copies))

    def restore(self, pipeline: Pipeline) -> None:
        for name in ("data", "emulator"):
            shutil.copytree(self.directory / name, pipeline.directory / name, dirs_exist_ok=True)
        with _databases(pipeline) as originals:
            for copy, original in zip(self.databases, originals, strict=True):
                copy.backup(original)


_LEFT: dict[Hashable, tuple[Any, _Copy]] = {}
_ignore_state = shutil.ignore_patterns("state.db*", "lock")


@contextmanager
def _databases(pipeline: Pipeline) -> Iterator[tuple[sqlite3.Connection, ...]]:
    """Those that are open, the emulator's and Dagster's; for the latter there is no public way."""
    instance = pipeline.instance
    storages: list[Any] = [instance.run_storage, instance.event_log_storage]
    held = [storage._held_conn.connection.dbapi_connection for storage in storages]
    with closing(sqlite3.connect(pipeline.directory / "emulator" / "state.db")) as emulator:
        yield (emulator, *held)


SENSORS = ("submit_shards_sensor", "poll_batch_jobs_sensor", "publish_index_sensor")


_ONE_FILE = """\
event_log_storage:
  module: dagster._core.storage.event_log
  class: ConsolidatedSqliteEventLogStorage
  config:
    base_dir: "{directory}/events"
"""


@contextmanager
def a_pipeline(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_persistent: bool = False,
    draws_pictures: bool = False,
    **sections: Any,
) -> Iterator[Pipeline]:
    """A new pipeline; ``sections`` change settings, as in ``limits={"max_requests_per_job": 5}``.

    By default a job takes four requests, and even few go by the Batch API. The instance is kept
    in memory, unless a headless reindex is to share it; then all of its events are in one file,
    because to make Dagster's usual one for each run takes longer than the run. Pictures take a
    quarter of a reindex: without matplotlib there are none, which is no more than a warning.
    """
    scrub(monkeypatch)
    if not draws_pictures:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    # For every test the same: paths are part of what is copied from one to another.
    directory = tmp_path.with_name("pipeline")
    shutil.rmtree(directory, ignore_errors=True)
    docs = directory / "docs"
    docs.mkdir(parents=True)
    with running(directory / "emulator", settings=EmulatorSettings(latency_s=0)) as emulator:
        limits = {"max_requests_per_job": 4, "min_batch_requests": 0}
        settings = Settings.model_validate(
            {
                "data_dir": directory / "data",
                "corpus": {"paths": (str(docs),)},
                "embedding": {"dimensions": DIMENSIONS},
                "gemini": {"base_url": emulator.base_url, "timeout_s": 20},
                **sections,
                "limits": {**limits, **sections.get("limits", {})},
                # What it costs to compare some texts would be in every number of every test.
                "publishing": {"agreement_samples": 0, **sections.get("publishing", {})},
                # What is sent is the text that a test has written.
                "chunking": {"path": False, **sections.get("chunking", {})},
            }
        )
        if is_persistent:
            settings.dagster_dir.mkdir(parents=True)
            config = INSTANCE_SETTINGS + _ONE_FILE.format(directory=settings.dagster_dir)
            (settings.dagster_dir / "dagster.yaml").write_text(config)
        opened = open_instance(settings) if is_persistent else dg.DagsterInstance.ephemeral()
        with opened as instance:
            yield Pipeline(
                settings=settings,
                docs=docs,
                emulator=emulator,
                instance=instance,
                definitions=build_definitions(settings),
                draws_pictures=draws_pictures,
            )


def scrub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no Dagster home and no setting of the machine reaches a test."""
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "DAGSTER_HOME", "EMBEDDING_ASSETS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def failure_of(result: Result) -> str:
    """A failed run's own words."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            return f"unexpected: {data.error.to_string() if data.error else 'no reason'}"
    return ""


def counts_check(result: Result) -> dg.AssetCheckEvaluation | None:
    """The verdict of ``requests_add_up`` in a run, if it was recorded."""
    found = [e for e in result.get_asset_check_evaluations() if e.check_name == "requests_add_up"]
    return found[0] if found else None


def _wait_a_moment(_seconds: float) -> None:
    threading.Event().wait(0.02)
