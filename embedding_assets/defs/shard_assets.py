"""The assets by shard: request_shards, batch_jobs, embeddings.

Belongs here: what a run of many shards does for each of them, and what it reports.
Does not belong here: the work itself (pipeline/), and when (sensors.py).

A materialization is logged for every good shard, and the run fails once at the end, so that exactly
the bad partitions turn red (docs/decisions/0003-one-step-for-shards-and-jobs.md).
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

import dagster as dg
import orjson

from embedding_assets.clock import utc_now
from embedding_assets.defs.catalog import build_catalog, version_tags
from embedding_assets.defs.failures import fail_if, fails_in_words
from embedding_assets.defs.metadata import PREVIEW_ROWS, excerpt, partition_link, preview
from embedding_assets.defs.partitions import SHARDS
from embedding_assets.defs.resources import GeminiResource, IndexResource
from embedding_assets.defs.tags import RunTags
from embedding_assets.errors import (
    EmbeddingAssetsError,
    FileGoneError,
    LedgerError,
    NotYetError,
    RateLimitedError,
    StorageError,
)
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import BatchJob, JobState
from embedding_assets.model.request_file import ShardFile
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.money.prices import cost_usd, estimated_usd
from embedding_assets.pipeline.collect import CollectionSummary, collect_shard, result_path
from embedding_assets.pipeline.submit import cancel_job_of, submit_shard, write_requests
from embedding_assets.pipeline.sync_route import Pacer
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.store.shards import FailedRequest, RequestCounts
from embedding_assets.wording import some

COUNTS_CHECK = "requests_add_up"


def build_shard_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The three assets by shard, in two steps that take many shards each."""
    catalog = build_catalog(settings)
    return [
        dg.multi_asset(
            name="submission",
            specs=[catalog["request_shards"], catalog["batch_jobs"]],
            partitions_def=SHARDS,
            backfill_policy=dg.BackfillPolicy.single_run(),
            can_subset=True,
        )(submission),
        dg.multi_asset(
            name="embeddings",
            specs=[catalog["embeddings"]],
            partitions_def=SHARDS,
            backfill_policy=dg.BackfillPolicy.single_run(),
            check_specs=[
                dg.AssetCheckSpec(
                    COUNTS_CHECK,
                    asset="embeddings",
                    description=(
                        "For every shard: requests = embedded + failed + pending. A shard that "
                        "does not add up is not materialized; `embedding-assets doctor` says why."
                    ),
                    blocking=True,
                )
            ],
        )(embeddings),
    ]


