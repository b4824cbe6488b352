"""A corpus on disk and its snapshots, month after month.

Belongs here: changing files the way people do, and reading them as the ``documents`` asset does.
No assertion.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from embedding_assets.clock import utc_now
from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.files import read_files
from embedding_assets.corpus.find import find_documents
from embedding_assets.corpus.snapshots import (
    SnapshotSummary,
    open_previous,
    read_snapshot,
    write_snapshot,
)
from tests.factories import MAX_FILE_BYTES, write_corpus

MONTH = timedelta(days=30)


def _an_hour_ahead() -> datetime:
    # What is written just before it is read is in doubt; these tests do not wait for it to age.
    return utc_now() + timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class Months:
    """``docs`` holds the files; every ``read`` is another month's."""

    docs: Path
    snapshots: Path
    now: datetime = field(default_factory=_an_hour_ahead)
    keep_for: timedelta = timedelta(days=90)
    n_read: int = 0

    # --- what people do ---------------------------------------------------------------------

    def write(self, **texts: str) -> None:
        """Files by their names without suffix; ``a__b`` stands for ``a/b``."""
        names = {f"{name.replace('__', '/')}.md": text for name, text in texts.items()}
        write_corpus(self.docs, names)

    def path(self, name: str) -> Path:
        return self.docs / f"{name}.md"

    def spoil(self, name: str) -> None:
        """Make a file unreadable as text."""
        self.path(name).write_bytes(b"\0\0")

    # --- what the pipeline does -------------------------------------------------------------

    @property
    def newest(self) -> Path:
        """The snapshot that was read last."""
        years, month = divmod(self.n_read - 1, 12)
        return self.snapshots / f"{2026 + years}-{month + 1:02}.parquet"

    def read(self, *, after: timedelta = MONTH) -> SnapshotSummary:
        """Take the next month's snapshot."""
        self.now += after
        self.n_read += 1
        with open_previous(self.snapshots) as previous:
            found = find_documents([str(self.docs)])
            corpus = read_files(
                found,
                previous,
                now=self.now,
                keep_for=self.keep_for,
                max_bytes=MAX_FILE_BYTES,
            )
            return write_snapshot(self.newest, corpus, now=self.now, earlier=previous.known)

    def documents(self) -> dict[str, Document]:
        """Of the newest snapshot, by name."""
        return {
            str(Path(document.uri).relative_to(self.docs).with_suffix("")): document
            for document in read_snapshot(self.newest)
        }

    def texts(self) -> dict[str, str]:
        return {name: document.text for name, document in self.documents().items()}

    def doctor(self, change: Callable[[Document], Document]) -> None:
        """Let the newest snapshot remember something else than was read."""
        documents = [change(document) for document in read_snapshot(self.newest)]
        write_snapshot(self.newest, documents, now=self.now)


def rewrite_unnoticed(path: Path, text: str) -> None:
    """Change a file and give it back the size and the time of its last change."""
    before = path.stat()
    assert len(text.encode()) == before.st_size
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of a file system ticks slowly
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
