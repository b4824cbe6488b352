"""From three tiny requests to what the live service does with them.

Belongs here: sending the canary, waiting for it with a bound, cleaning up after it.
Does not belong here: judging its result lines (canary.py).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from embedding_assets.doctor.canary import (
    CanaryReport,
    Observation,
    Verdict,
    canary_lines,
    compared,
    observe_results,
)
from embedding_assets.errors import GeminiError, LedgerError, RefusedError
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import LIVE_STATES, JobState, RemoteJob
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.settings.values import Settings

MAX_WAIT_S = 1800.0

# Unlike any display name of an index: no poll and no doctor takes it for its own.
_PREFIX = "embedding-assets-canary/"
_FIRST_INTERVAL_S = 1.0
_LONGEST_INTERVAL_S = 30.0
_LISTED_JOBS = 100


def send_canary(
    gemini: GeminiClient,
    settings: Settings,
    *,
    sleep: Callable[[float], None],
    max_wait_s: float = MAX_WAIT_S,
) -> CanaryReport:
    """Send three requests as one batch job and compare each answer with what is assumed.

    What goes wrong is an observation, never an error. Its file is deleted, and its job cancelled
    if it has not ended, whatever happens.
    """
    spec = EmbeddingSpec.of(settings.embedding, provider=gemini.provider)
    canary = _Canary(gemini=gemini, spec=spec, sleep=sleep, max_wait_s=max_wait_s)
    try:
        with TemporaryDirectory() as directory:
            canary.send(Path(directory), settings.gemini.api_version)
    except RefusedError as exc:
        canary.see(compared("the call is accepted", exc, is_so=False))
    except (GeminiError, LedgerError) as exc:
        canary.miss("the call is answered as the API describes", str(exc))
    finally:
        canary.clean_up()
    return CanaryReport(provider=gemini.provider, observations=tuple(canary.observations))


@dataclass(slots=True, kw_only=True)
class _Canary:
    """One canary, from the upload to the end of its job."""

    gemini: GeminiClient
    spec: EmbeddingSpec
    sleep: Callable[[float], None]
    max_wait_s: float
    display_name: str = field(default_factory=lambda: f"{_PREFIX}{secrets.token_hex(4)}")
    observations: list[Observation] = field(default_factory=list)
    _file_name: str | None = None
    _job: RemoteJob | None = None
    _waited_s: float = 0.0

    def see(self, observation: Observation) -> None:
        self.observations.append(observation)

    def miss(self, assumption: str, why: str) -> None:
        self.see(Observation(assumption=assumption, answer=why, verdict=Verdict.NOT_SEEN))

    def send(self, directory: Path, api_version: str) -> None:
        path = directory / "canary.jsonl"
        path.write_bytes(b"".join(canary_lines(self.spec)))
        self._file_name = self.gemini.upload(path, display_name=self.display_name)
        self._job = self._created(self._file_name)
        self.see(
            compared(
                f"{api_version} takes a JSONL file and makes a batch job of it",
                f"{self._file_name}, {self._job.name}",
                is_so=self._job.name.startswith("batches/"),
            )
        )
        self._look_at_list(self._job)
        ended = self._wait(self._job)
        if ended is not None:
            self._look_at_results(ended, directory / "results.jsonl")

    def _created(self, file_name: str) -> RemoteJob:
        return self.gemini.create_embeddings_job(
            model=self.spec.model, input_file_name=file_name, display_name=self.display_name
        )

    def _look_at_list(self, job: RemoteJob) -> None:
        listed = self._newest_jobs()
        found = next((other for other in listed if other.name == job.name), None)
        self.see(
            compared(
                "a new job is in the list at once, with its display name as it was given",
                f"listed as {found.display_name!r}" if found else "it is not listed",
                is_so=found is not None and self._is_ours(found),
            )
        )
        times = [other.created_at for other in listed if other.created_at is not None]
        self.see(
            compared(
                "the list begins with the newest job",
                f"{len(times)} of {len(listed)} jobs with a time of creation, "
                f"the new one at place {listed.index(found) + 1 if found else 'none'}",
                is_so=len(times) == len(listed) and times == sorted(times, reverse=True),
            )
        )

    def _wait(self, job: RemoteJob) -> RemoteJob | None:
        """The job when it has ended; None if that took too long or cannot be known."""
        interval_s = _FIRST_INTERVAL_S
        while (found := self.gemini.get_job(job.name)) is not None:
            self._job = found
            if found.state not in LIVE_STATES:
                self._see_end(found)
                return found if found.state is JobState.SUCCEEDED else None
            if self._waited_s >= self.max_wait_s:
                self.miss(
                    f"a job of three requests ends within {self.max_wait_s / 60:.0f} minutes",
                    f"{job.name} is still {found.state_name}; its cancellation is asked for",
                )
                return None
            self.sleep(interval_s)
            self._waited_s += interval_s
            interval_s = min(interval_s * 2, _LONGEST_INTERVAL_S)
        self._job = None
        self.see(compared("a job is known by its name", f"{job.name} is not known", is_so=False))
        return None

    def _see_end(self, job: RemoteJob) -> None:
        self.see(
            compared(
                "a job with a bad request among good ones succeeds",
                f"{job.state_name} after {self._waited_s:.0f} s: "
                f"{job.error_message or 'without an error'}",
                is_so=job.state is JobState.SUCCEEDED,
            )
        )

    def _look_at_results(self, job: RemoteJob, path: Path) -> None:
        named = f"files/batch-{job.name.removeprefix('batches/')}"
        self.see(
            compared(
                "a job that succeeded names its result file, after its own name",
                job.result_file_name if job.has_output else "it names none",
                is_so=job.has_output and job.result_file_name == named,
            )
        )
        self.gemini.download(job.result_file_name or named, path)
        lines = [line for line in path.read_bytes().split(b"\n") if line]
        for observation in observe_results(lines, self.spec):
            self.see(observation)

    def clean_up(self) -> None:
        """Leave nothing at Gemini that costs anything or holds anything."""
        if self._file_name is None:
            return
        try:
            job = self._job or self._found()
            if job is not None and _may_be_alive(job):
                self.gemini.cancel_job(job.name)
            self.gemini.delete_file(self._file_name)
            is_there = self.gemini.has_file(self._file_name)
        except GeminiError as exc:
            self.miss("an uploaded file can be deleted", f"{self._file_name} is left: {exc}")
            return
        answer = f"{self._file_name} is {'still there' if is_there else 'gone'}"
        self.see(compared("an uploaded file can be deleted", answer, is_so=not is_there))

    def _found(self) -> RemoteJob | None:
        """The job that a creation of unknown outcome may have left."""
        return next((job for job in self._newest_jobs() if self._is_ours(job)), None)

    def _is_ours(self, job: RemoteJob) -> bool:
        return job.display_name == self.display_name

    def _newest_jobs(self) -> list[RemoteJob]:
        return list(islice(self.gemini.list_jobs(), _LISTED_JOBS))


def _may_be_alive(job: RemoteJob) -> bool:
    try:
        return job.state in LIVE_STATES
    except LedgerError:  # a state that is not known
        return True
