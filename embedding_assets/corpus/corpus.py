"""Reading the corpus from month to month: what has not changed is not read again.

Belongs here: what may be taken over from the previous snapshot, and for how long it stands in for
a file that cannot be read. Does not belong here: reading one file (documents.py), the Parquet file
(snapshots.py).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from embedding_assets.corpus.changes import Known
from embedding_assets.corpus.documents import (
    EPOCH,
    Document,
    FileState,
    look_at,
    read_document,
)
from embedding_assets.corpus.find import SourceFile, find_documents
from embedding_assets.corpus.formats.confined import ConfinedReader
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.extraction import Extraction, Reader
from embedding_assets.corpus.patterns import Patterns
from embedding_assets.corpus.snapshots import Previous
from embedding_assets.corpus.urls import url_of
from embedding_assets.errors import DocumentError
from embedding_assets.settings.values import Settings


def read_documents(settings: Settings, previous: Previous, *, now: datetime) -> Iterator[Document]:
    """The documents that these settings name, found and read as ``read_corpus`` does.

    Raises CorpusError for a corpus path that cannot be used, SettingsError for a CSS selector that
    is none.
    """
    extraction = Extraction.of(settings.corpus)
    extraction.check()
    documents = read_corpus(
        find_documents(
            settings.corpus.paths,
            settings.corpus_folder,
            Patterns.of(settings.corpus.include, settings.corpus.exclude),
        ),
        previous,
        now=now,
        keep_for=timedelta(days=settings.corpus.keep_unreadable_days),
        max_bytes=settings.corpus.max_file_bytes,
        extraction=extraction,
    )
    return (_located(document, settings.corpus.urls) for document in documents)


def _located(document: Document, urls: Mapping[str, str]) -> Document:
    """With the address under which people find it now, whenever it was read."""
    return replace(document, url=url_of(document.uri, json.loads(document.metadata), urls))


def read_corpus(
    sources: Iterable[SourceFile],
    previous: Previous,
    *,
    now: datetime,
    keep_for: timedelta,
    max_bytes: int,
    extraction: Extraction = Extraction(),  # noqa: B008 -- it is frozen
) -> Iterator[Document]:
    """Yield the document of every file, in order; the previous snapshot saves work.

    A file that looks as it did then is not opened. One with the same bytes is not extracted again.
    One that cannot be read keeps its last good version until ``keep_for`` after the first snapshot
    that could not read it. One of more than ``max_bytes`` cannot. ``now`` is when this reading of
    the corpus began.
    """
    with ConfinedReader(extraction) as reader:
        read = partial(read_document, now=now, max_bytes=max_bytes, reader=reader)
        look = partial(look_at, now=now, max_bytes=max_bytes)
        for source in sources:
            known = previous.known.get(source.uri)
            if known is None:
                yield read(source)
            else:
                document = _read_again(source, known, previous, reader, look=look, read=read)
                is_bad = document.error_message is not None
                yield _in_place_of(document, known, previous, now, keep_for) if is_bad else document


def _read_again(
    source: SourceFile,
    known: Known,
    previous: Previous,
    reader: Reader,
    *,
    look: Callable[[SourceFile], FileState],
    read: Callable[..., Document],
) -> Document:
    if not known.has_text or known.extraction != reader.fingerprint_of(source.media_type):
        return read(source)
    with suppress(DocumentError):  # reading it says why
        if known.signature and known.signature == look(source).signature:
            document = previous.document(source.uri)
            if document is not None:
                return document

    def recall(sha256: str) -> Extracted | None:
        found = previous.document(source.uri) if sha256 == known.sha256 else None
        if found is None:
            return None
        return Extracted(
            title=found.title,
            text=found.text,
            blocks=found.blocks,
            metadata=json.loads(found.metadata),
            remark=found.remark,
        )

    return read(source, recall=recall)


def _in_place_of(
    document: Document, known: Known, previous: Previous, now: datetime, keep_for: timedelta
) -> Document:
    """What is listed for a file that cannot be read: its last good version, while that is kept."""
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
