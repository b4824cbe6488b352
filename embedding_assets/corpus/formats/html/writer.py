"""A page's elements as Markdown, piece by piece.

Belongs here: what each element becomes, white space, anchors. Does not belong here: which elements
are read (content.py), rows and columns (tables.py), code (code.py).
"""

import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.html.code import code_of
from embedding_assets.corpus.formats.html.content import Content
from embedding_assets.corpus.formats.html.tables import Cell, pieces_of_table
from embedding_assets.corpus.formats.pieces import Piece
from embedding_assets.corpus.formats.text import one_line

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset({"ul", "ol", "menu"})
_SCRIPTS = frozenset({"sup", "sub"})
_LEAVES = frozenset({"pre", "img"})  # written at once
# fmt: off
_LINES = frozenset({
    "br", "div", "legend", "li", "optgroup", "option", "summary", "td", "th", "tr",
})
_PARAGRAPHS = frozenset({
    *_HEADINGS, *_LISTS, "address", "article", "aside", "blockquote", "body", "caption", "center",
    "dd", "details", "dialog", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form",
    "header", "hr", "main", "p", "section", "table",
})
# fmt: on
_BREAKS = _LINES | _PARAGRAPHS
_SPECIAL = _BREAKS | _SCRIPTS | _LEAVES
_ENDS_HEADING = frozenset({*_LISTS, "dl", "p", "pre", "table"})
# What names what follows. A heading in a box names only the box.
_CAPTIONS = (
    ":is(caption, figcaption:first-child, .caption, .code-block-caption, .rubric, .topic-title,"
    " .sidebar-title, .admonition-title, p.title, .func_signature, :is(.note, .tip, .important,"
    " .warning, .caution, .admonition, .alert) > :is(h1, h2, h3, h4, h5, h6))"
)
# Says nothing: the name of a file, as Sphinx writes, or DocBook's "[Note]" beside that word.
_NO_ALTERNATIVE = re.compile(r"\S+\.(?:png|jpe?g|gif|svg|webp|avif)|\[\w+\]", re.IGNORECASE)
# Where a word may be broken, which is for whoever sets it: to a search it is another word.
_BREAKS_IN_WORDS = dict.fromkeys(
    map(ord, "\N{SOFT HYPHEN}\N{ZERO WIDTH SPACE}\N{WORD JOINER}\ufeff")
)
_NAME = re.compile(r"\S{1,200}")
_MAX_NESTED_TABLES = 5  # deeper ones are laid out; or all that is in them would be moved each time
_MAX_INDENT_CHARS = 12
_MAX_SCRIPT_CHARS = 20  # more than that is no exponent
_TOKEN = re.compile(r"[+\-\N{MINUS SIGN}]?\w+")
_ENDINGS = frozenset({"st", "nd", "rd", "th", "er", "e", "tm", "sm"})  # 1st, 2e, Debian(TM)


def write_pieces(tree: "LexborHTMLParser", content: Content) -> list[Piece]:
    """The blocks of a page's content, in order."""
    writer = _Writer(
        content=content,
        anchors=_anchors(tree),
        captions={node.mem_id for node in tree.css(_CAPTIONS)},
        layout_lists=_layout_lists(tree),
        spans={
            node.mem_id: (_number(node, "rowspan"), _number(node, "colspan"))
            for node in tree.css(":is([rowspan], [colspan])")
        },
    )
    for root in content.roots:
        writer.write_tree(root)
    return writer.pieces


def _anchors(tree: "LexborHTMLParser") -> dict[int, str]:
    """The fragments that lead to nodes; of two nodes with one name, to the first."""
    anchors: dict[str, int] = {}
    for node in tree.css(":is([id], a[name])"):
        attributes = node.attributes
        name = attributes.get("id") or attributes.get("name") or ""
        if _NAME.fullmatch(name):
            anchors.setdefault(name, node.mem_id)
    return {mem_id: name for name, mem_id in anchors.items()}


def _layout_lists(tree: "LexborHTMLParser") -> set[int]:
    """Lists that lay out a page: Javadoc's, others with headings; and what else is around these."""
    seen: set[int] = set()
    for heading in tree.css("li :is(h1, h2, h3, h4, h5, h6)"):
        node = heading.parent
        while node is not None and node.mem_id not in seen:
            seen.add(node.mem_id)
            node = node.parent
    return seen | {node.mem_id for node in tree.css(":is(.blockList, .blockListLast)")}


