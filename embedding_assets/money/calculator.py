"""The calculator: what corpora made of numbers would cost, by route and by year.

Belongs here: assumptions, scenarios, their sums. Does not belong here: an estimate of a real corpus
(estimate.py), how a table looks (cli/show/).
"""

import math
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from embedding_assets.errors import SettingsError
from embedding_assets.model.shards import Route, choose_route
from embedding_assets.model.tokens import DEFAULT
from embedding_assets.money.estimate import Costs
from embedding_assets.money.prices import Price, parse_usd, price_of
from embedding_assets.settings.values import Settings

SCENARIO_DOCUMENTS = (10, 1_000, 10_000, 100_000)
DEFAULT_TOKENS_PER_DOCUMENT = 500
DEFAULT_REINDEXES_PER_YEAR = 12

# Up to here every product is exact: it has fewer than the 28 digits of a Decimal's context.
_MAX_DOCUMENTS = 100_000_000
_MAX_TOKENS_PER_DOCUMENT = 1_000_000
_MAX_REINDEXES_PER_YEAR = 1_000
_MAX_PRICE_USD = 1_000
_PRICE_DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """A corpus made of numbers. Raises SettingsError for one out of range, by its option."""

    n_documents: int
    price: Price
    tokens_per_document: int
    reindexes_per_year: int

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
    with suppress(SettingsError):
        usd = parse_usd(text)
        if 0 < usd <= _MAX_PRICE_USD and usd == round(usd, _PRICE_DECIMALS):
            return usd
    raise SettingsError(
        f"{option} is {text!r}; expected dollars per million tokens, above 0 and up to "
        f"{_MAX_PRICE_USD:,}, with at most {_PRICE_DECIMALS} decimal places, like 0.025"
    )


def assume(
    settings: Settings,
    *,
    n_documents: int,
    tokens_per_document: int = DEFAULT_TOKENS_PER_DOCUMENT,
    reindexes_per_year: int = DEFAULT_REINDEXES_PER_YEAR,
    sync_price: str | None = None,
    batch_price: str | None = None,
) -> Assumptions:
    """What was typed, at the price of the configured model if none was.

    Raises SettingsError for what is out of range, and for a model without a price.
    """
    return Assumptions(
        n_documents=n_documents,
        price=_assumed_price(settings, sync_price, batch_price),
        tokens_per_document=tokens_per_document,
        reindexes_per_year=reindexes_per_year,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Calculation:
    """The usual scenarios with the one that was asked for, by size, and what a year of it costs."""

    assumptions: Assumptions
    asked: Scenario
    scenarios: tuple[Scenario, ...]

    @property
    def yearly(self) -> Costs:
        return self.asked.costs.times(self.assumptions.reindexes_per_year)


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
    route, _ = choose_route(settings.limits, n_requests)
    return Scenario(
        n_documents=n_documents,
        n_tokens=n_tokens,
        n_requests=n_requests,
        route=route,
        costs=Costs.of(n_tokens, assumptions.price),
    )
