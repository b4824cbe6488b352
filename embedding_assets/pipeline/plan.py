"""From a generation to shards: what is missing, packed, priced, checked against the budget.

Belongs here: the plan. Does not belong here: packing itself (shards.py), prices (costs.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from embedding_assets.costs import cost_usd, estimate_tokens, format_usd, price_of
from embedding_assets.errors import BudgetExceededError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.generations import Generation, Progress
from embedding_assets.settings import Settings
from embedding_assets.shards import (
    PackedShard,
    PackingLimits,
    Route,
    Shard,
    SizedRequest,
    choose_route,
    pack,
    request_line,
)
from embedding_assets.specs import EmbeddingSpec
from embedding_assets.store.index import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a generation still needs and what that will cost; nothing is written yet."""

    generation: Generation
    progress: Progress
    route: Route
    packed: tuple[PackedShard, ...]
    after_shard_id: int
    usd_per_million: Decimal
    sync_usd_per_million: Decimal

    @property
    def n_requests(self) -> int:
        return sum(len(shard.chunk_ids) for shard in self.packed)

    @property
    def n_bytes(self) -> int:
        return sum(shard.n_bytes for shard in self.packed)

    @property
    def estimated_tokens(self) -> int:
        return sum(shard.n_tokens for shard in self.packed)

    @property
    def estimated_cost_usd(self) -> Decimal:
        return cost_usd(self.estimated_tokens, self.usd_per_million)

    @property
    def sync_cost_usd(self) -> Decimal:
        """What the same requests would cost by the synchronous route."""
        return cost_usd(self.estimated_tokens, self.sync_usd_per_million)


def make_plan(index: Index, generation: Generation, settings: Settings) -> Plan:
    """Find what is missing and pack it. Raises SettingsError for a model without a price."""
    price = price_of(generation.spec.model, settings.prices)
    after_shard_id = index.shards.last_id()
    max_chunk_attempts = settings.limits.max_chunk_attempts
    packed = tuple(
        pack(
            _sized_requests(index, generation, max_chunk_attempts),
            PackingLimits(
                max_requests=settings.limits.max_requests_per_job,
                max_bytes=settings.limits.max_bytes_per_job,
                max_tokens=settings.max_tokens_per_job,
            ),
        )
    )
    route = choose_route(
        settings.limits.route,
        sum(len(shard.chunk_ids) for shard in packed),
        min_batch_requests=settings.limits.min_batch_requests,
    )
    return Plan(
        generation=generation,
        progress=index.generations.progress(generation, max_chunk_attempts=max_chunk_attempts),
        route=route,
        packed=packed,
        after_shard_id=after_shard_id,
        usd_per_million=price.per_million(route),
        sync_usd_per_million=price.per_million(Route.SYNC),
    )


def _sized_requests(
    index: Index, generation: Generation, max_chunk_attempts: int
) -> Iterator[SizedRequest]:
    missing = index.generations.missing_chunks(generation, max_chunk_attempts=max_chunk_attempts)
    for chunk_id, text in missing:
        yield sized_request(generation.spec, chunk_id, text)


def sized_request(spec: EmbeddingSpec, chunk_id: int, text: str) -> SizedRequest:
    """What a request weighs: the length of its line and its tokens by estimate."""
    return SizedRequest(
        chunk_id=chunk_id,
        n_bytes=len(request_line(spec, chunk_id, text)),
        n_tokens=estimate_tokens(spec.document_text(text)),
    )


def check_budget(index: Index, plan: Plan, *, max_cost_usd: Decimal) -> None:
    """Raises BudgetExceededError, with the ways on, for a plan that costs more than allowed.

    Shards that the same generation has already, say before a retry, count.
    """
    before = index.shards.bill(plan.generation).estimated_usd
    if before + plan.estimated_cost_usd > max_cost_usd:
        raise BudgetExceededError(
            f"the plan for {plan.generation.month} costs an estimated "
            f"{format_usd(plan.estimated_cost_usd)} ({plan.n_requests:,} requests, "
            f"{plan.estimated_tokens:,} tokens) on top of {format_usd(before)}, "
            f"budget.max_cost_usd is {format_usd(max_cost_usd)}; "
            "nothing was written or sent: raise the limit, or narrow corpus.paths"
        )


def write_plan(index: Index, plan: Plan, *, now: datetime) -> list[Shard]:
    """Write the plan's shards; they are waiting for submission when this returns.

    Raises LedgerError if another plan was written since this one was made.
    """
    shards = index.shards.add(
        plan.generation,
        plan.packed,
        route=plan.route,
        usd_per_million=plan.usd_per_million,
        after_id=plan.after_shard_id,
        now=now,
    )
    pass_gap(Gap.PLANNED)
    return shards
