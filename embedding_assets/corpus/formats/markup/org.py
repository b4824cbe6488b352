"""Org: its text with Markdown's headings and code, its title and its blocks.

Belongs here: what its lines mean. Does not belong here: other kinds.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.clutter import without_clutter
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.markup.marks import (
    Lines,
    Mark,
    Scanner,
    blocks_of,
    indentation,
    is_blank,
)
from embedding_assets.corpus.formats.pieces import fenced, pipes
from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS, one_line
from embedding_assets.corpus.formats.titles import main_heading

# What a line begins; any other line is text.
_START = re.compile(
    r"""
    (?P<heading>(?P<stars>\*+)\ +(?=\S))
  | \s*(?:
      (?P<block>\#\+begin_(?P<what>\S+)(?P<rest>.*)$)
    | (?P<keyword>\#\+(?P<name>[\w-]+)(?:\[[^\]]*\])?:\s*(?P<value>.*)$)
    | (?P<unseen>\#(?:\s|$) | \#\+(?:end_|[\w-]+\s*$) | -{5,}\s*$ | %%\(
        | (?:CLOCK|SCHEDULED|DEADLINE|CLOSED):\s |\\(?:newpage|clearpage|tableofcontents)\s*$)
    | (?P<drawer>:(?P<drawer_name>[\w-]+):\s*$)
    | (?P<table>\|)
    | (?P<fixed>:(?:\ |$))
    | (?P<item>(?:[-+]|\d+[.)]|[a-zA-Z][.)])(?:\s|$) | (?<=\s)\*\s)
    )
  | (?P<footnote>\[fn:[^\]\s]+\])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_KEYWORD = re.compile(r"(?:TODO|DONE|NEXT|WAITING|HOLD|CANCELL?ED|STARTED|SOMEDAY|PROJ)\s+")
_PRIORITY = re.compile(r"\[#[A-Z0-9]\]\s*")
_TAGS = re.compile(r"\s:([\w@#%:]+):\s*$")
_COOKIE = re.compile(r"\s*\[(?:\d*%|\d*/\d*)\]")
_NO_EXPORT = frozenset({"noexport"})
_NO_READERS = frozenset({"properties", "logbook", "clock"})  # drawers
_CODE = frozenset({"src", "example"})
_NOT_SHOWN = frozenset({"comment", "export", "html", "latex"})
_CUSTOM_ID = re.compile(r"\s*:CUSTOM_ID:\s*(\S+)", re.IGNORECASE)
_RULE = re.compile(r"\s*\|-[-+|\s:]*$")
_COMMA = re.compile(r"^(\s*),(?=,*(?:\*|#\+))")  # before what would be Org in code
_SEVERAL = frozenset({"title", "author", "description"})  # may be said in more lines
_NAMES = {"filetags": "keywords", "keywords": "keywords"}
_KEPT = frozenset({"title", "author", "date", "language", "description", "filetags", "keywords"})

_LINK = re.compile(r"\[\[([^\[\]]*)\](?:\[([^\[\]]*)\])?\]")
_TARGET = re.compile(r"<<<?[^<>\n]*>?>>")
_EMPHASIS = re.compile(r"(?<!\w)([*/_=~+])(?=\S)(.+?)(?<=\S)\1(?!\w)")
_FOOTNOTE = re.compile(r"\[fn:[^\[\]]*\]")


def read_org(source: str) -> Extracted:
    """Title, text, blocks, and what its keywords say. Comments, properties and plans are no text.

    Neither is what its author does not export.
    """
    source = without_clutter(source)
    scanner = _Scanner(Lines.of(source, tab_size=8))
    text, blocks = blocks_of(source, scanner.marks())
    said = {name: list(dict.fromkeys(values)) for name, values in scanner.said.items()}
    title = one_line(_words_of(" ".join(said.pop("title", []))))
    metadata = {name: _value_of(name, values) for name, values in said.items()}
    return Extracted(
        title=title or main_heading(blocks), text=text, blocks=blocks, metadata=metadata
    )


def _value_of(name: str, values: list[str]) -> object:
    """A list of keywords, or one text: the last, unless it may have more lines."""
    if name == "keywords":
        return [word for value in values for word in re.split(r"[\s:,]+", value) if word]
    return " ".join(values) if name in _SEVERAL else values[-1].strip("<>[]")


