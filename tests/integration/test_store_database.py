"""The index file: created once, opened carefully, written by one at a time, read by all."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from embedding_assets.errors import DatabaseDamagedError, IndexMissingError, IndexSchemaError
from embedding_assets.store.database import Database
from embedding_assets.store.index import open_index
from embedding_assets.store.schema import SCHEMA_VERSION, throttles
from tests.factories import NOW, SPEC
from tests.integration.statements import listening
from tests.integration.world import World, a_book, notes

Rows = Callable[..., list[tuple[Any, ...]]]

VERSION_1 = Path(__file__).parent / "schemas" / "version_1.sql"


def created(path: Path) -> str:
    """Create or open an index; its random id."""
    database = Database(path, create=True)
    try:
        return database.index_id
    finally:
        database.close()


def test_a_new_index_has_large_pages_and_a_write_ahead_log(index_path: Path, rows: Rows) -> None:
    """A new file has pages of 16 KiB, a write-ahead log and the schema's version."""
    created(index_path)
    assert rows("PRAGMA page_size") == [(16384,)]
    assert rows("PRAGMA journal_mode") == [("wal",)]
    assert rows("PRAGMA auto_vacuum") == [(2,)]
    assert rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_foreign_keys_are_enforced(index_path: Path) -> None:
    """Our own connections refuse a row that refers to nothing."""
    database = Database(index_path, create=True)
    try:
        with pytest.raises(sa.exc.IntegrityError, match="FOREIGN KEY"), database.write() as writer:
            writer.exec_driver_sql("INSERT INTO generation_documents VALUES (1, 1, NULL)")
    finally:
        database.close()


def test_opening_an_index_again_keeps_its_id(index_path: Path) -> None:
    """The id that tells this index's remote jobs from another's is made once."""
    assert created(index_path) == created(index_path)


def test_published_chunks_can_be_read_with_plain_sqlite(world: World, rows: Rows) -> None:
    """The view gives any SQLite client the published texts, their places and their vectors."""
    world.reindex(notes(range(4)))
    found = rows("select uri, position, length(text), length(vector) from published_chunks limit 3")
    assert found == [(f"notes/{n:04d}.md", 0, 66, 32) for n in range(3)]


def test_one_look_sees_one_state(world: World, index_path: Path) -> None:
    """What another process commits meanwhile is not seen before the look is over."""
    world.reindex(notes(range(4)))
    with world.index.one_look():
        before = world.index.generations.all()
        with open_index(index_path) as other:
            draft = other.generations.draft(month="2026-12", spec=SPEC, chunker="", now=NOW)
            listed = other.generations.seal(draft)
        assert world.index.generations.all() == before
    assert world.index.generations.all() == [*before, listed]


def test_one_look_is_one_transaction(world: World, index_path: Path) -> None:
    """However much is read in it, the file is asked for one state once."""
    with listening() as heard, world.index.one_look():
        world.index.jobs.ledger()
        world.index.generations.all()
    assert [statement for statement, _ in heard.executed].count("BEGIN") == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Opening an index that is not there says so and makes none."""
    with pytest.raises(IndexMissingError, match=r"no index at '.*/index\.db'; run"):
        Database(tmp_path / "index.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("create", [False, True])
def test_an_empty_file_holds_no_index_and_stays_empty(tmp_path: Path, create: bool) -> None:
    """An empty file is what is left of an index, for we make none: it is not written over."""
    path = tmp_path / "index.db"
    path.touch()
    with pytest.raises(
        DatabaseDamagedError, match="holds no index; put a backup of it in its place"
    ):
        Database(path, create=create)
    assert os.listdir(tmp_path) == ["index.db"]
    assert path.stat().st_size == 0


@pytest.mark.parametrize("create", [False, True])
def test_a_database_without_tables_holds_no_index(tmp_path: Path, create: bool) -> None:
    """It has a header and nothing else; it is not written over either."""
    path = tmp_path / "index.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = WAL")
    before = path.read_bytes()
    assert before
    with pytest.raises(
        DatabaseDamagedError, match="holds no index; put a backup of it in its place"
    ):
        Database(path, create=create)
    assert path.read_bytes() == before


def test_a_creation_that_was_killed_is_no_obstacle_to_the_next(tmp_path: Path) -> None:
    """An index appears whole or not at all, whenever its making ends."""
    path = tmp_path / "index.db"
    program = (
        "import os, sys; from pathlib import Path; from sqlalchemy import event\n"
        "from embedding_assets.store.database import Database\n"
        "from embedding_assets.store.schema import metadata\n"
        "event.listen(metadata, 'after_create', lambda *_, **__: os.kill(os.getpid(), 9))\n"
        "Database(Path(sys.argv[1]), create=True)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not path.exists()
    assert created(path)


def test_what_is_left_of_a_log_is_not_written_into_a_new_index(tmp_path: Path) -> None:
    """SQLite would take the changes of an index that is gone for those of the new one."""
    path = tmp_path / "index.db"
    log = tmp_path / "index.db-wal"
    log.write_bytes(b"\x37\x7f\x06\x82" + b"\0" * 28)
    with pytest.raises(DatabaseDamagedError, match=r"index\.db-wal' is left of an index that is"):
        Database(path, create=True)
    assert not path.exists()
    log.unlink()
    assert created(path)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_log_that_is_none_is_not_taken_for_an_empty_one(
    world: World, index_path: Path, tmp_path: Path, read_only: bool
) -> None:
    """SQLite would drop it, with the changes that it had, and say nothing."""
    world.reindex(notes(range(2)))
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(index_path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    log = tmp_path / "copy.db-wal"
    log.write_bytes(b"garbage" * 1000)
    with pytest.raises(DatabaseDamagedError, match=r"copy\.db-wal' is damaged: it is no write-ahe"):
        Database(copy, read_only=read_only)
    assert log.read_bytes() == b"garbage" * 1000
    log.write_bytes(b"\0" * 1000)  # of a power cut: nothing was committed
    Database(copy, read_only=read_only).close()


@pytest.mark.parametrize("create", [False, True])
def test_a_directory_in_its_place_is_named(tmp_path: Path, create: bool) -> None:
    """What is no file is neither an index nor the place for one."""
    path = tmp_path / "index.db"
    path.mkdir()
    with pytest.raises(IndexSchemaError, match=r"index\.db' is no file; put a backup"):
        Database(path, create=create)


def test_a_text_that_is_no_text_is_damage(world: World, index_path: Path) -> None:
    """The driver's complaint would quote all of it."""
    world.reindex(notes(range(2)))
    with closing(sqlite3.connect(index_path)) as other, other:
        other.execute("UPDATE documents SET uri = CAST(x'80ff6869' AS TEXT)")
    with (
        pytest.raises(DatabaseDamagedError, match="is damaged: a text in it is no UTF-8; put"),
        world.index.database.read() as reader,
    ):
        reader.exec_driver_sql("SELECT uri FROM documents").all()


