"""The door for applications: it only reads, follows what is published, and never mixes two."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_assets import IndexReader, open_index
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.errors import (
    DatabaseDamagedError,
    EmbeddingAssetsError,
    IndexMissingError,
    IndexSchemaError,
    SettingsError,
    StorageError,
)
from embedding_assets.model.generations import Generation
from embedding_assets.reader.search import Hit, search
from embedding_assets.settings.values import Gemini
from embedding_assets.store.database import Database
from embedding_assets.store.schema import SCHEMA_VERSION, throttles
from tests.factories import NOW, SPEC
from tests.integration.world import World, a_text, documents, notes

Rows = Callable[..., list[tuple[Any, ...]]]

ROOT = Path(__file__).parents[2]
QUERY = [float(n) for n in range(1, SPEC.dimensions + 1)]
# Vectors of other lengths, and of the same length: neither may ever meet the published ones.
OTHER_SPECS = [replace(SPEC, dimensions=16), replace(SPEC, task_type="CLUSTERING")]


@pytest.fixture(params=[True, False], ids=["resident", "scanning"])
def reader(
    request: pytest.FixtureRequest, world: World, base_url: str, index_path: Path
) -> Iterator[IndexReader]:
    """A reader of the world's index, with a running emulator to ask."""
    announce(world, base_url)
    with open_index(index_path, resident=request.param) as opened:
        yield opened


def announce(world: World, base_url: str) -> None:
    """Say beside the index where the emulator is, as a running one does."""
    file = world.settings.emulator_address_file
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"base_url": base_url, "pid": os.getpid()}), encoding="utf-8")


def marked(mark: str, n: int) -> dict[str, str]:
    """Texts that all say which generation they belong to."""
    return {f"{mark}/{number}.md": f"{mark}: {a_text(number)}" for number in range(n)}


def serve(path: Path, generation: Generation) -> None:
    """Publish a generation that was built before, in whatever order."""
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute("UPDATE generations SET state = 'retired' WHERE state = 'published'")
        connection.execute(
            "UPDATE generations SET state = 'published', published_at = ? WHERE generation_id = ?",
            (NOW.isoformat(), generation.generation_id),
        )


def uris(reader: IndexReader, **options: Any) -> list[str]:
    """Of everything that a search for some vector finds, or of the ``k`` nearest."""
    query = np.ones(reader.spec.dimensions)
    return [hit.uri for hit in reader.search(query, **{"k": 1000, **options})]


def are_alike(some: list[Hit], others: list[Hit]) -> bool:
    """The same chunks with the same scores, but for the last digit: additions may be reordered."""
    return [replace(hit, score=0.0) for hit in some] == [
        replace(hit, score=0.0) for hit in others
    ] and np.allclose([hit.score for hit in some], [hit.score for hit in others])


# --- what is found --------------------------------------------------------------------------


def test_a_text_finds_what_the_command_finds(reader: IndexReader, world: World) -> None:
    """A text is embedded and the nearest chunks come as from ``embedding-assets search``."""
    world.reindex(notes(range(20)))
    hits = reader.search(a_text(7), k=3)
    assert hits[0].text == a_text(7)
    assert are_alike(hits, search(world.index, world.gemini, a_text(7), k=3))


@pytest.mark.parametrize("form", [list, tuple, np.array, lambda values: np.float32(values) * 7])
def test_a_vector_of_any_length_finds_its_chunk(
    reader: IndexReader, world: World, rows: Rows, form: Callable[[Any], Any]
) -> None:
    """A published vector, in whatever form and scale, has similarity 1 with itself."""
    world.reindex(notes(range(20)))
    for uri, stored in rows("SELECT uri, vector FROM published_chunks LIMIT 5"):
        [hit] = reader.search(form(np.frombuffer(stored, "<f4").tolist()), k=1)
        assert hit.uri == uri
        assert hit.score == pytest.approx(1)


