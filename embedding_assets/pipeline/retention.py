"""After a generation was published: what no kept generation and no live job needs is removed.

Belongs here: the order, the files. Does not belong here: what may go of the index
(store/retention.py).

Killed at any point it leaves a sound index, and the next one goes on: first the database forgets,
then files go that it knows nothing of any more.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.money.budget import month_start
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.wording import count

_SNAPSHOT = re.compile(r"([0-9]{4}-[0-9]{2})\.parquet")
_SHARD_FILE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]+)[-.].*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What retention removed."""

    n_generations: int
    n_documents: int  # versions of documents
    n_chunks: int
    n_vectors: int
    n_files: int
    n_bytes: int  # by which files and the index file became smaller
    shard_keys: tuple[str, ...]  # of which nothing but the bill is left

    @property
    def is_anything(self) -> bool:
        return any((self.n_generations, self.n_documents, self.n_vectors, self.n_files))

    @property
    def summary(self) -> str:
        """One sentence with numbers."""
        if not self.is_anything:
            return "nothing was old enough to be removed"
        return (
            f"removed {count(self.n_generations, 'generation')}, "
            f"{count(self.n_documents, 'document version')}, {count(self.n_vectors, 'vector')} and "
            f"{count(self.n_files, 'file')}; {self.n_bytes:,} bytes are free again"
        )


def apply_retention(index: Index, settings: Settings, *, now: datetime) -> Removed:
    """Remove what ``[retention]`` no longer keeps. Raises StorageError if the disk fails."""
    kept = settings.retention
    unused_before = now - timedelta(days=kept.unused_vectors_days)
    n_bytes_before = index.retention.n_bytes
    generations = index.retention.superfluous(keep=kept.keep_generations)
    for generation in generations:
        index.retention.remove_generation(generation)
    pass_gap(Gap.GENERATIONS_REMOVED)
    n_documents = sum(_until_none(lambda: index.retention.remove_documents(now=now)))
    pass_gap(Gap.DOCUMENTS_REMOVED)
    n_chunks = n_vectors = 0
    while True:
        chunks, vectors = index.retention.forget_chunks(unused_before=unused_before, now=now)
        n_chunks += chunks
        n_vectors += vectors
        if not chunks:
            break
    n_vectors += sum(_until_none(lambda: index.retention.forget_specs(unused_before=unused_before)))
    index.retention.forget_samples(asked_before=month_start(now))
    pass_gap(Gap.CHUNKS_FORGOTTEN)
    index.retention.vacuum()
    shard_keys = index.retention.finished_shards()
    paths = list(_superfluous_files(settings, set(shard_keys), index.retention.months()))
    n_file_bytes = sum(_remove(path) for path in paths)
    return Removed(
        n_generations=len(generations),
        n_documents=n_documents,
        n_chunks=n_chunks,
        n_vectors=n_vectors,
        n_files=len(paths),
        n_bytes=max(0, n_bytes_before - index.retention.n_bytes) + n_file_bytes,
        shard_keys=tuple(shard_keys),
    )


def _until_none(remove_some: Callable[[], int]) -> Iterator[int]:
    while n_removed := remove_some():
        yield n_removed


def _superfluous_files(
    settings: Settings, shard_keys: set[str], kept_months: set[str]
) -> Iterator[Path]:
    """Files by the names that this program gives them; whatever else lies there is left alone."""
    for directory in (settings.shards_dir, settings.results_dir):
        for path in _files(directory):
            match = _SHARD_FILE.fullmatch(path.name)
            if match and match[1] in shard_keys:
                yield path
    snapshots = [path for path in _files(settings.snapshots_dir) if _SNAPSHOT.fullmatch(path.name)]
    newest = max(snapshots, key=lambda path: path.stat().st_mtime_ns, default=None)
    for path in snapshots:
        # The newest one is what the next month is compared with.
        if path.stem not in kept_months and path != newest:
            yield path


def _files(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        yield from sorted(directory.iterdir())


def _remove(path: Path) -> int:
    """The bytes of the file that is no more; 0 if another process was quicker."""
    try:
        n_bytes = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return n_bytes
