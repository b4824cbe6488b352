"""Spreadsheets: where tables begin and end, what is above them, what cells look like."""

import io
from datetime import datetime
from typing import Any

import xlsxwriter  # type: ignore[import-untyped]

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.office.sheets import read_sheets


def read(rows: list[list[Any]], *merged: tuple[int, int, int, int]) -> Extracted:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"default_date_format": "yyyy-mm-dd hh:mm"}) as workbook:
        sheet = workbook.add_worksheet("S")
        for place in merged:
            sheet.merge_range(*place, "")
        for n, row in enumerate(rows):
            sheet.write_row(n, 0, row)
    return read_sheets(file.getvalue())


def test_texts_behind_a_blank_row_begin_another_table() -> None:
    """Numbers behind one do not: it only parts them from others."""
    found = read([["a", "b"], [1, 2], [], [3, 4], [], ["c", "d"], ["e", 5]])

    assert found.text == (
        "## S\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\n"
        "| c | d |\n| --- | --- |\n| e | 5 |"
    )


def test_a_line_above_a_table_is_its_caption() -> None:
    """A line of its own is prose, and so is a row of its own."""
    found = read([["Sales"], ["a", "b"], [1, 2], [], ["Remarks"], [], ["x", "y"]])

    assert [block.kind for block in found.blocks] == [
        BlockKind.HEADING,
        BlockKind.CAPTION,
        BlockKind.TABLE,
        BlockKind.PROSE,
        BlockKind.PROSE,
    ]
    assert found.text.endswith("\n\nRemarks\n\nx | y")


def test_numbers_and_dates_look_as_people_write_them() -> None:
    """As exactly as spreadsheets compute, and no more."""
    found = read([["a", "b", "c"], [0.1 + 0.2, 1e6, datetime(2025, 1, 2, 3, 4)]])  # noqa: DTZ001

    assert found.text.endswith("| 0.3 | 1000000 | 2025-01-02 03:04:00 |")


def test_what_is_merged_downwards_is_in_each_row() -> None:
    """Columns without anything in them are left out."""
    found = read([["a", "", "b"], ["x", "", 1], ["", "", 2]], (1, 0, 2, 0))

    assert found.text.endswith("| a | b |\n| --- | --- |\n| x | 1 |\n| x | 2 |")


def test_a_bar_in_a_cell_ends_none() -> None:
    """Only in tables has it to be told apart."""
    found = read([["a|b"], [], ["c", "d"], ["e|f", 1]])

    assert found.text.endswith("a|b\n\n| c | d |\n| --- | --- |\n| e\\|f | 1 |")
