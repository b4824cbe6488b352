"""What a person sees of a published month: its sentence, numbers, pictures and checks."""

import base64
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from embedding_assets.defs import search_index
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.model.gates import GateName
from embedding_assets.settings.values import Publishing
from embedding_assets.store.index import open_index
from embedding_assets.wording import format_usd
from tests.factories import write_corpus
from tests.integration.dagster_support import ANIMALS, MONTH, Pipeline, Result, a_pipeline
from tests.integration.statements import listening

PICTURES = {"by_month", "job_waits", "corpus_map"}
STANDING_ALONE = ("cost_against_estimate", "published_vectors_are_sound")
CHECKS = (*(name.value for name in GateName), *STANDING_ALONE)
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
BATCH_PRICE = Decimal("0.075") / 1_000_000
NOTHING_YET = (
    "nothing is published yet, so there is nothing to check; materialize a month by the job "
    "reindex, or run `embedding-assets reindex`"
)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Twelve documents in three shards, nothing planned yet."""
    with a_pipeline(tmp_path, monkeypatch) as opened:
        opened.write(ANIMALS[:12])
        yield opened


@pytest.fixture
def drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """The same where pictures can be drawn."""
    with a_pipeline(tmp_path, monkeypatch, draws_pictures=True) as opened:
        opened.write(ANIMALS[:12])
        yield opened


def published(pipeline: Pipeline) -> dict[str, Any]:
    """The newest materialization's plain metadata."""
    return pipeline.values("search_index")[MONTH]


def pictures(metadata: dict[str, Any]) -> dict[str, bytes]:
    """The PNGs among the metadata, by name."""
    found = {}
    for name, value in metadata.items():
        match = re.fullmatch(r"!\[[\w ,]+\]\(data:image/png;base64,(.*)\)", str(value))
        if match:
            found[name] = base64.b64decode(match[1], validate=True)
    return found


def execute_checks(pipeline: Pipeline, *names: str) -> Result:
    """As *Execute checks* in the UI does: no asset, no partition."""
    keys = {dg.AssetCheckKey(dg.AssetKey("search_index"), name) for name in names}
    job = pipeline.definitions.resolve_implicit_global_asset_job_def()
    return job.get_subset(asset_selection=set(), asset_check_selection=keys).execute_in_process(
        instance=pipeline.instance,
        run_config=_QUIET,
        raise_on_error=False,
    )


def verdicts(result: Result) -> dict[str, dg.AssetCheckEvaluation]:
    """The evaluations of a run that succeeded, by the checks' names."""
    assert result.success
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def change(pipeline: Pipeline, statement: str, *parameters: object) -> None:
    """Spoil the index file, as nothing of ours does."""
    with closing(sqlite3.connect(pipeline.settings.index_path)) as connection, connection:
        assert connection.execute(statement, parameters).rowcount > 0


def broken(*_: object) -> None:
    """In the place of something after the flip."""
    raise RuntimeError("database is locked")


# --- the sentence and the numbers -------------------------------------------------------------


def test_a_published_month_is_one_sentence(pipeline: Pipeline) -> None:
    """It says what readers see, what was sent for it, and what that cost against the estimate."""
    pipeline.brought_to(Pipeline.reindex)

    found, billed = published(pipeline), pipeline.emulator.state.bill().tokens * BATCH_PRICE
    assert found["summary"] == (
        "2026-11 is published: 12 chunks of 12 documents, 12 of them sent; "
        f"{format_usd(billed)} billed, "
        f"{format_usd(found['estimated_tokens'] * BATCH_PRICE)} estimated"
    )


def test_a_month_that_needed_nothing_says_so(pipeline: Pipeline) -> None:
    """An unchanged corpus is published again without a request: all of it is reused."""
    pipeline.brought_to(Pipeline.reindex)
    pipeline.reindex()

    found = published(pipeline)
    assert found["summary"] == (
        "2026-11 is published: 12 chunks of 12 documents, none of them sent; nothing billed"
    )
    assert (found["share_reused"], found["chunks_sent"], found["requests_sent"]) == (1.0, 0, 0)
    assert (found["billed_cost_usd"], found["batch_jobs"]) == (0.0, 0)
    assert "median_wait_seconds" not in found


