"""Tables of AsciiDoc as Markdown's pipes.

Belongs here: which cells there are, in rows of how many. Does not belong here: spans and pipes
(html/tables.py), where a table begins and ends (asciidoc.py).
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.html.tables import Cell, pieces_of_table
from embedding_assets.corpus.formats.pieces import Piece

# What may stand before a cell: how often it is there, or how much it spans, how it is aligned, and
# its style: "3*|", "2.3+|", "^.>s|".
_CELL = re.compile(
    r"(?:^|(?<=\s))(?:(?P<n>\d{0,2})(?:\.(?P<rows>\d{1,2}))?(?P<how>[+*]))?"
    r"(?:[<^>](?:\.[<^>])?|\.[<^>])?(?P<style>[adehlmsv]?)\|"
    r"|(?<!\\)\|"
)
_MAX_COLUMNS = 100
_SEPARATORS = {"csv": ",", "tsv": "\t", "dsv": ":"}
_COLUMNS = re.compile(r"\s*(?:(\d{1,3})\*)?")


def table_of(lines: Sequence[str], attributes: Mapping[str, str], separator: str) -> str:
    """The table; empty if there are no cells in it. ``separator`` is that of its border."""
    form = attributes.get("format", {",": "csv", ":": "dsv"}.get(separator, "psv"))
    separator = attributes.get("separator", _SEPARATORS.get(form, separator))[:1] or "|"
    if form == "psv":
        lines = [line.replace(separator, "|") for line in lines]
        cells = list(_cells_of(lines))
        rows = list(_rows_of(cells, _n_columns(lines, attributes)))
    else:
        rows = [[_cell(text) for text in row] for row in _split(lines, separator)]
    if rows and _has_header(lines, attributes):
        rows[0] = [_as_header(cell) for cell in rows[0]]
    pieces = pieces_of_table(rows, level=0, anchor="") if rows else []
    return "\n\n".join(piece.text for piece in pieces)


def _split(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    try:
        yield from filter(None, csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except (csv.Error, ValueError, TypeError):  # a field is too long, or the delimiter none
        return


def _cell(text: str, *, rowspan: int = 1, colspan: int = 1, is_header: bool = False) -> Cell:
    text = " ".join(text.replace("\\|", "|").split())
    pieces = [Piece(BlockKind.PROSE, text)] if text else []
    return Cell(is_header=is_header, rowspan=rowspan, colspan=colspan, pieces=pieces)


def _as_header(cell: Cell) -> Cell:
    return Cell(is_header=True, rowspan=1, colspan=cell.colspan, pieces=cell.pieces)


def _cells_of(lines: Sequence[str]) -> Iterator[Cell]:
    body = "\n".join(lines)
    marks = list(_CELL.finditer(body))
    ends = [*(mark.start() for mark in marks[1:]), len(body)]
    for mark, end in zip(marks, ends, strict=False):
        text = body[mark.end() : end]
        n = min(int(mark["n"] or 1), _MAX_COLUMNS)
        if mark["how"] == "*":
            yield from (_cell(text) for _ in range(n))
        else:
            yield _cell(text, rowspan=int(mark["rows"] or 1), colspan=n)


def _n_columns(lines: Sequence[str], attributes: Mapping[str, str]) -> int:
    """As many as are said, else as there are cells in the first line."""
    if columns := attributes.get("cols", "").strip():
        columns = f"{columns}*" if columns.isdecimal() else columns
        counts = (_COLUMNS.match(column) for column in re.split("[,;]", columns))
        n_columns = sum(int(count[1] or 1) for count in counts if count)
    else:
        first = next((line for line in lines if line.strip()), "")
        n_columns = sum(cell.colspan for cell in _cells_of([first]))
    return min(max(n_columns, 1), _MAX_COLUMNS)


def _rows_of(cells: Sequence[Cell], n_columns: int) -> Iterator[list[Cell]]:
    """As many cells as there is room for beside those that span rows from above."""
    taken: list[int] = []  # columns, a number a row that follows
    row: list[Cell] = []
    n_taken = 0
    for cell in cells:
        row.append(cell)
        n_taken += cell.colspan
        taken += [0] * (cell.rowspan - 1 - len(taken))
        for n in range(cell.rowspan - 1):
            taken[n] += cell.colspan
        while n_taken >= n_columns:
            yield row
            row, n_taken = [], taken.pop(0) if taken else 0
    if row:
        yield row


def _has_header(lines: Sequence[str], attributes: Mapping[str, str]) -> bool:
    """By its options, or because a blank line follows the first one and none is before it."""
    options = attributes.get("options", attributes.get("opts", "")).split(",")
    is_set_apart = len(lines) > 2 and bool(lines[0].strip()) and not lines[1].strip()
    return "header" in options or (is_set_apart and "noheader" not in options)
