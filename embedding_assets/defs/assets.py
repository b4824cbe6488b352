"""The seven assets: documents, chunks, plan, shards, jobs, embeddings, index.

Belongs here: what one materialization loads, calls, stores and reports.
Does not belong here: the work itself (documents.py, snapshots.py, pipeline/), and when (sensors.py).

Assets of many shards log a materialization for every good one and fail once at the end, so that
exactly the bad partitions turn red (docs/decisions/0003-one-step-for-shards-and-jobs.md).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from embedding_assets.batch_jobs import BatchJob, JobState
from embedding_assets.chunks import Chunker
from embedding_assets.connection import provider_of
from embedding_assets.costs import cost_usd
from embedding_assets.defs.partitions import (
    ALL,
    SHARDS,
    build_months,
    forget_shards,
    register_shards,
)
from embedding_assets.defs.resources import GeminiResource, IndexResource
from embedding_assets.documents import find_documents, read_document
from embedding_assets.errors import EmbeddingAssetsError, LedgerError
from embedding_assets.gemini import GeminiClient
from embedding_assets.pipeline.build import build_generation
from embedding_assets.pipeline.collect import CollectionSummary, collect_results
from embedding_assets.pipeline.plan import Plan, check_budget, make_plan, write_plan
from embedding_assets.pipeline.publish import publish_generation
from embedding_assets.pipeline.submit import needs_job, submit_batch_job, write_requests
from embedding_assets.pipeline.sync_route import Pacer, embed_shard
from embedding_assets.settings import Settings
from embedding_assets.shards import Route, Shard, ShardFile, ShardState
from embedding_assets.snapshots import read_preview, read_snapshot, write_snapshot
from embedding_assets.specs import EmbeddingSpec
from embedding_assets.store.index import Index

GROUP = "embedding_index"
COUNTS_CHECK = "requests_add_up"
# A run with this tag submits nothing: it turns the partitions of given-up shards red.
REPORT_FAILURES_TAG = "embedding_assets/report_failures"

_PREVIEW_ROWS = 20
_PREVIEW_CHARS = 120


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """All assets; the settings decide only the calendar of the monthly ones."""
    months = build_months(settings)
    return [
        dg.asset(partitions_def=months, group_name=GROUP, kinds={"parquet"})(documents),
        dg.asset(partitions_def=months, group_name=GROUP, kinds={"sqlite"}, deps=["documents"])(
            chunks
        ),
        dg.asset(partitions_def=months, group_name=GROUP, kinds={"sqlite"}, deps=["chunks"])(
            shard_plan
        ),
        dg.multi_asset(
            name="submission",
            specs=[_REQUEST_SHARDS, _BATCH_JOBS],
            partitions_def=SHARDS,
            backfill_policy=dg.BackfillPolicy.single_run(),
            can_subset=True,
        )(submission),
        dg.multi_asset(
            name="embeddings",
            specs=[_EMBEDDINGS],
            partitions_def=SHARDS,
            backfill_policy=dg.BackfillPolicy.single_run(),
            check_specs=[
                dg.AssetCheckSpec(
                    COUNTS_CHECK,
                    asset="embeddings",
                    description="For every shard: requests = embedded + failed + pending.",
                )
            ],
        )(embeddings),
        dg.asset(
            partitions_def=months,
            group_name=GROUP,
            kinds={"sqlite"},
            deps=[dg.AssetDep("embeddings", partition_mapping=ALL)],
            output_required=False,
        )(search_index),
    ]


_REQUEST_SHARDS = dg.AssetSpec(
    "request_shards",
    deps=[dg.AssetDep("shard_plan", partition_mapping=ALL)],
    description=(
        "The requests of one shard as a JSONL file, one line a chunk, keyed `chunk_<id>`.\n\n"
        "One partition is one shard: what one batch job may hold."
    ),
    group_name=GROUP,
    kinds={"json"},
    skippable=True,
)
_BATCH_JOBS = dg.AssetSpec(
    "batch_jobs",
    deps=["request_shards"],
    description=(
        "Exactly one live batch job at Gemini for one shard, or, on the synchronous route, its "
        "finished answer.\n\nOne partition is one shard. Red: Gemini gave up on the job or "
        "refused it; materialize the failed partitions to submit them again. A shard whose job "
        "is alive or whose results are in is left alone."
    ),
    group_name=GROUP,
    kinds={"gemini"},
    skippable=True,
)
_EMBEDDINGS = dg.AssetSpec(
    "embeddings",
    deps=["batch_jobs"],
    description=(
        "The results of one shard's job, in the index request by request: a vector, or a code "
        "and an error_message on the chunk.\n\nOne partition is one shard. Materializing one "
        "whose job still runs does nothing: the sensor collects it when it is done."
    ),
    group_name=GROUP,
    kinds={"sqlite"},
    skippable=True,
)


# --- monthly assets ---------------------------------------------------------------------------


def documents(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[Any]:
    """The corpus as it is now: one row a document, with its text or why there is none.

    One partition is one month's snapshot, a Parquet file.
    """
    path = settings.snapshots_dir / f"{context.partition_key}.parquet"
    with _as_failure():
        found = find_documents(settings.corpus.paths)
        summary = write_snapshot(path, (read_document(source) for source in found))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": summary.documents,
            "readable": summary.readable,
            "failed": summary.failed,
            "bytes": summary.n_bytes,
            "snapshot": dg.MetadataValue.path(str(path)),
            "preview": _table(read_preview(path, _PREVIEW_ROWS).to_dict("records")),
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
    with _as_failure(), index.open() as opened:
        built = build_generation(
            opened,
            read_snapshot(settings.snapshots_dir / f"{month}.parquet"),
            month=month,
            spec=_spec(settings),
            chunker=Chunker(max_chars=settings.chunking.max_chars),
            now=_now(),
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
            "documents_failed": built.n_failed,
            "chunks_with_vector": progress.n_embedded,
            "chunks_without_vector": progress.n_chunks - progress.n_embedded,
            "chunker": built.generation.chunker,
            "failures": _table([_failure_row(f) for f in failures[:_PREVIEW_ROWS]]),
        }
    )


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
    with _as_failure(), index.open() as opened:
        generation = opened.generations.newest(month)
        if generation is None:
            raise LedgerError(f"{month} has no generation; materialize documents and chunks first")
        if generation != opened.generations.building():
            return dg.MaterializeResult(
                metadata={"note": f"generation {generation.generation_id} is published already"}
            )
        plan = make_plan(opened, generation, settings)
        check_budget(opened, plan, max_cost_usd=settings.budget.max_cost_usd)
        shards = write_plan(opened, plan, now=_now())
        register_shards(context.instance, opened.shards.keys(ShardState.OPEN))
        forget_shards(context.instance, opened.shards.keys(ShardState.ABANDONED))
    return dg.MaterializeResult(metadata=_plan_metadata(plan, shards))


def search_index(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> Iterator[dg.MaterializeResult[Any]]:
    """What readers see: the month's newest generation, complete and published.

    One partition is one month. Materializing a month that is not being built changes nothing.
    """
    month = context.partition_key
    with _as_failure(), index.open() as opened:
        generation = opened.generations.building()
        if generation is None or generation.month != month:
            published = opened.generations.published()
            seen = published.month if published else "nothing"
            context.log.warning(
                f"{month} is not being built, so nothing changed; readers see {seen}"
            )
            return
        progress = publish_generation(opened, generation, settings, now=_now())
        bill = opened.shards.bill(generation)
    yield dg.MaterializeResult(
        metadata={
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
            "index": dg.MetadataValue.path(str(settings.index_path)),
        }
    )


# --- assets by shard --------------------------------------------------------------------------


def submission(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
    gemini: GeminiResource,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Write the shards' files and submit them; one bad shard does not hurt its neighbours."""
    selected = {key.to_user_string() for key in context.selected_asset_keys}
    pacer = Pacer(texts_per_minute=settings.limits.sync_requests_per_minute)
    problems: dict[str, str] = {}
    with index.open() as opened, _maybe(gemini, "batch_jobs" in selected) as client:
        for key in context.partition_keys:
            try:
                shard = opened.shards.get(key)
                if REPORT_FAILURES_TAG in context.run.tags:
                    raise _given_up(shard, opened.ledger.newest_job(shard))
                file = _requests_file(context, opened, shard, settings, selected)
                if client is not None:
                    job = _submit(opened, client, shard, file, settings, pacer)
                    _log(context, "batch_jobs", key, _job_metadata(job))
            except EmbeddingAssetsError as exc:
                problems[key] = str(exc)
                context.log.error(f"{key}: {exc}")
    _fail_if(problems, "not submitted")
    yield from ()  # a generator for Dagster's sake: materializations are logged, one a partition


