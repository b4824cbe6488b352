"""Chunks: a document's text cut into pieces that are embedded one by one.

Belongs here: where the cuts fall, what identifies the way of cutting, a chunk's content hash.
Does not belong here: how a file became text (formats/), which chunks are new (store/).
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from embedding_assets.corpus.formats.extraction import EXTRACTION_VERSION
from embedding_assets.model.tokens import DEFAULT, DEFAULT_CHARS_PER_TOKEN

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

# Raised with every change that moves a boundary, here or in the default rates of model/tokens.py.
CHUNKING_VERSION = 1

# The splitter's time grows with the square of the number of units (words, sentences, lines) that
# it sees at once: 800 kB on one line take it ten times as long in one call as in windows of 16
# chunks' worth, and 5 MB over half a minute instead of a second (benchmarks/splitting.py).
WINDOW_CHUNKS = 16

_SPLITTER = "semantic-text-splitter"
_CUT_ROOM = 1.05
_MAX_TOKENS_PER_CHAR = 1 / min(DEFAULT_CHARS_PER_TOKEN)
_MARKDOWN_TYPES = frozenset({"text/markdown", "text/html"})  # extraction writes HTML as Markdown
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_HEADING = re.compile(r"#{1,6} ")
_version_of = cache(version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunker:
    """One way of cutting texts into chunks of at most ``max_chars`` characters (code points).

    ``max_tokens`` is what the model reads of one text. Tokens are estimated by the default rates,
    never by what was learned, so that a document is cut the same way every month.
    """

    max_chars: int
    max_tokens: int

    def __post_init__(self) -> None:
        for name, value in (("max_chars", self.max_chars), ("max_tokens", self.max_tokens)):
            if value <= 0:
                raise ValueError(f"{name} must be positive, not {value!r}")

    @property
    def fingerprint(self) -> str:
        """What the boundaries depend on, for people to read and for programs to compare."""
        return self.fingerprint_of(EXTRACTION_VERSION)

    def fingerprint_of(self, extraction_version: int) -> str:
        """The same for a text that another version has extracted."""
        fingerprint = (
            f"extraction {extraction_version}, chunking {CHUNKING_VERSION}, "
            f"{_SPLITTER} {_version_of(_SPLITTER)}, {self.max_chars} characters"
        )
        can_exceed = self.max_chars * _MAX_TOKENS_PER_CHAR > self.max_tokens
        return f"{fingerprint}, {self.max_tokens} tokens" if can_exceed else fingerprint

    def split(self, text: str, media_type: str) -> list[str]:
        """Return the chunks of ``text`` in order: none blank, none over the limits.

        Joined they are the text without the white space at the cuts. Markdown and HTML are cut at
        headings and blocks first, other types at blank lines; then lines, sentences, words.
        A single character is a chunk, whatever it weighs.
        """
        is_markdown = media_type in _MARKDOWN_TYPES
        return [
            part
            for chunk in self._by_characters(text, is_markdown=is_markdown)
            for part in _within(self.max_tokens, chunk, is_markdown=is_markdown)
            if not part.isspace()
        ]

    def _by_characters(self, text: str, *, is_markdown: bool) -> Iterator[str]:
        splitter = _splitter(self.max_chars, is_markdown=is_markdown)
        start, window_chars = 0, WINDOW_CHUNKS * self.max_chars
        while start < len(text):
            window = text[start : start + window_chars]
            found = splitter.chunk_indices(window)
            is_last = start + window_chars >= len(text)
            n_final = len(found) if is_last else _count_final(found, window, is_markdown)
            yield from (chunk for _, chunk in found[:n_final])
            start += found[n_final][0] if n_final < len(found) else window_chars


def _within(max_tokens: int, chunk: str, *, is_markdown: bool) -> Iterator[str]:
    """The chunk; or its parts, cut as if chunks had fewer characters."""
    n_tokens = DEFAULT.estimate(chunk)
    if n_tokens <= max_tokens or len(chunk) == 1:
        yield chunk
        return
    # Parts of about the same size, with room for cuts that fall early, or a crumb would be left
    # over. Always fewer characters than the chunk has, so that this ends.
    n_parts = int(n_tokens * _CUT_ROOM / max_tokens) + 1
    max_chars = max(1, int(len(chunk) * _CUT_ROOM / n_parts))
    for part in _splitter(max_chars, is_markdown=is_markdown).chunks(chunk):
        yield from _within(max_tokens, part, is_markdown=is_markdown)


@lru_cache
def _splitter(max_chars: int, *, is_markdown: bool) -> "MarkdownSplitter | TextSplitter":
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    return MarkdownSplitter(max_chars) if is_markdown else TextSplitter(max_chars)


def _count_final(found: list[tuple[int, str]], window: str, is_markdown: bool) -> int:
    """How many of a window's chunks are as they would be without the window's end.

    The next window starts with the first chunk after them. The last chunk is never final, because
    its continuation was out of sight; unless it is all there is, or nothing would ever be.
    """
    candidates = _clean_starts(found, window) if is_markdown else iter(())
    return next(candidates, max(1, len(found) - 1))


def _clean_starts(found: list[tuple[int, str]], window: str) -> Iterator[int]:
    """Yield, best first, where Markdown can be parsed afresh: at a heading, else not in code."""
    fence_ends = [match.end() for match in _FENCE.finditer(window)]
    in_prose = [
        n
        for n in range(len(found) - 1, len(found) // 2, -1)
        if bisect_right(fence_ends, found[n][0]) % 2 == 0
    ]
    yield from (n for n in in_prose if _HEADING.match(found[n][1]))
    yield from in_prose


def chunk_sha256(text: str) -> bytes:
    """Return the 32 bytes that identify a chunk's content: SHA-256 of its UTF-8."""
    return hashlib.sha256(text.encode()).digest()
