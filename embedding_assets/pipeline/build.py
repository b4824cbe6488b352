"""From a snapshot to a generation: every document version split once, every text kept once.

Belongs here: the loop over the snapshot. Does not belong here: splitting (chunks.py), SQL (store/).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from embedding_assets.chunks import Chunker
from embedding_assets.documents import Document, in_batches
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.generations import Generation
from embedding_assets.specs import EmbeddingSpec
from embedding_assets.store.generations import SplitDocument
from embedding_assets.store.index import Index

_BATCH_DOCUMENTS = 200
_BATCH_CHARS = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSummary:
    """What one pass over a snapshot found."""

    generation: Generation
    n_documents: int
    n_split: int  # versions the index had not split before
    n_failed: int  # documents with an error_message


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
    n_documents = n_split = n_failed = 0
    for batch in in_batches(documents, max_documents=_BATCH_DOCUMENTS, max_chars=_BATCH_CHARS):
        known = index.generations.known_versions(batch, chunker=chunker.fingerprint)
        items = [_split(document, chunker, known) for document in batch]
        index.generations.add_documents(draft, items)
        n_documents += len(items)
        n_split += sum(item.texts is not None for item in items)
        n_failed += sum(item.document.error_message is not None for item in items)
    pass_gap(Gap.LISTED)
    return BuildSummary(
        generation=index.generations.seal(draft),
        n_documents=n_documents,
        n_split=n_split,
        n_failed=n_failed,
    )


def _split(document: Document, chunker: Chunker, known: set[tuple[str, str]]) -> SplitDocument:
    if document.error_message is not None or (document.uri, document.sha256) in known:
        return SplitDocument(document=document, texts=None)
    texts = tuple(chunker.split(document.text, document.media_type))
    return SplitDocument(document=document, texts=texts)
