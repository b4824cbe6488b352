"""Parquet: the rows of a file, as those of other tables.

Belongs here: columns that can be read. Does not belong here: what becomes of rows (records.py),
tables whose rows are documents.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from embedding_assets.corpus.formats.data.records import Records, pieces_of_records, text_of_value
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.pieces import assembled
from embedding_assets.errors import DocumentError
from embedding_assets.wording import count

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1_000


def read_parquet(data: bytes) -> Extracted:
    """Its rows as a table, or one after the other, without columns of bytes.

    Raises DocumentError if it is damaged or encrypted.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.ParquetFile(pa.BufferReader(data)).schema_arrow
        columns = [field.name for field in schema if not _is_binary(field.type)]
        records = Records(columns=columns, read=partial(_rows, data, columns))
        n_left_out = len(schema) - len(columns)
        return assembled(pieces_of_records(records), remark=_said(n_left_out) if n_left_out else "")
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise DocumentError(
            f"it is no Parquet file, or damaged or encrypted ({exc}); write it again"
        ) from exc


def _rows(data: bytes, columns: Sequence[str]) -> Iterator[Sequence[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data))
    for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield [text_of_value(value) for value in values]


def _is_binary(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _said(n_left_out: int) -> str:
    return f"{count(n_left_out, 'column of bytes is', 'columns of bytes are')} left out"
