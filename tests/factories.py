"""Values for tests, each with distinct defaults; say only what a test is about."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from embedding_assets.corpus.documents import Document, read_file
from embedding_assets.corpus.find import find_documents
from embedding_assets.corpus.formats.markup.markdown import read_markdown
from embedding_assets.model.batch_jobs import BatchJob, JobState, RemoteJob, ShardStatus
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.model.room import Ledger, Room, SubmissionLimits, Throttle
from embedding_assets.model.shards import Route, Shard, ShardState
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.money.budget import Purse
from embedding_assets.settings.values import Corpus

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
MAX_FILE_BYTES = Corpus().max_file_bytes

SPEC = EmbeddingSpec(
    provider="emulator",
    model="gemini-embedding-001",
    dimensions=8,
    task_type="RETRIEVAL_DOCUMENT",
)

LIMITS = SubmissionLimits(
    max_concurrent_jobs=4,
    max_enqueued_tokens=100_000,
    max_job_attempts=3,
    first_backoff=timedelta(minutes=2),
    retry_after=timedelta(minutes=15),
)


def a_document(**changes: Any) -> Document:
    values: dict[str, Any] = {
        "uri": "docs/gzip.md",
        "sha256": "ab" * 32,
        "media_type": "text/markdown",
        "title": "gzip",
        "text": "# gzip\n\nCompress and decompress files.",
        "n_bytes": 41,
        "modified_at": NOW,
        "extraction": "2",
        "error_message": None,
        **changes,
    }
    return Document(**{"blocks": read_markdown(values["text"]).blocks, **values})


def a_reading(*paths: str, now: datetime = NOW) -> Iterator[Document]:
    """The documents under these paths, as they are read if nothing is known of them."""
    sources = find_documents(paths)
    return (
        document
        for source in sources
        for document in read_file(source, now=now, max_bytes=MAX_FILE_BYTES)
    )


def a_generation(**changes: Any) -> Generation:
    """A generation that is being built, planned already."""
    values: dict[str, Any] = {
        "generation_id": 3,
        "month": "2026-11",
        "spec_id": 2,
        "spec": SPEC,
        "chunker": "characters, 2000",
        "state": GenerationState.BUILDING,
        "created_at": NOW,
        "planned_at": NOW,
        "published_at": None,
        "n_documents": 70,
        "n_chunks": 200,
    }
    return Generation(**{**values, **changes})


def a_shard(**changes: Any) -> Shard:
    values: dict[str, Any] = {
        "shard_id": 3,
        "key": "2026-11-0003",
        "generation_id": 2,
        "spec": SPEC,
        "route": Route.BATCH,
        "n_requests": 500,
        "n_bytes": 90_000,
        "estimated_tokens": 20_000,
        "usd_per_million": Decimal("0.075"),
        "state": ShardState.OPEN,
    }
    return Shard(**{**values, **changes})


def a_job(state: JobState, **changes: Any) -> BatchJob:
    values: dict[str, Any] = {
        "shard_id": 3,
        "shard_key": "2026-11-0003",
        "attempt": 1,
        "display_name": "embedding-assets/1a2b3c4d/2026-11-0003/1/0011223344556677",
        "requests_sha256": "0011223344556677" * 4,
        "state": state,
        "input_file_name": "files/input-3",
        "job_name": "batches/job-3",
        "result_file_name": None,
        "error_code": None,
        "error_message": None,
        "hold_reason": None,
        "n_answered": None,
        "unmatched_tokens": 0,
        "n_bad_downloads": 0,
        "reserved_at": NOW,
        "unconfirmed_at": NOW,
        "submitted_at": NOW,
        "ended_at": None,
        "released_at": None,
        "cancel_requested_at": None,
        "collect_not_before": None,
    }
    return BatchJob(**{**values, **changes})


def a_status(number: int, state: JobState | None = None, **changes: Any) -> ShardStatus:
    """The status of the month's shard of this number, its newest attempt in this state."""
    shard_values = {
        name: changes.pop(name) for name in ("route", "estimated_tokens") if name in changes
    }
    shard = a_shard(shard_id=number, key=f"2026-11-{number:04d}", **shard_values)
    job = None if state is None else a_job(state, shard_id=number, shard_key=shard.key)
    values: dict[str, Any] = {
        "shard": shard,
        "job": job,
        "n_attempts": 0 if state is None else 1,
        "is_poisoned": False,
        "submit_requested_at": None,
        "collect_requested_at": None,
        "failure_reported_at": None,
    }
    return ShardStatus(**{**values, **changes})


def a_remote_job(**changes: Any) -> RemoteJob:
    values: dict[str, Any] = {
        "name": "batches/job-3",
        "display_name": "embedding-assets/1a2b3c4d/2026-11-0003/1/0011223344556677",
        "state_name": "BATCH_STATE_PENDING",
        "result_file_name": None,
        "has_output": False,
        "error_message": None,
        "created_at": NOW,
        "ended_at": None,
    }
    return RemoteJob(**{**values, **changes})


def a_purse(**changes: Any) -> Purse:
    """A purse with a thousand dollars for everything, of which nothing is spent."""
    values: dict[str, Any] = {
        "limit_usd": Decimal(1000),
        "month_limit_usd": Decimal(1000),
        "spent_usd": {},
        "month_spent_usd": Decimal(0),
        "approved_usd": {},
    }
    return Purse(**{**values, **changes})


def a_room(
    *statuses: ShardStatus,
    limits: SubmissionLimits = LIMITS,
    throttle: Throttle | None = None,
) -> Room:
    """The room at the provider of all these shards."""
    throttles = {(SPEC.provider, SPEC.model): throttle} if throttle else {}
    ledger = Ledger(statuses=statuses, throttles=throttles, abandoned_keys=())
    return ledger.room_at(SPEC.provider, limits)


def write_corpus(directory: Path, texts: dict[str, str]) -> None:
    """One file a name, directories made as needed."""
    for name, text in texts.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
