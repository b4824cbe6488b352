"""Metadata as the browser gets it."""

import json
from operator import itemgetter

import dagster as dg
import numpy as np
import pytest

from embedding_assets.defs.failures import fail_if
from embedding_assets.defs.metadata import Columns, excerpt, partition_link, preview, table


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf"), np.float32("nan")])
def test_a_record_without_a_value_is_valid_json(nothing: object) -> None:
    """What pandas has for a missing value reaches the page as an empty cell."""
    row = {"uri": "a.md", "error_message": nothing, "n_bytes": 12}

    shown = table([row], uri="string", error_message="string", n_bytes="int")

    assert isinstance(shown, dg.TableMetadataValue)
    (record,) = shown.records
    cells = json.loads(json.dumps(record.data, allow_nan=False))
    assert cells == {"uri": "a.md", "error_message": "", "n_bytes": 12}


def test_a_number_of_numpys_is_a_number() -> None:
    """Not its digits as a text, which the page would sort as one."""
    row = {"n": np.int64(12), "share": np.float64(0.5), "is_new": np.bool_(True)}

    shown = table([row], n="int", share="float", is_new="bool")

    assert isinstance(shown, dg.TableMetadataValue)
    assert json.loads(json.dumps(shown.records[0].data)) == {"n": 12, "share": 0.5, "is_new": True}


def test_a_long_cell_is_cut() -> None:
    """A cell is a preview: a title of a thousand characters does not widen the page."""
    shown = table([{"title": "x" * 1000}], title="string")

    assert isinstance(shown, dg.TableMetadataValue)
    assert shown.records[0].data["title"] == "x" * 120


def test_columns_have_the_types_they_are_said_to_have() -> None:
    """An empty cell in the first row does not decide what the column is."""
    shown = table([{"position": None, "usd": 0.5}], position="int", usd="float")

    assert isinstance(shown, dg.TableMetadataValue)
    assert shown.schema == dg.TableSchema(
        [dg.TableColumn("position", "int"), dg.TableColumn("usd", "float")]
    )


def test_a_preview_says_how_many_rows_it_leaves_out() -> None:
    """Beside the table, and only if there are any."""
    rows = [{"uri": "a.md"}, {"uri": "b.md"}]

    columns: Columns[dict[str, str]] = {"uri": ("string", itemgetter("uri"))}

    some = preview("failures", rows, columns, n_rows=1202)
    every = preview("failures", rows, columns, n_rows=2)
    none = preview("failures", [], columns, n_rows=0)

    assert some == {**every, "failures_left_out": dg.TextMetadataValue("1,200 more rows")}
    assert every == {"failures": table(rows, uri="string")}
    assert none == {"failures": dg.TextMetadataValue("none")}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# gzip\n\nCompress  files.", "# gzip Compress files."),
        ("ab " * 1000, "ab " * 20),
        ("", ""),
    ],
)
def test_an_excerpt_is_the_beginning_on_one_line(text: str, shown: str) -> None:
    """A text in a table is sixty characters at the most, whatever white space it has."""
    assert excerpt(text) == shown


def test_a_link_leads_to_a_partition_of_the_same_webserver() -> None:
    """It has no host: whoever sees it is there already."""
    assert partition_link("batch_jobs", "2026-11-0003") == dg.UrlMetadataValue(
        "/assets/batch_jobs?view=partitions&partition=2026-11-0003"
    )


def test_a_failure_tells_messages_as_text() -> None:
    """What Gemini said about a shard is never Markdown or HTML in the UI."""
    said = "<script>alert(1)</script> [x](javascript:alert(2))"

    with pytest.raises(dg.Failure) as raised:
        fail_if({"2026-11-0001": said}, "not submitted")

    assert dict(raised.value.metadata) == {"2026-11-0001": dg.TextMetadataValue(said)}
