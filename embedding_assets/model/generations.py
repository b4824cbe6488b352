"""Generations: one build of the index for one month.

Belongs here: the value, its states, its progress.
Does not belong here: when it may be served (gates.py), writing it (store/), reading it
(reader/).
"""

from dataclasses import astuple, dataclass
from datetime import datetime
from enum import StrEnum

from embedding_assets.model.spec import EmbeddingSpec


class GenerationState(StrEnum):
    """A generation's life. At most one is building and at most one is published."""

    DRAFT = "draft"  # its documents are still being listed
    BUILDING = "building"  # listed; its missing vectors are being bought
    PUBLISHED = "published"  # what readers see
    RETIRED = "retired"  # was published; complete, can be published again
    ABANDONED = "abandoned"  # superseded before it was published
    REMOVED = "removed"  # was published; its documents are gone, its bill stays


# Of generations that still have their members, and must have their vectors.
KEPT_STATES = (
    GenerationState.DRAFT,
    GenerationState.BUILDING,
    GenerationState.PUBLISHED,
    GenerationState.RETIRED,
)


class Part(StrEnum):
    """What a chunk is to a generation; see ``Progress``."""

    EMBEDDED = "embedded"
    PENDING = "pending"
    FAILED = "failed"
    UNPLANNED = "unplanned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One build. ``month`` is the partition key, ``2026-11``."""

    generation_id: int
    month: str
    spec_id: int
    spec: EmbeddingSpec
    chunker: str
    state: GenerationState
    created_at: datetime
    planned_at: datetime | None
    published_at: datetime | None  # the last time
    n_documents: int  # as listed, even if they have been removed since
    n_chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A generation's distinct chunks, counted once each: the four parts add up to ``n_chunks``."""

    n_documents: int
    n_chunks: int
    n_embedded: int
    n_pending: int  # in an open shard
    n_failed: int  # out of attempts, or failed for good
    n_unplanned: int  # no vector and in no open shard: never planned, or to be retried

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0:
            raise ValueError(f"counts cannot be negative, found {self!r}")
        parts = self.n_embedded + self.n_pending + self.n_failed + self.n_unplanned
        if parts != self.n_chunks:
            raise ValueError(f"{self.n_chunks} chunks, but their parts add up to {parts}")

    @property
    def coverage(self) -> float:
        """Share of the chunks that have a vector; 1.0 for an empty generation."""
        return self.n_embedded / self.n_chunks if self.n_chunks else 1.0
