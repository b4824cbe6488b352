"""Word documents: paragraphs with their styles and numbers, tables, notes.

Belongs here: what Microsoft's WordprocessingML means. Does not belong here: the archive it is in
(packed.py), the HTML that is made of it (flow.py).
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from embedding_assets.corpus.formats.extracted import Extracted, Member
from embedding_assets.corpus.formats.office.docx_styles import (
    Numbering,
    Style,
    is_on,
    styles_of,
    value_of,
)
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
from embedding_assets.corpus.formats.office.formulas import formula
from embedding_assets.corpus.formats.office.numerals import roman
from embedding_assets.corpus.formats.office.ooxml import properties_of
from embedding_assets.corpus.formats.office.packed import Element, Packed, understood
from embedding_assets.corpus.formats.office.symbols import sign
from embedding_assets.errors import DocumentError

_KIND = "Word document"
_FILE = "aFChunk"
_TITLE = "title"
_CAPTION = "caption"
# fmt: off
# What is no text, what was deleted, and what stands beside its replacement.
_SKIPPED = frozenset({
    "pPr", "rPr", "tblPr", "tblGrid", "trPr", "tcPr", "sectPr", "sdtPr", "sdtEndPr", "del",
    "moveFrom", "Fallback", "rubyPr", "rt",
})
# fmt: on
_CODE = re.compile("[0-9A-Fa-f]{1,4}")
_SCRIPTS = {"superscript": "sup", "subscript": "sub"}


def read_docx(data: bytes) -> Extracted:
    """The document as Markdown, without what is hidden or deleted, and without comments."""
    package = Packed.of(data, _KIND)
    with understood(_KIND):
        main = package.related("").get("officeDocument", "word/document.xml")
        if main not in package.names:
            raise DocumentError(f"it is no {_KIND}, but another file of the same family")
        body = package.xml(main).find("body")
        writer = _writer(package, package.related(main))
        writer.write_blocks(body if body is not None else ())
        metadata = properties_of(package)
        members = tuple(_members(package, main))
    extracted = document_of(writer.flow, metadata, n_hidden=writer.n_hidden)
    return replace(extracted, members=members)


def _members(package: Packed, main: str) -> Iterator[Member]:
    """Files of other kinds that Word shows as parts of the text when it opens it."""
    for kind, name in package.relations(main):
        if kind == _FILE and name in package.names:
            media_type = "message/rfc822" if name.endswith((".mht", ".mhtml")) else ""
            data = package.bytes_of(name)
            yield Member(name=posixpath.basename(name), media_type=media_type, data=data)


def _writer(package: Packed, parts: Mapping[str, str]) -> "_Writer":
    styles = styles_of(package.xml_if_any(parts.get("styles", "")))
    notes = {
        (kind, note.get("id", "")): note
        for kind in ("footnote", "endnote")
        for note in package.xml_if_any(parts.get(f"{kind}s", ""))
    }
    numbering = Numbering.of(package.xml_if_any(parts.get("numbering", "")))
    return _Writer(styles=styles, numbering=numbering, notes=notes)


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Turns the elements of a document into HTML."""

    styles: Mapping[str, Style]
    numbering: Numbering
    notes: Mapping[tuple[str, str], Element]
    flow: Flow = field(default_factory=Flow)
    n_hidden: int = 0  # paragraphs of which something is hidden
    _hides: bool = False  # whether the paragraph is one of these
    _numbers: dict[str, int] = field(default_factory=dict)  # of notes of a kind, so far
    _owed: list[str] = field(default_factory=list)  # notes and text boxes behind this block
    _n_cells: int = 0  # that are open

    # --- Blocks ---

    def write_blocks(self, elements: Iterable[Element]) -> None:
        blocks = list(_blocks(elements))
        for n, block in enumerate(blocks):
            if block.tag == "tbl":
                self._write_table(block)
            else:
                is_before_table = n + 1 < len(blocks) and blocks[n + 1].tag == "tbl"
                self._write_paragraph(block, is_before_table=is_before_table)
            if not self._n_cells:
                self._pay()

    def _pay(self) -> None:
        owed, self._owed = self._owed, []
        for html in owed:
            self.flow.more(html)

    def _write_paragraph(self, element: Element, *, is_before_table: bool) -> None:
        properties = element.find("pPr")
        style = self.styles.get(value_of(properties, "pStyle"), Style()).with_own(properties)
        if style.name.startswith(CONTENTS_STYLES):
            return
        self._hides = False
        spans = list(self._spans(element, style))
        self.n_hidden += self._hides
        html = line_of(spans)
        is_blank = not html.replace("<br>", "").strip()
        if is_blank and _has_gone(style, properties):
            return
        label = self.numbering.next_label(style)
        if is_blank:
            return
        if style.name == _TITLE and not self._n_cells:
            self.flow.title(html)
        elif style.heading_level and not self._n_cells:
            number = "" if label is None or label.is_bullet else f"{label.text} "
            self.flow.heading(number + html, style.heading_level)
        elif label is not None:
            self.flow.item(label.before + html, depth=label.depth, number=label.number)
        elif style.name in CODE_STYLES:
            self.flow.code(html.replace("<br>", "\n"))
        elif style.name == _CAPTION and is_before_table:
            self.flow.caption(html)
        elif style.name.startswith("list continue"):
            self.flow.more(f"<p>{html}</p>")
        else:
            self.flow.paragraph(html)

    def _write_table(self, table: Element) -> None:
        rows: list[list[Cell]] = []
        above: dict[int, tuple[int, int]] = {}  # by column the cell that is open downwards
        n_headers = 0
        for row in _inner(table, "tr"):
            properties = row.find("trPr")
            if is_on(properties, "del") or is_on(properties, "hidden"):
                continue
            if is_on(properties, "tblHeader") and n_headers == len(rows):
                n_headers += 1
            rows.append(self._cells_of(row, rows, above))
        self.flow.table(rows, n_headers=n_headers)

    def _cells_of(
        self, row: Element, rows: list[list[Cell]], above: dict[int, tuple[int, int]]
    ) -> list[Cell]:
        """The cells that begin in the row; those that go on from above grow there."""
        n_before = _number(row.find("trPr"), "gridBefore")
        cells = [Cell("", n_before)] if n_before else []
        column = n_before
        for element in _inner(row, "tc"):
            properties = element.find("tcPr")
            width = max(1, _number(properties, "gridSpan"))
            merge = properties.find("vMerge") if properties is not None else None
            goes_on = merge is not None and merge.get("val", "continue") == "continue"
            if goes_on and column in above:
                n, k = above[column]
                rows[n][k] = rows[n][k]._replace(rowspan=rows[n][k].rowspan + 1)
            else:
                above.pop(column, None)
                if merge is not None:
                    above[column] = (len(rows), len(cells))
                with self._inner_flow() as flow:
                    self.write_blocks(element)
                cells.append(Cell(flow.html(), width))
            column += width
        return cells

    @contextmanager
    def _inner_flow(self) -> Iterator[Flow]:
        """Where blocks in a cell or a box go in the meantime."""
        outer, hides = self.flow, self._hides
        self.flow = Flow()
        self._n_cells += 1
        try:
            yield self.flow
        finally:
            self.flow, self._hides = outer, hides
            self._n_cells -= 1

    # --- Lines ---

    def _spans(self, element: Element, style: Style) -> Iterator[Span]:
        """What stands in a paragraph, a run or anything between."""
        for child in element:
            tag = child.tag
            if tag in _SKIPPED or _is_placeholder(child):
                continue
            if tag == "r":
                run = style.with_run(child.find("rPr"), self.styles)
                if run.is_hidden:
                    self._hides = self._hides or any(text.text for text in child.iter("t"))
                else:
                    yield from self._spans(child, run)
            elif tag == "t":
                yield text_span(child.text or "", _SCRIPTS.get(style.script, ""))
            elif tag in _INLINE:
                yield Span(_INLINE[tag])
            elif tag == "sym":
                yield text_span(_sign(child), _SCRIPTS.get(style.script, ""))
            elif tag in ("footnoteReference", "endnoteReference"):
                yield self._reference(tag.removesuffix("Reference"), child.get("id", ""))
            elif tag == "docPr":
                yield image_span(child.get("descr") or child.get("title") or "")
            elif tag == "txbxContent":
                self._owe_blocks(child)
            elif tag in _FORMULAS:
                yield from formula(child)
            else:
                yield from self._spans(child, style)

    def _reference(self, kind: str, note_id: str) -> Span:
        note = self.notes.get((kind, note_id))
        if note is None:
            return Span("")
        self._numbers[kind] = number = self._numbers.get(kind, 0) + 1
        mark = f"[{number if kind == 'footnote' else roman(number).lower()}]"
        lines = [line_of(self._spans(each, Style())) for each in note.iter("p")]
        self._owed.append(f"<p>{mark} {'<br>'.join(filter(None, map(str.strip, lines)))}</p>")
        return Span(mark)

    def _owe_blocks(self, box: Element) -> None:
        with self._inner_flow() as flow:
            self.write_blocks(box)
        self._owed.append(flow.html())


