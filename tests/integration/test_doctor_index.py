"""The doctor on an index that somebody spoilt with plain SQLite: what it says, what it repairs."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.doctor.examine import OFFLINE, examine
from embedding_assets.doctor.findings import Check, Report, Severity
from embedding_assets.files import replacing
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.shards import ShardState
from embedding_assets.store.index import open_index
from tests.factories import NOW
from tests.integration.world import World, a_text, notes

Rows = Callable[..., list[tuple[Any, ...]]]
Spoil = Callable[..., None]
Said = list[tuple[Check, str]]

PUT_NAN = "UPDATE vectors SET vector = x'0000c07f" + 28 * "00" + "' WHERE chunk_id = 4"


@pytest.fixture
def published(world: World) -> World:
    """A published index of two shards, with four and two requests; chunks 1 to 6."""
    small = world.changed(max_requests_per_job=4)
    small.reindex(notes(range(6)))
    return small


@pytest.fixture
def spoil(index_path: Path) -> Spoil:
    """Write to the file as a client does that knows nothing of our rules."""

    def spoilt(*statements: str) -> None:
        with closing(sqlite3.connect(index_path)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    return spoilt


def report_on(world: World, *, repair: bool = False) -> Report:
    """The doctor's report without asking Gemini."""
    return examine(world.index, world.settings, connect=None, repair=repair, now=NOW)


def said(report: Report) -> Said:
    """Each finding's check and words."""
    return [(finding.check, finding.message) for finding in report.findings]


def test_a_good_index_is_clean(published: World) -> None:
    """Nothing is said of an index that a whole reindex left."""
    assert report_on(published) == Report(findings=(), not_looked_at=OFFLINE)


def test_a_reindex_under_way_is_clean_at_every_step(world: World) -> None:
    """Planned, reserved, live, answered and collected shards are all as they should be."""
    world = world.changed(max_requests_per_job=2)
    seen = []
    generation = world.build(notes(range(6)))
    first, second, third = world.plan(generation)
    seen.append(said(report_on(world)))
    world.index.jobs.reserve(third, requests_sha256=world.write(third).sha256, now=NOW)
    world.submit(first)
    world.submit(second)
    seen.append(said(report_on(world)))
    world.poll()
    seen.append(said(report_on(world)))
    world.collect(first)
    seen.append(said(report_on(world)))
    assert seen == [[], [], [], []]


