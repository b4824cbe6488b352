"""The calculator: dollars right to the last digit, and what it refuses."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.cli.encode import encode, plain_usd
from embedding_assets.errors import SettingsError
from embedding_assets.model.shards import Route
from embedding_assets.money.calculator import SCENARIO_DOCUMENTS, Calculation, assume, calculate
from embedding_assets.money.estimate import (
    Costs,
)
from embedding_assets.money.prices import Price
from embedding_assets.settings.values import Settings

# Synchronous and batch prices in millionths of a dollar a million tokens.
PRICE_PAIRS = ((25_000, 12_500), (150_000, 75_000), (200_000, 100_000))


def a_calculation(documents: int = 10_000, **options: Any) -> Calculation:
    """What the command line makes of these options, with default settings."""
    return calculate(assume(Settings(), n_documents=documents, **options), Settings())


def as_text(millionths: int) -> str:
    """A price as it is typed."""
    return f"{millionths // 10**6}.{millionths % 10**6:06}"


def test_ten_thousand_documents_cost_what_they_cost() -> None:
    """10,000 documents of 500 tokens are $0.125 at $0.025 a million, and $1.50 a year."""
    found = a_calculation(sync_price="0.025", batch_price="0.0125")
    assert (found.asked.n_tokens, found.asked.costs) == (
        5_000_000,
        Costs(sync_usd=Decimal("0.125"), batch_usd=Decimal("0.0625")),
    )
    assert found.yearly == Costs(sync_usd=Decimal("1.50"), batch_usd=Decimal("0.75"))


@pytest.mark.parametrize(("sync", "batch"), PRICE_PAIRS)
def test_the_table_agrees_with_whole_numbers(sync: int, batch: int) -> None:
    """All four scenarios, counted again in whole millionths of millionths of a dollar."""
    found = a_calculation(sync_price=as_text(sync), batch_price=as_text(batch))
    table = [
        [scenario.n_documents]
        + [int(usd * 10**12) for usd in (costs.sync_usd, costs.batch_usd, costs.saving_usd)]
        for scenario in found.scenarios
        for costs in (scenario.costs,)
    ]
    assert table == [
        [n, n * 500 * sync, n * 500 * batch, n * 500 * (sync - batch)]
        for n in (10, 1_000, 10_000, 100_000)
    ]
    assert int(found.yearly.sync_usd * 10**12) == 12 * 10_000 * 500 * sync


def test_the_table_at_the_published_prices() -> None:
    """The prices of the configured model, to the digit."""
    rows = [
        (scenario.n_documents, scenario.costs.sync_usd, scenario.costs.batch_usd)
        for scenario in a_calculation().scenarios
    ]
    assert rows == [
        (10, Decimal("0.00075"), Decimal("0.000375")),
        (1_000, Decimal("0.075"), Decimal("0.0375")),
        (10_000, Decimal("0.75"), Decimal("0.375")),
        (100_000, Decimal("7.50"), Decimal("3.75")),
    ]


@given(
    documents=st.integers(1, 100_000_000),
    tokens=st.integers(1, 1_000_000),
    sync=st.integers(1, 10**9),
    batch=st.integers(1, 10**9),
    reindexes=st.integers(1, 1_000),
)
def test_no_digit_is_lost(
    documents: int, tokens: int, sync: int, batch: int, reindexes: int
) -> None:
    """Whatever may be asked for, every dollar of it is exact."""
    found = a_calculation(
        documents,
        tokens_per_document=tokens,
        sync_price=as_text(sync),
        batch_price=as_text(batch),
        reindexes_per_year=reindexes,
    )
    per_token = Fraction(sync, 10**12), Fraction(batch, 10**12)
    for scenario in found.scenarios:
        costs = scenario.costs
        exact = [scenario.n_documents * tokens * price for price in per_token]
        assert [Fraction(costs.sync_usd), Fraction(costs.batch_usd)] == exact
        assert Fraction(costs.saving_usd) == exact[0] - exact[1]
    yearly = [reindexes * documents * tokens * price for price in per_token]
    assert [Fraction(found.yearly.sync_usd), Fraction(found.yearly.batch_usd)] == yearly


def test_the_extremes_are_exact() -> None:
    """The largest of everything fits, with the smallest fraction of a price."""
    found = a_calculation(
        100_000_000,
        tokens_per_document=1_000_000,
        sync_price="999.999999",
        batch_price="0.000001",
        reindexes_per_year=1_000,
    )
    assert found.yearly.sync_usd == Decimal("99999999900000")
    assert found.yearly.batch_usd == Decimal("100000")
    assert found.yearly.saving_usd == Decimal("99999999800000")


@pytest.mark.parametrize(
    ("documents", "rows"),
    [
        (1_000, [10, 1_000, 10_000, 100_000]),
        (3, [3, 10, 1_000, 10_000, 100_000]),
        (250_000, [10, 1_000, 10_000, 100_000, 250_000]),
    ],
)
def test_what_was_asked_for_is_in_the_table(documents: int, rows: list[int]) -> None:
    """The table has the four usual sizes and the one that was asked for, once, by size."""
    found = a_calculation(documents)
    assert [scenario.n_documents for scenario in found.scenarios] == rows
    assert found.asked in found.scenarios
    assert found.asked.n_documents == documents


@pytest.mark.parametrize(
    ("documents", "tokens", "requests", "route"),
    [
        (10, 500, 10, Route.SYNC),
        (99, 500, 99, Route.SYNC),
        (100, 500, 100, Route.BATCH),
        (10, 50_000, 880, Route.BATCH),
    ],
)
def test_the_route_follows_the_chunks(
    documents: int, tokens: int, requests: int, route: Route
) -> None:
    """Long documents are many requests, and those decide on the route."""
    asked = a_calculation(documents, tokens_per_document=tokens).asked
    assert (asked.n_requests, asked.route) == (requests, route)


def test_json_has_exact_text() -> None:
    """Dollars are decimal text without exponents, also the smallest ones."""
    found = a_calculation(1, tokens_per_document=1, sync_price="0.000002", batch_price="0.000001")
    values = encode(found, usd=plain_usd)
    assert {name: value for name, value in values.items() if name != "scenarios"} == {
        "documents": 1,
        "tokens_per_document": 1,
        "reindexes_per_year": 12,
        "sync_usd_per_million": "0.000002",
        "batch_usd_per_million": "0.000001",
        "price_source": "command line",
        "yearly": {
            "sync_usd": "0.000000000024",
            "batch_usd": "0.000000000012",
            "saving_usd": "0.000000000012",
        },
    }
    assert values["scenarios"][0] == {
        "documents": 1,
        "tokens": 1,
        "requests": 1,
        "route": "sync",
        "sync_usd": "0.000000000002",
        "batch_usd": "0.000000000001",
        "saving_usd": "0.000000000001",
    }
    assert len(values["scenarios"]) == 1 + len(SCENARIO_DOCUMENTS)


def test_a_batch_may_be_dearer() -> None:
    """A price that turns the saving round is taken as it is, and known for what it is."""
    found = a_calculation(sync_price="0.1", batch_price="0.15")
    assert found.assumptions.is_batch_dearer
    assert found.asked.costs.saving_usd == Decimal("-0.25")
    assert not a_calculation().assumptions.is_batch_dearer


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"n_documents": -5}, "--documents is -5; expected a number from 1 to 100,000,000"),
        ({"n_documents": 0}, "--documents is 0; expected a number from 1 to 100,000,000"),
        (
            {"tokens_per_document": 0},
            "--tokens-per-document is 0; expected a number from 1 to 1,000,000",
        ),
        (
            {"reindexes_per_year": -1},
            "--reindexes-per-year is -1; expected a number from 1 to 1,000",
        ),
        ({"sync_price": "1"}, "--sync-price and --batch-price go together; give both or neither"),
        ({"batch_price": "1"}, "--sync-price and --batch-price go together; give both or neither"),
    ],
)
def test_numbers_out_of_range(options: dict[str, Any], complaint: str) -> None:
    """What cannot be is refused with the option's name and what would do."""
    with pytest.raises(SettingsError) as caught:
        assume(Settings(), **{"n_documents": 10, **options})
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    "text", ["", "abc", "-0.1", "0", "nan", "inf", "1e99999999", "1e-9999999", "1001", "0.0000001"]
)
def test_prices_that_are_none(text: str) -> None:
    """A price is a positive number of dollars, without more digits than prices have."""
    with pytest.raises(SettingsError, match=r"^--batch-price is .* expected dollars per million"):
        a_calculation(sync_price="1", batch_price=text)


def test_a_model_without_a_price_needs_one() -> None:
    """For a model whose price nobody knows the two prices have to be given, and are enough."""
    settings = Settings.model_validate({"embedding": {"model": "my-model"}})
    with pytest.raises(SettingsError, match="no price is known"):
        assume(settings, n_documents=10)
    found = assume(settings, n_documents=10, sync_price="2", batch_price="1")
    assert found.price == Price(
        model="my-model",
        sync_usd=Decimal(2),
        batch_usd=Decimal(1),
        as_of=None,
        source="command line",
    )
