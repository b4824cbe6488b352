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


@pytest.fixture(params=[True, False], ids=["with path", "without path"])
def has_path(request: pytest.FixtureRequest) -> bool:
    """Whether texts are sent behind their path, which no earlier version did."""
    return bool(request.param)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_path: bool) -> Iterator[Pipeline]:
    """That index, its documents as they were last, and an emulator that knows nothing of it."""
    schedule, chunking = {"first_month": "2026-09"}, {"path": has_path}
    with a_pipeline(tmp_path, monkeypatch, schedule=schedule, chunking=chunking) as made:
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


def test_it_is_searched_and_its_next_month_is_built_beside_it(
    pipeline: Pipeline, has_path: bool
) -> None:
    """It answers as before, buys what is sent in another way, and is served again if one likes."""
    [before] = pipeline.search(QUERY, k=1)
    assert before.text == BADGER

    assert pipeline.run("reindex", month="2026-11").success
    pipeline.settle()

    in_its_place = digest(f"badger\n\n{BADGER}")
    assert (in_its_place in pipeline.bought()) == has_path
    assert len(pipeline.bought() - {digest(QUERY)}) == (8 if has_path else 0)
    assert states(pipeline) == {
        "2026-09": GenerationState.RETIRED,
        "2026-10": GenerationState.RETIRED,
        "2026-11": GenerationState.PUBLISHED,
    }
    [after] = pipeline.search(QUERY, k=1)
    assert after.text == BADGER
    assert (after.score == before.score) is not has_path

    tags = {"embedding_assets/generation": "1"}
    assert pipeline.run("publish_index", month="2026-09", tags=tags).success

    assert states(pipeline)["2026-09"] is GenerationState.PUBLISHED
    [back] = pipeline.search(QUERY, k=1)
    assert back.text != BADGER
