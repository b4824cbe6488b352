"""From a finished job to vectors in the index.

Belongs here: the result file, from Gemini to disk to the index, or to a standstill.
Does not belong here: what a line means (model/results.py), whether the whole makes sense
(model/answers.py) and what is written (store/results.py).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
from embedding_assets.model.answers import Evidence, is_result_file, reason_to_hold
from embedding_assets.model.batch_jobs import BatchJob, JobState
from embedding_assets.model.reading import Reading
from embedding_assets.model.results import (
    INVALID_ARGUMENT,
    MISSING_LINE,
    ParsedResults,
    RequestOutcome,
    parse_results,
)
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.plan import estimate_tokens
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.wording import utc

_MAX_DOWNLOADS = 4
# After what was no result file; each wait is so many times the one before it.
_MAX_BAD_DOWNLOADS = 4
_LONGER = 4

_READ_AGAIN = (JobState.SUCCEEDED, JobState.HELD, JobState.COLLECTED)


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
    collection = _Collection(
        index=index,
        gemini=gemini,
        shard=shard,
        job=job,
        settings=settings,
        reading=reading,
        now=now,
        evidence=evidence,
        path=result_path(settings.results_dir, job),
        parse=partial(
            parse_results,
            requested=index.shards.unembedded_ids(shard),
            dimensions=shard.spec.dimensions,
            job_error=evidence.job_error,
            n_answered=evidence.n_answered,
            estimate=_token_estimate(index, shard),
        ),
    )
    return collection.run()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collection:
    """One answer on its way into the index."""

    index: Index
    gemini: GeminiClient
    shard: Shard
    job: BatchJob
    settings: Settings
    reading: Reading | None
    now: datetime
    evidence: Evidence
    path: Path  # where it is kept
    parse: Callable[[Iterable[bytes]], ParsedResults]

    def run(self) -> ParsedResults:
        with disk_errors(self.shard, self.settings.results_dir):
            results = self._kept_or_downloaded()
        pass_gap(Gap.RESULTS_KEPT)
        reason = reason_to_hold(results, self.evidence)
        if reason is not None and self.reading is not Reading.AS_IS:
            if not self._is_first:
                raise self._still_unusable(reason)
            held = self._hold(results, reason)
            _delete_input(self.gemini, self.job)
            raise held
        self.index.results.record_outcomes(
            self.job,
            _settled(self.job, results),
            paid_tokens=self._paid_elsewhere(results, is_understood=reason is None),
            reading=self.reading,
        )
        pass_gap(Gap.COLLECTED)
        _delete_input(self.gemini, self.job)
        return results

    @property
    def _is_first(self) -> bool:
        """Nobody has read the answer before."""
        return self.job.state is JobState.SUCCEEDED

    def _kept_or_downloaded(self) -> ParsedResults:
        # By the synchronous route there is only our own file.
        is_anew = self.reading is Reading.AGAIN and self.job.result_file_name is not None
        if self.path.exists() and not is_anew:
            return self._read(self.path)[0]
        try:
            return self._download()
        except FileGoneError as exc:
            if self.path.exists():  # the last copy
                return self._read(self.path)[0]
            raise self._gone(str(exc)) from exc

    def _download(self) -> ParsedResults:
        """Bring the result file to its place. What is there under its final name is whole.

        A connection may end early without anybody noticing, and then paid answers would be missing:
        a file that lacks some is downloaded again, and believed when it comes the same twice. What
        is no result file is never believed for that. What fails the check is not kept.
        """
        if self.job.result_file_name is None:
            raise FileGoneError(f"{str(self.path)!r} does not exist and Gemini has no copy")
        digest = None
        with replacing(self.path) as beside:
            for _ in range(_MAX_DOWNLOADS):
                self.gemini.download(self.job.result_file_name, beside)
                pass_gap(Gap.DOWNLOADED)
                before = digest
                results, digest = self._read(beside)
                if results.is_whole or digest == before or not is_result_file(results):
                    self._check_download(results)
                    return results
            raise ResultFileError(
                f"the results of shard {self.shard.key} lack answers and came differently each of "
                f"{_MAX_DOWNLOADS} times; nothing is lost, they are downloaded again later"
            )

    def _read(self, path: Path) -> tuple[ParsedResults, bytes]:
        """The results and the file's digest, in one reading of it."""
        digest = hashlib.sha256()

        def digested(lines: Iterable[bytes]) -> Iterator[bytes]:
            for line in lines:
                digest.update(line)
                yield line

        with path.open("rb") as file:
            return self.parse(digested(file)), digest.digest()

    def _check_download(self, results: ParsedResults) -> None:
        """Raises ResultsNotReadyError or ResultFileError if a download is not worth keeping."""
        reason = reason_to_hold(results, self.evidence)
        if reason is None:
            return
        if not self._is_first:
            raise self._still_unusable(reason)
        n_before = self.job.n_bad_downloads
        if not is_result_file(results) and n_before < _MAX_BAD_DOWNLOADS:
            wait = timedelta(seconds=self.settings.limits.backoff_s) * _LONGER**n_before
            self.index.jobs.put_off_collection(self.job, until=self.now + wait)
            raise ResultsNotReadyError(
                f"{reason}; the answer to shard {self.shard.key} still lies at Gemini, and is "
                f"downloaded again from {utc(self.now + wait)}"
            )

    def _gone(self, reason: str) -> ResultsNotReadyError | AnswerHeldError | ResultFileError:
        """Gemini has no answer: not yet, or not any more, and then the job has failed."""
        output_grace = timedelta(seconds=self.settings.limits.output_grace_s)
        ended_at = self.job.ended_at
        has_just_ended = ended_at is not None and self.now - ended_at < output_grace
        if self.job.result_file_name is not None and has_just_ended:
            return ResultsNotReadyError(
                f"the results of shard {self.shard.key} are not there yet: {reason}; they are "
                "looked for again later"
            )
        if self._is_first and self.evidence.was_lost_before:
            # Twice is no accident: a third answer would be looked for in vain, too.
            return self._hold(
                None, f"for the second time it was answered, and Gemini has no results: {reason}"
            )
        message = f"the results of shard {self.shard.key} are gone: {reason}; submit it again"
        is_given_up = self._is_first or self.reading is Reading.AS_IS
        if is_given_up and self.job.state is not JobState.COLLECTED:
            tokens = self.job.unmatched_tokens or self.shard.estimated_tokens
            self.index.jobs.move(
                self.job, JobState.FAILED, error_message=message, unmatched_tokens=tokens
            )
        return ResultFileError(message)

    def _hold(self, results: ParsedResults | None, reason: str) -> AnswerHeldError:
        """Keep the job as it is until a person says more: its file, and its shard from being sent.

        What was paid for and is not understood would not be understood the next time either.
        """
        tokens = _tokens_of(results, self.shard) if results else self.shard.estimated_tokens
        return held_error(
            self.index.jobs.move(
                self.job, JobState.HELD, hold_reason=reason, unmatched_tokens=tokens
            )
        )

    def _still_unusable(self, reason: str) -> ResultFileError:
        return ResultFileError(
            f"the answer to shard {self.shard.key} was read again, and {reason}; what was kept of "
            "it is as it was"
        )

    def _paid_elsewhere(self, results: ParsedResults, *, is_understood: bool) -> int:
        """What the answer has cost, as far as its requests may not be billed for all of it."""
        if self.job.state is JobState.COLLECTED:
            return self.job.unmatched_tokens
        if is_understood:
            return _by_request(results)
        return self.job.unmatched_tokens or _tokens_of(results, self.shard)


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
        return estimate_tokens(index, shard.spec, index.shards.passages(shard))

    return lambda chunk_id: estimates()[chunk_id]