def test_an_empty_index_is_clean(world: World) -> None:
    """Nothing planned and nothing published is nothing wrong."""
    assert said(report_on(world)) == []


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        pytest.param(
            ["DELETE FROM requests WHERE chunk_id = 1"],
            [
                (
                    Check.REQUEST_COUNTS,
                    "shard 2026-11-0001 was planned with 4 requests and has 3",
                )
            ],
            id="a request is gone",
        ),
        pytest.param(
            ["UPDATE requests SET outcome = 'pending' WHERE chunk_id IN (1, 2)"],
            [
                (
                    Check.SHARD_STATES,
                    "shard 2026-11-0001 is settled, but 2 of its 4 requests have no outcome",
                )
            ],
            id="a settled shard has pending requests",
        ),
        pytest.param(
            [
                "UPDATE shards SET state = 'open' WHERE shard_id = 2",
                "UPDATE requests SET outcome = 'pending' WHERE chunk_id = 6",
            ],
            [
                (
                    Check.ATTEMPTS,
                    "shard 2026-11-0002 was collected, but 1 of its 2 requests has no outcome",
                )
            ],
            id="a collected attempt has pending requests",
        ),
        pytest.param(
            ["DELETE FROM vectors WHERE chunk_id IN (1, 5)"],
            [
                (
                    Check.EMBEDDED_REQUESTS,
                    "1 request of shard 2026-11-0001 counts as embedded, but its vector is not "
                    "there",
                ),
                (
                    Check.EMBEDDED_REQUESTS,
                    "1 request of shard 2026-11-0002 counts as embedded, but its vector is not "
                    "there",
                ),
                (
                    Check.PUBLISHED,
                    "2 of 6 chunks of the published generation of 2026-11 have neither a vector "
                    "nor a failure",
                ),
            ],
            id="vectors are gone",
        ),
        pytest.param(
            ["DELETE FROM chunks WHERE chunk_id = 6"],
            [
                (
                    Check.FOREIGN_KEYS,
                    "1 row of document_chunks refers to rows of chunks that do not exist",
                ),
                (
                    Check.FOREIGN_KEYS,
                    "1 row of requests refers to rows of chunks that do not exist",
                ),
                (
                    Check.VECTORS_WITHOUT_CHUNK,
                    "1 row of vectors refers to rows of chunks that do not exist",
                ),
            ],
            id="a chunk is gone",
        ),
        pytest.param(
            ["UPDATE batch_jobs SET state = 'levitating' WHERE shard_id = 1"],
            [
                (
                    Check.STATES,
                    "1 row of batch_jobs is in state 'levitating', which this version does not "
                    "know",
                )
            ],
            id="a job's state is unknown",
        ),
        pytest.param(
            ["UPDATE shards SET state = 'ajar'", "UPDATE generations SET state = 'pondering'"],
            [
                (
                    Check.STATES,
                    "1 row of generations is in state 'pondering', which this version does not "
                    "know",
                ),
                (
                    Check.STATES,
                    "2 rows of shards are in state 'ajar', which this version does not know",
                ),
            ],
            id="other states are unknown",
        ),
        pytest.param(
            ["UPDATE batch_jobs SET state = 'running', job_name = NULL WHERE shard_id = 2"],
            [
                (
                    Check.ATTEMPTS,
                    "attempt 1 of shard 2026-11-0002 is running, but the ledger has no name of its "
                    "job",
                ),
                (
                    Check.ATTEMPTS,
                    "attempt 1 of shard 2026-11-0002 is running, but the shard is settled",
                ),
            ],
            id="a live attempt of a settled shard, without its job's name",
        ),
        pytest.param(
            [
                "UPDATE batch_jobs SET shard_id = 1, attempt = 2, state = 'failed'"
                " WHERE shard_id = 2",
                "UPDATE batch_jobs SET state = 'succeeded' WHERE attempt = 1",
            ],
            [
                (
                    Check.ATTEMPTS,
                    "attempt 1 of shard 2026-11-0001 is succeeded, but attempt 2 came after it",
                )
            ],
            id="an older attempt has not ended",
        ),
        pytest.param(
            [
                "UPDATE batch_jobs SET shard_id = 1, attempt = 2 WHERE shard_id = 2",
                "UPDATE batch_jobs SET state = 'pending', requests_sha256 ="
                " (SELECT requests_sha256 FROM batch_jobs WHERE attempt = 1)",
                "UPDATE shards SET state = 'open' WHERE shard_id = 1",
                "UPDATE requests SET outcome = 'pending' WHERE shard_id = 1",
            ],
            [
                (
                    Check.ATTEMPTS,
                    "shard 2026-11-0001 has 2 attempts under way, one is allowed: "
                    "attempt 1 (pending), attempt 2 (pending)",
                )
            ],
            id="two live attempts",
        ),
        pytest.param(
            ["UPDATE generations SET n_chunks = 7, n_documents = 8"],
            [
                (
                    Check.PUBLISHED,
                    "the published generation of 2026-11 was made of 8 documents and 7 chunks, "
                    "it has 6 and 6",
                )
            ],
            id="the published generation has other counts",
        ),
    ],
)
def test_what_is_spoilt_is_said(
    published: World, spoil: Spoil, statements: list[str], expected: Said
) -> None:
    """Each contradiction is found, said in words, and left as it is by a repair."""
    spoil(*statements)
    assert said(report_on(published)) == expected
    report = report_on(published, repair=True)
    assert (said(report), report.n_wrong) == (expected, len(expected))
    assert said(report_on(published)) == expected


def test_what_failed_is_not_lost(world: World, spoil: Spoil) -> None:
    """A published chunk without a vector is in order if it failed, under whatever spec last."""
    world.reindex(notes(range(60)))
    spoil(
        "DELETE FROM vectors WHERE chunk_id IN (1, 2)",
        "UPDATE requests SET outcome = 'failed', error_code = 'INTERNAL', error_message = 'x'"
        " WHERE chunk_id IN (1, 2)",
    )
    assert said(report_on(world)) == []


# --- repairs ----------------------------------------------------------------------------------


def test_an_idle_shard_is_settled(published: World, spoil: Spoil) -> None:
    """A shard that is open with nothing left to do is closed, once."""
    spoil("UPDATE shards SET state = 'open' WHERE shard_id = 2")
    report = report_on(published, repair=True)
    assert said(report) == [
        (
            Check.SHARD_STATES,
            "shard 2026-11-0002 is open, but each of its 2 requests has an outcome",
        )
    ]
    assert (report.n_wrong, report.findings[0].repaired) == (0, "it is settled")
    assert published.index.shards.get("2026-11-0002").state is ShardState.SETTLED
    assert report_on(published, repair=True).findings == ()