def test_what_a_superseded_build_has_bought_is_told(drawing: Pipeline) -> None:
    """Built anew while its jobs are under way a month reuses them, and they are its own."""
    keys = drawing.plan()
    assert drawing.run("submit_shards", shards=keys).success
    status = drawing.reindex()

    found, billed = published(drawing), drawing.emulator.state.bill()
    assert status.published is not None
    assert (status.published.bill.n_requests, status.published.bill.n_shards) == (12, 3)
    assert found["summary"].startswith(
        "2026-11 is published: 12 chunks of 12 documents, 12 of them sent; "
        f"{format_usd(billed.tokens * BATCH_PRICE)} billed, "
    )
    assert (found["chunks_sent"], found["share_reused"]) == (12, 0.0)
    assert (found["batch_jobs"], found["requests_sent"]) == (3, 12)
    assert found["billed_tokens"] == billed.tokens
    assert set(pictures(found)) == PICTURES
    check = verdicts(execute_checks(drawing, "cost_against_estimate"))["cost_against_estimate"]
    assert check.metadata["requests"].value == 12


def test_what_is_reused_and_what_is_missing_are_numbers(pipeline: Pipeline) -> None:
    """Of thirteen chunks two are new and one of those fails: counted, and in the sentence."""
    lenient = pipeline.with_settings(publishing=Publishing(min_coverage=0.5))
    lenient.reindex()
    write_corpus(pipeline.docs, {"new.txt": "A text of another kind.", "bad.txt": "Spoilt."})
    (pipeline.docs / "aardvark.txt").unlink()
    lenient.fault(FaultKind.ERROR_LINE, match="Spoilt", code=3)
    lenient.reindex()

    found = published(lenient)
    assert found["summary"].startswith(
        "2026-11 is published: 13 chunks of 13 documents (1 without a vector), 2 of them sent; "
    )
    assert (found["chunks_sent"], found["chunks_failed"]) == (2, 1)
    assert found["share_reused"] == round(11 / 13, 4)
    assert found["coverage"] == pytest.approx(12 / 13)
    assert found["batch_jobs"] == 1
    assert 0 <= found["median_wait_seconds"] <= found["longest_wait_seconds"]


def test_an_earlier_generation_is_published_again(pipeline: Pipeline) -> None:
    """The sentence of a roll-back says that it is one, and tells no bill a second time."""
    pipeline.brought_to(Pipeline.reindex)
    pipeline.write(ANIMALS[12:13])
    pipeline.reindex()

    tags = {"embedding_assets/generation": "1"}
    assert pipeline.run("publish_index", month=MONTH, tags=tags).success

    assert published(pipeline)["summary"] == (
        "2026-11 is published again: 12 chunks of 12 documents"
    )


@pytest.mark.parametrize("tags", [{}, {"embedding_assets/generation": "1"}])
def test_a_publication_that_was_not_recorded_is_made_up_for(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tags: dict[str, str]
) -> None:
    """Killed after the flip the month is red; publishing it again records it as the first time."""
    with monkeypatch.context() as patch:
        patch.setattr(search_index, "draw_pictures", broken)
        pipeline.reindex()
    assert pipeline.values("search_index") == {}
    with open_index(pipeline.settings.index_path) as index:
        seen = index.generations.published()
    assert seen is not None
    assert not search_index.is_recorded(pipeline.instance, seen)

    assert pipeline.run("publish_index", month=MONTH, tags=tags).success

    assert published(pipeline)["summary"].startswith(
        "2026-11 is published: 12 chunks of 12 documents, 12 of them sent; "
    )
    assert search_index.is_recorded(pipeline.instance, seen)
    recorded = pipeline.materializations("search_index")
    assert pipeline.run("publish_index", month=MONTH).success
    assert pipeline.materializations("search_index") == recorded


