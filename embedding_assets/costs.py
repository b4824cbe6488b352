"""What embedding costs: prices as dated data, tokens before and dollars before and after.

Belongs here: prices, the token estimate, exact decimal arithmetic.
Does not belong here: the budget's consequences (pipeline/plan.py) and how a bill is shown.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from embedding_assets.errors import SettingsError
from embedding_assets.settings import ModelPrice
from embedding_assets.shards import Route

_MILLION = Decimal(1_000_000)

# English prose runs to about this many UTF-8 bytes a token; measured on technical documentation.
BYTES_PER_TOKEN = 3.5


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


def format_usd(amount: Decimal) -> str:
    """Dollars for people: ``$25.00``, ``$0.0403``, and never a zero for what is not nothing."""
    if 0 < amount < Decimal("0.0001"):
        return "under $0.0001"
    is_whole_cents = amount == round(amount, 2)
    return f"${amount:,.2f}" if is_whole_cents or amount >= 1 else f"${amount:,.4f}"


def estimate_tokens(text: str) -> int:
    """Tokens a text will probably be billed for, from its UTF-8 size; at least one."""
    return max(1, math.ceil(len(text.encode()) / BYTES_PER_TOKEN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a generation's shards were expected to cost and what was billed so far."""

    n_shards: int
    n_requests: int
    estimated_tokens: int
    billed_tokens: int
    estimated_usd: Decimal
    billed_usd: Decimal
