"""Reading the corpus: files, rows of tables, and what a function of a person's own yields.

Belongs here: what the settings name, in its order; no uri twice; where people find a document. Does
not belong here: reading one of these (corpus/files.py, corpus/tables.py, corpus/sources.py), the
Parquet file (corpus/snapshots.py).
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path

from embedding_assets.corpus.census import Enumeration, LeftOut, Outcome
from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.files import read_files
from embedding_assets.corpus.find import SourceFile, find_documents
from embedding_assets.corpus.formats.confined import ConfinedReader
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.corpus.given import Refused, SourceDocument, read_given
from embedding_assets.corpus.patterns import Patterns
from embedding_assets.corpus.snapshots import Previous
from embedding_assets.corpus.sources import Source
from embedding_assets.corpus.tables import documents_of, place_of, read_file_of
from embedding_assets.corpus.urls import url_of
from embedding_assets.errors import CorpusError
from embedding_assets.settings.values import Settings, Table
from embedding_assets.store.queries import read_query


def read_documents(
    settings: Settings,
    previous: Previous,
    *,
    now: datetime,
    census: Enumeration | None = None,
) -> Iterator[Document]:
    """The documents that these settings name: files, then rows of tables, then those of a source.

    They are found and read as ``read_files`` and ``read_given`` do; what became of each file is
    added to ``census``, and what has the uri of another one. Raises CorpusError for a corpus path,
    a table or a source that cannot be used, SettingsError for a CSS selector that is none.
    """
    census = census or Enumeration()
    extraction = Extraction.of(settings.corpus)
    extraction.check()
    name, folder = settings.corpus.source, settings.source_folder
    source = Source.load(name, folder) if name else None  # before anything is read
    urls = settings.corpus.urls
    documents: Iterator[Document] = chain(
        (_located(each, urls) for each in _files(settings, previous, extraction, now, census)),
        (
            each if each.url else _located(each, urls)
            for each in _others(settings, source, previous, extraction, now)
        ),
    )
    if settings.corpus.skip_drafts:
        documents = _without_drafts(documents, census)
    return _distinct(documents, census)


def _files(
    settings: Settings,
    previous: Previous,
    extraction: Extraction,
    now: datetime,
    census: Enumeration,
) -> Iterator[Document]:
    corpus = settings.corpus
    sources = find_documents(
        corpus.paths,
        settings.corpus_folder,
        Patterns.of(corpus.include, corpus.exclude),
        kinds=extraction.kinds,
        leave_out=partial(left_out, previous=previous, census=census),
    )
    return read_files(
        _without_tables(sources, settings, census),
        previous,
        now=now,
        keep_for=timedelta(days=corpus.keep_unreadable_days),
        max_bytes=corpus.max_file_bytes,
        extraction=extraction,
        n_processes=corpus.processes or _n_cores(),
        skip_drafts=corpus.skip_drafts,
        census=census,
    )


def left_out(file: LeftOut, *, previous: Previous, census: Enumeration) -> None:
    """Raises CorpusError for a file that was read last time, and whose library is gone since."""
    if file.outcome is Outcome.NOT_INSTALLED and previous.known_in(file.uri):
        raise CorpusError(
            f"{file.uri!r} was read last time, and is {file.outcome} now, which is not installed: "
            "install it again, or exclude such files (corpus.exclude)"
        )
    census.leave_out(file)


def _n_cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _without_tables(
    sources: Iterable[SourceFile], settings: Settings, census: Enumeration
) -> Iterator[SourceFile]:
    """A file whose rows are documents is none itself."""
    paths = [place_of(table, settings.tables_folder) for table in settings.corpus.tables]
    tables = set(map(_identity, paths))
    for source in sources:
        if tables and _identity(str(source.path)) in tables:
            census.leave_out(LeftOut(uri=source.uri, outcome=Outcome.TABLE))
        else:
            yield source


def _identity(place: str) -> str:
    return place if "://" in place else os.path.realpath(place)


def _others(
    settings: Settings,
    source: Source | None,
    previous: Previous,
    extraction: Extraction,
    now: datetime,
) -> Iterator[Document]:
    with ConfinedReader(extraction) as reader:
        yield from read_given(
            _given(settings, source),
            previous,
            now=now,
            keep_for=timedelta(days=settings.corpus.keep_unreadable_days),
            max_bytes=settings.corpus.max_file_bytes,
            reader=reader,
        )


def _given(settings: Settings, source: Source | None) -> Iterator[SourceDocument | Refused]:
    for table in settings.corpus.tables:
        yield from rows_of(table, settings.tables_folder)
    if source is not None:
        yield from source.documents()


def rows_of(table: Table, folder: Path) -> Iterator[SourceDocument | Refused]:
    """A document a row, wherever the rows are."""
    read = read_query if table.query else read_file_of
    return documents_of(table, read(table, folder))


def _located(document: Document, urls: Mapping[str, str]) -> Document:
    """With the address under which people find it now, or the file that it is in."""
    url = url_of(document.within or document.uri, json.loads(document.metadata), urls)
    return document if url == document.url else replace(document, url=url)


def _without_drafts(documents: Iterable[Document], census: Enumeration) -> Iterator[Document]:
    """Those that are no file of their own, that is: rows, pages, attachments."""
    for document in documents:
        if document.is_draft:
            census.leave_out(LeftOut(uri=document.uri, outcome=Outcome.OTHER_DRAFT))
        else:
            yield document


def _distinct(documents: Iterable[Document], census: Enumeration) -> Iterator[Document]:
    """The documents without those whose uri another one has had."""
    seen: set[str] = set()
    for document in documents:
        if document.uri in seen:
            census.leave_out(LeftOut(uri=document.uri, outcome=Outcome.SAME_ID))
        else:
            seen.add(document.uri)
            yield document
