"""A corpus that changes: what is sent, what readers see, and what stays untouched."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from embedding_assets.defs.headless import serve_generation
from embedding_assets.defs.instance import open_instance
from embedding_assets.errors import SettingsError
from embedding_assets.pipeline.status import Status
from embedding_assets.settings.values import Gemini, Schedule
from embedding_assets.store.index import open_index
from tests.factories import write_corpus
from tests.integration.dagster_support import (
    ANIMALS,
    MONTH,
    Pipeline,
    a_pipeline,
    digest,
    failure_of,
    text_about,
)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Twelve documents in three shards, nothing planned yet."""
    with a_pipeline(tmp_path, monkeypatch) as opened:
        opened.write(ANIMALS[:12])
        yield opened


def _published(pipeline: Pipeline) -> dict[tuple[str, int], bytes]:
    """What a plain SQLite client reads: text and vector by document name and position."""
    with closing(sqlite3.connect(pipeline.settings.index_path)) as connection:
        rows = connection.execute("SELECT uri, position, text, vector FROM published_chunks")
        return {(Path(uri).stem, at): text.encode() + vector for uri, at, text, vector in rows}


def _n_published(status: Status) -> int:
    assert status.published is not None
    return status.published.progress.n_embedded


def test_second_run_without_changes_sends_nothing(pipeline: Pipeline) -> None:
    """Reindexing an unchanged corpus creates no job, buys nothing and shows the same content."""
    pipeline.brought_to(Pipeline.reindex)
    bill, calls = pipeline.bill(), pipeline.emulator.state.bill().calls
    content = _published(pipeline)

    status = pipeline.reindex()

    assert status.building is None
    assert _n_published(status) == 12
    assert pipeline.bill() == bill == (3, 12)
    assert pipeline.emulator.state.bill().calls == calls
    assert _published(pipeline) == content


def test_only_new_texts_are_sent(pipeline: Pipeline) -> None:
    """After one edit, one deletion and one addition exactly the two new texts are bought."""
    pipeline.brought_to(Pipeline.reindex)
    before, content = pipeline.bought(), _published(pipeline)
    edited = "The badger has moved out; its burrow is to let."
    write_corpus(pipeline.docs, {"badger.txt": edited})
    (pipeline.docs / "aardvark.txt").unlink()
    pipeline.write(ANIMALS[12:13])

    status = pipeline.reindex()

    assert pipeline.bought() - before == {digest(edited), digest(text_about(ANIMALS[12]))}
    assert pipeline.bill() == (4, 14)
    assert _n_published(status) == 12
    now = _published(pipeline)
    changed = {(name, 0) for name in ("aardvark", "badger", ANIMALS[12])}
    assert {place: now.get(place) for place in content.keys() - changed} == {
        place: content[place] for place in content.keys() - changed
    }
    assert ("aardvark", 0) not in now
    found = {Path(hit.uri).stem for hit in pipeline.search("aardvark", k=12)}
    assert "aardvark" not in found
    assert Path(pipeline.search("burrow to let", k=1)[0].uri).stem == "badger"


def test_deleted_document_is_found_until_the_next_index_is_published(pipeline: Pipeline) -> None:
    """Readers see the last published index, whole, while the next one is being built."""
    pipeline.brought_to(Pipeline.reindex)
    (pipeline.docs / "aardvark.txt").unlink()
    pipeline.write(ANIMALS[12:13])
    pipeline.plan()

    assert Path(pipeline.search("aardvark", k=1)[0].uri).stem == "aardvark"

    pipeline.settle()

    assert Path(pipeline.search("aardvark", k=1)[0].uri).stem != "aardvark"


def test_text_that_comes_back_is_not_bought_again(pipeline: Pipeline) -> None:
    """A document deleted in one reindex and restored in the next costs nothing."""
    pipeline.brought_to(Pipeline.reindex)
    (pipeline.docs / "aardvark.txt").unlink()
    pipeline.reindex()
    pipeline.write(ANIMALS[:1])

    status = pipeline.reindex()

    assert _n_published(status) == 12
    assert pipeline.bill() == (3, 12)


def test_duplicates_are_bought_once(pipeline: Pipeline) -> None:
    """The same text in several documents is one request, and every document shows it."""
    write_corpus(pipeline.docs, {f"copy {n}.txt": text_about(ANIMALS[0]) for n in range(3)})

    pipeline.reindex()

    assert pipeline.bill() == (3, 12)
    assert {("copy 0", 0), ("copy 1", 0), ("copy 2", 0), ("aardvark", 0)} <= set(
        _published(pipeline)
    )


def test_two_reindexes_while_jobs_run_buy_once(pipeline: Pipeline) -> None:
    """A reindex that begins while the jobs of the one before run adopts what is paid for."""
    keys = pipeline.brought_to(Pipeline.plan)
    pipeline.run("submit_shards", shards=keys[:2])

    pipeline.plan()
    pipeline.settle()

    assert pipeline.bill() == (3, 12)
    assert len(_published(pipeline)) == 12


