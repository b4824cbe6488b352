"""Reading the corpus from month to month: what has not changed is not read again.

Belongs here: what may be taken over from the previous snapshot, and for how long it stands in for
a file that cannot be read. Does not belong here: reading one file (documents.py), the Parquet file
(snapshots.py).
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from embedding_assets.corpus.census import Enumeration, Outcome
from embedding_assets.corpus.changes import Known
from embedding_assets.corpus.documents import (
    EPOCH,
    Document,
    FileState,
    Recall,
    knows_nothing,
    look_at,
    read_file,
)
from embedding_assets.corpus.find import SourceFile, find_documents
from embedding_assets.corpus.formats.confined import ConfinedReader
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.extraction import Extraction, Reader
from embedding_assets.corpus.patterns import Patterns
from embedding_assets.corpus.snapshots import Previous
from embedding_assets.errors import DocumentError
from embedding_assets.settings.values import Settings

_AHEAD = 4  # files that are being read, or wait to be, for each process


def read_documents(
    settings: Settings,
    previous: Previous,
    *,
    now: datetime,
    census: Enumeration | None = None,
) -> Iterator[Document]:
    """The documents that these settings name, found and read as ``read_corpus`` does.

    Raises CorpusError for a corpus path that cannot be used, and if there is no document;
    SettingsError for a CSS selector that is none.
    """
    corpus = settings.corpus
    extraction = Extraction.of(corpus)
    extraction.check()
    census = census or Enumeration()
    sources = find_documents(
        corpus.paths,
        settings.corpus_folder,
        Patterns.of(corpus.include, corpus.exclude),
        kinds=extraction.kinds,
        leave_out=census.leave_out,
    )
    return read_corpus(
        sources,
        previous,
        now=now,
        keep_for=timedelta(days=corpus.keep_unreadable_days),
        max_bytes=corpus.max_file_bytes,
        extraction=extraction,
        n_processes=corpus.processes or n_cores(),
        skip_drafts=corpus.skip_drafts,
        census=census,
    )


def n_cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_corpus(
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
    for source, found in _read_in_order(
        sources,
        previous,
        extraction,
        n_processes,
        look=partial(look_at, now=now, max_bytes=max_bytes),
        read=partial(read_file, now=now, max_bytes=max_bytes),
    ):
        documents = [
            _in_place_of(document, previous, now, keep_for) if document.error_message else document
            for document in _with_lost_members(source, found, previous)
        ]
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
) -> Iterator[tuple[SourceFile, list[Document]]]:
    """Each file with its documents; some of those that follow are being read already."""
    with (
        _threads(n_processes) as threads,
        ConfinedReader(extraction, n_children=n_processes) as reader,
    ):
        waiting: deque[tuple[SourceFile, Future[list[Document]]]] = deque()
        for source in sources:
            reused = _reused(source, previous, reader, look)
            if reused is None:
                recall = _recall_of(source, previous, reader)
                waiting.append((source, threads.submit(read, source, recall=recall, reader=reader)))
            elif not waiting:
                yield source, reused
            else:
                waiting.append((source, _done(reused)))
            while waiting and (waiting[0][1].done() or len(waiting) > _AHEAD * n_processes):
                yield _settled(waiting.popleft())
        while waiting:
            yield _settled(waiting.popleft())


def _settled(
    reading: tuple[SourceFile, "Future[list[Document]]"],
) -> tuple[SourceFile, list[Document]]:
    source, future = reading
    return source, future.result()


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
    """It has a text, and that would be extracted in the same way now."""
    return (
        known.has_text
        and reader.reads(known.media_type)
        and known.extraction == reader.fingerprint_of(known.media_type)
    )


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


def _with_lost_members(
    source: SourceFile, documents: list[Document], previous: Previous
) -> list[Document]:
    """With those of the files in a file that cannot be read now, as unreadable as that."""
    broken = next((each for each in documents if each.uri == source.uri), None)
    if broken is None or broken.error_message is None or len(documents) > 1:
        return documents
    members = [each for each in previous.known_in(source.uri) if each.within]
    return [
        broken,
        *(replace(broken, uri=each.uri, within=each.within) for each in members if each.has_text),
    ]


def _outcome(source: SourceFile, documents: list[Document], *, skip_drafts: bool) -> Outcome:
    if not documents:
        return Outcome.UNKNOWN_KIND
    own = documents[0]
    if skip_drafts and json.loads(own.metadata).get("draft") == "true":
        return Outcome.DRAFT
    is_broken = own.uri == source.uri and own.error_message is not None
    return Outcome.UNREADABLE if is_broken else Outcome.READ


def _in_place_of(
    document: Document, previous: Previous, now: datetime, keep_for: timedelta
) -> Document:
    """What is listed for a file that cannot be read: its last good version, while that is kept."""
    known = previous.known.get(document.uri)
    if known is None:
        return document
    since = known.unreadable_since or now
    until = since + keep_for
    good = previous.document(document.uri) if known.has_text and now < until else None
    if good is None:
        return replace(document, unreadable_since=since)
    version = "last good version"
    if good.modified_at != EPOCH:
        version = f"version of {good.modified_at:%Y-%m-%d}"
    return replace(
        good,
        signature="",
        unreadable_since=since,
        error_message=f"{document.error_message}; its {version} is kept until {until:%Y-%m-%d}",
    )