def test_a_vector_asks_nobody(world: World, index_path: Path) -> None:
    """Without an emulator or a key one can search with vectors, five hits unless told."""
    world.reindex(notes(range(9)))
    with open_index(str(index_path)) as reader:
        hits = reader.search(QUERY)
        assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
        with pytest.raises(SettingsError, match=r"no emulator is running beside .* vector"):
            reader.search("naming")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"uri": "guide/*"}, ["guide/a.md", "guide/b.md"]),
        ({"text": "*rotate*"}, ["api/b.md", "guide/b.md"]),
        ({"uri": "guide/*", "text": "*rotate*"}, ["guide/b.md"]),
        ({"title": "gzip", "uri": "api/[a].md"}, ["api/a.md"]),
        ({"title": "GZIP"}, []),
        ({}, ["api/a.md", "api/b.md", "guide/b.md"]),
    ],
)
def test_where_narrows_a_search_down_to_places(
    reader: IndexReader, world: World, where: dict[str, str], expected: list[str]
) -> None:
    """Only places that match every pattern are found, and a matching one is shown."""
    texts = {
        "api/a.md": "the same",
        "api/b.md": "rotate the log",
        "guide/a.md": "the same",
        "guide/b.md": "rotate a key",
    }
    world.reindex(documents(texts))
    assert sorted(uris(reader, where=where)) == expected