def _tokens_of(results: ParsedResults, shard: Shard) -> int:
    """What an answer that is not understood has cost."""
    return max(results.stated_tokens, _by_request(results)) or shard.estimated_tokens


def _by_request(results: ParsedResults) -> int:
    return sum(outcome.billed_tokens for outcome in results.outcomes)


def _paid_elsewhere(
    job: BatchJob, results: ParsedResults, shard: Shard, *, is_understood: bool
) -> int:
    """What an answer has cost, as far as its requests may be too few to be billed for all of it."""
    if job.state is JobState.COLLECTED:
        return job.unmatched_tokens
    return 0 if is_understood else job.unmatched_tokens or _tokens_of(results, shard)


def held_error(job: BatchJob) -> AnswerHeldError:
    """Why a held answer is held, and what a person can do."""
    return AnswerHeldError(
        f"the answer to shard {job.shard_key} is held: {job.hold_reason}. It is paid for and "
        f"kept, and nothing like it is sent meanwhile. {way_out_of_hold(job)}"
    )


def way_out_of_hold(job: BatchJob) -> str:
    """What a person can do about a held answer."""
    return (
        f"`embedding-assets collect {job.shard_key} --again` reads it once more, say after an "
        "upgrade; `--as-is` takes what is usable of it, and the rest is paid for again"
    )


def _delete_input(gemini: GeminiClient, job: BatchJob) -> None:
    """Tidy up at Gemini, which would do it itself after 48 hours; `doctor` finds what stays."""
    if job.input_file_name is not None:
        with suppress(GeminiError):
            gemini.delete_file(job.input_file_name)
