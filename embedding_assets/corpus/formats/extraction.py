"""Extraction: the bytes of one file to its title and its text.

Belongs here: encodings, clean text (``\\n`` newlines, no NUL, no lone surrogate), HTML as Markdown,
titles. Does not belong here: reading files (documents.py), splitting (chunks.py).
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from embedding_assets.errors import DocumentError

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

# To be raised with every change of this module that changes the text of some file.
EXTRACTION_VERSION = 1

MAX_TITLE_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What a file says: a title of one line and a text that is not blank."""

    title: str
    text: str


def extract(data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
    """Return title and text of a file's bytes.

    HTML becomes Markdown; the other types stay as they are but for newlines. ``fallback_title`` is
    used when the text has no title of its own. Raises DocumentError if ``data`` is empty, blank,
    binary or in an encoding that cannot be told.
    """
    if not data:
        raise DocumentError("the file is empty")
    source = _clean(_decode(data, may_have_meta=media_type == "text/html"))
    if media_type == "text/html":
        title, text = _read_html(source)
    else:
        title, text = _find_title(source, media_type), source
    if not text or text.isspace():
        only = "markup" if text != source else "whitespace"
        raise DocumentError(f"there is no text in it, only {only}")
    return Extracted(title=title or _one_line(fallback_title), text=text)


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    # Some codecs (utf-7, unicode_escape) let lone surrogates through; UTF-8 has no place for them.
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MAX_TITLE_CHARS].rstrip()


