"""What the catalog claims about the assets, held against the files and tables as they are."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pyarrow.parquet as pq
import pytest

# What the webserver asks for a partition's status; there is no public way.
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from embedding_assets.defs.catalog import COSTS_MONEY_TAG, PARTITION_TAG, build_catalog
from embedding_assets.defs.collection import build_embeddings
from embedding_assets.defs.monthly_assets import build_monthly_assets
from embedding_assets.defs.resources import build_resources
from embedding_assets.defs.search_index import build_search_index
from embedding_assets.defs.shard_assets import build_submission
from embedding_assets.settings.values import (
    Catalog,
    Chunking,
    Embedding,
    Gemini,
    Publishing,
    Settings,
)
from tests.integration.dagster_support import ANIMALS, MONTH, Pipeline, a_pipeline, scrub

MONTHLY = ("documents", "chunks", "shard_plan", "search_index")
BY_SHARD = ("request_shards", "batch_jobs", "embeddings")
GENERATED = tuple(name for name in (*MONTHLY, *BY_SHARD) if name != "documents")
EARLIER = "2026-10"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The defaults, with a data directory of their own."""
    scrub(monkeypatch)
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Eight documents in two shards, two months, nothing planned yet."""
    with a_pipeline(tmp_path, monkeypatch, schedule={"first_month": EARLIER}) as opened:
        opened.write(ANIMALS[:8])
        yield opened


# --- what the catalog says --------------------------------------------------------------------


def test_every_asset_has_owners_kinds_and_tags(settings: Settings) -> None:
    """The owners are those of the settings; a tag says what a partition is and what costs money."""
    owned = settings.model_copy(update={"catalog": Catalog(owners=("team:search", "ann@corp.com"))})

    catalog = build_catalog(owned)

    for name, spec in catalog.items():
        assert list(spec.owners) == ["team:search", "ann@corp.com"], name
    assert {name: spec.kinds for name, spec in catalog.items()} == {
        "documents": {"parquet"},
        "chunks": {"sqlite"},
        "shard_plan": {"sqlite"},
        "request_shards": {"json"},
        "batch_jobs": {"gemini", "sqlite"},
        "embeddings": {"sqlite"},
        "search_index": {"sqlite"},
    }
    assert {name: spec.tags[PARTITION_TAG] for name, spec in catalog.items()} == {
        **dict.fromkeys(MONTHLY, "month"),
        **dict.fromkeys(BY_SHARD, "shard"),
    }
    assert [name for name, spec in catalog.items() if COSTS_MONEY_TAG in spec.tags] == [
        "batch_jobs"
    ]


def test_every_asset_says_where_it_is_kept(settings: Settings) -> None:
    """A file URI for each, and for what is in the index the name of its table."""
    catalog = build_catalog(settings)
    data = settings.data_dir

    index = (data / "index.db").as_uri()
    assert {name: spec.metadata["dagster/uri"] for name, spec in catalog.items()} == {
        **dict.fromkeys(catalog, index),
        "documents": (data / "snapshots").as_uri(),
        "request_shards": (data / "shards").as_uri(),
    }
    tables = {name: spec.metadata.get("dagster/table_name") for name, spec in catalog.items()}
    assert tables == {
        "documents": None,
        "chunks": "chunks",
        "shard_plan": "shards",
        "request_shards": None,
        "batch_jobs": "batch_jobs",
        "embeddings": "vectors",
        "search_index": "published_chunks",
    }


@pytest.mark.parametrize(
    ("max_age_days", "warn_days"), [(38, 35), (4, 1), (3, None), (1, None), (36_500, 36_497)]
)
def test_index_is_stale_from_the_age_in_the_settings(
    settings: Settings, max_age_days: int, warn_days: int | None
) -> None:
    """Three days before there is a warning, unless so few days leave no room for one."""
    publishing = Publishing(max_age_days=max_age_days)
    catalog = build_catalog(settings.model_copy(update={"publishing": publishing}))

    policy = catalog["search_index"].freshness_policy

    assert policy == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=max_age_days),
        warn_window=None if warn_days is None else timedelta(days=warn_days),
    )
    assert all(catalog[name].freshness_policy is None for name in catalog if name != "search_index")


# --- columns ----------------------------------------------------------------------------------


def _claimed(schema: dg.TableSchema) -> dict[str, tuple[str, bool]]:
    """Type and whether a value may be missing, by column."""
    assert all(column.description for column in schema.columns)
    return {c.name: (c.type, c.constraints.nullable) for c in schema.columns}


def _claims(pipeline: Pipeline, asset: str) -> dict[str, tuple[str, bool]]:
    return _claimed(build_catalog(pipeline.settings)[asset].metadata["dagster/column_schema"])


def _columns_of(pipeline: Pipeline, table: str) -> dict[str, tuple[str, bool]]:
    with closing(sqlite3.connect(pipeline.settings.index_path)) as database:
        rows = database.execute('SELECT name, type, "notnull" FROM pragma_table_info(?)', [table])
        return {name: (type_, not is_required) for name, type_, is_required in rows}


def test_columns_of_the_snapshot_are_those_of_the_file(pipeline: Pipeline) -> None:
    """The Parquet file has the columns, types and missing values that the catalog names."""
    pipeline.brought_to(Pipeline.plan)

    found = pq.read_schema(pipeline.settings.snapshots_dir / f"{MONTH}.parquet")

    assert _claims(pipeline, "documents") == {
        column.name: (str(column.type), column.nullable) for column in found
    }


@pytest.mark.parametrize(
    ("asset", "table"),
    [
        ("chunks", "chunks"),
        ("shard_plan", "shards"),
        ("batch_jobs", "batch_jobs"),
        ("embeddings", "vectors"),
    ],
)
def test_columns_in_the_index_are_those_of_the_table(
    pipeline: Pipeline, asset: str, table: str
) -> None:
    """The table that an asset names has the columns that it names."""
    pipeline.brought_to(Pipeline.plan)

    assert _claims(pipeline, asset) == _columns_of(pipeline, table)


def test_columns_of_outcomes_are_those_of_requests(pipeline: Pipeline) -> None:
    """The embeddings' second table, the outcome of every request, is described as it is, too."""
    pipeline.brought_to(Pipeline.plan)

    schema = build_catalog(pipeline.settings)["embeddings"].metadata["requests"].schema

    assert _claimed(schema) == _columns_of(pipeline, "requests")


