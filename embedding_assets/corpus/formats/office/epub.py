"""Books: the chapters of an EPUB in their order.

Belongs here: which parts of the archive are chapters, what the book says about itself. Does not
belong here: the archive (packed.py), what a chapter says (html/pages.py).
"""

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.encodings import decode
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.html.pages import read_html
from embedding_assets.corpus.formats.html.xhtml import html_of_xhtml
from embedding_assets.corpus.formats.office.packed import Element, Packed, understood
from embedding_assets.corpus.formats.pieces import Piece, assembled, heading, pieces_of
from embedding_assets.corpus.formats.text import clean, one_line
from embedding_assets.errors import DocumentError

_KIND = "EPUB"
_CHAPTER_LEVEL = 1
_PAGES = frozenset({"application/xhtml+xml", "text/html", "text/x-oeb1-document"})
_TABLE_OF_CONTENTS = "application/x-dtbncx+xml"  # of EPUB 2
# Which only hide the shapes of letters.
_OF_FONTS = frozenset({"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"})
_PROTECTED = "it is protected against copying (DRM): get it without that"
_BACKLINKS = ("[role=doc-backlink]", ".footnote-back")  # from a note to where it is referred to
_META = {
    "creator": "author",
    "date": "date",
    "language": "language",
    "publisher": "publisher",
    "subject": "keywords",
    "identifier": "identifier",
}
_MEANINGLESS = ("urn:uuid:", "uuid:", "calibre:", "unknown")  # of a file and not of a book


def read_epub(data: bytes) -> Extracted:
    """The chapters in the order of reading, without tables of contents and what is beside it."""
    package = Packed.of(data, _KIND)
    with understood(_KIND):
        _check_open(package)
        book = _Book.of(package)
        names = book.names()
        pieces = [
            piece for part in book.chapters for piece in book.pieces_of(part, names.get(part, ""))
        ]
    return assembled(pieces, title=book.title, metadata=book.metadata, remark=book.remark)


def _check_open(package: Packed) -> None:
    locks = package.xml_if_any("META-INF/encryption.xml").iter("EncryptionMethod")
    if not {each.get("Algorithm", "") for each in locks} <= _OF_FONTS:
        raise DocumentError(_PROTECTED)


@dataclass(frozen=True, slots=True)
class _Book:
    """What the package of a book says of its parts."""

    package: Packed
    folder: str  # from which its parts are named
    opf: Element
    items: Mapping[str, Element]  # all parts

    @classmethod
    def of(cls, package: Packed) -> Self:
        root = next(package.xml("META-INF/container.xml").iter("rootfile"), None)
        if root is None:
            raise DocumentError(f"it is no {_KIND}, but another archive")
        name = root.get("full-path", "")
        opf = package.xml(name)
        items = {each.get("id", ""): each for each in opf.iter("item")}
        return cls(package, posixpath.dirname(name), opf, items)

    @property
    def title(self) -> str:
        return one_line(next((each.text or "" for each in self.opf.iter("title")), ""))

    @property
    def metadata(self) -> dict[str, object]:
        found: dict[str, list[str]] = {}
        for each in self.opf.iter():
            text = (each.text or "").strip()
            if text.lower().startswith(_MEANINGLESS):
                continue
            if each.tag == "meta" and each.get("property") == "dcterms:modified":
                found.setdefault("modified", []).append(text)
            elif each.tag == "description" and text:
                found.setdefault("description", []).append(read_html(text, keep=("body",)).text)
            elif each.tag in _META and text:
                found.setdefault(_META[each.tag], []).append(text)
        return {
            name: texts if len(texts) > 1 or name == "keywords" else texts[0]
            for name, texts in found.items()
        }

    @property
    def chapters(self) -> list[str]:
        """The names of the parts that are read."""
        contents = {
            self._place(each.get("href", ""))
            for each in self.opf.iter("reference")
            if each.get("type") == "toc" and "#" not in each.get("href", "")  # else a part of one
        }
        items = (
            self.items.get(each.get("idref", ""))
            for each in self.opf.iter("itemref")
            if each.get("linear") != "no"
        )
        names = [
            self._place(item.get("href", ""))
            for item in items
            if item is not None
            and item.get("media-type") in _PAGES
            and "nav" not in item.get("properties", "").split()
        ]
        return [name for name in dict.fromkeys(names) if name not in contents]

    @property
    def remark(self) -> str:
        n = sum(each.get("linear") == "no" for each in self.opf.iter("itemref"))
        parts = "1 part is" if n == 1 else f"{n} parts are"
        return f"{parts} left out, as outside the order of reading" if n else ""

    def pieces_of(self, chapter: str, name: str) -> Iterator[Piece]:
        """What it says, below its name if it has no heading."""
        source = clean(decode(self.package.bytes_of(chapter), may_have_meta=True))
        pieces = list(pieces_of(read_html(html_of_xhtml(source), keep=("body",), drop=_BACKLINKS)))
        if pieces and not any(piece.kind is BlockKind.HEADING for piece in pieces):
            yield heading(name, _CHAPTER_LEVEL)
        for piece in pieces:
            yield piece._replace(anchor="")  # it leads nowhere without the chapter's name

    def names(self) -> dict[str, str]:
        """What the tables of contents call the chapters; a damaged one says nothing."""
        names: dict[str, str] = {}
        for item in self.items.values():
            is_old = item.get("media-type") == _TABLE_OF_CONTENTS
            if is_old or "nav" in item.get("properties", "").split():
                place = self._place(item.get("href", ""))
                with suppress(DocumentError):
                    contents = self.package.xml_if_any(place)
                    for href, name in _entries(contents) if is_old else _links(contents):
                        target = _place(posixpath.dirname(place), href)
                        names.setdefault(target, one_line(name))
        return names

    def _place(self, href: str) -> str:
        return _place(self.folder, href)


def _entries(contents: Element) -> Iterator[tuple[str, str]]:
    """The places and names of EPUB 2."""
    for point in contents.iter("navPoint"):
        target, label = point.find("content"), point.find("navLabel")
        if target is not None and label is not None:
            yield target.get("src", ""), "".join(label.itertext())


def _links(page: Element) -> Iterator[tuple[str, str]]:
    """The same of EPUB 3."""
    for nav in page.iter("nav"):
        if nav.get("type") == "toc":
            for link in nav.iter("a"):
                yield link.get("href", ""), "".join(link.itertext())


def _place(folder: str, href: str) -> str:
    """The name of a part in the archive, as a part in that folder says it."""
    return posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))
