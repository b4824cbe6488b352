"""Canary: what gemini/client.py takes for granted, beside what the service answers.

Belongs here: three tiny requests as one job, waiting for it with a bound, the judgement on every
answer, cleaning up. Does not belong here: how it is shown (cli/show/doctor.py).

It exists because the live service could not be reached where this was written: everything known
of it is from documentation, issues and the SDK's source.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson

from embedding_assets.errors import GeminiError, LedgerError, RefusedError
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import LIVE_STATES, JobState, RemoteJob
from embedding_assets.model.passages import Passage
from embedding_assets.model.request_file import chunk_id_of, custom_id, request_line
from embedding_assets.model.results import PERMANENT_CODES, TOKENS, VALUES, parse_results, value_at
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.settings.values import Settings
from embedding_assets.wording import count

_TEXTS = {1: "A canary sings.", 2: "The mine is quiet, and the lamp burns on."}
_BAD_ID = 3
_IDS = (*_TEXTS, _BAD_ID)
_FULL_DIMENSIONS = 3072  # of gemini-embedding-001; only these come with length 1
_MAX_NORM_ERROR = 1e-2

MAX_WAIT_S = 1800.0

# Unlike any display name of an index: no poll and no doctor takes it for its own.
_PREFIX = "embedding-assets-canary/"
_FIRST_INTERVAL_S = 1.0
_LONGEST_INTERVAL_S = 30.0
_LISTED_JOBS = 100


class Comparison(StrEnum):
    """How an answer compares with what was assumed."""

    AS_ASSUMED = "as assumed"
    DIFFERENT = "different"  # gemini/client.py is to be changed, or looked at
    NOT_SEEN = "not seen"  # the answer did not come


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One assumption, what was answered, and what that says."""

    assumption: str
    answer: str
    verdict: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryReport:
    """What one canary saw."""

    provider: str
    observations: tuple[Observation, ...]

    @property
    def is_live(self) -> bool:
        """It was Google that answered."""
        return self.provider == "gemini"

    @property
    def n_unexpected(self) -> int:
        return sum(o.verdict is not Comparison.AS_ASSUMED for o in self.observations)


def compared(assumption: str, answer: object, *, is_so: bool) -> Observation:
    """What came, against what was assumed."""
    verdict = Comparison.AS_ASSUMED if is_so else Comparison.DIFFERENT
    return Observation(assumption=assumption, answer=str(answer), verdict=verdict)


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
        canary.compare("the call is accepted", exc, is_so=False)
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

    def compare(self, assumption: str, answer: object, *, is_so: bool) -> None:
        self.observations.append(compared(assumption, answer, is_so=is_so))

    def miss(self, assumption: str, why: str) -> None:
        self.observations.append(
            Observation(assumption=assumption, answer=why, verdict=Comparison.NOT_SEEN)
        )

    def send(self, directory: Path, api_version: str) -> None:
        path = directory / "canary.jsonl"
        path.write_bytes(b"".join(canary_lines(self.spec)))
        self._file_name = self.gemini.upload(path, display_name=self.display_name)
        self._job = self.gemini.create_embeddings_job(
            model=self.spec.model, input_file_name=self._file_name, display_name=self.display_name
        )
        self.compare(
            f"{api_version} takes a JSONL file and makes a batch job of it",
            f"{self._file_name}, {self._job.name}",
            is_so=self._job.name.startswith("batches/"),
        )
        self._look_at_list(self._job)
        ended = self._wait(self._job)
        if ended is not None:
            self._look_at_results(ended, directory / "results.jsonl")

    def _look_at_list(self, job: RemoteJob) -> None:
        listed = self._newest_jobs()
        found = next((other for other in listed if other.name == job.name), None)
        self.compare(
            "a new job is in the list at once, with its display name as it was given",
            f"listed as {found.display_name!r}" if found else "it is not listed",
            is_so=found is not None and self._is_ours(found),
        )
        times = [other.created_at for other in listed if other.created_at is not None]
        self.compare(
            "the list begins with the newest job",
            f"{len(times)} of {len(listed)} jobs with a time of creation, "
            f"the new one at place {listed.index(found) + 1 if found else 'none'}",
            is_so=len(times) == len(listed) and times == sorted(times, reverse=True),
        )

    def _wait(self, job: RemoteJob) -> RemoteJob | None:
        """The job when it has ended; None if that took too long or cannot be known."""
        interval_s = _FIRST_INTERVAL_S
        while (found := self.gemini.get_job(job.name)) is not None:
            self._job = found
            if found.state not in LIVE_STATES:
                self._look_at_end(found)
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
        self.compare("a job is known by its name", f"{job.name} is not known", is_so=False)
        return None

    def _look_at_end(self, job: RemoteJob) -> None:
        self.compare(
            "a job with a bad request among good ones succeeds",
            f"{job.state_name} after {self._waited_s:.0f} s: "
            f"{job.error_message or 'without an error'}",
            is_so=job.state is JobState.SUCCEEDED,
        )

    def _look_at_results(self, job: RemoteJob, path: Path) -> None:
        named = f"files/batch-{job.name.removeprefix('batches/')}"
        self.compare(
            "a job that succeeded names its result file, after its own name",
            job.result_file_name if job.has_output else "it names none",
            is_so=job.has_output and job.result_file_name == named,
        )
        self.gemini.download(job.result_file_name or named, path)
        lines = [line for line in path.read_bytes().split(b"\n") if line]
        self.observations.extend(observe_results(lines, self.spec))

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
        self.compare("an uploaded file can be deleted", answer, is_so=not is_there)

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


