"""What each asset is before it was ever materialized: Dagster's catalog and its lineage.

Belongs here: descriptions, kinds, owners, tags, columns, code versions, dependencies, freshness.
Does not belong here: what a materialization does and reports (the modules of assets), and which
partitions there are (partitions.py).
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.formats.extraction import EXTRACTION_VERSION
from embedding_assets.defs.partitions import ALL
from embedding_assets.gemini.connection import provider_of
from embedding_assets.model.generations import Generation
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.settings.values import Settings

# All seven, so that the lineage page shows seven boxes in a row.
GROUP = "embedding_index"
# A tag of assets whose materialization asks Gemini for what is billed.
COSTS_MONEY_TAG = "costs_money"
# What one partition is: a month or a shard.
PARTITION_TAG = "partition"

# So many days before publishing.max_age_days the index counts as getting old.
_WARNING_DAYS = 3

# Dagster compares these tags of a materialization with the code version of the asset. It sets them
# itself, from the definition, unless they are there or the materialization is logged by hand.
_CODE_VERSION_TAG = "dagster/code_version"
_INPUT_TAGS = {"dagster/input_data_version": "INITIAL", "dagster/input_event_pointer": "NULL"}

_UNSYNCED = (
    "Unsynced: an asset to its left was made anew since, or extraction, chunking or the embedding "
    "spec was changed. `reindex` of the newest month catches up; readers are served meanwhile. "
    "Shards and months of the past stay as they are, and so does the word. A process that was "
    "started without the API key shows it, too: it asks the emulator, which is another spec."
)


def build_catalog(settings: Settings) -> dict[str, dg.AssetSpec]:
    """The seven assets by name, from the files to the index."""
    owners = settings.catalog.owners
    built = code_version(wanted_chunker(settings).fingerprint, wanted_spec(settings))
    index = settings.index_path
    return {
        spec.key.to_user_string(): spec.replace_attributes(
            description=f"{spec.description}\n\n{_UNSYNCED}", group_name=GROUP, owners=owners
        )
        for spec in (
            _documents(settings.snapshots_dir),
            _chunks(index, built),
            _shard_plan(index, built),
            _request_shards(settings.shards_dir, built),
            _batch_jobs(index, built),
            _embeddings(index, built),
            _search_index(index, built, max_age_days=settings.publishing.max_age_days),
        )
    }


# --- code versions ----------------------------------------------------------------------------


def wanted_spec(settings: Settings) -> EmbeddingSpec:
    """The embedding spec that the settings and the environment ask for."""
    provider = provider_of(settings.gemini.base_url, os.environ)
    return EmbeddingSpec.of(settings.embedding, provider=provider)


def wanted_chunker(settings: Settings) -> Chunker:
    """The way of cutting that the settings ask for."""
    max_tokens = wanted_spec(settings).max_text_tokens
    return Chunker(max_chars=settings.chunking.max_chars, max_tokens=max_tokens)


def code_version(chunker: str, spec: EmbeddingSpec) -> str:
    """What a generation, and all that is made for it, depends on beside the corpus.

    Both at once, because a generation is listed for both: a change of either needs a new one.
    """
    task = spec.task_type or "no task type"
    return f"{chunker}; {spec.model}, {spec.dimensions} dimensions, {task}, by {spec.provider}"


def version_tags(generation: Generation, *, after: str | None = None) -> dict[str, str]:
    """Tags of a materialization that say by what its generation was made.

    Not what the settings say now: a shard may be under way while they are changed. ``after`` is
    the asset that a materialization logged by hand was made from, or else Dagster takes that for
    a new dependency. Which materialization of it does not matter: a shard's requests stay.
    """
    version = {_CODE_VERSION_TAG: code_version(generation.chunker, generation.spec)}
    inputs = {f"{tag}/{after}": value for tag, value in _INPUT_TAGS.items()} if after else {}
    return version | inputs


# --- the assets -------------------------------------------------------------------------------


def _documents(snapshots_dir: Path) -> dg.AssetSpec:
    return dg.AssetSpec(
        "documents",
        description=(
            "The corpus as it was: one row a document, with its text or why there is none. Files "
            "that look as they did in the previous snapshot are not read again.\n\n"
            "One partition is one month's snapshot, a Parquet file.\n\n"
            "Red: the corpus could not be listed, or the snapshot not be written; nothing is "
            "changed. Do what the run's error says and launch the job `reindex` for the month "
            "again. A file that cannot be read is a row with a message and turns nothing red."
        ),
        kinds={"parquet"},
        tags={PARTITION_TAG: "month"},
        metadata={
            "dagster/uri": snapshots_dir.absolute().as_uri(),
            "dagster/column_schema": _SNAPSHOT_COLUMNS,
        },
        code_version=f"extraction {EXTRACTION_VERSION}",
    )


def _chunks(index: Path, version: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        "chunks",
        deps=["documents"],
        description=(
            "Every document of the snapshot split into chunks, and a new generation of the index "
            "that lists them. A text that the index has already, from whatever document or month, "
            "is the same chunk and keeps its vector.\n\n"
            "One partition is one month.\n\n"
            "Red: the snapshot or the index could not be used; readers see what they saw. Do what "
            "the run's error says and launch the job `reindex` for the month again."
        ),
        kinds={"sqlite"},
        tags={PARTITION_TAG: "month"},
        metadata=_in_index(index, "chunks", _CHUNK_COLUMNS),
        code_version=version,
    )


def _shard_plan(index: Path, version: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        "shard_plan",
        deps=["chunks"],
        description=(
            "What the month's generation still needs: packed into shards, priced, checked against "
            "the budget. Materialized again it plans what is missing by then, say failed chunks "
            "that are worth another try; what is planned or bought already is left alone.\n\n"
            "One partition is one month.\n\n"
            "Red: the plan would cost more than the budget allows, or the model has no price; "
            "nothing was planned and nothing is sent. Raise the budget, or launch `shard_plan` "
            "with the tag `embedding_assets/approve_cost_usd`."
        ),
        kinds={"sqlite"},
        tags={PARTITION_TAG: "month"},
        metadata=_in_index(index, "shards", _SHARD_COLUMNS),
        code_version=version,
    )


def _request_shards(shards_dir: Path, version: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        "request_shards",
        deps=[dg.AssetDep("shard_plan", partition_mapping=ALL)],
        description=(
            "The requests of one shard as a JSONL file, one line a chunk, keyed `chunk_<id>`.\n\n"
            "One partition is one shard: what one batch job may hold. Materialize shards by the "
            "job `submit_shards`, not all at once from here: that would be those of all months.\n\n"
            "Red: the file could not be written, or no plan knows the shard; nothing was sent. "
            "Materialize the failed partitions when what the run's error says is mended."
        ),
        kinds={"json"},
        tags={PARTITION_TAG: "shard"},
        metadata={
            "dagster/uri": shards_dir.absolute().as_uri(),
            "dagster/column_schema": _REQUEST_COLUMNS,
        },
        code_version=version,
        skippable=True,
    )


def _batch_jobs(index: Path, version: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        "batch_jobs",
        deps=["request_shards"],
        description=(
            "Exactly one live batch job at Gemini for one shard, or, on the synchronous route, its "
            "finished answer. This is the step that costs money.\n\n"
            "One partition is one shard.\n\n"
            "Red: Gemini gave up on the job or refused it; materialize the failed partitions to "
            "submit them again. A shard whose job is alive or whose results are in is left alone, "
            "so that nothing is paid twice."
        ),
        kinds={"gemini", "sqlite"},
        tags={PARTITION_TAG: "shard", COSTS_MONEY_TAG: ""},
        metadata=_in_index(index, "batch_jobs", _JOB_COLUMNS),
        code_version=version,
        skippable=True,
    )


def _embeddings(index: Path, version: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        "embeddings",
        deps=["batch_jobs"],
        description=(
            "The results of one shard's job, in the index request by request: a vector, or a code "
            "and an error_message on the chunk.\n\n"
            "One partition is one shard. Materializing one whose job still runs does nothing: the "
            "sensor collects it when it is done.\n\n"
            "Red: the results could not be kept or are gone, or they do not add up. Materialize "
            "the failed partitions to collect them again, which buys nothing; for counts that do "
            "not add up run `embedding-assets doctor`."
        ),
        kinds={"sqlite"},
        tags={PARTITION_TAG: "shard"},
        metadata={
            **_in_index(index, "vectors", _VECTOR_COLUMNS),
            "requests": dg.MetadataValue.table_schema(_OUTCOME_COLUMNS),
        },
        code_version=version,
        skippable=True,
    )


def _search_index(index: Path, version: str, *, max_age_days: int) -> dg.AssetSpec:
    return dg.AssetSpec(
        "search_index",
        deps=[dg.AssetDep("embeddings", partition_mapping=ALL)],
        description=(
            "What readers see: the month's newest generation, complete and published. Then what no "
            "kept generation needs is removed.\n\n"
            "One partition is one month. Materializing a month that is not being built changes "
            "nothing.\n\n"
            "Red: a gate is shut, see the checks; readers see what they saw. Mend what the check "
            "names, or launch `publish_index` with the tag `embedding_assets/allow`. Not fresh: "
            "nothing was published for longer than publishing.max_age_days."
        ),
        kinds={"sqlite"},
        tags={PARTITION_TAG: "month"},
        metadata=_in_index(index, "published_chunks", _PUBLISHED_COLUMNS),
        code_version=version,
        freshness_policy=_freshness(max_age_days),
        skippable=True,
    )


def _in_index(index: Path, name: str, columns: dg.TableSchema) -> dict[str, Any]:
    return {
        "dagster/uri": index.absolute().as_uri(),
        "dagster/table_name": name,
        "dagster/column_schema": columns,
    }


def _freshness(max_age_days: int) -> dg.FreshnessPolicy:
    """Of so few days that there is nothing to warn in, only the last one counts."""
    warn_days = max_age_days - _WARNING_DAYS
    return dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=max_age_days),
        warn_window=timedelta(days=warn_days) if warn_days > 0 else None,
    )


# --- columns ----------------------------------------------------------------------------------


def _columns(columns: Mapping[str, tuple[str, str]]) -> dg.TableSchema:
    """Type and description by name; a type that ends in ``?`` may be missing."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type_.removesuffix("?"),
                description,
                dg.TableColumnConstraints(nullable=type_.endswith("?")),
            )
            for name, (type_, description) in columns.items()
        ]
    )


