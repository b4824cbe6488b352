"""What Dagster keeps of an error that nobody foresaw: never the key."""

import traceback
from pathlib import Path

import dagster as dg
import pytest

from embedding_assets.defs.failures import fails_in_words, ticks_in_words, why_failed
from embedding_assets.errors import GeminiError
from embedding_assets.redaction import RedactedError

KEY = "AIza-made-up-key-4715"


class OddError(Exception):
    """An error of a library: whatever it says, it says with the key."""

    def __str__(self) -> str:
        return f"header x-goog-api-key: {KEY}"


@fails_in_words
def unexpected(context: dg.AssetExecutionContext) -> None:
    """Ends with an error that is not ours, after one that was caught."""
    try:
        raise OddError
    except OddError as exc:
        raise KeyError(KEY) from exc


@fails_in_words
def ours(context: dg.AssetExecutionContext) -> None:
    """Ends with an error of ours that a library caused."""
    raise GeminiError(f"the key {KEY} is suspended") from OddError()


@pytest.mark.parametrize("work", [unexpected, ours])
def test_a_run_that_fails(
    work: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither its events nor its output nor the reason that is told has the key."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    asset = dg.asset(work)  # type: ignore[call-overload]
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = dg.materialize([asset], instance=instance, raise_on_error=False)
        why = why_failed(instance, result.dagster_run)
    assert not result.success
    assert KEY not in f"{why}"
    assert "…" in why.shown
    said = "".join(capfd.readouterr())
    assert KEY not in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_tick_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster keeps the traceback of a tick, too."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)

    def sensor(context: dg.SensorEvaluationContext) -> None:
        raise OddError

    with pytest.raises(RedactedError) as failed:
        ticks_in_words(sensor)(dg.build_sensor_context())
    told = "".join(traceback.format_exception(failed.value))
    assert KEY not in told
    assert "OddError: header x-goog-api-key: …" in told
