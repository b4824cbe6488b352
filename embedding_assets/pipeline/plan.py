"""From a generation to shards: what is missing, packed and priced.

Belongs here: the plan. Does not belong here: packing itself (model/shards.py), prices
(money/prices.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from embedding_assets.errors import SettingsError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.model.generations import Generation, Progress
from embedding_assets.model.request_file import request_line
from embedding_assets.model.shards import (
    PackedShard,
    PackingLimits,
    Route,
    Shard,
    SizedRequest,
    choose_route,
    pack,
)
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.tokens import TokenEstimator
from embedding_assets.money.prices import cost_usd, price_of
from embedding_assets.settings.values import RouteChoice, Settings
from embedding_assets.store.index import Index

_MAX_SAMPLES = 5000  # billed requests to learn from, which takes some tenths of a second


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
    estimator: TokenEstimator
    last_estimate_error: float | None  # as a share of what was billed; see bill.Bill

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
    """Find what is missing and pack it.

    Raises SettingsError for a model without a price, and for more requests by the synchronous
    route than ``limits.max_sync_requests``.
    """
    price = price_of(generation.spec.model, settings.prices)
    after_shard_id = index.shards.last_id()
    max_chunk_attempts = settings.limits.max_chunk_attempts
    estimator = learned_estimator(index, generation.spec)
    last_bill = index.bills.last(generation.spec)
    packed = tuple(
        pack(
            _sized_requests(index, generation, estimator, max_chunk_attempts),
            packing_limits(settings),
        )
    )
    n_requests = sum(len(shard.chunk_ids) for shard in packed)
    route, _ = choose_route(settings.limits, n_requests)
    _check_sync_size(route, n_requests, settings)
    return Plan(
        generation=generation,
        progress=index.generations.progress(generation, max_chunk_attempts=max_chunk_attempts),
        route=route,
        packed=packed,
        after_shard_id=after_shard_id,
        usd_per_million=price.per_million(route),
        sync_usd_per_million=price.per_million(Route.SYNC),
        estimator=estimator,
        last_estimate_error=last_bill.estimate_error if last_bill else None,
    )


def packing_limits(settings: Settings) -> PackingLimits:
    """What the settings allow in one job."""
    return PackingLimits(
        max_requests=settings.limits.max_requests_per_job,
        max_bytes=settings.limits.max_bytes_per_job,
        max_tokens=settings.max_tokens_per_job,
    )


def learned_estimator(index: Index, spec: EmbeddingSpec) -> TokenEstimator:
    """The token estimate as far as this index has seen what the spec's model bills."""
    return TokenEstimator.calibrated(index.shards.billed_sample(spec, limit=_MAX_SAMPLES))


def _check_sync_size(route: Route, n_requests: int, settings: Settings) -> None:
    limits = settings.limits
    if route is Route.SYNC and n_requests > limits.max_sync_requests:
        minutes = n_requests / limits.sync_requests_per_minute
        raise SettingsError(
            f"limits.route is {limits.route.value!r} and {n_requests:,} requests are to be sent: "
            f"at {limits.sync_requests_per_minute:,} a minute that takes {minutes:,.0f} minutes, "
            "at the full price; use limits.route = 'auto', or raise limits.max_sync_requests "
            f"({limits.max_sync_requests:,}) to do it all the same"
        )


def _sized_requests(
    index: Index, generation: Generation, estimator: TokenEstimator, max_chunk_attempts: int
) -> Iterator[SizedRequest]:
    missing = index.generations.missing_chunks(generation, max_chunk_attempts=max_chunk_attempts)
    for chunk_id, text in missing:
        yield sized_request(generation.spec, chunk_id, text, estimator)


def sized_request(
    spec: EmbeddingSpec, chunk_id: int, text: str, estimator: TokenEstimator
) -> SizedRequest:
    """What a request weighs: the length of its line and its tokens by estimate."""
    return SizedRequest(
        chunk_id=chunk_id,
        n_bytes=len(request_line(spec, chunk_id, text)),
        n_tokens=estimator.estimate(spec.document_text(text)),
    )


def reason_to_hold(
    plan: Plan, settings: Settings, *, waiting_since: datetime | None, now: datetime
) -> str | None:
    """Why so few requests wait for more of them, and how long; None if they are sent.

    Only a generation's first plan waits: a retry would keep what is all but complete from its
    readers.
    """
    limits = settings.limits
    is_trickle = 0 < plan.n_requests < limits.min_batch_requests
    is_first = plan.generation.planned_at is None
    if limits.route is RouteChoice.SYNC or not (is_trickle and is_first):
        return None
    until = (waiting_since or now) + timedelta(hours=limits.max_wait_h)
    if now >= until:
        return None
    return (
        f"{plan.n_requests} requests wait until there are {limits.min_batch_requests}, or until "
        f"{until.isoformat(timespec='seconds')}; `embedding-assets reindex --now` sends them"
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
