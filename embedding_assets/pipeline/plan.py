"""From a generation to shards: what is missing, packed and priced.

Belongs here: the plan. Does not belong here: packing itself (model/shards.py), prices
(money/prices.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from embedding_assets.errors import SettingsError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.model.generations import Generation, Progress
from embedding_assets.model.passages import Passage
from embedding_assets.model.request_file import request_line
from embedding_assets.model.shards import (
    Packed,
    PackingLimits,
    Route,
    Shard,
    SizedRequest,
    choose_route,
    enough_for_batch,
    pack,
)
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.tokens import TokenEstimator
from embedding_assets.money.bill import Bill
from embedding_assets.money.estimate import AgreementCost, estimate_agreement
from embedding_assets.money.prices import Price, cost_usd, price_of
from embedding_assets.settings.values import Limits, RouteChoice, Settings
from embedding_assets.store.index import Index
from embedding_assets.wording import count

_MAX_SAMPLES = 5000  # billed requests to learn from, which takes some tenths of a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What a request weighs and costs, as far as the settings and earlier bills tell."""

    price: Price
    estimator: TokenEstimator
    last_bill: Bill | None  # of the newest generation of the model that got all of its answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a generation still needs and what that will cost; nothing is written yet."""

    generation: Generation
    progress: Progress
    packed: Packed
    route: Route
    route_reason: str  # what decided on it, with numbers
    tariff: Tariff
    agreement: AgreementCost
    after_shard_id: int  # the newest one before it; see ``write_plan``

    @property
    def usd_per_million(self) -> Decimal:
        return self.tariff.price.per_million(self.route)

    @property
    def estimated_cost_usd(self) -> Decimal:
        return cost_usd(self.packed.n_tokens, self.usd_per_million)

    @property
    def budgeted_cost_usd(self) -> Decimal:
        """With what is embedded again before publishing; nothing if nothing is sent."""
        sent_usd = self.estimated_cost_usd
        return sent_usd + self.agreement.cost_usd if sent_usd else sent_usd

    @property
    def sync_cost_usd(self) -> Decimal:
        """What the same requests would cost by the synchronous route."""
        return cost_usd(self.packed.n_tokens, self.tariff.price.per_million(Route.SYNC))

    @property
    def last_estimate_error(self) -> float | None:
        """As a share of what was billed; see ``Bill``."""
        last_bill = self.tariff.last_bill
        return last_bill.estimate_error if last_bill else None


def make_plan(index: Index, generation: Generation, settings: Settings) -> Plan:
    """Find what is missing and pack it.

    Raises SettingsError for a model without a price, and for more requests by the synchronous
    route than ``limits.max_sync_requests``.
    """
    tariff = read_tariff(index, generation.spec, settings)
    after_shard_id = index.shards.last_id()
    missing = index.generations.missing_chunks(generation, limits=settings.limits)
    requests = (sized_request(generation.spec, *chunk, tariff.estimator) for chunk in missing)
    packed = pack_requests(requests, settings)
    route, route_reason = choose_route(settings.limits, packed.n_requests)
    progress = index.generations.progress(generation, limits=settings.limits)
    plan = Plan(
        generation=generation,
        progress=progress,
        packed=packed,
        route=route,
        route_reason=route_reason,
        tariff=tariff,
        agreement=estimate_agreement(route, packed, progress, tariff.price, settings),
        after_shard_id=after_shard_id,
    )
    if is_refused(plan, settings):
        raise SettingsError(_refusal(plan, settings.limits))
    return plan


def read_tariff(index: Index, spec: EmbeddingSpec, settings: Settings) -> Tariff:
    """What is known of a spec's requests. Raises SettingsError for a model without a price."""
    return Tariff(
        price=price_of(spec.model, settings.prices),
        estimator=learned_estimator(index, spec),
        last_bill=index.bills.last(spec),
    )


