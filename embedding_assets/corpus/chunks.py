"""Chunks: a document's text cut into pieces that are embedded one by one.

Belongs here: where the cuts fall, what identifies the way of cutting, a chunk's content hash.
Does not belong here: how a file became text (formats/), which chunks are new (store/).
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from embedding_assets.corpus.blocks import Block
from embedding_assets.corpus.formats.extraction import EXTRACTION_VERSION
from embedding_assets.model.passages import Passage
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.tokens import DEFAULT, DEFAULT_CHARS_PER_TOKEN
from embedding_assets.settings.values import Chunking

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

# Raised with every change that moves a boundary, here or in the default rates of model/tokens.py.
CHUNKING_VERSION = 2

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
class Chunk:
    """A piece of a document: what is embedded, and where in the document it stands."""

    passage: Passage
    section: str  # the headings above it, and its term, as the document has them
    anchor: str  # the fragment under which a reader finds it, without "#"; empty if there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunker:
    """One way of cutting texts into chunks of at most ``max_chars`` characters (code points).

    ``max_tokens`` is what the model reads of one text. Tokens are estimated by the default rates,
    never by what was learned, so that a document is cut the same way every month.
    """

    max_chars: int
    max_tokens: int
    has_path: bool = True  # whether passages carry their path

    @classmethod
    def of(cls, chunking: Chunking, spec: EmbeddingSpec) -> "Chunker":
        """What the settings ask for, within what the spec's model reads."""
        return cls(
            max_chars=chunking.max_chars,
            max_tokens=spec.max_text_tokens,
            has_path=chunking.path,
        )

    def __post_init__(self) -> None:
        for name, value in (("max_chars", self.max_chars), ("max_tokens", self.max_tokens)):
            if value <= 0:
                raise ValueError(f"{name} must be positive, not {value!r}")

    @property
    def fingerprint(self) -> str:
        """What the chunks depend on, for people to read and for programs to compare."""
        return self.fingerprint_of(str(EXTRACTION_VERSION))

    def fingerprint_of(self, extraction: str) -> str:
        """The same for a text that was read in another way."""
        path = "" if self.has_path else ", without path"
        fingerprint = (
            f"extraction {extraction}, chunking {CHUNKING_VERSION}, "
            f"{_SPLITTER} {_version_of(_SPLITTER)}, {self.max_chars} characters{path}"
        )
        can_exceed = self.max_chars * _MAX_TOKENS_PER_CHAR > self.max_tokens
        return f"{fingerprint}, {self.max_tokens} tokens" if can_exceed else fingerprint

    def split(self, title: str, text: str, blocks: Sequence[Block]) -> list[Chunk]:
        """Return the chunks of ``text`` in order: none blank, none over the limits."""
        return [
            Chunk(passage=Passage(text=part), section="", anchor="")
            for chunk in self._by_characters(text, is_markdown=False)
            for part in _within(self.max_tokens, chunk, is_markdown=False)
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
