"""Tables: rows as documents, and the files that have some.

Belongs here: reading rows some at a time, and what becomes of their cells. Does not belong here:
which columns there are (settings/values.py), queries (store/queries.py), documents from there on
(given.py), tables that are one document (formats/).
"""

import csv
import hashlib
import html
import io
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, time
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from embedding_assets.corpus.given import Refused, SourceDocument, is_id
from embedding_assets.errors import CorpusError
from embedding_assets.redaction import redacted
from embedding_assets.settings.values import Table
from embedding_assets.wording import some

BATCH_ROWS = 200  # in memory at a time
MAX_CELL_BYTES = 100_000_000  # of a row, where that is a line; what is longer is no row

_SEPARATORS = ",;\t|"
_HEADER_BYTES = 65_536
_COMPRESSIONS = frozenset({".gz", ".bz2", ".xz"})
_MAX_REASON_CHARS = 500

Row = Mapping[str, object]


class Batch(NamedTuple):
    """Some rows; a text is why one is no row."""

    columns: Sequence[str]
    rows: Sequence[Row | str]
    is_sparse: bool = False  # rows have only the columns in which they have something


def documents_of(table: Table, batches: Generator[Batch]) -> Iterator[SourceDocument | Refused]:
    """Yield a document a row; whatever ends it, the batches are closed.

    A row of which no document can be made is refused, and the others go on. Raises CorpusError if
    the table cannot be read, or lacks a column: to go on would be to take its rows for removed.
    """
    number, batch = 0, None
    reading = _reading_of(table)
    with _corpus_errors(table), closing(batches):
        for batch in batches:
            if number == 0:
                _check_columns(table, batch)
            for row in batch.rows:
                number += 1
                yield _document(table, row, number, reading)
        if batch is None:  # a file of columns that only rows name, and without any
            _check_columns(table, Batch(columns=[], rows=[]))


def place_of(table: Table, folder: Path) -> str:
    """The path or URI of its file; that of the folder if it has none."""
    return table.path if "://" in table.path else str(folder / table.path)


def _check_columns(table: Table, batch: Batch) -> None:
    wanted = (table.id, table.text[0]) if batch.is_sparse else table.columns
    missing = [repr(column) for column in wanted if column not in batch.columns]
    if missing:
        found = some([repr(column) for column in batch.columns]) or "none"
        raise CorpusError(
            f"corpus table {table.name!r} has no column {some(missing)}; it has {found}: correct "
            "[[corpus.tables]]"
        )
    twice = [repr(column) for column in wanted if batch.columns.count(column) > 1]
    if twice:
        raise CorpusError(
            f"corpus table {table.name!r} has more than one column {some(twice)}: give one of them "
            "another name, or leave it out"
        )


@contextmanager
def _corpus_errors(table: Table) -> Iterator[None]:
    """Raises CorpusError for whatever a file, a driver or a database has against it."""
    try:
        yield
    except CorpusError:
        raise
    except Exception as exc:  # each driver has errors of its own
        cause: BaseException = exc
        while cause.__cause__ is not None:  # SQLAlchemy quotes the query around it
            cause = cause.__cause__
        said = redacted(" ".join(str(cause).split()))[:_MAX_REASON_CHARS]
        remedy = "correct [[corpus.tables]] or what it names"
        if isinstance(cause, ImportError):
            remedy = "install the driver of its database"
        raise CorpusError(
            f"corpus table {table.name!r} cannot be read ({type(cause).__name__}: {said}): {remedy}"
        ) from exc


# --- a row to a document --------------------------------------------------------------------------


def _document(table: Table, row: Row | str, number: int, reading: str) -> SourceDocument | Refused:
    nameless = f"{table.name}/row {number}"
    if isinstance(row, str):
        return Refused(id=nameless, reason=row)
    row_id = _cell(row, table.id).strip()
    uri = f"{table.name}/{row_id}"
    if not row_id or not is_id(uri):
        return Refused(id=nameless, reason=f"{row_id[:100]!r} in {table.id!r} is no id")
    version = _cell(row, table.version)
    text = _text_of(table, row)
    if not text:
        columns = some([repr(column) for column in table.text])
        return Refused(id=uri, reason=f"there is no text in it, in {columns}")
    try:
        return SourceDocument(
            id=uri,
            text=text,
            media_type=table.media_type,
            title=_cell(row, table.title),
            url=_url_of(table, row),
            metadata={name: _value(row.get(name)) for name in table.metadata},
            version=f"{version}, {reading}" if version else "",
        )
    except ValueError as exc:
        return Refused(id=uri, reason=str(exc))


def _reading_of(table: Table) -> str:
    """What a document depends on beside its row."""
    chosen = table.model_dump_json(include={"id", "title", "text", "url", "metadata", "media_type"})
    return hashlib.sha256(chosen.encode()).hexdigest()[:8]


