"""What a materialization tells the person who looks at it in the UI."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.model.gates import GateName
from embedding_assets.model.tokens import DEFAULT_CHARS_PER_TOKEN
from tests.factories import write_corpus
from tests.integration.dagster_support import ANIMALS, MONTH, Pipeline, a_pipeline, text_about

ASSETS = (
    *("documents", "chunks", "shard_plan", "request_shards", "batch_jobs", "embeddings"),
    "search_index",
)
HOSTILE = "<img src=x onerror=alert(1)>"
PICTURE = re.compile(r"!\[[A-Za-z, ]+\]\(data:image/png;base64,[A-Za-z0-9+/]+=*\)")
# Made of shard keys and nothing else.
OUR_LINKS = {("batch_jobs", "request_shards"), ("embeddings", "batch_jobs")}


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Six documents that can be used and one that is empty, in two shards."""
    with a_pipeline(tmp_path, monkeypatch) as opened:
        opened.write(ANIMALS[:6])
        (opened.docs / "nothing.txt").write_bytes(b"")
        yield opened


def _reindexed(pipeline: Pipeline) -> dict[str, dict[str, dict[str, Any]]]:
    """Plain metadata by asset and partition, after a whole reindex."""
    pipeline.plan()
    pipeline.settle()
    return {asset: pipeline.values(asset) for asset in ASSETS}


def test_monthly_metadata_counts_and_prices(pipeline: Pipeline) -> None:
    """The monthly assets tell documents, bytes, chunks, tokens and dollars as they are."""
    found = _reindexed(pipeline)
    data = pipeline.settings.data_dir
    texts = [text_about(animal) for animal in ANIMALS[:6]]
    n_bytes = sum(len(text) for text in texts)

    documents = found["documents"][MONTH]
    assert (documents["dagster/row_count"], documents["documents_readable"]) == (7, 6)
    assert (documents["documents_kept"], documents["documents_failed"]) == (0, 1)
    assert documents["source_bytes"] == n_bytes
    assert documents["snapshot"] == str(data / "snapshots" / "2026-11.parquet")
    assert Path(documents["snapshot"]).is_file()
    assert len(documents["preview"].records) == 7
    assert (documents["added"], documents["unreadable"], documents["documents_reused"]) == (6, 1, 0)
    assert (documents["changed"], documents["moved"], documents["unchanged"]) == (0, 0, 0)
    assert documents["removed"] == 0
    assert documents["summary"] == (
        "7 documents: 6 added, 0 changed, 0 moved, 0 unchanged, 1 unreadable; 0 removed"
    )
    shown = [record.data["change"] for record in documents["changes"].records]
    assert shown == [*["added"] * 5, "unreadable"]
    assert documents["changes_left_out"] == "1 more row"

    chunks = found["chunks"][MONTH]
    assert (chunks["dagster/row_count"], chunks["documents"], chunks["documents_failed"]) == (
        6,
        7,
        1,
    )
    assert (chunks["chunks_with_vector"], chunks["chunks_without_vector"]) == (0, 6)
    assert chunks["share_reused"] == 0.0
    sample = [record.data for record in chunks["sample"].records]
    assert sorted(str(row["text"]) for row in sample) == sorted(text[:60] for text in texts)
    for row in sample:
        text = Path(str(row["uri"])).read_text()
        assert (row["title"], row["position"]) == (Path(str(row["uri"])).stem, 0)
        assert row["characters"] == len(text)
    assert len({row["chunk_id"] for row in sample}) == 6
    (failure,) = chunks["failures"].records
    assert failure.data["kind"] == "document"
    assert failure.data["message"] == "the file is empty"

    plan = found["shard_plan"][MONTH]
    assert (plan["dagster/row_count"], plan["shards"], plan["route"]) == (6, 2, "batch")
    assert plan["estimated_tokens"] == pytest.approx(n_bytes / DEFAULT_CHARS_PER_TOKEN[0], abs=6)
    assert plan["estimate_rests_on"].endswith("nothing billed yet")
    assert "last_estimate_error_percent" not in plan
    assert plan["estimated_cost_usd"] == pytest.approx(plan["estimated_tokens"] * 0.075e-6)
    assert plan["sync_cost_usd"] == pytest.approx(2 * plan["estimated_cost_usd"])
    rows = [record.data for record in plan["plan"].records]
    assert [row["shard"] for row in rows] == pipeline.shard_keys()
    assert [row["requests"] for row in rows] == [4, 2]
    assert sum(row["bytes"] for row in rows) == plan["request_bytes"]
    assert sum(row["tokens"] for row in rows) == plan["estimated_tokens"]
    assert sum(row["usd"] for row in rows) == pytest.approx(plan["estimated_cost_usd"])

    published = found["search_index"][MONTH]
    assert (published["dagster/row_count"], published["chunks"], published["documents"]) == (
        6,
        6,
        7,
    )
    assert (published["coverage"], published["chunks_failed"]) == (1.0, 0)
    assert published["requests_sent"] == 6
    assert published["estimated_tokens"] == plan["estimated_tokens"]
    assert published["billed_tokens"] == pipeline.emulator.state.bill().tokens
    assert published["billed_cost_usd"] == pytest.approx(published["billed_tokens"] * 0.075e-6)
    assert published["sync_cost_usd"] == pytest.approx(2 * published["billed_cost_usd"])
    assert published["without_reuse_cost_usd"] == published["billed_cost_usd"]  # the first month
    assert published["index"] == str(data / "index.db")


