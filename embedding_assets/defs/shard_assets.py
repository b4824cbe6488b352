"""The assets by shard that ask Gemini: request_shards and batch_jobs.

Belongs here: what a run of many shards does for each of them, and what it reports.
Does not belong here: the work itself (pipeline/submit.py), and when (sensors.py).

A materialization is logged for every good shard, and the run fails once at the end, so that exactly
the bad partitions turn red (docs/decisions/0003-one-step-for-shards-and-jobs.md).
"""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
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
from embedding_assets.defs.resources import IndexResource
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
from embedding_assets.gemini.client import GeminiClient, open_client
from embedding_assets.model.batch_jobs import BatchJob, JobState, needs_job
from embedding_assets.model.request_file import ShardFile
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.money.prices import estimated_usd
from embedding_assets.pipeline.adoption import Lookout
from embedding_assets.pipeline.collect import held_error
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
) -> Iterator[dg.MaterializeResult[Any]]:
    """Write the shards' files and submit them; one bad shard does not hurt its neighbours."""
    tags = RunTags.parse(context.run.tags)
    selected = frozenset(key.to_user_string() for key in context.selected_asset_keys)
    connected = open_client(settings) if "batch_jobs" in selected else nullcontext()
    with index.open() as opened, connected as client:
        run = _Submission(
            context=context,
            index=opened,
            lookout=Lookout(index=opened, gemini=client, clock=utc_now) if client else None,
            settings=settings,
            tags=tags,
            selected=selected,
            pacer=Pacer(texts_per_minute=settings.limits.sync_requests_per_minute),
        )
        tried = {key: run.try_shard(key) for key in context.partition_keys}
    fail_if({key: why for key, why in tried.items() if why is not None}, "not submitted")
    yield from ()  # a generator for Dagster's sake: materializations are logged, one a partition


@dataclass(frozen=True, slots=True, kw_only=True)
class _Submission:
    """One run, of one shard after the other."""

    context: dg.AssetExecutionContext
    index: Index
    lookout: Lookout | None  # to Gemini; None if only the files are asked for
    settings: Settings
    tags: RunTags
    selected: frozenset[str]  # of the two assets
    pacer: Pacer

    def try_shard(self, key: str) -> str | None:
        """Why a shard is not submitted; None if it is, or if it only waits."""
        undone = set(self.selected)
        try:
            self._submit(self.index.shards.get(key), undone)
        except (NotYetError, RateLimitedError, FileGoneError) as exc:
            # Not a failure of the shard: the sensor submits it when there is room again.
            self.index.jobs.mark_submit_requested([key], now=None)
            if not (isinstance(exc, RateLimitedError) and exc.quota.is_for_people):
                self.context.log.warning(f"{key} waits: {exc}")
                return None
            log_problem(self.context, self.index, undone, key, str(exc))
            return str(exc)
        except EmbeddingAssetsError as exc:
            log_problem(self.context, self.index, undone, key, str(exc))
            if self.lookout is not None:
                _report_refusal(self.index, key)
            return str(exc)
        return None

    def _submit(self, shard: Shard, undone: set[str]) -> None:
        if self.tags.report_failures:
            raise _given_up(shard, self.index.jobs.newest_job(shard))
        if shard.state is not ShardState.OPEN:
            self.context.log.info(f"{shard.key} is {shard.state.value}: nothing is left to request")
            if self.lookout is not None:
                self._log("batch_jobs", shard, self._job_metadata(_last_job(self.index, shard)))
            return
        file = write_requests(self.index, shard, shards_dir=self.settings.shards_dir)
        if "request_shards" in self.selected:
            self._log("request_shards", shard, _request_metadata(shard, file))
            undone.remove("request_shards")
        if self.lookout is not None:
            job = self._live_job(self.lookout, shard, file)
            self._log("batch_jobs", shard, self._job_metadata(job))

    def _live_job(self, lookout: Lookout, shard: Shard, file: ShardFile) -> BatchJob:
        """The shard's job, created if it needs one."""
        if self.tags.resubmit:
            self._cancel(lookout.gemini, shard)
        job = self.index.jobs.newest_job(shard)
        if job is not None and job.state is JobState.HELD:
            raise held_error(job)
        if job is not None and not needs_job(job):
            return job
        return submit_shard(
            self.index,
            lookout.gemini,
            shard,
            file,
            self.settings,
            self.pacer,
            lookout=lookout,
            clock=utc_now,
        )

    def _cancel(self, client: GeminiClient, shard: Shard) -> None:
        cancelled = cancel_job_of(self.index, client, shard, now=utc_now())
        if cancelled is not None:
            self.context.log.info(
                f"{shard.key}: Gemini was asked to cancel {cancelled.job_name or 'its job'}; the "
                "sensor submits the shard again when it has, or collects it if it was answered "
                "first"
            )

    def _log(self, asset: str, shard: Shard, metadata: Mapping[str, Any]) -> None:
        log_shard(self.context, self.index, asset, shard, metadata)

    def _job_metadata(self, job: BatchJob) -> dict[str, Any]:
        return _submission_metadata(job, self.settings)


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


def _last_job(index: Index, shard: Shard) -> BatchJob:
    job = index.jobs.newest_job(shard)
    if job is None:
        raise LedgerError(f"shard {shard.key} was abandoned before it was sent")
    return job


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
