"""Metadata as the browser gets it."""

import json

import dagster as dg
import pytest

from embedding_assets.defs.failures import fail_if
from embedding_assets.defs.metadata import table


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_record_without_a_value_is_valid_json(nothing: object) -> None:
    """What pandas has for a missing value reaches the page as an empty cell."""
    shown = table([{"uri": "a.md", "error_message": nothing, "n_bytes": 12}])

    assert isinstance(shown, dg.TableMetadataValue)
    (record,) = shown.records
    cells = json.loads(json.dumps(record.data, allow_nan=False))
    assert cells == {"uri": "a.md", "error_message": "", "n_bytes": 12}


def test_a_long_cell_is_cut() -> None:
    """A cell is a preview: a title of a thousand characters does not widen the page."""
    shown = table([{"title": "x" * 1000}])

    assert isinstance(shown, dg.TableMetadataValue)
    assert shown.records[0].data["title"] == "x" * 120


def test_a_failure_tells_messages_as_text() -> None:
    """What Gemini said about a shard is never Markdown or HTML in the UI."""
    said = "<script>alert(1)</script> [x](javascript:alert(2))"

    with pytest.raises(dg.Failure) as raised:
        fail_if({"2026-11-0001": said}, "not submitted")

    assert dict(raised.value.metadata) == {"2026-11-0001": dg.TextMetadataValue(said)}
