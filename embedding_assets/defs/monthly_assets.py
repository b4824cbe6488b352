"""The assets by month: documents, chunks, shard_plan, search_index.

Belongs here: what one materialization loads, calls, stores and reports.
Does not belong here: the work (documents.py, snapshots.py, pipeline/), and when (sensors.py).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg

from embedding_assets.chunks import Chunker
from embedding_assets.clock import utc_now
from embedding_assets.connection import provider_of
from embedding_assets.corpus import read_corpus
from embedding_assets.costs import cost_usd, parse_usd, sync_cost_usd
from embedding_assets.defs.failures import as_failure
from embedding_assets.defs.metadata import GROUP, PREVIEW_ROWS, table
from embedding_assets.defs.partitions import (
    ALL,
    build_months,
    forget_shards,
    register_shards,
)
from embedding_assets.defs.resources import IndexResource
from embedding_assets.documents import find_documents
from embedding_assets.errors import LedgerError, StorageError
from embedding_assets.gates import Gate, GateName
from embedding_assets.generations import Generation, GenerationState
from embedding_assets.pipeline.budget import check_plan
from embedding_assets.pipeline.build import build_generation
from embedding_assets.pipeline.plan import Plan, make_plan, reason_to_hold, write_plan
from embedding_assets.pipeline.publish import (
    generation_to_serve,
    look_at_gates,
    publish_generation,
)
from embedding_assets.pipeline.retention import apply_retention
from embedding_assets.settings import Settings
from embedding_assets.shards import Shard, ShardState
from embedding_assets.snapshots import (
    open_previous,
    read_preview,
    read_snapshot,
    write_snapshot,
)
from embedding_assets.specs import EmbeddingSpec
from embedding_assets.store.index import Index
from embedding_assets.store.published import Failure

# Of a run of shard_plan: what this reindex may cost, in dollars, whatever the budget says.
APPROVED_TAG = "embedding_assets/approve_cost_usd"
# Of a run of shard_plan: do not wait for more requests.
SEND_NOW_TAG = "embedding_assets/send_now"


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


def build_monthly_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The four monthly assets; the settings decide their calendar."""
    asset = partial(dg.asset, partitions_def=build_months(settings), group_name=GROUP)
    return [
        asset(kinds={"parquet"})(documents),
        asset(kinds={"sqlite"}, deps=["documents"])(chunks),
        asset(kinds={"sqlite"}, deps=["chunks"])(shard_plan),
        dg.multi_asset(
            name="search_index",
            specs=[_SEARCH_INDEX],
            partitions_def=build_months(settings),
            check_specs=[
                dg.AssetCheckSpec(gate.value, asset="search_index", description=description)
                for gate, description in _GATES.items()
            ],
            can_subset=True,  # so that the checks may be left out: nothing may be there to check
        )(search_index),
    ]


def documents(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[Any]:
    """The corpus as it is now: one row a document, with its text or why there is none.

    One partition is one month's snapshot, a Parquet file. Files that look as they did in the
    previous snapshot are not read again.
    """
    now = utc_now()
    path = settings.snapshots_dir / f"{context.partition_key}.parquet"
    with as_failure(), open_previous(settings.snapshots_dir) as previous:
        found = find_documents(settings.corpus.paths)
        keep_for = timedelta(days=settings.corpus.keep_unreadable_days)
        corpus = read_corpus(found, previous, now=now, keep_for=keep_for)
        summary = write_snapshot(path, corpus, now=now, earlier=previous.known)
    changes = summary.changes
    context.log.info(changes.summary)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": summary.documents,
            "summary": dg.MetadataValue.text(changes.summary),
            **changes.counts,
            "reused": summary.reused,
            "readable": summary.readable,
            "kept": summary.kept,
            "failed": summary.failed,
            "bytes": summary.n_bytes,
            "changes": table([change.row for change in changes.samples]),
            "snapshot": dg.MetadataValue.path(str(path)),
            "preview": table(read_preview(path, PREVIEW_ROWS).to_dict("records")),
        }
    )


