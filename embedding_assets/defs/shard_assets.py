"""The assets by shard that ask Gemini: request_shards and batch_jobs.

Belongs here: what a run of many shards does for each of them, and what it reports.
Does not belong here: the work itself (pipeline/submit.py), and when (sensors.py).

A materialization is logged for every good shard, and the run fails once at the end, so that exactly
the bad partitions turn red (docs/decisions/0003-one-step-for-shards-and-jobs.md).
"""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from itertools import islice
from operator import itemgetter
from typing import Any

import dagster as dg
import orjson

from embedding_assets.clock import utc_now
from embedding_assets.defs.catalog import build_catalog
from embedding_assets.defs.failures import fail_if, fails_in_words
from embedding_assets.defs.metadata import (
    PREVIEW_ROWS,
    Columns,
    excerpt,
    partition_link,
    preview,
)
from embedding_assets.defs.partitions import SHARDS
from embedding_assets.defs.resources import GeminiResource, IndexResource
from embedding_assets.defs.shard_events import (
    job_metadata,
    log_problem,
    log_shard,
    newest_job_of,
)
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
from embedding_assets.money.prices import estimated_usd
from embedding_assets.pipeline.submit import cancel_job_of, submit_shard, write_requests
from embedding_assets.pipeline.sync_route import Pacer
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index


def build_submission(settings: Settings) -> dg.AssetsDefinition:
    """Requests and jobs by shard, in one step; a run takes many of them."""
    catalog = build_catalog(settings)
    return dg.multi_asset(
        name="submission",
        specs=[catalog["request_shards"], catalog["batch_jobs"]],
        partitions_def=SHARDS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )(submission)


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
    connected = gemini.connected() if "batch_jobs" in selected else nullcontext()
    with index.open() as opened, connected as client:
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
                    log_shard(context, opened, "batch_jobs", shard, metadata)
            except (NotYetError, RateLimitedError, FileGoneError) as exc:
                # Not a failure of the shard: the sensor submits it when there is room again.
                context.log.warning(f"{key} waits: {exc}")
                opened.jobs.mark_submit_requested([key], now=None)
            except EmbeddingAssetsError as exc:
                problems[key] = str(exc)
                is_written = {"request_shards"} if file else set()
                log_problem(context, opened, selected - is_written, key, str(exc))
                if client is not None:
                    _report_refusal(opened, key)
    fail_if(problems, "not submitted")
    yield from ()  # a generator for Dagster's sake: materializations are logged, one a partition


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
    job = newest_job_of(index, key)
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
        log_shard(context, index, "request_shards", shard, _request_metadata(shard, file))
    return file


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
    return preview("lines", requests, _REQUEST_COLUMNS, n_rows=file.n_requests)


_REQUEST_COLUMNS: Columns[Any] = {
    "key": ("string", itemgetter("key")),
    "text": ("string", lambda line: excerpt(line["request"]["content"]["parts"][0]["text"])),
}


def _submission_metadata(job: BatchJob, settings: Settings) -> dict[str, Any]:
    return {
        "state_at_submission": job.state.value,  # it changes, and what is logged does not
        **job_metadata(job),
        "display_name": job.display_name,
        "input_file": job.input_file_name or "",
        **({"message": dg.MetadataValue.text(job.error_message)} if job.error_message else {}),
        "request_shards": partition_link("request_shards", job.shard_key),
        "requests_file": dg.MetadataValue.path(str(settings.shards_dir / f"{job.shard_key}.jsonl")),
    }
