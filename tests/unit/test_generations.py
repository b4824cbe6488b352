"""Generations: progress that adds up."""

from dataclasses import replace

import pytest

from embedding_assets.model.generations import Progress

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
