"""What the next reindex would send and cost: the corpus as it is now against the index.

Belongs here: the pass over the corpus, which splits and plans as a reindex does (build.py,
plan.py), and writes nothing. Does not belong here: the sums (money/estimate.py).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from embedding_assets.corpus.chunks import Chunker, chunk_sha256
from embedding_assets.corpus.corpus import read_corpus
from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.find import find_documents
from embedding_assets.corpus.snapshots import open_previous
from embedding_assets.model.generations import Part, Progress
from embedding_assets.model.shards import Route, SizedRequest, choose_route, pack
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.tokens import DEFAULT, TokenEstimator
from embedding_assets.money.budget import Purse, fill_purse
from embedding_assets.money.estimate import Costs, Estimate, Unreadable, estimate_duration
from embedding_assets.money.prices import price_of
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.pipeline.plan import learned_estimator, packing_limits, sized_request
from embedding_assets.settings.values import RouteChoice, Settings
from embedding_assets.store.index import Index

_BATCH_TEXTS = 500  # in memory, and looked up in the index, at a time
_MAX_NAMED_DOCUMENTS = 3
_NEXT_GENERATION_ID = 0  # that no generation has: nothing is spent on it yet


def estimate_reindex(
    index: Index | None, settings: Settings, *, provider: str, now: datetime
) -> Estimate:
    """Read and split the corpus and see what the index lacks; None: there is no index yet.

    ``provider`` is whom a reindex would talk to. What is as in the previous snapshot is not read
    again, but every document is split, also one that the index has split before. Raises
    SettingsError for a model without a price, CorpusError for a corpus path that cannot be used.
    """
    limits = settings.limits
    spec = EmbeddingSpec.of(settings.embedding, provider=provider)
    price = price_of(spec.model, settings.prices)
    survey = _Survey(
        index=index,
        spec=spec,
        chunker=Chunker(max_chars=settings.chunking.max_chars, max_tokens=spec.max_text_tokens),
        estimator=DEFAULT if index is None else learned_estimator(index, spec),
        max_chunk_attempts=limits.max_chunk_attempts,
        last_chunk_id=0 if index is None else index.generations.last_chunk_id(),
    )
    with open_previous(settings.snapshots_dir) as previous:
        found = find_documents(settings.corpus.paths)
        keep_for = timedelta(days=settings.corpus.keep_unreadable_days)
        survey.look_at(read_corpus(found, previous, now=now, keep_for=keep_for))
    requests = sorted(survey.requests, key=lambda request: request.chunk_id)
    packed = tuple(pack(requests, packing_limits(settings)))
    route, route_reason = choose_route(limits, len(requests))
    costs = Costs.of(sum(shard.n_tokens for shard in packed), price)
    purse = _purse(index, settings, provider, now)
    return Estimate(
        spec=spec,
        progress=survey.progress,
        n_unreadable=survey.n_unreadable,
        unreadable=tuple(survey.unreadable),
        packed=packed,
        route=route,
        route_reason=route_reason,
        price=price,
        costs=costs,
        token_basis=survey.estimator.basis,
        duration=estimate_duration(route, packed, settings),
        over_budget=purse.reason_against(_NEXT_GENERATION_ID, costs.by(route)),
        notes=tuple(_notes(index, settings, survey, route, now)),
        last_bill=None if index is None else index.bills.last(spec),
    )


def _purse(index: Index | None, settings: Settings, provider: str, now: datetime) -> Purse:
    if index is not None:
        return look_into_purse(index, settings, provider=provider, now=now)
    return fill_purse((), settings.budget, approved_usd={}, with_unsent=False, now=now)


@dataclass(slots=True, kw_only=True)
class _Survey:
    """A pass over the corpus: counts, digests and sizes, and the texts of one batch at a time."""

    index: Index | None
    spec: EmbeddingSpec
    chunker: Chunker
    estimator: TokenEstimator
    max_chunk_attempts: int
    last_chunk_id: int  # new texts are numbered on from here, as the build would
    n_documents: int = 0
    n_kept: int = 0
    n_unreadable: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)  # the first few
    requests: list[SizedRequest] = field(default_factory=list)
    _parts: Counter[Part] = field(default_factory=Counter)

    @property
    def progress(self) -> Progress:
        """Of the generation that a build would list now."""
        return Progress(
            n_documents=self.n_documents,
            n_chunks=self._parts.total(),
            n_embedded=self._parts[Part.EMBEDDED],
            n_pending=self._parts[Part.PENDING],
            n_failed=self._parts[Part.FAILED],
            n_unplanned=self._parts[Part.UNPLANNED],
        )

    def look_at(self, documents: Iterable[Document]) -> None:
        """Count every distinct text once, and size those that would be sent."""
        for batch in self._distinct_texts(documents):
            self._compare(batch)

    def _distinct_texts(self, documents: Iterable[Document]) -> Iterator[dict[bytes, str]]:
        seen: set[bytes] = set()
        batch: dict[bytes, str] = {}
        for document in documents:
            for text in self._split(document):
                digest = chunk_sha256(text)
                if digest not in seen:
                    seen.add(digest)
                    batch[digest] = text
                if len(batch) == _BATCH_TEXTS:
                    yield batch
                    batch = {}
        yield batch

    def _split(self, document: Document) -> list[str]:
        self.n_documents += 1
        self.n_kept += document.is_kept
        if document.is_usable:
            return self.chunker.split(document.text, document.media_type)
        self.n_unreadable += 1
        if len(self.unreadable) < _MAX_NAMED_DOCUMENTS:
            named = Unreadable(uri=document.uri, error_message=document.error_message or "")
            self.unreadable.append(named)
        return []

    def _compare(self, texts: dict[bytes, str]) -> None:
        known = (
            {}
            if self.index is None
            else self.index.generations.known_chunks(
                list(texts), spec=self.spec, max_chunk_attempts=self.max_chunk_attempts
            )
        )
        for digest, text in texts.items():
            chunk = known.get(digest)
            if chunk is None:
                self.last_chunk_id += 1
            part = Part.UNPLANNED if chunk is None else chunk.part
            self._parts[part] += 1
            if part is Part.UNPLANNED:
                chunk_id = self.last_chunk_id if chunk is None else chunk.chunk_id
                self.requests.append(sized_request(self.spec, chunk_id, text, self.estimator))


def _notes(
    index: Index | None, settings: Settings, survey: _Survey, route: Route, now: datetime
) -> Iterator[str]:
    """What else to know before it is done, one sentence each."""
    published = None if index is None else index.generations.published()
    if published is not None and published.spec != survey.spec:
        yield (
            f"reused {survey.progress.n_embedded:,}, because the embedding spec changed from "
            f"{_name(published.spec)} to {_name(survey.spec)}, and their vectors are never mixed"
        )
    if published is not None and published.chunker != survey.chunker.fingerprint:
        yield (
            "documents are cut in another way than the published ones "
            f"({survey.chunker.fingerprint}, not {published.chunker}), so that most texts are new"
        )
    if survey.n_kept:
        kept = "1 file" if survey.n_kept == 1 else f"{survey.n_kept:,} files"
        yield f"{kept} cannot be read; the last good version is kept (corpus.keep_unreadable_days)"
    limits, n_requests = settings.limits, len(survey.requests)
    if route is Route.SYNC and n_requests > limits.max_sync_requests:
        yield (
            f"it would be refused: {n_requests:,} requests are more than "
            f"limits.max_sync_requests, {limits.max_sync_requests:,}"
        )
    if 0 < n_requests < limits.min_batch_requests and limits.route is not RouteChoice.SYNC:
        waiting_since = None if index is None else index.generations.waiting_since()
        until = (waiting_since or now) + timedelta(hours=limits.max_wait_h)
        if now < until:
            yield (
                f"they are held for more until {until:%Y-%m-%d %H:%M %Z} (limits.max_wait_h); "
                "`embedding-assets reindex --now` sends them at once"
            )
    if survey.spec.provider == "emulator":
        yield "the emulator would answer, for nothing; the dollars are what Gemini would charge"


def _name(spec: EmbeddingSpec) -> str:
    parts = (spec.provider, spec.model, f"{spec.dimensions} dimensions", spec.task_type)
    return " / ".join(part for part in parts if part)
