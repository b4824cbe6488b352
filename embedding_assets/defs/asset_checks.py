"""Checks that look at the published index as a reader would, and at what it cost.

Belongs here: checks that stand on their own, in a run of their own if asked for.
Does not belong here: checks that must speak even when part of a range failed (collection.py), and
the gates before publishing (search_index.py).
"""

import dagster as dg

from embedding_assets.defs.failures import fails_in_words
from embedding_assets.defs.resources import IndexResource
from embedding_assets.money.bill import describe_bill, estimate_problem
from embedding_assets.store.published import Examination
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
            found = view.examine()
    n_failed = found.n_chunks - found.n_vectors - len(found.silent)
    seen = (
        f"all {count(found.n_vectors, 'vector')} have {generation.spec.dimensions} dimensions and "
        f"length 1; {count(n_failed, 'chunk')} without one, each with a failure that says why"
    )
    return dg.AssetCheckResult(
        passed=not found.bad and not found.silent,
        description=f"{generation.month}: {_flaws(found) or seen}",
        metadata={
            "vectors": found.n_vectors,
            "bad_vectors": len(found.bad),
            "chunks_failed_with_message": n_failed,
            "chunks_without_vector_or_message": len(found.silent),
        },
    )


def _flaws(found: Examination) -> str | None:
    """What is wrong with which chunks, and what to do; None if nothing is."""
    flaws = []
    if found.bad:
        examples = some([f"chunk {vector.chunk_id} ({vector.flaw})" for vector in found.bad])
        flaws.append(f"{count(len(found.bad), 'vector')} must not be served: {examples}")
    if found.silent:
        examples = some([str(chunk_id) for chunk_id in found.silent])
        without = f"{count(len(found.silent), 'chunk')} without a vector or a failure"
        flaws.append(f"{without}: {examples}")
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
