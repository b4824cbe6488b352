"""Estimates: what a reindex would send and cost, and the same sums for a corpus made of numbers.

Belongs here: the values, the waves that jobs go in, the table of scenarios.
Does not belong here: looking at corpus and index (pipeline/estimate.py), prices (costs.py), how
it is shown (display.py).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from embedding_assets.errors import SettingsError
from embedding_assets.model.generations import Progress
from embedding_assets.model.shards import PackedShard, Route, choose_route
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.tokens import DEFAULT
from embedding_assets.money.prices import Bill, Price, cost_usd, price_of
from embedding_assets.settings.values import Limits, RouteChoice, Settings

SCENARIO_DOCUMENTS = (10, 1_000, 10_000, 100_000)
DEFAULT_TOKENS_PER_DOCUMENT = 500
DEFAULT_REINDEXES_PER_YEAR = 12

# Users see most jobs end within this; Google aims at 24 hours (Gemini Batch API guide, 2026).
USUAL_JOB_MINUTES = (10, 30)

# Up to here every product is exact: it has fewer than the 28 digits of a Decimal's context.
_MAX_DOCUMENTS = 100_000_000
_MAX_TOKENS_PER_DOCUMENT = 1_000_000
_MAX_REINDEXES_PER_YEAR = 1_000
_MAX_PRICE_USD = 1_000
_PRICE_DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The same tokens by both routes, in exact dollars."""

    sync_usd: Decimal
    batch_usd: Decimal

    @classmethod
    def of(cls, n_tokens: int, price: Price) -> Self:
        """What this many tokens cost at a price."""
        return cls(
            sync_usd=cost_usd(n_tokens, price.sync_usd),
            batch_usd=cost_usd(n_tokens, price.batch_usd),
        )

    @property
    def saving_usd(self) -> Decimal:
        """What the Batch API saves; negative at a price that makes it the dearer one."""
        return self.sync_usd - self.batch_usd

    def by(self, route: Route) -> Decimal:
        return self.batch_usd if route is Route.BATCH else self.sync_usd

    def times(self, n: int) -> Self:
        """The same n times."""
        return type(self)(sync_usd=self.sync_usd * n, batch_usd=self.batch_usd * n)

    def as_dict(self) -> dict[str, str]:
        """Exact decimal text for JSON."""
        return {
            "sync_usd": f"{self.sync_usd:f}",
            "batch_usd": f"{self.batch_usd:f}",
            "saving_usd": f"{self.saving_usd:f}",
        }