def test_a_snapshot_tells_what_changed(pipeline: Pipeline) -> None:
    """The second snapshot is compared with the first; the log has it in one sentence."""
    pipeline.plan()
    (pipeline.docs / f"{ANIMALS[0]}.txt").rename(pipeline.docs / "moved.txt")
    (pipeline.docs / f"{ANIMALS[1]}.txt").unlink()
    (pipeline.docs / f"{ANIMALS[2]}.txt").write_bytes(b"")

    result = pipeline.run("reindex", month=MONTH, only="documents")

    documents = pipeline.values("documents")[MONTH]
    sentence = "6 documents: 0 added, 0 changed, 1 moved, 3 unchanged, 2 unreadable; 1 removed"
    assert documents["summary"] == sentence
    assert (documents["moved"], documents["unchanged"], documents["removed"]) == (1, 3, 1)
    assert (documents["unreadable"], documents["documents_kept"]) == (2, 1)
    assert documents["documents_failed"] == 1
    changes = [record.data for record in documents["changes"].records]
    assert {change["change"]: Path(str(change["from"])).stem for change in changes} == {
        "moved": ANIMALS[0],
        "removed": "",
        "unreadable": "",
    }
    logged = [entry.user_message for entry in pipeline.instance.all_logs(result.run_id)]
    assert sentence in logged


def test_a_plan_shows_how_good_the_last_estimate_was(pipeline: Pipeline) -> None:
    """Once something was billed the plan tells what it learned from, and the error before."""
    before = _reindexed(pipeline)["search_index"][MONTH]
    pipeline.write(ANIMALS[6:7])
    pipeline.plan()

    plan = pipeline.values("shard_plan")[MONTH]
    assert plan["estimate_rests_on"].startswith("calibrated on 6 billed requests, ratio ")
    error = before["estimated_tokens"] / before["billed_tokens"] - 1
    assert plan["last_estimate_error_percent"] == pytest.approx(100 * error, abs=0.05)


