"""reStructuredText: its text, its title and its blocks.

Belongs here: what its lines mean, to docutils and to Sphinx. Does not belong here: other kinds.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.clutter import without_clutter
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.markup.marks import (
    MAX_DEPTH,
    Lines,
    Mark,
    Scanner,
    blocks_of,
    indentation,
    is_blank,
)
from embedding_assets.corpus.formats.markup.rst_fields import said_in_fields
from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS, one_line
from embedding_assets.corpus.formats.titles import main_heading

_PUNCTUATION = r"[!-/:-@\[-`{-~]"
# What a line begins; any other line is text.
_START = re.compile(
    rf"""
    (?P<indented>\ )
  | (?P<target>\.\.\ _(?P<name>`[^`]+`|(?![ _])[^:\\]+):(?:\ |$) | __(?:\ |$))
  | (?P<directive>\.\.\ (?:(?P<type>[A-Za-z][\w:.+-]*?)\ ?::)(?:\ +(?P<argument>.*))?$)
  | (?P<substitution>\.\.\ \|[^|]+\|\ )
  | (?P<footnote>\.\.\ \[[^\]]+\](?:\ |$))
  | (?P<comment>\.\.(?:\ |$))
  | (?P<grid>\+-[+-]+\+\ *$)
  | (?P<simple>=+(?:\ +=+)+\ *$)
  | (?P<rule>(?P<mark>{_PUNCTUATION})(?P=mark)++\ *$)
  | (?P<doctest>>>>(?:\ |$))
  | (?P<item>(?:[-+*\u2022\u2023\u2043]|\(?(?:\d+|[a-zA-Z]|[ivxIVX]+|\#)[.)])(?:\ |$))
  | (?P<field>:(?![: ])(?:[^:`\\]|\\.)+:(?:\ |$))
    """,
    re.VERBOSE,
)
_UNDERLINE = re.compile(rf"({_PUNCTUATION})\1*+ *$")
_BORDER = re.compile(r"=+(?: +=+)+ *$")
_OPTION = re.compile(r" +:[^:]+:")

# fmt: off
# Directives. Readers see neither these nor what is in them.
_UNSEEN = frozenset({
    "codeauthor", "contents", "cssclass", "currentmodule", "default-domain",
    "default-role", "highlight", "include", "index", "meta", "module", "moduleauthor",
    "program", "raw", "role", "rst-class", "sectionauthor", "sectnum", "tabularcolumns",
    "target-notes", "testcleanup", "testsetup", "title", "toctree",
})
# What they hold means something only as a whole and line by line.
_CODE = frozenset({
    "code", "code-block", "csv-table", "digraph", "doctest", "graph", "graphviz", "ipython",
    "literalinclude", "math", "mermaid", "parsed-literal", "productionlist", "prompt", "sourcecode",
    "testcode", "testoutput", "uml",
})
# Of Sphinx's domains; each of these describes what its argument names.
_DESCRIBING = frozenset({
    "alias", "attribute", "class", "classmethod", "cmdoption", "concept", "confval", "data",
    "decorator", "decoratormethod", "describe", "directive", "enum", "enumerator", "envvar",
    "exception", "function", "macro", "member", "method", "object", "opcode", "opcodes",
    "option", "pdbcommand", "property", "setting", "staticmethod", "struct", "type", "union",
    "var",
})
# Whose anchor Sphinx makes of the name alone.
_PYTHON = frozenset({
    "attribute", "class", "classmethod", "data", "decorator", "decoratormethod", "exception",
    "function", "method", "property", "staticmethod",
})
# In which others are described that belong to them.
_OWNING = frozenset({"class", "exception", "struct", "type", "union"})
# Of which readers see only what is in them.
_WRAPPING = frozenset({
    "compound", "container", "glossary", "hlist", "ifconfig", "only", "tabs",
})
# fmt: on
_ROLE = re.compile(r":[\w:.+-]+:`([^`<]*?)(?: *<[^`<>]*>)?`")
_REFERENCE = re.compile(r"`([^`<]*?)(?: *<[^`<>]*>)?`_{0,2}")
_FOOTNOTE = re.compile(r" ?\[[^\[\]]+\]_(?!\w)")
_INLINE = re.compile(r"``(.+?)``|\*\*(\S.*?)\*\*|(?<![\w*])\*([^\s*][^*]*)\*|\\(.)")
_NOT_IN_IDS = re.compile(r"[^a-z0-9]+")
_NAME = re.compile(r"[\w.]+")
_C_NAME = re.compile(r"([\w.]+)\s*+(?:\(|\[|$)")


def read_rst(source: str) -> Extracted:
    """Title, text and blocks. What readers do not see of it, such as comments, is no text.

    Metadata is what ``meta`` and the fields at its top say; readers see the latter, too.
    """
    source = without_clutter(source)
    names = _Names()
    text, blocks = blocks_of(source, _Scanner(Lines.of(source, tab_size=8), names=names).marks())
    return Extracted(title=main_heading(blocks), text=text, blocks=blocks, metadata=names.about)


@dataclass(slots=True)
class _Names:
    """What a document has said so far, and later lines depend on."""

    styles: list[str] = field(default_factory=list)  # of headings, in order of first appearance
    target: str = ""  # that stands before the next heading
    module: str = ""
    anchors: set[str] = field(default_factory=set)
    about: dict[str, object] = field(default_factory=dict)  # what it says about itself
    has_begun: bool = False  # whether readers have seen anything but headings

    def level_of(self, style: str) -> int:
        if style not in self.styles:
            self.styles.append(style)
        return min(self.styles.index(style) + 1, 6)

    def anchor_of(self, heading: str) -> str:
        """That of the target before it, or its own; none if it is not the first of that name."""
        anchor = self.target or _id_of(heading)
        if anchor in self.anchors:
            return ""
        self.anchors.add(anchor)
        return anchor

    def anchor_of_object(self, domain: str, kind: str, argument: str, owner: str) -> str:
        """The fragment that Sphinx gives to what is described."""
        if kind in ("envvar", "confval"):
            return f"{kind}-{argument.strip()}"
        if domain == "c":
            name = _C_NAME.search(argument)
            return f"c.{owner and f'{owner}.'}{name[1]}" if name else ""
        name = _NAME.match(argument)
        if domain not in ("", "py") or kind not in _PYTHON or name is None:
            return ""
        is_in_owner = owner and not name[0].startswith(f"{owner}.")
        return ".".join(filter(None, (self.module, owner * bool(is_in_owner), name[0])))


@dataclass(slots=True)
class _Scanner(Scanner):
    """Finds the blocks of reStructuredText."""

    names: _Names = field(kw_only=True)
    owner: str = ""  # the class that is described around these lines
    _has_borders: bool = True  # of simple tables, from here on

    def marks(self) -> Iterator[Mark]:
        while (first := self.of.skip_blank(self.at)) < len(self.of.lines):
            self.at = first
            for mark in self._found():
                if mark.kind is not None:
                    self.names.target = ""
                    self.names.has_begun |= mark.kind is not BlockKind.HEADING
                yield mark

    def _found(self) -> Iterator[Mark]:
        start = _START.match(self.of.lines[self.at])
        kind = start.lastgroup if start else None
        if kind in (None, "item") and self._is_underlined(self.at):
            yield self._heading(self.at, self.at + 2)
        elif start is None or kind is None:
            yield from self._text()
        else:
            yield from _FINDERS[kind](self, start)

    def _end_of_paragraph(self, most: int) -> int:
        """The first line that is blank, or ``most``."""
        lines = self.of.lines
        return next((at for at in range(self.at, most) if is_blank(lines[at])), most)

    def _is_indented(self, at: int) -> bool:
        line = self._line(at)
        return line[:1] == " " and not is_blank(line)

    # --- Headings ---

    def _is_underlined(self, at: int) -> bool:
        underline = self._line(at + 1)
        if not _UNDERLINE.match(underline):
            return False
        # docutils takes an underline that is too short only from four characters on.
        return len(underline.rstrip()) >= min(len(self._line(at).strip()), 4)

    def _heading(self, line: int, stop: int) -> Mark:
        if self.of.depth:  # it opens no section of the document
            return self._take(BlockKind.PROSE, stop)
        style = self._line(stop - 1)[0] * (stop - self.at - 1)  # with an overline it is another one
        label = _words_of(self._line(line))
        anchor = self.names.anchor_of(label)
        level = self.names.level_of(style)
        return self._take(BlockKind.HEADING, stop, level=level, label=label, anchor=anchor)

    def _rule(self, start: re.Match[str]) -> Iterator[Mark]:
        line, below = self._line(self.at), self._line(self.at + 2)
        if not is_blank(self._line(self.at + 1)) and below.rstrip() == line.rstrip():
            yield self._heading(self.at + 1, self.at + 3)
        else:
            yield from self._text()

    # --- Text, terms, and the code that a text announces ---

    def _text(self) -> Iterator[Mark]:
        line, stop = self._line(self.at), self.at + 1
        while not is_blank(self._line(stop)) and not self._is_indented(stop):
            stop += 1
        announces_code = self._line(stop - 1).rstrip().endswith("::")
        if stop == self.at + 1 and self._is_indented(stop) and not announces_code:
            yield from self._term(line)
            return
        yield self._take(BlockKind.PROSE, stop)
        body = self.of.skip_blank(stop)
        if announces_code and self._is_indented(body):
            self.at = body
            yield self._take(BlockKind.CODE, self.of.end_of_indented(body, 1))

    def _term(self, line: str) -> Iterator[Mark]:
        label = _words_of(line.partition(" : ")[0])
        yield self._take(BlockKind.TERM, self.at + 1, label=label)
        yield from self._inside(self.of.end_of_indented(self.at, 1), is_defined=True)

    def _inside(self, stop: int, *, is_defined: bool = False, owner: str = "") -> Iterator[Mark]:
        """What stands indented from here on, after blank lines."""
        first, self.at = self.of.skip_blank(self.at), stop
        if first >= stop:
            return
        indent = indentation(self._line(first))
        inside = self.of.inside(first, stop, indent=indent, is_defined=is_defined)
        if inside.depth > MAX_DEPTH:
            yield inside.mark(BlockKind.PROSE, 0, stop - first)
        else:
            yield from _Scanner(inside, names=self.names, owner=owner or self.owner).marks()

    # --- What a line's beginning shows ---

    def _indented(self, start: re.Match[str]) -> Iterator[Mark]:
        yield from self._inside(self.of.end_of_indented(self.at, 1))

    def _item(self, start: re.Match[str]) -> Iterator[Mark]:
        if self._is_item(self.at):
            yield self._take(BlockKind.LIST, self._end_of_items(self._is_item))
        else:
            yield from self._text()

    def _is_item(self, at: int) -> bool:
        """Whether it is no sentence that begins with an initial or a number."""
        start, following = _START.match(self._line(at)), self._line(at + 1)
        if start is None or start.lastgroup != "item":
            return False
        is_bullet = not start["item"].rstrip().endswith((".", ")"))
        goes_on = is_blank(following) or following[0] == " " or _kind_of(following) == "item"
        return is_bullet or goes_on

    def _field(self, start: re.Match[str]) -> Iterator[Mark]:
        stop = self._end_of_items(self._is_field)
        if not (self.of.depth or self.names.has_begun):
            self.names.about |= said_in_fields(self.of.lines[self.at : stop])
        yield self._take(BlockKind.LIST, stop)

    def _is_field(self, at: int) -> bool:
        return _kind_of(self._line(at)) == "field"

    def _end_of_items(self, is_item: Callable[[int], bool]) -> int:
        at = stop = self.at
        while at < len(self.of.lines):
            line = self.of.lines[at]
            if not is_blank(line):
                if line[0] != " " and not is_item(at):
                    break
                stop = at + 1
            at += 1
        return stop

    def _doctest(self, start: re.Match[str]) -> Iterator[Mark]:
        yield self._take(BlockKind.CODE, self._end_of_paragraph(len(self.of.lines)))

    _grid = _doctest  # a table that is drawn means nothing without its other lines, as code does

    def _simple(self, start: re.Match[str]) -> Iterator[Mark]:
        yield self._take(
            BlockKind.CODE, self._end_of_table() or self._end_of_paragraph(len(self.of.lines))
        )

    def _end_of_table(self) -> int:
        """The line after the border below, which a blank one follows; 0 if there is none."""
        lines, at = self.of.lines, self.at + 1
        while self._has_borders and at < len(lines):
            if lines[at][:1] == "=" and _BORDER.match(lines[at]) and is_blank(self._line(at + 1)):
                return at + 1
            at += 1
        self._has_borders = False
        return 0

    # --- Explicit markup ---

    def _target(self, start: re.Match[str]) -> Iterator[Mark]:
        stop = self.at + 1
        while self._is_indented(stop):
            stop += 1
        if start["name"] and start.end() == len(start.string.rstrip()) and stop == self.at + 1:
            self.names.target = _id_of(start["name"])
        yield self._take(None, stop)

    def _comment(self, start: re.Match[str]) -> Iterator[Mark]:
        is_empty = start.string.rstrip() == ".." and is_blank(self._line(self.at + 1))
        stop = self.at + 1
        yield self._take(None, stop if is_empty else self._end_of_explicit())

    def _substitution(self, start: re.Match[str]) -> Iterator[Mark]:
        yield self._take(None, self._end_of_explicit())

    def _footnote(self, start: re.Match[str]) -> Iterator[Mark]:
        yield self._take(BlockKind.PROSE, self._end_of_explicit())

    def _end_of_explicit(self) -> int:
        return max(self.at + 1, self.of.end_of_indented(self.at + 1, 1))

    def _directive(self, start: re.Match[str]) -> Iterator[Mark]:
        domain, _, name = start["type"].lower().rpartition(":")
        argument, stop = start["argument"] or "", self._end_of_explicit()
        if name in ("module", "currentmodule"):
            self.names.module = argument.strip()
        if name == "meta":
            self.names.about |= said_in_fields(self.of.lines[self.at + 1 : stop])
        if name in _UNSEEN:
            yield self._take(None, stop)
        elif name in _CODE:
            yield self._take(BlockKind.CODE, stop)
        elif name in _DESCRIBING and argument.strip(" \\"):
            yield from self._description(domain, name, argument, stop)
        elif name in _WRAPPING:
            options = takewhile(_OPTION.match, self.of.lines[self.at + 1 : stop])
            yield self._take(None, self.at + 1 + len(list(options)))
            yield from self._inside(stop)
        else:
            yield from self._remark(stop)

    def _description(self, domain: str, name: str, argument: str, stop: int) -> Iterator[Mark]:
        head = self._end_of_paragraph(stop)
        anchor = self.names.anchor_of_object(domain, name, argument, self.owner)
        label = one_line(argument.replace("\\", ""))
        yield self._take(BlockKind.TERM, head, label=label, anchor=anchor)
        owner = argument.partition("(")[0].strip() if name in _OWNING else ""
        yield from self._inside(stop, is_defined=True, owner=owner)

    def _remark(self, stop: int) -> Iterator[Mark]:
        """A note, a figure, a table with a caption, and whatever an extension defines."""
        head = self._end_of_paragraph(stop)
        has_text = any(not _OPTION.match(line) for line in self.of.lines[self.at + 1 : head])
        is_caption = head < stop and not has_text
        yield self._take(BlockKind.CAPTION if is_caption else BlockKind.PROSE, head)
        yield from self._inside(stop)


_FINDERS = {
    "indented": _Scanner._indented,
    "target": _Scanner._target,
    "directive": _Scanner._directive,
    "substitution": _Scanner._substitution,
    "footnote": _Scanner._footnote,
    "comment": _Scanner._comment,
    "grid": _Scanner._grid,
    "simple": _Scanner._simple,
    "rule": _Scanner._rule,
    "doctest": _Scanner._doctest,
    "item": _Scanner._item,
    "field": _Scanner._field,
}


def _kind_of(line: str) -> str | None:
    start = _START.match(line)
    return start.lastgroup if start else None


def _words_of(line: str) -> str:
    """The line without marks: the words of a role or a link."""
    whole = line = " ".join(line.split())[: 2 * MAX_TITLE_CHARS]
    line = _FOOTNOTE.sub("", line)
    line = _ROLE.sub(lambda role: _shown(role[1]), line)
    line = _INLINE.sub(lambda match: next(filter(None, match.groups()), ""), line)
    return one_line(_REFERENCE.sub(r"\1", line)) or one_line(whole)


def _shown(target: str) -> str:
    """Of ``~os.path.join`` readers see ``join``."""
    return target.rpartition(".")[2] if target.startswith("~") else target.removeprefix("!")


def _id_of(name: str) -> str:
    """The fragment that docutils makes of a name; empty if it has to number it."""
    plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    return _NOT_IN_IDS.sub("-", plain).lstrip("-0123456789").rstrip("-")