def chunks(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.MaterializeResult[Any]:
    """Every document of the month's snapshot split into chunks; a new generation lists them.

    One partition is one month. A text that the index has already, from whatever document or
    month, is the same chunk.
    """
    month = context.partition_key
    spec = _spec(settings)
    with as_failure(), index.open() as opened:
        built = build_generation(
            opened,
            read_snapshot(settings.snapshots_dir / f"{month}.parquet"),
            month=month,
            spec=spec,
            chunker=Chunker(max_chars=settings.chunking.max_chars, max_tokens=spec.max_text_tokens),
            now=utc_now(),
        )
        progress = opened.generations.progress(
            built.generation, max_chunk_attempts=settings.limits.max_chunk_attempts
        )
        failures = opened.published.failures(built.generation)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": progress.n_chunks,
            "generation": built.generation.generation_id,
            "documents": built.n_documents,
            "documents_split": built.n_split,
            "documents_kept": built.n_kept,
            "documents_failed": built.n_failed,
            "chunks_with_vector": progress.n_embedded,
            "chunks_without_vector": progress.n_chunks - progress.n_embedded,
            "chunker": built.generation.chunker,
            "failures": table([_failure_row(f) for f in failures[:PREVIEW_ROWS]]),
        }
    )


def _spec(settings: Settings) -> EmbeddingSpec:
    provider = provider_of(settings.gemini.base_url, os.environ)
    return EmbeddingSpec.of(settings.embedding, provider=provider)


def _failure_row(failure: Failure) -> dict[str, Any]:
    return {
        "kind": failure.kind,
        "uri": failure.uri,
        "position": -1 if failure.position is None else failure.position,
        "code": failure.error_code or "",
        "message": failure.error_message,
    }


def shard_plan(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.MaterializeResult[Any]:
    """What the month's generation still needs: packed into shards, priced, within the budget.

    One partition is one month. Materialized again it plans what is missing by then, say failed
    chunks that are worth another try; what is planned or bought already is left alone.
    """
    month = context.partition_key
    with as_failure(), index.open() as opened:
        generation = opened.generations.newest(month)
        if generation is None:
            raise LedgerError(f"{month} has no generation; materialize documents and chunks first")
        if generation != opened.generations.building():
            return dg.MaterializeResult(
                metadata={"note": f"generation {generation.generation_id} is published already"}
            )
        now = utc_now()
        _approve(opened, generation, context.run.tags.get(APPROVED_TAG))
        plan = make_plan(opened, generation, settings)
        held = reason_to_hold(
            plan, settings, waiting_since=opened.generations.waiting_since(), now=now
        )
        if held is not None and SEND_NOW_TAG not in context.run.tags:
            opened.generations.start_waiting(now=now)
            return dg.MaterializeResult(metadata={"note": held, **_plan_metadata(plan, ())})
        check_plan(opened, plan, settings, now=now)
        shards = write_plan(opened, plan, now=now)
        register_shards(context.instance, opened.shards.keys(ShardState.OPEN))
        forget_shards(context.instance, opened.shards.keys(ShardState.ABANDONED))
    return dg.MaterializeResult(metadata=_plan_metadata(plan, shards))


def _approve(index: Index, generation: Generation, usd: str | None) -> None:
    """Record what a person approved with the run."""
    if usd is not None:
        index.spending.approve(generation, usd=parse_usd(usd))


def _plan_metadata(plan: Plan, shards: Sequence[Shard]) -> dict[str, Any]:
    return {
        "dagster/row_count": plan.n_requests,
        "shards": len(shards),
        "route": plan.route.value,
        "bytes": plan.n_bytes,
        "chunks": plan.progress.n_chunks,
        "chunks_with_vector": plan.progress.n_embedded,
        "chunks_failed": plan.progress.n_failed,
        "estimated_tokens": plan.estimated_tokens,
        "estimated_cost_usd": float(plan.estimated_cost_usd),
        "sync_cost_usd": float(plan.sync_cost_usd),
        "estimate_rests_on": plan.estimator.basis,
        **_error_metadata(plan),
        "table": table([_shard_row(shard) for shard in shards[:PREVIEW_ROWS]]),
    }


def _error_metadata(plan: Plan) -> dict[str, Any]:
    """The error of the last estimate in per cent, positive if it was too high; {} before one."""
    error = plan.last_estimate_error
    return {} if error is None else {"last_estimate_error_percent": round(100 * error, 1)}


def _shard_row(shard: Shard) -> dict[str, Any]:
    return {
        "shard": shard.key,
        "requests": shard.n_requests,
        "tokens": shard.estimated_tokens,
        "usd": float(cost_usd(shard.estimated_tokens, shard.usd_per_million)),
    }


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