# --- Encodings ------------------------------------------------------------------------------------

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_META_CHARSET = re.compile(rb"<meta[^>]+?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_META_SCAN_BYTES = 1024  # how far browsers look (HTML standard, "prescan a byte stream")
_SAMPLE_BYTES = 64 * 1024
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
# These would have shown by their mark or their NULs; without, they match by chance only.
_IMPLAUSIBLE = ["utf_7", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le"]


def _decode(data: bytes, *, may_have_meta: bool) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode_as(encoding, data)
    if b"\0" in data:
        raise DocumentError("it is binary, not text: it contains NUL bytes")
    declared = _declared_text(data) if may_have_meta else None
    if declared is not None:
        return declared
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        if _is_damaged_utf8(data):
            raise DocumentError(
                f"it is not valid UTF-8 at byte {exc.start}; repair it or save it again as UTF-8"
            ) from exc
    return _decode_as(_guessed_encoding(data), data)


def _decode_as(encoding: str, data: bytes) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise DocumentError(
            f"it looks like {encoding} but is not valid at byte {exc.start}; save it as UTF-8"
        ) from exc


def _declared_text(data: bytes) -> str | None:
    """Decode by the ``<meta charset>``; None if there is none that is true."""
    match = _META_CHARSET.search(data[:_META_SCAN_BYTES])
    if match is None:
        return None
    label = match[1].decode("ascii", "replace").lower()
    # The HTML standard reads these labels as the encodings that pages really use under them.
    if label.startswith("utf-16"):
        label = "utf-8"
    elif label in {"iso-8859-1", "latin1", "ascii", "us-ascii"}:
        label = "cp1252"
    try:
        return data.decode(label)
    except (LookupError, ValueError):
        return None


def _is_damaged_utf8(data: bytes) -> bool:
    """Most of the bytes over 127 make sense as UTF-8: other encodings do so only by accident."""
    text = data.decode(errors="replace")
    n_bad = text.count("\N{REPLACEMENT CHARACTER}")
    n_special = len(text) - len(text.encode("ascii", "ignore"))
    return n_special - n_bad > n_bad


def _guessed_encoding(data: bytes) -> str:
    """Name the legacy encoding of ``data`` by statistics on a sample around its first clue."""
    from charset_normalizer import from_bytes

    clue = _NOT_ASCII.search(data)
    start = max(0, clue.start() - _SAMPLE_BYTES // 4) if clue else 0
    matches = from_bytes(data[start : start + _SAMPLE_BYTES], cp_exclusion=_IMPLAUSIBLE)
    best = matches.best()
    if best is not None:
        # Among equals the one that browsers assume: short Western texts fit a dozen encodings.
        for match in matches:
            is_equal = (match.chaos, match.coherence) == (best.chaos, best.coherence)
            if is_equal and "cp1252" in match.could_be_from_charset:
                return "cp1252"
        if best.coherence > 0 or best.multi_byte_usage > 0:
            return best.encoding
    raise DocumentError("it is binary, or its encoding cannot be told; save it as UTF-8")


# --- Titles of Markdown and reStructuredText ------------------------------------------------------

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE)
_FRONT_TITLE = re.compile(r"^title:[ \t]*([\"']?)(.+?)\1[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"[ \t]*(```|~~~)")
_ATX = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_NOT_SETEXT_TEXT = re.compile(r"\s*$|[ \t]*(?:[-*+>|]|\d+[.)])\s| {4}|\t")
_RST_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1+[ \t]*$")


def _find_title(text: str, media_type: str) -> str:
    if media_type == "text/markdown":
        titles = _markdown_titles(text)
    elif media_type == "text/x-rst":
        titles = _rst_titles(text)
    else:
        titles = iter(())
    return next(filter(None, map(_one_line, titles)), "")


def _markdown_titles(text: str) -> Iterator[str]:
    front = _FRONT_MATTER.match(text)
    if front:
        title = _FRONT_TITLE.search(front[1])
        if title:
            yield title[2]
        text = text[front.end() :]
    fence = ""
    for line, following in pairwise([*text.split("\n"), ""]):
        mark = _FENCE.match(line)
        if mark and fence in {"", mark[1]}:
            fence = "" if fence else mark[1]
        elif fence:
            continue
        elif atx := _ATX.match(line):
            yield atx[1]
        elif _SETEXT.match(following) and not _NOT_SETEXT_TEXT.match(line):
            yield line


def _rst_titles(text: str) -> Iterator[str]:
    for line, following in pairwise(text.split("\n")):
        underline = _RST_UNDERLINE.match(following)
        # docutils takes an underline that is too short only from four characters on.
        is_long_enough = len(following.rstrip()) >= min(len(line.strip()), 4)
        if underline and is_long_enough and not _RST_UNDERLINE.match(line):
            yield line


# --- HTML -----------------------------------------------------------------------------------------

_DROPPED_TAGS = ["script", "style", "template", "noscript", "svg"]
_PERMALINKS = "a.headerlink"  # the pilcrow that Sphinx puts behind every heading
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset({"ul", "ol", "menu"})
_CELLS = frozenset({"td", "th"})
# fmt: off
_LINES = [
    "br", "caption", "dd", "div", "dt", "figcaption", "legend", "li", "optgroup", "option",
    "summary", "tbody", "tfoot", "thead", "tr",
]
_PARAGRAPHS = [
    *_HEADINGS, "address", "article", "aside", "blockquote", "body", "center", "details", "dialog",
    "dl", "fieldset", "figure", "footer", "form", "header", "hr", "main", "menu", "nav", "ol", "p",
    "section", "table", "ul",
]
# fmt: on
# Newlines around a block: 1 starts a new line, 2 leave a blank line between.
_BREAKS = dict.fromkeys(_LINES, 1) | dict.fromkeys(_PARAGRAPHS, 2)
_SOFT_IN_CELLS = frozenset({"br", "center", "div", "p"})  # a row stays one line around these
_MAX_INDENT_LEVELS = 6


def _read_html(source: str) -> tuple[str, str]:
    """Return the title (empty if there is none) and the visible text as Markdown."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(source)
    tree.strip_tags(_DROPPED_TAGS)
    for link in tree.css(_PERMALINKS):
        link.decompose()
    title = _html_title(tree)
    tree.strip_tags(["head"])
    writer = _MarkdownWriter()
    if tree.root is not None:
        _write_tree(tree.root, writer)
    return title, _clean(writer.text())


def _html_title(tree: "LexborHTMLParser") -> str:
    nodes = [*tree.css("title"), *tree.css("h1, h2, h3, h4, h5, h6")]
    return next(filter(None, (_one_line(_clean(node.text())) for node in nodes)), "")


def _write_tree(root: "LexborNode", writer: "_MarkdownWriter") -> None:
    """Walk the tree depth first without recursion: real pages nest deeper than Python may."""
    stack: list[tuple[LexborNode, bool]] = [(root, False)]
    while stack:
        node, is_end = stack.pop()
        tag = node.tag or ""
        if is_end:
            writer.close(tag)
        elif node.is_text_node:
            writer.write(node.text_content or "")
        elif tag == "pre":
            writer.write_verbatim(node.text())
        else:
            writer.open(tag)
            stack.append((node, True))
            children = list(node.iter(include_text=True))
            stack += [(child, False) for child in reversed(children)]


@dataclass(slots=True)
class _MarkdownWriter:
    """Turns a walk over tags and text into Markdown, with white space as browsers treat it.

    Newlines, spaces and prefixes are owed, and paid only when text follows: so empty elements
    leave no trace and nested ones no heap of blank lines.
    """

    _parts: list[str] = field(default_factory=list)
    _newlines: int = 0
    _has_space: bool = False
    _separators: int = 0  # cells begun since the last text of a row
    _prefix: str = ""  # of the next line of text: "## ", "  - "
    _list_depth: int = 0
    _in_heading: bool = False
    _rows: list[int] = field(default_factory=list)  # cells so far in each open row

    def text(self) -> str:
        return "".join(self._parts)

    def open(self, tag: str) -> None:
        self._break(tag)
        if tag in _HEADINGS:
            self._in_heading = True
            self._prefix = "#" * _HEADINGS[tag] + " "
        elif tag in _LISTS:
            self._list_depth += 1
        elif tag == "li":
            self._prefix = "  " * min(self._list_depth - 1, _MAX_INDENT_LEVELS) + "- "
        elif tag == "tr":
            self._rows.append(0)
        elif tag in _CELLS and self._rows:
            self._separators += self._rows[-1] > 0
            self._rows[-1] += 1

    def close(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._in_heading = False
        elif tag in _LISTS:
            self._list_depth -= 1
        elif tag == "tr":
            self._rows.pop()
            self._separators = 0
        if tag == "li" or tag in _HEADINGS:
            self._prefix = ""
        self._break(tag)

    def _break(self, tag: str) -> None:
        is_soft = self._in_heading or (tag in _SOFT_IN_CELLS and any(self._rows[-1:]))
        most = 1 if self._list_depth > 0 else 2  # no blank lines within a list
        if tag in _BREAKS and is_soft:
            self._has_space = True
        else:
            self._newlines = max(self._newlines, min(_BREAKS.get(tag, 0), most))

    def write(self, text: str) -> None:
        words = text.split()
        if words:
            self._pay(has_space=text[0].isspace())
            self._parts.append(" ".join(words))
        self._has_space = self._has_space or text[-1:].isspace()

    def _pay(self, *, has_space: bool) -> None:
        is_new_line = self._newlines > 0 or not self._parts
        if is_new_line:
            self._parts.append("\n" * self._newlines * bool(self._parts) + self._prefix)
            self._prefix = ""
        if self._separators:
            self._parts.append(("" if is_new_line else " ") + "| " * self._separators)
        elif not is_new_line and (self._has_space or has_space):
            self._parts.append(" ")
        self._newlines, self._separators, self._has_space = 0, 0, False

    def write_verbatim(self, code: str) -> None:
        """Write a fenced block, in which nothing is taken for a heading or collapsed."""
        if not code or code.isspace():
            return
        longest_run = max(map(len, re.findall(r"`{3,}", code)), default=2)
        fence = "`" * (longest_run + 1)
        self._newlines, self._separators, self._prefix = 2, 0, ""
        self._pay(has_space=False)
        self._parts.append(f"{fence}\n{code.rstrip()}\n{fence}")
        self._newlines = 2
