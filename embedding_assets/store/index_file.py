"""The index file as a file: whether it is there, can be an index, is the same as before.

Belongs here: what is seen without SQLite, and what SQLite would not say of it.
Does not belong here: opening it (database.py, read_only.py).
"""

import os
from pathlib import Path

from embedding_assets.errors import DatabaseDamagedError, IndexMissingError, IndexSchemaError

# How a write-ahead log begins (SQLite file format, 4.1), by the byte order of its checksums.
_LOG_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")

FROM_A_BACKUP = "put a backup of it in its place"


def check_file(path: Path) -> None:
    """Raises if there is no file, or one that cannot be an index."""
    if not path.exists():
        raise IndexMissingError(
            f"there is no index at {str(path)!r}; run `embedding-assets reindex` first"
        )
    if not path.is_file():
        raise IndexSchemaError(
            f"{str(path)!r} is no file; {FROM_A_BACKUP}, or use another data_dir"
        )
    if path.stat().st_size == 0:
        raise empty_file(path)
    _check_log(log_of(path))


def identity_of(path: Path) -> tuple[int, int] | None:
    """The same as long as it is the same file; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _check_log(log: Path) -> None:
    """SQLite takes a log that is none for an empty one, and writes over it."""
    try:
        with log.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        return
    # All zeros is a log whose first write did not reach the disk: nothing was committed in it.
    if magic.strip(b"\0") and magic not in _LOG_MAGIC:
        raise DatabaseDamagedError(
            f"{str(log)!r} is damaged: it is no write-ahead log; put copies of it and of the index "
            "in their places, or remove it to go on without the last changes"
        )


def is_writable(path: Path) -> bool:
    """Whether this user may write the file and what SQLite keeps beside it."""
    by_effective_ids = os.access in os.supports_effective_ids
    return all(
        os.access(place, os.W_OK, effective_ids=by_effective_ids) for place in (path, path.parent)
    )


def empty_file(path: Path) -> DatabaseDamagedError:
    return DatabaseDamagedError(
        f"{str(path)!r} holds no index; {FROM_A_BACKUP}, or remove it to begin anew"
    )