def test_shards_that_cannot_be_forgotten_turn_no_month_red(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails, but the month is recorded by then."""
    monkeypatch.setattr(search_index, "forget_shards", broken)
    pipeline.reindex()
    assert published(pipeline)["chunks"] == 12


def test_the_sentence_names_no_document(pipeline: Pipeline) -> None:
    """It is posted to wherever alerts go: no path, title or text is in it."""
    pipeline.brought_to(Pipeline.reindex)
    summary = published(pipeline)["summary"]
    assert "/" not in summary
    assert not any(animal in summary for animal in ANIMALS)


def test_numbers_are_numbers(pipeline: Pipeline) -> None:
    """Everything that Dagster could chart by month is an int or a float, in any month."""
    pipeline.brought_to(Pipeline.reindex)
    first = pipeline.materializations("search_index")[MONTH]
    pipeline.reindex()
    second = pipeline.materializations("search_index")[MONTH]
    for metadata in (first, second):
        words = {
            name
            for name, value in metadata.items()
            if not isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue)
        }
        assert words <= {"summary", "index", "retention", *PICTURES}


def test_a_publication_goes_through_its_chunks_once_for_each_question(pipeline: Pipeline) -> None:
    """How far it is, what was sent, what that cost, the gate's search, the map, the last check."""
    pipeline.reindex()
    pipeline.write(ANIMALS[:14])
    (key,) = set(pipeline.plan()) - set(pipeline.values("batch_jobs"))
    assert pipeline.run("submit_shards", shards=[key]).success
    pipeline.poll()
    assert pipeline.run("collect_embeddings", shards=[key]).success

    with listening() as heard:
        assert pipeline.run("publish_index", month=MONTH).success

    assert published(pipeline)["chunks_sent"] == 2
    assert len(heard.scans_of_members(pipeline.settings.index_path)) <= 6


# --- pictures ---------------------------------------------------------------------------------


def test_pictures_are_images_in_the_metadata(drawing: Pipeline) -> None:
    """A published month shows its months, its jobs and its map as PNGs that Markdown embeds."""
    drawing.reindex()

    found = pictures(published(drawing))
    assert set(found) == PICTURES
    assert all(png.startswith(b"\x89PNG\r\n") for png in found.values())
    assert all(len(png) < 120_000 for png in found.values())


def test_without_a_batch_job_there_is_no_picture_of_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was embedded synchronously did not wait."""
    limits = {"min_batch_requests": 100}
    with a_pipeline(tmp_path, monkeypatch, draws_pictures=True, limits=limits) as pipeline:
        pipeline.write(ANIMALS[:4])
        pipeline.reindex()
        found = published(pipeline)
        assert set(pictures(found)) == PICTURES - {"job_waits"}
        assert found["batch_jobs"] == 0


def test_one_chunk_makes_no_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other pictures are there; nothing is said to have gone wrong."""
    with a_pipeline(tmp_path, monkeypatch, draws_pictures=True) as pipeline:
        pipeline.write(ANIMALS[:1])
        pipeline.reindex()
        found = published(pipeline)
        assert set(pictures(found)) == PICTURES - {"corpus_map"}
        assert "corpus_map" not in found


def test_a_picture_that_cannot_be_drawn_is_only_a_warning(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The month is published and green; its metadata and the log say what went wrong."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    pipeline.reindex()

    found = published(pipeline)
    assert pictures(found) == {}
    assert {name: found[name].partition("(")[0] for name in PICTURES} == dict.fromkeys(
        PICTURES, "could not be drawn: ModuleNotFoundError"
    )
    assert found["summary"].startswith("2026-11 is published: 12 chunks")
    with open_index(pipeline.settings.index_path) as index:
        assert index.generations.published() is not None


# --- checks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [CHECKS, *((name,) for name in CHECKS)])
def test_checks_before_the_first_reindex(pipeline: Pipeline, names: tuple[str, ...]) -> None:
    """A person who executes a check first is told what to do, and no index file is made."""
    found = verdicts(execute_checks(pipeline, *names))

    assert set(found) == set(names)
    for verdict in found.values():
        assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert verdict.description == NOTHING_YET
    assert not pipeline.settings.index_path.exists()


def test_checks_while_the_first_generation_is_built(pipeline: Pipeline) -> None:
    """The gates tell how far it is, as a warning; the others that nothing is published."""
    pipeline.brought_to(Pipeline.plan)

    found = verdicts(execute_checks(pipeline, *CHECKS))

    assert found["finished"].description is not None
    assert found["finished"].description.startswith(
        "2026-11: 12 of 12 chunks are still in open shards; the sensors submit and collect them"
    )
    assert {name for name, verdict in found.items() if verdict.passed} == {
        *("shrinkage", "self_retrieval", "agreement")
    }
    assert {verdict.severity for verdict in found.values() if not verdict.passed} == {
        dg.AssetCheckSeverity.WARN
    }
    assert {found[name].description for name in STANDING_ALONE} == {NOTHING_YET}


def test_checks_on_their_own_publish_nothing(pipeline: Pipeline) -> None:
    """They look at what readers see, say what they saw, and leave everything as it is."""
    pipeline.brought_to(Pipeline.reindex)
    before = pipeline.materializations("search_index")
    with open_index(pipeline.settings.index_path) as index:
        serving = index.generations.published()

    found = verdicts(execute_checks(pipeline, *CHECKS))

    assert all(verdict.passed for verdict in found.values())
    assert found["coverage"].description == (
        "2026-11: 12 of 12 chunks are embedded (100.0%), publishing.min_coverage is 95.0%"
    )
    assert found["published_vectors_are_sound"].description == (
        "2026-11: all 12 vectors have 16 dimensions and length 1; 0 chunks without one, each with "
        "a failure that says why"
    )
    billed = format_usd(pipeline.emulator.state.bill().tokens * BATCH_PRICE)
    assert (found["cost_against_estimate"].description or "").startswith(
        f"2026-11: 12 requests sent; {billed} billed, "
    )
    assert pipeline.materializations("search_index") == before
    with open_index(pipeline.settings.index_path) as index:
        assert index.generations.published() == serving


def test_one_gate_may_be_looked_at_alone(pipeline: Pipeline) -> None:
    """Only the check that was asked for is evaluated."""
    pipeline.brought_to(Pipeline.reindex)
    assert set(verdicts(execute_checks(pipeline, "shrinkage"))) == {"shrinkage"}


def test_an_asset_may_be_materialized_without_its_checks(pipeline: Pipeline) -> None:
    """Publishing does not depend on whether the checks were selected, and keeps to the gates."""
    pipeline.brought_to(Pipeline.reindex)
    pipeline.write(ANIMALS[12:13])
    keys = pipeline.plan()[-1:]
    pipeline.run("submit_shards", shards=keys)
    pipeline.emulator.state.wait_idle()
    pipeline.poll()
    pipeline.run("collect_embeddings", shards=keys)
    job = pipeline.definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={dg.AssetKey("search_index")}, asset_check_selection=set()
    )

    result = job.execute_in_process(
        instance=pipeline.instance, partition_key=MONTH, run_config=_QUIET, raise_on_error=False
    )

    assert result.success
    assert result.get_asset_check_evaluations() == []
    assert published(pipeline)["chunks"] == 13


@pytest.mark.parametrize(
    ("statement", "flaw"),
    [
        (
            "UPDATE vectors SET vector = zeroblob(64) WHERE chunk_id IN (4, 7)",
            "2 vectors must not be served: chunk 4 (length 0, not 1), chunk 7 (length 0, not 1)",
        ),
        (
            "UPDATE vectors SET vector = zeroblob(12) WHERE chunk_id = 4",
            "1 vector must not be served: chunk 4 (12 bytes, not 64)",
        ),
        (
            # Put together they have as many bytes as two good ones.
            "UPDATE vectors SET vector = zeroblob(CASE chunk_id WHEN 4 THEN 60 ELSE 68 END) "
            "WHERE chunk_id IN (4, 5)",
            "2 vectors must not be served: chunk 4 (60 bytes, not 64), chunk 5 (68 bytes, not 64)",
        ),
        (
            "DELETE FROM vectors WHERE chunk_id IN (3, 9)",
            "2 chunks without a vector or a failure: 3, 9",
        ),
    ],
)
def test_unsound_vectors_are_an_error_with_their_chunks(
    pipeline: Pipeline, statement: str, flaw: str
) -> None:
    """Whatever is wrong with the vectors: the check says with which chunks, and what to do."""
    pipeline.brought_to(Pipeline.reindex)
    change(pipeline, statement)

    verdict = verdicts(execute_checks(pipeline, "published_vectors_are_sound"))[
        "published_vectors_are_sound"
    ]

    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert verdict.description == (
        f"2026-11: {flaw}; run `embedding-assets doctor`, which says what it can repair"
    )


def test_a_chunk_that_failed_with_a_message_is_no_gap(pipeline: Pipeline) -> None:
    """A failure that is told is not silent, also if another spec's has taken its place."""
    lenient = pipeline.with_settings(publishing=Publishing(min_coverage=0.5))
    lenient.fault(FaultKind.ERROR_LINE, match="badger", code=3)
    lenient.reindex()
    change(
        lenient, "INSERT INTO specs VALUES (99, 'gemini', 'another-model', 8, 'RETRIEVAL_DOCUMENT')"
    )
    change(lenient, "UPDATE chunks SET error_spec_id = 99 WHERE error_spec_id IS NOT NULL")

    verdict = verdicts(execute_checks(lenient, "published_vectors_are_sound"))[
        "published_vectors_are_sound"
    ]

    assert verdict.passed
    assert {name: entry.value for name, entry in verdict.metadata.items()} == {
        "vectors": 11,
        "bad_vectors": 0,
        "chunks_failed_with_message": 1,
        "chunks_without_vector_or_message": 0,
    }


def test_a_bill_beyond_the_estimate_is_a_warning(pipeline: Pipeline) -> None:
    """Off by more than a quarter, and by more than a trifle: with the numbers and what to do."""
    pipeline.brought_to(Pipeline.reindex)
    change(pipeline, "UPDATE shards SET usd_per_million = '75000', estimated_tokens = 40")

    verdict = verdicts(execute_checks(pipeline, "cost_against_estimate"))["cost_against_estimate"]

    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    tokens = pipeline.emulator.state.bill().tokens
    billed = tokens * 75_000 / 1e6
    assert verdict.metadata["billed_cost_usd"].value == pytest.approx(billed)
    assert verdict.metadata["estimated_cost_usd"].value == pytest.approx(9.0)
    description = verdict.description or ""
    assert description.startswith(
        "2026-11: 12 requests of shards that were answered in full; "
        f"${billed:.2f} billed, $9.00 estimated: "
    )
    assert "compare `embedding-assets costs` with Google's bill" in description