def test_superseded_shards_are_no_partitions_any_more(pipeline: Pipeline) -> None:
    """Shards that a newer reindex replaced before they were sent do not stay missing for ever."""
    old = pipeline.brought_to(Pipeline.plan)

    new = pipeline.plan()

    assert not set(old) & set(new)
    assert len(new) == 3


def test_month_that_is_not_being_built_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Materializing search_index for another month succeeds, says so and changes nothing."""
    with a_pipeline(
        tmp_path,
        monkeypatch,
        schedule=Schedule(first_month="2026-10").model_dump(),
    ) as pipeline:
        pipeline.write(ANIMALS[:4])
        pipeline.reindex()
        content, before = _published(pipeline), pipeline.materializations("search_index")

        result = pipeline.run("publish_index", month="2026-10")

        assert result.success
        assert pipeline.materializations("search_index") == before
        assert _published(pipeline) == content
        logged = [entry.user_message for entry in pipeline.instance.all_logs(result.run_id)]
        assert any(
            "2026-10 is not being built, so nothing changed; readers see 2026-11" in message
            for message in logged
        )


def test_a_generation_is_recorded_under_its_own_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run for one month serves none of another; the command line takes the right month."""
    earlier = "2026-10"
    with a_pipeline(tmp_path, monkeypatch, schedule={"first_month": earlier}) as pipeline:
        pipeline.write(ANIMALS[:4])
        assert pipeline.run("reindex", month=earlier).success
        pipeline.settle()
        pipeline.write(ANIMALS[4:6])
        pipeline.reindex()
        content, before = _published(pipeline), pipeline.materializations("search_index")

        result = pipeline.run(
            "publish_index", month=MONTH, tags={"embedding_assets/generation": "1"}
        )

        assert failure_of(result) == (
            "generation 1 is of 2026-10, and this run is for 2026-11: launch it for 2026-10, or "
            "`embedding-assets publish 1`"
        )
        assert pipeline.materializations("search_index") == before
        assert _published(pipeline) == content
        with open_index(pipeline.settings.index_path) as index:
            first = index.generations.get(1)
        serve_generation(
            pipeline.definitions, pipeline.settings, first, allow=(), on_note=pipeline.notes.append
        )
        assert len(_published(pipeline)) == 4
        with open_instance(pipeline.settings) as shared:
            (record,) = shared.fetch_materializations(dg.AssetKey("search_index"), limit=9).records
        assert record.partition_key == earlier


def test_a_month_before_the_first_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generation whose month is no partition by the settings of today is refused in words."""
    with a_pipeline(tmp_path, monkeypatch) as pipeline:
        pipeline.write(ANIMALS[:4])
        pipeline.reindex()
        with open_index(pipeline.settings.index_path) as index:
            old = replace(index.generations.get(1), month="2026-10")

        with pytest.raises(SettingsError, match="month '2026-10' is not a partition; they run"):
            serve_generation(
                pipeline.definitions,
                pipeline.settings,
                old,
                allow=(),
                on_note=pipeline.notes.append,
            )


def test_publishing_a_published_month_again_changes_nothing(pipeline: Pipeline) -> None:
    """Materializing search_index twice leaves the generation as it was published."""
    pipeline.brought_to(Pipeline.reindex)
    with open_index(pipeline.settings.index_path) as index:
        before = index.generations.published()

    assert pipeline.run("publish_index", month=MONTH).success

    with open_index(pipeline.settings.index_path) as index:
        assert index.generations.published() == before


def test_emulator_vectors_never_meet_a_gemini_index(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key every text is planned afresh for Gemini, and the emulator's index stays."""
    pipeline.brought_to(Pipeline.reindex)
    monkeypatch.setenv("GEMINI_API_KEY", "made-up-key")
    real = pipeline.with_settings(gemini=Gemini())

    assert real.run("reindex", month=MONTH).success

    with open_index(real.settings.index_path) as index:
        building, published = index.generations.building(), index.generations.published()
    assert building is not None
    assert published is not None
    assert (building.spec.provider, published.spec.provider) == ("gemini", "emulator")
    plan = real.values("shard_plan")[MONTH]
    assert (plan["dagster/row_count"], plan["chunks_with_vector"]) == (12, 0)
    assert pipeline.bill() == (3, 12)
    assert len(_published(pipeline)) == 12


def test_other_dimensions_are_another_index(pipeline: Pipeline) -> None:
    """After a change of the embedding spec all is bought anew; old vectors serve until then."""
    pipeline.brought_to(Pipeline.reindex)
    wider = pipeline.with_settings(
        embedding=pipeline.settings.embedding.model_copy(update={"dimensions": 24})
    )
    wider.plan()
    assert {
        len(value) - len(text_about(name).encode())
        for (name, _), value in _published(pipeline).items()
    } == {16 * 4}

    wider.settle()

    assert wider.bill() == (6, 24)
    assert {
        len(value) - len(text_about(name).encode())
        for (name, _), value in _published(wider).items()
    } == {24 * 4}
