"""Prices: dated data, per model and route, and exact dollars for a number of tokens.

Belongs here: the table, overrides, the multiplication. Does not belong here: how dollars look
(wording.py), the bill (bill.py), the budget (budget.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation

from embedding_assets.errors import SettingsError
from embedding_assets.model.shards import Route, Shard
from embedding_assets.settings.values import ModelPrice

_MILLION = Decimal(1_000_000)
_MAX_USD = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million input tokens of one model."""

    model: str
    sync_usd: Decimal
    batch_usd: Decimal
    as_of: date | None  # None: whoever wrote the settings knows
    source: str

    def per_million(self, route: Route) -> Decimal:
        return self.batch_usd if route is Route.BATCH else self.sync_usd


PRICES = (
    Price(
        model="gemini-embedding-001",
        sync_usd=Decimal("0.15"),
        batch_usd=Decimal("0.075"),
        as_of=date(2025, 9, 10),
        source="Google Developers Blog, Gemini Batch API now supports embeddings",
    ),
    Price(
        model="gemini-embedding-2",
        sync_usd=Decimal("0.20"),
        batch_usd=Decimal("0.10"),
        as_of=date(2026, 11, 1),
        source="Gemini API pricing page, text input, as quoted by tokencost.app",
    ),
)


def price_of(model: str, overrides: Mapping[str, ModelPrice]) -> Price:
    """The price of a model: as set, else from the table.

    Raises SettingsError for a model whose price nobody knows: it is never taken for zero.
    """
    if (own := overrides.get(model)) is not None:
        return Price(
            model=model, sync_usd=own.sync, batch_usd=own.batch, as_of=None, source="settings"
        )
    for price in PRICES:
        if price.model == model:
            return price
    known = ", ".join(price.model for price in PRICES)
    raise SettingsError(
        f"no price is known for embedding.model {model!r} (known are: {known}); add one, in "
        f'dollars per million tokens: prices."{model}" = {{ sync = …, batch = … }}'
    )


def cost_usd(tokens: int, usd_per_million: Decimal) -> Decimal:
    """Exact dollars for a number of tokens."""
    return tokens * usd_per_million / _MILLION


def sync_cost_usd(tokens: int, model: str, overrides: Mapping[str, ModelPrice]) -> Decimal | None:
    """Dollars by the synchronous route at today's price; None if nobody knows the model's."""
    try:
        price = price_of(model, overrides)
    except SettingsError:
        return None
    return cost_usd(tokens, price.sync_usd)


def estimated_usd(shard: Shard) -> Decimal:
    """What a shard will probably cost."""
    return cost_usd(shard.estimated_tokens, shard.usd_per_million)


def parse_usd(text: str) -> Decimal:
    """Dollars that a person wrote. Raises SettingsError for what is no sensible amount."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= _MAX_USD):
        raise SettingsError(f"{text!r} is no amount of dollars; expected one like '40'")
    return amount
