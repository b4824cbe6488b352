"""The asset by shard that brings answers into the index: embeddings, with its blocking check.

Belongs here: what a run of many shards does for each of them, and what it reports.
Does not belong here: the work itself (pipeline/collect.py), and when (sensors.py).
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any

import dagster as dg

from embedding_assets.clock import utc_now
from embedding_assets.defs.catalog import build_catalog
from embedding_assets.defs.failures import fail_if, fails_in_words
from embedding_assets.defs.metadata import PREVIEW_ROWS, Columns, partition_link, preview
from embedding_assets.defs.partitions import SHARDS
from embedding_assets.defs.resources import IndexResource
from embedding_assets.defs.shard_events import job_metadata, log_problem, log_shard
from embedding_assets.defs.tags import RunTags
from embedding_assets.errors import (
    DatabaseDamagedError,
    EmbeddingAssetsError,
    NotYetError,
    StorageError,
)
from embedding_assets.gemini.client import open_client
from embedding_assets.model.batch_jobs import BatchJob
from embedding_assets.model.results import ParsedResults
from embedding_assets.model.shards import Shard
from embedding_assets.money.prices import cost_usd, estimated_usd
from embedding_assets.pipeline.collect import collect_shard, read_anew, result_path
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.store.shards import FailedRequest, RequestCounts
from embedding_assets.wording import some

COUNTS_CHECK = "requests_add_up"


def build_embeddings(settings: Settings) -> dg.AssetsDefinition:
    """The results by shard; a run takes many of them."""
    return dg.multi_asset(
        name="embeddings",
        specs=[build_catalog(settings)["embeddings"]],
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
    )(embeddings)


@fails_in_words
def embeddings(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    index: IndexResource,
) -> Iterator[dg.AssetCheckResult]:
    """Bring the shards' results into the index; one bad file does not hurt its neighbours."""
    reading = RunTags.parse(context.run.tags).read
    problems: dict[str, str] = {}
    miscounted: dict[str, RequestCounts] = {}
    with index.open() as opened, open_client(settings) as client:
        for key in context.partition_keys:
            try:
                shard = opened.shards.get(key)
                now = utc_now()
                if reading is None:
                    results = collect_shard(opened, client, shard, settings, now=now)
                else:
                    results = read_anew(opened, client, shard, settings, reading=reading, now=now)
                lines = _lines_metadata(results)
                del results  # the vectors of a job take much memory
                counts = opened.shards.counts(shard)
                if not counts.adds_up:
                    miscounted[key] = counts
                elif counts.n_pending:
                    context.log.info(_why_pending(shard, opened.jobs.newest_job(shard)))
                else:
                    metadata = _collection_metadata(opened, shard, counts, lines, settings)
                    log_shard(context, opened, "embeddings", shard, metadata)
            except DatabaseDamagedError:
                raise  # of the file, not of this shard
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
            log_problem(context, opened, {"embeddings"}, key, problem)
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
    return dg.AssetCheckResult(
        check_name=COUNTS_CHECK,
        asset_key="embeddings",
        passed=not miscounted,
        severity=dg.AssetCheckSeverity.ERROR,
        description=some([_miscount(key, counts) for key, counts in miscounted.items()]) or None,
        metadata={
            "shards": n_shards,
            "shards_miscounted": len(miscounted),
            **preview(
                "miscounted",
                [*islice(miscounted.items(), PREVIEW_ROWS)],
                _COUNT_COLUMNS,
                n_rows=len(miscounted),
            ),
        },
    )


_COUNT_COLUMNS: Columns[tuple[str, RequestCounts]] = {
    "shard": ("string", lambda item: item[0]),
    "planned": ("int", lambda item: item[1].n_requests),
    "embedded": ("int", lambda item: item[1].n_embedded),
    "failed": ("int", lambda item: item[1].n_failed),
    "pending": ("int", lambda item: item[1].n_pending),
}


def _collection_metadata(
    index: Index,
    shard: Shard,
    counts: RequestCounts,
    lines: Mapping[str, int],
    settings: Settings,
) -> dict[str, Any]:
    """What is in the index, and what this collection found; nothing of that if it came earlier."""
    job = index.jobs.newest_job(shard)
    failed = index.shards.failed_requests(shard, limit=PREVIEW_ROWS)
    return {
        "dagster/row_count": counts.n_embedded,
        "requests_failed": counts.n_failed,
        "texts_cut": index.shards.count_cut(shard),  # probably, at the model's input limit
        "billed_tokens": counts.billed_tokens,
        "billed_tokens_uncounted": counts.uncounted_tokens,
        "estimated_tokens": shard.estimated_tokens,
        "billed_cost_usd": float(cost_usd(counts.billed_tokens, shard.usd_per_million)),
        "estimated_cost_usd": float(estimated_usd(shard)),
        **lines,
        **(_answer_metadata(job, settings) if job else {}),
        **preview("failures", failed, _FAILED_COLUMNS, n_rows=counts.n_failed),
    }


_FAILED_COLUMNS: Columns[FailedRequest] = {
    "chunk_id": ("int", attrgetter("chunk_id")),
    "uri": ("string", attrgetter("uri")),
    "code": ("string", attrgetter("error_code")),
    "message": ("string", attrgetter("error_message")),
}


def _answer_metadata(job: BatchJob, settings: Settings) -> dict[str, Any]:
    return {
        **job_metadata(job),
        "batch_jobs": partition_link("batch_jobs", job.shard_key),
        "results_file": dg.MetadataValue.path(str(result_path(settings.results_dir, job))),
    }


def _lines_metadata(results: ParsedResults | None) -> dict[str, int]:
    """Of the results only this is kept."""
    if results is None:
        return {}
    return {"unknown_lines": results.n_unknown, "duplicate_lines": results.n_duplicate}
