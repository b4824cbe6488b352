"""OpenDocument texts: headings, paragraphs, lists, tables, notes.

Belongs here: what OpenDocument means. Does not belong here: the archive it is in (packed.py), the
HTML that is made of it (flow.py).
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.office.flow import (
    Cell,
    Flow,
    Span,
    document_of,
    image_span,
    line_of,
    text_span,
)
from embedding_assets.corpus.formats.office.formulas import mathml
from embedding_assets.corpus.formats.office.numerals import lettered, roman
from embedding_assets.corpus.formats.office.packed import LOCKED, Element, Packed, understood
from embedding_assets.errors import DocumentError

_KIND = "OpenDocument text"
_MAX_BASES = 20
_MAX_SPACES = 100
_MAX_LEVEL = 10
_OUTLINE = "\0"  # no style can be called so
_TITLE, _CODE = "Title", "Preformatted_20_Text"
_META = {
    "title": "title",
    "subject": "subject",
    "description": "description",
    "creator": "author",
    "initial-creator": "author",
    "language": "language",
    "creation-date": "date",
    "date": "modified",
}
# fmt: off
# What is no text of the document: comments, deleted text, tables of contents, forms.
_SKIPPED = frozenset({
    "annotation", "annotation-end", "tracked-changes", "table-of-content", "illustration-index",
    "table-index", "object-index", "user-index", "alphabetical-index", "forms", "sequence-decls",
    "variable-decls", "user-field-decls", "desc", "title", "ruby-text", "covered-table-cell",
    "script", "event-listeners", "math", "binary-data",
})
# fmt: on
_BLOCKS = frozenset({"p", "h", "list", "table"})


def read_odt(data: bytes) -> Extracted:
    """The document as Markdown, without what is hidden or deleted, and without comments."""
    package = Packed.of(data, _KIND)
    with understood(_KIND):
        metadata = meta_of(package)
        content, styles = package.xml("content.xml"), package.xml_if_any("styles.xml")
        body = content.find("body/text")
        if body is None:
            raise DocumentError(f"it is no {_KIND}, but another file of the same family")
        writer = _Writer(
            package=package,
            styles=_styles_of(styles, content),
            lists=_lists_of(styles, content),
        )
        writer.write_blocks(body)
    return document_of(writer.flow, metadata, n_hidden=writer.n_hidden)


def meta_of(package: Packed) -> dict[str, object]:
    """What an OpenDocument file of any kind says about itself.

    Raises DocumentError if it is protected by a password.
    """
    manifest = package.xml_if_any("META-INF/manifest.xml")
    if next(manifest.iter("encryption-data"), None) is not None:
        raise DocumentError(LOCKED)
    part = package.xml_if_any("meta.xml")
    found: dict[str, object] = {
        _META[each.tag]: text
        for each in part.iter()
        if each.tag in _META and (text := (each.text or "").strip())
    }
    keywords = [text for each in part.iter("keyword") if (text := (each.text or "").strip())]
    return found | ({"keywords": keywords} if keywords else {})


# --- Styles ---------------------------------------------------------------------------------------


class _Style(NamedTuple):
    """What is known of a paragraph or of a run in it."""

    names: frozenset[str] = frozenset()  # its own and those of the styles it is based on
    is_hidden: bool = False
    script: str = ""


def _styles_of(*parts: Element) -> dict[str, _Style]:
    elements = {each.get("name", ""): each for part in parts for each in part.iter("style")}
    return {name: _style(name, elements) for name in elements}


def _style(name: str, elements: Mapping[str, Element]) -> _Style:
    names: list[str] = []
    while name in elements and len(names) < _MAX_BASES:
        names.append(name)
        name = elements[name].get("parent-style-name", "")
    style = _Style(frozenset(names))
    for each in reversed(names):
        text = elements[each].find("text-properties")
        if text is not None:
            style = style._replace(
                is_hidden=text.get("display", "none" if style.is_hidden else "") == "none",
                script=_script(text.get("text-position", style.script)),
            )
    return style


def _script(position: str) -> str:
    """``super 58%``, ``sub 58%``, or how far up or down in per cent."""
    place = position.split()[0] if position.strip() else ""
    if place.startswith(("super", "sup")):
        return "sup"
    if place.startswith(("sub", "-")):
        return "sub"
    return "sup" if place.rstrip("%").isdecimal() and place.rstrip("%") != "0" else ""


class _Level(NamedTuple):
    """How a level of a list counts; ``form`` is empty for bullets."""

    form: str = ""
    before: str = ""
    behind: str = ""
    n_shown: int = 1  # numbers: its own and those above
    start: int = 1


def _lists_of(*parts: Element) -> dict[str, dict[int, _Level]]:
    """The levels of lists by the name of their style, and of headings as those of one more."""
    return {
        _OUTLINE if style.tag == "outline-style" else style.get("name", ""): {
            _number(each, "level") - 1: _level(each) for each in style
        }
        for part in parts
        for style in part.iter()
        if style.tag in ("list-style", "outline-style")
    }


def _level(element: Element) -> _Level:
    return _Level(
        form=element.get("num-format", ""),
        before=element.get("num-prefix", ""),
        behind=element.get("num-suffix", ""),
        n_shown=_number(element, "display-levels"),
        start=_number(element, "start-value"),
    )


_FORMS = {
    "a": lambda number: lettered(number).lower(),
    "A": lettered,
    "i": lambda number: roman(number).lower(),
    "I": roman,
}


def _number(element: Element, name: str, default: int = 1) -> int:
    value = element.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 10 else default


# --- Text -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _OpenList:
    """A list that is open, and how far it has counted."""

    style: str
    number: int
    depth: int


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Turns the elements of a document into HTML."""

    package: Packed
    styles: Mapping[str, _Style]
    lists: Mapping[str, Mapping[int, _Level]]
    flow: Flow = field(default_factory=Flow)
    n_hidden: int = 0  # paragraphs and sections
    _open: list[_OpenList] = field(default_factory=list)
    _headings: list[int] = field(default_factory=list)  # how many, by level
    _ended_at: dict[tuple[str, int], int] = field(default_factory=dict)  # lists by style and depth
    _ended_list: dict[str, int] = field(default_factory=dict)  # by id
    _owed: list[str] = field(default_factory=list)  # notes and text boxes behind this block
    _n_cells: int = 0  # that are open

    # --- Blocks ---

    def write_blocks(self, elements: Iterable[Element]) -> None:
        for element in elements:
            match element.tag:
                case "p" | "h":
                    self._write_paragraph(element)
                case "list":
                    self._write_list(element)
                case "table":
                    self._write_table(element)
                case "section" if self._is_hidden(element):
                    self.n_hidden += 1
                case tag if tag not in _SKIPPED:
                    self.write_blocks(element)
            if element.tag in _BLOCKS and not self._n_cells:
                self._pay()

    def _is_hidden(self, section: Element) -> bool:
        display = section.get("display")
        return display == "none" or (display == "condition" and section.get("is-hidden") == "true")

    def _pay(self) -> None:
        owed, self._owed = self._owed, []
        for html in owed:
            self.flow.more(html)

    def _write_paragraph(self, element: Element) -> None:
        style = self.styles.get(element.get("style-name", ""), _Style())
        html = self._line(element, style)
        if not html.strip():
            return
        if _TITLE in style.names and not self._n_cells:
            self.flow.title(html)
        elif element.tag == "h" and not self._n_cells:
            level = min(_number(element, "outline-level"), _MAX_LEVEL)
            has_none = element.get("is-list-header") == "true"
            number = "" if has_none else self._next_heading_number(level)
            self.flow.heading(number + html, level)
        elif _CODE in style.names:
            self.flow.code(html.replace("<br>", "\n"))
        else:
            self.flow.paragraph(html)

    def _next_heading_number(self, level: int) -> str:
        """What stands before the next heading of that level, if such have numbers."""
        self._headings = [*self._headings[:level], *[0] * (level - len(self._headings))]
        self._headings[-1] += 1
        styles = self.lists.get(_OUTLINE, {})
        own = styles.get(level - 1, _Level())
        if not own.form:
            return ""
        parts = [
            _FORMS.get(styles.get(n, _Level()).form, str)(self._headings[n])
            for n in range(max(0, level - own.n_shown), level)
        ]
        return f"{own.before}{'.'.join(parts)}{own.behind} "

    def _line(self, element: Element, style: _Style) -> str:
        """What stands in a paragraph."""
        spans = list(self._spans(element, style))
        if any(span is _HIDDEN for span in spans):
            self.n_hidden += 1
        if any(span is _ALL_HIDDEN for span in spans):
            self.n_hidden += 1
            return ""
        return line_of(span for span in spans if span.html)

    def _write_list(self, element: Element) -> None:
        outer = self._open[-1] if self._open else None
        depth = outer.depth + 1 if outer else 0
        style = element.get("style-name", "") or (outer.style if outer else "")
        level = self.lists.get(style, {}).get(depth, _Level())
        number = level.start - 1
        if element.get("continue-numbering") == "true":
            number = self._ended_at.get((style, depth), number)
        elif element.get("continue-list"):
            number = self._ended_list.get(element.get("continue-list", ""), number)
        opened = _OpenList(style, number, depth)
        self._open.append(opened)
        for item in element:
            if item.tag in ("list-item", "list-header"):
                self._write_item(item, opened, level)
        self._open.pop()
        self._ended_at[style, depth] = opened.number
        self._ended_list[element.get("id", "")] = opened.number

    def _write_item(self, item: Element, opened: _OpenList, level: _Level) -> None:
        is_first = item.tag == "list-item"
        if is_first:
            opened.number = _number(item, "start-value", opened.number + 1)
        for element in item:
            if element.tag == "h" or (element.tag == "p" and self._is_title(element)):
                self._write_paragraph(element)
            elif element.tag == "p":
                style = self.styles.get(element.get("style-name", ""), _Style())
                html = self._line(element, style)
                if is_first and html.strip():
                    self._write_first(html, opened, level)
                    is_first = False
                elif html.strip():
                    self.flow.more(f"<p>{html}</p>")
                self._pay()
            else:
                self.write_blocks([element])

    def _is_title(self, element: Element) -> bool:
        return _TITLE in self.styles.get(element.get("style-name", ""), _Style()).names

    def _write_first(self, html: str, opened: _OpenList, level: _Level) -> None:
        number = None
        if level.form == "1" and level.n_shown == 1:
            number = opened.number
        elif level.form:
            html = f"{level.before}{self._counted(level)}{level.behind} {html}"
        self.flow.item(html, depth=opened.depth, number=number)

    def _counted(self, level: _Level) -> str:
        """The numbers of the lists that are open, as many as the level shows."""
        parts = []
        for each in self._open[-level.n_shown :]:
            form = self.lists.get(each.style, {}).get(each.depth, _Level()).form
            parts.append(_FORMS.get(form, str)(each.number))
        return ".".join(parts)

    def _write_table(self, table: Element) -> None:
        rows: list[list[Cell]] = []
        n_headers = 0
        for row, is_header in _rows_of(table):
            if row.get("visibility") in ("collapse", "filter"):
                continue
            n_headers += is_header and n_headers == len(rows)
            rows.append([self._cell(each) for each in row if each.tag == "table-cell"])
        self.flow.table(rows, n_headers=n_headers)

    def _cell(self, element: Element) -> Cell:
        """One that is repeated is as wide as all of these."""
        with self._inner_flow() as flow:
            self.write_blocks(element)
        n_columns = _number(element, "number-columns-spanned")
        n_times = _number(element, "number-columns-repeated")
        return Cell(flow.html(), n_columns * n_times, _number(element, "number-rows-spanned"))

    @contextmanager
    def _inner_flow(self) -> Iterator[Flow]:
        """Where blocks in a cell or a box go in the meantime."""
        outer, opened = self.flow, self._open
        self.flow, self._open = Flow(), []
        self._n_cells += 1
        try:
            yield self.flow
        finally:
            self.flow, self._open = outer, opened
            self._n_cells -= 1

    # --- Lines ---

    def _spans(self, element: Element, style: _Style) -> Iterator[Span]:
        """What stands in a paragraph, a span or anything between."""
        if element.text:
            yield _HIDDEN if style.is_hidden else text_span(element.text, style.script)
        for child in element:
            yield from self._spans_of_child(child, style)
            if child.tail:
                yield _HIDDEN if style.is_hidden else text_span(child.tail, style.script)

    def _spans_of_child(self, child: Element, style: _Style) -> Iterator[Span]:
        match child.tag:
            case "s":
                yield Span(" " * min(_number(child, "c"), _MAX_SPACES))
            case "tab":
                yield Span("\t")
            case "line-break":
                yield Span("<br>")
            case "note":
                yield self._reference(child)
            case "frame":
                yield image_span(_text_in(child, "desc") or _text_in(child, "title"))
                yield from self._spans(child, style)
            case "object":
                yield Span(self._formula(child.get("href", "")))
            case "text-box":
                self._owe_blocks(child)
            case "p" | "h" | "list" | "table":  # of a drawing that has no box for them
                self._owe_blocks([child])
            case "hidden-paragraph" if child.get("is-hidden") == "true":
                yield _ALL_HIDDEN
            case "hidden-text" | "conditional-text" if child.get("is-hidden") == "true":
                yield _HIDDEN
            case "span":
                own = self.styles.get(child.get("style-name", ""), _Style())
                yield from self._spans(
                    child,
                    own._replace(
                        is_hidden=own.is_hidden or style.is_hidden,
                        script=own.script or style.script,
                    ),
                )
            case tag if tag not in _SKIPPED:
                yield from self._spans(child, style)

    def _formula(self, href: str) -> str:
        """The formula, which has a part of its own; empty for other objects."""
        part = self.package.xml_if_any(posixpath.normpath(posixpath.join(href, "content.xml")))
        return mathml(part) if part.tag == "math" else ""

    def _owe_blocks(self, blocks: Iterable[Element]) -> None:
        with self._inner_flow() as flow:
            self.write_blocks(blocks)
        self._owed.append(flow.html())

    def _reference(self, note: Element) -> Span:
        mark = f"[{_text_in(note, 'note-citation')}]"
        body = note.find("note-body")
        paragraphs = body.iter("p") if body is not None else ()
        lines = [line_of(self._spans(each, _Style())) for each in paragraphs]
        self._owed.append(f"<p>{mark} {'<br>'.join(filter(None, map(str.strip, lines)))}</p>")
        return Span(mark)


_HIDDEN = Span("")  # instead of text that is hidden
_ALL_HIDDEN = Span("", "all")  # in a paragraph that is


def _rows_of(table: Element, is_header: bool = False) -> Iterator[tuple[Element, bool]]:
    """The rows, also those in groups, and whether they are of the header."""
    for child in table:
        if child.tag == "table-row":
            yield child, is_header
        elif child.tag not in _SKIPPED:
            yield from _rows_of(child, is_header or child.tag == "table-header-rows")


def _text_in(element: Element, tag: str) -> str:
    found = element.find(tag)
    return "".join(found.itertext()).strip() if found is not None else ""
