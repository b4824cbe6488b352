"""An index of an earlier version, with two published months, under the code of today.

``schemas/version_4.sql`` is what the version before the package was divided into rooms wrote: nine
documents in 2026-09; in 2026-10 one was removed and one changed.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from embedding_assets.model.generations import GenerationState
from embedding_assets.store.index import open_index
from tests.factories import write_corpus
from tests.integration.dagster_support import ANIMALS, Pipeline, a_pipeline, digest

VERSION_4 = Path(__file__).parent / "schemas" / "version_4.sql"
QUERY = "badger burrow"
BADGER = "The badger has moved to another burrow."


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """That index, its documents as they were last, and an emulator that knows nothing of it."""
    with a_pipeline(tmp_path, monkeypatch, schedule={"first_month": "2026-09"}) as made:
        made.settings.data_dir.mkdir()
        with closing(sqlite3.connect(made.settings.index_path)) as writer:
            writer.executescript(VERSION_4.read_text(encoding="utf-8"))
        made.write(ANIMALS[2:9])
        write_corpus(made.docs, {"badger.txt": BADGER})
        yield made


def states(pipeline: Pipeline) -> dict[str, GenerationState]:
    """Every month's generation."""
    with open_index(pipeline.settings.index_path) as index:
        return {generation.month: generation.state for generation in index.generations.all()}


def test_it_is_searched_reindexed_for_nothing_and_rolled_back(pipeline: Pipeline) -> None:
    """It answers as before, its next month sends nothing, and an earlier one is served again."""
    [before] = pipeline.search(QUERY, k=1)
    assert before.text == BADGER

    assert pipeline.run("reindex", month="2026-11").success
    pipeline.settle()

    assert pipeline.bought() == {digest(QUERY)}
    assert states(pipeline) == {
        "2026-09": GenerationState.RETIRED,
        "2026-10": GenerationState.RETIRED,
        "2026-11": GenerationState.PUBLISHED,
    }
    [after] = pipeline.search(QUERY, k=1)
    assert (after.text, after.score) == (BADGER, before.score)

    tags = {"embedding_assets/generation": "1"}
    assert pipeline.run("publish_index", month="2026-09", tags=tags).success

    assert states(pipeline)["2026-09"] is GenerationState.PUBLISHED
    [back] = pipeline.search(QUERY, k=1)
    assert back.text != BADGER
    assert pipeline.bought() == {digest(QUERY)}