def count_waves(
    job_tokens: Iterable[int], *, max_enqueued_tokens: int, max_concurrent_jobs: int
) -> int:
    """How many times jobs are sent, in their order, if each time all that fits is sent at once.

    A job that alone exceeds ``max_enqueued_tokens`` is split on the way; its parts go one by one.
    """
    n_waves = n_jobs = n_tokens = 0
    for tokens in job_tokens:
        n_jobs += 1
        n_tokens += tokens
        if n_waves == 0 or n_jobs > max_concurrent_jobs or n_tokens > max_enqueued_tokens:
            n_waves += max(1, math.ceil(tokens / max_enqueued_tokens))
            n_jobs, n_tokens = 1, tokens
    return n_waves


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How long it usually takes until all is answered."""

    n_waves: int  # of batch jobs; none by the synchronous route
    max_enqueued_tokens: int  # in the jobs of one wave
    minutes_from: int
    minutes_to: int


def estimate_duration(route: Route, packed: Sequence[PackedShard], settings: Settings) -> Duration:
    """Waves of usual jobs, or synchronous calls at their pace. Jobs under way do not count."""
    max_tokens = settings.max_enqueued_tokens
    if route is Route.SYNC:
        n_requests = sum(len(shard.chunk_ids) for shard in packed)
        most = math.ceil(n_requests / settings.limits.sync_requests_per_minute)
        least = n_requests // settings.limits.sync_requests_per_minute
        return Duration(
            n_waves=0, max_enqueued_tokens=max_tokens, minutes_from=least, minutes_to=most
        )
    n_waves = count_waves(
        (shard.n_tokens for shard in packed),
        max_enqueued_tokens=max_tokens,
        max_concurrent_jobs=settings.limits.max_concurrent_jobs,
    )
    least, most = USUAL_JOB_MINUTES
    return Duration(
        n_waves=n_waves,
        max_enqueued_tokens=max_tokens,
        minutes_from=n_waves * least,
        minutes_to=n_waves * most,
    )


def route_reason(limits: Limits, n_requests: int) -> str:
    """Why ``choose_route`` chooses what it does, with numbers."""
    if n_requests == 0:
        return "there is nothing to send"
    if limits.route is not RouteChoice.AUTO:
        return f'limits.route is "{limits.route.value}"'
    least = f"limits.min_batch_requests, {limits.min_batch_requests:,}"
    if n_requests < limits.min_batch_requests:
        return f"{_requests(n_requests)} fewer than {least}"
    if n_requests > limits.max_sync_requests:
        return (
            f"{_requests(n_requests)} more than {limits.max_sync_requests:,}, from where on the "
            "synchronous route is slow at its rate limit"
        )
    return f"{_requests(n_requests)} not fewer than {least}"


def _requests(n: int) -> str:
    return "1 request is" if n == 1 else f"{n:,} requests are"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A document that would be left out, and why."""

    uri: str
    error_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the next reindex would send and cost if it began now."""

    spec: EmbeddingSpec
    progress: Progress  # of its generation just before it is planned
    n_unreadable: int
    unreadable: tuple[Unreadable, ...]  # the first few
    packed: tuple[PackedShard, ...]
    route: Route
    route_reason: str
    price: Price
    costs: Costs
    token_basis: str  # what the number of tokens rests on
    duration: Duration
    over_budget: str | None  # why it would not be sent; None if the budget is enough
    notes: tuple[str, ...]
    last_bill: Bill | None  # of the newest generation that got all of its answers

    @property
    def n_requests(self) -> int:
        return sum(len(shard.chunk_ids) for shard in self.packed)

    @property
    def n_tokens(self) -> int:
        return sum(shard.n_tokens for shard in self.packed)

    @property
    def n_bytes(self) -> int:
        return sum(shard.n_bytes for shard in self.packed)

    @property
    def n_jobs(self) -> int:
        """Batch jobs; none by the synchronous route."""
        return len(self.packed) if self.route is Route.BATCH else 0

    @property
    def cost_usd(self) -> Decimal:
        """By the route it will take."""
        return self.costs.by(self.route)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; dollars as exact decimal text."""
        return {
            "provider": self.spec.provider,
            "model": self.spec.model,
            "dimensions": self.spec.dimensions,
            "documents": self.progress.n_documents,
            "unreadable_documents": self.n_unreadable,
            "unreadable": [
                {"uri": one.uri, "error_message": one.error_message} for one in self.unreadable
            ],
            "chunks": self.progress.n_chunks,
            "reused": self.progress.n_embedded,
            "under_way": self.progress.n_pending,
            "given_up": self.progress.n_failed,
            "requests": self.n_requests,
            "bytes": self.n_bytes,
            "tokens": self.n_tokens,
            "token_basis": self.token_basis,
            "jobs": self.n_jobs,
            "route": self.route.value,
            "route_reason": self.route_reason,
            **_price_as_dict(self.price),
            **self.costs.as_dict(),
            "cost_usd": f"{self.cost_usd:f}",
            "waves": self.duration.n_waves,
            "minutes_from": self.duration.minutes_from,
            "minutes_to": self.duration.minutes_to,
            "over_budget": self.over_budget,
            "notes": list(self.notes),
            "last_estimate": _bill_as_dict(self.last_bill),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """A corpus made of numbers. Raises SettingsError for one out of range, by its option."""

    n_documents: int
    price: Price
    tokens_per_document: int = DEFAULT_TOKENS_PER_DOCUMENT
    reindexes_per_year: int = DEFAULT_REINDEXES_PER_YEAR

    def __post_init__(self) -> None:
        for option, value, most in (
            ("--documents", self.n_documents, _MAX_DOCUMENTS),
            ("--tokens-per-document", self.tokens_per_document, _MAX_TOKENS_PER_DOCUMENT),
            ("--reindexes-per-year", self.reindexes_per_year, _MAX_REINDEXES_PER_YEAR),
        ):
            if not 1 <= value <= most:
                raise SettingsError(f"{option} is {value}; expected a number from 1 to {most:,}")

    @property
    def is_batch_dearer(self) -> bool:
        return self.price.batch_usd > self.price.sync_usd


def _parse_price(option: str, text: str) -> Decimal:
    """Dollars per million tokens as typed. Raises SettingsError, with the option's name."""
    try:
        usd = Decimal(text)
        if 0 < usd <= _MAX_PRICE_USD and usd == round(usd, _PRICE_DECIMALS):
            return usd
    except InvalidOperation:
        pass
    raise SettingsError(
        f"{option} is {text!r}; expected dollars per million tokens, above 0 and up to "
        f"{_MAX_PRICE_USD:,}, with at most {_PRICE_DECIMALS} decimal places, like 0.025"
    )


def assume(
    settings: Settings,
    *,
    n_documents: int,
    tokens_per_document: int | None = None,
    sync_price: str | None = None,
    batch_price: str | None = None,
    reindexes_per_year: int | None = None,
) -> Assumptions:
    """What was typed, and for the rest the defaults and the price of the configured model.

    Raises SettingsError for what is out of range, and for a model without a price.
    """
    return Assumptions(
        n_documents=n_documents,
        price=_assumed_price(settings, sync_price, batch_price),
        tokens_per_document=(
            DEFAULT_TOKENS_PER_DOCUMENT if tokens_per_document is None else tokens_per_document
        ),
        reindexes_per_year=(
            DEFAULT_REINDEXES_PER_YEAR if reindexes_per_year is None else reindexes_per_year
        ),
    )


def _assumed_price(settings: Settings, sync_price: str | None, batch_price: str | None) -> Price:
    model = settings.embedding.model
    if sync_price is None and batch_price is None:
        return price_of(model, settings.prices)
    if sync_price is None or batch_price is None:
        raise SettingsError("--sync-price and --batch-price go together; give both or neither")
    return Price(
        model=model,
        sync_usd=_parse_price("--sync-price", sync_price),
        batch_usd=_parse_price("--batch-price", batch_price),
        as_of=None,
        source="command line",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One reindex of so many documents, all of them new."""

    n_documents: int
    n_tokens: int
    n_requests: int  # roughly: as if the chunks were full
    route: Route
    costs: Costs

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; dollars as exact decimal text."""
        return {
            "documents": self.n_documents,
            "tokens": self.n_tokens,
            "requests": self.n_requests,
            "route": self.route.value,
            **self.costs.as_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Calculation:
    """The usual scenarios with the one that was asked for, by size, and what a year of it costs."""

    assumptions: Assumptions
    asked: Scenario
    scenarios: tuple[Scenario, ...]

    @property
    def yearly(self) -> Costs:
        return self.asked.costs.times(self.assumptions.reindexes_per_year)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; dollars as exact decimal text."""
        return {
            "documents": self.assumptions.n_documents,
            "tokens_per_document": self.assumptions.tokens_per_document,
            "reindexes_per_year": self.assumptions.reindexes_per_year,
            **_price_as_dict(self.assumptions.price),
            "scenarios": [scenario.as_dict() for scenario in self.scenarios],
            "yearly": self.yearly.as_dict(),
        }


def calculate(assumptions: Assumptions, settings: Settings) -> Calculation:
    """Do the sums; the settings say how long chunks are and which route so many requests take."""
    sizes = sorted({*SCENARIO_DOCUMENTS, assumptions.n_documents})
    scenarios = {size: _scenario(size, assumptions, settings) for size in sizes}
    return Calculation(
        assumptions=assumptions,
        asked=scenarios[assumptions.n_documents],
        scenarios=tuple(scenarios.values()),
    )


def _scenario(n_documents: int, assumptions: Assumptions, settings: Settings) -> Scenario:
    n_tokens = n_documents * assumptions.tokens_per_document
    tokens_per_chunk = DEFAULT.estimate("x" * settings.chunking.max_chars)
    n_requests = n_documents * math.ceil(assumptions.tokens_per_document / tokens_per_chunk)
    return Scenario(
        n_documents=n_documents,
        n_tokens=n_tokens,
        n_requests=n_requests,
        route=choose_route(
            settings.limits.route,
            n_requests,
            min_batch_requests=settings.min_batch_requests,
        ),
        costs=Costs.of(n_tokens, assumptions.price),
    )


def _bill_as_dict(bill: Bill | None) -> dict[str, Any] | None:
    if bill is None or bill.estimate_error is None:
        return None
    return {
        "estimated_tokens": bill.estimated_tokens,
        "billed_tokens": bill.billed_tokens,
        "off_by_percent": round(100 * bill.estimate_error, 2),
    }


def _price_as_dict(price: Price) -> dict[str, str]:
    return {
        "sync_usd_per_million": f"{price.sync_usd:f}",
        "batch_usd_per_million": f"{price.batch_usd:f}",
        "price_source": price.source,
    }