_UTC = "timestamp[us, tz=UTC]"
_SNAPSHOT_COLUMNS = _columns(
    {
        "uri": ("string", "The path under which the settings reach the document."),
        "sha256": ("string", "Hex, of the file's bytes; empty if they could not be read."),
        "media_type": ("string", "What the file was read as, like text/markdown."),
        "title": ("string", "Its first heading or its title, else the file's name."),
        "text": ("large_string", "What was extracted; empty if the document cannot be used."),
        "n_bytes": ("int64", "Size of the file."),
        "modified_at": (_UTC, "When the file was changed; 1970 if not known."),
        "error_message": ("string?", "Why the file cannot be read now."),
        "signature": ("string", "Equal only if the file is the same; empty if nobody can tell."),
        "extraction_version": ("int32", "The version of the extraction that made the text."),
        "unreadable_since": (f"{_UTC}?", "The first snapshot that could not read the file."),
        "n_chars": ("int64", "Characters of the text."),
    }
)
_CHUNK_COLUMNS = _columns(
    {
        "chunk_id": ("INTEGER", "The chunk's number: what a request and its result are keyed by."),
        "sha256": ("BLOB", "32 bytes: the text's SHA-256. One text is one chunk."),
        "text": ("TEXT", "The text; empty once nothing kept has needed it for long enough."),
        "n_chars": ("INTEGER", "Characters of the text."),
        "error_spec_id": ("INTEGER?", "The spec under which the newest failure happened."),
        "error_code": ("TEXT?", "Gemini's code of that failure, like INVALID_ARGUMENT."),
        "error_message": ("TEXT?", "What was said about it; gone as soon as there is a vector."),
        "attempts": ("INTEGER", "How often the text was tried under that spec."),
    }
)
_SHARD_COLUMNS = _columns(
    {
        "shard_id": ("INTEGER", "The shard's number in this file."),
        "key": ("TEXT", "Month and number: the partition key, like 2026-11-0003."),
        "generation_id": ("INTEGER", "The generation it was planned for."),
        "route": ("TEXT", "batch or sync."),
        "n_requests": ("INTEGER", "Requests, one a chunk."),
        "n_bytes": ("INTEGER", "Size of the JSONL file."),
        "estimated_tokens": ("INTEGER", "Tokens, by estimate."),
        "usd_per_million": ("TEXT", "Dollars for a million tokens when it was planned, exact."),
        "state": ("TEXT", "open, settled or abandoned."),
        "planned_at": ("TEXT", "When it was planned, UTC."),
        "submit_requested_at": ("TEXT?", "When a sensor asked for the run that submits it, UTC."),
    }
)
_REQUEST_COLUMNS = _columns(
    {
        "key": ("string", "chunk_<chunk_id>: the only link from a result back to its chunk."),
        "request.content.parts[0].text": ("string", "What the model gets to read."),
        "request.outputDimensionality": ("integer", "How long the vector shall be."),
        "request.taskType": ("string?", "What the vector is for; some models take no such thing."),
    }
)
_JOB_COLUMNS = _columns(
    {
        "shard_id": ("INTEGER", "The shard that was, or will be, submitted."),
        "attempt": ("INTEGER", "1 for the first submission of the shard."),
        "display_name": ("TEXT", "The name by which the job is found again in Gemini's list."),
        "requests_sha256": ("TEXT", "Hex, of the JSONL file that was sent."),
        "state": ("TEXT", "From reserved to collected, or how it ended otherwise."),
        "input_file_name": ("TEXT?", "Gemini's name of the uploaded requests."),
        "job_name": ("TEXT?", "Gemini's name of the job; none by the synchronous route."),
        "result_file_name": ("TEXT?", "Gemini's name of the results."),
        "error_message": ("TEXT?", "Why the attempt came to nothing."),
        "reserved_at": ("TEXT", "When the intent was recorded, UTC."),
        "unconfirmed_at": ("TEXT?", "When the call that creates the job was about to be made."),
        "submitted_at": ("TEXT?", "When Gemini had the job."),
        "ended_at": ("TEXT?", "When the job was over."),
        "collect_requested_at": ("TEXT?", "When a sensor asked for the run that collects it."),
        "failure_reported_at": ("TEXT?", "When a sensor asked for the run that turns it red."),
        "released_at": ("TEXT?", "When its job was absent for so long that it was given up."),
        "cancel_requested_at": ("TEXT?", "When it had taken longer than limits.job_deadline_h."),
    }
)
_VECTOR_COLUMNS = _columns(
    {
        "spec_id": ("INTEGER", "The embedding spec; vectors of two specs are never compared."),
        "chunk_id": ("INTEGER", "The chunk whose text it is of."),
        "vector": ("BLOB", "Little-endian float32, 4 bytes a dimension, of length 1."),
    }
)
_OUTCOME_COLUMNS = _columns(
    {
        "shard_id": ("INTEGER", "The shard."),
        "chunk_id": ("INTEGER", "The chunk: one line of the shard's JSONL file."),
        "outcome": ("TEXT", "pending, embedded or failed."),
        "error_code": ("TEXT?", "Gemini's code of a failure, or MISSING_LINE and the like."),
        "error_message": ("TEXT?", "What was said about it."),
        "billed_tokens": ("INTEGER", "Tokens that Gemini counted for it."),
    }
)
_PUBLISHED_COLUMNS = _columns(
    {
        "chunk_id": ("INTEGER", "The chunk; one that stands in two documents has two rows."),
        "uri": ("TEXT", "The document."),
        "title": ("TEXT", "The document's title."),
        "position": ("INTEGER", "The chunk's place in the document, from 0."),
        "text": ("TEXT", "The chunk's text."),
        "vector": ("BLOB", "Little-endian float32, 4 bytes a dimension, of length 1."),
    }
)
