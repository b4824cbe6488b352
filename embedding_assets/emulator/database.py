"""The emulator's SQLite file: its schema, and one connection shared by threads.

Statements live with the module whose table they touch; what the tables mean is said here.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (        -- begun and not finished; the bytes are on disk
    upload_id      TEXT PRIMARY KEY,
    file_id        TEXT NOT NULL,
    display_name   TEXT,
    mime_type      TEXT NOT NULL,
    declared_bytes INTEGER                  -- NULL: the client did not say
);
CREATE TABLE IF NOT EXISTS files (          -- finished uploads, not results
    position     INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id      TEXT NOT NULL UNIQUE,
    display_name TEXT,
    mime_type    TEXT NOT NULL,
    size_bytes   INTEGER NOT NULL,
    sha256       TEXT NOT NULL,
    created_at   REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
    position      INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id      TEXT NOT NULL UNIQUE,
    model         TEXT NOT NULL,
    display_name  TEXT NOT NULL,
    input_file    TEXT,                     -- NULL: the requests came inlined
    n_requests    INTEGER NOT NULL,
    n_tokens      INTEGER NOT NULL,
    created_at    REAL NOT NULL,
    latency_s     REAL NOT NULL,
    planned_state TEXT NOT NULL,            -- the state it ends in, or is stuck in
    ends_at       REAL,                     -- NULL: not known yet, or never
    error_message TEXT,
    n_succeeded   INTEGER NOT NULL DEFAULT 0,
    n_failed      INTEGER NOT NULL DEFAULT 0,
    deleted       INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS purchases (      -- one row a billed request
    batch_id   TEXT,                        -- NULL: a synchronous one
    sha256     TEXT NOT NULL,
    model      TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    tokens     INTEGER NOT NULL
);
CREATE VIEW IF NOT EXISTS uncomputed_batches AS
    SELECT * FROM batches WHERE ends_at IS NULL AND planned_state = 'BATCH_STATE_SUCCEEDED';
CREATE VIEW IF NOT EXISTS due_purchases AS  -- of a batch job: due once it has succeeded
    SELECT purchases.*, coalesce(ends_at, 0) AS due_at
    FROM purchases LEFT JOIN batches USING (batch_id)
    WHERE purchases.batch_id IS NULL OR planned_state = 'BATCH_STATE_SUCCEEDED';
CREATE TABLE IF NOT EXISTS calls (
    endpoint TEXT PRIMARY KEY,
    n_calls  INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS faults (
    fault_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    rule         TEXT NOT NULL,             -- JSON
    n_considered INTEGER NOT NULL DEFAULT 0,
    n_struck     INTEGER NOT NULL DEFAULT 0
);
"""


class Database:
    """One connection behind one lock: whoever is in `transaction` is alone."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)

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

    def close(self) -> None:
        """Close the file; the database must not be used afterwards."""
        with self._lock:
            self._connection.close()
