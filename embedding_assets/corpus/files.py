"""Files from month to month: what has not changed is not read again, the rest by several processes.

Belongs here: what may be taken over from the previous snapshot, reading ahead in order, what became
of each file. Does not belong here: finding files (find.py), reading one (documents.py), what stands
in for one that cannot be read (kept.py), what else there is in the corpus (pipeline/read.py).
"""

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial

from embedding_assets.corpus.census import Enumeration, LeftOutError, Outcome
from embedding_assets.corpus.changes import Known
from embedding_assets.corpus.documents import (
    Document,
    FileState,
    Recall,
    knows_nothing,
    look_at,
    read_file,
)
from embedding_assets.corpus.find import SourceFile
from embedding_assets.corpus.formats.confined import UNCONFINED, ConfinedReader
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.extraction import Extraction, Reader
from embedding_assets.corpus.kept import with_kept
from embedding_assets.corpus.snapshots import Previous
from embedding_assets.errors import DocumentError

# Files that are read before it is their turn, because one before them takes long: always, for each
# process at the most, and as long as there is not too much of them in memory.
_AHEAD = 8
_MOST_AHEAD = 32
_MAX_CHARS_AHEAD = 50_000_000

_Reading = tuple[SourceFile, "Future[list[Document]]"]


def read_files(
    sources: Iterable[SourceFile],
    previous: Previous,
    *,
    now: datetime,
    keep_for: timedelta,
    max_bytes: int,
    extraction: Extraction = Extraction(),  # noqa: B008 -- it is frozen
    n_processes: int = 1,
    skip_drafts: bool = False,
    census: Enumeration | None = None,
) -> Iterator[Document]:
    """Yield the documents of every file, in order; the previous snapshot saves work.

    A file that looks as it did then is not opened. One with the same bytes is not extracted again.
    One that cannot be read keeps its last good version until ``keep_for`` after the first snapshot
    that could not read it. One of more than ``max_bytes`` cannot. ``now`` is when this reading of
    the corpus began. What became of each file is added to ``census``.
    """
    census = census or Enumeration()
    for source, reading in _read_in_order(
        sources,
        previous,
        extraction,
        n_processes,
        look=partial(look_at, now=now, max_bytes=max_bytes),
        read=partial(read_file, now=now, max_bytes=max_bytes),
    ):
        try:
            found = reading.result()
        except LeftOutError as exc:  # by its content
            census.add(source.uri, exc.outcome)
            continue
        documents = with_kept(source.uri, found, previous, now=now, keep_for=keep_for)
        outcome = _outcome(source, documents, skip_drafts=skip_drafts)
        census.add(source.uri, outcome)
        if not outcome.is_left_out:
            yield from documents


def _read_in_order(
    sources: Iterable[SourceFile],
    previous: Previous,
    extraction: Extraction,
    n_processes: int,
    *,
    look: Callable[[SourceFile], FileState],
    read: Callable[..., list[Document]],
) -> Iterator[_Reading]:
    """Each file with its documents, or how far these are; some that follow are being read, too."""
    with (
        _threads(n_processes) as threads,
        ConfinedReader(extraction, n_children=n_processes) as reader,
    ):
        waiting: deque[_Reading] = deque()
        for source in sources:
            reused = _reused(source, previous, reader, look)
            if reused is not None:
                waiting.append((source, _done(reused)))
            else:
                recall = _recall_of(source, previous, reader)
                task = partial(read, source, recall=recall, reader=reader)
                submit = _at_once if _is_quick(source) else threads.submit
                waiting.append((source, submit(task)))
            while waiting and (waiting[0][1].done() or _is_enough(waiting, n_processes)):
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()


def _is_enough(waiting: Collection[_Reading], n_processes: int) -> bool:
    """So much is read, or about to be, that the first one is waited for."""
    if len(waiting) <= _AHEAD:
        return False
    done = (future.result() for _, future in waiting if future.done() and not future.exception())
    n_chars = sum(len(document.text) for documents in done for document in documents)
    return len(waiting) > _MOST_AHEAD * n_processes or n_chars > _MAX_CHARS_AHEAD


def _is_quick(source: SourceFile) -> bool:
    """A thread would only take turns with this one: nobody is waited for."""
    return source.is_local and source.media_type in UNCONFINED


def _at_once(task: Callable[[], list[Document]]) -> "Future[list[Document]]":
    try:
        return _done(task())
    except LeftOutError as exc:
        future: Future[list[Document]] = Future()
        future.set_exception(exc)
        return future


def _done(documents: list[Document]) -> "Future[list[Document]]":
    future: Future[list[Document]] = Future()
    future.set_result(documents)
    return future


@contextmanager
def _threads(n: int) -> Iterator[ThreadPoolExecutor]:
    """Whatever ends the block, nothing is begun after it."""
    threads = ThreadPoolExecutor(n)
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def _reused(
    source: SourceFile,
    previous: Previous,
    reader: Reader,
    look: Callable[[SourceFile], FileState],
) -> list[Document] | None:
    """What the previous snapshot has of a file that looks as it did then."""
    known = previous.known_in(source.uri)
    signatures = {each.signature for each in known}
    is_sound = all(_is_usable(each, reader) for each in known)
    if len(signatures) != 1 or "" in signatures or not is_sound:
        return None
    with suppress(DocumentError):  # reading it says why
        if look(source).signature in signatures:
            documents = [previous.document(each.uri) for each in known]
            return [each for each in documents if each] if all(documents) else None
    return None


def _is_usable(known: Known, reader: Reader) -> bool:
    """And its kind is still wanted, which only the content of some files tells."""
    return known.is_good_for(reader) and reader.reason_against(known.media_type) is None


def _recall_of(source: SourceFile, previous: Previous, reader: Reader) -> Recall:
    """What may know the text of a file that is all of it."""
    known = previous.known_in(source.uri)
    if len(known) != 1 or known[0].within or not _is_usable(known[0], reader):
        return knows_nothing

    def recall(sha256: str) -> Extracted | None:
        found = previous.document(source.uri) if sha256 == known[0].sha256 else None
        if found is None:
            return None
        return Extracted(
            title=found.title,
            text=found.text,
            blocks=found.blocks,
            metadata=json.loads(found.metadata),
            remark=found.remark,
        )

    return recall


def _outcome(source: SourceFile, documents: list[Document], *, skip_drafts: bool) -> Outcome:
    own = next((each for each in documents if each.uri == source.uri), None)
    if own is None:
        return Outcome.READ
    if skip_drafts and own.is_draft:
        return Outcome.DRAFT
    return Outcome.READ if own.error_message is None else Outcome.UNREADABLE
