"""From a finished job to vectors in the index.

Belongs here: the result file, from Gemini to disk to the index.
Does not belong here: what a line means (model/results.py) and what is written (store/results.py).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from embedding_assets.errors import (
    FileGoneError,
    GeminiError,
    LedgerError,
    OtherProviderError,
    ResultFileError,
    ResultsNotReadyError,
)
from embedding_assets.files import replacing
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import BatchJob, JobState
from embedding_assets.model.results import (
    INVALID_ARGUMENT,
    MISSING_LINE,
    ParsedResults,
    RequestOutcome,
    parse_results,
)
from embedding_assets.model.shards import Shard
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index

_MAX_DOWNLOADS = 4

_Parse = Callable[[Iterable[bytes]], ParsedResults]


def result_path(results_dir: Path, job: BatchJob) -> Path:
    """Where an attempt's results are kept: ``results/2026-11-0003-1-0f3a….jsonl``.

    The digest of the requests is part of the name: after an index was restored or begun anew the
    same keys and ids stand for other texts.
    """
    return results_dir / f"{job.shard_key}-{job.attempt}-{job.requests_sha256[:16]}.jsonl"


@contextmanager
def disk_errors(shard: Shard, results_dir: Path) -> Iterator[None]:
    """A disk that fails is one shard's error, as a ResultFileError."""
    try:
        yield
    except OSError as exc:
        raise ResultFileError(
            f"the results of shard {shard.key} cannot be kept in {str(results_dir)!r}: {exc}; "
            "nothing is lost, make room and try again"
        ) from exc


def check_provider(shard: Shard, gemini: GeminiClient) -> None:
    """Raises OtherProviderError for a shard that is not this client's to answer."""
    if shard.spec.provider != gemini.provider:
        raise OtherProviderError(
            f"shard {shard.key} was planned for {shard.spec.provider!r} and {gemini.provider!r} "
            "answers now; it waits for a run with the key, or without it, as when it was planned"
        )


def collect_shard(
    index: Index, gemini: GeminiClient, shard: Shard, settings: Settings, *, now: datetime
) -> ParsedResults | None:
    """Collect a shard's results if its job has answered and nobody else does it meanwhile.

    Raises as ``collect_results`` does.
    """
    job = index.jobs.newest_job(shard)
    if job is None or job.state is not JobState.SUCCEEDED:
        return None
    try:
        return collect_results(
            index,
            gemini,
            shard,
            job,
            results_dir=settings.results_dir,
            output_grace=timedelta(seconds=settings.limits.output_grace_s),
            now=now,
        )
    except LedgerError:
        newest = index.jobs.newest_job(shard)
        if newest is None or newest.state is not JobState.COLLECTED:
            raise
        return None


def collect_results(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    job: BatchJob,
    *,
    results_dir: Path,
    output_grace: timedelta,
    now: datetime,
) -> ParsedResults:
    """Download an answered job's results, once, and record them; safe to repeat.

    Raises ResultsNotReadyError if Gemini does not have them ``output_grace`` after the job's
    end; ResultFileError if it does not have them later, in which case the job is recorded as
    failed so that its shard can be submitted again, if they come differently each time, or if
    the disk fails; and LedgerError if somebody else collected them meanwhile.
    """
    check_provider(shard, gemini)
    parse = partial(
        parse_results,
        requested=index.shards.pending_ids(shard),
        dimensions=shard.spec.dimensions,
        job_error=job.error_message,
    )
    path = result_path(results_dir, job)
    with disk_errors(shard, results_dir):
        try:
            results = (
                _read(path, parse)[0] if path.exists() else _download(gemini, job, path, parse)
            )
        except FileGoneError as exc:
            raise _gone(index, job, str(exc), output_grace, now) from exc
    pass_gap(Gap.RESULTS_KEPT)
    index.results.record_outcomes(job, _settled(job, results))
    pass_gap(Gap.COLLECTED)
    _delete_input(gemini, job)
    return results


def _settled(job: BatchJob, results: ParsedResults) -> list[RequestOutcome]:
    """The outcomes; a job that one text has ended says nothing of those that it did not get to."""
    return [
        outcome
        for outcome in results.outcomes
        if not (job.error_code == INVALID_ARGUMENT and outcome.error_code == MISSING_LINE)
    ]


def _download(gemini: GeminiClient, job: BatchJob, path: Path, parse: _Parse) -> ParsedResults:
    """Bring the result file to its place. What is there under its final name is whole.

    A connection may end early without anybody noticing, and then paid answers would be missing:
    a file that lacks some is downloaded again, and believed when it comes the same twice.
    """
    if job.result_file_name is None:
        raise FileGoneError(f"{str(path)!r} does not exist and Gemini has no copy")
    digest = None
    with replacing(path) as beside:
        for _ in range(_MAX_DOWNLOADS):
            gemini.download(job.result_file_name, beside)
            pass_gap(Gap.DOWNLOADED)
            before = digest
            results, digest = _read(beside, parse)
            if results.is_whole or digest == before:
                return results
        raise ResultFileError(
            f"the results of shard {job.shard_key} lack answers and came differently each of "
            f"{_MAX_DOWNLOADS} times; nothing is lost, they are downloaded again later"
        )


def _read(path: Path, parse: _Parse) -> tuple[ParsedResults, bytes]:
    """The results and the file's digest, in one reading of it."""
    digest = hashlib.sha256()

    def digested(lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            digest.update(line)
            yield line

    with path.open("rb") as file:
        return parse(digested(file)), digest.digest()


def _gone(
    index: Index, job: BatchJob, reason: str, output_grace: timedelta, now: datetime
) -> ResultsNotReadyError | ResultFileError:
    is_at_gemini = job.result_file_name is not None
    if is_at_gemini and job.ended_at is not None and now - job.ended_at < output_grace:
        return ResultsNotReadyError(
            f"the results of shard {job.shard_key} are not there yet: {reason}; they are "
            "looked for again later"
        )
    message = f"the results of shard {job.shard_key} are gone: {reason}; submit it again"
    index.jobs.move(job, JobState.FAILED, error_message=message)
    return ResultFileError(message)


def _delete_input(gemini: GeminiClient, job: BatchJob) -> None:
    """Tidy up at Gemini, which would do it itself after 48 hours; `doctor` finds what stays."""
    if job.input_file_name is not None:
        with suppress(GeminiError):
            gemini.delete_file(job.input_file_name)