def pack_requests(requests: Iterable[SizedRequest], settings: Settings) -> Packed:
    """The shards for these requests, in their order, as far as the settings fill one job."""
    limits = PackingLimits(
        max_requests=settings.limits.max_requests_per_job,
        max_bytes=settings.limits.max_bytes_per_job,
        max_tokens=settings.max_tokens_per_job,
    )
    return Packed(shards=tuple(pack(requests, limits)))


def learned_estimator(index: Index, spec: EmbeddingSpec) -> TokenEstimator:
    """The token estimate as far as this index has seen what the spec's model bills."""
    return TokenEstimator.calibrated(index.shards.billed_sample(spec, limit=_MAX_SAMPLES))


def estimate_tokens(
    index: Index, spec: EmbeddingSpec, passages: Iterable[tuple[int, Passage]]
) -> dict[int, int]:
    """The tokens of (chunk_id, passage), as sent, by the estimate that this index has learned."""
    estimator = learned_estimator(index, spec)
    return {chunk_id: estimator.estimate(spec.document_text(each)) for chunk_id, each in passages}


def is_refused(plan: Plan, settings: Settings) -> bool:
    """The synchronous route would be asked for more than it is meant for."""
    return plan.route is Route.SYNC and plan.packed.n_requests > settings.limits.max_sync_requests


def _refusal(plan: Plan, limits: Limits) -> str:
    n_requests = plan.packed.n_requests
    minutes = n_requests / limits.sync_requests_per_minute
    return (
        f"limits.route is {limits.route.value!r} and {n_requests:,} requests are to be sent: "
        f"at {limits.sync_requests_per_minute:,} a minute that takes {minutes:,.0f} minutes, "
        "at the full price; use limits.route = 'auto', or raise limits.max_sync_requests "
        f"({limits.max_sync_requests:,}) to do it all the same"
    )


def sized_request(
    spec: EmbeddingSpec, chunk_id: int, passage: Passage, estimator: TokenEstimator
) -> SizedRequest:
    """What a request weighs: the length of its line and its tokens by estimate."""
    return SizedRequest(
        chunk_id=chunk_id,
        n_bytes=len(request_line(spec, chunk_id, passage)),
        n_tokens=estimator.estimate(spec.document_text(passage)),
    )


def held_until(
    plan: Plan, settings: Settings, *, waiting_since: datetime | None, now: datetime
) -> datetime | None:
    """Until when so few requests wait for more of them; None if they are sent now.

    Only a generation's first plan waits: a retry would keep what is all but complete from its
    readers.
    """
    limits = settings.limits
    is_trickle = 0 < plan.packed.n_requests < enough_for_batch(limits)
    is_first = plan.generation.planned_at is None
    if limits.route is RouteChoice.SYNC or not (is_trickle and is_first):
        return None
    until = (waiting_since or now) + timedelta(hours=limits.max_wait_h)
    return until if now < until else None


def reason_to_hold(
    plan: Plan, settings: Settings, *, waiting_since: datetime | None, now: datetime
) -> str | None:
    """Why so few requests wait for more of them, and how long; None if they are sent."""
    until = held_until(plan, settings, waiting_since=waiting_since, now=now)
    if until is None:
        return None
    enough = enough_for_batch(settings.limits)
    wait = count(plan.packed.n_requests, "request waits", "requests wait")
    return (
        f"{wait} until there are {enough:,}, or until {until.isoformat(timespec='seconds')}; "
        "`embedding-assets reindex --now` sends them"
    )


def write_plan(index: Index, plan: Plan, *, now: datetime) -> list[Shard]:
    """Write the plan's shards; they are waiting for submission when this returns.

    Raises LedgerError if another plan was written since this one was made.
    """
    shards = index.shards.add(
        plan.generation,
        plan.packed.shards,
        route=plan.route,
        usd_per_million=plan.usd_per_million,
        after_id=plan.after_shard_id,
        now=now,
    )
    pass_gap(Gap.PLANNED)
    return shards
