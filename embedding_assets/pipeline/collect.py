"""From a finished job to vectors in the index.

Belongs here: the result file, from Gemini to disk to the index, or to a standstill.
Does not belong here: what a line means (model/results.py), whether the whole makes sense
(model/answers.py) and what is written (store/results.py).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path

from embedding_assets.errors import (
    AnswerHeldError,
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
from embedding_assets.model.answers import Evidence, Reading, is_result_file, reason_to_hold
from embedding_assets.model.batch_jobs import BatchJob, JobState
from embedding_assets.model.results import (
    INVALID_ARGUMENT,
    MISSING_LINE,
    ParsedResults,
    RequestOutcome,
    parse_results,
)
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.plan import learned_estimator
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.wording import utc

_MAX_DOWNLOADS = 4
# After what was no result file; each wait is so many times the one before it.
_MAX_BAD_DOWNLOADS = 4
_LONGER = 4

_READ_AGAIN = (JobState.SUCCEEDED, JobState.HELD, JobState.COLLECTED)

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

    Raises as ``collect_results`` does, and AnswerHeldError for what was held before.
    """
    job = index.jobs.newest_job(shard)
    if job is not None and job.state is JobState.HELD:
        raise held_error(job)
    if job is None or job.state is not JobState.SUCCEEDED:
        return None
    try:
        return collect_results(index, gemini, shard, job, settings, now=now)
    except LedgerError:
        newest = index.jobs.newest_job(shard)
        if newest is None or newest.state is not JobState.COLLECTED:
            raise
        return None


def read_anew(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    settings: Settings,
    *,
    reading: Reading,
    now: datetime,
) -> ParsedResults:
    """Read once more what a shard's newest job answered, be it held or collected.

    What was embedded stays; a request that failed gets the vector that is found for it now.
    Raises LedgerError if there is no answer, and else as ``collect_results`` does.
    """
    job = index.jobs.newest_job(shard)
    if job is None or job.state not in _READ_AGAIN:
        state = f"its job is {job.state.value}" if job else "it was not submitted yet"
        raise LedgerError(f"shard {shard.key} has no answer that could be read again: {state}")
    return collect_results(index, gemini, shard, job, settings, reading=reading, now=now)


def collect_results(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    job: BatchJob,
    settings: Settings,
    *,
    reading: Reading | None = None,
    now: datetime,
) -> ParsedResults:
    """Download an answered job's results, once or again, and record them; safe to repeat.

    Raises ResultsNotReadyError if Gemini does not have them ``limits.output_grace_s`` after the
    job's end, or if what came is no result file; AnswerHeldError if most of them cannot be used;
    ResultFileError if Gemini does not have them later, in which case the job is recorded as failed
    so that its shard can be submitted again, if they come differently each time, or if the disk
    fails; and LedgerError if somebody else collected them meanwhile.
    """
    check_provider(shard, gemini)
    evidence = index.results.evidence(job)
    parse = partial(
        parse_results,
        requested=index.shards.unembedded_ids(shard),
        dimensions=shard.spec.dimensions,
        job_error=evidence.job_error,
        n_answered=evidence.n_answered,
        estimate=_token_estimate(index, shard),
    )
    path = result_path(settings.results_dir, job)
    # By the synchronous route there is only our own file.
    is_anew = reading is Reading.AGAIN and job.result_file_name is not None
    is_here = path.exists() and not is_anew
    check = partial(_check_download, index, job, evidence, settings, now)
    with disk_errors(shard, settings.results_dir):
        try:
            results = (
                _read(path, parse)[0] if is_here else _download(gemini, job, path, parse, check)
            )
        except FileGoneError as exc:
            is_last_word = job.state is JobState.SUCCEEDED or reading is Reading.AS_IS
            raise _gone(
                index, job, shard, str(exc), settings, now, is_last_word=is_last_word
            ) from exc
    pass_gap(Gap.RESULTS_KEPT)
    reason = reason_to_hold(results, evidence)
    if reason is not None and job.state is not JobState.SUCCEEDED and reading is Reading.AGAIN:
        raise _still_unusable(job, reason)
    if reason is not None and reading is not Reading.AS_IS:
        held = _hold(index, job, shard, results, reason)
        _delete_input(gemini, job)
        raise held
    index.results.record_outcomes(job, _settled(job, results), reading=reading)
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