_FORMULAS = frozenset({"oMath", "oMathPara"})
_INLINE = {
    "tab": "\t",
    "ptab": "\t",
    "br": "<br>",
    "cr": "<br>",
    "noBreakHyphen": "\N{NON-BREAKING HYPHEN}",
}


def _blocks(elements: Iterable[Element]) -> Iterator[Element]:
    """The paragraphs and tables, also those in what is only wrapped around them."""
    for element in elements:
        if element.tag in ("p", "tbl"):
            yield element
        elif element.tag not in _SKIPPED and not _is_placeholder(element):
            yield from _blocks(element)


def _sign(element: Element) -> str:
    """Of a font of symbols, as Word's own dialogue puts them in."""
    code = element.get("char", "")
    return sign(int(code, 16), element.get("font", "")) if _CODE.fullmatch(code) else ""


def _has_gone(style: Style, properties: Element | None) -> bool:
    """Whether a paragraph without text is not even shown: it has no number then."""
    mark = properties.find("rPr") if properties is not None else None
    names = ("del", "moveFrom")
    return is_on(mark, "vanish", style.is_hidden) or any(is_on(mark, name) for name in names)


def _is_placeholder(element: Element) -> bool:
    """Whether it is a field of a form that says only what belongs there."""
    return element.find("sdtPr/showingPlcHdr") is not None


def _inner(element: Element, *tags: str) -> Iterator[Element]:
    """The children of that name, also those in what is only wrapped around them."""
    for child in element:
        if child.tag in tags:
            yield child
        elif child.tag not in _SKIPPED and child.tag not in ("tr", "tc", "p", "tbl"):
            yield from _inner(child, *tags)


def _number(properties: Element | None, name: str) -> int:
    value = value_of(properties, name)
    return min(int(value), 1000) if value.isdecimal() else 0