def test_columns_of_the_published_view_are_those_that_readers_get(pipeline: Pipeline) -> None:
    """The view has these columns in this order; no value is missing but a page where none is."""
    pipeline.brought_to(Pipeline.reindex)
    claimed = _claims(pipeline, "search_index")

    with closing(sqlite3.connect(pipeline.settings.index_path)) as database:
        cursor = database.execute("SELECT * FROM published_chunks")
        names = [column[0] for column in cursor.description]
        kinds = {int: "INTEGER", str: "TEXT", bytes: "BLOB"}
        rows = [dict(zip(names, row, strict=True)) for row in cursor]

    assert names == list(claimed)
    assert {row.pop("page") for row in rows} == {None}  # these documents have none
    found = {tuple(kinds[type(value)] for value in row.values()) for row in rows}
    assert found == {tuple(type_ for name, (type_, _) in claimed.items() if name != "page")}
    assert [name for name, (_, is_nullable) in claimed.items() if is_nullable] == ["page"]


@pytest.mark.parametrize("task_type", ["RETRIEVAL_DOCUMENT", ""])
def test_columns_of_request_shards_are_the_keys_of_a_line(
    pipeline: Pipeline, task_type: str
) -> None:
    """A line has the fields that the catalog names; what may be missing sometimes is."""
    embedding = pipeline.settings.embedding.model_copy(update={"task_type": task_type})
    pipeline = pipeline.with_settings(embedding=embedding)
    (first, *_) = pipeline.plan()
    pipeline.run("submit_shards", shards=[first])
    claimed = _claims(pipeline, "request_shards")

    line = (pipeline.settings.shards_dir / f"{first}.jsonl").read_bytes().splitlines()[0]

    types = {str: "string", int: "integer"}
    found = {name: types[type(value)] for name, value in _flat(orjson.loads(line))}
    expected = {
        name: type_
        for name, (type_, is_nullable) in claimed.items()
        if task_type or not is_nullable
    }
    assert found == expected


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a JSON document by its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{number}]")
    else:
        yield name, value


