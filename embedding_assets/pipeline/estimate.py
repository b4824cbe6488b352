"""What the next reindex would send and cost: the corpus as it is now against the index.

Belongs here: the pass over the corpus, which splits and plans as a reindex does (build.py,
plan.py), and writes nothing. Does not belong here: the sums (money/estimate.py).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice

from embedding_assets.corpus.census import Enumeration
from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.snapshots import open_previous
from embedding_assets.model.generations import Generation, GenerationState, Part, Progress
from embedding_assets.model.shards import SizedRequest, choose_route
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.tokens import TokenEstimator
from embedding_assets.money.estimate import (
    Costs,
    Estimate,
    Unreadable,
    estimate_agreement,
    estimate_duration,
)
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.pipeline.build import BuildSummary, split_documents
from embedding_assets.pipeline.plan import (
    Plan,
    held_until,
    is_refused,
    pack_requests,
    read_tariff,
    sized_request,
)
from embedding_assets.pipeline.read import read_documents
from embedding_assets.settings.values import Limits, Settings
from embedding_assets.store.documents import KnownChunk, distinct_passages
from embedding_assets.store.index import Index

_MAX_NAMED_DOCUMENTS = 3


def estimate_reindex(index: Index, settings: Settings, *, provider: str, now: datetime) -> Estimate:
    """Read and split the corpus and see what the index lacks, as the next build and plan would.

    ``provider`` is whom a reindex would talk to. What is as in the previous snapshot is not read
    again, but every document is split, also one that the index has split before. Raises
    SettingsError for a model without a price, CorpusError for a corpus path that cannot be used.
    """
    spec = EmbeddingSpec.of(settings.embedding, provider=provider)
    chunker = Chunker.of(settings, spec)
    tariff = read_tariff(index, spec, settings)
    with open_previous(settings.snapshots_dir) as previous:
        files = Enumeration()
        corpus = read_documents(settings, previous, now=now, census=files)
        survey = _look_at(
            index,
            corpus,
            chunker,
            tariff.estimator,
            _next_generation(spec, chunker, now),
            limits=settings.limits,
        )
    packed = pack_requests(survey.requests, settings)
    route, route_reason = choose_route(settings.limits, packed.n_requests)
    plan = Plan(
        generation=survey.built.generation,
        progress=survey.progress,
        packed=packed,
        route=route,
        route_reason=route_reason,
        tariff=tariff,
        agreement=estimate_agreement(route, packed, survey.progress, tariff.price, settings),
        after_shard_id=index.shards.last_id(),
    )
    purse = look_into_purse(index, settings, provider=provider, now=now)
    return Estimate(
        spec=spec,
        files=files.census.summary,
        progress=plan.progress,
        n_unreadable=survey.built.n_failed,
        unreadable=survey.unreadable,
        packed=plan.packed,
        route=plan.route,
        route_reason=plan.route_reason,
        price=tariff.price,
        costs=Costs.of(plan.packed.n_tokens, tariff.price),
        token_basis=tariff.estimator.basis,
        duration=estimate_duration(plan.route, plan.packed, settings),
        agreement=plan.agreement,
        over_budget=purse.reason_against(plan.generation.generation_id, plan.budgeted_cost_usd),
        notes=tuple(_notes(index, plan, survey.built, settings, now)),
        last_bill=tariff.last_bill,
    )


def _next_generation(spec: EmbeddingSpec, chunker: Chunker, now: datetime) -> Generation:
    """What a build would begin now; nothing is spent on it yet, for no generation has its id."""
    return Generation(
        generation_id=0,
        month=f"{now:%Y-%m}",
        spec_id=0,
        spec=spec,
        chunker=chunker.fingerprint,
        state=GenerationState.DRAFT,
        created_at=now,
        planned_at=None,
        published_at=None,
        n_documents=0,
        n_chunks=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """What one pass over the corpus found: of its texts only their sizes."""

    built: BuildSummary
    unreadable: tuple[Unreadable, ...]  # the first few
    progress: Progress
    requests: list[SizedRequest]  # in chunk_id order


def _look_at(
    index: Index,
    documents: Iterable[Document],
    chunker: Chunker,
    estimator: TokenEstimator,
    draft: Generation,
    *,
    limits: Limits,
) -> _Survey:
    """Split and look up what a build would add to this draft, a batch at a time."""
    built = BuildSummary(generation=draft)
    unreadable: list[Document] = []
    parts: dict[bytes, Part] = {}
    requests: list[SizedRequest] = []
    new_ids = count(index.documents.last_chunk_id() + 1)
    for batch in split_documents(documents, chunker, known=lambda _: set()):
        built = built.plus(batch)
        failed = (item.document for item in batch if not item.document.is_usable)
        unreadable.extend(islice(failed, _MAX_NAMED_DOCUMENTS - len(unreadable)))
        passages = {key: each for key, each in distinct_passages(batch).items() if key not in parts}
        known = index.documents.known_chunks(list(passages), spec=draft.spec, limits=limits)
        for key, passage in passages.items():
            chunk = known.get(key) or KnownChunk(chunk_id=next(new_ids), part=Part.UNPLANNED)
            parts[key] = chunk.part
            if chunk.part is Part.UNPLANNED:
                requests.append(sized_request(draft.spec, chunk.chunk_id, passage, estimator))
    return _Survey(
        built=built,
        unreadable=tuple(
            Unreadable(uri=document.uri, error_message=document.error_message or "")
            for document in unreadable
        ),
        progress=Progress.of(built.n_documents, Counter(parts.values())),
        requests=sorted(requests, key=lambda request: request.chunk_id),
    )


def _notes(
    index: Index, plan: Plan, built: BuildSummary, settings: Settings, now: datetime
) -> Iterator[str]:
    """What else to know before it is done, one sentence each."""
    draft, published = plan.generation, index.generations.published()
    if published is not None and published.spec != draft.spec:
        yield (
            f"reused {plan.progress.n_embedded:,}, because the embedding spec changed from "
            f"{_name(published.spec)} to {_name(draft.spec)}, and their vectors are never mixed"
        )
    if published is not None and published.chunker != draft.chunker:
        yield (
            "documents are read or cut in another way than the published ones "
            f"({draft.chunker}, not {published.chunker}), so that texts may be new"
        )
    if built.n_kept:
        kept = "1 file" if built.n_kept == 1 else f"{built.n_kept:,} files"
        yield f"{kept} cannot be read; the last good version is kept (corpus.keep_unreadable_days)"
    if is_refused(plan, settings):
        yield (
            f"it would be refused: {plan.packed.n_requests:,} requests are more than "
            f"limits.max_sync_requests, {settings.limits.max_sync_requests:,}"
        )
    waiting_since = index.generations.waiting_since()
    until = held_until(plan, settings, waiting_since=waiting_since, now=now)
    if until is not None:
        yield (
            f"they are held for more until {until:%Y-%m-%d %H:%M %Z} (limits.max_wait_h); "
            "`embedding-assets reindex --now` sends them at once"
        )
    if draft.spec.provider == "emulator":
        yield "the emulator would answer, for nothing; the dollars are what Gemini would charge"


def _name(spec: EmbeddingSpec) -> str:
    parts = (spec.provider, spec.model, f"{spec.dimensions} dimensions", spec.task_type)
    return " / ".join(part for part in parts if part)
