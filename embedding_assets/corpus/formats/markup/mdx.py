"""MDX: Markdown with components.

Belongs here: telling JSX from text. Does not belong here: Markdown (markdown.py).
"""

import re
from collections.abc import Iterator
from itertools import takewhile

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.markup.markdown import read_markdown

_CODE = r"""
    (?P<code>
        ^[ \t>]*+(?P<fence>`{3,}+|~{3,}+).*+\n(?s:.*?)(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)
      | ``.+?`` | `[^`\n]+` | \$\$[^$]+\$\$ | \$(?=[^\s$])[^$\n]*(?<=\S)\$(?!\d)
      | \\.
    )
"""
_JSX = re.compile(rf"{_CODE} | (?P<statement>^(?:import|export)\ ) | [{{}}]", re.M | re.X)
_TAG = re.compile(
    rf"{_CODE} | (?P<tag></?(?:[A-Z][\w.]*+(?:[^<>\"'/]|/(?!>)|\"[^\"<]*+\"|'[^'<]*+')*+)?/?>)",
    re.M | re.X,
)
_SHOWN = re.compile(r"\b(?:title|label)=(?:\"([^\"]*)\"|'([^']*)')")
_LITERAL = re.compile(r"\{\s*(?:\"([^\"\\]*)\"|'([^'\\]*)'|`([^`$\\]*)`)\s*\}")
_MAX_ATTRIBUTE_CHARS = 42
_ATTRIBUTE = re.compile(r"\s[\w:.-]{1,40}=\Z")  # before the expression that is its value
_FENCE = re.compile(r"[ \t>]*+(`{3,}+|~{3,}+)")
_BLANK_LINE = re.compile(r"\n[ \t]*+(?=\n)|\Z")

# What stands for tags until the lines in them are found.
_OPENS, _CLOSES = "\x02", "\x03"


def read_mdx(source: str) -> Extracted:
    """As Markdown: without imports, exports, expressions and the tags of components."""
    return read_markdown(source, dialect=_as_markdown)


def _as_markdown(document: str) -> str:
    document = document.replace(_OPENS, "").replace(_CLOSES, "")
    parts: list[str] = []
    done = 0
    for start, end, shown in _unseen(document):
        parts += document[done:start], shown
        done = end
    parts.append(document[done:])
    return "\n".join(_outdented(_TAG.sub(_marked, "".join(parts))))


def _unseen(document: str) -> Iterator[tuple[int, int, str]]:
    """Where statements and expressions are, in order, and what readers see of each."""
    statements, expressions = _found(document)
    spans = sorted([*((start, start) for start in statements), *expressions.items()])
    done = 0
    for start, end in spans:
        if start < done:
            continue
        done = end if end > start else _end_of_statement(document, start, expressions)
        literal = _LITERAL.fullmatch(document, start, done)
        shown = next(filter(None, literal.groups()), "") if literal else ""
        if document[start + 1] != "#":  # a heading's own anchor
            attribute = _ATTRIBUTE.search(document, max(start - _MAX_ATTRIBUTE_CHARS, 0), start)
            yield attribute.start() if attribute and not shown else start, done, shown


def _found(document: str) -> tuple[list[int], dict[int, int]]:
    """Where statements begin, and where each expression that is closed begins and ends."""
    statements: list[int] = []
    expressions: dict[int, int] = {}
    open_at: list[int] = []
    for part in _JSX.finditer(document):
        if part["statement"]:
            statements.append(part.start())
        elif part[0] == "{":
            open_at.append(part.start())
        elif part[0] == "}" and open_at:
            expressions[open_at.pop()] = part.end()
    return statements, expressions


def _end_of_statement(document: str, start: int, expressions: dict[int, int]) -> int:
    """The next blank line that is not between braces."""
    at, end = start, -1
    while end < at:
        blank = _BLANK_LINE.search(document, at)
        end = blank.start() if blank else len(document)
        while at <= end and (brace := document.find("{", at, end)) >= 0:
            at = expressions.get(brace, brace + 1)
    return end


def _marked(part: re.Match[str]) -> str:
    """A tag as a mark, and what readers see of it, such as a tab's title."""
    tag = part["tag"]
    if tag is None:
        return part[0]
    if tag.startswith("</"):
        return _CLOSES
    shown = "".join(f"{one or other} " for one, other in _SHOWN.findall(tag))
    return shown if tag.endswith("/>") else _OPENS + shown


def _outdented(document: str) -> Iterator[str]:
    """The lines without marks, and without what indents the content of a component."""
    indents: list[int | None] = []  # of the components that are open; None: its next line says
    fence = ""
    for line in document.split("\n"):
        bare = line.lstrip(" ")
        indent = len(line) - len(bare)
        n_opened = 0 if fence else line.count(_OPENS) - line.count(_CLOSES)
        if n_opened < 0:
            del indents[n_opened:]
        elif bare and indents and indents[-1] is None:
            n_new = sum(1 for _ in takewhile(lambda each: each is None, reversed(indents)))
            indents[-n_new:] = [indent] * n_new
        yield line[min(indent, indents[-1] or 0 if indents else 0) :].translate(_NO_MARKS)
        indents += [None] * n_opened
        if found := _FENCE.match(line):
            fence = "" if fence and found[1].startswith(fence) else fence or found[1]


_NO_MARKS = str.maketrans("", "", _OPENS + _CLOSES)
