"""The flow of a text document: its headings, paragraphs, items, tables and notes, as HTML.

Belongs here: what documents of all word processors have, on the way to the one writer of Markdown
(html/pages.py). Does not belong here: how a program's format says it (docx.py, odt.py, pptx.py).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.html.pages import read_html
from embedding_assets.corpus.formats.text import one_line

_MAX_DEPTH = 9  # of lists
_TITLE_END = "</h1>"
_HEADING_STYLE = re.compile(r"heading ([1-9])")
# How the names of styles begin that a table of contents is written in.
CONTENTS_STYLES = ("toc ", "table of figures", "contents ")
# The styles of paragraphs that are code, as programs call them.
CODE_STYLES = frozenset(
    {"html preformatted", "source code", "code", "preformatted text", "macro text"}
)


def heading_level_of(style_name: str) -> int:
    """That of the styles which every program calls so, whatever its language; 0 of all others."""
    found = _HEADING_STYLE.fullmatch(style_name)
    return int(found[1]) if found else 0


class Span(NamedTuple):
    """Some HTML within a line, and whether it is raised or lowered."""

    html: str
    script: str = ""  # "sup", "sub", or empty


class Cell(NamedTuple):
    """What stands in a cell, and over how many columns and rows."""

    html: str
    colspan: int = 1
    rowspan: int = 1


def text_span(text: str, script: str = "") -> Span:
    return Span(escape(text, quote=False), script)


def image_span(alternative: str) -> Span:
    return Span(f'<img alt="{escape(alternative)}">' if alternative.strip() else "")


def line_of(spans: Iterable[Span]) -> str:
    """The spans as HTML; what is raised in several pieces is raised once."""
    parts = []
    for script, group in groupby(spans, itemgetter(1)):
        html = "".join(span.html for span in group)
        parts.append(f"<{script}>{html}</{script}>" if script and html else html)
    return "".join(parts)


@dataclass(slots=True)
class _List:
    """An open list, whose last item is open, too."""

    depth: int
    tag: str
    number: int | None = None  # of the last item

    def is_before(self, tag: str, number: int | None) -> bool:
        """Whether such an item goes on with it."""
        return self.tag == tag and (number is None or number - 1 == self.number)


@dataclass(slots=True)
class Flow:
    """HTML that is written block by block."""

    _parts: list[str] = field(default_factory=list)
    _lists: list[_List] = field(default_factory=list)
    _is_code: bool = False
    _has_title: bool = False

    def title(self, html: str) -> None:
        """Above all headings; in several paragraphs it is one."""
        if self._has_title and self._parts[-1] == _TITLE_END:
            self._parts[-1:] = [f" {html}", _TITLE_END]
        else:
            self._block(f"<h1>{html}")
            self._parts.append(_TITLE_END)
        self._has_title = True

    def heading(self, html: str, level: int) -> None:
        tag = f"h{min(max(level, 1) + self._has_title, 6)}"
        self._block(f"<{tag}>{html}</{tag}>")

    def paragraph(self, html: str) -> None:
        self._block(f"<p>{html}</p>")

    def caption(self, html: str) -> None:
        """Of what follows."""
        self._block(f'<p class="caption">{html}</p>')

    def code(self, html: str) -> None:
        """A line of it: those in a row are one block."""
        self._end_lists(0)
        self._parts.append(f"\n{html}" if self._is_code else f"<pre>\n{html}")
        self._is_code = True

    def item(self, html: str, *, depth: int, number: int | None = None) -> None:
        """Of a list of that depth, from 0; with a number or with a bullet."""
        self._end_code()
        depth = min(depth, _MAX_DEPTH)
        tag = "ul" if number is None else "ol"
        self._end_lists(depth + 1)
        last = self._lists[-1] if self._lists else None
        if last and last.depth == depth and last.is_before(tag, number):
            self._parts.append("</li>")
        else:
            self._end_lists(depth)
            start = "" if number in (None, 1) else f' start="{number}"'
            self._parts.append(f"<{tag}{start}>")
            self._lists.append(_List(depth, tag))
        self._lists[-1].number = number
        self._parts.append(f"<li>{html}")

    def more(self, html: str) -> None:
        """Other paragraphs that go with the last block, and if that was an item, belong to it."""
        self._end_code()
        self._parts.append(html)

    def table(self, rows: Sequence[Sequence[Cell]], *, n_headers: int) -> None:
        """Without rows that are said to be its header the first one is that."""
        n_headers = n_headers or 1
        self._block(f"<table>{''.join(_rows(rows, n_headers))}</table>")

    def html(self) -> str:
        self._end_code()
        self._end_lists(0)
        return "".join(self._parts)

    def _block(self, html: str) -> None:
        self._end_code()
        self._end_lists(0)
        self._parts.append(html)

    def _end_code(self) -> None:
        if self._is_code:
            self._parts.append("</pre>")
            self._is_code = False

    def _end_lists(self, depth: int) -> None:
        """Those of that depth, and those in them."""
        while self._lists and self._lists[-1].depth >= depth:
            self._parts.append(f"</li></{self._lists.pop().tag}>")


def _rows(rows: Sequence[Sequence[Cell]], n_headers: int) -> Iterator[str]:
    for n, row in enumerate(rows):
        tag = "th" if n < n_headers else "td"
        cells = (
            f'<{tag} colspan="{cell.colspan}" rowspan="{cell.rowspan}">{cell.html}</{tag}>'
            for cell in row
        )
        yield f"<tr>{''.join(cells)}</tr>"


def read_flow(html: str) -> Extracted:
    """The whole of a text that was written so, as Markdown with its blocks."""
    return read_html(f"<body>{html}</body>", keep=("body",))


def document_of(flow: Flow, metadata: Mapping[str, object], *, n_hidden: int) -> Extracted:
    """The document that was written, of which so many passages are hidden.

    Its title is what it says itself, else its main heading.
    """
    extracted = read_flow(flow.html())
    return replace(
        extracted,
        title=title_in(metadata) or extracted.title,
        metadata=metadata,
        remark=hidden(n_hidden, "passage"),
    )


def title_in(metadata: Mapping[str, object]) -> str:
    """What the file says that it is called."""
    return one_line(str(metadata.get("title", "")))


def hidden(n: int, what: str) -> str:
    """The remark on what nobody sees of a document, and so is not read."""
    return f"{n} hidden {what}{' is' if n == 1 else 's are'} left out" if n else ""
