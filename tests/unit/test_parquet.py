"""Parquet files as documents: values, columns that are no text, damage."""

import datetime
import io
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_assets.corpus.formats.data.parquet import read_parquet
from embedding_assets.errors import DocumentError


def parquet(columns: dict[str, object]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def test_values_are_as_people_write_them() -> None:
    """Whole numbers without a fraction, nothing for none, nested values as JSON."""
    found = read_parquet(
        parquet(
            {
                "day": [datetime.date(2026, 11, 2), None],
                "n": [3.0, float("nan")],
                "price": [Decimal("12.50"), None],
                "is_new": [True, False],
                "tags": [["a", "b"], []],
                "place": [{"lat": 47.5}, None],
                "vector": [[0.5] * 20, None],
                "picture": [b"\x89PNG", b""],
            }
        )
    )

    assert found.text.split("\n")[2:] == [
        '| 2026-11-02 | 3 | 12.50 | true | a, b | {"lat": 47.5} | [20 numbers] |',
        "|  |  |  | false |  |  |  |",
    ]
    assert found.remark == "1 column of bytes is left out"


@pytest.mark.parametrize("n_bytes", [3, 100, -5])
def test_a_damaged_file_is_said_to_be_so(n_bytes: int) -> None:
    """Cut off anywhere."""
    with pytest.raises(DocumentError, match="it is no Parquet file, or damaged or encrypted"):
        read_parquet(parquet({"a": list(range(1000))})[:n_bytes])


def test_a_file_of_bytes_alone_has_no_text() -> None:
    """There is nothing to read in it."""
    assert read_parquet(parquet({"a": [b"x"]})).text == ""