def _given_up(shard: Shard, job: BatchJob | None) -> LedgerError:
    detail = job.error_message if job and job.error_message else "Gemini gave no reason"
    attempt = f"attempt {job.attempt}, job {job.job_name}, {job.state.value}" if job else "no job"
    return LedgerError(
        f"shard {shard.key} is given up ({attempt}): {detail}; materialize this partition of "
        "batch_jobs to submit it again"
    )


def _requests_file(
    context: dg.AssetExecutionContext,
    index: Index,
    shard: Shard,
    settings: Settings,
    selected: set[str],
) -> ShardFile | None:
    """The shard's file, written anew; None if nothing is left to request."""
    if shard.state is not ShardState.OPEN:
        context.log.info(f"{shard.key} is {shard.state.value}: nothing is left to request")
        return None
    file = write_requests(index, shard, shards_dir=settings.shards_dir)
    if "request_shards" in selected:
        metadata = {
            "dagster/row_count": file.n_requests,
            "bytes": file.n_bytes,
            "sha256": file.sha256,
            "estimated_tokens": shard.estimated_tokens,
            "estimated_cost_usd": float(cost_usd(shard.estimated_tokens, shard.usd_per_million)),
            "file": dg.MetadataValue.path(str(file.path)),
        }
        _log(context, "request_shards", shard.key, metadata)
    return file


