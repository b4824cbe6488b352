"""Source code: as it is, with its definitions as sections.

Belongs here: which lines define something, in many languages at once, and how far a definition
goes: to the next line that is indented no further. Does not belong here: which suffixes there are
(kinds.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, takewhile

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
from embedding_assets.corpus.formats.text import one_line

_MAX_LINE_CHARS = 300  # of a line that defines something
_MAX_SIGNATURE_LINES = 40
_TAB_SIZE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """Languages that are read in one way."""

    literal: re.Pattern[str]  # strings and comments, as far as they matter for those of many lines
    defines: re.Pattern[str]  # behind what indents a line
    # The same, but only where no function is open, and if a brace opens at its end.
    may_define: re.Pattern[str] | None = None
    stays: re.Pattern[str] | None = None  # what ends no definition, however little it is indented
    closes: re.Pattern[str] = re.compile(r"[)}\]]")  # what is open, as far indented as that
    n_signature_lines: int = _MAX_SIGNATURE_LINES


_STRING = r"""
    "(?:[^"\\\n]|\\.)*+" | '(?:[^'\\\n]|\\.)*+'
"""
_LONG_STRING = r"""
    \"{3}[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*+(?:\"{3}|\Z)
"""
_PYTHON = _Family(
    literal=re.compile(
        rf"\#[^\n]*+ | {_LONG_STRING} | {_LONG_STRING.replace(chr(34), chr(39))} | {_STRING}",
        re.VERBOSE | re.DOTALL,
    ),
    defines=re.compile(r"(?:async +)?def +\w|class +\w"),
)
_MODIFIER = (
    "abstract|actual|annotation|async|case|companion|const(?=\\s+fn\\b)|constexpr|convenience|data|declare"
    "|default|expect|explicit|export|extern|fileprivate|final|friend|implicit|infix|inline|inner"
    "|internal|lateinit|mutating|native|open|operator|override|partial|private|protected|public"
    r"|pub(?:\([^()]*\))?|readonly|required|sealed|static|suspend|synchronized|tailrec|typedef"
    "|unsafe|virtual|volatile"
)
_BRACES = _Family(
    literal=re.compile(
        rf"//[^\n]*+ | /\*.*?(?:\*/|\Z) | `[^`]*` | {_LONG_STRING} | {_STRING}",
        re.VERBOSE | re.DOTALL,
    ),
    defines=re.compile(
        rf"""(?:(?:{_MODIFIER})\s+)*+(?:
            (?:class|struct|enum|union|interface|trait|impl|mod|module|namespace|record|object
              |protocol|extension|actor|function|func|fun|fn|def|type|typealias|@interface
              |macro_rules!)(?:\b\*?\s+[\w$*\[{{`"]|<)
          | func\s*\(
          | (?:const|let|var)\s+[\w$]+\s*(?::[^=]+)?=\s*(?:async\b\s*)?(?:function\b|\(|\w+\s*=>)
              (?=.*(?:\{{|\()\s*$)
          | (?:init|constructor|deinit)\b.*\{{
        )""",
        re.VERBOSE,
    ),
    may_define=re.compile(
        r"""(?!(?:assert|await|case|catch|defer|delete|do|else|elseif|elsif|fixed|for|foreach|go
               |guard|if|import|lock|loop|match|new|package|print|return|select|sizeof|super|switch
               |this|throw|try|unless|until|using|when|while|with|yield)\b)
        [\w$~*&<>\[\]:,.?@\#\s]*?[\w$~>\]=+*/!<-]\s*\(""",
        re.VERBOSE,
    ),
    stays=re.compile(r"\#|[\w ]+:\s*$"),
)
_SCRIPT = _Family(
    closes=re.compile(r"[)}\]]|(?:end|fi|done|esac)\b"),
    n_signature_lines=1,
    literal=re.compile(
        rf"""
          \#[^\n]*+ | --\[\[.*?(?:\]\]|\Z) | --[^\n]*+ | \{{-.*?(?:-\}}|\Z)
        | ^=[a-z][^\n]*+\n.*?(?:^=(?:cut|end)\b|\Z) | {_LONG_STRING} | {_STRING}
        """,
        re.VERBOSE | re.DOTALL | re.MULTILINE,
    ),
    defines=re.compile(
        r"""
          \(def[\w*-]*+\s | \(ns\s | (?:local\s+)?(?:function|sub|macro)\s+\w
        | (?:def|defp|defmodule|defmacro|defmacrop|defprotocol|defimpl|defdelegate)\s+\S
        | (?:class|module|mutable\ struct|struct|abstract\ type|newtype|instance|package)\s+[A-Z]
        | data\s+[A-Z]\w* | type\s+[\w' ]+= | let\s+(?:rec\s+)?[\w']+(?:\s[^=]*)?\s=(?:\s|$)
        | [\w.-]+\s*\(\)\s*(?:\{|$)
        | [\w.]+\s*(?:<-|=)\s*function\b
        | [a-z][\w']*\s+::(?!=) | [a-z]\w*\(.*\)\s*(?:when\b.*)?->
        | (?i:create\s+(?:or\s+replace\s+)?(?:\w+\s+)?
            (?:table|view|function|procedure|trigger|type|index|schema)\b)
        """,
        re.VERBOSE,
    ),
)
# What has functions in it and is none.
_HOLDS = re.compile(
    r"\b(?:class|struct|enum|union|interface|trait|impl|mod|module|namespace|record|object|protocol"
    r"|extension|actor)\b"
)
# Comments and what else stands before a definition and is about it.
_LEADS = re.compile(r"//|/\*|\(\*|\#|--|;|%|@|\[|\{-|template\b|-spec\b")
_TYPE = re.compile(r"[\w *&:<>,]+$")  # of what a function returns, in a line of its own
_AROUND_LABELS = " {:=("
_SIGNATURE = re.compile(r"[^({]*+(?:\((?:[^()]|\((?:[^()]|\([^()]*+\))*+\))*+\)[^({]*+)*+")

_LICENCE = re.compile(
    r"""copyright|©|spdx-licen|licen[cs]ed\s+under|licen[cs]e\s+agreement|warrant(?:y|ies)
      |(?:public|software|mit|bsd|apache|mozilla)\s[\w\s.,]{0,30}licen[cs]e|redistribut
      |permission\s+is\s+hereby|all\s+rights\s+reserved|merchantability|"as\s+is\"""",
    re.VERBOSE | re.IGNORECASE,
)
_COMMENT = re.compile(r"\s*(?:\#|//|/\*|\*|--|;|%|\{-|\(\*)")
_MAX_HEAD_LINES = 100
_COMMENT_MARKS = " \t/*#;%-!|+="


def read_python(source: str) -> Extracted:
    """The code without the licence at its head; classes and functions are terms."""
    return _read(source, _PYTHON)


def read_braces(source: str) -> Extracted:
    """The same for languages with braces."""
    return _read(source, _BRACES)


def read_script(source: str) -> Extracted:
    """The same for all others."""
    return _read(source, _SCRIPT)


def _read(source: str, family: _Family) -> Extracted:
    source = without_clutter(source)
    lines = Lines.of(source, tab_size=_TAB_SIZE)
    scanner = _Scanner(lines, family=family, is_inside=_inside(source, family, len(lines.lines)))
    text, blocks = blocks_of(source, scanner.marks())
    return Extracted(title="", text=text, blocks=blocks)


def _inside(source: str, family: _Family, n_lines: int) -> bytearray:
    """Of every line whether it begins within a string or a comment."""
    is_inside = bytearray(n_lines)
    line = done = 0
    for literal in family.literal.finditer(source):
        n_more = literal[0].count("\n")
        if n_more:
            line += source.count("\n", done, literal.start())
            is_inside[line + 1 : line + 1 + n_more] = b"\1" * n_more
            line += n_more
            done = literal.end()
    return is_inside


@dataclass(slots=True)
class _Scanner(Scanner):
    """Finds definitions, and what stands between them."""

    family: _Family = field(kw_only=True)
    is_inside: bytearray = field(kw_only=True)
    # What is open: how far it is indented, whether it is a function, and with what another line
    # begins that belongs to it.
    around: list[tuple[int, bool, str]] = field(default_factory=list)

    def marks(self) -> Iterator[Mark]:
        yield from self._head()
        lines, at = self.of.lines, self.at
        lead = -1  # where the comment begins that stands before the next line
        while at < len(lines):
            line = lines[at]
            if self.is_inside[at] or is_blank(line):
                lead = lead if self.is_inside[at] else -1
                at += 1
            elif self.family.closes.match(line.lstrip(" ")):
                yield from self._closed(indentation(line), at)
                at += 1
            else:
                if not self._goes_on(line):
                    yield from self._left(indentation(line), at)
                label, stop = self._signature(at)
                if label:
                    yield from self._code(at if lead < 0 else lead)
                    yield self._take(BlockKind.TERM, stop, level=len(self.around), label=label)
                    is_function = not _HOLDS.search(label.partition("(")[0])
                    more = label.partition("::")[0] if "::" in label else "\n"
                    self.around.append((indentation(line), is_function, more))
                is_lead = not label and self._leads(line)
                lead = (at if lead < 0 else lead) if is_lead else -1
                at = self._end_of_brackets(at) if is_lead else stop
        yield from self._code(at)

    def _code(self, stop: int) -> Iterator[Mark]:
        """What is up to there, in parts between which a line is blank."""
        level, at = len(self.around), self.of.skip_blank(self.at)
        self.at = min(at, stop)
        base = indentation(self._line(at))
        while at < stop:
            at = self._end_of_part(at, stop)
            following = self.of.skip_blank(at)
            if following >= stop or indentation(self._line(following)) <= base:
                yield self._take(BlockKind.CODE, at, level=level)
                self.at = min(following, stop)
            at = following
        self.at = stop

    def _end_of_part(self, at: int, stop: int) -> int:
        return next((n for n in range(at, stop) if is_blank(self.of.lines[n])), stop)

    def _leads(self, line: str) -> bool:
        is_type = self.family.may_define is not None and _TYPE.match(line) is not None
        return is_type or _LEADS.match(line.lstrip(" ")) is not None

    def _left(self, indent: int, at: int) -> Iterator[Mark]:
        """Close what a line that is indented so far is not in any more."""
        if self.around and indent <= self.around[-1][0]:
            yield from self._code(at)
        while self.around and indent <= self.around[-1][0]:
            self.around.pop()

    def _closed(self, indent: int, at: int) -> Iterator[Mark]:
        """Close what the brace or the word in a line closes, which is the last line of that."""
        yield from self._left(indent + 1, at)
        if self.around and self.around[-1][0] == indent:
            yield from self._code(at + 1)
            self.around.pop()

    def _goes_on(self, line: str) -> bool:
        """Whether it is in what is open, however little it is indented."""
        stays, more = self.family.stays, self.around[-1][2] if self.around else "\n"
        return line.startswith(more) or bool(stays and stays.match(line))

    def _signature(self, at: int) -> tuple[str, int]:
        """What the line defines, if it does, and the line behind that."""
        line, family = self.of.lines[at].lstrip(" "), self.family
        is_named = family.defines.match(line[:_MAX_LINE_CHARS]) is not None
        if not is_named and not self._may_define(line):
            return "", at + 1
        stop = self._end_of_brackets(at, family.n_signature_lines)
        stop += self._line(stop).strip() == "{"
        text = " ".join([each.strip() for each in self.of.lines[at:stop]])
        found = _SIGNATURE.match(text)
        shown = found[0] if found else ""
        opens = "{" in text[len(shown) :]
        is_function = opens and "(" in shown
        if is_function or (is_named and (opens or not text.endswith(";"))):
            return one_line(shown or text).removesuffix("=>").strip(_AROUND_LABELS), stop
        return "", at + 1

    def _may_define(self, line: str) -> bool:
        may_define, is_in_function = self.family.may_define, self.around and self.around[-1][1]
        is_short = len(line) <= _MAX_LINE_CHARS
        return bool(may_define and is_short and not is_in_function and may_define.match(line))

    def _end_of_brackets(self, at: int, n_most: int = _MAX_SIGNATURE_LINES) -> int:
        """The line behind that in which what is open is closed, or behind this one."""
        depth = 0
        for n, line in enumerate(self.of.lines[at : at + n_most], at + 1):
            depth += line.count("(") + line.count("[") - line.count(")") - line.count("]")
            if depth <= 0:
                return n
        return at + 1

    def _head(self) -> Iterator[Mark]:
        """The comment at the top, without the paragraphs that are about rights."""
        head = list(takewhile(self._is_comment, range(min(len(self.of.lines), _MAX_HEAD_LINES))))
        n_marks = 0  # lines of nothing but marks before a paragraph
        for has_words, group in groupby(head, key=lambda at: self._words(at) != ""):
            paragraph = list(group)
            if not has_words:
                n_marks = len(paragraph)
            elif _LICENCE.search(" ".join(map(self._words, paragraph))):
                # From the line on that says so: the one before may say what the file is for.
                lines = (at for at in paragraph if _LICENCE.search(self._words(at)))
                first, stop = next(lines, paragraph[0]), paragraph[-1] + 1
                before = n_marks if first == paragraph[0] else 0
                after = takewhile(lambda at: not self._words(at), range(stop, len(head)))
                yield from self._code(max(self.at, first - before))
                yield self._take(None, stop + len(list(after)))

    def _is_comment(self, at: int) -> bool:
        line = self.of.lines[at]
        return is_blank(line) or bool(self.is_inside[at]) or bool(_COMMENT.match(line))

    def _words(self, at: int) -> str:
        return self.of.lines[at].strip(_COMMENT_MARKS)
