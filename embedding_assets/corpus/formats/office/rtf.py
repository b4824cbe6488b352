"""RTF: what its control words make of the text between them.

Belongs here: characters, paragraphs, items, tables, notes. Does not belong here: groups
(rtf_groups.py), fonts and styles (rtf_header.py), the HTML that is made of it (flow.py).
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.office.flow import (
    CODE_STYLES,
    CONTENTS_STYLES,
    Cell,
    Flow,
    Span,
    document_of,
    image_span,
    line_of,
    text_span,
)
from embedding_assets.corpus.formats.office.numerals import roman
from embedding_assets.corpus.formats.office.packed import check_beginning, understood
from embedding_assets.corpus.formats.office.rtf_groups import Group, Word, parsed
from embedding_assets.corpus.formats.office.rtf_header import Header, Style, joined

_KIND = "RTF document"
_CHARACTERS = {
    "~": "\N{NO-BREAK SPACE}",
    "_": "\N{NON-BREAKING HYPHEN}",
    "tab": "\t",
    "emdash": "—",
    "endash": "\N{EN DASH}",
    "emspace": " ",
    "enspace": " ",
    "qmspace": " ",
    "bullet": "•",
    "lquote": "\N{LEFT SINGLE QUOTATION MARK}",
    "rquote": "\N{RIGHT SINGLE QUOTATION MARK}",
    "ldblquote": "“",
    "rdblquote": "”",
    "nestcell": " ",
    "nestrow": " ",
}
# fmt: off
# Groups that are no text of the document, beside those that say by "\*" that they can be left out.
_SKIPPED = frozenset({
    "fonttbl", "stylesheet", "info", "colortbl", "listtable", "listoverridetable", "revtbl",
    "rsidtbl", "filetbl", "header", "headerl", "headerr", "headerf", "footer", "footerl",
    "footerr", "footerf", "ftnsep", "ftnsepc", "aftnsep", "aftnsepc", "nonshppict", "shprslt",
    "object", "fldinst", "annotation", "atnid", "atnauthor", "xe", "tc", "txe", "rxe", "template",
    "themedata", "nonesttables", "mmath", "bkmkstart", "bkmkend", "sn", "sv", "upr",
})
# fmt: on
_READ_IN_ANY_CASE = frozenset({"shpinst", "shptxt", "shppict", "picprop", "ud"})
_PICTURES = frozenset({"pict"})
_BOXES = frozenset({"footnote", "shptxt"})  # which have paragraphs of their own
_MARKERS = frozenset({"listtext", "pntext"})
_ENDS = frozenset({"par", "sect", "page"})  # of a paragraph
_NUMBER = re.compile(r"([0-9]{1,9})[.)]?")
_NEAR_TWIPS = 60  # edges of cells that are nearer are the same


def read_rtf(data: bytes) -> Extracted:
    """The document as Markdown, without what is hidden or deleted, and without comments."""
    check_beginning(data, b"{\\rtf", _KIND)
    with understood(_KIND):
        root = parsed(data.decode("latin-1"))
        header = Header.of(root)
        writer = _Writer(header=header)
        writer.write(root, _State(font=header.font))
        writer.end()
    return document_of(writer.flow, header.metadata, n_hidden=writer.n_hidden)


class _State(NamedTuple):
    """What holds until the group ends."""

    font: int
    is_hidden: bool = False
    script: str = ""
    n_after_unicode: int = 1  # characters for programs that do not know Unicode
    style: int = 0
    outline: int = -1
    depth: int = 0  # of an item
    is_in_table: bool = False


@dataclass(slots=True)
class _Line:
    """A paragraph so far."""

    spans: list[Span] = field(default_factory=list)
    marker: str = ""  # what stands before an item
    owed: list[str] = field(default_factory=list)  # notes and text boxes behind it
    hides: bool = False

    def html(self) -> str:
        return joined(line_of(self.spans)).rstrip()


class _Edge(NamedTuple):
    """Where a cell ends, in twips, and whether it goes on the one above or before."""

    right: int
    is_below: bool = False
    is_beside: bool = False


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Turns groups into HTML."""

    header: Header
    flow: Flow = field(default_factory=Flow)
    n_hidden: int = 0
    _line: _Line = field(default_factory=_Line)
    _n_boxes: int = 0  # notes and text boxes that are open
    _n_notes: dict[str, int] = field(default_factory=dict)
    _edges: list[_Edge] = field(default_factory=list)  # of the row
    _merges: set[str] = field(default_factory=set)  # of the next of them
    _cell: list[str] = field(default_factory=list)
    _row: list[str] = field(default_factory=list)
    _rows: list[list[tuple[_Edge, str]]] = field(default_factory=list)

    def write(self, group: Group, state: _State) -> None:
        n_to_skip = 0
        for part in group.parts:
            if isinstance(part, Group):
                self._write_group(part, state)
            elif isinstance(part, bytearray):
                self._write_text(self.header.decoded(part[n_to_skip:], state.font), state)
                n_to_skip = 0
            elif part.name == "u" and part.number is not None:
                self._write_text(self.header.character(part.number, state.font), state)
                n_to_skip = state.n_after_unicode
            else:
                n_to_skip = 0
                state = self._obey(part, state)

    def end(self) -> None:
        """Also of a row that is not ended: the file is cut off, or its program was careless."""
        if self._cell:
            self._end_cell()
        if self._row:
            self._end_row()
        self._end_paragraph(_State(font=-1))
        self._end_table()

    # --- Groups ---

    def _write_group(self, group: Group, state: _State) -> None:
        name = group.name
        if name in _MARKERS:
            self._line.marker = self.header.plain(group)
        elif name == "sp":
            self._write_property(group)
        elif name in _BOXES:
            self._write_box(group, name, state)
        elif name in _PICTURES:
            for inner in group.groups:
                self._write_group(inner, state)
        elif name not in _SKIPPED and (not group.is_optional or name in _READ_IN_ANY_CASE):
            self.write(group, state)

    def _write_property(self, group: Group) -> None:
        """Of a picture or a shape: only its description is text."""
        values = {inner.name: self.header.plain(inner) for inner in group.groups}
        if values.get("sn") == "wzDescription":
            self._line.spans.append(image_span(values.get("sv", "")))

    def _write_box(self, group: Group, name: str, state: _State) -> None:
        """A note or a text box, whose text comes behind the paragraph."""
        outer, self._line = self._line, _Line()
        self._n_boxes += 1
        self.write(group, _State(font=state.font))
        self._n_boxes -= 1
        html = self._line.html().removesuffix("<br>")
        outer.owed += self._line.owed
        self._line = outer
        if name == "footnote":
            mark = self._next_mark("endnote" if Word("ftnalt") in group.parts else "footnote")
            outer.spans.append(Span(mark))
            html = f"{mark} {html.lstrip()}"
        if html:
            outer.owed.append(f"<p>{html}</p>")

    def _next_mark(self, kind: str) -> str:
        self._n_notes[kind] = number = self._n_notes.get(kind, 0) + 1
        return f"[{number if kind == 'footnote' else roman(number).lower()}]"

    # --- Text ---

    def _write_text(self, text: str, state: _State) -> None:
        if state.is_hidden:
            self._line.hides = self._line.hides or not text.isspace()
        elif text:
            self._line.spans.append(text_span(text, state.script))

    def _obey(self, word: Word, state: _State) -> _State:
        """What the control word does at once; what it says of what follows is the new state."""
        name, number = word
        if name in _CHARACTERS:
            self._write_text(_CHARACTERS[name], state)
        elif name == "line" or (self._n_boxes and name in _ENDS):
            self._line.spans.append(Span("<br>"))
        elif name in _ENDS:
            self._end_paragraph(state)
        elif name == "cell":
            self._end_cell()
        elif name == "row":
            self._end_row()
        elif name == "trowd":
            self._edges = []
        elif name in ("clvmrg", "clmrg"):
            self._merges.add(name)
        elif name == "cellx":
            merges, self._merges = self._merges, set()
            self._edges.append(_Edge(number or 0, "clvmrg" in merges, "clmrg" in merges))
        else:
            return _changed(state, name, number)
        return state

    def _end_paragraph(self, state: _State) -> None:
        line, self._line = self._line, _Line()
        html = line.html()
        self.n_hidden += line.hides
        if state.is_in_table:
            self._cell += [f"<p>{html}</p>", *line.owed]
            return
        self._end_table()
        style = self.header.styles.get(state.style, Style())
        level = state.outline + 1 or style.heading_level
        if not html or style.name.startswith(CONTENTS_STYLES):
            pass
        elif style.name == "title":
            self.flow.title(html)
        elif 0 < level < 10:
            self.flow.heading(f"{text_span(line.marker).html} {html}", level)
        elif line.marker:
            self._write_item(html, line.marker, state.depth)
        elif style.name in CODE_STYLES:
            self.flow.code(html.replace("<br>", "\n"))
        else:
            self.flow.paragraph(html)
        for owed in line.owed:
            self.flow.more(owed)

    def _write_item(self, html: str, marker: str, depth: int) -> None:
        if number := _NUMBER.fullmatch(marker):
            self.flow.item(html, depth=depth, number=int(number[1]))
        elif len(marker) > 1 and any(map(str.isalnum, marker)):  # one alone is a bullet's
            self.flow.item(f"{text_span(marker).html} {html}", depth=depth)
        else:
            self.flow.item(html, depth=depth)

    # --- Tables ---

    def _end_cell(self) -> None:
        line, self._line = self._line, _Line()
        self.n_hidden += line.hides
        self._row.append("".join([*self._cell, f"<p>{line.html()}</p>", *line.owed]))
        self._cell = []

    def _end_row(self) -> None:
        edges = self._edges + [_Edge(0)] * (len(self._row) - len(self._edges))
        self._rows.append(list(zip(edges, self._row, strict=False)))
        self._row = []

    def _end_table(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            self.flow.table(_cells_of(rows), n_headers=1)


def _changed(state: _State, name: str, number: int | None) -> _State:
    is_on = number != 0
    match name:
        case "plain":
            return state._replace(is_hidden=False, script="")
        case "pard":
            return state._replace(style=0, outline=-1, depth=0, is_in_table=False)
        case "v" | "deleted":
            return state._replace(is_hidden=is_on)
        case "super" | "sub":
            return state._replace(script={"super": "sup"}.get(name, name) if is_on else "")
        case "nosupersub":
            return state._replace(script="")
        case "f":
            return state._replace(font=number or 0)
        case "uc":
            return state._replace(n_after_unicode=number or 0)
        case "s":
            return state._replace(style=number or 0)
        case "outlinelevel":
            return state._replace(outline=number or 0)
        case "ilvl":
            return state._replace(depth=number or 0)
        case "intbl":
            return state._replace(is_in_table=is_on)
        case _:
            return state


def _cells_of(rows: Sequence[Sequence[tuple[_Edge, str]]]) -> list[list[Cell]]:
    """The rows in the columns that all their cells together make."""
    columns = _columns({edge.right for row in rows for edge, _ in row})
    table: list[list[Cell]] = []
    above: dict[int, tuple[int, int]] = {}  # by column, where its last cell is
    for row in rows:
        cells: list[Cell] = []
        column = 0
        for edge, html in row:
            end = max(column + 1, bisect_left(columns, edge.right - _NEAR_TWIPS) + 1)
            if edge.is_beside and cells:
                cells[-1] = cells[-1]._replace(colspan=cells[-1].colspan + end - column)
            elif edge.is_below and column in above:
                n, k = above[column]
                cell = table[n][k]
                table[n][k] = cell._replace(rowspan=cell.rowspan + 1)
            else:
                above[column] = (len(table), len(cells))
                cells.append(Cell(html, end - column))
            column = end
        table.append(cells)
    return table


def _columns(edges: set[int]) -> list[int]:
    """The right edges from left to right; those that are the same but for a hair are one."""
    columns: list[int] = []
    for edge in sorted(edges):
        if not columns or edge - columns[-1] > _NEAR_TWIPS:
            columns.append(edge)
    return columns
