"""The assets by month that prepare a reindex: documents, chunks, shard_plan.

Belongs here: what one materialization loads, calls, stores and reports.
Does not belong here: the work (documents.py, snapshots.py, pipeline/), and when (sensors.py).
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg

from embedding_assets.chunks import Chunker
from embedding_assets.clock import utc_now
from embedding_assets.connection import provider_of
from embedding_assets.corpus import read_corpus
from embedding_assets.costs import cost_usd, parse_usd
from embedding_assets.defs.failures import as_failure
from embedding_assets.defs.metadata import GROUP, PREVIEW_ROWS, table
from embedding_assets.defs.partitions import (
    build_months,
    forget_shards,
    register_shards,
)
from embedding_assets.defs.resources import IndexResource
from embedding_assets.documents import find_documents
from embedding_assets.errors import LedgerError
from embedding_assets.generations import Generation
from embedding_assets.pipeline.budget import check_plan
from embedding_assets.pipeline.build import build_generation
from embedding_assets.pipeline.plan import Plan, make_plan, reason_to_hold, write_plan
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


def build_monthly_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The three monthly assets; the settings decide their calendar."""
    asset = partial(dg.asset, partitions_def=build_months(settings), group_name=GROUP)
    return [
        asset(kinds={"parquet"})(documents),
        asset(kinds={"sqlite"}, deps=["documents"])(chunks),
        asset(kinds={"sqlite"}, deps=["chunks"])(shard_plan),
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