def _submit(
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    file: ShardFile | None,
    settings: Settings,
    pacer: Pacer,
) -> BatchJob:
    job = index.ledger.newest_job(shard)
    if file is None or not needs_job(job):
        if job is None:
            raise LedgerError(f"shard {shard.key} was abandoned before it was sent")
        return job
    if shard.route is Route.SYNC:
        return embed_shard(
            index,
            gemini,
            shard,
            file,
            results_dir=settings.results_dir,
            pacer=pacer,
            now=_now(),
        )
    return submit_batch_job(
        index,
        gemini,
        shard,
        file,
        max_enqueued_tokens=settings.max_enqueued_tokens,
        now=_now(),
    )


def embeddings(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
    gemini: GeminiResource,
) -> Iterator[dg.AssetCheckResult]:
    """Bring the shards' results into the index; one bad file does not hurt its neighbours."""
    problems: dict[str, str] = {}
    miscounted: list[str] = []
    with index.open() as opened, gemini.connected() as client:
        for key in context.partition_keys:
            try:
                shard = opened.shards.get(key)
                summary = _collect(context, opened, client, shard, settings)
                counts = opened.shards.counts(shard)
                if not counts.adds_up:
                    miscounted.append(f"{key}: {counts}")
                if summary is not None:
                    _log(context, "embeddings", key, _collection_metadata(shard, summary))
            except EmbeddingAssetsError as exc:
                problems[key] = str(exc)
                context.log.error(f"{key}: {exc}")
    yield dg.AssetCheckResult(
        check_name=COUNTS_CHECK,
        asset_key="embeddings",
        passed=not miscounted,
        metadata={"shards_checked": len(context.partition_keys), "miscounted": miscounted},
    )
    _fail_if(problems, "not collected")


