"""Generations: progress that adds up, and when one may be served."""

from dataclasses import replace

import pytest

from embedding_assets.generations import Progress, reason_not_to_publish

COMPLETE = Progress(
    n_documents=7, n_chunks=200, n_embedded=200, n_pending=0, n_failed=0, n_unplanned=0
)
EMPTY = replace(COMPLETE, n_documents=0, n_chunks=0, n_embedded=0)


def test_the_parts_must_add_up() -> None:
    """Progress that loses count cannot be made."""
    with pytest.raises(ValueError, match="200 chunks, but their parts add up to 199"):
        replace(COMPLETE, n_embedded=190, n_pending=4, n_failed=3, n_unplanned=2)


def test_counts_are_not_negative() -> None:
    """Nor can progress that adds up only with a negative count."""
    with pytest.raises(ValueError, match="cannot be negative"):
        replace(COMPLETE, n_pending=-5, n_failed=5)


@pytest.mark.parametrize(
    ("progress", "coverage"),
    [
        (COMPLETE, 1.0),
        (EMPTY, 1.0),
        (replace(COMPLETE, n_embedded=150, n_pending=20, n_failed=20, n_unplanned=10), 0.75),
        (replace(COMPLETE, n_embedded=0, n_failed=200), 0.0),
    ],
)
def test_coverage(progress: Progress, coverage: float) -> None:
    """Coverage is the share of chunks with a vector, whatever became of the others."""
    assert progress.coverage == coverage


@pytest.mark.parametrize(
    ("progress", "reason"),
    [
        (COMPLETE, None),
        (replace(COMPLETE, n_embedded=190, n_failed=10), None),
        (
            replace(COMPLETE, n_embedded=189, n_failed=11),
            "only 189 of 200 chunks are embedded (94.5%), publishing.min_coverage is 95.0%; "
            "see `embedding-assets failures`",
        ),
        (
            replace(COMPLETE, n_embedded=199, n_pending=1),
            "1 of 200 chunks are still in open shards",
        ),
        (
            replace(COMPLETE, n_embedded=198, n_unplanned=2),
            "2 of 200 chunks are not planned yet",
        ),
        (
            replace(COMPLETE, n_embedded=197, n_unplanned=2, n_pending=1),
            "1 of 200 chunks are still in open shards",
        ),
        (
            EMPTY,
            "it has no chunks at all; an empty corpus does not replace the published index",
        ),
    ],
)
def test_reasons_not_to_publish(progress: Progress, reason: str | None) -> None:
    """A generation is served once settled, not empty and covered well enough; else it says why."""
    assert reason_not_to_publish(progress, min_coverage=0.95) == reason


def test_coverage_may_be_demanded_in_full() -> None:
    """With a coverage of 1 a single failure holds the generation back."""
    progress = replace(COMPLETE, n_embedded=199, n_failed=1)
    assert reason_not_to_publish(progress, min_coverage=1.0) is not None
    assert reason_not_to_publish(COMPLETE, min_coverage=1.0) is None


def test_coverage_may_be_waived() -> None:
    """With a coverage of 0 even a generation without a single vector is served."""
    progress = replace(COMPLETE, n_embedded=0, n_failed=200)
    assert reason_not_to_publish(progress, min_coverage=0.0) is None
