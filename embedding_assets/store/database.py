"""The SQLite file: one engine factory, its pragmas, and the two kinds of transaction.

Belongs here: opening, creating, versioning, begin and commit, from a row to a value.
Does not belong here: what is read or written (the other modules of store/).
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from filelock import FileLock

from embedding_assets.errors import (
    DatabaseDamagedError,
    EmbeddingAssetsError,
    IndexSchemaError,
    StorageError,
)
from embedding_assets.files import replacing
from embedding_assets.store.index_file import (
    FROM_A_BACKUP,
    check_file,
    empty_file,
    identity_of,
    is_writable,
    log_of,
)
from embedding_assets.store.read_only import ReadOnlyConnection, connect_read_only
from embedding_assets.store.schema import (
    PUBLISHED_CHUNKS_VIEW,
    SCHEMA_VERSION,
    UPGRADES,
    meta,
    metadata,
)

_T = TypeVar("_T")

# A writer waits this long for another one; the longest transaction is the collection of a shard.
_BUSY_TIMEOUT_MS = 60_000
# With pages of 4 KiB inserting 3 KB vectors takes 1.6 to 1.9 times as long (benchmarks/).
_PAGE_SIZE = 16_384
_CACHE_KIB = 65_536
# A web server has a connection a thread, and what it reads again and again is little.
_READER_CACHE_KIB = 8_192

# What a file keeps for its life; the rest is set on every connection.
_CREATION_PRAGMAS = (
    f"PRAGMA page_size = {_PAGE_SIZE}",
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA journal_mode = WAL",
)


class Database:
    """One index file. Opening one of an earlier version brings its tables up to date.

    Opened with ``read_only``, or where nothing can be written, it is left as it is, and any number
    of threads may read at once.
    """

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False) -> None:
        """Raises IndexMissingError if there is no file, IndexSchemaError if it is another's.

        DatabaseDamagedError if it is not what was written. Like everything done with it later it
        raises StorageError if the disk fails.
        """
        self.path = path
        self._look: ContextVar[sa.Connection | None] = ContextVar("look", default=None)
        if create:
            _make_if_missing(path)
        check_file(path)
        self._identity = identity_of(path)
        self._is_read_only = read_only or not is_writable(path)
        self._engine = _read_only_engine(path) if self._is_read_only else _engine(path)
        try:
            self._open()
            self._log_identity = identity_of(log_of(path))
        except sa.exc.DatabaseError as exc:
            self.close()
            raise IndexSchemaError(
                f"{str(path)!r} cannot be used: {exc.orig}; {FROM_A_BACKUP}"
            ) from exc
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view of the file for as long as the block lasts; never blocks a writer."""
        look = self._look.get()
        if look is not None:
            yield look
            return
        with storage_errors(self.path), self._engine.connect() as connection:
            try:
                with connection.begin():
                    yield connection
            finally:
                self._let_go(connection)

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """What this thread reads inside the block, it reads in one transaction."""
        with self.read() as connection:
            token = self._look.set(connection)
            try:
                yield
            finally:
                self._look.reset(token)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that holds the write lock from its first statement on."""
        with (
            storage_errors(self.path),
            self._engine.connect().execution_options(is_writer=True) as connection,
            connection.begin(),
        ):
            yield connection

    def checkpoint(self) -> None:
        """Bring what was written into the file itself, as far as no reader needs what was there."""
        with storage_errors(self.path), closing(self._engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    @property
    def is_current(self) -> bool:
        """Whether the file at the path is still the one that was opened."""
        return self._identity == identity_of(self.path)

    def check_log(self) -> None:
        """Raises StorageError if the file was replaced, and its log was not.

        SQLite would take its changes for those of the file that stands there now.
        """
        log, before = log_of(self.path), self._log_identity
        is_left = before is not None and before == identity_of(log) and log.stat().st_size > 0
        if is_left and self.path.exists():
            raise StorageError(
                f"{str(self.path)!r} was replaced while it was open, and {str(log)!r} is of the "
                "file before: end whatever has it open, remove that log and open the index again"
            )

    @property
    def index_id(self) -> str:
        """Random and made with the file: tells this index's remote jobs from another's."""
        with self.read() as connection:
            return str(connection.scalar(sa.select(meta.c.value).where(meta.c.name == "index_id")))

    def _let_go(self, connection: sa.Connection) -> None:
        """Keep nothing of a file that was read without keeping writers out."""
        if not self._is_read_only or connection.invalidated:
            return
        raw: Any = connection.connection.dbapi_connection
        if isinstance(raw, ReadOnlyConnection) and raw.is_detached:
            connection.invalidate()
            if not raw.is_intact:
                raise StorageError(f"{str(self.path)!r} was written while it was read; try again")

    def _open(self) -> None:
        try:
            self._prepare()
        except StorageError:
            if self._is_read_only:
                raise
            # On a full disk there is no room for the little that processes share. One that keeps
            # the others out for as long as it reads can do without.
            self.close()
            self._engine = _engine(self.path, is_alone=True)
            self._prepare()

    def _prepare(self) -> None:
        version = self._schema_version()
        if version == SCHEMA_VERSION:
            return
        if self._is_read_only:
            raise IndexSchemaError(
                f"{str(self.path)!r} has schema version {version}, expected {SCHEMA_VERSION}; run "
                "any `embedding-assets` command once to bring it up to date"
            )
        with _lock_beside(self.path):  # two processes may find the same earlier version
            self._upgrade()

    def _schema_version(self) -> int:
        """A version that can be used; raises DatabaseDamagedError or IndexSchemaError otherwise."""
        with self.read() as connection:
            version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            names = set(connection.exec_driver_sql("SELECT name FROM sqlite_schema").scalars())
        is_known = version in UPGRADES or version == SCHEMA_VERSION
        if is_known and meta.name in names:
            return version
        if version == 0 and not names:
            raise empty_file(self.path)
        raise IndexSchemaError(
            f"{str(self.path)!r} has schema version {version}, this version of "
            f"embedding-assets knows {SCHEMA_VERSION}; use the version that wrote it, or "
            "another data_dir"
        )

    def _upgrade(self) -> None:
        """Take the tables from version to version and make the view anew, in one transaction."""
        with self.write() as connection:
            version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            connection.exec_driver_sql("DROP VIEW IF EXISTS published_chunks")
            for earlier in range(version, SCHEMA_VERSION):
                for statement in UPGRADES[earlier]:
                    connection.exec_driver_sql(statement)
            connection.exec_driver_sql(PUBLISHED_CHUNKS_VIEW)
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def from_row(kind: type[_T], row: Any, /, **values: Any) -> _T:
    """A dataclass's value: its fields as given, or else from the row's columns of their names."""
    names = [field.name for field in fields(kind) if field.name not in values]  # type: ignore[arg-type]
    return kind(**{name: row._mapping[name] for name in names}, **values)


# What SQLite says about the disk and about other processes, by its primary result codes.
_REMEDIES = {
    sqlite3.SQLITE_FULL: "nothing is lost: make room on its disk and try again",
    sqlite3.SQLITE_IOERR: "nothing is lost: make room on its disk, or mend it, and try again",
    sqlite3.SQLITE_BUSY: "another process holds it: try again when that one is done",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable and try again",
    sqlite3.SQLITE_CANTOPEN: "make room on its disk and its directory writable and try again",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """StorageError where SQLite cannot read or write, DatabaseDamagedError where it reads nonsense.

    IndexSchemaError for what is no database. Errors in SQL stay what they are.
    """
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as exc:
        error = _translation(exc.orig if isinstance(exc, sa.exc.DBAPIError) else exc, path)
        if error is None:
            raise
        raise error from exc


def _translation(cause: BaseException | None, path: Path) -> EmbeddingAssetsError | None:
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        # The driver's own complaint about bytes that are no text; it quotes all of them.
        is_nonsense = isinstance(cause, sqlite3.OperationalError) and "decode" in str(cause)
        why = "a text in it is no UTF-8"
        return _damaged(path, why) if is_nonsense else None
    match code & 0xFF:
        case sqlite3.SQLITE_CORRUPT:
            return _damaged(path, str(cause))
        case sqlite3.SQLITE_NOTADB:
            return IndexSchemaError(f"{str(path)!r} cannot be used: {cause}; {FROM_A_BACKUP}")
        case primary if primary in _REMEDIES:
            return StorageError(f"{str(path)!r} cannot be used: {cause}; {_REMEDIES[primary]}")
    return None


def _damaged(path: Path, why: str) -> DatabaseDamagedError:
    return DatabaseDamagedError(f"{str(path)!r} is damaged: {why}; {FROM_A_BACKUP}")


def _lock_beside(path: Path) -> FileLock:
    return FileLock(path.with_name(f".{path.name}.lock"))


def _make_if_missing(path: Path) -> None:
    """Make an index, whole or not at all; of processes that do it at once one does."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock_beside(path):
        if path.exists():
            return
        if log_of(path).exists():
            raise DatabaseDamagedError(
                f"{str(log_of(path))!r} is left of an index that is gone; put a copy of that "
                "beside it, or remove it to begin anew"
            )
        with replacing(path) as beside, storage_errors(path):
            _make(beside)


