"""AsciiDoc: its text with Markdown's headings, code and tables, its title and its blocks.

Belongs here: what its lines mean, to Asciidoctor and to the older AsciiDoc. Does not belong here:
its tables (asciidoc_tables.py), other kinds.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.clutter import without_clutter
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.markup.asciidoc_tables import table_of
from embedding_assets.corpus.formats.markup.marks import (
    MAX_DEPTH,
    Lines,
    Mark,
    Scanner,
    blocks_of,
    is_blank,
)
from embedding_assets.corpus.formats.names import listed
from embedding_assets.corpus.formats.pieces import fenced
from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS, one_line
from embedding_assets.corpus.formats.titles import main_heading

# What a line begins; any other line is text.
_START = re.compile(
    r"""
    (?P<comments>/{4,80}\s*$)
  | (?P<unseen>//(?!/) | (?:ifdef|ifndef|ifeval|endif|include|toc|video|audio)::[^\s\[]*\[.*\]\s*$
      | (?:<{3,}|'{3,}|-\ ?-\ ?-|\*\ ?\*\ ?\*)\s*$ )
  | (?P<entry>:!?(?P<name>\w[\w-]*)!?:(?:\s+(?P<value>.*))?$)
  | (?P<image>image::[^\s\[]+\[(?P<alt>[^\]]*)\]\s*$)
  | (?P<about>\[(?:\[(?P<id>[^\[\],]+)(?:,[^\[\]]*)?\]|(?P<attributes>(?![\s\[]).*|))\]\s*$)
  | (?P<heading>(?P<marks>={1,6}|\#{1,6})\s+(?=\S))
  | (?P<code>(?:-{4,80}|\.{4,80}|`{3}(?P<language>[\w+#.-]*).*)\s*$)
  | (?P<raw>\+{4,80}\s*$)
  | (?P<container>(?:={4,80}|\*{4,80}|_{4,80}|--)\s*$)
  | (?P<table>[|,:!]={3,80}\s*$)
  | (?P<plus>\+\s*$)
  | (?P<caption>\.(?![.\s])\S)
  | (?P<item>\s*(?:\*{1,6}|-|\.{1,6}|\d+[.)]|[a-zA-Z]\.|<(?:\d+|\.)>)\s+\S)
  | (?P<indented>\s)
    """,
    re.VERBOSE,
)
_UNDERLINE = re.compile(r"(?:={2,}|-{2,}|~{2,}|\^{2,}|\+{2,})\s*$")
_UNDERLINES = "=-~^+"  # of headings, from the highest level on
_TERM = re.compile(r"\s*(?P<words>\S.*?)(?P<mark>:{2,4}|;;)(?:\s+(?P<rest>\S.*))?$")
_ATTRIBUTE = re.compile(r"(?:([\w-]+)\s*=\s*)?(?:\"([^\"]*)\"|'([^']*)'|([^,\"']*))(?:,\s*|$)")
_SHORTHAND = re.compile(r"([#.%])([\w:-]+)")
_NOTES = frozenset({"NOTE", "TIP", "IMPORTANT", "WARNING", "CAUTION"})
_CODE_STYLES = frozenset({"source", "listing", "literal", "stem", "latexmath", "asciimath"})
_NO_HEADING = frozenset({"discrete", "float"})
_AUTHOR = re.compile(r"[^\W\d][\w'. -]*(?:<[^<>]*>)?(?:;[\w'. <>@-]*)?$")
_REVISION = re.compile(
    r"(?:v(?P<alone>\d[\w.-]*)$|v?(?P<version>\d[\w.-]*),\s*)?(?P<date>[^:]*)(?::.*)?$"
)
_MAX_ABOUT_CHARS = 1_000  # of what stands in brackets before a block
_MAX_VALUE_CHARS = 100  # of an attribute that is put where the text refers to it

_REFERENCE = re.compile(r"(?<!\\)\{([\w-]+)\}")
_UNSEEN = re.compile(
    r"\(\(\([^()\n]*\)\)\)|indexterm:\[[^\[\]\n]*\]|anchor:[\w:.-]{1,80}\[[^\[\]\n]*\]"
    r"|(?<!\[)\[\[[A-Za-z_:][\w:.-]*(?:,[^\[\]\n]*)?\]\](?!\])"
)
_SHOWN = re.compile(
    r"\(\((?P<term>[^()\n]+)\)\)|indexterm2:\[(?P<term2>[^\[\]\n]*)\]|\[\[\[(?P<entry>[^\[\],\n]+)"
    r"(?:,[^\[\]\n]*)?\]\]\]"
)
_INLINE = re.compile(
    r"""
    footnote(?:ref)?:\w*\[[^\]]*\]
  | <<[^<>,]*,\s*(?P<cross>[^<>]*)>> | <<(?P<target>[^<>]*)>>
  | (?:(?:link|xref|mailto|image|icon|pass|kbd|btn|menu|stem):|https?://)[^\s\[\]]*\[(?P<words>[^\]]*)\]
  | (?<!\w)(?P<mark>\*\*|__|``|\+\+|\#\#|[*_`+\#])(?=\S)(?P<inner>.+?)(?<=\S)(?P=mark)(?!\w)
    """,
    re.VERBOSE,
)
_ANCHOR = re.compile(r"\[\[([^\[\],]+)(?:,[^\[\]]*)?\]\]")
_NOT_IN_IDS = re.compile(r"[^\w\s.-]")
_SEPARATORS = re.compile(r"[\s.-]+")


def read_asciidoc(source: str) -> Extracted:
    """Title, text, blocks, and what its header says. Anchors and index terms are no text."""
    source = without_clutter(source)
    names = _Names()
    text, blocks = blocks_of(source, _Scanner(Lines.of(source, tab_size=8), names=names).marks())
    title = main_heading(blocks)
    return Extracted(title=title, text=text, blocks=blocks, metadata=names.metadata())


@dataclass(slots=True)
class _Names:
    """What a document has said so far, and later lines depend on."""

    attributes: dict[str, str] = field(default_factory=dict)
    anchors: dict[str, int] = field(default_factory=dict)
    has_title: bool = False

    def anchor_of(self, heading: str) -> str:
        """The fragment that Asciidoctor makes of it, unless the document wants another form."""
        separator = self.attributes.get("idseparator", "_")
        plain = _SEPARATORS.sub(" ", _NOT_IN_IDS.sub("", heading.lower())).strip()
        anchor = self.attributes.get("idprefix", "_") + plain.replace(" ", separator)
        n = self.anchors[anchor] = self.anchors.get(anchor, 0) + 1
        return anchor if n == 1 else f"{anchor}{separator}{n}"

    def shown(self, line: str) -> str:
        """What readers see of it: no anchors and index terms, attributes by their value."""
        line = _REFERENCE.sub(self._value, line) if "{" in line else line
        if "((" in line or "[[" in line or "indexterm" in line or "anchor:" in line:
            line = _SHOWN.sub(_first_group, _UNSEEN.sub("", line))
        return line

    def _value(self, reference: re.Match[str]) -> str:
        value = _BUILT_IN.get(reference[1], self.attributes.get(reference[1]))
        return reference[0] if value is None else value[:_MAX_VALUE_CHARS]

    def metadata(self) -> Mapping[str, object]:
        of = self.attributes.get
        authors = [name.strip() for name in (of("author") or of("authors", "")).split(";")]
        return {
            "author": authors[0] if len(authors) == 1 else authors,
            "date": of("revdate") or of("date"),
            "version": of("revnumber"),
            "language": of("lang"),
            "description": of("description"),
            "keywords": listed(of("keywords", "")),
        }


_BUILT_IN = {"nbsp": " ", "sp": " ", "empty": "", "amp": "&", "lt": "<", "gt": ">", "plus": "+"}


@dataclass(slots=True)
class _About:
    """What the lines before a block say about it."""

    anchor: str = ""
    style: str = ""
    language: str = ""
    attributes: dict[str, str] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Attributes as they stand in brackets: ``source,ruby`` or ``#id.role%header,cols=2``."""
        positional = []
        for name, one, other, bare in _ATTRIBUTE.findall(text[:_MAX_ABOUT_CHARS]):
            value = one or other or bare.strip()
            if name:
                self.attributes[name] = value
            else:
                positional.append(value)
        style = re.split(r"[#.%]", positional[0], maxsplit=1)[0] if positional else ""
        for mark, value in _SHORTHAND.findall(positional[0] if positional else ""):
            if mark == "#":
                self.anchor = value
            elif mark == "%":
                self.attributes["options"] = f"{self.attributes.get('options', '')},{value}"
        self.style = style or ("source" if len(positional) > 1 and positional[1] else self.style)
        self.anchor = self.attributes.get("id", self.anchor)
        if self.style == "source":
            self.language = self.attributes.get("language", "".join(positional[1:2]))


@dataclass(slots=True)
class _Scanner(Scanner):
    """Finds the blocks of AsciiDoc."""

    names: _Names = field(kw_only=True)
    about: _About = field(default_factory=_About)
    terms: list[str] = field(default_factory=list)  # the marks of those that are open
    is_attached: bool = False  # what comes next to the last term, by a plus
    is_first: bool = False  # what comes next is what begins the definition

    def marks(self) -> Iterator[Mark]:
        while (first := self.of.skip_blank(self.at)) < len(self.of.lines):
            self.at = first
            kind, start = self._kind_at(first)
            if not (kind in _ATTACHED or self.is_attached or self.is_first):
                self.terms.clear()
            yield from _FINDERS[kind](self, start)
            if kind not in _BEFORE:
                self.about, self.is_attached = _About(), False
                self.is_first = self.is_first and kind == "term"

    def _kind_at(self, at: int) -> tuple[str | None, re.Match[str] | None]:
        line = self._line(at)
        start = _START.match(line)
        kind = start.lastgroup if start else None
        if kind in (None, "indented") and ("::" in line or ";;" in line):
            term = _TERM.match(line)
            return ("term", term) if term else (kind, start)
        if kind is None and self._is_underlined(at):
            return "underlined", None
        return kind, start

    def _block(self, kind: BlockKind | None, stop: int, text: str | None = None) -> Mark:
        level = self.of.level + len(self.terms)
        return self._take(kind, stop, level=level, anchor=self.about.anchor, text=text)

    def _end_of_delimited(self, at: int) -> int:
        """The line that ends what begins there, or the end of all."""
        lines = self.of.lines
        delimiter = "```" if lines[at].startswith("```") else lines[at].rstrip()
        return next(
            (n for n in range(at + 1, len(lines)) if lines[n].rstrip() == delimiter), len(lines)
        )

    # --- Headings ---

    def _is_underlined(self, at: int) -> bool:
        title, underline = self._line(at).rstrip(), self._line(at + 1).rstrip()
        is_as_long = abs(len(title) - len(underline)) <= 2
        return is_as_long and _UNDERLINE.match(underline) is not None and len(title) > 1

    def _underlined(self, start: re.Match[str] | None) -> Iterator[Mark]:
        level = _UNDERLINES.index(self._line(self.at + 1)[0]) + 1
        yield from self._heading_of(level, self._line(self.at), self.at + 2)

    def _heading(self, start: re.Match[str]) -> Iterator[Mark]:
        marks = start["marks"]
        words = start.string[start.end() :].rstrip()
        yield from self._heading_of(len(marks), words.removesuffix(f" {marks}"), self.at + 1)

    def _heading_of(self, level: int, words: str, stop: int) -> Iterator[Mark]:
        label = _words_of(self.names.shown(words))
        if self.of.depth or not label or self.about.style in _NO_HEADING:
            yield self._block(BlockKind.PROSE, stop, label)
            return
        is_title = level == 1 and not self.names.has_title
        anchor = self.about.anchor or ("" if is_title else self.names.anchor_of(label))
        text = f"{'#' * level} {label}"
        yield self._take(
            BlockKind.HEADING, stop, level=level, label=label, anchor=anchor, text=text
        )
        if is_title:
            self.names.has_title = True
            yield from self._byline()

    def _byline(self) -> Iterator[Mark]:
        """Who wrote it and when, in the lines below the title."""
        if self._kind_at(self.at)[0] is None and (by := _AUTHOR.match(self._line(self.at))):
            authors = [author.partition("<")[0].strip() for author in by[0].split(";")]
            self.names.attributes["author"] = "; ".join(filter(None, authors))
            yield self._take(None, self.at + 1)
            line = self._line(self.at)
            if self._kind_at(self.at)[0] is None and (found := _REVISION.match(line)):
                self.names.attributes["revdate"] = found["date"].strip(" ,")
                self.names.attributes["revnumber"] = found["version"] or found["alone"] or ""
                yield self._take(None, self.at + 1)

    # --- What stands before a block, and what is not seen ---

    def _unseen(self, start: re.Match[str]) -> Iterator[Mark]:
        yield self._take(None, self.at + 1)

    def _comments(self, start: re.Match[str]) -> Iterator[Mark]:
        yield self._take(None, min(self._end_of_delimited(self.at) + 1, len(self.of.lines)))

    def _entry(self, start: re.Match[str]) -> Iterator[Mark]:
        stop, value = self.at + 1, start["value"] or ""
        while value.endswith(" \\") and stop < len(self.of.lines):
            value = value[:-1] + self._line(stop).strip()
            stop += 1
        self.names.attributes[start["name"]] = value.strip()
        yield self._take(None, stop)

    def _about(self, start: re.Match[str]) -> Iterator[Mark]:
        if start["id"]:
            self.about.anchor = start["id"].strip()
        else:
            self.about.add(start["attributes"] or "")
        yield self._take(None, self.at + 1)

    def _plus(self, start: re.Match[str]) -> Iterator[Mark]:
        self.is_attached = True
        yield self._take(None, self.at + 1, text="")

    def _caption(self, start: re.Match[str]) -> Iterator[Mark]:
        words = self.names.shown(start.string[1:].rstrip())
        yield self._block(BlockKind.CAPTION, self.at + 1, words)

    def _image(self, start: re.Match[str]) -> Iterator[Mark]:
        alternative = start["alt"].partition(",")[0].strip("\"' ")
        yield self._block(BlockKind.PROSE if alternative else None, self.at + 1, alternative)

    # --- Text ---

    def _text(self, start: re.Match[str] | None) -> Iterator[Mark]:
        stop = self._end_of_paragraph()
        style = self.about.style
        if style in _CODE_STYLES:
            yield self._block(BlockKind.CODE, stop, self._fenced(self.at, stop))
        else:
            text = "\n".join(map(str.strip, self._shown(stop).split("\n")))
            is_note = style in _NOTES
            yield self._block(BlockKind.PROSE, stop, f"{style}: {text}" if is_note else text)

    def _end_of_paragraph(self) -> int:
        stop = self.at + 1
        while not is_blank(self._line(stop)):
            kind, _ = self._kind_at(stop)
            if kind in _INTERRUPTING or (self.terms and kind in ("term", "item")):
                break
            stop += 1
        return stop

    def _indented(self, start: re.Match[str]) -> Iterator[Mark]:
        if self.is_first or self.about.style:
            yield from self._text(start)
        else:
            yield self._block(BlockKind.CODE, self._end_of_paragraph())

    def _term(self, start: re.Match[str]) -> Iterator[Mark]:
        mark = start["mark"]
        del self.terms[self.terms.index(mark) if mark in self.terms else len(self.terms) :]
        words = self.names.shown(start["words"])
        found = _ANCHOR.match(start["words"])
        anchor = self.about.anchor or (found[1] if found else "")
        stop = self._end_of_paragraph_in_term() if start["rest"] else self.at + 1
        level = self.of.level + len(self.terms)
        label = _words_of(words) or one_line(start["words"]) or mark
        yield self._take(
            BlockKind.TERM, stop, level=level, label=label, anchor=anchor, text=self._shown(stop)
        )
        self.terms.append(mark)
        self.is_first = not start["rest"]

    def _end_of_paragraph_in_term(self) -> int:
        self.terms.append("")
        stop = self._end_of_paragraph()
        self.terms.pop()
        return stop

    def _shown(self, stop: int) -> str:
        """The lines from here on as readers see them, with code in fences."""
        parts: list[str] = []
        about, at = _About(), self.at
        while at < stop:
            line = self._line(at)
            kind, start = self._kind_at(at)
            if kind == "code":
                end = self._end_of_delimited(at)
                parts.append(fenced("\n".join(self.of.lines[at + 1 : end]), about.language))
                at, about = end, _About()
            elif kind == "about" and start:
                about.add(start["attributes"] or "")
            elif kind not in ("unseen", "container"):
                parts.append("" if kind == "plus" else self.names.shown(line))
            at += 1
        return "\n".join(parts)

    # --- Lists ---

    def _item(self, start: re.Match[str]) -> Iterator[Mark]:
        stop = self._end_of_list()
        yield self._block(BlockKind.LIST, stop, self._shown(stop))

    def _end_of_list(self) -> int:
        """Items, the lines that go on with them, and what a plus attaches."""
        at = stop = self.at
        is_apart = is_attached = False  # behind a blank line, behind a plus
        while at < len(self.of.lines):
            kind = None if is_blank(self._line(at)) else self._kind_at(at)[0] or "text"
            if kind is None:
                is_apart, at = True, at + 1
                continue
            is_delimited = kind in _DELIMITED
            goes_on = kind in ("item", "plus") or is_attached
            goes_on = goes_on or kind == "indented" or not (is_apart or is_delimited)
            if not goes_on or kind in ("heading", "underlined") or (kind == "term" and self.terms):
                break
            at = stop = (
                min(self._end_of_delimited(at) if is_delimited else at, len(self.of.lines) - 1) + 1
            )
            is_attached = kind == "plus" or (is_attached and kind in _BEFORE)
            is_apart = False
        return stop

    # --- What stands between two delimiters ---

    def _fenced(self, first: int, stop: int) -> str:
        code = "\n".join(self.of.lines[first:stop])
        if self.about.style in ("stem", "latexmath", "asciimath"):
            return f"$$\n{code}\n$$"
        return fenced(code, self.about.language) if code.strip() else ""

    def _code(self, start: re.Match[str]) -> Iterator[Mark]:
        self.about.language = self.about.language or start["language"] or ""
        end = self._end_of_delimited(self.at)
        text = self._fenced(self.at + 1, end)
        yield self._block(BlockKind.CODE, min(end + 1, len(self.of.lines)), text)

    def _raw(self, start: re.Match[str]) -> Iterator[Mark]:
        if self.about.style in _CODE_STYLES:
            yield from self._code(start)
        else:
            yield from self._comments(start)

    def _table(self, start: re.Match[str]) -> Iterator[Mark]:
        end = self._end_of_delimited(self.at)
        lines = [self.names.shown(line) for line in self.of.lines[self.at + 1 : end]]
        text = table_of(lines, self.about.attributes, start[0][0])
        yield self._block(BlockKind.TABLE, min(end + 1, len(self.of.lines)), text)

    def _container(self, start: re.Match[str]) -> Iterator[Mark]:
        if self.about.style in _CODE_STYLES:
            yield from self._code(start)
            return
        first, end = self.at + 1, self._end_of_delimited(self.at)
        if self.about.style in _NOTES:
            yield self._block(BlockKind.CAPTION, first, f"{self.about.style}:")
        elif self.about.style == "comment":
            yield self._block(None, end)
        else:
            yield self._block(None, first)
        self.at = min(end + 1, len(self.of.lines))
        inside = self.of.inside(first, end, indent=0)
        inside = replace(inside, level=self.of.level + len(self.terms))
        if inside.depth > MAX_DEPTH:
            yield inside.mark(BlockKind.PROSE, 0, end - first)
        else:
            yield from _Scanner(inside, names=self.names).marks()
        if end < len(self.of.lines):
            yield self.of.mark(None, end, end + 1)


_FINDERS: dict[str | None, Callable[..., Iterator[Mark]]] = {
    None: _Scanner._text,
    "about": _Scanner._about,
    "caption": _Scanner._caption,
    "code": _Scanner._code,
    "comments": _Scanner._comments,
    "container": _Scanner._container,
    "entry": _Scanner._entry,
    "heading": _Scanner._heading,
    "image": _Scanner._image,
    "indented": _Scanner._indented,
    "item": _Scanner._item,
    "plus": _Scanner._plus,
    "raw": _Scanner._raw,
    "table": _Scanner._table,
    "term": _Scanner._term,
    "underlined": _Scanner._underlined,
    "unseen": _Scanner._unseen,
}
_BEFORE = frozenset({"about", "caption", "comments", "entry", "plus", "unseen"})
_DELIMITED = frozenset({"code", "comments", "container", "raw", "table"})
_INTERRUPTING = _DELIMITED | {"about", "plus"}
_ATTACHED = (_BEFORE - {"caption"}) | {"term", "item", "indented"}  # to the last term in any case


def _first_group(match: re.Match[str]) -> str:
    return next(filter(None, match.groups()), "")


def _words_of(line: str) -> str:
    """The line without marks."""
    line = line[: 2 * MAX_TITLE_CHARS]
    for _ in range(2):  # emphasis in emphasis
        line = _INLINE.sub(lambda found: found[found.lastgroup] if found.lastgroup else "", line)
    return one_line(line)
