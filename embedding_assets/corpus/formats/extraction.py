"""Extraction: the bytes of one file to its title, its text and the blocks of that.

Belongs here: which reader a media type has, clean text (``\\n`` newlines, no NUL, no lone
surrogate), what identifies the way of reading. Does not belong here: reading files
(corpus/documents.py), cutting (corpus/chunks.py).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from embedding_assets.corpus.formats.encodings import decode
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.html import check_selectors, read_html
from embedding_assets.corpus.formats.markdown import read_markdown
from embedding_assets.corpus.formats.pdf import read_pdf
from embedding_assets.corpus.formats.plain import read_plain
from embedding_assets.corpus.formats.rst import read_rst
from embedding_assets.corpus.formats.text import clean, one_line
from embedding_assets.corpus.kinds import kind_of_type
from embedding_assets.corpus.metadata import tidied
from embedding_assets.errors import DocumentError, SettingsError
from embedding_assets.settings.values import Corpus

# Raised with every change in this folder that changes the text or the blocks of some file.
EXTRACTION_VERSION = 3

_HTML = "text/html"
# Of files that are text, in whatever encoding, and of those that are not.
_TEXT_READERS: dict[str, Callable[[str], Extracted]] = {
    "text/markdown": read_markdown,
    "text/plain": read_plain,
    "text/x-rst": read_rst,
}
_BYTES_READERS: dict[str, Callable[[bytes], Extracted]] = {
    "application/pdf": read_pdf,
}
# Which may declare their encoding in themselves.
_WITH_META = frozenset({_HTML})


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

        The library that reads it is named, for all of the text comes out of that. The detectors of
        encodings are not: they see few files, and every file would be read again for a new one.
        """
        fingerprint = self.fingerprint if media_type == _HTML else str(EXTRACTION_VERSION)
        kind = kind_of_type(media_type)
        library = kind.library_version if kind else ""
        return f"{fingerprint}, {library}" if library else fingerprint

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
        """Return title, text and blocks of a file's bytes.

        Pages and office files become Markdown; texts stay as they are but for newlines and what no
        reader sees. ``fallback_title`` is used when the text has no title of its own. Raises
        DocumentError if ``data`` is empty, blank, damaged, of a kind that is not read, or in an
        encoding that cannot be told.
        """
        if not data:
            raise DocumentError("the file is empty")
        if media_type in _BYTES_READERS:
            extracted = _BYTES_READERS[media_type](data)
            only = ""
        else:
            source = clean(decode(data, may_have_meta=media_type in _WITH_META))
            extracted = self._read(source, media_type)
            only = ", only markup" if source.strip() else ", only whitespace"
        if not extracted.text.strip() and not extracted.members:
            if media_type == _HTML and self.drop:
                only += " and what corpus.html_drop names"
            raise DocumentError(f"there is no text in it{only}")
        title = extracted.title or one_line(fallback_title)
        return replace(extracted, title=title, metadata=tidied(extracted.metadata))

    def _read(self, source: str, media_type: str) -> Extracted:
        if media_type == _HTML:
            return read_html(source, keep=self.keep, drop=self.drop)
        return _TEXT_READERS[media_type](source)