def test_where_does_not_cost_hits(reader: IndexReader, world: World) -> None:
    """The nearest of those that match are found, however many others are nearer."""
    world.reindex(documents({**marked("a", 30), **marked("b", 3)}))
    everything = uris(reader)
    assert uris(reader, k=2, where={"uri": "b/*"}) == [u for u in everything if u[0] == "b"][:2]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ([1.0, 2.0], "a vector of 2 values came, 8 were asked for; expected a text, or 8 finite"),
        ([[1.0] * 8], "expected a text, or 8 finite numbers"),
        ([float("nan")] * 8, "not a finite number"),
        ([float("inf")] + [0.0] * 7, "not a finite number"),
        ([0.0] * 8, "the vector is zero"),
        (["one"] * 8, "could not convert string"),
        (None, "the query cannot be used"),
        ("  ", "the query is empty; say what to look for"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(
    reader: IndexReader, world: World, query: Any, complaint: str
) -> None:
    """What cannot be compared with the published vectors is an error that says what can."""
    world.reindex(notes(range(2)))
    with pytest.raises(SettingsError, match=complaint):
        reader.search(query)


def test_options_that_make_no_sense_are_refused(reader: IndexReader, world: World) -> None:
    """A filter that is none and a k below 1 are named, before Gemini is paid for a vector."""
    world.reindex(notes(range(2)))
    world.strike(FaultKind.CALL_ERROR, status=500)
    with pytest.raises(SettingsError, match="where has '' with 'guide/', expected one of 'uri', "):
        reader.search("naming", where={"uri": "*", "": "guide/"})
    with pytest.raises(SettingsError, match="not understood at character 7: expected '=' or '!='"):
        reader.search("naming", where="title ~ naming")
    with pytest.raises(SettingsError, match="k is 0, expected 1 or more"):
        reader.search("naming", k=0)


# --- what is published now ------------------------------------------------------------------


def test_a_reader_says_what_is_published(reader: IndexReader, world: World) -> None:
    """Count, spec and generation are those of this moment; a failed chunk does not count."""
    first = world.reindex(notes(range(5)))
    assert (reader.count, reader.spec) == (5, SPEC)
    assert reader.generation.generation_id == first.generation_id
    world.strike(FaultKind.ERROR_LINE, match="Note 2 ", code=3)
    second = world.embed_all(notes(range(1, 9)), spec=OTHER_SPECS[0])
    world.index.generations.publish(second, now=NOW)
    assert (reader.count, reader.spec) == (7, OTHER_SPECS[0])
    assert reader.generation.generation_id == second.generation_id


def test_before_the_first_publication_a_reader_waits(reader: IndexReader, world: World) -> None:
    """An index in which nothing is published can be opened; searches find it once there is."""
    with pytest.raises(IndexMissingError, match="nothing is published"):
        reader.search(QUERY)
    with pytest.raises(IndexMissingError, match="nothing is published"):
        _ = reader.count
    world.reindex(notes(range(3)))
    assert len(uris(reader)) == 3


def test_a_reader_follows_publications_and_rollbacks(
    reader: IndexReader, world: World, index_path: Path
) -> None:
    """The next search sees what was published, forwards and back, without opening again."""
    old = world.reindex(documents(marked("old", 4)))
    assert {uri[:3] for uri in uris(reader)} == {"old"}
    new = world.embed_all(documents(marked("new", 5)))
    assert {uri[:3] for uri in uris(reader)} == {"old"}
    for generation, mark, n in [(new, "new", 5), (old, "old", 4), (new, "new", 5)]:
        serve(index_path, generation)
        assert [uri[:3] for uri in uris(reader)] == [mark] * n


def test_vectors_that_come_and_go_after_publication_are_seen(
    reader: IndexReader, world: World, index_path: Path
) -> None:
    """A vector that is removed, or bought late, changes the next search."""
    world.reindex(notes(range(4)))
    everything = uris(reader)
    with closing(sqlite3.connect(index_path)) as other, other:
        [kept] = other.execute("SELECT * FROM vectors WHERE chunk_id = 2").fetchall()
        other.execute("DELETE FROM vectors WHERE chunk_id = 2")
    assert (len(uris(reader)), reader.count) == (3, 3)
    with closing(sqlite3.connect(index_path)) as other, other:
        other.execute("INSERT INTO vectors VALUES (?, ?, ?)", kept)
    assert (uris(reader), reader.count) == (everything, 4)


@pytest.mark.parametrize("spec", OTHER_SPECS)
def test_a_query_is_embedded_as_the_published_vectors_were(
    reader: IndexReader, world: World, spec: Any
) -> None:
    """Settings that ask for another spec change nothing until its generation is published."""
    world.reindex(notes(range(6)))
    later = world.embed_all(notes(range(6)), spec=spec)
    assert reader.search(a_text(3), k=1)[0].score == pytest.approx(1)
    world.index.generations.publish(later, now=NOW)
    assert reader.search(a_text(3), k=1)[0].text == a_text(3)
    assert reader.spec == spec


class Overtaken(str):
    """A query that takes so long to embed that something is published meanwhile."""

    publish: Callable[[], None]

    def strip(self, *_: Any) -> str:
        self.publish()
        return super().strip()


@pytest.mark.parametrize("spec", OTHER_SPECS)
def test_a_query_that_is_overtaken_is_embedded_again(
    reader: IndexReader, world: World, index_path: Path, spec: Any
) -> None:
    """A vector made for one spec is never compared with those of the next one."""
    world.reindex(documents(marked("old", 6)))
    new = world.embed_all(documents(marked("new", 6)), spec=spec)
    query = Overtaken(marked("new", 6)["new/3.md"])
    query.publish = lambda: serve(index_path, new)
    hits = reader.search(query, k=6)
    assert hits[0].uri == "new/3.md"
    assert are_alike(hits, reader.search(str(query), k=6))


# --- many threads ---------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, OTHER_SPECS[1]])
def test_every_answer_is_of_one_generation(
    reader: IndexReader, world: World, index_path: Path, spec: Any
) -> None:
    """Searches that go on while one generation after the other is published never mix two."""
    generations = [world.reindex(documents(marked("one", 40)))]
    generations.append(world.embed_all(documents(marked("two", 60)), spec=spec))
    is_over = threading.Event()
    answers: set[tuple[str, ...]] = set()

    def search_on() -> None:
        while not is_over.is_set():
            answers.add(tuple(sorted(hit.uri for hit in reader.search(QUERY, k=100))))

    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(search_on) for _ in range(4)]
        try:
            for turn in range(60):
                serve(index_path, generations[(turn + 1) % 2])
                is_over.wait(0.01)
        finally:
            is_over.set()
        for done in searches:
            done.result()
    assert answers == {tuple(sorted(marked("one", 40))), tuple(sorted(marked("two", 60)))}