@dataclass(slots=True, kw_only=True)
class _List:
    """An open list: the numbers of its items, if they have some, and how far these are indented."""

    numbers: Iterator[int] | None
    indent: str = ""
    content_indent: str = ""

    def next_marker(self) -> str:
        marker = "- " if self.numbers is None else f"{next(self.numbers)}. "
        self.content_indent = (self.indent + " " * len(marker))[:_MAX_INDENT_CHARS]
        return marker


@dataclass(slots=True)
class _Table:
    """An open table: its rows so far."""

    anchor: str
    rows: list[list[Cell]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Turns a walk over nodes into pieces, with white space as browsers treat it.

    Newlines, spaces and markers are owed, and paid only when text follows: so empty elements
    leave no trace.
    """

    content: Content
    anchors: dict[int, str]  # by mem_id, as the next three
    captions: Set[int]
    layout_lists: Set[int]
    spans: dict[int, tuple[int, int]]  # rows and columns
    pieces: list[Piece] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)  # of the open piece, as all down to _line
    _kind: BlockKind = BlockKind.PROSE
    _heading_level: int = 0
    _anchor: str = ""
    _line: int = 0  # the mem_id of what is written on one line, whatever is in it
    _owes_line: bool = False
    _owes_space: bool = False
    _marker: str = ""
    _lists: list[_List | None] = field(default_factory=list)  # None where items are no items
    _tables: list[_Table | None] = field(default_factory=list)
    _around_cells: list[tuple[list[Piece], list[_List | None]]] = field(default_factory=list)
    _has_term: list[bool] = field(default_factory=lambda: [False])  # of each open <dl>
    _n_terms: list[int] = field(default_factory=lambda: [0])  # above what is in each open <dd>
    _scripts: list[tuple[list[str], int]] = field(default_factory=list)

    def write_tree(self, root: "LexborNode") -> None:
        for node, tag, is_end in self.content.walk(root, _LEAVES):
            if tag == "-text":
                self._write(node.text_content or "")
            elif is_end:
                if tag in _SPECIAL or node.mem_id == self._line:
                    self._close(node, tag)
            else:
                self._open(node, tag)
        self._end_piece()

    # --- Text ---

    def _write(self, text: str) -> None:
        text = text if text.isascii() else text.translate(_BREAKS_IN_WORDS)
        words = text.split()
        if words:
            self._pay(text[0].isspace())
            self._parts.append(" ".join(words))
        self._owes_space = self._owes_space or text[-1:].isspace()

    def _pay(self, has_space: bool) -> None:
        if not self._parts:
            if not self._line:
                self._kind = BlockKind.LIST if self._list else BlockKind.PROSE
            self._parts.append(self._marker)
        elif self._owes_line:
            indent = self._list.content_indent if self._list else ""
            self._parts.append("\n" + (self._marker or indent))
        elif has_space or self._owes_space:
            self._parts.append(" ")
        self._owes_line, self._owes_space, self._marker = False, False, ""

    @property
    def _list(self) -> _List | None:
        return self._lists[-1] if self._lists else None

    # --- Pieces ---

    def _end_piece(self) -> None:
        text = "".join(self._parts).strip()
        self._parts, self._owes_line, self._owes_space = [], False, False
        if not text:
            return
        level, label = self._n_terms[-1], ""
        if self._kind is BlockKind.HEADING:
            level, label = self._heading_level, one_line(text)
            text = "#" * level + " " + text
        elif self._kind is BlockKind.TERM:
            label = one_line(text)
        self._add(self._kind, text, level, label)

    def _add(self, kind: BlockKind, text: str, level: int, label: str = "") -> None:
        self.pieces.append(Piece(kind, text, level, label, self._anchor))
        self._anchor = ""

    def _begin_line(self, kind: BlockKind, mem_id: int) -> None:
        self._end_piece()
        self._kind, self._line, self._marker = kind, mem_id, ""

    def _end_line(self) -> None:
        n_pieces = len(self.pieces)
        self._end_piece()
        if self._kind is BlockKind.TERM and len(self.pieces) > n_pieces:
            self._has_term[-1] = True
        self._line = 0

    # --- Elements ---

    def _open(self, node: "LexborNode", tag: str) -> None:
        mem_id = node.mem_id
        if mem_id in self.captions and not self._line:
            self._begin_line(BlockKind.CAPTION, mem_id)
        elif tag in _SPECIAL:
            if self._line and tag in _ENDS_HEADING and self._is_unclosed(node):
                self._end_line()
            if self._line:
                self._open_in_line(node, tag)
            elif opener := _OPENERS.get(tag):
                opener(self, node)
            else:
                self._break(tag)
        is_before_text = self._line or not self._parts
        if mem_id in self.anchors and is_before_text and tag not in _LEAVES:
            self._take_anchor(self.anchors[mem_id], tag)

    def _is_unclosed(self, node: "LexborNode") -> bool:
        """Whether this paragraph follows the words of a heading that should have ended before."""
        is_child = node.parent is not None and node.parent.mem_id == self._line
        return self._kind is BlockKind.HEADING and bool(self._parts) and is_child

    def _take_anchor(self, anchor: str, tag: str) -> None:
        """The next piece has that of the nearest block; that of a span, if there is no other."""
        if tag in _BREAKS or not self._anchor:
            self._anchor = anchor

    def _open_in_line(self, node: "LexborNode", tag: str) -> None:
        if tag in _SCRIPTS:
            self._open_script(node)
        elif tag == "img":
            self._write_image(node)
        else:
            self._owes_space = True
            if tag == "pre":
                self._write(node.text())

    def _close(self, node: "LexborNode", tag: str) -> None:
        if self._line == node.mem_id:
            self._end_line()
        elif tag in _SCRIPTS:
            self._close_script(node, tag)
        elif self._line:
            self._owes_space = self._owes_space or tag in _BREAKS
        elif closer := _CLOSERS.get(tag):
            closer(self, node)
        else:
            self._break(tag)

    def _break(self, tag: str) -> None:
        if tag in _LINES or (tag in _PARAGRAPHS and self._list):
            self._owes_line = True
        elif tag in _PARAGRAPHS:
            self._end_piece()

    def _open_heading(self, node: "LexborNode") -> None:
        self._begin_line(BlockKind.HEADING, node.mem_id)
        self._heading_level = _HEADINGS[node.tag or ""]

    def _open_term(self, node: "LexborNode") -> None:
        self._begin_line(BlockKind.TERM, node.mem_id)

    def _open_terms(self, _: "LexborNode") -> None:
        self._end_piece()
        self._has_term.append(False)
        self._lists.append(None)

    def _close_terms(self, _: "LexborNode") -> None:
        self._end_piece()
        self._has_term.pop()
        self._lists.pop()

    def _open_definition(self, _: "LexborNode") -> None:
        self._end_piece()
        self._n_terms.append(self._n_terms[-1] + self._has_term[-1])

    def _close_definition(self, _: "LexborNode") -> None:
        self._end_piece()
        self._n_terms.pop()

    def _open_list(self, node: "LexborNode") -> None:
        self._break("ul")
        if node.mem_id in self.layout_lists:
            self._lists.append(None)
            return
        numbers = count(_number(node, "start")) if node.tag == "ol" else None
        indent = self._list.content_indent if self._list else ""
        self._lists.append(_List(numbers=numbers, indent=indent))

    def _close_list(self, _: "LexborNode") -> None:
        was_list = self._lists.pop()
        self._marker = ""
        if was_list and self._list:
            self._owes_line = True
        else:
            self._end_piece()

    def _open_item(self, _: "LexborNode") -> None:
        if self._lists and not self._list:
            self._end_piece()
            return
        before = self._marker or (self._list.indent if self._list else "")
        marker = self._list.next_marker() if self._list else "- "
        self._marker = before[:_MAX_INDENT_CHARS] + marker
        self._owes_line = True

    def _close_item(self, _: "LexborNode") -> None:
        self._marker = ""
        self._owes_line = True

    @property
    def _table(self) -> _Table | None:
        return self._tables[-1] if self._tables else None

    def _open_table(self, node: "LexborNode") -> None:
        self._end_piece()
        is_nested = len(self._tables) >= _MAX_NESTED_TABLES
        self._tables.append(None if is_nested else _Table(self.anchors.get(node.mem_id, "")))

    def _close_table(self, _: "LexborNode") -> None:
        self._end_piece()
        if table := self._tables.pop():
            self.pieces += pieces_of_table(table.rows, level=self._n_terms[-1], anchor=table.anchor)

    def _open_row(self, _: "LexborNode") -> None:
        self._break("tr")
        if self._table:
            self._table.rows.append([])

    def _open_cell(self, node: "LexborNode") -> None:
        if self._table and self._table.rows:
            self._end_piece()
            cell = Cell(node.tag == "th", *self.spans.get(node.mem_id, (1, 1)))
            self._table.rows[-1].append(cell)
            self._around_cells.append((self.pieces, self._lists))
            self.pieces, self._lists = cell.pieces, []
        else:
            self._break("td")

    def _close_cell(self, _: "LexborNode") -> None:
        if self._table and self._table.rows:
            self._end_piece()
            self.pieces, self._lists = self._around_cells.pop()
        else:
            self._break("td")

    def _write_code(self, node: "LexborNode") -> None:
        self._end_piece()
        if code := code_of(node, self.content):
            self._anchor = self.anchors.get(node.mem_id, self._anchor)
            self._add(BlockKind.CODE, code, self._n_terms[-1])

    def _write_image(self, node: "LexborNode") -> None:
        text = node.attributes.get("alt") or ""
        if not _NO_ALTERNATIVE.fullmatch(text.strip()):
            self._write(f" {text} ")

    # --- Raised and lowered text ---

    def _open_script(self, _: "LexborNode") -> None:
        self._scripts.append((self._parts, len(self._parts)))

    def _close_script(self, node: "LexborNode", tag: str) -> None:
        parts, n_before = self._scripts.pop()
        if parts is not self._parts or not n_before:
            return
        raised = parts[n_before : n_before + _MAX_SCRIPT_CHARS + 1]
        if 0 < sum(map(len, raised)) <= _MAX_SCRIPT_CHARS and not raised[0].isspace():
            text = f"[{raised[0]}]" if _is_note(node, raised) else "".join(raised)
            parts[n_before:] = [_scripted(tag, parts[n_before - 1][-1:], text)]


def _number(node: "LexborNode", attribute: str) -> int:
    """The value of an attribute that is a number; without one it is 1."""
    value = (node.attributes.get(attribute) or "").strip()
    return int(value) if re.fullmatch("[0-9]{1,6}", value) else 1


def _is_note(node: "LexborNode", raised: list[str]) -> bool:
    """Whether this is a reference to a note that is not in brackets yet."""
    around = (node.parent, node.first_child)
    return raised[0].isalnum() and any(link is not None and link.tag == "a" for link in around)


def _scripted(tag: str, before: str, text: str) -> str:
    """10^6 and x_i; but H2O, 1st and notes as they are."""
    has_base = before.isalnum() or before in ")]}"
    is_note_or_sign = text.startswith("[") or not any(map(str.isalnum, text))
    is_sup = tag == "sup"
    is_usual = text.lower() in _ENDINGS if is_sup else before.isalpha() and text.isdigit()
    if not has_base or is_note_or_sign or is_usual:
        return text
    return ("^" if is_sup else "_") + (text if _TOKEN.fullmatch(text) else f"({text})")


_Handler = Callable[[_Writer, "LexborNode"], None]
_OPENERS: dict[str, _Handler] = {
    **dict.fromkeys(_HEADINGS, _Writer._open_heading),
    **dict.fromkeys(_LISTS, _Writer._open_list),
    "dd": _Writer._open_definition,
    "dl": _Writer._open_terms,
    "dt": _Writer._open_term,
    "img": _Writer._write_image,
    "li": _Writer._open_item,
    "pre": _Writer._write_code,
    "sub": _Writer._open_script,
    "sup": _Writer._open_script,
    "table": _Writer._open_table,
    "td": _Writer._open_cell,
    "th": _Writer._open_cell,
    "tr": _Writer._open_row,
}
_CLOSERS: dict[str, _Handler] = {
    **dict.fromkeys(_LISTS, _Writer._close_list),
    "dd": _Writer._close_definition,
    "dl": _Writer._close_terms,
    "li": _Writer._close_item,
    "table": _Writer._close_table,
    "td": _Writer._close_cell,
    "th": _Writer._close_cell,
}
