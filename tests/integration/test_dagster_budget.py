"""Money in Dagster: plans over the budget, approval, a cap midway, few requests that wait."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.defs.tags import RUN_KEY_TAG
from embedding_assets.settings.values import Budget, ModelPrice
from tests.integration.dagster_support import (
    ANIMALS,
    MONTH,
    Pipeline,
    a_pipeline,
    failure_of,
)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Twelve documents in three shards, nothing planned yet."""
    with a_pipeline(tmp_path, monkeypatch) as opened:
        opened.write(ANIMALS[:12])
        yield opened


def with_budget(pipeline: Pipeline, usd: str) -> Pipeline:
    return pipeline.with_settings(budget=Budget(max_cost_usd=Decimal(usd)))


def submissions(pipeline: Pipeline) -> str:
    """What the submitting sensor says when it asks for nothing."""
    sensor = pipeline.definitions.resolve_sensor_def("submit_shards_sensor")
    tick = sensor.evaluate_tick(pipeline.sensor_context())
    assert tick.run_requests in (None, [])
    return tick.skip_message or ""


def test_an_approved_plan_is_written(pipeline: Pipeline) -> None:
    """A tag on the run lets one reindex cost more than the budget, and only this one."""
    poor = with_budget(pipeline, "0")
    assert not poor.run("reindex", month=MONTH).success
    assert poor.run("reindex", month=MONTH, tags={"embedding_assets/approve_cost_usd": "1"}).success
    poor.settle()
    assert poor.bill() == (3, 12)
    assert poor.values("search_index")[MONTH]["dagster/row_count"] == 12
    poor.write(["zebra"])
    again = poor.run("reindex", month=MONTH)
    assert not again.success
    assert "reindex --approve-cost 0.01" in failure_of(again)


@pytest.mark.parametrize("usd", ["much", "-1", "NaN", "Infinity", ""])
def test_an_approval_that_is_no_amount_is_refused(pipeline: Pipeline, usd: str) -> None:
    """What a person approves is a number of dollars."""
    result = pipeline.run("reindex", month=MONTH, tags={"embedding_assets/approve_cost_usd": usd})
    assert f"{usd!r} is no amount of dollars; expected one like '40'" in failure_of(result)
    assert pipeline.shard_keys() == []


def test_a_cap_reached_midway_stops_submissions_and_loses_nothing(pipeline: Pipeline) -> None:
    """When the bill is higher than the estimate, paid jobs are collected and the rest waits."""
    pipeline = pipeline.with_settings(
        limits=pipeline.settings.limits.model_copy(update={"max_concurrent_jobs": 2})
    )
    pipeline.plan()
    capped = with_budget(pipeline, str(_estimated_usd(pipeline)))
    first, second, third = capped.shard_keys()
    assert capped.run("submit_shards", shards=[first, second]).success
    capped.emulator.state.wait_idle()
    capped.poll()
    assert capped.run("collect_embeddings", shards=[first, second]).success
    _bill_everything(capped, times=2)
    assert "no more is sent: " in submissions(capped)
    assert capped.run("submit_shards", shards=[third]).success
    assert capped.partitions("batch_jobs")[third] == "missing"
    assert capped.bill() == (2, 8)
    capped.settle()
    assert capped.values("search_index") == {}

    enough = with_budget(pipeline, "1")
    enough.settle()
    assert enough.bill() == (3, 12)
    assert enough.values("search_index")[MONTH]["dagster/row_count"] == 12


def _estimated_usd(pipeline: Pipeline) -> Decimal:
    rows = _ask(pipeline, "SELECT estimated_tokens, usd_per_million FROM shards")
    return sum((tokens * Decimal(usd) / 1_000_000 for tokens, usd in rows), Decimal(0))


def _bill_everything(pipeline: Pipeline, *, times: int) -> None:
    """As if Gemini had billed that many times the estimate."""
    _ask(
        pipeline,
        "UPDATE requests SET billed_tokens = ? * (SELECT estimated_tokens / n_requests + 1"
        " FROM shards WHERE shards.shard_id = requests.shard_id) WHERE outcome = 'embedded'",
        times,
    )


def _ask(pipeline: Pipeline, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(pipeline.settings.index_path)) as connection, connection:
        return connection.execute(query, parameters).fetchall()


# --- few requests that wait -------------------------------------------------------------------


@pytest.fixture
def patient(pipeline: Pipeline) -> Pipeline:
    """A pipeline in which fewer than a hundred requests wait for a day."""
    limits = pipeline.settings.limits.model_copy(
        update={"min_batch_requests": 100, "max_wait_h": 24.0}
    )
    return pipeline.with_settings(limits=limits)


def test_a_trickle_waits_and_is_sent_when_its_time_has_come(patient: Pipeline) -> None:
    """Nothing is sent at first; a day later the sensor has everything planned, and published."""
    assert patient.run("reindex", month=MONTH).success
    note = patient.values("shard_plan")[MONTH]["note"]
    assert str(note).startswith("12 requests wait until there are 100, or until ")
    patient.settle()
    assert patient.bill() == (0, 0)
    patient.write(["zebra"])
    assert patient.run("reindex", month=MONTH).success

    _ask(
        patient, "UPDATE meta SET value = '2026-01-01T00:00:00+00:00' WHERE name = 'waiting_since'"
    )
    patient.settle()

    assert patient.bill() == (0, 13)
    assert patient.values("search_index")[MONTH]["dagster/row_count"] == 13
    assert _ask(patient, "SELECT value FROM meta WHERE name = 'waiting_since'") == []


def test_a_trickle_can_be_sent_now(patient: Pipeline) -> None:
    """A tag on the run sends few requests without waiting."""
    assert patient.run("reindex", month=MONTH).success
    assert patient.run("reindex", month=MONTH, tags={"embedding_assets/send_now": "true"}).success
    patient.settle()
    assert patient.bill() == (0, 12)
    assert patient.values("search_index")[MONTH]["dagster/row_count"] == 12


def test_a_plan_that_was_refused_is_asked_for_again_under_other_settings(
    patient: Pipeline,
) -> None:
    """Whatever the refusal was about, here the price, the sensor asks again when that changes."""
    assert patient.run("reindex", month=MONTH).success
    long_ago = "2026-01-01T00:00:00+00:00"
    _ask(patient, "UPDATE meta SET value = ? WHERE name = 'waiting_since'", long_ago)
    model = patient.settings.embedding.model
    dear = patient.with_settings(
        prices={model: ModelPrice(sync=Decimal(1000), batch=Decimal(1000))},
        budget=Budget(max_cost_usd=Decimal("0.01")),
    )
    [refused] = dear.ask("publish_index_sensor")
    tags = {RUN_KEY_TAG: refused.run_key or ""}
    assert not dear.run("reindex", month=MONTH, only="shard_plan", tags=tags).success
    assert dear.ask("publish_index_sensor") == []
    cheap = dear.with_settings(prices={})
    cheap.settle()
    assert cheap.values("search_index")[MONTH]["dagster/row_count"] == 12


def test_an_approval_outlasts_a_wait(patient: Pipeline) -> None:
    """What a person approved with a reindex that waits holds when it is sent a day later."""
    patient = patient.with_settings(budget=Budget(max_cost_usd=Decimal(0)))
    assert patient.run(
        "reindex", month=MONTH, tags={"embedding_assets/approve_cost_usd": "1"}
    ).success
    long_ago = "2026-01-01T00:00:00+00:00"
    _ask(patient, "UPDATE meta SET value = ? WHERE name = 'waiting_since'", long_ago)
    patient.settle()
    assert patient.bill() == (0, 12)
