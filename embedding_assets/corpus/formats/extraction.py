"""Extraction: the bytes of one file to its title, its text and the blocks of that.

Belongs here: which reader a media type has, clean text (``\\n`` newlines, no NUL, no lone
surrogate), what identifies the way of reading. Does not belong here: reading files
(corpus/documents.py), cutting (corpus/chunks.py).
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Protocol, Self

from embedding_assets.corpus.formats.encodings import decode
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.html import check_selectors, read_html
from embedding_assets.corpus.formats.markdown import read_markdown
from embedding_assets.corpus.formats.plain import read_plain
from embedding_assets.corpus.formats.rst import read_rst
from embedding_assets.corpus.formats.text import clean, one_line
from embedding_assets.errors import DocumentError, SettingsError
from embedding_assets.settings.values import Corpus

# Raised with every change in this folder that changes the text or the blocks of some file.
EXTRACTION_VERSION = 2

_HTML = "text/html"
_PARSER = "selectolax"
_version_of = cache(version)
_READERS = {"text/markdown": read_markdown, "text/x-rst": read_rst}


class Reader(Protocol):
    """Whatever reads files as an ``Extraction`` does."""

    def fingerprint_of(self, media_type: str) -> str: ...

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """One way of reading files: CSS selectors of what pages are to keep, and of what to drop."""

    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    @classmethod
    def of(cls, corpus: Corpus) -> Self:
        """What the settings ask for."""
        return cls(keep=corpus.html_keep, drop=corpus.html_drop)

    def check(self) -> None:
        """Raises SettingsError for a selector that is none."""
        try:
            check_selectors([*self.keep, *self.drop])
        except ValueError as exc:
            raise SettingsError(f"corpus.html_keep or corpus.html_drop: {exc}") from exc

    @property
    def fingerprint(self) -> str:
        """What texts depend on beside their files, as far as it is chosen here or in settings."""
        if not (self.keep or self.drop):
            return str(EXTRACTION_VERSION)
        digest = hashlib.sha256(repr((self.keep, self.drop)).encode()).hexdigest()
        return f"{EXTRACTION_VERSION} with selectors {digest[:8]}"

    def fingerprint_of(self, media_type: str) -> str:
        """What the text of such a file depends on: if this is another one, it is read again.

        The parser of pages is named, for all of their text comes out of it. The detectors of
        encodings are not: they see few files, and every file would be read again for a new one.
        """
        if media_type != _HTML:
            return str(EXTRACTION_VERSION)
        return f"{self.fingerprint}, {_PARSER} {_version_of(_PARSER)}"

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
        """Return title, text and blocks of a file's bytes.

        HTML becomes Markdown; the other types stay as they are but for newlines and what no reader
        sees. ``fallback_title`` is used when the text has no title of its own. Raises
        DocumentError if ``data`` is empty, blank, binary or in an encoding that cannot be told.
        """
        if not data:
            raise DocumentError("the file is empty")
        source = clean(decode(data, may_have_meta=media_type == _HTML))
        if media_type == _HTML:
            extracted = read_html(source, keep=self.keep, drop=self.drop)
        else:
            extracted = _READERS.get(media_type, read_plain)(source)
        if not extracted.text or extracted.text.isspace():
            only = "markup" if source.strip() else "whitespace"
            if media_type == _HTML and self.drop:
                only += " and what corpus.html_drop names"
            raise DocumentError(f"there is no text in it, only {only}")
        return replace(extracted, title=extracted.title or one_line(fallback_title))