def test_threads_that_search_first_load_once(world: World, index_path: Path) -> None:
    """However many search at the same moment, they share one matrix."""
    world.reindex(notes(range(50)))
    start = threading.Barrier(20)
    with open_index(index_path) as reader, ThreadPoolExecutor(20) as pool:

        def search_together(_: int) -> tuple[list[str], int]:
            start.wait()
            return uris(reader), id(loaded(reader))

        answers = list(pool.map(search_together, range(20)))
    assert all(answer == answers[0] for answer in answers)


def loaded(reader: IndexReader) -> Any:
    """What the reader keeps in memory."""
    assert reader._file.matrix is not None
    return reader._file.matrix._loaded


@contextmanager
def somebody_loads(reader: IndexReader) -> Iterator[None]:
    """As long as a thread reads the vectors of another generation."""
    assert reader._file.matrix is not None
    with reader._file.matrix._loading:
        yield


def test_while_one_thread_loads_others_go_on_with_what_there_was(
    world: World, index_path: Path
) -> None:
    """Nobody waits for the next generation's vectors but who loads them."""
    world.reindex(documents(marked("old", 4)))
    new = world.embed_all(documents(marked("new", 5)))
    with open_index(index_path) as reader:
        before = uris(reader)
        serve(index_path, new)
        with somebody_loads(reader):
            assert uris(reader) == before
        assert {uri[:3] for uri in uris(reader)} == {"new"}


@pytest.mark.parametrize("gone", ["spec", "members"])
def test_what_there_was_is_not_used_if_it_cannot_be(
    world: World, index_path: Path, gone: str
) -> None:
    """Vectors of another spec, or of a removed generation, are waited for."""
    old = world.reindex(documents(marked("old", 4)))
    spec = OTHER_SPECS[1] if gone == "spec" else SPEC
    new = world.embed_all(documents(marked("new", 5)), spec=spec)
    with open_index(index_path) as reader, ThreadPoolExecutor(1) as pool:
        uris(reader)
        serve(index_path, new)
        if gone == "members":
            with closing(sqlite3.connect(index_path)) as other, other:
                number = (old.generation_id,)
                other.execute(
                    "UPDATE generations SET state = 'removed' WHERE generation_id = ?", number
                )
                other.execute("DELETE FROM generation_documents WHERE generation_id = ?", number)
        with somebody_loads(reader):
            answer = pool.submit(uris, reader)
            with pytest.raises(TimeoutError):
                answer.result(0.1)
        assert {uri[:3] for uri in answer.result()} == {"new"}


def test_other_writes_do_not_load_anything_anew(world: World, index_path: Path) -> None:
    """The ledger's rows, and what is built beside, leave the matrix in memory alone."""
    world.reindex(notes(range(5)))
    with open_index(index_path) as reader:
        uris(reader)
        before = loaded(reader)
        world.embed_all(notes(range(10)))
        uris(reader)
        assert loaded(reader) is before


# --- a file that is replaced ----------------------------------------------------------------


