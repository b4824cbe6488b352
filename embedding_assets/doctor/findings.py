"""Findings: what the doctor says of an index and of Gemini's side.

Belongs here: the checks by name, a finding, the repairs as values, the report.
Does not belong here: judging (index_side.py, gemini_side.py) and repairing (examine.py).
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from embedding_assets.model.vectors import BadVector


class Check(StrEnum):
    """What is looked at, each by the name that a finding carries."""

    INTEGRITY = "sqlite_integrity"  # the file is sound as SQLite sees it
    FOREIGN_KEYS = "foreign_keys"  # no row refers to a row that is not there
    STATES = "states"  # every state is one that this version knows
    REQUEST_COUNTS = "request_counts"  # a shard has the requests that were planned
    SHARD_STATES = "shard_states"  # settled without pending requests, open with some
    ATTEMPTS = "attempts"  # the ledger's attempts are as its protocol leaves them
    HELD_ANSWERS = "held_answers"  # no answer is paid for and not understood
    GIVEN_UP_SHARDS = "given_up_shards"  # none waits for a person
    UNUSABLE_ANSWERS = "unusable_answers"  # none was recorded of which most is of no use
    UNBILLED_REQUESTS = "unbilled_requests"  # what is embedded has cost something
    REQUEST_FILES = "request_files"  # a JSONL file is what its attempt was made from
    EMBEDDED_REQUESTS = "embedded_requests"  # what counts as embedded has its vector
    FAILED_CHUNKS = "failed_chunks"  # what has its vector does not count as failed
    VECTORS_WITHOUT_CHUNK = "vectors_without_chunk"
    VECTORS = "vectors"  # of the right length in bytes, finite, of length 1
    CUT_TEXTS = "cut_texts"  # no text reaches what the model reads of one
    SHUT_GATES = "shut_gates"  # nothing that is finished waits to be published
    PUBLISHED = "published_generation"  # what readers see is what was published
    PARTIAL_FILES = "partial_files"  # no file of a killed process is left
    ACCESS = "gemini_access"  # Gemini takes the key
    IDENTITY = "index_identity"  # no other index is at work under the same id
    REMOTE_LISTS = "remote_lists"  # what Gemini lists can be read to its end
    ORPHANED_JOBS = "orphaned_jobs"  # every job at Gemini is in the ledger
    DUPLICATE_JOBS = "duplicate_jobs"  # no attempt has two
    LATE_JOBS = "late_jobs"  # none is there for an attempt that knows of none
    LOST_JOBS = "lost_jobs"  # Gemini knows every job that the ledger waits for
    UNCOLLECTED_JOBS = "uncollected_jobs"  # no answer was paid for and given up
    REMOTE_FILES = "remote_files"  # no uploaded file is left that nobody needs


class Severity(StrEnum):
    """How bad it is."""

    WRONG = "wrong"  # a promise is broken, or something is as it cannot be
    NOTE = "note"  # worth knowing; nothing is broken


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleShard:
    """Close a shard that is open with nothing left to do."""

    shard_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearFailures:
    """Forget the failures of chunks whose vector is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountByEstimate:
    """Put the requests of a shard that count no tokens on the bill, by estimate."""

    shard_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveVectors:
    """Take these vectors out, so that their texts are bought again."""

    vectors: tuple[BadVector, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveFiles:
    """Delete files on disk that nobody needs or that are written again."""

    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelJob:
    """Cancel a job at Gemini whose answer nobody would collect."""

    job_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRemoteFiles:
    """Delete uploaded files at Gemini that nobody needs."""

    names: tuple[str, ...]


Repair = (
    SettleShard
    | ClearFailures
    | CountByEstimate
    | RemoveVectors
    | RemoveFiles
    | CancelJob
    | DeleteRemoteFiles
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found: what it is, in words and numbers, and what to do about it."""

    check: Check
    severity: Severity
    message: str
    next_step: str
    repair: Repair | None = None  # what --repair does; None: nothing is safe to do
    repaired: str | None = None  # what was done

    @property
    def is_wrong(self) -> bool:
        """Still wrong: a repair that was made is not."""
        return self.severity is Severity.WRONG and self.repaired is None

    @property
    def is_repairable(self) -> bool:
        return self.repair is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings, and why a part was not looked at."""

    findings: tuple[Finding, ...]
    not_looked_at: str | None = None  # why Gemini's side was not; None: it was

    @property
    def n_wrong(self) -> int:
        """What is wrong and was not repaired."""
        return sum(finding.is_wrong for finding in self.findings)

    @property
    def n_repaired(self) -> int:
        return sum(finding.repaired is not None for finding in self.findings)
