"""The emulator's SQLite file: its schema, and one connection shared by threads.

Statements live with the module whose table they touch; what the tables mean is said here.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

_SCHEMA_VERSION = 2  # as set at the end of the schema
_SCHEMA = """
BEGIN;
CREATE TABLE uploads (                      -- begun and not finished; the bytes are on disk
    upload_id      TEXT PRIMARY KEY,
    file_id        TEXT NOT NULL,
    display_name   TEXT,
    mime_type      TEXT NOT NULL,
    declared_bytes INTEGER,                 -- NULL: the client did not say
    begun_at       REAL NOT NULL
);
CREATE TABLE files (                        -- finished uploads, not results
    position     INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id      TEXT NOT NULL UNIQUE,
    display_name TEXT,
    mime_type    TEXT NOT NULL,
    size_bytes   INTEGER NOT NULL,
    sha256       TEXT NOT NULL,
    created_at   REAL NOT NULL
);
CREATE TABLE batches (
    position       INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id       TEXT NOT NULL UNIQUE,
    model          TEXT NOT NULL,
    display_name   TEXT NOT NULL,
    input_file     TEXT,                    -- NULL: the requests came inlined
    n_requests     INTEGER NOT NULL,
    n_tokens       INTEGER NOT NULL,
    created_at     REAL NOT NULL,
    visible_at     REAL NOT NULL DEFAULT 0,
    latency_s      REAL NOT NULL,
    planned_state  TEXT NOT NULL,           -- the state it ends in, or is stuck in
    answered       REAL NOT NULL,           -- share of the requests; 0: there is no output
    answered_seed  TEXT NOT NULL,           -- decides which requests these are
    output_delay_s REAL NOT NULL,           -- from its end to its output
    ends_at        REAL,                    -- NULL: not known yet, or never
    error_code     INTEGER,                 -- NULL: the usual one of its state
    error_message  TEXT,
    n_succeeded    INTEGER NOT NULL DEFAULT 0,
    n_failed       INTEGER NOT NULL DEFAULT 0,
    deleted        INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE purchases (                    -- one row a billed request
    batch_id   TEXT,                        -- NULL: a synchronous one
    sha256     TEXT NOT NULL,
    model      TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    tokens     INTEGER NOT NULL
);
CREATE VIEW uncomputed_batches AS
    SELECT * FROM batches WHERE ends_at IS NULL AND answered > 0;
CREATE VIEW outputs AS                      -- of jobs whose end is known, be it in the future
    SELECT batch_id, ends_at + output_delay_s AS output_at
    FROM batches WHERE ends_at IS NOT NULL AND answered > 0;
CREATE VIEW due_purchases AS                -- of a batch job: due once its output is there
    SELECT *, 0 AS due_at FROM purchases WHERE batch_id IS NULL
    UNION ALL
    SELECT purchases.*, output_at FROM purchases JOIN outputs USING (batch_id);
CREATE TABLE calls (
    endpoint TEXT PRIMARY KEY,
    n_calls  INTEGER NOT NULL
);
CREATE TABLE faults (
    fault_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    rule         TEXT NOT NULL,             -- JSON
    n_considered INTEGER NOT NULL DEFAULT 0,
    n_struck     INTEGER NOT NULL DEFAULT 0
);
PRAGMA user_version = 2;
COMMIT;
"""


Values = Sequence[object] | Mapping[str, object]
"""What stands for the question marks of a statement, or for its names."""


class OtherSchemaVersion(Exception):
    """The file was made by another version of the emulator; nothing was changed."""


class Database:
    """One connection behind one lock: whoever is in `transaction` is alone.

    Raises OtherSchemaVersion for a file that another version of the emulator made.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: Path) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        [n_tables] = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not n_tables:
            self._connection.executescript(_SCHEMA)
        [version] = self._connection.execute("PRAGMA user_version").fetchone()
        if version != _SCHEMA_VERSION:
            raise OtherSchemaVersion(
                f"{path} was made by another version of the emulator (its schema is {version},"
                f" this one's is {_SCHEMA_VERSION}); remove {path.parent} to begin anew"
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Within another transaction of the same thread it is part of that one."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    def rows(self, statement: str, values: Values = ()) -> list[sqlite3.Row]:
        """All that one statement finds."""
        with self.transaction() as connection:
            return connection.execute(statement, values).fetchall()

    def change(self, statement: str, values: Values = ()) -> int:
        """Execute one statement; how many rows it changed."""
        with self.transaction() as connection:
            return connection.execute(statement, values).rowcount

    def close(self) -> None:
        """Close the file; the database must not be used afterwards."""
        with self._lock:
            self._connection.close()


def fields_of(row: sqlite3.Row, cls: type[Any]) -> dict[str, Any]:
    """Of a row, the columns that are a dataclass's fields."""
    return {field.name: row[field.name] for field in fields(cls)}
