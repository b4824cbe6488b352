"""Checks that look at the published index as a reader would, and at what it cost.

Belongs here: checks that stand on their own, in a run of their own if asked for.
Does not belong here: checks that must speak even when part of a range failed (collection.py), and
the gates before publishing (search_index.py).
"""

import dagster as dg

from embedding_assets.defs.failures import fails_in_words
from embedding_assets.defs.resources import IndexResource
from embedding_assets.model.vectors import BadVector
from embedding_assets.money.bill import describe_bill, estimate_problem
from embedding_assets.wording import count, some


def nothing_to_check(check_name: str) -> dg.AssetCheckResult:
    """The verdict before the first reindex: nothing is wrong, and nothing is right yet."""
    return dg.AssetCheckResult(
        check_name=check_name,
        asset_key="search_index",
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            "nothing is published yet, so there is nothing to check; materialize a month by the "
            "job reindex, or run `embedding-assets reindex`"
        ),
    )


@dg.asset_check(asset="search_index")
@fails_in_words
def published_vectors_are_sound(index: IndexResource) -> dg.AssetCheckResult:
    """Every published vector has the spec's dimensions and length 1; no chunk lacks one silently.

    Every vector is read.
    """
    if not index.exists:
        return nothing_to_check("published_vectors_are_sound")
    with index.open() as opened:
        generation = opened.generations.published()
        if generation is None:
            return nothing_to_check("published_vectors_are_sound")
        with opened.published.view_of(generation) as view:
            n_chunks, n_vectors = view.count_chunks(), view.count_vectors()
            bad, silent = view.bad_vectors(), view.silent_gaps().tolist()
    n_failed = n_chunks - n_vectors - len(silent)
    seen = (
        f"all {count(n_vectors, 'vector')} have {generation.spec.dimensions} dimensions and length "
        f"1; {count(n_failed, 'chunk')} without one, each with a failure that says why"
    )
    return dg.AssetCheckResult(
        passed=not bad and not silent,
        description=f"{generation.month}: {_flaws(bad, silent) or seen}",
        metadata={
            "vectors": n_vectors,
            "bad_vectors": len(bad),
            "chunks_failed_with_message": n_failed,
            "chunks_without_vector_or_message": len(silent),
        },
    )


def _flaws(bad: list[BadVector], silent: list[int]) -> str | None:
    """What is wrong with which chunks, and what to do; None if nothing is."""
    flaws = []
    if bad:
        examples = some([f"chunk {vector.chunk_id} ({vector.flaw})" for vector in bad])
        flaws.append(f"{count(len(bad), 'vector')} must not be served: {examples}")
    if silent:
        examples = some([str(chunk_id) for chunk_id in silent])
        flaws.append(f"{count(len(silent), 'chunk')} without a vector or a failure: {examples}")
    if not flaws:
        return None
    return f"{'; '.join(flaws)}; run `embedding-assets doctor`, which says what it can repair"


@dg.asset_check(asset="search_index")
@fails_in_words
def cost_against_estimate(index: IndexResource) -> dg.AssetCheckResult:
    """What the published generation was billed for is about what its plan said it would cost."""
    if not index.exists:
        return nothing_to_check("cost_against_estimate")
    with index.open() as opened:
        generation = opened.generations.published()
        if generation is None:
            return nothing_to_check("cost_against_estimate")
        bill = opened.bills.publication(generation)
        problem = estimate_problem(opened.bills.comparable(generation))
    return dg.AssetCheckResult(
        passed=problem is None,
        severity=dg.AssetCheckSeverity.WARN,  # it is paid, and the index is none the worse
        description=f"{generation.month}: {problem or describe_bill(bill)}",
        metadata={
            "requests": bill.n_requests,
            "estimated_tokens": bill.estimated_tokens,
            "billed_tokens": bill.billed_tokens,
            "estimated_cost_usd": float(bill.estimated_usd),
            "billed_cost_usd": float(bill.billed_usd),
        },
    )


ASSET_CHECKS = [published_vectors_are_sound, cost_against_estimate]
