"""What a PDF says of itself: its outline and its properties, as PDFium has them.

Belongs here: bookmarks, title, author, dates, language. Does not belong here: its pages (pages.py),
which lines bookmarks name (headings.py), what properties mean (document.py).
"""

from collections.abc import Callable
from ctypes import c_ushort
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from embedding_assets.corpus.formats.pdf.pages import plain
from embedding_assets.corpus.formats.text import one_line

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument


class Bookmark(NamedTuple):
    """An entry of the outline; ``level`` from 1, ``page`` from 1; where on it, if that is said."""

    title: str
    level: int
    page: int
    x: float | None
    y: float | None


def bookmarks_of(pdf: "PdfDocument") -> list[Bookmark]:
    """The outline's entries in order; one without a place has that of its first entry, or none."""
    found: list[Bookmark] = []
    for entry in reversed(list(pdf.get_toc())):
        title, level = one_line(_said(entry.get_title)), entry.level + 1
        dest = entry.get_dest()
        index = dest.get_index() if dest else None
        if title and dest and index is not None:
            found.append(Bookmark(title, level, index + 1, *_place_of(*dest.get_view())))
        elif title and found and found[-1].level > level:
            found.append(found[-1]._replace(title=title, level=level))
    return found[::-1]


def _place_of(mode: int, at: list[float]) -> tuple[float | None, float | None]:
    from pypdfium2 import raw

    at = [*at, 0.0, 0.0, 0.0, 0.0]  # some say fewer numbers than belong to it
    if mode == raw.PDFDEST_VIEW_XYZ:
        return at[0] or None, at[1] or None
    if mode in (raw.PDFDEST_VIEW_FITH, raw.PDFDEST_VIEW_FITBH):
        return None, at[0] or None
    if mode == raw.PDFDEST_VIEW_FITR:
        return at[0] or None, at[3] or None
    return None, None


def properties_of(pdf: "PdfDocument") -> dict[str, str]:
    """What the file says about itself, by PDF's names, and its language."""
    names = ("Title", "Author", "Subject", "Keywords", "CreationDate", "ModDate")
    found = {name: _said(partial(pdf.get_metadata_value, name)) for name in names}
    return {**found, "Lang": _language_of(pdf)}


def _language_of(pdf: "PdfDocument") -> str:
    from pypdfium2.raw import FPDFCatalog_GetLanguage

    n_bytes = FPDFCatalog_GetLanguage(pdf, None, 0)
    buffer = (c_ushort * (n_bytes // 2 + 1))()
    FPDFCatalog_GetLanguage(pdf, buffer, n_bytes)
    return bytes(buffer).decode("utf-16-le", errors="replace").strip("\0 ")


def _said(read: Callable[[], str]) -> str:
    """In one line; empty if it is no text."""
    try:
        return " ".join(plain(read()).split())
    except UnicodeDecodeError:
        return ""
