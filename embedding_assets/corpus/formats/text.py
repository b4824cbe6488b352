"""Text as every reader leaves it: ``\\n`` newlines, no NUL, no lone surrogate, titles of one line.

Belongs here: cleaning that does not depend on the kind of file. Does not belong here: the kinds.
"""

import re
from collections.abc import Iterator

MAX_TITLE_CHARS = 200

_LINE = re.compile(r".*\n?")


def clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if text.isascii():
        return text
    # Some codecs (utf-7, unicode_escape) let lone surrogates through; UTF-8 has no place for them.
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    words = text.split(maxsplit=MAX_TITLE_CHARS)[:MAX_TITLE_CHARS]  # the text may be the whole file
    return " ".join(words)[:MAX_TITLE_CHARS].rstrip()


def lines_of(text: str, start: int = 0) -> Iterator[str]:
    """The lines from a place on, with their newlines, one at a time; the last one may be empty."""
    return (line[0] for line in _LINE.finditer(text, start))
