"""Clutter: what stands in a text for programs: ``data:`` URIs, base64, minified code.

Belongs here: telling it from text, and what readers get instead. Does not belong here: markup.
"""

import math
import re
from collections import Counter

# A hash, a key's fingerprint or the smallest of pictures is shorter.
_MIN_CHARS = 256
# Bits a character. Base64 of anything compressed or encrypted has 5.4 to 6, words in CamelCase
# and paths below 4.8, hexadecimal digits 4, genes 2.
_MIN_ENTROPY = 5.0

# Base64 is often broken into lines, of which the last one is told by what follows it. After
# padding comes another blob: hashes in a list are padded one by one.
_MORE_LINES = (
    r"(?:\n[ \t]*[A-Za-z0-9+/]{40,}+)*+"
    r"(?:\n[ \t]*[A-Za-z0-9+/]+(?:(?=={1,2}(?![=\w\"']))|(?=\s*[)\"'>])))?={0,2}"
)
_BASE64 = re.compile(rf"[A-Za-z0-9+/_-]{{40,}}+{_MORE_LINES}")
_DATA_URI = re.compile(
    r"""(?P<image>!\[(?P<alt>[^\[\]\n]*+)\]\(<?)?+"""
    r"""data:(?P<type>[\w.+-]*+(?:/[\w.+-]++)?)(?:;[\w.+-]++(?:=[\w.+-]++)?)*+,"""
    r"""[^\s"'<>()\[\]`|=]{64,}+"""
    rf"""{_MORE_LINES}(?(image)\s*+>?(?:\ +"[^"\n]*+")?\)|)"""
)

_LONG_LINE = re.compile(r"^.{2000,}$", re.MULTILINE)
# Shares of a line's characters. Minified JavaScript and CSS have 0 to 4 % of spaces, sentences have
# 15, also in JSON, which is content, and has no semicolons.
_MAX_SPACES = 0.05
_MIN_SEMICOLONS = 0.01
_MIN_CODE_MARKS = 0.045


def without_clutter(text: str) -> str:
    """The text with a picture's alternative text, or a mark such as ``[image/png, 300 kB]``."""
    if "data:" in text:
        text = _DATA_URI.sub(_shown_of_uri, text)
    text = _BASE64.sub(_shown_of_run, text)
    return _LONG_LINE.sub(_shown_of_line, text)


def _shown_of_uri(uri: re.Match[str]) -> str:
    return (uri["alt"] or "").strip() or _mark(uri["type"] or "data", uri[0])


def _shown_of_run(run: re.Match[str]) -> str:
    is_blob = len(run[0]) >= _MIN_CHARS and _entropy(run[0]) >= _MIN_ENTROPY
    return _mark("base64", run[0]) if is_blob else run[0]


def _shown_of_line(line: re.Match[str]) -> str:
    is_code = (
        _share(line[0], " \t") < _MAX_SPACES
        and _share(line[0], ";") >= _MIN_SEMICOLONS
        and _share(line[0], "(){};") >= _MIN_CODE_MARKS
    )
    return _mark("minified", line[0]) if is_code else line[0]


def _share(line: str, characters: str) -> float:
    return sum(map(line.count, characters)) / len(line)


def _mark(what: str, clutter: str) -> str:
    return f"[{what}, {max(1, round(len(clutter) / 1000))} kB]"


def _entropy(run: str) -> float:
    shares = (count / len(run) for count in Counter(run).values())
    return -sum(share * math.log2(share) for share in shares)
