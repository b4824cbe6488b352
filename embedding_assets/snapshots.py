"""Snapshots: the corpus as it was in one month, one Parquet file, one row a document.

Belongs here: the file's schema, writing it all or not at all, reading it in bounded memory.
Does not belong here: finding and reading documents (documents.py), the index (store/).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedding_assets.documents import Document, in_batches
from embedding_assets.errors import CorpusError, StorageError
from embedding_assets.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

# A row group, the unit that is held in memory, ends at whichever is reached first.
MAX_GROUP_DOCUMENTS = 1_000
MAX_GROUP_CHARS = 8_000_000

# fmt: off
PREVIEW_COLUMNS = [
    "uri", "title", "media_type", "n_bytes", "modified_at", "error_message", "sha256",
]
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSummary:
    """What was written: ``documents`` = ``readable`` + ``failed``; sizes over all documents."""

    documents: int = 0
    readable: int = 0
    failed: int = 0
    n_bytes: int = 0  # of the source files
    n_chars: int = 0  # of the extracted texts

    def plus(self, documents: Sequence[Document]) -> "SnapshotSummary":
        """Return the summary with some more documents counted in."""
        n_failed = sum(document.error_message is not None for document in documents)
        return SnapshotSummary(
            documents=self.documents + len(documents),
            readable=self.readable + len(documents) - n_failed,
            failed=self.failed + n_failed,
            n_bytes=self.n_bytes + sum(document.n_bytes for document in documents),
            n_chars=self.n_chars + sum(len(document.text) for document in documents),
        )


def write_snapshot(path: Path, documents: Iterable[Document]) -> SnapshotSummary:
    """Write the documents, in their order, to the Parquet file ``path`` and return the counts.

    The file appears complete or not at all: an existing one stays until the new one is on disk,
    also when ``documents`` raises. Missing directories are made. Raises StorageError if the disk
    fails.
    """
    try:
        return _write(path, documents)
    except OSError as exc:
        raise StorageError(
            f"the snapshot {str(path)!r} cannot be written: {exc}; an earlier one is as it was: "
            "make room on its disk and try again"
        ) from exc


def _write(path: Path, documents: Iterable[Document]) -> SnapshotSummary:
    import pyarrow as pa
    import pyarrow.parquet as pq

    summary = SnapshotSummary()
    with (
        replacing(path) as beside,
        pq.ParquetWriter(beside, _schema(), compression="zstd") as writer,
    ):
        groups = in_batches(documents, max_documents=MAX_GROUP_DOCUMENTS, max_chars=MAX_GROUP_CHARS)
        for group in groups:
            rows = [asdict(document) for document in group]
            writer.write_table(pa.Table.from_pylist(rows, schema=_schema()))
            summary = summary.plus(group)
    return summary


def _schema() -> "pa.Schema":
    import pyarrow as pa

    fields: list[pa.Field[Any]] = [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("media_type", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),
        pa.field("modified_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("error_message", pa.string()),
    ]
    return pa.schema(fields)


def read_snapshot(path: Path) -> Iterator[Document]:
    """Yield the documents of a snapshot in the order in which they were written.

    One row group is in memory at a time. Raises CorpusError if there is no snapshot at ``path``.
    """
    with _open(path) as file:
        for number in range(file.num_row_groups):
            for row in file.read_row_group(number).to_pylist():
                row["modified_at"] = row["modified_at"].astimezone(UTC)
                yield Document(**row)


def read_preview(path: Path, n: int) -> "pd.DataFrame":
    """Return the first ``n`` documents without their texts, one row each, for people to look at.

    The columns are PREVIEW_COLUMNS. Raises CorpusError if there is no snapshot at ``path``.
    """
    import pyarrow as pa

    schema = pa.schema([_schema().field(name) for name in PREVIEW_COLUMNS])
    with _open(path) as file:
        batches = file.iter_batches(batch_size=max(n, 1), columns=PREVIEW_COLUMNS)
        found = pa.Table.from_batches(_take_rows(batches, n), schema=schema)
    preview: pd.DataFrame = found.to_pandas()
    return preview


def _take_rows(batches: Iterable["pa.RecordBatch"], n: int) -> Iterator["pa.RecordBatch"]:
    for batch in batches:
        if n <= 0:
            return
        yield batch.slice(0, n)
        n -= batch.num_rows


@contextmanager
def _open(path: Path) -> Iterator["pq.ParquetFile"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError as exc:
        raise CorpusError(
            f"there is no snapshot {str(path)!r}; materialize documents for its month first"
        ) from exc
    except (OSError, pa.ArrowInvalid) as exc:
        raise CorpusError(
            f"the snapshot {str(path)!r} cannot be read ({exc}); materialize documents for its "
            "month again"
        ) from exc
    with file:
        yield file