def _make(path: Path) -> None:
    engine = _engine(path)
    try:
        with closing(engine.raw_connection()) as raw:
            for pragma in _CREATION_PRAGMAS:
                raw.cursor().execute(pragma).close()
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.exec_driver_sql(PUBLISHED_CHUNKS_VIEW)
            index_id = {"name": "index_id", "value": secrets.token_hex(4)}
            connection.execute(meta.insert(), index_id)
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
    finally:
        engine.dispose()  # and the log is in the file


def _engine(path: Path, *, is_alone: bool = False) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path))
    # A statement's parameters are texts and vectors: an error must not quote them.
    engine = sa.create_engine(
        url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000}, hide_parameters=True
    )
    if is_alone:
        sa.event.listen(engine, "connect", _keep_others_out)
    sa.event.listen(engine, "connect", _configure)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _read_only_engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        "sqlite://",
        creator=partial(connect_read_only, path, timeout_s=_BUSY_TIMEOUT_MS / 1000),
        poolclass=sa.QueuePool,
        max_overflow=-1,  # one for every thread that reads at the same time
        hide_parameters=True,
    )
    sa.event.listen(engine, "connect", _only_read)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _keep_others_out(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")


def _configure(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: _begin does, with the right lock.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _only_read(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")


def _begin(connection: sa.Connection) -> None:
    # IMMEDIATE takes the write lock at once: a deferred transaction that starts to write after
    # another one has committed would fail without waiting.
    is_writer = connection.get_execution_options().get("is_writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")
