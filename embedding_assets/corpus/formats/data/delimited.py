"""Delimited text: the rows of CSV and its relatives, whatever is between their cells.

Belongs here: what the delimiter is, and whether there is a header. Does not belong here: what
becomes of rows (records.py).
"""

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, takewhile
from typing import NamedTuple

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.data.records import Records, pieces_of_records, tidy_cell
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.pieces import Piece, assembled
from embedding_assets.corpus.formats.text import lines_of

_DELIMITERS = "\t;|,"  # of equally good ones the first: numbers have commas
_SAMPLE_CHARS = 64 * 1024
_SAMPLE_ROWS = 200
_EXCEL = re.compile(r'"?sep=([;,|\t])"?\n', re.IGNORECASE)
# Numbers, dates, times: of a header only a year.
_VALUE = re.compile(r"[-+]?[0-9][0-9.,:/ -]*[%€$]?")
_YEAR = re.compile(r"(?:19|20)[0-9]{2}")
_MAX_NAME_CHARS = 100
_MIN_DIFFERENT = 2 / 3  # of the names in a header: forms ask for a remark more than once
_MAX_NOTES = 10  # rows above a header


class _Form(NamedTuple):
    """What is between cells, and how quotes around one are told from quotes in it."""

    delimiter: str
    has_quotes: bool = True  # or they are letters as any other
    escape: str | None = None  # what stands before a quote in quotes; without it they are doubled


def read_delimited(source: str) -> Extracted:
    """Its rows as a table, or one after the other; before them what stands above the header."""
    named = _EXCEL.match(source)
    start = named.end() if named else 0
    form, width = _form_of(source, start, named[1] if named else _DELIMITERS)
    read = partial(_rows, source, start, form)
    is_note = partial(_is_note, width=width)
    notes = list(takewhile(is_note, islice(read(), _MAX_NOTES))) if width > 1 else []
    rows = list(islice(read(), len(notes), len(notes) + 2))
    has_header = len(rows) > 1 and _is_header(rows[0])
    records = Records(
        columns=rows[0] if has_header else [""] * width,
        read=lambda: islice(read(), len(notes) + has_header, None),
    )
    above = Piece(BlockKind.PROSE, "\n".join(", ".join(filter(None, note)) for note in notes))
    return assembled([above, *pieces_of_records(records)])


def _rows(source: str, start: int, form: _Form) -> Iterator[Sequence[str]]:
    """The cells of each row in which there is something."""
    csv.field_size_limit(sys.maxsize)  # or a long text is an error
    for row in csv.reader(
        lines_of(source, start),
        delimiter=form.delimiter,
        quoting=csv.QUOTE_MINIMAL if form.has_quotes else csv.QUOTE_NONE,
        escapechar=form.escape,
        doublequote=form.escape is None,
        skipinitialspace=True,
    ):
        cells = [tidy_cell(cell) for cell in row]
        if any(cells):
            yield cells


def _form_of(source: str, start: int, delimiters: str) -> tuple[_Form, int]:
    """What gives most rows of a sample the same number of cells, and that number.

    Quotes are read in another way than usual only if the rows are more even then, or more of them:
    a quote that nothing closes takes whole rows into its cell.
    """
    sample = source[start : start + _SAMPLE_CHARS]
    found = [(_evenness(sample, form), form) for form in map(_Form, delimiters)]
    (share, width, n_rows), form = max(found, key=lambda each: each[0][:2])
    best = (share, n_rows)
    others = [form._replace(escape="\\")] if '\\"' in sample else []
    others += [form._replace(has_quotes=False)] if '"' in sample else []
    for other in others:
        share, other_width, n_rows = _evenness(sample, other)
        if (share, n_rows) > best:
            best, form, width = (share, n_rows), other, other_width
    return form, width


def _evenness(sample: str, form: _Form) -> tuple[float, int, int]:
    """The share of rows that have the most common number of cells, if that is not 1.

    Then that number, and how many rows there are.
    """
    widths = Counter(len(row) for row in islice(_rows(sample, 0, form), _SAMPLE_ROWS))
    (width, n_rows), *_ = widths.most_common(1) or [(1, 1)]
    return (n_rows / widths.total(), width, widths.total()) if width > 1 else (0, 1, 0)


def _is_note(row: Sequence[str], *, width: int) -> bool:
    """A single cell, or a comment, which may have delimiters in it."""
    is_comment = row[0].startswith("#") and len(row) != width
    return row[0] != "" and (is_comment or not any(row[1:]))


def _is_header(row: Sequence[str]) -> bool:
    """Names, most of them different, and of numbers only years. A single column has none."""
    names = [cell for cell in row if cell]
    words = [name for name in names if not _VALUE.fullmatch(name)]
    values = [name for name in names if _VALUE.fullmatch(name)]
    return (
        len(row) > 1
        and len(set(names)) > _MIN_DIFFERENT * len(names)
        and 2 * len(names) >= len(row)
        and bool(words)
        and all(map(_YEAR.fullmatch, values))
        and all(len(name) <= _MAX_NAME_CHARS for name in names)
    )
