"""The assets by month that prepare a reindex: documents, chunks, shard_plan.

Belongs here: what one materialization loads, calls, stores and reports.
Does not belong here: the work (documents.py, snapshots.py, pipeline/), and when (sensors.py).
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from embedding_assets.clock import utc_now
from embedding_assets.corpus.changes import Changes
from embedding_assets.corpus.corpus import read_corpus
from embedding_assets.corpus.find import find_documents
from embedding_assets.corpus.snapshots import (
    open_previous,
    read_preview,
    read_snapshot,
    write_snapshot,
)
from embedding_assets.defs.catalog import (
    build_catalog,
    version_tags,
    wanted_chunker,
    wanted_spec,
)
from embedding_assets.defs.failures import as_failure
from embedding_assets.defs.metadata import PREVIEW_ROWS, excerpt, preview
from embedding_assets.defs.partitions import (
    build_months,
    forget_shards,
    register_shards,
)
from embedding_assets.defs.resources import IndexResource
from embedding_assets.errors import LedgerError
from embedding_assets.model.generations import Generation
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.money.prices import estimated_usd, parse_usd
from embedding_assets.pipeline.budget import check_plan
from embedding_assets.pipeline.build import build_generation
from embedding_assets.pipeline.plan import Plan, make_plan, reason_to_hold, write_plan
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.store.published import Failure, Place

# Of a run of shard_plan: what this reindex may cost, in dollars, whatever the budget says.
APPROVED_TAG = "embedding_assets/approve_cost_usd"
# Of a run of shard_plan: do not wait for more requests.
SEND_NOW_TAG = "embedding_assets/send_now"


def build_monthly_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The three monthly assets; the settings decide their calendar."""
    catalog = build_catalog(settings)
    return [
        dg.multi_asset(
            name=work.__name__,
            specs=[catalog[work.__name__]],
            partitions_def=build_months(settings),
        )(work)
        for work in (documents, chunks, shard_plan)
    ]


def documents(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[Any]:
    """Take a snapshot of the corpus as it is now."""
    now = utc_now()
    path = settings.snapshots_dir / f"{context.partition_key}.parquet"
    with as_failure(), open_previous(settings.snapshots_dir) as previous:
        found = find_documents(settings.corpus.paths)
        keep_for = timedelta(days=settings.corpus.keep_unreadable_days)
        corpus = read_corpus(found, previous, now=now, keep_for=keep_for)
        summary = write_snapshot(path, corpus, now=now, earlier=previous.known)
        first = read_preview(path, PREVIEW_ROWS)
    changes = summary.changes
    context.log.info(changes.summary)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": summary.documents,
            "summary": dg.MetadataValue.text(changes.summary),
            **changes.counts,
            "documents_reused": summary.reused,
            "documents_readable": summary.readable,
            "documents_kept": summary.kept,
            "documents_failed": summary.failed,
            "source_bytes": summary.n_bytes,
            "snapshot": dg.MetadataValue.path(str(path)),
            **_changed_documents(changes),
            **preview("preview", first, n_rows=summary.documents, **_DOCUMENT_TYPES),
        },
        # Read again it is another snapshot, whatever the version of the code: see chunks.
        data_version=dg.DataVersion(now.isoformat()),
    )


_DOCUMENT_TYPES = {
    "uri": "string",
    "title": "string",
    "media_type": "string",
    "n_bytes": "int",
    "modified_at": "timestamp",
    "error_message": "string",
    "sha256": "string",
}


def _changed_documents(changes: Changes) -> dict[str, dg.MetadataValue[Any]]:
    """Some documents of each kind that are not what or where they were."""
    rows = [change.row for change in changes.samples]
    n_rows = changes.documents + changes.removed - changes.unchanged
    types = {"change": "string", "uri": "string", "from": "string"}
    return preview("changes", rows, n_rows=n_rows, **types)


def chunks(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.MaterializeResult[Any]:
    """Split the snapshot's documents and list them as a new generation."""
    month = context.partition_key
    with as_failure(), index.open() as opened:
        built = build_generation(
            opened,
            read_snapshot(settings.snapshots_dir / f"{month}.parquet"),
            month=month,
            spec=wanted_spec(settings),
            chunker=wanted_chunker(settings),
            now=utc_now(),
        )
        progress = opened.generations.progress(
            built.generation, max_chunk_attempts=settings.limits.max_chunk_attempts
        )
        failures = opened.published.failures(built.generation)
        with opened.published.view_of(built.generation) as view:
            sample = view.sample_places(PREVIEW_ROWS)
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
            # Nothing is bought for a new generation yet: what has a vector had it before.
            "share_reused": progress.coverage,
            "chunker": built.generation.chunker,
            **_some_chunks(sample, n_chunks=progress.n_chunks),
            **_some_failures(failures),
        },
        tags=version_tags(built.generation),
        # Listed again it is another generation, and what was planned for the one before is void.
        data_version=dg.DataVersion(f"generation {built.generation.generation_id}"),
    )