@dataclass(slots=True)
class _Scanner(Scanner):
    """Finds the blocks of Org."""

    said: dict[str, list[str]] = field(default_factory=dict)
    unclosed: set[str] = field(default_factory=set)  # kinds of blocks that nothing ends any more

    def marks(self) -> Iterator[Mark]:
        while (first := self.of.skip_blank(self.at)) < len(self.of.lines):
            self.at = first
            kind, start = self._kind_at(first)
            yield from _FINDERS[kind](self, start)

    def _kind_at(self, at: int) -> tuple[str | None, re.Match[str] | None]:
        start = _START.match(self._line(at))
        return (start.lastgroup, start) if start else (None, None)

    # --- Headings ---

    def _heading(self, start: re.Match[str]) -> Iterator[Mark]:
        n_stars = len(start["stars"])
        words = start.string[start.end() :]
        tags = _TAGS.search(words[-MAX_TITLE_CHARS:])
        label = _words_of(words.rstrip()[: -len(tags[0].rstrip())] if tags else words)
        is_hidden = tags is not None and not _NO_EXPORT.isdisjoint(tags[1].lower().split(":"))
        if is_hidden or label.split(" ", 1)[0] == "COMMENT":
            yield self._take(None, self._end_of_section(n_stars))
            return
        level = min(n_stars, 6)
        anchor = self._own_anchor(self.at + 1)
        if label:
            text = f"{'#' * level} {label}"
            yield self._take(
                BlockKind.HEADING, self.at + 1, level=level, label=label, anchor=anchor, text=text
            )
        else:
            yield self._take(None, self.at + 1)

    def _end_of_section(self, n_stars: int) -> int:
        stop = self.at + 1
        while stop < len(self.of.lines):
            kind, start = self._kind_at(stop)
            if kind == "heading" and start and len(start["stars"]) <= n_stars:
                break
            stop += 1
        return stop

    def _own_anchor(self, at: int) -> str:
        """What the properties below a heading say, the only fragment that stays the same."""
        while self._kind_at(at)[0] == "unseen":
            at += 1
        if self._line(at).strip().upper() == ":PROPERTIES:":
            for line in self.of.lines[at : self._end_of_drawer(at)]:
                if found := _CUSTOM_ID.match(line):
                    return found[1]
        return ""

    # --- What is not seen ---

    def _unseen(self, start: re.Match[str]) -> Iterator[Mark]:
        yield self._take(None, self.at + 1)

    def _keyword(self, start: re.Match[str]) -> Iterator[Mark]:
        name, value = start["name"].lower(), start["value"].strip()
        if name in _KEPT and value:
            self.said.setdefault(_NAMES.get(name, name), []).append(value)
        if name == "caption":
            yield self._take(BlockKind.CAPTION, self.at + 1, text=value)
        else:
            yield self._take(None, self.at + 1)

    def _drawer(self, start: re.Match[str]) -> Iterator[Mark]:
        is_hidden = start["drawer_name"].lower() in _NO_READERS
        yield self._take(None, self._end_of_drawer(self.at) if is_hidden else self.at + 1)

    def _end_of_drawer(self, at: int) -> int:
        """The line behind its end, or behind this one if there is none before the next heading."""
        for n in range(at + 1, len(self.of.lines)):
            line = self.of.lines[n]
            if line.strip().upper() == ":END:":
                return n + 1
            if self._kind_at(n)[0] in ("heading", "drawer"):
                break
        return at + 1

    # --- Blocks and code ---

    def _block(self, start: re.Match[str]) -> Iterator[Mark]:
        what = start["what"].lower()
        if what not in _CODE | _NOT_SHOWN:
            yield self._take(None, self.at + 1)
            return
        end, stop = self._end_of_block(self.at, what)
        text = self._fenced(self.at, end) if what in _CODE else None
        yield self._take(BlockKind.CODE if what in _CODE else None, stop, text=text)

    def _end_of_block(self, at: int, what: str) -> tuple[int, int]:
        """The line behind what is in a block, and that behind the block.

        What is not closed ends at the next heading.
        """
        lines = self.of.lines
        if what not in self.unclosed:
            mark = f"#+end_{what}"
            for n in range(at + 1, len(lines)):
                if lines[n].lstrip().lower().startswith(mark):
                    return n, n + 1
            self.unclosed.add(what)
        later = range(at + 1, len(lines))
        end = next((n for n in later if lines[n].startswith("*")), len(lines))
        return end, end

    def _fenced(self, first: int, end: int) -> str:
        """The code of a block as Markdown has it, as far indented as the block is."""
        start = _START.match(self._line(first))
        arguments = start["rest"].split() if start and start["what"].lower() == "src" else []
        language = arguments[0] if arguments and arguments[0][0] not in ":-+" else ""
        code = [_COMMA.sub(r"\1", line) for line in self.of.lines[first + 1 : end]]
        indent = min((indentation(line) for line in code if not is_blank(line)), default=0)
        outdented = "\n".join([line[indent:] for line in code])
        around = " " * indentation(self._line(first))
        return "\n".join([around + line for line in fenced(outdented, language).split("\n")])

    def _fixed(self, start: re.Match[str]) -> Iterator[Mark]:
        stop = self._end_of("fixed")
        lines = [line.lstrip()[2:] for line in self.of.lines[self.at : stop]]
        yield self._take(BlockKind.CODE, stop, text=fenced("\n".join(lines)))

    def _end_of(self, kind: str) -> int:
        stop = self.at + 1
        while self._kind_at(stop)[0] == kind:
            stop += 1
        return stop

    # --- Tables, lists, text ---

    def _table(self, start: re.Match[str]) -> Iterator[Mark]:
        stop = self._end_of("table")
        lines = self.of.lines[self.at : stop]
        rows = [row for line in lines if not _RULE.match(line) and any(row := _cells_of(line))]
        has_header = any(map(_RULE.match, lines[1:-1])) and not _RULE.match(lines[0])
        text = pipes(rows, n_headers=int(has_header)) if rows else ""
        yield self._take(BlockKind.TABLE, stop, text=text)

    def _item(self, start: re.Match[str]) -> Iterator[Mark]:
        stop = self._end_of_list()
        yield self._take(BlockKind.LIST, stop, text=self._shown(stop))

    def _end_of_list(self) -> int:
        """Items, and what is indented further than the first; two blank lines end it."""
        lines, indent = self.of.lines, indentation(self._line(self.at))
        at, stop, n_blank = self.at, self.at, 0
        while at < len(lines):
            line = lines[at]
            kind, start = self._kind_at(at)
            if is_blank(line):
                n_blank += 1
                if n_blank == 2:
                    break
                at += 1
                continue
            if indentation(line) < indent + (kind != "item") or kind == "heading":
                break
            what = start["what"].lower() if kind == "block" and start else ""
            at = stop = self._end_of_block(at, what)[1] if what in _CODE else at + 1
            n_blank = 0
        return stop

    def _shown(self, stop: int) -> str:
        """The lines from here on, with code in fences, and without what is not seen."""
        parts, at = [], self.at
        while at < stop:
            kind, start = self._kind_at(at)
            if kind == "block" and start and start["what"].lower() in _CODE:
                end, following = self._end_of_block(at, start["what"].lower())
                parts.append(self._fenced(at, end))
                at = following
                continue
            if kind not in ("unseen", "keyword", "block"):
                parts.append(self._line(at))
            at += 1
        return "\n".join(parts)

    def _text(self, start: re.Match[str] | None) -> Iterator[Mark]:
        stop = self.at + 1
        while not is_blank(self._line(stop)) and self._kind_at(stop)[0] is None:
            stop += 1
        text = "\n".join([line.strip() for line in self.of.lines[self.at : stop]])
        yield self._take(BlockKind.PROSE, stop, text=_TARGET.sub("", text))


_FINDERS: dict[str | None, Callable[..., Iterator[Mark]]] = {
    None: _Scanner._text,
    "block": _Scanner._block,
    "drawer": _Scanner._drawer,
    "fixed": _Scanner._fixed,
    "footnote": _Scanner._text,
    "heading": _Scanner._heading,
    "item": _Scanner._item,
    "keyword": _Scanner._keyword,
    "table": _Scanner._table,
    "unseen": _Scanner._unseen,
}


def _cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _words_of(line: str) -> str:
    """The line without marks, state and priority."""
    line = line[: 2 * MAX_TITLE_CHARS]
    line = _KEYWORD.sub("", line, count=1) if _KEYWORD.match(line) else line
    line = _COOKIE.sub("", _PRIORITY.sub("", line, count=1))
    line = _FOOTNOTE.sub("", _TARGET.sub("", line))
    line = _LINK.sub(lambda link: link[2] or link[1], line)
    return one_line(_EMPHASIS.sub(r"\2", line))