@fails_in_words
def submission(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
    gemini: GeminiResource,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Write the shards' files and submit them; one bad shard does not hurt its neighbours."""
    tags = RunTags.parse(context.run.tags)
    selected = {key.to_user_string() for key in context.selected_asset_keys}
    pacer = Pacer(texts_per_minute=settings.limits.sync_requests_per_minute)
    problems: dict[str, str] = {}
    with index.open() as opened, _client_if("batch_jobs" in selected, gemini) as client:
        for key in context.partition_keys:
            file: ShardFile | None = None
            try:
                shard = opened.shards.get(key)
                if tags.report_failures:
                    raise _given_up(shard, opened.jobs.newest_job(shard))
                file = _requests_file(context, opened, shard, settings, selected)
                if client is not None:
                    if tags.resubmit:
                        _cancel(context, opened, client, shard)
                    job = submit_shard(opened, client, shard, file, settings, pacer, clock=utc_now)
                    metadata = _submission_metadata(job, settings)
                    _log(context, opened, "batch_jobs", shard, metadata)
            except (NotYetError, RateLimitedError, FileGoneError) as exc:
                # Not a failure of the shard: the sensor submits it when there is room again.
                context.log.warning(f"{key} waits: {exc}")
                opened.jobs.mark_submit_requested([key], now=None)
            except EmbeddingAssetsError as exc:
                problems[key] = str(exc)
                is_written = {"request_shards"} if file else set()
                _log_problem(context, opened, selected - is_written, key, str(exc))
                if client is not None:
                    _report_refusal(opened, key)
    fail_if(problems, "not submitted")
    yield from ()  # a generator for Dagster's sake: materializations are logged, one a partition


@contextmanager
def _client_if(is_needed: bool, gemini: GeminiResource) -> Iterator[GeminiClient | None]:
    if not is_needed:
        yield None
        return
    with gemini.connected() as client:
        yield client


def _cancel(
    context: dg.AssetExecutionContext, index: Index, client: GeminiClient, shard: Shard
) -> None:
    cancelled = cancel_job_of(index, client, shard, now=utc_now())
    if cancelled is not None:
        context.log.info(
            f"{shard.key}: Gemini was asked to cancel {cancelled.job_name or 'its job'}; the "
            "sensor submits the shard again when it has, or collects it if it was answered first"
        )


def _report_refusal(index: Index, key: str) -> None:
    """This run turns the partition of a refused shard red: the sensor need not ask for another."""
    job = _newest_job(index, key)
    if job is not None and job.state is JobState.REFUSED:
        with suppress(StorageError):  # then it does
            index.jobs.mark_failure_reported([key], now=utc_now())


def _given_up(shard: Shard, job: BatchJob | None) -> LedgerError:
    detail = job.error_message if job and job.error_message else "Gemini gave no reason"
    name = f", job {job.job_name}" if job and job.job_name else ""
    attempt = f"attempt {job.attempt}{name}, {job.state.value}" if job else "no job"
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
        _log(context, index, "request_shards", shard, _request_metadata(shard, file))
    return file


# What a materialization of these assets was made from, by Dagster's account.
_MADE_AFTER = {"batch_jobs": "request_shards", "embeddings": "batch_jobs"}


def _log(
    context: dg.AssetExecutionContext,
    index: Index,
    asset: str,
    shard: Shard,
    metadata: Mapping[str, Any],
) -> None:
    """One shard of an asset is done; what it was made by is what its generation was made by."""
    generation = index.generations.get(shard.generation_id)
    context.log_event(
        dg.AssetMaterialization(
            asset_key=asset,
            partition=shard.key,
            metadata=metadata,
            tags=version_tags(generation, after=_MADE_AFTER.get(asset)),
        )
    )


def _log_problem(
    context: dg.AssetExecutionContext, index: Index, assets: Set[str], key: str, problem: str
) -> None:
    """One shard of these assets is not done. The page of a red partition shows observations."""
    context.log.error(f"{key}: {problem}")
    job = _newest_job(index, key)
    metadata = {
        "message": dg.MetadataValue.text(problem),
        **({"state": job.state.value, **_job_metadata(job)} if job else {}),
    }
    for asset in sorted(assets):
        context.log_event(dg.AssetObservation(asset_key=asset, partition=key, metadata=metadata))


def _newest_job(index: Index, key: str) -> BatchJob | None:
    """None, too, for a partition that no plan knows, or if the index cannot be read now."""
    with suppress(LedgerError, StorageError):
        return index.jobs.newest_job(index.shards.get(key))
    return None


def _request_metadata(shard: Shard, file: ShardFile) -> dict[str, Any]:
    return {
        "dagster/row_count": file.n_requests,
        "request_bytes": file.n_bytes,
        "sha256": file.sha256,
        "estimated_tokens": shard.estimated_tokens,
        "estimated_cost_usd": float(estimated_usd(shard)),
        "file": dg.MetadataValue.path(str(file.path)),
        **_first_lines(file),
    }


def _first_lines(file: ShardFile) -> dict[str, dg.MetadataValue[Any]]:
    with file.path.open("rb") as lines:
        requests = [orjson.loads(line) for line in islice(lines, PREVIEW_ROWS)]
    rows = [
        {"key": line["key"], "text": excerpt(line["request"]["content"]["parts"][0]["text"])}
        for line in requests
    ]
    return preview("lines", rows, n_rows=file.n_requests, key="string", text="string")


def _submission_metadata(job: BatchJob, settings: Settings) -> dict[str, Any]:
    return {
        "state_at_submission": job.state.value,  # it changes, and what is logged does not
        **_job_metadata(job),
        "display_name": job.display_name,
        "input_file": job.input_file_name or "",
        **({"message": dg.MetadataValue.text(job.error_message)} if job.error_message else {}),
        "request_shards": partition_link("request_shards", job.shard_key),
        "requests_file": dg.MetadataValue.path(str(settings.shards_dir / f"{job.shard_key}.jsonl")),
    }


def _job_metadata(job: BatchJob) -> dict[str, Any]:
    """Which job it was, and how long its shard waited: to be submitted, then to be answered."""
    waits = {
        "submission_seconds": (job.reserved_at, job.submitted_at),
        "wait_seconds": (job.submitted_at, job.ended_at),
    }
    return {
        "attempt": job.attempt,
        "job_name": job.job_name or "synchronous",
        **{
            # The end is by Gemini's clock, which may be behind ours.
            name: max(0.0, (until - since).total_seconds())
            for name, (since, until) in waits.items()
            if since is not None and until is not None
        },
    }


@fails_in_words
def embeddings(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
    gemini: GeminiResource,
) -> Iterator[dg.AssetCheckResult]:
    """Bring the shards' results into the index; one bad file does not hurt its neighbours."""
    RunTags.parse(context.run.tags)
    problems: dict[str, str] = {}
    miscounted: dict[str, RequestCounts] = {}
    with index.open() as opened, gemini.connected() as client:
        for key in context.partition_keys:
            try:
                shard = opened.shards.get(key)
                summary = collect_shard(opened, client, shard, settings, now=utc_now())
                counts = opened.shards.counts(shard)
                if not counts.adds_up:
                    miscounted[key] = counts
                elif counts.n_pending:
                    context.log.info(_why_pending(shard, opened.jobs.newest_job(shard)))
                else:
                    metadata = _collection_metadata(opened, shard, counts, summary, settings)
                    _log(context, opened, "embeddings", shard, metadata)
            except NotYetError as exc:
                context.log.warning(f"{key} waits: {exc}")
            except StorageError as exc:
                # It may have hit what is reported of results that are in the index by then.
                problems[key] = (
                    f"{exc}; materialize this partition of embeddings again: what is in the index "
                    "already is only recorded, and nothing is bought"
                )
            except EmbeddingAssetsError as exc:
                problems[key] = str(exc)
        problems |= {key: _miscount(key, counts) for key, counts in miscounted.items()}
        for key, problem in problems.items():
            _log_problem(context, opened, {"embeddings"}, key, problem)
    yield _counts_check(miscounted, n_shards=len(context.partition_keys))
    # Before Dagster ends the step because of the check, in its own words.
    fail_if(problems, "not collected")


def _why_pending(shard: Shard, job: BatchJob | None) -> str:
    state = f"its job is {job.state.value}" if job else "it was not submitted yet"
    return f"{shard.key}: nothing to collect, {state}; the sensor collects it when Gemini is done"


def _miscount(key: str, counts: RequestCounts) -> str:
    return (
        f"shard {key} was planned with {counts.n_requests:,} requests, but {counts.n_embedded:,} "
        f"are embedded, {counts.n_failed:,} failed and {counts.n_pending:,} pending; run "
        "`embedding-assets doctor`, which says what to do"
    )


def _counts_check(miscounted: Mapping[str, RequestCounts], *, n_shards: int) -> dg.AssetCheckResult:
    rows = [
        {
            "shard": key,
            "planned": counts.n_requests,
            "embedded": counts.n_embedded,
            "failed": counts.n_failed,
            "pending": counts.n_pending,
        }
        for key, counts in islice(miscounted.items(), PREVIEW_ROWS)
    ]
    columns = dict.fromkeys(("planned", "embedded", "failed", "pending"), "int")
    return dg.AssetCheckResult(
        check_name=COUNTS_CHECK,
        asset_key="embeddings",
        passed=not miscounted,
        severity=dg.AssetCheckSeverity.ERROR,
        description=some([_miscount(key, counts) for key, counts in miscounted.items()]) or None,
        metadata={
            "shards": n_shards,
            "shards_miscounted": len(miscounted),
            **preview("miscounted", rows, n_rows=len(miscounted), shard="string", **columns),
        },
    )


def _collection_metadata(
    index: Index,
    shard: Shard,
    counts: RequestCounts,
    summary: CollectionSummary | None,
    settings: Settings,
) -> dict[str, Any]:
    """What is in the index, and what this collection found; nothing of that if it came earlier."""
    job = index.jobs.newest_job(shard)
    failed = index.shards.failed_requests(shard, limit=PREVIEW_ROWS)
    return {
        "dagster/row_count": counts.n_embedded,
        "requests_failed": counts.n_failed,
        "billed_tokens": counts.billed_tokens,
        "estimated_tokens": shard.estimated_tokens,
        "billed_cost_usd": float(cost_usd(counts.billed_tokens, shard.usd_per_million)),
        "estimated_cost_usd": float(estimated_usd(shard)),
        **(_lines_metadata(summary) if summary else {}),
        **(_answer_metadata(job, settings) if job else {}),
        **_some_failed(failed, n_failed=counts.n_failed),
    }


def _some_failed(
    failed: Sequence[FailedRequest], *, n_failed: int
) -> dict[str, dg.MetadataValue[Any]]:
    rows = [
        {
            "chunk_id": request.chunk_id,
            "uri": request.uri,
            "code": request.error_code,
            "message": request.error_message,
        }
        for request in failed
    ]
    types = {"chunk_id": "int", "uri": "string", "code": "string", "message": "string"}
    return preview("failures", rows, n_rows=n_failed, **types)


def _answer_metadata(job: BatchJob, settings: Settings) -> dict[str, Any]:
    return {
        **_job_metadata(job),
        "batch_jobs": partition_link("batch_jobs", job.shard_key),
        "results_file": dg.MetadataValue.path(str(result_path(settings.results_dir, job))),
    }


def _lines_metadata(summary: CollectionSummary) -> dict[str, Any]:
    return {
        "unknown_lines": summary.n_unknown_lines,
        "duplicate_lines": summary.n_duplicate_lines,
    }
