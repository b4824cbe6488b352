"""Spreadsheets: the tables of each sheet as Markdown.

Belongs here: where tables begin and end, what cells look like as text. Does not belong here: rows
that are documents of their own.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import TYPE_CHECKING

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.office.flow import hidden, title_in
from embedding_assets.corpus.formats.office.odt import meta_of
from embedding_assets.corpus.formats.office.ooxml import properties_of
from embedding_assets.corpus.formats.office.packed import (
    LOCKED,
    Packed,
    check_ole,
    is_ole,
    understood,
)
from embedding_assets.corpus.formats.pieces import Piece, assembled, heading, pipes
from embedding_assets.errors import DocumentError

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

_KIND = "spreadsheet"
_SHEET_LEVEL = 2  # the title of all is above
_DIGITS = 15  # as many as spreadsheets compute with


def read_sheets(data: bytes) -> Extracted:
    """The sheets as Markdown, each under its name, without those that are hidden."""
    metadata = _metadata_of(data)
    with understood(_KIND):
        from python_calamine import SheetTypeEnum, SheetVisibleEnum

        workbook = _opened(data)
        sheets = [m for m in workbook.sheets_metadata if m.typ == SheetTypeEnum.WorkSheet]
        shown = [each.name for each in sheets if each.visible == SheetVisibleEnum.Visible]
        pieces = [piece for name in shown for piece in _pieces_of(workbook.get_sheet_by_name(name))]
    remark = hidden(len(sheets) - len(shown), "sheet")
    return assembled(pieces, title=title_in(metadata), metadata=metadata, remark=remark)


def _opened(data: bytes) -> "CalamineWorkbook":
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        return CalamineWorkbook.from_filelike(io.BytesIO(data))
    except PasswordError as exc:
        raise DocumentError(LOCKED) from exc
    except CalamineError as exc:
        if is_ole(data):  # in which it does not tell the one from the other
            raise DocumentError(
                f"it is protected by a password, or no {_KIND}: save it again without one"
            ) from exc
        raise


def _metadata_of(data: bytes) -> dict[str, object]:
    """What the file says about itself; nothing, if it is of Excel's old format.

    Raises DocumentError if it is no spreadsheet, or is locked.
    """
    if is_ole(data):
        check_ole(data)
        return {}
    package = Packed.of(data, _KIND)
    with understood(_KIND):
        return properties_of(package) or meta_of(package)


def _pieces_of(sheet: "CalamineSheet") -> Iterator[Piece]:
    pieces = [piece for table in _tables_of(sheet) for piece in table.pieces()]
    if pieces:
        yield heading(sheet.name, _SHEET_LEVEL)
        yield from pieces


@dataclass(frozen=True, slots=True)
class _Row:
    cells: Sequence[str]
    has_only_texts: bool
    is_above_columns: bool  # whether a cell of it spans several, which have names of their own


@dataclass(slots=True)
class _Table:
    """Rows that go together."""

    rows: list[_Row] = field(default_factory=list)

    def pieces(self) -> Iterator[Piece]:
        columns = sorted({n for row in self.rows for n, cell in enumerate(row.cells) if cell})
        rows = [[row.cells[n] if n < len(row.cells) else "" for n in columns] for row in self.rows]
        n_before = 0
        if len(columns) > 1:
            n_before = next((n for n, row in enumerate(rows) if _n_filled(row) > 1), len(rows))
        table, before = rows[n_before:], rows[:n_before]
        is_table = len(table) > 1 and len(columns) > 1
        if before:
            kind = BlockKind.CAPTION if is_table else BlockKind.PROSE
            yield Piece(kind, "\n".join(map("".join, before)))
        if not is_table:
            yield Piece(BlockKind.PROSE, "\n".join(" | ".join(filter(None, row)) for row in table))
            return
        n_headers = 1 + (self.rows[n_before].is_above_columns and len(table) > 2)
        cells = [[cell.replace("|", "\\|") for cell in row] for row in table]
        yield Piece(BlockKind.TABLE, pipes(cells, n_headers=n_headers))


def _n_filled(row: Sequence[str]) -> int:
    return sum(map(bool, row))


def _tables_of(sheet: "CalamineSheet") -> Iterator[_Table]:
    """What stands between blank rows; but a table goes on behind one, unless texts follow it."""
    table, is_behind_blank = _Table(), False
    for row in _rows_of(sheet):
        if not any(row.cells):
            is_behind_blank = True
            continue
        if is_behind_blank and row.has_only_texts and table.rows:
            yield table
            table = _Table()
        is_behind_blank = False
        table.rows.append(row)
    if table.rows:
        yield table


def _rows_of(sheet: "CalamineSheet") -> Iterator[_Row]:
    """The rows; what is merged downwards is in each row, what is merged sideways in the first."""
    start, merged = sheet.start or (0, 0), sheet.merged_cell_ranges or []
    wide = {top for (top, left), (_, right) in merged if right > left}
    lasts = {first: last for first, (last, _) in merged if last > first[0]}
    open_cells: dict[int, tuple[int, str]] = {}  # by column: up to which row, and the text
    for n, values in enumerate(sheet.iter_rows()):
        cells = [_text(value) for value in values]
        for column, (last, text) in list(open_cells.items()):
            cells[column] = cells[column] or text
            if last == n:
                del open_cells[column]
        for column, cell in enumerate(cells):
            place = (n, start[1] + column)  # all rows are there, columns only from the first
            if cell and place in lasts:
                open_cells[column] = (lasts[place], cell)
        has_only_texts = all(isinstance(value, str) for value in values)
        yield _Row(cells, has_only_texts, n in wide)


def _text(value: object) -> str:
    """On one line; whole numbers without a point, dates as ISO 8601 has them."""
    match value:
        case str():
            return " ".join(value.split())
        case bool():
            return str(value).upper()
        case float():
            return f"{value:.0f}" if value.is_integer() else f"{value:.{_DIGITS}g}"
        case datetime():
            return value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)
