"""The emulator itself, without HTTP: everything it knows, in one directory, safe for threads.

Here the parts meet: which jobs are admitted, what fate a fault plans for them, and the one
background thread that computes results. Whatever is left undone is done after a restart.
"""

import fcntl
import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Self

import orjson

from embedding_assets.emulator.batches import Batch, BatchState, BatchTable
from embedding_assets.emulator.bill import Bill, Cashier
from embedding_assets.emulator.database import Database
from embedding_assets.emulator.embed_requests import EmbedRequest, Model, find_model
from embedding_assets.emulator.errors import (
    ApiError,
    file_denied,
    invalid_argument,
    quota_exceeded,
)
from embedding_assets.emulator.faults.book import FaultBook, Strike
from embedding_assets.emulator.faults.kinds import (
    INLINED_FAULTS,
    JOB_FAULTS,
    LINE_FAULTS,
    SHIFT_FAULTS,
)
from embedding_assets.emulator.files import FILE_LIFETIME_S, FileStore, random_id
from embedding_assets.emulator.rate_limit import SlidingMinute
from embedding_assets.emulator.results import (
    ComputationStopped,
    InputSummary,
    ResultSummary,
    choose_answered,
    summarise_input,
    write_results,
)
from embedding_assets.emulator.settings import EmulatorSettings

RESULT_ID_PREFIX = "batch-"

_log = logging.getLogger(__name__)


class StateDirectoryInUse(Exception):
    """Another emulator keeps its state in that directory."""


