"""Records: rows of the same fields, as a table or one after the other.

Belongs here: which of the two, and what a value of JSON or Parquet is in words. Does not belong
here: where rows come from (delimited.py, json_values.py, parquet.py).
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, repeat, starmap

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.clutter import without_clutter
from embedding_assets.corpus.formats.html.pages import read_html
from embedding_assets.corpus.formats.pieces import Piece, heading
from embedding_assets.corpus.formats.plain import paragraphs
from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS, clean

FIRST_LEVEL = 2  # of headings, below the title

# Of a table, whose header stands in every chunk: about as much as can be read across.
MAX_COLUMNS = 20
_MAX_HEADER_CHARS = 400
_MAX_ROW_CHARS = 300  # on average
_LONG_CELL_CHARS = 120
_MAX_LONG_CELLS = 0.05  # a row
# Columns, in lower case, by which people call a row.
# fmt: off
_NAMES = frozenset({
    "title", "name", "subject", "question", "headline", "label", "product", "product name",
    "product title", "item", "item name", "full name", "display name",
})
# fmt: on
_NOT_IN_NAMES = re.compile(r"[\W_]+")
# A text that programs keep as a piece of a page, as those of shops do: it begins with a tag, and
# something is closed in it. A longer one is code, or built to take a parser's time.
_HTML = re.compile(
    r"<(?:p|div|span|ul|ol|h[1-6]|table|section|article|blockquote|strong|b|em|i|a|br|img)\b[^<>]*>",
    re.IGNORECASE,
)
_MAX_HTML_CHARS = 20_000
_MIN_CLUTTER_CHARS = 64  # the shortest data: URI that is one
MAX_NUMBERS = 16  # more in one cell are a vector or a series, and no words
_MAX_WHOLE = 1e15  # from there on a float does not tell all whole numbers apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Rows of texts, a column each; ``read`` begins anew each time, so that few are in memory.

    Columns may have no name. Rows may have fewer cells than there are columns, or more; none is
    blank.
    """

    columns: Sequence[str]
    read: Callable[[], Iterable[Sequence[str]]]


def pieces_of_records(records: Records, *, level: int = FIRST_LEVEL) -> Iterator[Piece]:
    """A table, if it is narrow and its cells are short; else what each row says, line by line.

    A single column is a list.
    """
    shape = _Shape.of(records)
    if not shape.n_rows:
        return
    if shape.is_table and shape.width == 1 and not any(records.columns):
        items = (f"- {_on_one_line(*row)}" for row in records.read())
        yield Piece(BlockKind.LIST, "\n".join(items))
    elif shape.is_table:
        yield Piece(BlockKind.TABLE, "\n".join(_lines_of_table(records, shape.width)))
    else:
        for row in records.read():
            columns = chain(records.columns, repeat(""))
            yield from pieces_of_row(list(zip(columns, row, strict=False)), level)


def pieces_of_row(fields: Sequence[tuple[str, str]], level: int) -> Iterator[Piece]:
    """What its columns say, a line each; if it has a name, under a heading of that level."""
    named = place_of_name(fields)
    if named is not None:
        yield heading(fields[named][1], level)
    yield from pieces_of_fields(field for n, field in enumerate(fields) if n != named)


def place_of_name(fields: Iterable[tuple[str, str]]) -> int | None:
    """Of the first field by which people call what has it."""
    return next((n for n, field in enumerate(fields) if _is_name(*field)), None)


def pieces_of_fields(fields: Iterable[tuple[str, str]]) -> Iterator[Piece]:
    """Those that are not empty, a line each; a value may have several paragraphs."""
    text = "\n".join(filter(None, starmap(_said, fields)))
    for block in paragraphs(text):
        yield Piece(block.kind, text[block.start : block.end])


def _is_name(column: str, cell: str) -> bool:
    is_short = 0 < len(cell) <= MAX_TITLE_CHARS and "\n" not in cell
    return is_short and _NOT_IN_NAMES.sub(" ", column).strip().lower() in _NAMES


def _said(column: str, cell: str) -> str:
    return f"{_on_one_line(column)}: {cell}" if column and cell else cell


@dataclass(slots=True, kw_only=True)
class _Shape:
    """What decides whether rows make a table."""

    width: int
    n_header_chars: int
    n_rows: int = 0
    n_chars: int = 0
    n_long: int = 0

    @classmethod
    def of(cls, records: Records) -> "_Shape":
        columns = records.columns
        shape = cls(width=len(columns), n_header_chars=sum(map(len, columns)))
        for row in records.read():
            sizes = list(map(len, row))
            shape.width = max(shape.width, len(row))
            shape.n_rows += 1
            shape.n_chars += sum(sizes)
            shape.n_long += max(sizes, default=0) > _LONG_CELL_CHARS
        return shape

    @property
    def is_table(self) -> bool:
        return (
            self.width <= MAX_COLUMNS
            and self.n_header_chars <= _MAX_HEADER_CHARS
            and self.n_chars <= _MAX_ROW_CHARS * self.n_rows
            and self.n_long <= _MAX_LONG_CELLS * self.n_rows
        )


def _lines_of_table(records: Records, width: int) -> Iterator[str]:
    yield _row_of_table(records.columns, width)
    yield _row_of_table(["---"] * width, width)
    for row in records.read():
        yield _row_of_table(row, width)


def _row_of_table(row: Sequence[str], width: int) -> str:
    cells = [_on_one_line(cell).replace("|", "\\|") for cell in row]
    return "| " + " | ".join(cells + [""] * (width - len(cells))) + " |"


def _on_one_line(cell: str) -> str:
    return " ".join(cell.split())


# --- Values ---------------------------------------------------------------------------------------


def text_of_value(value: object) -> str:
    """A value in words: nothing for none, whole numbers without a fraction, nested ones as JSON.

    What is no text, such as a picture or a vector, becomes a mark.
    """
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str():
            return tidy_cell(clean(value))
        case float():
            return _text_of_float(value)
        case int():
            return str(value)
        case Decimal():
            return f"{value:f}"
        case bytes():
            return f"[binary, {max(1, round(len(value) / 1000))} kB]"
        case list() if n_numbers(value) > MAX_NUMBERS:
            return f"[{n_numbers(value):,} numbers]"
        case list() if not any(isinstance(each, (list, Mapping)) for each in value):
            return ", ".join(filter(None, map(text_of_value, value)))
        case list() | Mapping():
            return tidy_cell(clean(json.dumps(value, ensure_ascii=False, default=text_of_value)))
        case _:
            return str(value)


def tidy_cell(cell: str) -> str:
    """Without white space around it, without clutter, and of HTML what readers see."""
    cell = cell.strip()
    if cell.startswith("<") and _is_html(cell):
        cell = read_html(cell, keep=("body",)).text
    return without_clutter(cell) if len(cell) >= _MIN_CLUTTER_CHARS else cell


def _is_html(cell: str) -> bool:
    is_closed = "</" in cell or cell.endswith("/>")
    return len(cell) <= _MAX_HTML_CHARS and is_closed and _HTML.match(cell) is not None


def _text_of_float(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < _MAX_WHOLE else str(value)


def n_numbers(values: Sequence[object]) -> int:
    """How many are in a list and the lists in it; 0 if there is anything else."""
    n, left = 0, list(values)
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, (int, float)):
            n += 1
        else:
            return 0
    return n
