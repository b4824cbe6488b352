"""From a finished job to vectors in the index.

Belongs here: the result file, from Gemini to disk to the index.
Does not belong here: what a line means (embeddings.py) and what is written (store/vectors.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.batch_jobs import BatchJob, JobState
from embedding_assets.embeddings import parse_results
from embedding_assets.errors import FileGoneError, ResultFileError
from embedding_assets.files import replacing
from embedding_assets.gemini import GeminiClient
from embedding_assets.shards import Shard
from embedding_assets.store.index import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSummary:
    """What a result file brought."""

    n_embedded: int
    n_failed: int
    n_unknown_lines: int
    n_duplicate_lines: int
    billed_tokens: int
    result_path: Path


def result_path(results_dir: Path, job: BatchJob) -> Path:
    """Where an attempt's results are kept: ``results/2026-11-0003-1.jsonl``."""
    return results_dir / f"{job.shard_key}-{job.attempt}.jsonl"


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


def collect_results(
    index: Index, gemini: GeminiClient, shard: Shard, job: BatchJob, *, results_dir: Path
) -> CollectionSummary:
    """Download an answered job's results, once, and record them; safe to repeat.

    Raises ResultFileError if there are no results any more, in which case the job is recorded
    as failed so that its shard can be submitted again, or if the disk fails; and LedgerError if
    somebody else collected them meanwhile.
    """
    spec = index.shards.spec_of(shard)
    with disk_errors(shard, results_dir):
        path = _downloaded(index, gemini, job, results_dir)
        requested = [chunk_id for chunk_id, _ in index.shards.pending_requests(shard)]
        with path.open("rb") as lines:
            results = parse_results(lines, requested=requested, dimensions=spec.dimensions)
    index.vectors.record_outcomes(job, results.outcomes)
    n_embedded = sum(outcome.vector is not None for outcome in results.outcomes)
    return CollectionSummary(
        n_embedded=n_embedded,
        n_failed=len(results.outcomes) - n_embedded,
        n_unknown_lines=results.n_unknown,
        n_duplicate_lines=results.n_duplicate,
        billed_tokens=sum(outcome.billed_tokens for outcome in results.outcomes),
        result_path=path,
    )


def _downloaded(index: Index, gemini: GeminiClient, job: BatchJob, results_dir: Path) -> Path:
    """The result file on disk; what is there under its final name is whole."""
    path = result_path(results_dir, job)
    if path.exists():
        return path
    if job.result_file_name is None:
        raise _given_up(index, job, f"{str(path)!r} does not exist and Gemini has no copy")
    try:
        with replacing(path) as beside:
            gemini.download(job.result_file_name, beside)
    except FileGoneError as exc:
        raise _given_up(index, job, str(exc)) from exc
    return path


def _given_up(index: Index, job: BatchJob, reason: str) -> ResultFileError:
    message = f"the results of shard {job.shard_key} are gone: {reason}; submit it again"
    index.ledger.move(job, JobState.FAILED, error_message=message)
    return ResultFileError(message)