class State:
    """A local Gemini's memory. Close it, or use it as a context manager.

    Raises StateDirectoryInUse if another emulator, in this process or another, has the directory,
    and OtherSchemaVersion if another version of the emulator made it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: EmulatorSettings,
        clock: Callable[[], float],
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._lock_file = _lock(directory)
        self._inputs = directory / "inputs"
        self._results = directory / "results"
        self._inputs.mkdir(exist_ok=True)
        self._results.mkdir(exist_ok=True)
        self.settings = settings
        self.clock = clock
        try:
            self._database = Database(directory / "state.db")
        except BaseException:
            self._lock_file.close()
            raise
        self.files = FileStore(directory, self._database, clock)
        self.batches = BatchTable(self._database)
        self.faults = FaultBook(self._database, lambda: self.settings.seed)
        self.cashier = Cashier(self._database)
        self._sync_requests = SlidingMinute(clock)
        self.remove_expired()
        self._stopping = threading.Event()
        self._todo: queue.Queue[str | None] = queue.Queue()
        for batch_id in self.batches.uncomputed():
            self._todo.put(batch_id)
        self._worker = threading.Thread(target=self._work, name="emulator-worker", daemon=True)
        self._worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop computing and let go of the directory."""
        self._stopping.set()
        self._todo.put(None)
        self._worker.join()
        self._database.close()
        self._lock_file.close()

    def wait_idle(self) -> None:
        """Return when the results of every job created so far have been computed."""
        self._todo.join()

    def remove_expired(self) -> None:
        """Free the disk of files and results that are no longer to be had."""
        self.files.remove_expired()
        useless = self.batches.without_results(now=self.clock(), lifetime_s=FILE_LIFETIME_S)
        for path in self._results.glob("*.jsonl"):
            if path.stem in useless:
                path.unlink(missing_ok=True)

    def bill(self) -> Bill:
        """What has been called and bought so far."""
        return self.cashier.bill(self.clock())

    def embed_now(self, requests: Sequence[EmbedRequest]) -> int:
        """Admit and bill synchronous requests; the tokens billed. Raises ApiError 429."""
        self._sync_requests.admit(len(requests), limit=self.settings.max_sync_requests_per_minute)
        self.cashier.buy(request.purchase() for request in requests)
        return sum(request.tokens for request in requests)

    def create_batch_from_file(self, model_name: str, display_name: str, file_id: str) -> Batch:
        """Create a job on an uploaded file. Raises ApiError: 400, 403, 404 or 429."""
        model = find_model(model_name)
        uploaded = self.files.path(file_id)
        batch_id = random_id(36)
        _link(uploaded, self._input(batch_id))
        return self._create(batch_id, model, display_name, input_file=f"files/{file_id}")

    def create_batch_inlined(
        self, model_name: str, display_name: str, requests: Sequence[object]
    ) -> Batch:
        """Create a job on requests that came with the call. Raises ApiError: 400, 404 or 429."""
        model = find_model(model_name)
        batch_id = random_id(36)
        with self._input(batch_id).open("wb") as file:
            for number, request in enumerate(requests):
                file.write(orjson.dumps({"key": str(number), "request": request}) + b"\n")
        return self._create(batch_id, model, display_name, input_file=None)

    def result_path(self, batch_id: str) -> Path:
        """The result file of a job whose output is there. Raises ApiError 403 otherwise."""
        path = self._results / f"{batch_id}.jsonl"
        available = self.batches.result_is_available(
            batch_id, now=self.clock(), lifetime_s=FILE_LIFETIME_S
        )
        if not available:
            raise file_denied(f"{RESULT_ID_PREFIX}{batch_id}")
        return path

    def download_path(self, file_id: str) -> Path:
        """The bytes of an uploaded file or of a result. Raises ApiError 403 if there are none."""
        if file_id.startswith(RESULT_ID_PREFIX):
            return self.result_path(file_id.removeprefix(RESULT_ID_PREFIX))
        return self.files.path(file_id)

    def inlined_responses(self, batch: Batch) -> list[dict[str, Any]] | None:
        """The answers of a job without input file, in the order of its requests, until expiry."""
        try:
            path = self.result_path(batch.batch_id)
        except ApiError:
            return None
        with path.open("rb") as file:
            answers = [orjson.loads(line) for line in file]
        return [{k: v for k, v in answer.items() if k != "key"} for answer in answers]

    def _create(
        self, batch_id: str, model: Model, display_name: str, *, input_file: str | None
    ) -> Batch:
        try:
            self._check_size(self._input(batch_id))
            summary = summarise_input(self._input(batch_id), model)
            with self._database.transaction():
                self._check_limits(model, summary)
                batch = Batch(
                    batch_id=batch_id,
                    model=model.name,
                    display_name=display_name,
                    input_file=input_file,
                    n_requests=summary.n_requests,
                    n_tokens=summary.n_tokens,
                    created_at=self.clock(),
                    latency_s=self.settings.latency_s,
                    planned_state=BatchState.SUCCEEDED,
                )
                if strike := self.faults.strike(JOB_FAULTS, display_name):
                    batch = _struck(batch, strike)
                self.batches.insert(batch)
        except BaseException:
            self._input(batch_id).unlink()
            raise
        self._todo.put(batch_id)
        return batch

    def _check_size(self, path: Path) -> None:
        size, limit = path.stat().st_size, self.settings.max_bytes_per_job
        if size > limit:
            raise invalid_argument(f"The input has {size} bytes, the limit is {limit}.")

    def _check_limits(self, model: Model, summary: InputSummary) -> None:
        settings, now = self.settings, self.clock()
        if summary.n_requests > settings.max_requests_per_job:
            raise invalid_argument(
                f"The input has {summary.n_requests} requests,"
                f" the limit is {settings.max_requests_per_job}."
            )
        n_jobs = self.batches.n_live(now) + 1
        if n_jobs > settings.max_concurrent_jobs:
            raise quota_exceeded(f"{n_jobs} concurrent jobs", str(settings.max_concurrent_jobs))
        n_tokens = self.batches.enqueued_tokens(model.name, now) + summary.n_tokens
        if n_tokens > settings.max_enqueued_tokens:
            raise quota_exceeded(f"{n_tokens} enqueued tokens", str(settings.max_enqueued_tokens))

    def _work(self) -> None:
        for batch_id in iter(self._todo.get, None):
            try:
                self._compute(batch_id)
            except ComputationStopped:
                return
            except Exception as error:
                _log.exception("The results of batches/%s cannot be computed", batch_id)
                self.batches.fail(batch_id, now=self.clock(), message=str(error))
            finally:
                self._todo.task_done()

    def _compute(self, batch_id: str) -> None:
        batch = self.batches.to_compute(batch_id)
        if batch is not None:
            strikes = self.faults.strikes(LINE_FAULTS if batch.input_file else INLINED_FAULTS)
            shifts = self.faults.strikes(SHIFT_FAULTS)
            shift = shifts.strike(batch.display_name)
            unfinished = self._results / f"{batch_id}.unfinished"
            summary = write_results(
                self._input(batch_id),
                unfinished,
                model=find_model(batch.model),
                answered=choose_answered(batch.n_requests, batch.answered, batch.answered_seed),
                shuffle_seed=self._shuffle_seed(batch),
                strikes=strikes,
                shifted_by=SHIFT_FAULTS[shift.fault.kind].n_requests if shift else 0,
                stopped=self._stopping.is_set,
            )
            unfinished.replace(self._results / f"{batch_id}.jsonl")
            with self._database.transaction():
                self.faults.record(strikes)
                self.faults.record(shifts)
                self._complete(batch, summary)
        self._input(batch_id).unlink(missing_ok=True)

    def _complete(self, batch: Batch, summary: ResultSummary) -> None:
        completed = self.batches.complete(
            batch,
            ends_at=max(batch.created_at + batch.latency_s, self.clock()),
            n_succeeded=summary.n_succeeded,
            n_failed=summary.n_failed,
        )
        if completed:
            self.cashier.buy(summary.bought, batch_id=batch.batch_id)

    def _shuffle_seed(self, batch: Batch) -> str | None:
        # Inlined answers have no keys: their order is all that tells whose they are.
        if batch.input_file is None:
            return None
        return f"{self.settings.seed}/{batch.display_name}"

    def _input(self, batch_id: str) -> Path:
        return self._inputs / f"{batch_id}.jsonl"


def _struck(batch: Batch, strike: Strike) -> Batch:
    """The job with the fate that a fault plans for it."""
    fault, fate = strike.fault, JOB_FAULTS[strike.fault.kind]
    # Those with answers wait for them, and a stuck job for ever: only the others know their end.
    knows_end = not fault.share_answered and fate.state is not BatchState.RUNNING
    return replace(
        batch,
        planned_state=fate.state,
        answered=fault.share_answered,
        answered_seed=strike.seed,
        output_delay_s=fault.delay_s if fate.is_output_late else 0.0,
        ends_at=batch.created_at + batch.latency_s if knows_end else None,
        error_message=fault.message,
    )


def _lock(directory: Path) -> IO[bytes]:
    lock_file = (directory / "lock").open("ab")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        lock_file.close()
        raise StateDirectoryInUse(f"another emulator is using {directory}") from exc
    return lock_file


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes: the job keeps its input when the file is deleted."""
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
