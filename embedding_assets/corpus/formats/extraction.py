"""Extraction: the bytes of one file to its title, its text and the blocks of that.

Belongs here: what a reader is given, clean text (``\\n`` newlines, no NUL, no lone surrogate), what
identifies the way of reading. Does not belong here: which reader a media type has (readers.py),
reading files (corpus/documents.py), cutting (corpus/chunks.py).
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol, Self

from embedding_assets.corpus.census import Outcome
from embedding_assets.corpus.formats.dates import with_iso_dates
from embedding_assets.corpus.formats.encodings import decode
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.text import clean, one_line
from embedding_assets.corpus.kinds import KINDS, kind_of_type, reason_against
from embedding_assets.corpus.metadata import tidied
from embedding_assets.errors import DocumentError, SettingsError
from embedding_assets.settings.values import Corpus, KindGroup

# Raised with every change in this folder that changes text, blocks or metadata of some file.
EXTRACTION_VERSION = 3

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_NOTEBOOK = "application/x-ipynb+json"
# Which may declare their encoding in themselves.
_WITH_META = _HTML


class Reader(Protocol):
    """Whatever reads files as an ``Extraction`` does."""

    def reason_against(self, media_type: str) -> Outcome | None: ...

    def fingerprint_of(self, media_type: str) -> str: ...

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """One way of reading files: CSS selectors of what pages are to keep, and of what to drop.

    ``notebook_outputs`` is whether what came of the code in notebooks is text; ``kinds`` are those
    that are read.
    """

    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    kinds: frozenset[KindGroup] = frozenset(KindGroup)
    notebook_outputs: bool = False

    @classmethod
    def of(cls, corpus: Corpus) -> Self:
        """What the settings ask for."""
        return cls(
            keep=corpus.html_keep,
            drop=corpus.html_drop,
            notebook_outputs=corpus.notebook_outputs,
            kinds=frozenset(corpus.kinds),
        )

    def check(self) -> None:
        """Raises SettingsError for a selector that is none."""
        from embedding_assets.corpus.formats.html.pages import check_selectors

        try:
            check_selectors([*self.keep, *self.drop])
        except ValueError as exc:
            raise SettingsError(f"corpus.html_keep or corpus.html_drop: {exc}") from exc

    @property
    def fingerprint(self) -> str:
        """What texts depend on beside their files, as far as it is chosen here or in settings."""
        return f"{EXTRACTION_VERSION}{self._of_pages}{self._of_notebooks}"

    @property
    def _of_pages(self) -> str:
        if not (self.keep or self.drop):
            return ""
        digest = hashlib.sha256(repr((self.keep, self.drop)).encode()).hexdigest()
        return f" with selectors {digest[:8]}"

    @property
    def _of_notebooks(self) -> str:
        return " with outputs" if self.notebook_outputs else ""

    def reason_against(self, media_type: str) -> Outcome | None:
        """Why files of this type are left out, if they are."""
        return reason_against(kind_of_type(media_type), self.kinds)

    def fingerprint_of(self, media_type: str) -> str:
        """What the text of such a file depends on: if this is another one, it is read again.

        The library that reads it is named, for all of the text comes out of that. The detectors of
        encodings are not: they see few files, and every file would be read again for a new one.
        """
        fingerprint = str(EXTRACTION_VERSION)
        if media_type in _HTML:
            fingerprint += self._of_pages
        elif media_type == _NOTEBOOK:
            fingerprint += self._of_notebooks
        kind = kind_of_type(media_type)
        maker = kind.made_by if kind else ""
        if kind is not None and kind.group is KindGroup.MAIL:
            maker = f"attachments {self._attachments}"
        return f"{fingerprint}, {maker}" if maker else fingerprint

    @property
    def _attachments(self) -> str:
        """Which of them are read: others may be there without the file having changed."""
        read = (kind for kind in KINDS if reason_against(kind, self.kinds) is None)
        kinds = [kind.media_type + kind.made_by for kind in read]
        return hashlib.sha256(repr(kinds).encode()).hexdigest()[:8]

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
        """Return title, text and blocks of a file's bytes.

        Pages and office files become Markdown; texts stay as they are but for newlines and what no
        reader sees. ``fallback_title`` is used when the text has no title of its own. Raises
        DocumentError if ``data`` is empty, blank, damaged, of a kind that is not read, or in an
        encoding that cannot be told.
        """
        from embedding_assets.corpus.formats.readers import BYTES_READERS

        if not data:
            raise DocumentError("the file is empty")
        if media_type in BYTES_READERS:
            extracted = BYTES_READERS[media_type](data)
            only = ""
        else:
            source = clean(decode(data, may_have_meta=media_type in _WITH_META))
            extracted = self._read(source, media_type)
            only = ", only markup" if source.strip() else ", only whitespace"
        if not extracted.text.strip() and not extracted.members:
            if media_type in _HTML and self.drop:
                only += " and what corpus.html_drop names"
            raise DocumentError(f"there is no text in it{only}")
        title = extracted.title or one_line(fallback_title)
        metadata = tidied(with_iso_dates(extracted.metadata))
        return replace(extracted, title=title, metadata=metadata)

    def _read(self, source: str, media_type: str) -> Extracted:
        from embedding_assets.corpus.formats.html.pages import read_html
        from embedding_assets.corpus.formats.html.xhtml import html_of_xhtml
        from embedding_assets.corpus.formats.markup.notebook import read_notebook
        from embedding_assets.corpus.formats.plain import read_plain
        from embedding_assets.corpus.formats.readers import TEXT_READERS

        if media_type in _HTML:
            source = source if media_type == "text/html" else html_of_xhtml(source)
            return read_html(source, keep=self.keep, drop=self.drop)
        if media_type == _NOTEBOOK:
            return read_notebook(source, with_outputs=self.notebook_outputs)
        return TEXT_READERS.get(media_type, read_plain)(source)