def another_index(path: Path, index_path: Path, marks: str) -> Path:
    """A copy of an index in which every uri begins otherwise, and no vector is the same."""
    with closing(sqlite3.connect(index_path)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
        with copy:
            copy.execute("UPDATE documents SET uri = ? || uri", (marks,))
            rows = copy.execute("SELECT rowid, vector FROM vectors").fetchall()
            rolled = [(vector[4:] + vector[:4], rowid) for rowid, vector in rows]
            copy.executemany("UPDATE vectors SET vector = ? WHERE rowid = ?", rolled)
    return path


@pytest.fixture
def quiet(world: World, index_path: Path, tmp_path: Path) -> Path:
    """A published index that nobody has open."""
    world.reindex(notes(range(5)))
    (tmp_path / "quiet").mkdir()
    return another_index(tmp_path / "quiet" / "index.db", index_path, "old/")


@pytest.mark.parametrize("resident", [True, False])
def test_a_file_that_is_replaced_is_noticed(
    quiet: Path, index_path: Path, tmp_path: Path, resident: bool
) -> None:
    """The next search is of what stands there now, its vectors too, as often as that happens."""
    with open_index(quiet, resident=resident) as reader:
        before = reader.search(QUERY)
        for n in range(3):
            other = another_index(tmp_path / f"{n}.db", quiet, f"{n}/")
            other.replace(quiet)
            with open_index(quiet) as fresh:
                expected = fresh.search(QUERY)
            found = reader.search(QUERY)
            assert are_alike(found, expected)
            assert all(hit.uri.startswith(f"{n}/") for hit in found)
            assert [hit.score for hit in found] != [hit.score for hit in before]


@pytest.mark.parametrize("resident", [True, False])
def test_a_file_that_is_gone_is_not_read(quiet: Path, tmp_path: Path, resident: bool) -> None:
    """A reader says so until there is a file again."""
    with open_index(quiet, resident=resident) as reader:
        before = reader.search(QUERY)
        quiet.rename(tmp_path / "elsewhere.db")
        for _ in range(2):
            with pytest.raises(IndexMissingError, match=r"there is no index at .*/index\.db'"):
                reader.search(QUERY)
        (tmp_path / "elsewhere.db").rename(quiet)
        assert reader.search(QUERY) == before


def test_what_takes_its_place_is_looked_at_like_any_file(quiet: Path, tmp_path: Path) -> None:
    """It may be of another version, or no index at all; the reader goes on when it is one again."""
    kept = tmp_path / "kept.db"
    kept.write_bytes(quiet.read_bytes())
    with open_index(quiet) as reader:
        other = tmp_path / "other.db"
        other.write_text("a text, and no database " * 100)
        other.replace(quiet)
        with pytest.raises(IndexSchemaError, match="cannot be used: file is not a database"):
            reader.search(QUERY)
        kept.replace(quiet)
        assert len(reader.search(QUERY)) == 5


def test_a_log_of_the_file_before_is_not_read_into_its_successor(
    quiet: Path, tmp_path: Path
) -> None:
    """SQLite cannot tell whose changes are in it."""
    other = another_index(tmp_path / "other.db", quiet, "new/")
    with open_index(quiet) as reader:
        with closing(sqlite3.connect(quiet)) as writer, writer:
            writer.execute("UPDATE documents SET uri = 'changed/' || uri")
        assert all(hit.uri.startswith("changed/") for hit in reader.search(QUERY))
        log = quiet.with_name("index.db-wal")
        assert log.stat().st_size > 0
        quiet.unlink()
        with pytest.raises(IndexMissingError, match="there is no index at"):
            reader.search(QUERY)
        other.replace(quiet)
        with pytest.raises(
            StorageError, match=r"was replaced while .*index\.db-wal' is of the fil"
        ):
            reader.search(QUERY)
        for name in ("-wal", "-shm"):
            quiet.with_name(f"index.db{name}").unlink()
        assert all(hit.uri.startswith("new/") for hit in reader.search(QUERY))


# --- only reading ---------------------------------------------------------------------------


def test_a_writer_and_a_reader_do_not_wait_for_each_other(
    reader: IndexReader, world: World, index_path: Path
) -> None:
    """A long transaction does not hold back searches, nor a search a transaction."""
    world.reindex(notes(range(3)))
    with closing(sqlite3.connect(index_path, timeout=0)) as writer, writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM vectors")
        assert len(uris(reader)) == 3
    with reader._view() as (view, _):
        assert view.vector_set().n_vectors == 0
        with closing(sqlite3.connect(index_path, timeout=0)) as writer, writer:
            writer.execute("UPDATE generations SET state = 'retired'")
        assert view.generation.generation_id == 1


def test_a_reader_changes_nothing(reader: IndexReader, world: World, index_path: Path) -> None:
    """The file's bytes are the same after searches."""
    world.reindex(notes(range(3)))
    with closing(sqlite3.connect(index_path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = index_path.read_bytes()
    assert len(uris(reader)) == reader.count == len(reader.search("naming")) == 3
    assert index_path.read_bytes() == before


def test_what_is_opened_to_be_read_cannot_be_written(world: World, index_path: Path) -> None:
    """SQLite itself refuses a write, whoever tries."""
    database = Database(index_path, read_only=True)
    try:
        with pytest.raises(StorageError, match="readonly database"), database.write() as writer:
            writer.execute(throttles.insert(), {"provider": "p", "model": "m", "n_refusals": 1})
    finally:
        database.close()


def test_a_missing_index_is_not_made(tmp_path: Path) -> None:
    """Opening what is not there says so and leaves nothing behind."""
    with pytest.raises(IndexMissingError, match=r"no index at '.*/index\.db'; run"):
        open_index(tmp_path / "index.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(DatabaseDamagedError, match="holds no index; put a backup"):
        open_index(tmp_path / "empty.db")
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]


@pytest.mark.parametrize(
    ("version", "step"),
    [
        (SCHEMA_VERSION - 1, "run any `embedding-assets` command once to bring it up to date"),
        (SCHEMA_VERSION + 1, "use the version that wrote it"),
    ],
)
def test_an_index_of_another_version_is_left_alone(
    world: World, index_path: Path, version: int, step: str
) -> None:
    """An application neither upgrades an index nor reads one that it does not understand."""
    with closing(sqlite3.connect(index_path)) as other:
        other.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(IndexSchemaError, match=f"has schema version {version}, .*{step}"):
            open_index(index_path)
        assert other.execute("PRAGMA user_version").fetchone() == (version,)


def test_a_path_is_taken_as_it_is(world: World, index_path: Path, tmp_path: Path) -> None:
    """No character of a file's name means anything to SQLite."""
    world.reindex(notes(range(2)))
    path = tmp_path / "50% off? #1 mode=rw.db"
    with closing(sqlite3.connect(index_path)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
    with open_index(path) as reader:
        assert reader.count == 2


def test_a_closed_reader_says_so(world: World, index_path: Path) -> None:
    """A search after the end is a mistake in the application."""
    world.reindex(notes(range(2)))
    with open_index(index_path) as reader:
        uris(reader)
    with pytest.raises(ValueError, match="this reader is closed"):
        reader.search(QUERY)


# A process that may write nothing beside the index, and does what it is told line by line.
UNPRIVILEGED = """
import os, sys
from embedding_assets import open_index
from embedding_assets.errors import EmbeddingAssetsError

with open_index(sys.argv[1]) as warm_up:  # what is imported late is imported now
    warm_up.search([1.0] * 8)
if os.geteuid() == 0:
    os.seteuid(65534)
for line in sys.stdin:
    try:
        if line == "open\\n":
            reader = open_index(sys.argv[2])
        elif line == "read long\\n":
            with reader._view() as (view, _):
                print("reading", flush=True)
                sys.stdin.readline()
        print(len(reader.search([1.0] * 8, k=100)), flush=True)
    except EmbeddingAssetsError as exc:
        print(exc, flush=True)
"""


@pytest.fixture
def unwritable(world: World, index_path: Path) -> Iterator[Path]:
    """The published index, copied to a directory that only root may write to."""
    world.reindex(notes(range(4)))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "index.db"
        with closing(sqlite3.connect(index_path)) as source, closing(sqlite3.connect(path)) as copy:
            source.backup(copy)
        Path(directory).chmod(0o555)
        yield path
        Path(directory).chmod(0o755)


@pytest.fixture
def unprivileged(unwritable: Path, index_path: Path) -> Iterator[Callable[[str], str]]:
    """Tell a process without rights to do something; its answer."""
    process = subprocess.Popen(
        [sys.executable, "-c", UNPRIVILEGED, str(index_path), str(unwritable)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def told(line: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    yield told
    process.communicate(timeout=30)


def change(path: Path) -> None:
    """Remove a vector; in the end the file alone is everything there is, as after any writer."""
    with closing(sqlite3.connect(path)) as writer, writer:
        writer.execute("DELETE FROM vectors WHERE rowid = (SELECT max(rowid) FROM vectors)")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write where others cannot")
def test_an_index_can_be_read_where_nothing_can_be_written(
    unwritable: Path, unprivileged: Callable[[str], str]
) -> None:
    """A reader without rights follows what others write, and keeps nothing of it by mistake."""
    assert unprivileged("open") == "4"
    assert os.listdir(unwritable.parent) == ["index.db"]
    change(unwritable)
    assert unprivileged("search") == "3"
    assert unprivileged("read long") == "reading"
    change(unwritable)
    assert "was written while it was read; try again" in unprivileged("go on")
    assert unprivileged("search") == "2"
    with closing(sqlite3.connect(unwritable)) as writer, writer:
        writer.execute("DELETE FROM vectors")
        assert unprivileged("search") == "2"
        writer.commit()
        assert unprivileged("search") == "0"


# --- whom it asks ---------------------------------------------------------------------------


def test_the_emulators_vectors_are_searched_with_the_emulator(
    reader: IndexReader, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key in the environment is not used where Google could not answer."""
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    world.reindex(notes(range(3)))
    assert reader.search(a_text(1), k=1)[0].text == a_text(1)


def test_an_address_can_be_given(world: World, base_url: str, index_path: Path) -> None:
    """The settings of Gemini say whom to ask, if somebody else than usual."""
    world.reindex(notes(range(3)))
    with open_index(index_path, gemini=Gemini(base_url=base_url)) as reader:
        assert reader.search(a_text(1), k=1)[0].text == a_text(1)


def test_googles_vectors_need_a_key(reader: IndexReader, world: World, index_path: Path) -> None:
    """Without a key one is told so, though an emulator is running."""
    world.reindex(notes(range(3)))
    with closing(sqlite3.connect(index_path)) as other, other:
        other.execute("UPDATE specs SET provider = 'gemini'")
    with pytest.raises(SettingsError, match="come from 'gemini' and GEMINI_API_KEY is not set"):
        reader.search("naming")
    assert len(reader.search(QUERY)) == 3


# --- importing it, and the README -----------------------------------------------------------


def test_importing_the_package_costs_nothing() -> None:
    """numpy and SQLAlchemy are loaded when the door is asked for."""
    program = (
        "import sys, embedding_assets\n"
        "heavy = {'numpy', 'sqlalchemy', 'dagster', 'google.genai'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "from embedding_assets import *\n"
        "modules = {open_index.__module__, IndexReader.__module__}\n"
        "assert modules == {'embedding_assets.reader.reader'}\n"
        "assert SourceDocument.__module__ == 'embedding_assets.corpus.given'\n"
        "assert heavy & set(sys.modules) == {'numpy', 'sqlalchemy'}\n"
        "assert not hasattr(embedding_assets, 'open_door')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_the_command_line_costs_little() -> None:
    """``--help`` needs none of what the commands load."""
    program = (
        "import sys, embedding_assets.cli.app\n"
        "heavy = {'numpy', 'sqlalchemy', 'dagster', 'google.genai'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def _examples() -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Use it from your application\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize(("number", "n_lines"), [(0, 4), (1, 3), (2, 3)])
def test_the_examples_of_the_readme_work(
    world: World,
    base_url: str,
    index_path: Path,
    capsys: pytest.CaptureFixture[str],
    number: int,
    n_lines: int,
) -> None:
    """Every example prints what it promises, with another index in place of the demo's."""
    announce(world, base_url)
    world.reindex(documents({f"docs/{n}zip.md": a_text(n) for n in range(5)}))
    examples = _examples()
    assert len(examples) == 3
    assert "data/demo/index.db" in examples[number]
    exec(examples[number].replace("data/demo/index.db", str(index_path)), {})
    assert len(capsys.readouterr().out.splitlines()) == n_lines


def test_every_error_of_a_reader_is_one_of_ours(reader: IndexReader) -> None:
    """An application can catch them all by the root of the tree."""
    with pytest.raises(EmbeddingAssetsError):
        reader.search(QUERY)
