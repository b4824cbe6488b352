"""Search: the chunks nearest to a query, exactly, in the published generation.

Belongs here: embedding the query with the published spec, and the arithmetic.
Does not belong here: reading vectors from the file (store/published.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embedding_assets.errors import GeminiError, SettingsError
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.filters import EVERYTHING, Filter
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.vectors import unit_vector
from embedding_assets.store.index import Index
from embedding_assets.store.published import Place, PublishedView, VectorBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One chunk of the answer. ``score`` is the cosine similarity, 1 at the most."""

    rank: int
    score: float
    uri: str
    title: str
    position: int
    section: str  # the headings above the text
    anchor: str  # the fragment of the document at which it stands
    page: int | None  # on which it begins, if the document has pages
    url: str  # that leads there, if anybody says; else empty
    metadata: Mapping[str, str | list[str]]  # what the document says about itself
    text: str


def search(
    index: Index, gemini: GeminiClient, query: str, *, k: int, where: Filter = EVERYTHING
) -> list[Hit]:
    """The ``k`` published chunks nearest to a query, the nearest first, of those that are meant.

    Raises IndexMissingError if nothing is published, SettingsError if the published vectors
    are another provider's, and GeminiError if the query cannot be embedded.
    """
    with index.published.view() as view:
        vector = embed_query(gemini, query, view.spec)
        return nearest(view, vector, k=k, where=where)


def embed_query(gemini: GeminiClient, query: str, spec: EmbeddingSpec) -> np.ndarray:
    """The query's unit vector: float32, (dimensions,)."""
    if gemini.provider != spec.provider:
        raise SettingsError(
            f"the published vectors come from {spec.provider!r}, the settings point to "
            f"{gemini.provider!r}: their vectors cannot be compared; reindex, or change them back"
        )
    answer = gemini.embed(
        [spec.query_text(query)],
        model=spec.model,
        dimensions=spec.dimensions,
        task_type=spec.query_task_type,
    )
    values = np.array(answer.vectors[0], dtype=np.float64)
    try:
        return np.frombuffer(unit_vector(values, dimensions=spec.dimensions), dtype="<f4")
    except ValueError as exc:
        raise GeminiError(f"the query's vector cannot be used: {exc}") from exc


def nearest(
    view: PublishedView,
    vector: np.ndarray,
    *,
    k: int,
    where: Filter = EVERYTHING,
    blocks: Iterable[VectorBlock] | None = None,
) -> list[Hit]:
    """Look at every vector of the view, a block at a time, and keep the best ``k``.

    ``where`` narrows it down to chunks that stand in a place which is meant. ``blocks`` are the
    view's vectors, if the caller has them; else they are read from the file.
    """
    among = view.chunk_ids(where) if where.conditions else None
    best_ids, best_scores = np.empty(0, np.int64), np.empty(0, np.float32)
    for block in view.vector_blocks() if blocks is None else blocks:
        ids, scores = block.chunk_ids, block.matrix @ vector
        if among is not None:
            is_among = np.isin(ids, among)
            ids, scores = ids[is_among], scores[is_among]
        best_ids, best_scores = _best(
            np.concatenate([best_ids, ids]), np.concatenate([best_scores, scores]), k=k
        )
    return _hits(view.places(best_ids.tolist(), where), best_ids.tolist(), best_scores.tolist())


def _best(ids: np.ndarray, scores: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """By score, then by chunk_id: equal scores come in the same order every time."""
    if len(scores) > k:
        is_good = scores >= np.partition(scores, -k)[-k]
        ids, scores = ids[is_good], scores[is_good]
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]


def _hits(
    places: Mapping[int, Place], chunk_ids: Sequence[int], scores: Sequence[float]
) -> list[Hit]:
    return [
        Hit(
            rank=rank,
            score=score,
            uri=places[chunk_id].uri,
            title=places[chunk_id].title,
            position=places[chunk_id].position,
            section=places[chunk_id].section,
            anchor=places[chunk_id].anchor,
            page=places[chunk_id].page,
            url=places[chunk_id].url,
            metadata=places[chunk_id].metadata,
            text=places[chunk_id].text,
        )
        for rank, (chunk_id, score) in enumerate(zip(chunk_ids, scores, strict=True), start=1)
    ]
