"""The assets by month that prepare a reindex: documents, chunks, shard_plan.

Belongs here: what one materialization loads, calls, stores and reports.
Does not belong here: the work (corpus/, pipeline/), and when (sensors.py).
"""

from collections.abc import Hashable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import dagster as dg

from embedding_assets.clock import utc_now
from embedding_assets.corpus.census import Enumeration, Tally
from embedding_assets.corpus.changes import Change
from embedding_assets.corpus.snapshots import (
    PREVIEW_COLUMNS,
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
from embedding_assets.defs.failures import fails_in_words
from embedding_assets.defs.metadata import PREVIEW_ROWS, Columns, excerpt, preview
from embedding_assets.defs.partitions import (
    build_months,
    keep_shards,
)
from embedding_assets.defs.resources import IndexResource
from embedding_assets.defs.tags import RunTags
from embedding_assets.errors import LedgerError
from embedding_assets.model.generations import Generation
from embedding_assets.model.shards import Shard
from embedding_assets.money.prices import estimated_usd
from embedding_assets.pipeline.budget import check_plan
from embedding_assets.pipeline.build import build_generation
from embedding_assets.pipeline.plan import Plan, make_plan, reason_to_hold, write_plan
from embedding_assets.pipeline.read import read_documents
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.store.published import Failure, Place


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


@fails_in_words
def documents(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[Any]:
    """Take a snapshot of the corpus as it is now."""
    RunTags.parse(context.run.tags)  # before anything is read or superseded
    now = utc_now()
    path = settings.snapshots_dir / f"{context.partition_key}.parquet"
    with open_previous(settings.snapshots_dir) as previous:
        files = Enumeration()
        corpus = read_documents(settings, previous, now=now, census=files)
        summary = write_snapshot(path, corpus, now=now, earlier=previous.known, census=files)
        first = read_preview(path, PREVIEW_ROWS).to_dict("records")
    changes, census = summary.changes, files.census
    n_changed = changes.documents + changes.removed - changes.unchanged
    context.log.info(changes.summary)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": summary.documents,
            "summary": dg.MetadataValue.text(changes.summary),
            "files": dg.MetadataValue.text(census.summary),
            **changes.counts,
            "documents_reused": summary.reused,
            "documents_readable": summary.readable,
            "documents_kept": summary.kept,
            "documents_failed": summary.failed,
            "documents_with_remark": summary.remarked,
            "source_bytes": summary.n_bytes,
            "snapshot": dg.MetadataValue.path(str(path)),
            **preview("changes", changes.samples, _CHANGE_COLUMNS, n_rows=n_changed),
            **preview("left_out", census.left_out, _TALLY_COLUMNS, n_rows=len(census.left_out)),
            **preview("preview", first, _DOCUMENT_COLUMNS, n_rows=summary.documents),
        },
        # Read again it is another snapshot, whatever the version of the code: see chunks.
        data_version=dg.DataVersion(now.isoformat()),
    )


_DOCUMENT_TYPES = {"n_bytes": "int", "modified_at": "timestamp"}
_DOCUMENT_COLUMNS: Columns[dict[Hashable, Any]] = {
    name: (_DOCUMENT_TYPES.get(name, "string"), itemgetter(name)) for name in PREVIEW_COLUMNS
}
_TALLY_COLUMNS: Columns[Tally] = {
    "reason": ("string", attrgetter("outcome.value")),
    "kind": ("string", attrgetter("kind")),
    "files": ("int", attrgetter("n_files")),
    "for example": ("string", lambda tally: ", ".join(tally.samples[:3])),
}
_CHANGE_COLUMNS: Columns[Change] = {
    "change": ("string", attrgetter("kind")),
    "uri": ("string", attrgetter("uri")),
    "from": ("string", attrgetter("from_uri")),
}


@fails_in_words
def chunks(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.MaterializeResult[Any]:
    """Split the snapshot's documents and list them as a new generation."""
    RunTags.parse(context.run.tags)
    month = context.partition_key
    with index.open() as opened:
        built = build_generation(
            opened,
            read_snapshot(settings.snapshots_dir / f"{month}.parquet"),
            month=month,
            spec=wanted_spec(settings),
            chunker=wanted_chunker(settings),
            now=utc_now(),
        )
        progress = opened.generations.progress(built.generation, limits=settings.limits)
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
            **preview("sample", sample, _PLACE_COLUMNS, n_rows=progress.n_chunks),
            **preview("failures", failures[:PREVIEW_ROWS], _FAILURE_COLUMNS, n_rows=len(failures)),
        },
        tags=version_tags(built.generation),
        # Listed again it is another generation, and what was planned for the one before is void.
        data_version=dg.DataVersion(f"generation {built.generation.generation_id}"),
    )


