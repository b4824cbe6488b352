"""What each asset is before it was ever materialized: Dagster's catalog and its lineage.

Belongs here: descriptions, kinds, owners, tags, columns, code versions, dependencies, freshness.
Does not belong here: what a materialization does and reports (the modules of assets), and which
partitions there are (partitions.py).
"""

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from embedding_assets.corpus import snapshots
from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.defs.partitions import ALL
from embedding_assets.gemini.connection import provider_of
from embedding_assets.model import request_file
from embedding_assets.model.columns import Column
from embedding_assets.model.generations import Generation
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.settings.values import Settings
from embedding_assets.store.schema import columns_of

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
            description=f"{spec.description}\n\n{_UNSYNCED}",
            group_name=GROUP,
            owners=owners,
            code_version=spec.code_version or built,
        )
        for spec in (
            _documents(settings.snapshots_dir, Extraction.of(settings.corpus)),
            _chunks(index),
            _shard_plan(index),
            _request_shards(settings.shards_dir),
            _batch_jobs(index),
            _embeddings(index),
            _search_index(index, max_age_days=settings.publishing.max_age_days),
        )
    }


# --- code versions ----------------------------------------------------------------------------


def wanted_spec(settings: Settings) -> EmbeddingSpec:
    """The embedding spec that the settings and the environment ask for."""
    provider = provider_of(settings.gemini.base_url, os.environ)
    return EmbeddingSpec.of(settings.embedding, provider=provider)


def wanted_chunker(settings: Settings) -> Chunker:
    """The way of cutting that the settings ask for."""
    return Chunker.of(settings, wanted_spec(settings))


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


def _documents(snapshots_dir: Path, extraction: Extraction) -> dg.AssetSpec:
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
        metadata=_at(snapshots_dir, snapshots.COLUMNS),
        code_version=f"extraction {extraction.fingerprint}",
    )


def _chunks(index: Path) -> dg.AssetSpec:
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
        metadata=_in_index(index, "chunks"),
    )


def _shard_plan(index: Path) -> dg.AssetSpec:
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
        metadata=_in_index(index, "shards"),
    )


def _request_shards(shards_dir: Path) -> dg.AssetSpec:
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
        metadata=_at(shards_dir, request_file.COLUMNS),
        skippable=True,
    )


def _batch_jobs(index: Path) -> dg.AssetSpec:
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
        metadata=_in_index(index, "batch_jobs"),
        skippable=True,
    )


def _embeddings(index: Path) -> dg.AssetSpec:
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
            **_in_index(index, "vectors"),
            "requests": dg.MetadataValue.table_schema(_shown(columns_of("requests"))),
        },
        skippable=True,
    )


def _search_index(index: Path, *, max_age_days: int) -> dg.AssetSpec:
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
        metadata=_in_index(index, "published_chunks"),
        freshness_policy=_freshness(max_age_days),
        skippable=True,
    )


def _in_index(index: Path, name: str) -> dict[str, Any]:
    return {"dagster/table_name": name, **_at(index, columns_of(name))}


def _at(path: Path, columns: Iterable[Column]) -> dict[str, Any]:
    return {"dagster/uri": path.absolute().as_uri(), "dagster/column_schema": _shown(columns)}


def _shown(columns: Iterable[Column]) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name, c.type, c.comment, dg.TableColumnConstraints(nullable=c.is_nullable)
            )
            for c in columns
        ]
    )


def _freshness(max_age_days: int) -> dg.FreshnessPolicy:
    """Of so few days that there is nothing to warn in, only the last one counts."""
    warn_days = max_age_days - _WARNING_DAYS
    return dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=max_age_days),
        warn_window=timedelta(days=warn_days) if warn_days > 0 else None,
    )