def test_a_shard_that_got_work_meanwhile_is_not_settled(world: World) -> None:
    """Between the look and the repair somebody else may have been there."""
    [shard] = world.plan(world.build(notes(range(2))))
    assert not world.index.checkup.settle(shard.key)
    assert world.index.shards.get(shard.key).state is ShardState.OPEN


def test_the_failure_of_an_embedded_chunk_is_cleared(
    published: World, spoil: Spoil, rows: Rows
) -> None:
    """A chunk whose vector is there does not count as failed; another spec's failure stays."""
    spoil(
        "INSERT INTO specs VALUES (2, 'gemini', 'gemini-embedding-2', 8, '')",
        "UPDATE chunks SET error_spec_id = 3 - chunk_id, error_code = 'INTERNAL',"
        " error_message = 'x', attempts = 2 WHERE chunk_id IN (1, 2)",
    )
    report = report_on(published, repair=True)
    assert said(report) == [
        (Check.FAILED_CHUNKS, "1 chunk counts as failed although its vector is there")
    ]
    assert report.findings[0].repaired == "the failures of 1 chunk are cleared"
    assert rows("SELECT chunk_id, attempts FROM chunks WHERE error_message IS NOT NULL") == [(1, 2)]
    assert report_on(published).findings == ()


def test_bad_vectors_are_removed_and_bought_again(
    published: World, spoil: Spoil, rows: Rows
) -> None:
    """They are gone with the reason on record, and the next reindex buys just their texts."""
    spoil(
        "UPDATE vectors SET vector = zeroblob(32) WHERE chunk_id = 1",
        "UPDATE vectors SET vector = x'00' WHERE chunk_id = 3",
        PUT_NAN,
        "UPDATE vectors SET vector = 'not even bytes' WHERE chunk_id = 6",
    )
    expected = (
        "4 vectors must not be served: chunk 3 (1 bytes, not 32), chunk 6 (14 bytes, not 32), "
        "chunk 1 (length 0, not 1) and 1 more"
    )
    assert said(report_on(published)) == [(Check.VECTORS, expected)]
    report = report_on(published, repair=True)
    assert report.findings[0].repaired == (
        "4 vectors are removed; the next reindex buys their texts again"
    )
    assert report_on(published).findings == ()
    assert rows("SELECT chunk_id FROM vectors ORDER BY 1") == [(2,), (5,)]
    failures = published.index.published.failures(published.index.generations.published())  # type: ignore[arg-type]
    assert [(f.chunk_id, f.error_code, f.error_message, f.attempts) for f in failures] == [
        (1, "BAD_VECTOR", "the stored vector was bad: length 0, not 1", 0),
        (3, "BAD_VECTOR", "the stored vector was bad: 1 bytes, not 32", 0),
        (4, "BAD_VECTOR", "the stored vector was bad: a value that is not finite", 0),
        (6, "BAD_VECTOR", "the stored vector was bad: 14 bytes, not 32", 0),
    ]
    generation = published.build(notes(range(6)))
    assert published.missing(generation) == [a_text(n) for n in (0, 2, 3, 5)]
    for shard in published.plan(generation):
        published.submit(shard)
        published.finish(shard)
    published.publish(generation)
    assert report_on(published).findings == ()
    assert rows("SELECT count(*) FROM chunks WHERE error_message IS NOT NULL") == [(0,)]


def test_a_removed_vector_is_no_attempt(published: World, spoil: Spoil) -> None:
    """However few attempts a chunk has, a vector that was spoilt afterwards is bought again."""
    strict = published.changed(max_chunk_attempts=1)
    spoil("UPDATE vectors SET vector = zeroblob(32) WHERE chunk_id = 1")
    report_on(strict, repair=True)
    assert strict.missing(strict.build(notes(range(6)))) == [a_text(0)]


# --- files ------------------------------------------------------------------------------------