def canary_lines(spec: EmbeddingSpec) -> list[bytes]:
    """The JSONL lines of three requests: two as the pipeline writes them, one with empty text."""
    bad = {
        "key": custom_id(_BAD_ID),
        "request": {
            "content": {"parts": [{"text": ""}]},
            "outputDimensionality": spec.dimensions,
        },
    }
    good = [request_line(spec, chunk_id, Passage(text=text)) for chunk_id, text in _TEXTS.items()]
    return [*good, orjson.dumps(bad, option=orjson.OPT_APPEND_NEWLINE)]


def observe_results(lines: Sequence[bytes], spec: EmbeddingSpec) -> Iterator[Observation]:
    """Compare a result file with what model/results.py reads."""
    parsed = [line for line in map(_parsed, lines) if line is not None]
    keys = [chunk_id_of(line.get("key")) for line in parsed]
    yield compared(
        "a result file is JSONL with one line a request, each with the request's key",
        f"{len(lines)} lines, {len(parsed)} of them objects, with the keys "
        f"{[line.get('key') for line in parsed]}",
        is_so=len(lines) == len(parsed) and sorted(k or 0 for k in keys) == sorted(_IDS),
    )
    by_id = dict(zip(keys, parsed, strict=True))
    good = [by_id.get(chunk_id) for chunk_id in _TEXTS]
    yield from _observe_vectors([_numbers(value_at(line, VALUES)) for line in good], spec)
    yield _observe_tokens([value_at(line, TOKENS) for line in good])
    yield _observe_error(by_id.get(_BAD_ID))
    results = parse_results(lines, requested=_IDS, dimensions=spec.dimensions)
    n_vectors = sum(outcome.vector is not None for outcome in results.outcomes)
    yield compared(
        "collection makes two vectors and one failure of it",
        f"{count(n_vectors, 'vector')}, {count(len(results.outcomes) - n_vectors, 'failure')}: "
        f"{[outcome.error_code for outcome in results.outcomes if outcome.error_code]}",
        is_so=n_vectors == len(_TEXTS),
    )


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _numbers(values: Any) -> list[float]:
    """The values, or nothing if they are no list of numbers."""
    if isinstance(values, list) and all(isinstance(value, int | float) for value in values):
        return values
    return []


def _observe_vectors(
    vectors: Sequence[Sequence[float]], spec: EmbeddingSpec
) -> Iterator[Observation]:
    lengths = [len(vector) for vector in vectors]
    yield compared(
        f"a vector is at response.embedding.values and has the {spec.dimensions} values asked for "
        "as outputDimensionality",
        f"{lengths} values",
        is_so=all(length == spec.dimensions for length in lengths),
    )
    norms = [float(np.linalg.norm(vector)) for vector in vectors]
    are_units = all(abs(norm - 1) <= _MAX_NORM_ERROR for norm in norms)
    comes_normalised = spec.is_prompted or spec.dimensions == _FULL_DIMENSIONS
    yield compared(
        f"{spec.model} gives vectors of {spec.dimensions} values "
        f"{'with' if comes_normalised else 'without'} length 1 (they are scaled in any case)",
        f"lengths {[round(norm, 4) for norm in norms]}",
        is_so=all(norms) and are_units == comes_normalised,
    )


def _observe_tokens(counts: Sequence[object]) -> Observation:
    return compared(
        "response.tokenCount has the tokens billed, as digits in a text",
        counts,
        is_so=all(isinstance(count, str) and count.isdecimal() for count in counts),
    )


def _observe_error(line: dict[str, Any] | None) -> Observation:
    error = (line or {}).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return compared(
        "a request with an empty text is answered by a line with error.code 3, INVALID_ARGUMENT "
        f"(not tried again, like {', '.join(sorted(PERMANENT_CODES))}), and error.message",
        json.dumps(line)[:200],
        is_so=isinstance(error, dict) and code == 3 and isinstance(error.get("message"), str),
    )
