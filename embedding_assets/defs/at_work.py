"""Whether another process reindexes here: each says so for as long as it lives.

Belongs here: a file and its lock, which the system takes back from a process that is killed.
Does not belong here: keeping anybody out. Two reindexes at once are safe, for the ledger makes one
of two the winner; but whoever starts the second should know.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from embedding_assets.wording import utc


@contextmanager
def at_work(data_dir: Path, *, now: datetime) -> Iterator[str | None]:
    """Be seen by others inside the block; a sentence about who is at work already, or None."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / ".reindex.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield f"another reindex is at work here{_who(file)}; nothing is bought twice"
        else:
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "since": now.isoformat()}))
            file.flush()
            yield None


def _who(file: IO[str]) -> str:
    """As far as it has said so yet."""
    file.seek(0)
    try:
        said = json.loads(file.read())
        return f": process {said['pid']}, since {utc(datetime.fromisoformat(said['since']))}"
    except (ValueError, KeyError, TypeError):
        return ""