def test_a_changed_request_file_is_deleted(world: World) -> None:
    """A file that is not what its attempt was made from goes; a missing one is no harm."""
    [shard] = world.plan(world.build(notes(range(3))))
    file = world.write(shard)
    job = world.index.jobs.reserve(shard, requests_sha256=file.sha256, now=NOW)
    file.path.write_bytes(b"something else\n")
    sha256 = hashlib.sha256(b"something else\n").hexdigest()
    report = report_on(world, repair=True)
    assert said(report) == [
        (
            Check.REQUEST_FILES,
            f"{str(file.path)!r} is not what attempt 1 of shard 2026-11-0001 was made from: its "
            f"sha256 is {sha256[:16]}…, the ledger has {job.requests_sha256[:16]}…",
        )
    ]
    assert report.n_wrong == 0
    assert not file.path.exists()
    assert report_on(world).findings == ()
    assert world.submit(shard).state is JobState.PENDING


def test_the_file_of_a_finished_shard_may_be_anything(published: World) -> None:
    """Nobody reads it any more."""
    (published.settings.shards_dir / "2026-11-0001.jsonl").write_bytes(b"something else\n")
    assert report_on(published).findings == ()


DIE_WRITING = """
import os, sys
from pathlib import Path
from embedding_assets.files import replacing

with replacing(Path(sys.argv[1])) as beside:
    beside.write_bytes(b"half a li")
    os._exit(9)
"""


def left_behind(path: Path, *, age_s: float) -> Path:
    """What a process leaves that died while it wrote ``path``, some time ago."""
    subprocess.run([sys.executable, "-c", DIE_WRITING, str(path)], check=False)
    [left] = path.parent.glob(f".{path.name}.*.partial")
    os.utime(left, (NOW.timestamp() - age_s,) * 2)
    return left


def test_unfinished_files_of_dead_processes_are_deleted(world: World) -> None:
    """One of a living process, or one that was just written, stays."""
    old = left_behind(world.results_dir / "2026-11-0001-1.jsonl", age_s=3600)
    young = left_behind(world.results_dir / "2026-11-0002-1.jsonl", age_s=60)
    resumed = world.results_dir / "2026-11-0003.partial"  # of the synchronous route
    resumed.write_bytes(b"half a li")
    os.utime(resumed, (0, 0))
    with replacing(world.results_dir / "2026-11-0004-1.jsonl") as living:
        living.write_bytes(b"half a li")
        os.utime(living, (0, 0))
        [finding] = report_on(world).findings
        report_on(world, repair=True)
        left = [path.exists() for path in (old, young, resumed, living)]
    assert left == [False, True, True, True]
    assert (finding.check, finding.severity) == (Check.PARTIAL_FILES, Severity.NOTE)
    assert finding.message == f"1 unfinished file of processes that are gone: {old}"


def test_what_cannot_be_deleted_stays_a_finding(world: World) -> None:
    """A repair that fails says why, and claims nothing."""
    left = left_behind(world.results_dir / "2026-11-0001-1.jsonl", age_s=3600)
    left.unlink()
    left.mkdir()
    os.utime(left, (0, 0))
    [finding] = report_on(world, repair=True).findings
    assert finding.repaired is None
    assert finding.next_step.startswith("it could not be repaired (")


# --- the file itself --------------------------------------------------------------------------


def test_a_broken_constraint_is_found_and_nothing_else_is_done(
    published: World, spoil: Spoil
) -> None:
    """While SQLite finds fault with the file, nothing that is read of it is believed."""
    spoil(
        "UPDATE requests SET outcome = 'lost' WHERE chunk_id = 1",
        "UPDATE shards SET state = 'open' WHERE shard_id = 2",
    )
    report = report_on(published, repair=True)
    assert said(report) == [
        (
            Check.INTEGRITY,
            "SQLite finds 1 problem in the index file: CHECK constraint failed in requests",
        )
    ]
    assert report.not_looked_at == "the ledger cannot be trusted while the index file is broken"
    assert published.index.shards.get("2026-11-0002").state is ShardState.OPEN


def test_a_garbled_page_is_found(published: World, index_path: Path, tmp_path: Path) -> None:
    """A file that a bad disk changed is reported, not a traceback."""
    with closing(sqlite3.connect(index_path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = tmp_path / "copy.db"
    shutil.copyfile(index_path, copy)
    with copy.open("r+b") as file:
        for page in range(8, 20):
            file.seek(page * 16_384)
            file.write(b"\xa5" * 16_384)
    with open_index(copy) as index:
        report = examine(index, published.settings, connect=None, repair=True, now=NOW)
    assert [finding.check for finding in report.findings] == [Check.INTEGRITY]
    assert report.n_wrong == 1