def _collect(
    context: dg.AssetExecutionContext,
    index: Index,
    gemini: GeminiClient,
    shard: Shard,
    settings: Settings,
) -> CollectionSummary | None:
    job = index.ledger.newest_job(shard)
    state = job.state if job else None
    if job is None or state is not JobState.SUCCEEDED:
        context.log.info(
            f"{shard.key}: nothing to collect, its job is {state.value if state else 'not there'}; "
            "the sensor collects it when Gemini is done"
        )
        return None
    return collect_results(index, gemini, shard, job, results_dir=settings.results_dir)


# --- metadata and failures --------------------------------------------------------------------


@contextmanager
def _as_failure() -> Iterator[None]:
    """Our errors are sentences for people: show them as such, without a stack trace."""
    try:
        yield
    except EmbeddingAssetsError as exc:
        raise dg.Failure(description=str(exc), allow_retries=False) from exc


def _fail_if(problems: Mapping[str, str], what: str) -> None:
    if problems:
        first = next(iter(problems.values()))
        raise dg.Failure(
            description=f"{len(problems)} shards {what}; the first: {first}",
            metadata={key: message for key, message in problems.items()},
            allow_retries=False,
        )


@contextmanager
def _maybe(gemini: GeminiResource, is_needed: bool) -> Iterator[GeminiClient | None]:
    if not is_needed:
        yield None
        return
    with _as_failure(), gemini.connected() as client:
        yield client


def _log(
    context: dg.AssetExecutionContext, asset: str, key: str, metadata: Mapping[str, Any]
) -> None:
    context.log_event(dg.AssetMaterialization(asset_key=asset, partition=key, metadata=metadata))


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
        "table": _table(
            [
                {
                    "shard": shard.key,
                    "requests": shard.n_requests,
                    "tokens": shard.estimated_tokens,
                    "usd": float(cost_usd(shard.estimated_tokens, shard.usd_per_million)),
                }
                for shard in shards[:_PREVIEW_ROWS]
            ]
        ),
    }


def _job_metadata(job: BatchJob) -> dict[str, Any]:
    return {
        "attempt": job.attempt,
        "state": job.state.value,
        "job_name": job.job_name or "synchronous",
        "display_name": job.display_name,
        "input_file": job.input_file_name or "",
    }


def _collection_metadata(shard: Shard, summary: CollectionSummary) -> dict[str, Any]:
    return {
        "dagster/row_count": summary.n_embedded,
        "failed": summary.n_failed,
        "unknown_lines": summary.n_unknown_lines,
        "duplicate_lines": summary.n_duplicate_lines,
        "billed_tokens": summary.billed_tokens,
        "estimated_tokens": shard.estimated_tokens,
        "cost_usd": float(cost_usd(summary.billed_tokens, shard.usd_per_million)),
        "results": dg.MetadataValue.path(str(summary.result_path)),
    }


def _failure_row(failure: Any) -> dict[str, Any]:
    return {
        "kind": failure.kind,
        "uri": failure.uri,
        "position": -1 if failure.position is None else failure.position,
        "code": failure.error_code or "",
        "message": failure.error_message,
    }


def _table(rows: Sequence[Mapping[Any, Any]]) -> dg.MetadataValue[Any]:
    """Rows as a table in the UI; cells are plain text there, whatever they contain."""
    if not rows:
        return dg.MetadataValue.text("none")
    records = [dg.TableRecord({str(k): _cell(v) for k, v in row.items()}) for row in rows]
    return dg.MetadataValue.table(records=records)


def _cell(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)[:_PREVIEW_CHARS]


def _spec(settings: Settings) -> EmbeddingSpec:
    return EmbeddingSpec(
        provider=provider_of(settings.gemini.base_url, os.environ),
        model=settings.embedding.model,
        dimensions=settings.embedding.dimensions,
        task_type=settings.embedding.task_type,
    )


def _now() -> datetime:
    return datetime.now(UTC)