@pytest.mark.parametrize("create", [False, True])
def test_a_file_that_is_not_sqlite_is_refused(tmp_path: Path, create: bool) -> None:
    """A file of another kind is named, and not touched."""
    path = tmp_path / "index.db"
    path.write_text("This is a text, and a rather long one for what it says. " * 20)
    before = path.read_bytes()
    with pytest.raises(IndexSchemaError, match=r"index\.db' cannot be used: file is not a data"):
        Database(path, create=create)
    assert path.read_bytes() == before


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("version", range(SCHEMA_VERSION + 2))
def test_another_programs_database_is_refused_and_not_changed(
    tmp_path: Path, create: bool, version: int
) -> None:
    """A database of another schema version, or of another program, is left as it is."""
    path = tmp_path / "index.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name)")
        other.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    wanted = f"has schema version {version}, this version of .* knows {SCHEMA_VERSION}"
    with pytest.raises(IndexSchemaError, match=wanted):
        Database(path, create=create)
    assert path.read_bytes() == before


def test_an_index_of_an_earlier_version_is_brought_up_to_date(
    tmp_path: Path, index_path: Path
) -> None:
    """What an earlier version wrote is kept, and has the tables of a new file from then on."""
    old, new = tmp_path / "old.db", index_path
    created(new)
    with closing(sqlite3.connect(old)) as writer:
        writer.executescript(VERSION_1.read_text(encoding="utf-8"))
    assert created(old) == "1a2b3c4d"
    assert columns_of(old) == columns_of(new)


@pytest.mark.parametrize(
    ("providers", "kept"),
    [
        (("emulator", "gemini"), "gemini"),
        (("emulator",), "emulator"),
        (("gemini",), "gemini"),
        ((), None),
    ],
)
def test_refusals_of_an_earlier_version_are_those_of_whoever_has_the_model(
    index_path: Path, rows: Rows, providers: tuple[str, ...], kept: str | None
) -> None:
    """What was learnt by model alone is Google's if its model is in use, else the emulator's."""
    index_path.parent.mkdir()
    with closing(sqlite3.connect(index_path)) as writer, writer:
        writer.executescript(VERSION_1.read_text(encoding="utf-8"))
        specs = [(provider, "m", n, "") for provider in providers for n in (8, 16)]
        insert = "INSERT INTO specs (provider, model, dimensions, task_type) VALUES (?, ?, ?, ?)"
        writer.executemany(insert, specs)
        writer.execute("INSERT INTO throttles VALUES ('m', '2026-11-23T03:02:00+00:00', 2, 500)")
    created(index_path)
    learnt = ("m", "2026-11-23T03:02:00+00:00", 2, 500, "tokens", "")
    assert rows("SELECT * FROM throttles") == ([(kept, *learnt)] if kept else [])


def columns_of(path: Path) -> set[tuple[Any, ...]]:
    """Every column of every table with its type and constraints, and the schema's version."""
    query = (
        'SELECT m.name, p.name, p.type, p."notnull", p.dflt_value, p.pk, v.user_version'
        " FROM sqlite_schema AS m, pragma_table_info(m.name) AS p, pragma_user_version AS v"
    )
    with closing(sqlite3.connect(path)) as connection:
        return set(connection.execute(query))


