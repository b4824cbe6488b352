"""What is logged of one shard, green or red.

Belongs here: the materialization of a shard that is done, the observation of one that is not, the
job that either tells of. Does not belong here: doing it (shard_assets.py, collection.py).
"""

from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any

import dagster as dg

from embedding_assets.defs.catalog import version_tags
from embedding_assets.errors import LedgerError, StorageError
from embedding_assets.model.batch_jobs import BatchJob
from embedding_assets.model.shards import Shard
from embedding_assets.store.index import Index

# What a materialization of these assets was made from, by Dagster's account.
_MADE_AFTER = {"batch_jobs": "request_shards", "embeddings": "batch_jobs"}


def log_shard(
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


def log_problem(
    context: dg.AssetExecutionContext, index: Index, assets: Set[str], key: str, problem: str
) -> None:
    """One shard of these assets is not done. The page of a red partition shows observations."""
    context.log.error(f"{key}: {problem}")
    job = newest_job_of(index, key)
    metadata = {
        "message": dg.MetadataValue.text(problem),
        **({"state": job.state.value, **job_metadata(job)} if job else {}),
    }
    for asset in sorted(assets):
        context.log_event(dg.AssetObservation(asset_key=asset, partition=key, metadata=metadata))


def newest_job_of(index: Index, key: str) -> BatchJob | None:
    """None, too, for a partition that no plan knows, or if the index cannot be read now."""
    with suppress(LedgerError, StorageError):
        return index.jobs.newest_job(index.shards.get(key))
    return None


def job_metadata(job: BatchJob) -> dict[str, Any]:
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
