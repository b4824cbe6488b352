"""Titles of plain text: the first heading of Markdown or of reStructuredText, or front matter.

Belongs here: finding a title in text. Does not belong here: a page's title (html.py).
"""

import re
from collections.abc import Iterator
from itertools import chain, pairwise

from embedding_assets.corpus.formats.text import one_line

# None of these may try the rest of a line again from each of its characters: a line can be the
# whole file, and time would grow with its square.
_BLANKS = " \t"
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE)
_FRONT_TITLE = re.compile(r"^title:(.+)", re.MULTILINE)
_LINE = re.compile("^.*", re.MULTILINE)
_FENCE = re.compile(r"[ \t]*(```|~~~)")
_ATX = re.compile(r" {0,3}#{1,6}[ \t]+(.*)")
_SETEXT = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_NOT_SETEXT_TEXT = re.compile(r"\s*$|[ \t]*(?:[-*+>|]|\d+[.)])\s| {4}|\t")
_RST_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1+[ \t]*$")


def find_title(text: str, media_type: str) -> str:
    if media_type == "text/markdown":
        titles = _markdown_titles(text)
    elif media_type == "text/x-rst":
        titles = _rst_titles(text)
    else:
        titles = iter(())
    return next(filter(None, map(one_line, titles)), "")


def _markdown_titles(text: str) -> Iterator[str]:
    front = _FRONT_MATTER.match(text)
    if front:
        title = _FRONT_TITLE.search(front[1])
        if title:
            yield _unquoted(title[1].strip(_BLANKS))
        text = text[front.end() :]
    fence = ""
    for line, following in pairwise(chain(_lines(text), [""])):
        mark = _FENCE.match(line)
        if mark and fence in {"", mark[1]}:
            fence = "" if fence else mark[1]
        elif fence:
            continue
        elif atx := _ATX.match(line):
            yield _without_closing_marks(atx[1].rstrip(_BLANKS))
        elif _SETEXT.match(following) and not _NOT_SETEXT_TEXT.match(line):
            yield line


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 2 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value


def _without_closing_marks(heading: str) -> str:
    """``## Heading ##`` may end as it begins."""
    bare = heading.rstrip("#")
    return bare if bare.endswith(tuple(_BLANKS)) else heading


def _lines(text: str) -> Iterator[str]:
    """As ``split`` has them, but not all at once."""
    return (match[0] for match in _LINE.finditer(text))


def _rst_titles(text: str) -> Iterator[str]:
    for line, following in pairwise(_lines(text)):
        underline = _RST_UNDERLINE.match(following)
        # docutils takes an underline that is too short only from four characters on.
        is_long_enough = len(following.rstrip()) >= min(len(line.strip()), 4)
        if underline and is_long_enough and not _RST_UNDERLINE.match(line):
            yield line
