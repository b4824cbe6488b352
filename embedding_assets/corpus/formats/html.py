"""HTML as Markdown: headings, lists, tables and code of a page, without what is not text.

Belongs here: the writer, and a page's title. Does not belong here: encodings (encodings.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.plain import read_plain
from embedding_assets.corpus.formats.text import clean, one_line

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_DROPPED_TAGS = ["script", "style", "template", "noscript", "svg"]
_PERMALINKS = "a.headerlink"  # the pilcrow that Sphinx puts behind every heading
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset({"ul", "ol", "menu"})
_CELLS = frozenset({"td", "th"})
# fmt: off
_LINES = [
    "br", "caption", "dd", "div", "dt", "figcaption", "legend", "li", "optgroup", "option",
    "summary", "tbody", "tfoot", "thead", "tr",
]
_PARAGRAPHS = [
    *_HEADINGS, "address", "article", "aside", "blockquote", "body", "center", "details", "dialog",
    "dl", "fieldset", "figure", "footer", "form", "header", "hr", "main", "menu", "nav", "ol", "p",
    "section", "table", "ul",
]
# fmt: on
# Newlines around a block: 1 starts a new line, 2 leave a blank line between.
_BREAKS = dict.fromkeys(_LINES, 1) | dict.fromkeys(_PARAGRAPHS, 2)
_SOFT_IN_CELLS = frozenset({"br", "center", "div", "p"})  # a row stays one line around these
_MAX_INDENT_LEVELS = 6


def read_html(source: str, *, keep: Sequence[str] = (), drop: Sequence[str] = ()) -> Extracted:
    """The title (empty if there is none), and the main content as Markdown, with its blocks.

    ``keep`` and ``drop`` are CSS selectors of a person's.
    """
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(source)
    tree.strip_tags(_DROPPED_TAGS)
    for link in tree.css(_PERMALINKS):
        link.decompose()
    title = _html_title(tree)
    tree.strip_tags(["head"])
    writer = _MarkdownWriter()
    if tree.root is not None:
        _write_tree(tree.root, writer)
    return replace(read_plain(clean(writer.text())), title=title)


def _html_title(tree: "LexborHTMLParser") -> str:
    nodes = [*tree.css("title"), *tree.css("h1, h2, h3, h4, h5, h6")]
    return next(filter(None, (one_line(clean(node.text())) for node in nodes)), "")


def _write_tree(root: "LexborNode", writer: "_MarkdownWriter") -> None:
    """Walk the tree depth first without recursion: real pages nest deeper than Python may."""
    stack: list[tuple[LexborNode, bool]] = [(root, False)]
    while stack:
        node, is_end = stack.pop()
        tag = node.tag or ""
        if is_end:
            writer.close(tag)
        elif node.is_text_node:
            writer.write(node.text_content or "")
        elif tag == "pre":
            writer.write_verbatim(node.text())
        else:
            writer.open(tag)
            stack.append((node, True))
            children = list(node.iter(include_text=True))
            stack += [(child, False) for child in reversed(children)]


@dataclass(slots=True)
class _MarkdownWriter:
    """Turns a walk over tags and text into Markdown, with white space as browsers treat it.

    Newlines, spaces and prefixes are owed, and paid only when text follows: so empty elements
    leave no trace and nested ones no heap of blank lines.
    """

    _parts: list[str] = field(default_factory=list)
    _newlines: int = 0
    _has_space: bool = False
    _separators: int = 0  # cells begun since the last text of a row
    _prefix: str = ""  # of the next line of text: "## ", "  - "
    _list_depth: int = 0
    _in_heading: bool = False
    _rows: list[int] = field(default_factory=list)  # cells so far in each open row

    def text(self) -> str:
        return "".join(self._parts)

    def open(self, tag: str) -> None:
        self._break(tag)
        if tag in _HEADINGS:
            self._in_heading = True
            self._prefix = "#" * _HEADINGS[tag] + " "
        elif tag in _LISTS:
            self._list_depth += 1
        elif tag == "li":
            self._prefix = "  " * min(self._list_depth - 1, _MAX_INDENT_LEVELS) + "- "
        elif tag == "tr":
            self._rows.append(0)
        elif tag in _CELLS and self._rows:
            self._separators += self._rows[-1] > 0
            self._rows[-1] += 1

    def close(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._in_heading = False
        elif tag in _LISTS:
            self._list_depth -= 1
        elif tag == "tr":
            self._rows.pop()
            self._separators = 0
        if tag == "li" or tag in _HEADINGS:
            self._prefix = ""
        self._break(tag)

    def _break(self, tag: str) -> None:
        is_soft = self._in_heading or (tag in _SOFT_IN_CELLS and any(self._rows[-1:]))
        most = 1 if self._list_depth > 0 else 2  # no blank lines within a list
        if tag in _BREAKS and is_soft:
            self._has_space = True
        else:
            self._newlines = max(self._newlines, min(_BREAKS.get(tag, 0), most))

    def write(self, text: str) -> None:
        words = text.split()
        if words:
            self._pay(has_space=text[0].isspace())
            self._parts.append(" ".join(words))
        self._has_space = self._has_space or text[-1:].isspace()

    def _pay(self, *, has_space: bool) -> None:
        is_new_line = self._newlines > 0 or not self._parts
        if is_new_line:
            self._parts.append("\n" * self._newlines * bool(self._parts) + self._prefix)
            self._prefix = ""
        if self._separators:
            self._parts.append(("" if is_new_line else " ") + "| " * self._separators)
        elif not is_new_line and (self._has_space or has_space):
            self._parts.append(" ")
        self._newlines, self._separators, self._has_space = 0, 0, False

    def write_verbatim(self, code: str) -> None:
        """Write a fenced block, in which nothing is taken for a heading or collapsed."""
        if not code or code.isspace():
            return
        longest_run = max(map(len, re.findall(r"`{3,}", code)), default=2)
        fence = "`" * (longest_run + 1)
        self._newlines, self._separators, self._prefix = 2, 0, ""
        self._pay(has_space=False)
        self._parts.append(f"{fence}\n{code.rstrip()}\n{fence}")
        self._newlines = 2
