"""The asset that readers see: search_index, with the gates before it as its checks.

Belongs here: what publishing a month loads, calls, stores and reports.
Does not belong here: the gates (gates.py) and the flip (pipeline/publish.py).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import dagster as dg

from embedding_assets.clock import utc_now
from embedding_assets.costs import sync_cost_usd
from embedding_assets.defs.failures import as_failure
from embedding_assets.defs.metadata import GROUP
from embedding_assets.defs.partitions import ALL, build_months, forget_shards
from embedding_assets.defs.resources import IndexResource
from embedding_assets.errors import StorageError
from embedding_assets.gates import Gate, GateName
from embedding_assets.generations import Generation, GenerationState
from embedding_assets.pipeline.publish import (
    generation_to_serve,
    look_at_gates,
    publish_generation,
)
from embedding_assets.pipeline.retention import apply_retention
from embedding_assets.settings import Settings
from embedding_assets.store.index import Index

# Of a run of search_index: gates that a person opens, and a generation to serve again.
ALLOW_TAG = "embedding_assets/allow"
GENERATION_TAG = "embedding_assets/generation"

_SEARCH_INDEX = dg.AssetSpec(
    "search_index",
    deps=[dg.AssetDep("embeddings", partition_mapping=ALL)],
    description=(
        "What readers see: the month's newest generation, complete and published. Then what no "
        "kept generation needs is removed.\n\nOne partition is one month. Materializing a month "
        "that is not being built changes nothing."
    ),
    group_name=GROUP,
    kinds={"sqlite"},
    skippable=True,
)
_GATES = {
    GateName.FINISHED: "Nothing of the generation is under way or unplanned.",
    GateName.COVERAGE: "At least publishing.min_coverage of its chunks have a vector.",
    GateName.SHRINKAGE: "It has not lost more than publishing.max_shrinkage of what is published.",
    GateName.SELF_RETRIEVAL: "Sampled chunks are found by the vectors that were bought for them.",
}


def build_search_index(settings: Settings) -> dg.AssetsDefinition:
    """The published index by month; the settings decide its calendar."""
    return dg.multi_asset(
        name="search_index",
        specs=[_SEARCH_INDEX],
        partitions_def=build_months(settings),
        check_specs=[
            dg.AssetCheckSpec(gate.value, asset="search_index", description=description)
            for gate, description in _GATES.items()
        ],
        can_subset=True,  # so that the checks may be left out: nothing may be there to check
    )(search_index)


def search_index(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Publish a generation if its gates are open; without the asset only look at the gates."""
    now = utc_now()
    with as_failure(), index.open() as opened:
        generation = _to_publish(opened, context.partition_key, context.run.tags)
        if generation is None:
            published = opened.generations.published()
            seen = published.month if published else "nothing"
            context.log.warning(
                f"{context.partition_key} is not being built, so nothing changed; readers see "
                f"{seen}"
            )
            return
        allow = _waived(generation, context.run.tags)
        gates = look_at_gates(opened, generation, settings)
        yield from (_gate_check(gate, is_waived=gate.name in allow) for gate in gates)
        if not context.selected_asset_keys:
            return
        publish_generation(opened, generation, gates, allow=allow, now=now)
        yield dg.MaterializeResult(
            "search_index",
            metadata={
                **_index_metadata(opened, generation, settings),
                **_remove_superfluous(context, opened, settings, now),
            },
        )


def _to_publish(index: Index, month: str, tags: Mapping[str, str]) -> Generation | None:
    """The month's generation that is being built, or the one that a person named."""
    if GENERATION_TAG in tags:
        return generation_to_serve(index, int(tags[GENERATION_TAG]))
    generation = index.generations.building()
    return generation if generation is not None and generation.month == month else None


def _waived(generation: Generation, tags: Mapping[str, str]) -> frozenset[GateName]:
    """The gates that a person opened; all, for a generation that was served before."""
    if generation.state is GenerationState.RETIRED:
        return frozenset(GateName)
    return frozenset(GateName(name) for name in tags.get(ALLOW_TAG, "").split())


def _gate_check(gate: Gate, *, is_waived: bool) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=gate.name.value,
        asset_key="search_index",
        passed=gate.is_open,
        severity=dg.AssetCheckSeverity.WARN if is_waived else dg.AssetCheckSeverity.ERROR,
        description=gate.problem,
        metadata=dict(gate.numbers),
    )


def _index_metadata(index: Index, generation: Generation, settings: Settings) -> dict[str, Any]:
    progress = index.generations.progress(
        generation, max_chunk_attempts=settings.limits.max_chunk_attempts
    )
    bill = index.shards.bill(generation)
    sync_usd = sync_cost_usd(bill.billed_tokens, generation.spec.model, settings.prices)
    return {
        "dagster/row_count": progress.n_embedded,
        "generation": generation.generation_id,
        "documents": progress.n_documents,
        "chunks": progress.n_chunks,
        "chunks_failed": progress.n_failed,
        "coverage": progress.coverage,
        "requests_sent": bill.n_requests,
        "estimated_tokens": bill.estimated_tokens,
        "billed_tokens": bill.billed_tokens,
        "estimated_cost_usd": float(bill.estimated_usd),
        "billed_cost_usd": float(bill.billed_usd),
        # Without a price nothing is claimed; it is never zero.
        **({} if sync_usd is None else {"sync_cost_usd": float(sync_usd)}),
        "without_reuse_cost_usd": float(index.bills.bought(generation).usd),
        "index": dg.MetadataValue.path(str(settings.index_path)),
    }


def _remove_superfluous(
    context: dg.AssetExecutionContext, index: Index, settings: Settings, now: datetime
) -> dict[str, Any]:
    """Readers have the new generation already: what goes wrong here is only a warning."""
    try:
        removed = apply_retention(index, settings, now=now)
    except (StorageError, OSError) as exc:
        context.log.warning(f"old generations stay until the next publication: {exc}")
        return {"retention": f"put off: {exc}"}
    forget_shards(context.instance, removed.shard_keys)
    context.log.info(removed.summary)
    sentence = {"retention": removed.summary} if removed.is_anything else {}
    return {**sentence, "bytes_freed": removed.n_bytes}
