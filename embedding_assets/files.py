"""Files that appear whole or not at all.

Belongs here: writing beside, fsync, rename. Does not belong here: what is written.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PARTIAL = re.compile(r"\..+\.([0-9]+)(-[0-9]+)?\.partial")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of ``path``, durably, if the block succeeds.

    Whatever goes wrong in the block, ``path`` stays as it was and nothing is left beside it.
    Missing directories are made. Raises OSError if the disk fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{os.getpid()}-{threading.get_native_id()}"
    beside = path.with_name(f".{path.name}.{writer}.partial")
    try:
        yield beside
        _sync(beside)
        beside.replace(path)
        _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def room_for(n_bytes: int, file: BinaryIO) -> Iterator[None]:
    """Room on the disk for what the block writes at the end of ``file``, taken before it begins.

    So that what is about to be paid for can be kept. Raises OSError if there is no such room. A
    process that is killed in the block leaves NUL bytes after what it wrote.
    """
    file.seek(0, os.SEEK_END)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(file.fileno(), file.tell(), n_bytes)
    try:
        yield
    finally:
        file.truncate()


def writer_of(path: Path) -> int | None:
    """The process that writes, or wrote, what ``replacing`` has beside a file; else None."""
    match = _PARTIAL.fullmatch(path.name)
    return int(match[1]) if match else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
