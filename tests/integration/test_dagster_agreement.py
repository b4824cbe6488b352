"""Agreement under Dagster: who embeds texts again, and what happens if nobody answers."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from embedding_assets.defs.tags import RunTags
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.model.gates import GateName
from embedding_assets.pipeline.status import Status, read_status
from embedding_assets.settings.values import Limits
from embedding_assets.store.index import open_index
from tests.integration.dagster_support import ANIMALS, MONTH, Pipeline, a_pipeline
from tests.integration.test_dagster_search_index import execute_checks, published, verdicts

N_COMPARED = 6


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Twelve documents in three shards, of which some are compared."""
    # So many dimensions that two animals are not near each other.
    with a_pipeline(
        tmp_path,
        monkeypatch,
        publishing={"agreement_samples": 8},
        embedding={"dimensions": 512},
    ) as opened:
        opened.write(ANIMALS[:12])
        yield opened


def status_of(pipeline: Pipeline) -> Status:
    """Where the index stands."""
    with open_index(pipeline.settings.index_path) as index:
        return read_status(index, pipeline.settings)


def agreement_checks(pipeline: Pipeline) -> list[dg.AssetCheckEvaluation]:
    """Every verdict of the gate, the newest first."""
    key = dg.AssetCheckKey(dg.AssetKey("search_index"), "agreement")
    records = pipeline.instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    events = [record.event.dagster_event for record in records if record.event is not None]
    return [
        event.asset_check_evaluation_data
        for event in events
        if event is not None and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]


def test_publishing_compares_and_the_bill_has_it(pipeline: Pipeline) -> None:
    """One call, on the page of the gate and in the month's sentence, to the token."""
    pipeline.brought_to(Pipeline.reindex)
    bill = pipeline.emulator.state.bill()
    assert (bill.sync_requests, bill.batch_requests) == (N_COMPARED, 12)
    assert [text.times for text in bill.bought_twice] == [2] * N_COMPARED
    assert published(pipeline)["billed_tokens"] == bill.tokens
    assert published(pipeline)["requests_sent"] == 12
    [check] = agreement_checks(pipeline)
    assert (check.passed, check.metadata["compared"].value) == (True, N_COMPARED)
    assert pipeline.values("shard_plan")[MONTH]["agreement_cost_usd"] > 0


def test_checks_on_their_own_embed_nothing(pipeline: Pipeline) -> None:
    """Before and after the publication they say what is known, and buy nothing."""
    keys = pipeline.plan()
    [early] = verdicts(execute_checks(pipeline, GateName.AGREEMENT)).values()
    assert early.description == (
        "2026-11: no text was embedded again to be compared with what is stored"
    )
    assert pipeline.emulator.state.bill().sync_requests == 0
    assert pipeline.run("submit_shards", shards=keys).success
    pipeline.settle()
    for _ in range(2):
        [late] = verdicts(execute_checks(pipeline, GateName.AGREEMENT)).values()
        assert (late.passed, late.metadata["compared"].value) == (True, N_COMPARED)
    assert pipeline.emulator.state.bill().sync_requests == N_COMPARED


def test_a_disagreement_is_held_until_somebody_waives_it(pipeline: Pipeline) -> None:
    """The run is red with what to do; another one buys nothing; a person may publish it."""
    pipeline.fault(FaultKind.SWAPPED_VECTORS)
    status = pipeline.brought_to(Pipeline.reindex)
    assert status.published is None
    [check] = agreement_checks(pipeline)
    assert not check.passed
    assert "are mixed up" in (check.description or "")
    assert not pipeline.run("publish_index", month=MONTH).success
    assert status_of(pipeline).published is None
    allow = RunTags(allow=frozenset({GateName.AGREEMENT})).as_tags()
    assert pipeline.run("publish_index", month=MONTH, tags=allow).success
    assert status_of(pipeline).published is not None
    assert pipeline.emulator.state.bill().sync_requests == N_COMPARED


def test_silence_puts_the_publication_off(pipeline: Pipeline) -> None:
    """It is not asked for again at once, then it is, and then it goes through."""
    pipeline.fault(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=429, times=4)
    status = pipeline.reindex()
    assert status.published is None
    assert status.publication_due_at is not None
    assert pipeline.ask("publish_index_sensor") == []
    tick = pipeline.definitions.resolve_sensor_def("publish_index_sensor").evaluate_tick(
        pipeline.sensor_context()
    )
    assert (tick.skip_message or "").startswith(
        "2026-11 is finished, but Gemini could not be asked whether its vectors agree; it is asked "
        "again from "
    )
    limits = {**pipeline.settings.limits.model_dump(), "run_retry_s": 0}
    pipeline.with_settings(limits=Limits(**limits)).settle()
    assert status_of(pipeline).published is not None
    assert pipeline.emulator.state.bill().sync_requests == N_COMPARED
