"""Whether what is stored agrees with what Gemini answers for the same texts now.

Belongs here: embedding some texts again, once, within the budget; comparing what came with what is
stored. Does not belong here: what disagreement means (model/agreement.py, model/gates.py).

The vectors that were answered are kept, not a verdict: what is bought anew is compared with them,
and no text is embedded again a second time for the same generation. Texts of earlier months are
embedded again once in a calendar month, whatever is published in it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

import numpy as np

from embedding_assets.errors import (
    AnswerCountError,
    BudgetReachedError,
    GeminiError,
    NotYetError,
    OtherProviderError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
    SettingsError,
)
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.agreement import OLD_ONE_IN, Agreement, Sample
from embedding_assets.model.generations import Generation, GenerationState, Progress
from embedding_assets.model.passages import Passage
from embedding_assets.model.vectors import unit_vector
from embedding_assets.money.budget import month_start
from embedding_assets.money.prices import cost_usd, price_of
from embedding_assets.pipeline.adoption import check_doubt
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.pipeline.plan import learned_estimator
from embedding_assets.pipeline.sync_route import alone
from embedding_assets.settings.values import Settings
from embedding_assets.store.agreement import FreshVector
from embedding_assets.store.index import Index
from embedding_assets.wording import count

Connect = Callable[[], AbstractContextManager[GeminiClient]]
_Passages = Sequence[tuple[int, Passage]]  # each with its chunk_id


def embed_again(
    index: Index,
    generation: Generation,
    progress: Progress,
    settings: Settings,
    *,
    connect: Connect,
    now: datetime,
) -> str | None:
    """Embed the sampled texts of a finished generation for which that was not done yet.

    Why it could not be done; None if it was, or there is nothing to do.
    """
    is_early = progress.n_pending or progress.n_unplanned
    if is_early or generation.state is not GenerationState.BUILDING:
        return None
    with alone(settings.results_dir):
        passages = _passages_to_embed(index, generation, settings.publishing.agreement_samples, now)
        try:
            if passages:
                _buy(index, generation, passages, settings, connect, now)
        except (GeminiError, SettingsError, NotYetError) as exc:
            them = count(len(passages), "sampled text was", "sampled texts were")
            return f"{them} not embedded again to compare: {exc}"
    return None


def _passages_to_embed(
    index: Index, generation: Generation, n_samples: int, now: datetime
) -> _Passages:
    """What the sample lacks."""
    if not n_samples:
        return ()
    month = month_start(now)
    known = index.agreements.fresh_vectors(generation, since=month)
    known_ids = {one.chunk_id for one in known}
    n_old = n_samples // OLD_ONE_IN
    new = index.agreements.new_passages(generation, limit=n_samples - n_old)
    n_old_known = sum(not one.is_new for one in known)
    old = index.agreements.old_passages(
        generation, before=month, without=known_ids, limit=max(0, n_old - n_old_known)
    )
    return [one for one in new if one[0] not in known_ids] + old


def _buy(
    index: Index,
    generation: Generation,
    passages: _Passages,
    settings: Settings,
    connect: Connect,
    now: datetime,
) -> None:
    """One call, on record before it is made and when it is answered."""
    check_doubt(index)
    spec = generation.spec
    sent = [spec.document_text(passage) for _, passage in passages]
    n_tokens = sum(map(learned_estimator(index, spec).estimate, sent))
    usd_per_million = price_of(spec.model, settings.prices).sync_usd
    purse = look_into_purse(index, settings, provider=spec.provider, now=now)
    reason = purse.reason_against(generation.generation_id, cost_usd(n_tokens, usd_per_million))
    if reason is not None:
        raise BudgetReachedError(
            f"{reason}; raise the limit, or lower publishing.agreement_samples"
        )
    with connect() as gemini:
        if gemini.provider != spec.provider:
            raise OtherProviderError(
                f"the generation is of {spec.provider}, and {gemini.provider} answers now; is the "
                "key set?"
            )
        call_id = index.agreements.announce(
            generation,
            n_texts=len(passages),
            estimated_tokens=n_tokens,
            usd_per_million=usd_per_million,
            now=now,
        )
        _call(index, gemini, generation, call_id, [chunk_id for chunk_id, _ in passages], sent)


def _call(
    index: Index,
    gemini: GeminiClient,
    generation: Generation,
    call_id: int,
    chunk_ids: Sequence[int],
    sent: Sequence[str],
) -> None:
    spec = generation.spec
    try:
        answer = gemini.embed(
            sent, model=spec.model, dimensions=spec.dimensions, task_type=spec.document_task_type
        )
        vectors = _unit_vectors(answer.vectors, spec.dimensions, answer.billed_tokens)
    except (RateLimitedError, OutcomeUnknownError, AnswerCountError) as exc:
        billed_tokens = exc.billed_tokens if isinstance(exc, AnswerCountError) else 0
        index.agreements.record(
            call_id,
            spec_id=generation.spec_id,
            billed_tokens=billed_tokens,
            vectors={},
            error_message=str(exc),
        )
        raise
    except RefusedError:
        index.agreements.forget_call(call_id)
        raise
    pass_gap(Gap.EMBEDDED_AGAIN)
    index.agreements.record(
        call_id,
        spec_id=generation.spec_id,
        billed_tokens=answer.billed_tokens,
        vectors=dict(zip(chunk_ids, vectors, strict=True)),
    )


def _unit_vectors(
    vectors: Sequence[Sequence[float]], dimensions: int, billed_tokens: int | None
) -> list[bytes]:
    """As vectors are stored. Raises AnswerCountError if one of them could not be."""
    try:
        return [unit_vector(np.array(vector), dimensions=dimensions) for vector in vectors]
    except ValueError as exc:
        raise AnswerCountError(str(exc), billed_tokens=billed_tokens) from exc


def read_agreement(
    index: Index,
    generation: Generation,
    settings: Settings,
    *,
    trouble: str | None = None,
    now: datetime,
) -> Agreement:
    """How the stored vectors compare with what was answered for their texts; nothing is sent."""
    min_agreement = settings.publishing.min_agreement
    pairs = index.agreements.fresh_vectors(generation, since=month_start(now))
    cosines = [_cosine(pair) for pair in pairs]
    disagreeing = [
        pair for pair, cosine in zip(pairs, cosines, strict=True) if cosine < min_agreement
    ]
    elsewhere = _stored_elsewhere(index, generation, disagreeing, min_agreement)
    return Agreement(
        samples=tuple(
            Sample(
                chunk_id=pair.chunk_id,
                shard_key=pair.shard_key,
                is_new=pair.is_new,
                cosine=cosine,
                is_elsewhere=pair.chunk_id in elsewhere,
            )
            for pair, cosine in zip(pairs, cosines, strict=True)
        ),
        trouble=trouble,
    )


def _cosine(pair: FreshVector) -> float:
    """Both have length 1."""
    fresh, stored = (np.frombuffer(vector, dtype="<f4") for vector in (pair.fresh, pair.stored))
    return float(fresh @ stored) if fresh.shape == stored.shape else 0.0


def _stored_elsewhere(
    index: Index, generation: Generation, disagreeing: Sequence[FreshVector], min_agreement: float
) -> set[int]:
    """The chunks whose vectors, as they are answered now, are stored with other texts."""
    if not disagreeing:
        return set()
    fresh = np.stack([np.frombuffer(pair.fresh, dtype="<f4") for pair in disagreeing])
    is_found = np.zeros(len(disagreeing), bool)
    with index.published.view_of(generation) as view:
        for block in view.vector_blocks():
            is_found |= (block.matrix @ fresh.T >= min_agreement).any(axis=0)
    return {pair.chunk_id for pair, found in zip(disagreeing, is_found, strict=True) if found}
