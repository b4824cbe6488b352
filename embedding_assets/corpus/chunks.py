"""Chunks: a document's text cut into pieces that are embedded one by one.

Belongs here: what a chunk is, and what identifies the way of cutting. Does not belong here: how a
file became text and blocks (formats/), where the cuts fall (packing.py), which chunks are new
(store/).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from operator import attrgetter

from embedding_assets.corpus.blocks import Block
from embedding_assets.corpus.formats.extraction import EXTRACTION_VERSION, Extraction
from embedding_assets.corpus.formats.plain import paragraphs
from embedding_assets.corpus.packing import parts_of
from embedding_assets.corpus.paths import MAX_PATH_CHARS, path_of, section_name
from embedding_assets.corpus.rulers import MAX_TOKENS_PER_CHAR, Ruler
from embedding_assets.corpus.sections import Section, tree_of
from embedding_assets.corpus.urls import fingerprint_of
from embedding_assets.model.passages import Passage
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.settings.values import Settings

# Raised with every change that moves a boundary or alters a path, here, in the modules beside, or
# in the default rates of model/tokens.py.
CHUNKING_VERSION = 2

_SPLITTER = "semantic-text-splitter"
_MAX_PATH_TOKENS = MAX_PATH_CHARS  # as many as in Chinese; English takes a third of it
_START = attrgetter("start")
_version_of = cache(version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a document: what is embedded, and where in the document it stands."""

    passage: Passage
    section: str  # the headings above it, and its term, as the document has them
    anchor: str  # the fragment under which a reader finds it, without "#"; empty if there is none
    page: int | None = None  # on which it begins, from 1, if the file has pages or slides


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunker:
    """One way of cutting texts into chunks of at most ``max_chars`` characters (code points).

    ``max_tokens`` is what the model reads of one text. Tokens are estimated by the default rates,
    never by what was learned, so that a document is cut the same way every month.
    """

    max_chars: int
    max_tokens: int
    has_path: bool = True  # whether passages carry their path
    extraction: str = str(EXTRACTION_VERSION)  # the way in which texts are read that are new
    urls: str = ""  # which addresses documents are given by settings, if any

    @classmethod
    def of(cls, settings: Settings, spec: EmbeddingSpec) -> "Chunker":
        """What the settings ask for, within what the spec's model reads."""
        return cls(
            max_chars=settings.chunking.max_chars,
            max_tokens=spec.max_text_tokens,
            has_path=settings.chunking.path,
            extraction=Extraction.of(settings.corpus).fingerprint,
            urls=fingerprint_of(settings.corpus.urls),
        )

    def __post_init__(self) -> None:
        for name, value in (("max_chars", self.max_chars), ("max_tokens", self.max_tokens)):
            if value <= 0:
                raise ValueError(f"{name} must be positive, not {value!r}")

    @property
    def fingerprint(self) -> str:
        """What chunks and their links depend on, for people to read and programs to compare."""
        return self.fingerprint_of(self.extraction)

    def fingerprint_of(self, extraction: str) -> str:
        """The same for a text that was read in another way."""
        path = "" if self.has_path else ", without path"
        urls = f", urls {self.urls}" if self.urls else ""
        fingerprint = (
            f"extraction {extraction}, chunking {CHUNKING_VERSION}, "
            f"{_SPLITTER} {_version_of(_SPLITTER)}, {self.max_chars} characters{path}{urls}"
        )
        can_exceed = self.max_chars * MAX_TOKENS_PER_CHAR > self._max_text_tokens
        return f"{fingerprint}, {self.max_tokens} tokens" if can_exceed else fingerprint

    def split(self, title: str, text: str, blocks: Sequence[Block]) -> list[Chunk]:
        """Return the chunks of ``text`` in order: none blank, none over the limits.

        They are slices of the text, and together all of it but for white space. What is cut in a
        table repeats its header, what is cut in code its fence. Path and text together are within
        what the model reads. A single character is a chunk, whatever it weighs. A text without
        blocks, as earlier snapshots have it, is paragraphs.
        """
        ruler = Ruler.of(text, max_chars=self.max_chars, max_tokens=self._max_text_tokens)
        blocks = blocks or tuple(paragraphs(text))
        parts = parts_of(tree_of(text, blocks), ruler)
        name = cache(partial(self._name, title))  # of a section, which may have many parts
        chunks = []
        for part in parts:
            content = text[part.start : part.end]
            if content and not content.isspace():
                section, path = name(part.section)
                passage = Passage(path=path, text=part.prefix + content + part.suffix)
                page = _page_at(part.start, blocks)
                chunks.append(
                    Chunk(passage=passage, section=section, anchor=part.anchor, page=page)
                )
        return chunks

    def _name(self, title: str, section: Section) -> tuple[str, str]:
        """What the section is called, and its path."""
        path = path_of(title, section, max_tokens=self._max_path_tokens) if self.has_path else ""
        return section_name(title, section), path

    @property
    def _max_path_tokens(self) -> int:
        return min(_MAX_PATH_TOKENS, self.max_tokens // 4) if self.has_path else 0

    @property
    def _max_text_tokens(self) -> int:
        """What a path and the line between leave of the model's limit."""
        return self.max_tokens - self._max_path_tokens - (self._max_path_tokens > 0)


def _page_at(place: int, blocks: Sequence[Block]) -> int | None:
    """The page of the block in which the place is."""
    number = bisect_right(blocks, place, key=_START) - 1
    return blocks[max(number, 0)].page or None