_PLACE_COLUMNS: Columns[Place] = {
    "chunk_id": ("int", attrgetter("chunk_id")),
    "uri": ("string", attrgetter("uri")),
    "title": ("string", attrgetter("title")),
    "position": ("int", attrgetter("position")),
    "section": ("string", attrgetter("section")),
    "characters": ("int", lambda place: len(place.text)),
    "text": ("string", lambda place: excerpt(place.text)),
}
_FAILURE_COLUMNS: Columns[Failure] = {
    "kind": ("string", attrgetter("kind")),
    "uri": ("string", attrgetter("uri")),
    "position": ("int", attrgetter("position")),
    "code": ("string", attrgetter("error_code")),
    "message": ("string", attrgetter("error_message")),
}


@fails_in_words
def shard_plan(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> dg.MaterializeResult[Any]:
    """Plan what the month's newest generation still needs, within the budget."""
    tags, month = RunTags.parse(context.run.tags), context.partition_key
    with index.open() as opened:
        generation = opened.generations.newest(month)
        if generation is None:
            raise LedgerError(f"{month} has no generation; materialize documents and chunks first")
        metadata = _plan(context.instance, opened, generation, settings, tags)
    return dg.MaterializeResult(metadata=metadata, tags=version_tags(generation))


def _plan(
    instance: dg.DagsterInstance,
    index: Index,
    generation: Generation,
    settings: Settings,
    tags: RunTags,
) -> dict[str, Any]:
    """Write the plan, or leave it for now; what there is to say about it."""
    if generation != index.generations.building():
        return {"note": f"generation {generation.generation_id} is published already"}
    now = utc_now()
    if tags.approve_cost_usd is not None:
        index.bills.approve(generation, usd=tags.approve_cost_usd)
    plan = make_plan(index, generation, settings)
    held = reason_to_hold(plan, settings, waiting_since=index.generations.waiting_since(), now=now)
    if held is not None and not tags.send_now:
        index.generations.start_waiting(generation, now=now)
        return {"note": held, **_plan_metadata(plan, ())}
    check_plan(index, plan, settings, now=now)
    shards = write_plan(index, plan, now=now)
    keep_shards(instance, index.jobs.ledger())
    return _plan_metadata(plan, shards)


def _plan_metadata(plan: Plan, shards: Sequence[Shard]) -> dict[str, Any]:
    return {
        "dagster/row_count": plan.packed.n_requests,
        "generation": plan.generation.generation_id,
        "shards": len(shards),
        "route": plan.route.value,
        "request_bytes": plan.packed.n_bytes,
        "chunks": plan.progress.n_chunks,
        "chunks_with_vector": plan.progress.n_embedded,
        "chunks_failed": plan.progress.n_failed,
        "estimated_tokens": plan.packed.n_tokens,
        "estimated_cost_usd": float(plan.estimated_cost_usd),
        "sync_cost_usd": float(plan.sync_cost_usd),
        "agreement_cost_usd": float(plan.agreement.cost_usd),
        "estimate_rests_on": plan.tariff.estimator.basis,
        **_error_metadata(plan),
        **preview("plan", shards[:PREVIEW_ROWS], _SHARD_COLUMNS, n_rows=len(shards)),
    }


def _error_metadata(plan: Plan) -> dict[str, Any]:
    """The error of the last estimate in per cent, positive if it was too high; {} before one."""
    error = plan.last_estimate_error
    return {} if error is None else {"last_estimate_error_percent": round(100 * error, 1)}


_SHARD_COLUMNS: Columns[Shard] = {
    "shard": ("string", attrgetter("key")),
    "requests": ("int", attrgetter("n_requests")),
    "bytes": ("int", attrgetter("n_bytes")),
    "tokens": ("int", attrgetter("estimated_tokens")),
    "usd": ("float", lambda shard: float(estimated_usd(shard))),
}