def _text_of(table: Table, row: Row) -> str:
    """The text, or each of several behind its column's name."""
    texts = {name: text for name in table.text if not (text := _cell(row, name)).isspace()}
    if len(table.text) == 1:
        return "".join(texts.values())
    labelled = _labelled_html if table.media_type == "text/html" else _labelled
    return "\n\n".join(labelled(name, text) for name, text in texts.items() if text)


def _labelled(name: str, text: str) -> str:
    text = text.strip()
    return f"{name}:\n\n{text}" if "\n" in text else f"{name}: {text}"


def _labelled_html(name: str, text: str) -> str:
    return f"<div>{html.escape(name)}: {text}</div>"


def _url_of(table: Table, row: Row) -> str:
    if not table.url_columns:
        return _cell(row, table.url).strip()
    url = table.url
    for column in table.url_columns:
        url = url.replace(f"{{{column}}}", quote(_cell(row, column), safe=""))
    return url


def _cell(row: Row, column: str) -> str:
    """As text; nothing where no column was asked for, although one may have no name."""
    return _text(row.get(column)) if column else ""


def _value(cell: object) -> object:
    """For metadata, where lists stay lists and what is nested has names."""
    if isinstance(cell, list):
        return [_text(item) for item in cell]
    return cell if isinstance(cell, dict) else _text(cell)


def _text(cell: object) -> str:
    match cell:
        case None:
            return ""
        case str():
            return cell
        case bool():
            return str(cell).lower()
        case float():
            # A column of whole numbers is often one of floats, because some are missing.
            return "" if cell != cell else str(int(cell)) if cell.is_integer() else str(cell)
        case date() | time():
            return cell.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(cell).decode(errors="replace")
        case list() | dict():
            return json.dumps(cell, ensure_ascii=False, default=str)
        case _:
            return str(cell)


# --- a file ---------------------------------------------------------------------------------------


def read_file_of(table: Table, folder: Path) -> Generator[Batch]:
    """Yield the rows of a table's file; a relative path starts at ``folder``.

    Raises CorpusError for a kind of file that is no table, and whatever its file system does.
    """
    import fsspec

    suffixes = [s for s in PurePosixPath(table.path.lower()).suffixes if s not in _COMPRESSIONS]
    read = _READERS.get(suffixes[-1] if suffixes else "")
    if read is None:
        raise CorpusError(
            f"corpus table {table.name!r}: {table.path!r} is of an unsupported type; supported are "
            f"{' '.join(_READERS)}, and these with {' '.join(sorted(_COMPRESSIONS))}"
        )
    with fsspec.open(place_of(table, folder), "rb", compression="infer") as file:
        yield from read(file)


def _delimited(file: BinaryIO) -> Iterator[Batch]:
    """What separates the cells is seen from the header."""
    header_line = file.readline(_HEADER_BYTES).decode(errors="replace")
    file.seek(0)
    csv.field_size_limit(MAX_CELL_BYTES)
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines:
        reader = _rows(lines, delimiter=max(_SEPARATORS, key=header_line.count))
        header = next(reader, [])
        yield Batch(columns=header, rows=[])
        while rows := list(islice(reader, BATCH_ROWS)):
            yield Batch(columns=header, rows=[_cells(header, row) for row in rows if row])


def _rows(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Raises ValueError if a quote is never closed: all rows behind it are in one cell."""
    is_over = False

    def until_over() -> Iterator[str]:
        nonlocal is_over
        yield from lines
        is_over = True

    for number, row in enumerate(csv.reader(until_over(), delimiter=delimiter)):
        if is_over:  # and the reader asked for more of this row
            raise ValueError(f"a quote in row {number} is never closed")
        yield row


def _cells(header: Sequence[str], row: Sequence[str]) -> Row | str:
    if len(row) > len(header):
        return f"it has {len(row)} cells, and the header {len(header)}"
    return dict(zip(header, row, strict=False))


def _json_lines(file: BinaryIO) -> Iterator[Batch]:
    lines = iter(lambda: file.readline(MAX_CELL_BYTES), b"")
    while batch := list(islice(lines, BATCH_ROWS)):
        rows = [_json_row(line) for line in batch if not line.isspace()]
        columns = {name: None for row in rows if not isinstance(row, str) for name in row}
        yield Batch(columns=[*columns], rows=rows, is_sparse=True)


def _json_row(line: bytes) -> Row | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    return row if isinstance(row, dict) else "it is no JSON object in one line"


def _parquet(file: BinaryIO) -> Iterator[Batch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        columns = parquet.schema_arrow.names
        yield Batch(columns=columns, rows=[])
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            yield Batch(columns=columns, rows=batch.to_pylist())


_READERS: dict[str, Callable[[BinaryIO], Iterator[Batch]]] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}