def _some_chunks(sample: Sequence[Place], *, n_chunks: int) -> dict[str, dg.MetadataValue[Any]]:
    rows = [
        {
            "chunk_id": place.chunk_id,
            "uri": place.uri,
            "title": place.title,
            "position": place.position,
            "characters": len(place.text),
            "text": excerpt(place.text),
        }
        for place in sample
    ]
    return preview("sample", rows, n_rows=n_chunks, **_CHUNK_TYPES)


_CHUNK_TYPES = {
    "chunk_id": "int",
    "uri": "string",
    "title": "string",
    "position": "int",
    "characters": "int",
    "text": "string",
}


def _some_failures(failures: Sequence[Failure]) -> dict[str, dg.MetadataValue[Any]]:
    rows = [
        {
            "kind": failure.kind,
            "uri": failure.uri,
            "position": failure.position,
            "code": failure.error_code,
            "message": failure.error_message,
        }
        for failure in failures[:PREVIEW_ROWS]
    ]
    return preview("failures", rows, n_rows=len(failures), **_FAILURE_TYPES)


_FAILURE_TYPES = {
    "kind": "string",
    "uri": "string",
    "position": "int",
    "code": "string",
    "message": "string",
}


def shard_plan(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.MaterializeResult[Any]:
    """Plan what the month's newest generation still needs, within the budget."""
    month = context.partition_key
    with as_failure(), index.open() as opened:
        generation = opened.generations.newest(month)
        if generation is None:
            raise LedgerError(f"{month} has no generation; materialize documents and chunks first")
        metadata = _plan(context, opened, generation, settings)
    return dg.MaterializeResult(metadata=metadata, tags=version_tags(generation))


def _plan(
    context: dg.AssetExecutionContext, index: Index, generation: Generation, settings: Settings
) -> dict[str, Any]:
    """Write the plan, or leave it for now; what there is to say about it."""
    if generation != index.generations.building():
        return {"note": f"generation {generation.generation_id} is published already"}
    now = utc_now()
    _approve(index, generation, context.run.tags.get(APPROVED_TAG))
    plan = make_plan(index, generation, settings)
    held = reason_to_hold(plan, settings, waiting_since=index.generations.waiting_since(), now=now)
    if held is not None and SEND_NOW_TAG not in context.run.tags:
        index.generations.start_waiting(now=now)
        return {"note": held, **_plan_metadata(plan, ())}
    check_plan(index, plan, settings, now=now)
    shards = write_plan(index, plan, now=now)
    register_shards(context.instance, index.shards.keys(ShardState.OPEN))
    forget_shards(context.instance, index.shards.keys(ShardState.ABANDONED))
    return _plan_metadata(plan, shards)


def _approve(index: Index, generation: Generation, usd: str | None) -> None:
    """Record what a person approved with the run."""
    if usd is not None:
        index.spending.approve(generation, usd=parse_usd(usd))


def _plan_metadata(plan: Plan, shards: Sequence[Shard]) -> dict[str, Any]:
    return {
        "dagster/row_count": plan.n_requests,
        "generation": plan.generation.generation_id,
        "shards": len(shards),
        "route": plan.route.value,
        "request_bytes": plan.n_bytes,
        "chunks": plan.progress.n_chunks,
        "chunks_with_vector": plan.progress.n_embedded,
        "chunks_failed": plan.progress.n_failed,
        "estimated_tokens": plan.estimated_tokens,
        "estimated_cost_usd": float(plan.estimated_cost_usd),
        "sync_cost_usd": float(plan.sync_cost_usd),
        "estimate_rests_on": plan.estimator.basis,
        **_error_metadata(plan),
        **_some_shards(shards),
    }


def _error_metadata(plan: Plan) -> dict[str, Any]:
    """The error of the last estimate in per cent, positive if it was too high; {} before one."""
    error = plan.last_estimate_error
    return {} if error is None else {"last_estimate_error_percent": round(100 * error, 1)}


def _some_shards(shards: Sequence[Shard]) -> dict[str, dg.MetadataValue[Any]]:
    rows = [
        {
            "shard": shard.key,
            "requests": shard.n_requests,
            "bytes": shard.n_bytes,
            "tokens": shard.estimated_tokens,
            "usd": float(estimated_usd(shard)),
        }
        for shard in shards[:PREVIEW_ROWS]
    ]
    return preview("plan", rows, n_rows=len(shards), **_SHARD_TYPES)


_SHARD_TYPES = {
    "shard": "string",
    "requests": "int",
    "bytes": "int",
    "tokens": "int",
    "usd": "float",
}
