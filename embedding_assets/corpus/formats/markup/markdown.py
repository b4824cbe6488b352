"""Markdown: the text as it is, its title and its blocks.

Belongs here: which lines are which block, in CommonMark with tables, definition lists, footnotes
and admonitions. Does not belong here: markup inside a line (words.py), other kinds.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.clutter import without_clutter
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.markup.front_matter import split_front_matter
from embedding_assets.corpus.formats.markup.marks import (
    MAX_DEPTH,
    Lines,
    Mark,
    Scanner,
    blocks_of,
    indentation,
    is_blank,
)
from embedding_assets.corpus.formats.markup.words import slug_of, split_attributes, words_of
from embedding_assets.corpus.formats.text import one_line
from embedding_assets.corpus.formats.titles import main_heading

# What a line begins; any other line is text. None of these may try the rest of a line again from
# each of its characters: a line can be the whole file.
_START = re.compile(
    r"""
    (?P<indented>\ {4})
  | \ {0,3}(?:
      (?P<atx>\#{1,6}(?:\ |$))
    | (?P<fence>```+(?=[^`]*$)|~~~+)
    | (?P<rule>(?:(?:-\ *+){3,}+|(?:\*\ *+){3,}+|(?:_\ *+){3,}+)$)
    | (?P<item>(?:[-+*]|\d{1,9}[.)])(?=\ |$))
    | (?P<quote>>)
    | (?P<html><)
    | (?P<note>(?:!!!|\?\?\?\+?)\ +["\w]|===[!+]?\ +")
    | (?P<colons>:::+)
    | (?P<footnote>\[\^[^\]\s]+\]:)
    | (?P<reference>\[[^\]]+\]:\ *(?:<[^<>]*>|\S+)(?:\ +(?:"[^"]*"|'[^']*'|\([^()]*\)))?\ *$)
    )
    """,
    re.VERBOSE,
)
_SETEXT = re.compile(r" {0,3}(?:(=+)|-+) *$")
_DELIMITERS = re.compile(r" {0,3}(?=[^|]*\|)\|?(?: *+:?-++:? *+(?:\||$))++ *$")
_CELL_END = re.compile(r"(?<!\\)\|")
_ENDS_CELL = re.compile(r"(?<!\\)\|\Z")
_DEFINITION = re.compile(r" {0,3}: +(?=\S)")
_ITEM = re.compile(r" *([-+*]|\d{1,9}[.)])( *)")
_INTERRUPTING_ITEM = re.compile(r" {0,3}(?:[-+*]|1[.)]) +\S")
_QUOTE = re.compile(r" {0,3}> ?")
_TEXT = (None, "footnote", "reference")  # kinds of lines that begin a paragraph
_MARKERS = re.compile(r"(?: *+(?:[-+*]|\d{1,9}[.)])(?= )| *+>)*+ *+")  # of containers in a line
_HEADING_TAG = re.compile(r"<h([1-6])\b([^<>]*)>", re.IGNORECASE)
_ID = re.compile(r"""\bid=["']?([^"'\s]+)""", re.IGNORECASE)
_ATTRIBUTES = re.compile(r" {0,3}\{:[^{}]*\} *$")

# How a block of HTML begins, and what is in its last line; without that it ends before a blank one.
_TAGS = (
    "address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details"
    "|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head"
    "|header|hr|html|iframe|legend|li|link|main|menu|menuitem|nav|noframes|ol|optgroup|option|p"
    "|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul"
)
_HTML = [
    (re.compile(start, re.IGNORECASE), re.compile(end, re.IGNORECASE))
    for start, end in [
        (r"<(?:script|pre|style|textarea)(?:[\s>]|$)", r"</(?:script|pre|style|textarea)>"),
        (r"<!--", r"-->"),
        (r"<\?", r"\?>"),
        (r"<![a-z]", r">"),
        (r"<!\[CDATA\[", r"\]\]>"),
        (rf"</?(?:{_TAGS})(?:\s|/?>|$)", r"^\s*$"),
    ]
]
_BLANK = _HTML[-1][1]
_VALUE = r"""(?:\s*+=\s*+(?:"[^"]*"|'[^']*'|[^\s"'=<>`]++))?+"""
_ONE_TAG = re.compile(
    rf"(?:<[a-z][a-z0-9-]*+(?:\s++[a-z_:][\w.:-]*+{_VALUE})*+\s*+/?>|</[a-z][a-z0-9-]*+\s*+>)\s*$",
    re.IGNORECASE,
)


def read_markdown(source: str, *, dialect: Callable[[str], str] = str) -> Extracted:
    """Title, text, blocks, and what front matter says; neither that nor comments are text.

    ``dialect`` makes plain Markdown of what stands behind the front matter.
    """
    front, document = split_front_matter(source)
    document = without_clutter(dialect(document))
    marks = _Scanner(Lines.of(document, tab_size=4)).marks()
    text, blocks = blocks_of(document, _with_anchors(marks))
    title = front.title or main_heading(blocks)
    return Extracted(title=title, text=text, blocks=blocks, metadata=front.metadata)


def _with_anchors(marks: Iterable[Mark]) -> Iterator[Mark]:
    """Headings that name no anchor get the one by which GitHub and most generators know them."""
    n_of: Counter[str] = Counter()
    for mark in marks:
        if mark.kind is BlockKind.HEADING:
            anchor = mark.anchor or _unused(slug_of(mark.label), n_of)
            n_of.setdefault(anchor, 0)
            yield mark._replace(anchor=anchor)
        else:
            yield mark


def _unused(slug: str, n_of: Counter[str]) -> str:
    anchor = slug
    while anchor in n_of:
        n_of[slug] += 1
        anchor = f"{slug}-{n_of[slug]}"
    return anchor


class _Scanner(Scanner):
    """Finds the blocks of Markdown."""

    def marks(self) -> Iterator[Mark]:
        lines = self.of.lines
        while (first := self.of.skip_blank(self.at)) < len(lines):
            self.at = first
            yield from _FINDERS[_kind_of(lines[first])](self)

    # --- Headings ---

    def _atx(self) -> Iterator[Mark]:
        marks, _, words = self.of.lines[self.at].strip(" ").partition(" ")
        bare = words.rstrip("#")
        has_closing_marks = not bare or bare.endswith(" ")
        yield self._heading(len(marks), bare if has_closing_marks else words, self.at + 1)

    def _heading(self, level: int, words: str, stop: int) -> Mark:
        lines = self.of.lines
        words, own = split_attributes(words)
        if stop < len(lines) and _ATTRIBUTES.match(lines[stop]):  # Kramdown has them below
            own = split_attributes(lines[stop])[1]
            stop += 1
        label = words_of(words)
        if self.of.depth or not label:  # it opens no section of the document
            return self._take(BlockKind.PROSE, stop)
        return self._take(BlockKind.HEADING, stop, level=level, label=label, anchor=own)

    # --- Text, and what only a later line shows not to be text: headings, tables, terms ---

    def _text(self) -> Iterator[Mark]:
        lines, first = self.of.lines, self.at
        stop = first + 1
        while stop < len(lines):
            line = lines[stop]
            if not line[:1].isalpha():
                if is_blank(line):
                    break
                if underline := _SETEXT.match(line):
                    level = 1 if underline[1] else 2
                    yield self._heading(level, "\n".join(lines[first:stop]), stop + 1)
                    return
                if _DELIMITERS.match(line) and _n_cells(line) == _n_cells(lines[stop - 1]):
                    yield from self._table(stop)
                    return
                if _DEFINITION.match(line) or _interrupts(line):
                    break
            stop += 1
        body = self.of.skip_blank(stop)
        is_near = body == stop or stop == first + 1
        if is_near and body < len(lines) and _DEFINITION.match(lines[body]):
            yield from self._term(stop, body)
        else:
            yield self._take(BlockKind.PROSE, stop)

    def _table(self, rule: int) -> Iterator[Mark]:
        if rule > self.at + 1:
            yield self._take(BlockKind.PROSE, rule - 1)
        lines, stop = self.of.lines, rule + 1
        while stop < len(lines) and not is_blank(lines[stop]):
            if indentation(lines[stop]) > 3 or _interrupts(lines[stop]):
                break
            stop += 1
        yield self._take(BlockKind.TABLE, stop)

    def _term(self, stop: int, body: int) -> Iterator[Mark]:
        words = " ".join(self.of.lines[self.at : stop])
        yield self._take(BlockKind.TERM, stop, label=words_of(words) or one_line(words))
        while body < len(self.of.lines) and (marker := _DEFINITION.match(self.of.lines[body])):
            self.at = body
            indent = min(len(marker[0]), 4)
            stop = self._container_end(_Indented(indent=indent))
            yield from self._inside(stop, indent=indent, is_defined=True)
            body = self.of.skip_blank(stop)

    # --- Code, HTML, and lines that are blocks by themselves ---

    def _indented(self) -> Iterator[Mark]:
        yield self._take(BlockKind.CODE, self.of.end_of_indented(self.at, 4))

    def _fence(self) -> Iterator[Mark]:
        lines, stop = self.of.lines, self.at + 1
        fence = _fence_of(lines[self.at])
        while stop < len(lines) and not _closes(lines[stop], fence):
            stop += 1
        yield self._take(BlockKind.CODE, min(stop + 1, len(lines)))

    def _rule(self) -> Iterator[Mark]:
        yield self._take(BlockKind.PROSE, self.at + 1)

    def _reference(self) -> Iterator[Mark]:
        stop = self.at + 1
        while stop < len(self.of.lines) and _kind_of(self.of.lines[stop]) == "reference":
            stop += 1
        yield self._take(BlockKind.PROSE, stop)

    def _colons(self) -> Iterator[Mark]:
        is_end = not self.of.lines[self.at].strip(": ")
        yield self._take(BlockKind.PROSE if is_end else BlockKind.CAPTION, self.at + 1)

    def _html(self) -> Iterator[Mark]:
        lines, stop = self.of.lines, self.at
        end = _html_end(lines[stop], is_first=True)
        if end is None:
            yield from self._text()
            return
        while not (found := end.search(lines[stop])) and stop + 1 < len(lines):
            stop += 1
        stop += not (found and end is _BLANK)
        if found and found[0] == "-->" and found.end() == len(lines[stop - 1].rstrip()):
            yield self._take(None, stop)
            return
        yield from self._heading_in_html(stop)
        if self.at < stop:
            yield self._take(BlockKind.PROSE, stop)

    def _heading_in_html(self, stop: int) -> Iterator[Mark]:
        """The first heading of a block: many a README has its name in ``<h1 align="center">``."""
        html = "\n".join(self.of.lines[self.at : stop])
        start = _HEADING_TAG.search(html)
        end = html.find("</h", start.end()) if start else -1
        label = words_of(html[start.end() : end]) if start and end >= 0 else ""
        if start and label and not self.of.depth:
            own = _ID.search(start[2])
            stop = self.at + html.count("\n", 0, end) + 1
            anchor = own[1] if own else ""
            yield self._take(
                BlockKind.HEADING, stop, level=int(start[1]), label=label, anchor=anchor
            )

    # --- Containers ---

    def _item(self) -> Iterator[Mark]:
        yield self._take(BlockKind.LIST, self._container_end(_ItemsOfList()))

    def _quote(self) -> Iterator[Mark]:
        yield self._take(BlockKind.PROSE, self._container_end(_Quote()))

    def _footnote(self) -> Iterator[Mark]:
        yield self._take(BlockKind.PROSE, self._container_end(_Indented(indent=4)))

    def _note(self) -> Iterator[Mark]:
        body = self.at + 1
        stop = self.of.end_of_indented(body, 4)
        yield self._take(BlockKind.CAPTION if stop > body else BlockKind.PROSE, body)
        if stop > body:
            yield from self._inside(stop, indent=4)

    def _inside(self, stop: int, *, indent: int, is_defined: bool = False) -> Iterator[Mark]:
        first, self.at = self.at, stop
        inside = self.of.inside(first, stop, indent=indent, is_defined=is_defined)
        if is_defined:  # what indents its first line is the marker
            inside.lines[0] = self.of.lines[first][indent:]
        if inside.depth > MAX_DEPTH:
            yield inside.mark(BlockKind.PROSE, 0, stop - first)
        else:
            yield from _Scanner(inside).marks()

    def _container_end(self, container: "_Container") -> int:
        """The line after a container's last: its own, and those that go on with its text."""
        lines, at = self.of.lines, self.at
        stop = at
        while at < len(lines):
            line = lines[at]
            if is_blank(line):
                if not container.goes_on_after_blank():
                    break
            elif container.takes(line) or container.is_continued_by(line):
                stop = at + 1
            else:
                break
            at += 1
        return stop


_FINDERS = {
    None: _Scanner._text,
    "atx": _Scanner._atx,
    "indented": _Scanner._indented,
    "fence": _Scanner._fence,
    "rule": _Scanner._rule,
    "item": _Scanner._item,
    "quote": _Scanner._quote,
    "html": _Scanner._html,
    "note": _Scanner._note,
    "colons": _Scanner._colons,
    "footnote": _Scanner._footnote,
    "reference": _Scanner._reference,
}


@dataclass(slots=True)
class _Container:
    """What the lines of a container so far say of the next one."""

    ends_in_text: bool = False
    _fence: str = ""  # that is open

    def goes_on_after_blank(self) -> bool:
        self.ends_in_text = False
        return True

    def takes(self, line: str) -> bool:
        """Whether it is a line of the container by its marker or by its indentation."""
        raise NotImplementedError

    def is_continued_by(self, line: str) -> bool:
        """Whether it goes on with a paragraph in it, as lines without the marker may."""
        begins_another = _kind_of(line) == "item" or _DEFINITION.match(line) or _interrupts(line)
        return self.ends_in_text and not begins_another

    def _look(self, content: str) -> None:
        if self._fence:
            if _closes(content.lstrip(" "), self._fence):
                self._fence = ""
            return
        markers = _MARKERS.match(content)
        content = content[markers.end() :] if markers else content
        kind = _kind_of(content)
        if kind == "fence":
            self._fence = _fence_of(content)
        if self.ends_in_text:
            self.ends_in_text = not (_SETEXT.match(content) or _interrupts(content))
        else:
            is_html = kind == "html" and _html_end(content, is_first=True)
            self.ends_in_text = kind in _TEXT and content != "" and not is_html


@dataclass(slots=True)
class _Quote(_Container):
    def goes_on_after_blank(self) -> bool:
        return False

    def takes(self, line: str) -> bool:
        marker = _QUOTE.match(line)
        if marker:
            self._look(line[marker.end() :])
        return marker is not None


@dataclass(slots=True)
class _Indented(_Container):
    indent: int = field(kw_only=True)
    _is_begun: bool = False  # its first line has a marker

    def takes(self, line: str) -> bool:
        is_inside = not self._is_begun or indentation(line) >= self.indent
        if is_inside:
            self._look(line[self.indent :])
        self._is_begun = True
        return is_inside


@dataclass(slots=True)
class _ItemsOfList(_Container):
    _indent: float = math.inf  # of what is in the item
    _marker: str = ""  # "-", "+", "*", "." or ")": another one begins another list
    _is_empty: bool = False  # the item so far

    def goes_on_after_blank(self) -> bool:
        if self._is_empty:
            self._indent = math.inf
        self.ends_in_text = False
        return True

    def takes(self, line: str) -> bool:
        if indentation(line) >= self._indent:
            self._is_empty = False
            self._look(line[int(self._indent) :])
            return True
        item = _ITEM.match(line) if _kind_of(line) == "item" else None
        if item is None or self._marker not in ("", item[1][-1]):
            return False
        self._marker, self._is_empty = item[1][-1], item.end() == len(line)
        self.ends_in_text, self._fence = False, ""
        n_spaces = 1 if self._is_empty or len(item[2]) > 4 else len(item[2])
        self._indent = item.end(1) + n_spaces
        self._look(line[int(self._indent) :])
        return True


def _fence_of(line: str) -> str:
    line = line.lstrip(" ")
    return line[: len(line) - len(line.lstrip(line[0]))]


def _closes(line: str, fence: str) -> bool:
    if fence not in line or indentation(line) > 3:
        return False
    line = line.strip(" ")
    return line.startswith(fence) and not line.strip(fence[0])


def _kind_of(line: str) -> str | None:
    start = _START.match(line)
    return start.lastgroup if start else None


def _interrupts(line: str) -> bool:
    """Whether it ends a paragraph."""
    kind = _kind_of(line)
    if kind == "item":
        return _INTERRUPTING_ITEM.match(line) is not None
    if kind == "html":
        return _html_end(line, is_first=False) is not None
    return kind not in (None, "indented", "reference")


def _html_end(line: str, *, is_first: bool) -> re.Pattern[str] | None:
    """What ends a block of HTML that begins with that line; any tag does as a block's first one."""
    line = line.lstrip(" ")
    if end := next((end for start, end in _HTML if start.match(line)), None):
        return end
    return _BLANK if is_first and _ONE_TAG.match(line) else None


def _n_cells(row: str) -> int:
    row = row.strip(" ").removeprefix("|")
    return len(_CELL_END.findall(row)) + (not _ENDS_CELL.search(row))
