"""From a snapshot to a generation: every document version split once, every text kept once.

Belongs here: the loop over the snapshot. Does not belong here: splitting (corpus/chunks.py), SQL
(store/).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.documents import (
    Document,
    exhaustion_as_document_error,
    in_batches,
)
from embedding_assets.errors import DocumentError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.model.generations import Generation
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.store.documents import SplitDocument, Version
from embedding_assets.store.index import Index

_BATCH_DOCUMENTS = 500
_BATCH_CHARS = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSummary:
    """What one pass over a snapshot found."""

    generation: Generation
    n_documents: int = 0
    n_split: int = 0  # versions the index had not split before
    n_kept: int = 0  # documents of which an earlier version stands in
    n_failed: int = 0  # documents that cannot be used

    def plus(self, batch: Sequence[SplitDocument]) -> "BuildSummary":
        """The counts with those of a batch."""
        return replace(
            self,
            n_documents=self.n_documents + len(batch),
            n_split=self.n_split + sum(item.chunks is not None for item in batch),
            n_kept=self.n_kept + sum(item.document.is_kept for item in batch),
            n_failed=self.n_failed + sum(not item.document.is_usable for item in batch),
        )


def build_generation(
    index: Index,
    documents: Iterable[Document],
    *,
    month: str,
    spec: EmbeddingSpec,
    chunker: Chunker,
    now: datetime,
) -> BuildSummary:
    """List these documents as a new generation; it is being built when this returns.

    Killed halfway it leaves a draft, which nobody reads and the next build gives up. Raises
    LedgerError if that happens while this one is still at work.
    """
    draft = index.generations.draft(month=month, spec=spec, chunker=chunker.fingerprint, now=now)
    summary = BuildSummary(generation=draft)
    for batch in split_documents(documents, chunker, known=index.documents.known_versions):
        index.documents.add(draft, batch)
        summary = summary.plus(batch)
    pass_gap(Gap.LISTED)
    return replace(summary, generation=index.generations.seal(draft))


def split_documents(
    documents: Iterable[Document],
    chunker: Chunker,
    *,
    known: Callable[[Sequence[Document]], set[Version]],
) -> Iterator[list[SplitDocument]]:
    """Split the versions that are not ``known``; a batch at a time is in memory."""
    for batch in in_batches(documents, max_documents=_BATCH_DOCUMENTS, max_chars=_BATCH_CHARS):
        versions = known(batch)
        yield [_split(document, chunker, versions) for document in batch]


def _split(document: Document, chunker: Chunker, known: set[Version]) -> SplitDocument:
    fingerprint = chunker.fingerprint_of(document.extraction)
    item = SplitDocument(document=document, chunker=fingerprint, chunks=None)
    if not document.is_usable or item.version in known:
        return item
    try:
        with exhaustion_as_document_error():
            chunks = chunker.split(document.title, document.text, document.blocks)
            return replace(item, chunks=tuple(chunks))
    except DocumentError as exc:
        return replace(item, document=replace(document, text="", error_message=str(exc)))
