"""PDF: its text in paragraphs, its bookmarks as headings, its pages, its properties.

Belongs here: what of a PDF becomes the document. Does not belong here: PDFium (pages.py,
outline.py), which lines are text and what they make (the modules beside).
"""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import islice, takewhile

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.names import listed
from embedding_assets.corpus.formats.pdf.headings import placed, with_headings
from embedding_assets.corpus.formats.pdf.lines import (
    usual_size,
    without_contents,
    without_running,
    without_titles_of_contents,
)
from embedding_assets.corpus.formats.pdf.outline import bookmarks_of, properties_of
from embedding_assets.corpus.formats.pdf.pages import Page, opened, page_of
from embedding_assets.corpus.formats.pdf.text import pieces_of_lines
from embedding_assets.corpus.formats.pieces import assembled
from embedding_assets.corpus.formats.text import one_line
from embedding_assets.errors import DocumentError

_DATE = re.compile(
    r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)?(\d\d)?)?(?:(Z|[+-])(?:(\d\d)'?(\d\d)?)?)?"
)
# What programs write where nobody gave a title or an author.
_NO_NAME = re.compile(
    r"\W*(?:(?:untitled|no title given|title|none|null|anonymous|unspecified|unknown|document"
    r"|dokument|slide|folie|book|(?:powerpoint )?presentation|microsoft \w+)\W*\d*"
    r"|microsoft \w+ - .*|.*\.(?:docx?|dotx?|pptx?|xlsx?|od[tps]|rtf|tex|dvi|ps|eps|pdf|indd"
    r"|qxd|pmd|fm|book|html?|xml|md|txt|wpd|pub|cdr|ai))?\W*",
    re.IGNORECASE,
)

_LARGE = 1.2  # times the size of most letters
_SAME_SIZE = 0.5  # points
_MAX_TITLE_LINES = 4
_MIN_TITLE_LETTERS = 3
_NOTE_MARKS = re.compile(r"(?:\s|[*∗†‡§]|\^\d+)+$")  # noqa: RUF001


def read_pdf(data: bytes) -> Extracted:
    """The text but for running heads and feet, page numbers and tables of contents."""
    with opened(data) as pdf:
        read = [page_of(pdf, number) for number in range(1, len(pdf) + 1)]
        bookmarks, properties = bookmarks_of(pdf), properties_of(pdf)
    n_blank = sum(not page.lines for page in read)
    if n_blank == len(read):
        raise DocumentError(
            f"it has {_count(n_blank, 'page')} and no text: a scan; recognise its text first"
            " (OCR), for instance with ocrmypdf"
        )
    pages = text_of(read)
    items = without_titles_of_contents(with_headings(pages, placed(pages, bookmarks)))
    return assembled(
        pieces_of_lines(items),
        title=_title(properties["Title"], read),
        metadata=_metadata(properties),
        remark=_remark(n_blank, len(read)),
    )


def text_of(pages: Sequence[Page]) -> list[Page]:
    lines = without_running([page.lines for page in pages])
    return [
        page._replace(lines=without_contents(of_page))
        for page, of_page in zip(pages, lines, strict=True)
    ]


def _remark(n_blank: int, n_pages: int) -> str:
    if not n_blank:
        return ""
    return f"{n_blank} of {_count(n_pages, 'page')} {'has' if n_blank == 1 else 'have'} no text"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"


# --- Properties -----------------------------------------------------------------------------------


def _title(title: str, pages: Sequence[Page]) -> str:
    """The file's own, else what stands largest on the first page, if it is larger than the text."""
    lines = next(page.lines for page in pages if page.lines)
    size = max(line.size for line in lines)
    if _name(title) or size < _LARGE * usual_size(lines):
        return _name(title)
    at = next(at for at, line in enumerate(lines) if line.size >= size - _SAME_SIZE)
    largest = takewhile(lambda line: line.size >= size - _SAME_SIZE, lines[at:])
    title = " ".join(line.text for line in islice(largest, _MAX_TITLE_LINES))
    title = one_line(_NOTE_MARKS.sub("", title))
    return title if sum(map(str.isalpha, title)) >= _MIN_TITLE_LETTERS else ""


def _metadata(properties: dict[str, str]) -> dict[str, object]:
    return {
        "author": _name(properties["Author"]),
        "subject": _name(properties["Subject"]),
        "keywords": listed(properties["Keywords"]),
        "date": _date(properties["CreationDate"]),
        "modified": _date(properties["ModDate"]),
        "language": properties["Lang"],
    }


def _name(text: str) -> str:
    text = one_line(text)
    return "" if _NO_NAME.fullmatch(text) else text


def _date(text: str) -> str:
    """ISO 8601 of PDF's ``D:20260131235900+01'00'``; empty if it is none."""
    found = _DATE.match(text)
    if found is None:
        return ""
    numbers = [int(found[n] or d) for n, d in zip(range(1, 7), (0, 1, 1, 0, 0, 0), strict=True)]
    zone = ""
    if found[7]:
        zone = "+00:00" if found[7] == "Z" else f"{found[7]}{found[8] or '00'}:{found[9] or '00'}"
    try:
        return datetime.fromisoformat(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*numbers) + zone
        ).isoformat()
    except ValueError:
        return ""