# --- code versions ----------------------------------------------------------------------------


def _versions(settings: Settings) -> dict[str, str | None]:
    return {name: spec.code_version for name, spec in build_catalog(settings).items()}


def test_code_versions_change_with_nothing_but_what_they_name(settings: Settings) -> None:
    """Another directory, corpus, budget or owner, and another process, leave them as they are."""
    elsewhere = Settings.model_validate(
        {
            "data_dir": settings.data_dir / "elsewhere",
            "corpus": {"paths": ("other",)},
            "budget": {"max_cost_usd": 1},
            "catalog": {"owners": ("team:other",)},
            "limits": {"max_requests_per_job": 7},
        }
    )
    code = (
        "from embedding_assets.defs.catalog import build_catalog\n"
        "from embedding_assets.settings.values import Settings\n"
        "print([spec.code_version for spec in build_catalog(Settings()).values()])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert _versions(elsewhere) == _versions(settings)
    assert process.stdout.strip() == str(list(_versions(settings).values()))


@pytest.mark.parametrize(
    "changed",
    [
        {"chunking": Chunking(max_chars=1000)},
        {"chunking": Chunking(path=False)},
        {"embedding": Embedding(model="gemini-embedding-2")},
        {"embedding": Embedding(dimensions=256)},
        {"embedding": Embedding(task_type="CLUSTERING")},
        {"gemini": Gemini(base_url="https://gemini.example")},
    ],
)
def test_code_versions_change_with_chunking_and_spec(
    settings: Settings, changed: Mapping[str, object]
) -> None:
    """Whatever a generation is made by is part of the version of all that is made for it."""
    before = _versions(settings)

    after = _versions(settings.model_copy(update=dict(changed)))

    assert [name for name in before if before[name] != after[name]] == [
        *("chunks", "shard_plan", "request_shards", "batch_jobs", "embeddings", "search_index")
    ]


def _unsynced(pipeline: Pipeline, **changes: Any) -> dict[tuple[str, str], list[str]]:
    """Which partitions the UI shows as unsynced, and why.

    ``changes`` are settings under which the definitions are loaded.
    """
    settings = pipeline.settings.model_copy(update=changes)
    definitions = dg.Definitions(
        assets=[
            *build_monthly_assets(settings),
            build_submission(settings),
            build_embeddings(settings),
            build_search_index(settings),
        ],
        resources=build_resources(settings),
    )
    resolver = CachingStaleStatusResolver(
        pipeline.instance,
        definitions.resolve_asset_graph(),
        LoadingContextForTest(pipeline.instance),
    )
    found = {
        (asset, key): resolver.get_stale_causes(dg.AssetKey(asset), key)
        for asset in (*MONTHLY, *BY_SHARD)
        for key in pipeline.materializations(asset)
    }
    return {
        partition: [f"{cause.category.value}: {cause.reason}" for cause in causes]
        for partition, causes in found.items()
        if causes
    }


def _causes(unsynced: Mapping[tuple[str, str], list[str]]) -> dict[str, set[str]]:
    """All that is said of an asset's partitions, by asset."""
    return {
        asset: {
            cause for (name, _), causes in unsynced.items() if name == asset for cause in causes
        }
        for asset, _ in unsynced
    }


NEW_VERSION = "CODE: has a new code version"
NEW_DATA = "DATA: has a new dependency data version"


def test_what_stays_unsynced_is_said(pipeline: Pipeline) -> None:
    """The description of every asset tells what another reindex does not change."""
    for asset in build_catalog(pipeline.settings).values():
        assert "Shards and months of the past stay as they are" in (asset.description or "")
        assert "started without the API key" in (asset.description or "")


def test_after_a_reindex_nothing_is_unsynced(pipeline: Pipeline) -> None:
    """Every partition of every asset is there, and up to date with the code and its parents."""
    pipeline.brought_to(Pipeline.reindex)

    shards = pipeline.shard_keys()
    assert {asset: set(pipeline.materializations(asset)) for asset in (*MONTHLY, *BY_SHARD)} == {
        asset: set(shards) if asset in BY_SHARD else {MONTH} for asset in (*MONTHLY, *BY_SHARD)
    }
    assert _unsynced(pipeline) == {}


def test_another_month_makes_nothing_unsynced(pipeline: Pipeline) -> None:
    """What a later month bought is no news to the months before it."""
    assert pipeline.run("reindex", month=EARLIER).success
    pipeline.settle()
    pipeline.write(ANIMALS[8:16])
    pipeline.reindex()

    assert sorted(pipeline.materializations("search_index")) == [EARLIER, MONTH]
    assert _unsynced(pipeline) == {}


@pytest.mark.parametrize(
    "changed", [{"chunking": Chunking(max_chars=1000)}, {"embedding": Embedding(dimensions=24)}]
)
def test_another_chunking_or_spec_makes_what_was_made_by_it_unsynced(
    pipeline: Pipeline, changed: Mapping[str, object]
) -> None:
    """Its partition pages say so, all of them; the snapshot is what it was."""
    pipeline.brought_to(Pipeline.reindex)

    unsynced = _unsynced(pipeline, **changed)

    assert _causes(unsynced) == {name: {NEW_VERSION} for name in GENERATED}
    assert {key for asset, key in unsynced if asset in BY_SHARD} == set(pipeline.shard_keys())


def test_a_reindex_catches_up_with_another_spec(pipeline: Pipeline) -> None:
    """Reindexed under the new settings the month is up to date; its old shards are not."""
    pipeline.brought_to(Pipeline.reindex)
    old = pipeline.shard_keys()
    changed = pipeline.with_settings(embedding=Embedding(dimensions=24))

    changed.reindex()

    assert len(changed.shard_keys()) > len(old)
    assert _unsynced(changed) == {(asset, key): [NEW_VERSION] for asset in BY_SHARD for key in old}


def test_a_shard_under_way_has_the_version_that_it_was_planned_with(pipeline: Pipeline) -> None:
    """Settings that changed between plan and collection do not pass for what the shard is by."""
    keys = pipeline.brought_to(Pipeline.plan)
    pipeline.run("submit_shards", shards=keys)
    pipeline.emulator.state.wait_idle()
    changed = pipeline.with_settings(embedding=Embedding(dimensions=24))
    changed.poll()
    assert changed.run("collect_embeddings", shards=keys).success

    assert _unsynced(pipeline) == {}
    assert _causes(_unsynced(changed))["embeddings"] == {NEW_VERSION}


def test_a_plan_has_the_version_of_its_generation(pipeline: Pipeline) -> None:
    """To plan again under new settings does not pass for the new generation that they need."""
    pipeline.brought_to(Pipeline.plan)
    changed = pipeline.with_settings(embedding=Embedding(dimensions=24))

    assert changed.run("reindex", month=MONTH, only="shard_plan").success

    assert ("shard_plan", MONTH) in _unsynced(changed)


def test_what_was_made_of_an_earlier_reading_is_unsynced(pipeline: Pipeline) -> None:
    """Documents read again make chunks unsynced, and chunks listed again make the plan so."""
    pipeline.brought_to(Pipeline.plan)

    assert pipeline.run("reindex", month=MONTH, only="documents").success
    assert _unsynced(pipeline) == {("chunks", MONTH): [NEW_DATA]}

    assert pipeline.run("reindex", month=MONTH, only="chunks").success
    assert _unsynced(pipeline) == {("shard_plan", MONTH): [NEW_DATA]}