def test_shard_metadata_counts_and_prices(pipeline: Pipeline) -> None:
    """The assets of shards tell requests, bytes, digests, attempts, jobs, tokens and dollars."""
    found = _reindexed(pipeline)
    first, second = pipeline.shard_keys()

    for key, n_requests in {first: 4, second: 2}.items():
        file = found["request_shards"][key]
        content = Path(file["file"]).read_bytes()
        assert file["dagster/row_count"] == n_requests == content.count(b"\n")
        assert file["request_bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()

        job = found["batch_jobs"][key]
        assert (job["attempt"], job["state_at_submission"]) == (1, "pending")
        assert job["job_name"] == pipeline.job(key).job_name
        assert f"/{key}/1/{file['sha256'][:16]}" in job["display_name"]
        assert 0 <= job["submission_seconds"] < 60
        assert "wait_seconds" not in job  # it is not over
        assert job["request_shards"] == f"/assets/request_shards?view=partitions&partition={key}"
        assert job["requests_file"] == file["file"]

        collected = found["embeddings"][key]
        assert (collected["dagster/row_count"], collected["requests_failed"]) == (n_requests, 0)
        assert collected["failures"] == "none"
        assert (collected["unknown_lines"], collected["duplicate_lines"]) == (0, 0)
        assert collected["estimated_tokens"] == file["estimated_tokens"]
        assert collected["estimated_cost_usd"] == file["estimated_cost_usd"]
        assert collected["billed_cost_usd"] == pytest.approx(collected["billed_tokens"] * 0.075e-6)
        assert (collected["attempt"], collected["job_name"]) == (1, job["job_name"])
        assert 0 <= collected["wait_seconds"] < 60
        assert collected["batch_jobs"] == f"/assets/batch_jobs?view=partitions&partition={key}"
        assert Path(collected["results_file"]).read_bytes().count(b"\n") == n_requests
    billed = [found["embeddings"][key]["billed_tokens"] for key in (first, second)]
    assert sum(billed) == pipeline.emulator.state.bill().tokens


def test_request_shards_show_their_first_lines(pipeline: Pipeline) -> None:
    """Key and beginning of the text as the file has them, and how many lines are not shown."""
    long = pipeline.with_settings(
        limits=pipeline.settings.limits.model_copy(update={"max_requests_per_job": 100})
    )
    long.write(ANIMALS)
    (key,) = long.plan()
    long.run("submit_shards", shards=[key])

    found = long.values("request_shards")[key]

    lines = [orjson.loads(line) for line in Path(found["file"]).read_bytes().splitlines()]
    texts = [line["request"]["content"]["parts"][0]["text"] for line in lines]
    assert [record.data for record in found["lines"].records] == [
        {"key": line["key"], "text": text[:60].strip()}
        for line, text in zip(lines[:20], texts[:20], strict=True)
    ]
    assert found["lines_left_out"] == f"{len(ANIMALS) - 20} more rows"


def test_what_a_later_month_does_not_buy_is_shown_as_reused(pipeline: Pipeline) -> None:
    """The share of the chunks that had a vector before anything was planned."""
    _reindexed(pipeline)
    pipeline.write(ANIMALS[6:8])

    pipeline.plan()

    assert pipeline.values("chunks")[MONTH]["share_reused"] == pytest.approx(6 / 8)


def test_embeddings_show_their_failed_requests(pipeline: Pipeline) -> None:
    """Chunk, document, code and message of a request that failed; the bill is of the others."""
    pipeline.fault(FaultKind.ERROR_LINE, match=ANIMALS[2], code=3, message="No capybaras here.")
    pipeline.write(ANIMALS[2:3])
    (pipeline.docs / "zoo.txt").write_text(text_about(ANIMALS[2]))  # the same chunk, a later uri
    keys = pipeline.plan()
    pipeline.settle()

    shown = {
        key: (collected["requests_failed"], collected["failures"])
        for key, collected in pipeline.values("embeddings").items()
    }

    with_failure = {key: found[1] for key, found in shown.items() if found[0]}
    ((key, table),) = with_failure.items()
    assert {other: found for other, found in shown.items() if other != key} == {
        other: (0, "none") for other in keys if other != key
    }
    assert [record.data for record in table.records] == [
        {
            "chunk_id": next(f.chunk_id for f in pipeline.failures() if f.kind == "chunk"),
            "uri": str(pipeline.docs / f"{ANIMALS[2]}.txt"),
            "code": "INVALID_ARGUMENT",
            "message": "No capybaras here.",
        }
    ]


def test_hostile_titles_are_never_markup(pipeline: Pipeline) -> None:
    """What a document says of itself is shown in plain table cells, never as Markdown or a link."""
    write_corpus(
        pipeline.docs,
        {
            f"{HOSTILE}.md": f"# {HOSTILE}\n\nA [link](javascript:alert(2)) and more.",
            "page.html": "<title>&lt;img src=x onerror=alert(1)&gt;</title><p>Some words.</p>",
        },
    )
    (pipeline.docs / f"empty {HOSTILE}.txt").write_bytes(b"")
    _reindexed(pipeline)

    shown_in = set()
    for asset in ASSETS:
        for metadata in pipeline.materializations(asset).values():
            for name, value in metadata.items():
                is_picture = isinstance(value, dg.MarkdownMetadataValue) and PICTURE.fullmatch(
                    value.value or ""
                )
                is_markup = isinstance(
                    value, dg.MarkdownMetadataValue | dg.UrlMetadataValue | dg.JsonMetadataValue
                )
                is_ours = is_picture or (asset, name) in OUR_LINKS
                assert is_ours or not is_markup, f"{asset}: {name}"
                if HOSTILE in repr(value):
                    shown_in.add((asset, name, type(value)))
    assert shown_in == {
        ("documents", "preview", dg.TableMetadataValue),
        ("documents", "changes", dg.TableMetadataValue),
        ("chunks", "failures", dg.TableMetadataValue),
        ("chunks", "sample", dg.TableMetadataValue),
        ("request_shards", "lines", dg.TableMetadataValue),
    }


def test_published_index_is_checked(pipeline: Pipeline) -> None:
    """Publishing checks the gates before and what readers see after, with the numbers."""
    pipeline.plan()
    pipeline.run("submit_shards", shards=pipeline.shard_keys())
    pipeline.emulator.state.wait_idle()
    pipeline.poll()
    pipeline.run("collect_embeddings", shards=pipeline.shard_keys())

    result = pipeline.run("publish_index", month=MONTH)

    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert {name: check.passed for name, check in checks.items()} == {
        **{gate.value: True for gate in GateName},
        "published_vectors_are_sound": True,
        "cost_against_estimate": True,
    }
    sound = checks["published_vectors_are_sound"].metadata
    assert {name: entry.value for name, entry in sound.items()} == {
        "vectors": 6,
        "bad_vectors": 0,
        "chunks_failed_with_message": 0,
        "chunks_without_vector_or_message": 0,
    }
