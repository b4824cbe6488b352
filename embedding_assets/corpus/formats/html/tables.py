"""Tables of a page: rows of cells as Markdown's pipes, or what they only lay out.

Belongs here: what is a table, spans, the header. Does not belong here: what a cell says
(writer.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.pieces import Piece, pipes

_IN_A_ROW = frozenset({BlockKind.PROSE, BlockKind.LIST})
_MAX_MORE_CHARS = 500  # of a cell after its first paragraph; with more, a page is laid out
_MAX_COLUMNS = 100  # that spans reach into


@dataclass(slots=True)
class Cell:
    """What stands in a cell, and over how many rows and columns; 0 rows are all that follow."""

    is_header: bool
    rowspan: int
    colspan: int
    pieces: list[Piece] = field(default_factory=list)

    @property
    def text(self) -> str:
        words = " ".join([word for piece in self.pieces for word in piece.text.split()])
        return words.replace("|", "\\|")

    def fits(self) -> bool:
        """Whether it can stand in a row, on one line."""
        begins_with_prose = bool(self.pieces) and self.pieces[0].kind is BlockKind.PROSE
        n_chars = sum(len(piece.text) for piece in self.pieces[begins_with_prose:])
        return n_chars <= _MAX_MORE_CHARS and all(p.kind in _IN_A_ROW for p in self.pieces)


def pieces_of_table(rows: Sequence[Sequence[Cell]], *, level: int, anchor: str) -> list[Piece]:
    """The table as one piece; or the pieces of its cells, if these are only laid out."""
    filled = [row for row in rows if any(cell.pieces for cell in row)]
    pieces = [piece for row in filled for cell in row for piece in cell.pieces]
    has_columns = any(sum(bool(cell.pieces) for cell in row) > 1 for row in filled)
    if not has_columns or not all(cell.fits() for row in filled for cell in row):
        return pieces
    anchor = anchor or next(filter(None, (piece.anchor for piece in pieces)), "")
    return [Piece(BlockKind.TABLE, _text(filled), level, "", anchor)]


def _text(rows: Sequence[Sequence[Cell]]) -> str:
    n_headers = len(list(takewhile(_is_header, rows)))
    spans = _Spans(budget=sum(len(cell.text) for row in rows for cell in row))
    grid = [_texts(row, spans) for row in rows]
    return pipes(grid, n_headers=1 if n_headers == len(rows) else n_headers)


def _is_header(row: Sequence[Cell]) -> bool:
    return all(cell.is_header or not cell.pieces for cell in row)


@dataclass(slots=True, kw_only=True)
class _Spans:
    """What reaches from a row into the next ones: by column its text, and how many rows are left.

    As many characters are repeated as there are (``budget``): a page could ask for billions.
    """

    budget: int
    columns: dict[int, tuple[str, int]] = field(default_factory=dict)

    def take(self, column: int) -> str:
        text, n_left = self.columns.pop(column, ("", 1))
        if n_left != 1:
            self.columns[column] = (text, n_left - 1)
        self.budget -= len(text)
        return text if self.budget >= 0 else ""


def _texts(row: Sequence[Cell], spans: _Spans) -> list[str]:
    """A text a column: what spans rows is in each of them, what spans columns in the first."""
    texts: list[str] = []
    begun: dict[int, tuple[str, int]] = {}
    last = max(spans.columns, default=-1)
    for cell in row:
        while len(texts) in spans.columns:
            texts.append(spans.take(len(texts)))
        n_more = min(cell.colspan, _MAX_COLUMNS - len(texts)) - 1
        spanned = [cell.text, *[""] * n_more]
        if cell.rowspan != 1 and len(texts) < _MAX_COLUMNS:
            begun |= {len(texts) + n: (text, cell.rowspan - 1) for n, text in enumerate(spanned)}
        texts += spanned
    texts += [spans.take(column) for column in range(len(texts), last + 1)]
    spans.columns |= begun
    return texts
