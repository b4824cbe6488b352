"""The assets by shard: request_shards, batch_jobs, embeddings.

Belongs here: what a run of many shards does for each of them, and what it reports.
Does not belong here: the work itself (pipeline/), and when (sensors.py).

A materialization is logged for every good shard, and the run fails once at the end, so that exactly
the bad partitions turn red (docs/decisions/0003-one-step-for-shards-and-jobs.md).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from embedding_assets.batch_jobs import BatchJob
from embedding_assets.clock import utc_now
from embedding_assets.costs import cost_usd
from embedding_assets.defs.failures import as_failure, fail_if
from embedding_assets.defs.metadata import GROUP
from embedding_assets.defs.partitions import ALL, SHARDS
from embedding_assets.defs.resources import GeminiResource, IndexResource
from embedding_assets.errors import (
    EmbeddingAssetsError,
    FileGoneError,
    LedgerError,
    NotYetError,
    RateLimitedError,
)
from embedding_assets.gemini import GeminiClient
from embedding_assets.pipeline.collect import CollectionSummary, collect_shard
from embedding_assets.pipeline.submit import submit_shard, write_requests
from embedding_assets.pipeline.sync_route import Pacer
from embedding_assets.settings import Settings
from embedding_assets.shards import Shard, ShardFile, ShardState
from embedding_assets.store.index import Index
from embedding_assets.store.shards import RequestCounts

COUNTS_CHECK = "requests_add_up"
# A run with this tag submits nothing: it turns the partitions of given-up shards red.
REPORT_FAILURES_TAG = "embedding_assets/report_failures"


def build_shard_assets() -> list[dg.AssetsDefinition]:
    """The three assets by shard, in two steps that take many shards each."""
    return [
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
    with index.open() as opened, _client_if("batch_jobs" in selected, gemini) as client:
        for key in context.partition_keys:
            try:
                shard = opened.shards.get(key)
                if REPORT_FAILURES_TAG in context.run.tags:
                    raise _given_up(shard, opened.ledger.newest_job(shard))
                file = _requests_file(context, opened, shard, settings, selected)
                if client is not None:
                    job = submit_shard(opened, client, shard, file, settings, pacer, clock=utc_now)
                    _log(context, "batch_jobs", key, _job_metadata(job))
            except (NotYetError, RateLimitedError, FileGoneError) as exc:
                # Not a failure of the shard: the sensor submits it when there is room again.
                context.log.warning(f"{key} waits: {exc}")
                opened.ledger.mark_submit_requested([key], now=None)
            except EmbeddingAssetsError as exc:
                problems[key] = str(exc)
                context.log.error(f"{key}: {exc}")
    fail_if(problems, "not submitted")
    yield from ()  # a generator for Dagster's sake: materializations are logged, one a partition


@contextmanager
def _client_if(is_needed: bool, gemini: GeminiResource) -> Iterator[GeminiClient | None]:
    if not is_needed:
        yield None
        return
    with as_failure(), gemini.connected() as client:
        yield client


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


def _log(
    context: dg.AssetExecutionContext, asset: str, key: str, metadata: Mapping[str, Any]
) -> None:
    context.log_event(dg.AssetMaterialization(asset_key=asset, partition=key, metadata=metadata))


def _job_metadata(job: BatchJob) -> dict[str, Any]:
    return {
        "attempt": job.attempt,
        "state": job.state.value,
        "job_name": job.job_name or "synchronous",
        "display_name": job.display_name,
        "input_file": job.input_file_name or "",
    }


def embeddings(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
    gemini: GeminiResource,
) -> Iterator[dg.AssetCheckResult]:
    """Bring the shards' results into the index; one bad file does not hurt its neighbours."""
    problems: dict[str, str] = {}
    miscounted: list[str] = []
    with as_failure(), index.open() as opened, gemini.connected() as client:
        for key in context.partition_keys:
            try:
                shard = opened.shards.get(key)
                summary = collect_shard(opened, client, shard, settings, now=utc_now())
                counts = opened.shards.counts(shard)
                if not counts.adds_up:
                    miscounted.append(f"{key}: {counts}")
                if counts.n_pending:
                    context.log.info(_why_pending(shard, opened.ledger.newest_job(shard)))
                else:
                    _log(context, "embeddings", key, _collection_metadata(shard, counts, summary))
            except NotYetError as exc:
                context.log.warning(f"{key} waits: {exc}")
            except EmbeddingAssetsError as exc:
                problems[key] = str(exc)
                context.log.error(f"{key}: {exc}")
    yield dg.AssetCheckResult(
        check_name=COUNTS_CHECK,
        asset_key="embeddings",
        passed=not miscounted,
        metadata={"shards_checked": len(context.partition_keys), "miscounted": miscounted},
    )
    fail_if(problems, "not collected")


def _why_pending(shard: Shard, job: BatchJob | None) -> str:
    state = f"its job is {job.state.value}" if job else "it was not submitted yet"
    return f"{shard.key}: nothing to collect, {state}; the sensor collects it when Gemini is done"


def _collection_metadata(
    shard: Shard, counts: RequestCounts, summary: CollectionSummary | None
) -> dict[str, Any]:
    """What is in the index, and what this collection found; None if it came earlier."""
    metadata: dict[str, Any] = {
        "dagster/row_count": counts.n_embedded,
        "failed": counts.n_failed,
        "billed_tokens": counts.billed_tokens,
        "estimated_tokens": shard.estimated_tokens,
        "cost_usd": float(cost_usd(counts.billed_tokens, shard.usd_per_million)),
    }
    if summary is not None:
        metadata |= {
            "unknown_lines": summary.n_unknown_lines,
            "duplicate_lines": summary.n_duplicate_lines,
            "results": dg.MetadataValue.path(str(summary.result_path)),
        }
    return metadata
