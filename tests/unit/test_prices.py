"""Prices: exact dollars, and no price made up."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.errors import SettingsError
from embedding_assets.model.shards import Route
from embedding_assets.money.prices import PRICES, Price, cost_usd, parse_usd, price_of
from embedding_assets.settings.values import ModelPrice


def test_ten_thousand_documents_cost_cents() -> None:
    """10,000 texts of 500 tokens at $0.025 per million tokens are $0.125."""
    assert cost_usd(10_000 * 500, Decimal("0.025")) == Decimal("0.125")


@given(st.lists(st.integers(0, 10**9), max_size=20), st.sampled_from(PRICES))
def test_dollars_add_up(tokens: list[int], price: Price) -> None:
    """The parts cost exactly what the whole costs: no rounding anywhere."""
    parts = [cost_usd(n, price.sync_usd) for n in tokens]
    assert sum(parts, Decimal(0)) == cost_usd(sum(tokens), price.sync_usd)


def test_nothing_costs_nothing() -> None:
    """No tokens, no dollars."""
    assert cost_usd(0, Decimal("0.15")) == 0


@pytest.mark.parametrize(
    ("model", "sync_usd", "batch_usd"),
    [("gemini-embedding-001", "0.15", "0.075"), ("gemini-embedding-2", "0.20", "0.10")],
)
def test_known_prices(model: str, sync_usd: str, batch_usd: str) -> None:
    """Each model has its two published prices."""
    price = price_of(model, {})
    assert price.per_million(Route.SYNC) == Decimal(sync_usd)
    assert price.per_million(Route.BATCH) == Decimal(batch_usd)


@pytest.mark.parametrize("price", PRICES, ids=lambda price: price.model)
def test_a_batch_is_half_the_price(price: Price) -> None:
    """Half the price is what the Batch API is for."""
    assert price.batch_usd * 2 == price.sync_usd


@pytest.mark.parametrize("model", ["", "gemini-embedding-3", "models/gemini-embedding-001"])
def test_a_model_without_a_price(model: str) -> None:
    """A model whose price is not known is refused, with those that are: it is never free."""
    with pytest.raises(SettingsError) as caught:
        price_of(model, {})
    assert str(caught.value) == (
        f"no price is known for embedding.model {model!r} (known are: gemini-embedding-001, "
        "gemini-embedding-2); add one, in dollars per million tokens: "
        f'prices."{model}" = {{ sync = …, batch = … }}'
    )


def test_a_price_of_the_settings_wins() -> None:
    """A new model gets its price from the settings, and so does one whose price has changed."""
    own = {"gemini-embedding-001": ModelPrice(sync=Decimal("0.3"), batch=Decimal("0.1"))}
    price = price_of("gemini-embedding-001", own)
    assert (price.sync_usd, price.batch_usd, price.source) == (
        Decimal("0.3"),
        Decimal("0.1"),
        "settings",
    )
    assert price_of("gemini-embedding-2", own).source != "settings"


def test_every_price_says_where_it_is_from() -> None:
    """A price without a source and a date would be a guess."""
    assert all(price.source and price.as_of for price in PRICES)
    assert len({price.model for price in PRICES}) == len(PRICES)


@pytest.mark.parametrize(("text", "usd"), [("40", "40"), ("0", "0"), (" 0.125 ", "0.125")])
def test_dollars_that_a_person_wrote(text: str, usd: str) -> None:
    """Plain amounts are taken to the digit."""
    assert parse_usd(text) == Decimal(usd)


@pytest.mark.parametrize("text", ["", "$40", "much", "-1", "NaN", "Infinity", "1e400", "4,5"])
def test_what_is_no_amount(text: str) -> None:
    """Everything else is refused, with what was written."""
    with pytest.raises(SettingsError, match="is no amount of dollars; expected one like '40'"):
        parse_usd(text)
