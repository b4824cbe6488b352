"""What embedding costs: prices as dated data, tokens and dollars before and after.

Belongs here: prices, exact decimal arithmetic, the bill.
Does not belong here: the token estimate (tokens.py), the budget (budget.py), how a bill is shown.
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


def exact_usd(amount: Decimal) -> str:
    """Dollars for programs: all digits, no exponent."""
    return f"{amount.normalize():f}"


def show_usd(amount: Decimal) -> str:
    """To the last digit, and cents at the least."""
    short = amount.normalize()
    is_whole_cents = short == round(short, 2)
    shown = f"{abs(short):,.2f}" if is_whole_cents else f"{abs(short):,f}"
    return f"-${shown}" if amount < 0 else f"${shown}"


def parse_usd(text: str) -> Decimal:
    """Dollars that a person wrote. Raises SettingsError for what is no sensible amount."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= _MAX_USD):
        raise SettingsError(f"{text!r} is no amount of dollars; expected one like '40'")
    return amount


def format_usd(amount: Decimal) -> str:
    """Dollars for people: ``$25.00``, ``$0.0403``, and never a zero for what is not nothing."""
    if 0 < amount < Decimal("0.0001"):
        return "under $0.0001"
    is_whole_cents = amount == round(amount, 2)
    return f"${amount:,.2f}" if is_whole_cents or amount >= 1 else f"${amount:,.4f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a generation's shards were expected to cost and what was billed so far."""

    n_shards: int
    n_requests: int
    estimated_tokens: int
    billed_tokens: int
    estimated_usd: Decimal
    billed_usd: Decimal

    @property
    def estimate_error(self) -> float | None:
        """By how much of what was billed the estimate was too high: 0.1 is 10 % too high.

        None before anything was billed. Requests that failed were estimated and not billed.
        """
        if not self.billed_tokens:
            return None
        return self.estimated_tokens / self.billed_tokens - 1