def test_a_damaged_file_is_said_at_once_while_others_have_it_open(
    world: World, index_path: Path
) -> None:
    """It is not taken for a full disk, for which one would wait to be alone with the file."""
    world.reindex(notes(range(4)))
    with closing(sqlite3.connect(index_path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM chunks").fetchone() == (4,)
        whole = index_path.read_bytes()
        index_path.write_bytes(whole[:100] + b"\xff" * 400 + whole[500:])
        with pytest.raises(DatabaseDamagedError, match="put a backup of it in its place"):
            Database(index_path)


def test_a_directory_that_cannot_be_made_is_an_ordinary_error(tmp_path: Path) -> None:
    """A data_dir that is a file is reported by the operating system's own words."""
    (tmp_path / "data").touch()
    with pytest.raises(FileExistsError):
        Database(tmp_path / "data" / "index.db", create=True)


def test_threads_that_create_an_index_at_once_share_it(tmp_path: Path) -> None:
    """However many create the same file at the same moment, there is one index."""
    start = threading.Barrier(8)

    def create_together(path: Path) -> str:
        start.wait()
        return created(path)

    with ThreadPoolExecutor(8) as pool:
        for number in range(5):
            path = tmp_path / f"{number}.db"
            assert len(set(pool.map(create_together, [path] * 8))) == 1


def test_processes_that_create_an_index_at_once_share_it(tmp_path: Path) -> None:
    """Two processes may find no index at the same time; both get the one that is made."""
    path = tmp_path / "index.db"
    program = (
        "import sys; from pathlib import Path\n"
        "from embedding_assets.store.database import Database\n"
        "print('ready', flush=True); sys.stdin.read(1)\n"
        "database = Database(Path(sys.argv[1]), create=True)\n"
        "print(database.index_id); database.close()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    ids = {process.communicate("\n", timeout=30)[0].strip() for process in processes}
    assert ids == {created(path)}


def test_a_second_writer_waits_for_the_first(index_path: Path) -> None:
    """Two write transactions follow each other; neither fails and nothing is lost."""
    database = Database(index_path, create=True)
    is_writing, order = threading.Event(), []

    def write_second() -> None:
        is_writing.wait()
        with database.write() as connection:
            order.append("second")
            connection.execute(
                throttles.insert(), {"provider": "p", "model": "second", "n_refusals": 2}
            )

    try:
        thread = threading.Thread(target=write_second)
        thread.start()
        with database.write() as connection:
            is_writing.set()
            thread.join(0.05)  # as long as it takes to run into the lock
            connection.execute(
                throttles.insert(), {"provider": "p", "model": "first", "n_refusals": 1}
            )
            order.append("first")
        thread.join()
        with database.read() as connection:
            found = connection.execute(sa.select(throttles.c.model)).scalars().all()
    finally:
        database.close()
    assert order == ["first", "second"]
    assert sorted(found) == ["first", "second"]


def test_a_failed_write_leaves_nothing(index_path: Path) -> None:
    """A statement that fails takes back what its transaction did before."""
    database = Database(index_path, create=True)

    def write_twice() -> None:
        with database.write() as connection:
            for _ in range(2):
                connection.execute(
                    throttles.insert(), {"provider": "p", "model": "same", "n_refusals": 1}
                )

    try:
        with pytest.raises(sa.exc.IntegrityError):
            write_twice()
        with database.read() as connection:
            assert connection.execute(sa.select(throttles)).all() == []
    finally:
        database.close()


def test_a_reader_sees_the_old_index_until_it_looks_again(world: World) -> None:
    """A publication neither disturbs an open view nor shows itself in it."""
    old = world.reindex(notes(range(3)))
    with world.index.published.view() as view:
        before = view.examine().n_chunks
        new = world.reindex(notes(range(5)))
        assert view.generation.generation_id == old.generation_id
        assert view.examine().n_chunks == before
        assert sum(len(block.chunk_ids) for block in view.vector_blocks()) == 3
    with world.index.published.view() as view:
        assert (view.generation.generation_id, view.examine().n_chunks) == (new.generation_id, 5)


def test_a_stream_left_early_holds_nothing_back(world: World, index_path: Path) -> None:
    """A loop over texts that ends early leaves no transaction open behind it."""
    generation = world.build([a_book(3000)], max_chars=100)
    for _ in world.index.generations.missing_chunks(generation, limits=world.settings.limits):
        break
    [shard] = world.plan(generation)
    for _ in world.index.shards.pending_requests(shard):
        break
    with closing(sqlite3.connect(index_path, timeout=0)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


def test_one_may_write_while_streaming(world: World) -> None:
    """A stream of texts goes on undisturbed while the same process writes."""
    generation = world.build([a_book(2500)], max_chars=100)
    [shard] = world.plan(generation)
    stream = world.index.shards.pending_requests(shard)
    first = next(stream)
    world.index.jobs.reserve(shard, requests_sha256="0" * 64, now=generation.created_at)
    assert [first, *stream] == list(world.index.shards.pending_requests(shard))
