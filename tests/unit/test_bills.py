"""Bills that add up, and statements that people and programs can read."""

import csv
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from embedding_assets.cli.encode import csv_of, encode, json_of
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.money.bill import Bill, Grouping, Line, make_statement, total
from tests.factories import NOW, SPEC

BILL = Bill(
    n_shards=2,
    n_requests=30,
    n_embedded=29,
    n_failed=1,
    estimated_tokens=600,
    billed_tokens=500,
    comparable_estimated_tokens=420,
    comparable_billed_tokens=400,
    estimated_usd=Decimal("0.000045"),
    billed_usd=Decimal("0.0000375"),
    sync_usd=Decimal("0.000075"),
    without_reuse_usd=Decimal("0.00015"),
    n_not_bought=3,
)


def a_generation(number: int, **changes: Any) -> Generation:
    values: dict[str, Any] = {
        "generation_id": number,
        "month": "2026-11",
        "spec_id": 1,
        "spec": SPEC,
        "chunker": "knife",
        "state": GenerationState.RETIRED,
        "created_at": NOW,
        "planned_at": NOW,
        "published_at": NOW,
        "n_documents": 70,
        "n_chunks": 200,
    }
    return Generation(**{**values, **changes})


BILLS = [
    (a_generation(1), BILL),
    (a_generation(3, month="2026-12"), replace(BILL, billed_tokens=7)),
    (a_generation(2), replace(BILL, billed_tokens=50)),
]


def test_saved_is_by_the_batch_api_and_by_reuse() -> None:
    """Both differences to what was billed, each of them exact."""
    assert BILL.saved_usd == Decimal("0.0000375") + Decimal("0.0001125")


def test_the_estimate_error_is_that_of_what_can_be_compared() -> None:
    """420 tokens expected where 400 were billed are five per cent too many."""
    assert BILL.comparable_error == 0.05
    assert replace(BILL, comparable_billed_tokens=0).comparable_error is None


@pytest.mark.parametrize(
    ("estimated", "billed", "error"), [(110, 100, 0.1), (80, 100, -0.2), (7, 7, 0.0), (5, 0, None)]
)
def test_the_error_of_an_estimate(estimated: int, billed: int, error: float | None) -> None:
    """It is signed, a share of what was billed, and unknown before anything was."""
    bill = Bill(
        n_shards=1,
        n_requests=2,
        estimated_tokens=estimated,
        billed_tokens=billed,
        estimated_usd=Decimal(0),
        billed_usd=Decimal(0),
    )
    assert bill.estimate_error == (error if error is None else pytest.approx(error))


def test_bills_add_up() -> None:
    """Number by number; nothing at all is a bill as well."""
    assert (total([]), total([BILL])) == (Bill(), BILL)
    twice = total([BILL, BILL])
    assert twice == BILL + BILL
    assert (twice.n_requests, twice.billed_tokens, twice.n_not_bought) == (60, 1000, 6)
    assert (twice.saved_usd, twice.is_comparable) == (Decimal("0.0003"), False)


def test_a_price_that_is_not_known_is_not_known_in_the_sum() -> None:
    """Half a sum would look like a small one."""
    found = BILL + replace(BILL, sync_usd=None)
    assert (found.sync_usd, found.saved_usd) == (None, None)
    assert found.billed_usd == 2 * BILL.billed_usd


def test_what_a_bill_might_have_cost_is_not_known_unless_asked_for() -> None:
    """Also of a generation that has sent nothing: that it was not asked for is not zero."""
    assert (Bill().sync_usd, Bill().without_reuse_usd, Bill().saved_usd) == (None, None, None)


def test_dollars_are_exact_text() -> None:
    """No float and no exponent, however small."""
    tiny = replace(BILL, billed_usd=Decimal("7.5E-8"), estimated_usd=Decimal(0))
    shown = encode(Line(labels={"month": "2026-11"}, bill=tiny))
    assert (shown["billed_usd"], shown["estimated_usd"]) == ("0.000000075", "0")


@pytest.mark.parametrize(
    ("by", "labels", "tokens"),
    [
        (Grouping.MONTH, ["2026-11", "2026-12", "total"], [550, 7, 557]),
        (Grouping.GENERATION, ["1", "2", "3", "total"], [500, 50, 7, 557]),
        (Grouping.MODEL, ["gemini-embedding-001", "total"], [557, 557]),
    ],
)
def test_a_statement_has_a_line_for_each(
    by: Grouping, labels: list[str], tokens: list[int]
) -> None:
    """Bills are added up by month, generation or model, and all together at the end."""
    statement = make_statement(BILLS, by=by)
    lines = [*statement.lines, *statement.totals]
    assert [line.labels[by.value] for line in lines] == labels
    assert [line.bill.billed_tokens for line in lines] == tokens


def test_dollars_of_two_providers_are_never_added() -> None:
    """The emulator's dollars are nobody's: a month in which both were used has two lines."""
    gemini = a_generation(4, spec=replace(SPEC, provider="gemini"))
    statement = make_statement([*BILLS, (gemini, BILL)], by=Grouping.MODEL)
    assert [line.labels["provider"] for line in statement.lines] == ["emulator", "gemini"]
    assert [line.labels["provider"] for line in statement.totals] == ["emulator", "gemini"]
    assert statement.totals[1].bill == BILL


@pytest.mark.parametrize("by", Grouping)
def test_csv_and_json_say_the_same(by: Grouping) -> None:
    """One heading, one row a line, and the totals; what is not known is empty."""
    bills = [(generation, replace(each, sync_usd=None)) for generation, each in BILLS]
    statement = make_statement(bills, by=by)
    rows = list(csv.DictReader(csv_of((*statement.lines, *statement.totals)).splitlines()))
    parsed = json.loads(json_of(statement))
    expected = [*parsed["rows"], *parsed["totals"]]
    assert rows == [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in expected
    ]
