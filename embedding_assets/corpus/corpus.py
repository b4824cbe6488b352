"""Reading the corpus from month to month: what has not changed is not read again.

Belongs here: what may be taken over from the previous snapshot. Does not belong here: reading one
file (documents.py), what stands in for one that cannot be read (kept.py), the Parquet file
(snapshots.py).
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import chain

from embedding_assets.corpus.changes import Known
from embedding_assets.corpus.documents import (
    Document,
    FileState,
    distinct,
    look_at,
    read_document,
)
from embedding_assets.corpus.find import SourceFile, find_documents
from embedding_assets.corpus.formats.confined import ConfinedReader
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.extraction import Extraction, Reader
from embedding_assets.corpus.given import Refused, SourceDocument, read_given
from embedding_assets.corpus.kept import in_place_of
from embedding_assets.corpus.patterns import Patterns
from embedding_assets.corpus.snapshots import Previous
from embedding_assets.corpus.sources import Source
from embedding_assets.corpus.tables import documents_of
from embedding_assets.errors import DocumentError
from embedding_assets.settings.values import Settings


def read_documents(
    settings: Settings,
    previous: Previous,
    *,
    now: datetime,
    on_duplicate: Callable[[str], None] = lambda _: None,
) -> Iterator[Document]:
    """The documents that these settings name: files, then rows of tables, then those of a source.

    They are found and read as ``read_corpus`` and ``read_given`` do. ``on_duplicate`` is told of a
    uri that had been there before. Raises CorpusError for a corpus path, a table or a source that
    cannot be used, SettingsError for a CSS selector that is none.
    """
    corpus = settings.corpus
    extraction = Extraction.of(corpus)
    extraction.check()
    name, folder = corpus.source, settings.source_folder
    source = Source.load(name, folder) if name else None  # before anything is read
    keep_for = timedelta(days=corpus.keep_unreadable_days)
    files = read_corpus(
        find_documents(
            corpus.paths,
            settings.corpus_folder,
            Patterns.of(corpus.include, corpus.exclude),
        ),
        previous,
        now=now,
        keep_for=keep_for,
        max_bytes=corpus.max_file_bytes,
        extraction=extraction,
    )

    def others() -> Iterator[Document]:
        with ConfinedReader(extraction) as reader:
            yield from read_given(
                _given(settings, source),
                previous,
                now=now,
                keep_for=keep_for,
                max_bytes=corpus.max_file_bytes,
                reader=reader,
            )

    return distinct(chain(files, others()), on_duplicate=on_duplicate)


def _given(settings: Settings, source: Source | None) -> Iterator[SourceDocument | Refused]:
    for table in settings.corpus.tables:
        yield from documents_of(table, settings.tables_folder)
    if source is not None:
        yield from source.documents()


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
                yield in_place_of(document, previous, now=now, keep_for=keep_for)


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
