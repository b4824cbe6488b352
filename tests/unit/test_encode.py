"""What programs read: every name in its place, dollars to the last digit."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from embedding_assets.cli.encode import csv_of, encode, json_of, plain_usd
from embedding_assets.doctor.canary import CanaryReport, Comparison, Observation
from embedding_assets.doctor.findings import Check, ClearFailures, Finding, Report, Severity
from embedding_assets.errors import Quota
from embedding_assets.model.generations import GenerationState, Progress
from embedding_assets.model.room import Throttle
from embedding_assets.model.shards import Packed, PackedShard, Route
from embedding_assets.money.bill import Bill, Grouping, Line, Statement
from embedding_assets.money.calculator import assume, calculate
from embedding_assets.money.estimate import AgreementCost, Costs, Duration, Estimate, Unreadable
from embedding_assets.money.prices import PRICES
from embedding_assets.pipeline.status import GenerationStatus, ListedGeneration, Status
from embedding_assets.reader.search import Hit
from embedding_assets.settings.values import Settings
from embedding_assets.store.published import Failure
from tests.factories import NOW, SPEC, a_generation

BILL = Bill(
    n_shards=2,
    n_requests=30,
    n_embedded=29,
    n_failed=1,
    n_compared=3,
    estimated_tokens=600,
    billed_tokens=500,
    comparable_estimated_tokens=421,
    comparable_billed_tokens=400,
    estimated_usd=Decimal("0.000045000"),
    billed_usd=Decimal("3.75E-5"),
    sync_usd=Decimal("0.000075"),
    without_reuse_usd=Decimal("0.00015"),
    n_not_bought=3,
)
PROGRESS = Progress(
    n_documents=70, n_chunks=200, n_embedded=150, n_pending=40, n_failed=8, n_unplanned=2
)
OF_BILL = {
    "shards": 2,
    "requests": 30,
    "estimated_tokens": 600,
    "billed_tokens": 500,
    "estimated_usd": "0.000045",
    "billed_usd": "0.0000375",
    "sync_usd": "0.000075",
    "without_reuse_usd": "0.00015",
}
OF_LINE = {
    "month": "2026-11",
    "provider": "emulator",
    "shards": 2,
    "requests": 30,
    "embedded": 29,
    "failed": 1,
    "compared": 3,
    "estimated_tokens": 600,
    "billed_tokens": 500,
    "uncounted_tokens": 0,
    "estimated_usd": "0.000045",
    "billed_usd": "0.0000375",
    "estimate_error_percent": 5.25,
    "sync_usd": "0.000075",
    "without_reuse_usd": "0.00015",
    "chunks_not_bought": 3,
    "saved_usd": "0.00015",
}
LINE = Line(labels={"month": "2026-11", "provider": "emulator"}, bill=BILL)
UNKNOWN = replace(LINE, bill=replace(BILL, sync_usd=None, comparable_billed_tokens=0))
OF_UNKNOWN = OF_LINE | {"estimate_error_percent": None, "sync_usd": None, "saved_usd": None}


def assert_reads(value: Any, expected: Any) -> None:
    """Also the order of names; what is written is read again as the same."""
    assert json_of(value) == json.dumps(expected, indent=2)


def test_a_status() -> None:
    """Of a generation its progress and its bill; what is under way; moments in ISO 8601."""
    building = GenerationStatus(generation=a_generation(), progress=PROGRESS, bill=BILL)
    status = Status(
        published=None,
        building=building,
        n_open_shards=1,
        n_live_jobs=2,
        n_unconfirmed_jobs=3,
        n_finished_jobs=4,
        n_given_up_shards=5,
        held_answers=("the answer to one is held",),
        refusals=(
            Throttle(not_before=NOW, n_refusals=1, quota=Quota.CREDITS, message="Depleted."),
        ),
        held_since=None,
        over_budget="it is dear",
        n_elsewhere=6,
        results_due_at=NOW,
        publication_due_at=NOW,
        doubt=None,
        waits=("it waits",),
    )
    of_building = {
        "generation": 3,
        "month": "2026-11",
        "provider": "emulator",
        "model": "gemini-embedding-001",
        "dimensions": 8,
        "documents": 70,
        "chunks": 200,
        "embedded": 150,
        "pending": 40,
        "failed": 8,
        "unplanned": 2,
        "coverage": 0.75,
        **OF_BILL,
    }
    under_way = {
        "open_shards": 1,
        "live_jobs": 2,
        "unconfirmed_jobs": 3,
        "finished_jobs": 4,
        "given_up_shards": 5,
        "held_answers": ["the answer to one is held"],
        "backing_off_until": "2026-11-23T03:00:00+00:00",
        "refusals": [
            {
                "quota": "credits",
                "message": "Depleted.",
                "until": "2026-11-23T03:00:00+00:00",
                "refusals": 1,
                "max_enqueued_tokens": None,
            }
        ],
        "held_since": None,
        "over_budget": "it is dear",
        "publication_due_at": "2026-11-23T03:00:00+00:00",
        "elsewhere": 6,
        "doubt": None,
        "waits": ["it waits"],
    }
    assert_reads(status, {"published": None, "building": of_building, **under_way})


def test_generations() -> None:
    """A list of what is remembered of each."""
    generation = a_generation(state=GenerationState.RETIRED, published_at=NOW)
    listed = [ListedGeneration(generation=generation, n_embedded=None, bill=BILL)]
    of_generation = {
        "generation": 3,
        "month": "2026-11",
        "state": "retired",
        "provider": "emulator",
        "model": "gemini-embedding-001",
        "dimensions": 8,
        "task_type": "RETRIEVAL_DOCUMENT",
        "chunker": "characters, 2000",
        "documents": 70,
        "chunks": 200,
        "embedded": None,
        "requests": 30,
        "billed_tokens": 500,
        "billed_usd": "0.0000375",
        "created_at": "2026-11-23T03:00:00+00:00",
        "published_at": "2026-11-23T03:00:00+00:00",
    }
    assert_reads(listed, [of_generation])


def test_a_statement() -> None:
    """Labels and bill of a line are one row; what nobody knows is null."""
    statement = Statement(by=Grouping.MONTH, lines=(LINE, UNKNOWN), totals=(LINE,))
    assert_reads(statement, {"by": "month", "rows": [OF_LINE, OF_UNKNOWN], "totals": [OF_LINE]})


def test_csv() -> None:
    """A heading with the names of JSON and a row a line; what nobody knows is empty."""
    heading, known, unknown = csv_of([LINE, UNKNOWN]).splitlines()
    assert heading == ",".join(OF_LINE)
    assert known == ",".join(str(value) for value in OF_LINE.values())
    assert unknown == ",".join("" if v is None else str(v) for v in OF_UNKNOWN.values())
    assert csv_of([]) == ""


def an_estimate(**changes: Any) -> Estimate:
    values: dict[str, Any] = {
        "spec": SPEC,
        "files": "1 file: 1 read",
        "progress": PROGRESS,
        "n_unreadable": 1,
        "unreadable": (Unreadable(uri="bad.md", error_message="it is binary"),),
        "packed": Packed(shards=(PackedShard(chunk_ids=(1, 2), n_bytes=900, n_tokens=80),) * 2),
        "route": Route.BATCH,
        "route_reason": "because",
        "price": PRICES[0],
        "costs": Costs(sync_usd=Decimal("0.500"), batch_usd=Decimal("0.250")),
        "token_basis": "a guess",
        "duration": Duration(n_waves=2, max_enqueued_tokens=500, minutes_from=20, minutes_to=60),
        "agreement": AgreementCost(n_texts=3, n_tokens=60, cost_usd=Decimal("0.000009")),
        "over_budget": None,
        "notes": ("Größe",),
        "last_bill": BILL,
    }
    return Estimate(**{**values, **changes})


def test_an_estimate() -> None:
    """Dollars have the digits of the price; what is not ASCII is written as it is."""
    shown = json_of(an_estimate(), usd=plain_usd)
    assert '"Größe"' in shown
    assert list(json.loads(shown).items()) == [
        ("provider", "emulator"),
        ("model", "gemini-embedding-001"),
        ("dimensions", 8),
        ("files", "1 file: 1 read"),
        ("documents", 70),
        ("unreadable_documents", 1),
        ("unreadable", [{"uri": "bad.md", "error_message": "it is binary"}]),
        ("chunks", 200),
        ("reused", 150),
        ("under_way", 40),
        ("given_up", 8),
        ("requests", 4),
        ("bytes", 1800),
        ("tokens", 160),
        ("token_basis", "a guess"),
        ("jobs", 2),
        ("route", "batch"),
        ("route_reason", "because"),
        ("sync_usd_per_million", "0.15"),
        ("batch_usd_per_million", "0.075"),
        ("price_source", PRICES[0].source),
        ("sync_usd", "0.500"),
        ("batch_usd", "0.250"),
        ("saving_usd", "0.250"),
        ("cost_usd", "0.250"),
        ("waves", 2),
        ("minutes_from", 20),
        ("minutes_to", 60),
        ("agreement_texts", 3),
        ("agreement_tokens", 60),
        ("agreement_cost_usd", "0.000009"),
        ("over_budget", None),
        ("notes", ["Größe"]),
        (
            "last_estimate",
            {"estimated_tokens": 600, "billed_tokens": 500, "off_by_percent": 20.0},
        ),
    ]
    assert encode(an_estimate(last_bill=None))["last_estimate"] is None


def test_a_calculation() -> None:
    """The names stand in the order of the question: how much, at which price, so what."""
    shown = encode(calculate(assume(Settings(), n_documents=7), Settings()), usd=plain_usd)
    assert list(shown) == [
        *("documents", "tokens_per_document", "reindexes_per_year", "sync_usd_per_million"),
        *("batch_usd_per_million", "price_source", "scenarios", "yearly"),
    ]
    names = ("documents", "tokens", "requests", "route", "sync_usd", "batch_usd", "saving_usd")
    assert tuple(shown["scenarios"][0]) == names
    assert tuple(shown["yearly"]) == names[4:]


def test_a_report_of_the_doctor() -> None:
    """Whether a finding can be repaired, not how."""
    finding = Finding(
        check=Check.STATES,
        severity=Severity.WRONG,
        message="found",
        next_step="do",
        repair=ClearFailures(),
    )
    of_finding = {
        "check": "states",
        "severity": "wrong",
        "message": "found",
        "next_step": "do",
        "is_repairable": True,
        "repaired": None,
    }
    numbers = {"wrong": 1, "repaired": 0, "gemini_not_looked_at": None}
    assert_reads(Report(findings=(finding,)), {**numbers, "findings": [of_finding]})


@pytest.mark.parametrize(("provider", "is_live"), [("gemini", True), ("emulator", False)])
def test_a_canary(provider: str, is_live: bool) -> None:
    """Every observation, and whether it says anything of the service."""
    seen = Observation(assumption="it is so", answer="it is not", verdict=Comparison.DIFFERENT)
    expected = {
        "provider": provider,
        "proves_something_about_the_live_service": is_live,
        "unexpected": 1,
        "observations": [{"assumption": "it is so", "answer": "it is not", "verdict": "different"}],
    }
    assert_reads(CanaryReport(provider=provider, observations=(seen,)), expected)


def test_what_has_no_shape_of_its_own_is_shown_whole() -> None:
    """Hits and failures, field by field."""
    hit = Hit(
        rank=1,
        score=0.5,
        uri="a.md",
        title="A",
        position=2,
        section="B",
        anchor="b",
        page=3,
        url="https://docs.example/a#b",
        metadata={"author": "Ada", "tags": ["x", "y"]},
        text="text",
    )
    fields = {
        "rank": 1,
        "score": 0.5,
        "uri": "a.md",
        "title": "A",
        "position": 2,
        "section": "B",
        "anchor": "b",
        "page": 3,
        "url": "https://docs.example/a#b",
        "metadata": {"author": "Ada", "tags": ["x", "y"]},
        "text": "text",
    }
    assert_reads([hit], [fields])
    failure = Failure(
        kind="chunk",
        uri="a.md",
        position=None,
        chunk_id=7,
        error_code=None,
        error_message="no",
        attempts=3,
    )
    assert_reads(
        [failure],
        [
            {
                "kind": "chunk",
                "uri": "a.md",
                "position": None,
                "chunk_id": 7,
                "error_code": None,
                "error_message": "no",
                "attempts": 3,
            }
        ],
    )
