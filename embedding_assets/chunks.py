"""Chunks: a document's text cut into pieces that are embedded one by one.

Belongs here: where the cuts fall, what identifies the way of cutting, a chunk's content hash.
Does not belong here: how a file became text (extraction.py), which chunks are new (store/).
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from embedding_assets.extraction import EXTRACTION_VERSION

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

# To be raised with every change of this module that moves a boundary.
CHUNKING_VERSION = 1

# The splitter's time grows with the square of the number of units (words, sentences, lines) that
# it sees at once: 800 kB on one line take it ten times as long in one call as in windows of 16
# chunks' worth, and 5 MB over half a minute instead of a second (benchmarks/splitting.py).
WINDOW_CHUNKS = 16

_SPLITTER = "semantic-text-splitter"
_MARKDOWN_TYPES = frozenset({"text/markdown", "text/html"})  # extraction writes HTML as Markdown
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_HEADING = re.compile(r"#{1,6} ")


@dataclass(frozen=True, slots=True)
class Chunker:
    """One way of cutting texts into chunks of at most ``max_chars`` characters (code points)."""

    max_chars: int

    def __post_init__(self) -> None:
        if self.max_chars <= 0:
            raise ValueError(f"max_chars must be positive, not {self.max_chars!r}")

    @property
    def fingerprint(self) -> str:
        """What the boundaries depend on, for people to read and for programs to compare."""
        return (
            f"extraction {EXTRACTION_VERSION}, chunking {CHUNKING_VERSION}, "
            f"{_SPLITTER} {version(_SPLITTER)}, {self.max_chars} characters"
        )

    def split(self, text: str, media_type: str) -> list[str]:
        """Return the chunks of ``text`` in order: none blank, none over ``max_chars``.

        Joined they are the text without the white space at the cuts. Markdown and HTML are cut at
        headings and blocks first, other types at blank lines; then lines, sentences, words.
        """
        is_markdown = media_type in _MARKDOWN_TYPES
        splitter = _splitter(self.max_chars, is_markdown=is_markdown)
        chunks: list[str] = []
        start, window_chars = 0, WINDOW_CHUNKS * self.max_chars
        while start < len(text):
            window = text[start : start + window_chars]
            found = splitter.chunk_indices(window)
            is_last = start + window_chars >= len(text)
            n_final = len(found) if is_last else _count_final(found, window, is_markdown)
            chunks += [chunk for _, chunk in found[:n_final]]
            start += found[n_final][0] if n_final < len(found) else window_chars
        return [chunk for chunk in chunks if not chunk.isspace()]


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
