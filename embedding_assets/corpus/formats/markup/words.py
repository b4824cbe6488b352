"""Words of a line of Markdown: what readers see of a heading or a term, and its fragment.

Belongs here: markup inside a line. Does not belong here: which lines are headings (markdown.py).
"""

import re
from html import unescape

from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS, one_line

# A heading can be the whole file, and emphasis is looked for from each of its characters.
_MAX_CHARS = 2 * MAX_TITLE_CHARS
_MAX_CHARS_WITH_LINKS = 10 * MAX_TITLE_CHARS

_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\((?:[^()]|\([^()]*\))*+\)|\[[^\[\]]*\])")
_INLINE = re.compile(
    r"""
    (?P<ticks>`++)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)
  | <(?P<address>[a-zA-Z][a-zA-Z0-9+.-]*:[^<>\s]*|[^<>\s@]+@[^<>\s]+)>
  | (?P<tag></?[a-zA-Z][^<>]*>|<!--[^<>]*-->)
  | \\(?P<escaped>[!-/:-@\[-`{-~])
  | (?P<stars>\*{1,3}|~~)(?=[^\s*~])(?P<strong>.+?)(?<=[^\s*~])(?P=stars)
  | (?<!\w)(?P<bars>_{1,3})(?=[^\s_])(?P<weak>.+?)(?<=[^\s_])(?P=bars)(?!\w)
    """,
    re.VERBOSE,
)
_SPACES = re.compile(r"[^\S\n]+")
_NOT_IN_SLUGS = re.compile(r"[^\w\- ]")


def words_of(line: str) -> str:
    """The line without marks: a link's words, a picture's alternative text."""
    line = _SPACES.sub(" ", line)[:_MAX_CHARS_WITH_LINKS]
    for _ in range(2):  # a picture is often a link's words
        line = _LINK.sub(r"\1", line)
    return one_line(unescape(_bare(line[:_MAX_CHARS])))


def _bare(line: str) -> str:
    return _INLINE.sub(_words_of_match, line)


def _words_of_match(match: re.Match[str]) -> str:
    if code := match["code"]:
        return code.strip(" ")
    if nested := match["strong"] or match["weak"]:
        return _bare(nested)
    return match["address"] or match["escaped"] or ""


def split_attributes(line: str) -> tuple[str, str]:
    """A heading without ``{#id .class}`` or ``{: #id}`` at its end, and the id or nothing."""
    line = line.rstrip()
    head, brace, inner = line.removesuffix("}").rpartition("{")
    names = inner.removeprefix(":").split()
    is_list = all(name[0] in "#." or "=" in name for name in names)
    if not (brace and names and is_list and line.endswith("}")):
        return line, ""
    return head.rstrip(), next((name[1:] for name in names if name[0] == "#"), "")


def slug_of(words: str) -> str:
    """The fragment that GitHub gives a heading, before it counts the equal ones."""
    return _NOT_IN_SLUGS.sub("", words.lower()).replace(" ", "-")