def _token_estimate(index: Index, shard: Shard) -> Callable[[int], int]:
    """Of a chunk of the shard; nothing is read before somebody asks."""

    @cache
    def estimates() -> dict[int, int]:
        estimator = learned_estimator(index, shard.spec)
        return {
            chunk_id: estimator.estimate(shard.spec.document_text(text))
            for chunk_id, text in index.shards.texts(shard)
        }

    return lambda chunk_id: estimates()[chunk_id]


def _check_download(
    index: Index,
    job: BatchJob,
    evidence: Evidence,
    settings: Settings,
    now: datetime,
    results: ParsedResults,
) -> None:
    """Raises ResultsNotReadyError or ResultFileError if a download is not worth keeping."""
    reason = reason_to_hold(results, evidence)
    if reason is None:
        return
    if job.state is not JobState.SUCCEEDED:
        raise _still_unusable(job, reason)
    if not is_result_file(results) and job.n_bad_downloads < _MAX_BAD_DOWNLOADS:
        wait = timedelta(seconds=settings.limits.backoff_s) * _LONGER**job.n_bad_downloads
        index.jobs.put_off_collection(job, until=now + wait)
        raise ResultsNotReadyError(
            f"{reason}; the answer to shard {job.shard_key} still lies at Gemini, and is "
            f"downloaded again from {utc(now + wait)}"
        )


def _hold(
    index: Index, job: BatchJob, shard: Shard, results: ParsedResults, reason: str
) -> AnswerHeldError:
    """Keep the job as it is until a person says more: its file, and its shard from being sent.

    What was paid for and is not understood would not be understood the next time either.
    """
    by_request = sum(outcome.billed_tokens for outcome in results.outcomes)
    tokens = max(results.stated_tokens, by_request) or shard.estimated_tokens
    job = index.jobs.move(job, JobState.HELD, error_message=reason, unmatched_tokens=tokens)
    return held_error(job)


def _still_unusable(job: BatchJob, reason: str) -> ResultFileError:
    return ResultFileError(
        f"the answer to shard {job.shard_key} was read again, and {reason}; what was kept of it is "
        "as it was"
    )


def held_error(job: BatchJob) -> AnswerHeldError:
    """Why a held answer is held, and what a person can do."""
    return AnswerHeldError(
        f"the answer to shard {job.shard_key} is held: {job.error_message}. It is paid for and "
        f"kept, and nothing like it is sent meanwhile. `embedding-assets collect {job.shard_key} "
        "--again` reads it once more, say after an upgrade; `--as-is` takes what is usable of it, "
        "and the rest is paid for again"
    )


def _download(
    gemini: GeminiClient,
    job: BatchJob,
    path: Path,
    parse: _Parse,
    check: Callable[[ParsedResults], None],
) -> ParsedResults:
    """Bring the result file to its place. What is there under its final name is whole.

    A connection may end early without anybody noticing, and then paid answers would be missing:
    a file that lacks some is downloaded again, and believed when it comes the same twice. What is
    no result file is never believed for that. If ``check`` raises, nothing is kept.
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
            if results.is_whole or digest == before or not is_result_file(results):
                check(results)
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
    index: Index,
    job: BatchJob,
    shard: Shard,
    reason: str,
    settings: Settings,
    now: datetime,
    *,
    is_last_word: bool,
) -> ResultsNotReadyError | ResultFileError:
    is_at_gemini = job.result_file_name is not None
    output_grace = timedelta(seconds=settings.limits.output_grace_s)
    if is_at_gemini and job.ended_at is not None and now - job.ended_at < output_grace:
        return ResultsNotReadyError(
            f"the results of shard {job.shard_key} are not there yet: {reason}; they are "
            "looked for again later"
        )
    message = f"the results of shard {job.shard_key} are gone: {reason}; submit it again"
    if is_last_word and job.state is not JobState.COLLECTED:
        tokens = shard.estimated_tokens if is_at_gemini else 0
        index.jobs.move(job, JobState.FAILED, error_message=message, unmatched_tokens=tokens)
    return ResultFileError(message)


def _delete_input(gemini: GeminiClient, job: BatchJob) -> None:
    """Tidy up at Gemini, which would do it itself after 48 hours; `doctor` finds what stays."""
    if job.input_file_name is not None:
        with suppress(GeminiError):
            gemini.delete_file(job.input_file_name)
