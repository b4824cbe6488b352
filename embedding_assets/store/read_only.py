"""Connections for those who may read an index file and not write it.

Belongs here: how they are made, also where nothing can be written beside the file.
Does not belong here: transactions and what is read in them (database.py, published.py).
"""

import sqlite3
from pathlib import Path

# What SQLite answers, by primary result code, where it cannot make what readers and writers share.
_NO_SHARING = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}
)


class ReadOnlyConnection(sqlite3.Connection):
    """A connection that never writes.

    One that is ``detached`` takes part in no locking: it is good for one transaction, and only if
    the file was ``intact`` to its end.
    """

    _path: Path
    _seen: tuple[int, int] | None = None

    @property
    def is_detached(self) -> bool:
        return self._seen is not None

    @property
    def is_intact(self) -> bool:
        """Whether the file is as it was when the connection was made."""
        return self._seen is None or self._seen == _state_of(self._path)


def connect_read_only(path: Path, *, timeout_s: float) -> ReadOnlyConnection:
    """Connect to an existing file; raises sqlite3.Error if it cannot be read.

    The write-ahead log and its index are beside the file as long as anybody has it open. If they
    are not and this user may not make them, the file alone is everything there is.
    """
    try:
        return _connect(path, "mode=ro", timeout_s)
    except sqlite3.OperationalError as exc:
        seen = _state_of(path)
        if exc.sqlite_errorcode & 0xFF not in _NO_SHARING or _has_log(path):
            raise
    connection = _connect(path, "mode=ro&immutable=1", timeout_s)
    connection._path, connection._seen = path, seen
    return connection


def _connect(path: Path, query: str, timeout_s: float) -> ReadOnlyConnection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=timeout_s,
        check_same_thread=False,  # a pool hands it from one thread to the next
        factory=ReadOnlyConnection,
    )
    try:
        connection.execute("SELECT name FROM sqlite_schema LIMIT 1").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _state_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _has_log(path: Path) -> bool:
    return path.with_name(f"{path.name}-wal").exists()
