"""Extraction: the bytes of one file to its title and its text.

Belongs here: which reader a media type has, clean text (``\\n`` newlines, no NUL, no lone
surrogate). Does not belong here: reading files (corpus/documents.py), splitting
(corpus/chunks.py).
"""

from dataclasses import dataclass

from embedding_assets.corpus.formats.encodings import decode
from embedding_assets.corpus.formats.html import read_html
from embedding_assets.corpus.formats.text import clean, one_line
from embedding_assets.corpus.formats.titles import find_title
from embedding_assets.errors import DocumentError

# Raised with every change in this folder that changes the text of some file.
EXTRACTION_VERSION = 1


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
    source = clean(decode(data, may_have_meta=media_type == "text/html"))
    if media_type == "text/html":
        title, text = read_html(source)
    else:
        title, text = find_title(source, media_type), source
    if not text or text.isspace():
        only = "markup" if text != source else "whitespace"
        raise DocumentError(f"there is no text in it, only {only}")
    return Extracted(title=title or one_line(fallback_title), text=text)
