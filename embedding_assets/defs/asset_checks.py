"""Checks that look at the published index as a reader would.

Belongs here: checks that stand on their own, in a run of their own if asked for.
Does not belong here: checks that must speak even when part of a range failed (shard_assets.py).
"""

import dagster as dg

from embedding_assets.defs.resources import IndexResource

# float32 keeps about seven digits; a norm further off than this was never normalised.
NORM_TOLERANCE = 1e-3


@dg.asset_check(asset="search_index")
def published_vectors_are_sound(index: IndexResource) -> dg.AssetCheckResult:
    """Every published vector has the spec's length and norm 1, and no chunk lacks one silently."""
    import numpy as np

    with index.open() as opened, opened.published.view() as view:
        n_vectors = n_off = 0
        for block in view.vector_blocks():
            norms = np.linalg.norm(block.matrix, axis=1)
            n_vectors += len(norms)
            n_off += int(np.count_nonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE)))
        n_failed = len({f.chunk_id for f in opened.published.failures(view.generation)} - {None})
        n_silent = view.count_chunks() - n_vectors - n_failed
    return dg.AssetCheckResult(
        passed=n_off == 0 and n_silent == 0,
        metadata={
            "vectors": n_vectors,
            "norm_not_1": n_off,
            "chunks_failed_with_message": n_failed,
            "chunks_without_vector_or_message": n_silent,
        },
    )


ASSET_CHECKS = [published_vectors_are_sound]
