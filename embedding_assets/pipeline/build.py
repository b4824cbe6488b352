"""From a snapshot to a generation: every document version split once, every text kept once.

Belongs here: the loop over the snapshot. Does not belong here: splitting (corpus/chunks.py), SQL
(store/).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.documents import Document, in_batches
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
    n_documents: int
    n_split: int  # versions the index had not split before
    n_kept: int  # documents of which an earlier version stands in
    n_failed: int  # documents that cannot be used


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

    Killed halfway it leaves a draft, which nobody reads and the next build gives up.
    """
    draft = index.generations.draft(month=month, spec=spec, chunker=chunker.fingerprint, now=now)
    n_documents = n_split = n_kept = n_failed = 0
    for batch in in_batches(documents, max_documents=_BATCH_DOCUMENTS, max_chars=_BATCH_CHARS):
        known = index.generations.known_versions(batch)
        items = [_split(document, chunker, known) for document in batch]
        index.generations.add_documents(draft, items)
        n_documents += len(items)
        n_split += sum(item.texts is not None for item in items)
        n_kept += sum(document.is_kept for document in batch)
        n_failed += sum(not document.is_usable for document in batch)
    pass_gap(Gap.LISTED)
    return BuildSummary(
        generation=index.generations.seal(draft),
        n_documents=n_documents,
        n_split=n_split,
        n_kept=n_kept,
        n_failed=n_failed,
    )


def _split(document: Document, chunker: Chunker, known: set[Version]) -> SplitDocument:
    fingerprint = chunker.fingerprint_of(document.extraction_version)
    item = SplitDocument(document=document, chunker=fingerprint, texts=None)
    if not document.is_usable or item.version in known:
        return item
    return replace(item, texts=tuple(chunker.split(document.text, document.media_type)))
