"""The lines of a PDF's pages with their places, as PDFium has them.

Belongs here: opening a PDF, its pages. Does not belong here: its outline and properties
(outline.py), what lines mean (lines.py, text.py), which of them are headings (headings.py).
"""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from ctypes import c_double, c_int, create_string_buffer
from functools import cache
from itertools import chain
from math import hypot, inf
from statistics import median_low
from typing import TYPE_CHECKING, NamedTuple

from embedding_assets.corpus.formats.pdf.words import has_wide, width_of
from embedding_assets.corpus.formats.text import clean
from embedding_assets.errors import DocumentError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfTextPage

# PDFium writes U+FFFE for the hyphen at the end of a line, and no newline.
_LINE = re.compile(r"[^\r\n\ufffe]+\ufffe?")
_END_HYPHEN = "\ufffe"
_HYPHEN_CODE = 2  # the same, asked for as a character
_SOFT_HYPHEN = "\xad"
_DIGITS = re.compile(r"(?<=\S)\d+")
_MAX_RAISED = 6  # characters of an exponent
_SMALLER = 0.85
_GAP = 1.5  # sizes, between cells
_SPACE = re.compile(r"\s+")
_ITEM = re.compile(r"\W|\(?\w{1,3}[.)]")  # a bullet or a number
_SAME_ROW = 0.35  # sizes
_NO_SPACE = 0.1  # sizes
_WIDE = 1.1  # times the letters of close lines: only these are looked at for gaps
_MIN_SIDEWAYS_CHARS = 4  # of a line that shows in which direction its page is read

_FIXED_PITCH = 1
_MONOSPACED = re.compile(
    rb"mono|courier|typewriter|consol|menlo|(?:cm|sf|lm|ec)[a-z]*tt|txtt|nimbusm", re.IGNORECASE
)
_MAX_FONT_NAME = 64
_MAX_POINTS = 100_000

_Box = tuple[float, float, float, float]  # left, bottom, right, top, in points

_NO_TEXT = chain(range(0x20), range(0x7F, 0xA0), [0xAD, 0xFEFF, 0xFFFE, 0xFFFF])
_SPACES = chain(range(0x09, 0x0E), [0xA0, 0x202F, 0x205F], range(0x2000, 0x200B))
# Ligatures, the forms of Arabic letters, radicals that stand for Han characters.
_FORMS = chain(range(0x2E80, 0x2FD6), range(0xFB00, 0xFDFC), range(0xFE70, 0xFEFD))
_FOLDED = {
    **dict.fromkeys(_NO_TEXT, ""),
    **dict.fromkeys(range(0xE000, 0xF900), ""),  # private: only the font knows what they are
    **dict.fromkeys(_SPACES, " "),
    **{code: unicodedata.normalize("NFKC", chr(code)) for code in _FORMS},
}
_PRIVATE_BULLET = re.compile(r"[\ue000-\uf8ff](?=\s)")


class Line(NamedTuple):
    """A line of a page; lengths are in points, from the left and from below as it is read."""

    text: str
    page: int
    left: float
    right: float
    y: float  # of the line on which the letters stand
    size: float
    is_mono: bool
    is_row: bool  # has a gap, as between cells of a table


class Page(NamedTuple):
    """A page's lines, in the order of the file; ``is_turned`` if it lies on a side."""

    lines: list[Line]
    is_turned: bool = False


@contextmanager
def opened(data: bytes) -> Iterator["PdfDocument"]:
    """The document. Raises DocumentError if PDFium cannot open it."""
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as exc:
        raise DocumentError(_reason(exc.err_code)) from exc
    with closing(pdf):
        with suppress(pypdfium2.PdfiumError):
            pdf.init_forms()  # which draws the values of fields, whoever has filled them in
        yield pdf


def _reason(err_code: int | None) -> str:
    from pypdfium2.raw import FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY

    if err_code == FPDF_ERR_PASSWORD:
        return "it is encrypted with a password: save it without one"
    if err_code == FPDF_ERR_SECURITY:
        return "it is encrypted in a way that is not supported: save it without encryption"
    return "it is no PDF, or damaged or cut off: save it again"


def page_of(pdf: "PdfDocument", number: int) -> Page:
    """The page of that number, from 1; without lines if it is damaged."""
    from pypdfium2 import PdfiumError

    try:
        if pdf.formenv:
            _fill_in(pdf, number)
        with closing(pdf[number - 1]) as page, closing(page.get_textpage()) as textpage:
            return _lines_of(textpage, number, page.get_bbox())
    except PdfiumError:
        return Page([])


def _fill_in(pdf: "PdfDocument", number: int) -> None:
    """Makes what stands in the fields of a form a part of the page."""
    from pypdfium2.raw import FLAT_NORMALDISPLAY, FPDFPage_Flatten

    with closing(pdf[number - 1]) as page:
        FPDFPage_Flatten(page, FLAT_NORMALDISPLAY)


class _Glyphs:
    """The characters of a page; whatever is asked about one costs half a microsecond."""

    def __init__(self, textpage: "PdfTextPage") -> None:
        from pypdfium2 import raw

        self._pdfium = raw
        self._page = textpage.raw
        self._rect, self._matrix = raw.FS_RECTF(), raw.FS_MATRIX()
        self._x, self._y = c_double(), c_double()
        self._flags = c_int()
        self._name = create_string_buffer(_MAX_FONT_NAME)

    def char(self, at: int) -> str:
        code = self._pdfium.FPDFText_GetUnicode(self._page, at)
        return _END_HYPHEN if code == _HYPHEN_CODE else chr(min(code, sys.maxunicode))

    def origin(self, at: int) -> tuple[float, float]:
        """Where it stands on its line."""
        self._pdfium.FPDFText_GetCharOrigin(self._page, at, self._x, self._y)
        return self._x.value, self._y.value

    def box(self, at: int) -> _Box:
        """Left, bottom, right, top."""
        rect = self._rect
        self._pdfium.FPDFText_GetLooseCharBox(self._page, at, rect)
        return rect.left, rect.bottom, rect.right, rect.top

    def size(self, at: int) -> float:
        """Of the letter as it is shown: many programs set size 1 and enlarge it."""
        size: float = self._pdfium.FPDFText_GetFontSize(self._page, at)
        self._pdfium.FPDFText_GetMatrix(self._page, at, self._matrix)
        return size * hypot(self._matrix.c, self._matrix.d)

    def is_mono(self, at: int) -> bool:
        self._pdfium.FPDFText_GetFontInfo(self._page, at, self._name, _MAX_FONT_NAME, self._flags)
        return bool(self._flags.value & _FIXED_PITCH) or _is_mono_name(self._name.value)

    def has_gap(self, span: "_Span", size: float) -> bool:
        """Whether somewhere is more room than between words, but for that behind a bullet."""
        for space in _SPACE.finditer(span.text):
            if _ITEM.fullmatch(span.text, 0, space.start()):
                continue
            before = self.box(span.first + space.start() - 1)
            after = self.box(span.first + space.end())
            if max(after[0] - before[2], before[0] - after[2]) > _GAP * size:
                return True
        return False


@cache
def _is_mono_name(name: bytes) -> bool:
    return bool(_MONOSPACED.search(name))


class _Span(NamedTuple):
    """A line as PDFium has it: the numbers of its first and last character, and their places."""

    text: str
    first: int
    last: int
    origin: tuple[float, float]
    first_box: _Box
    last_box: _Box

    def is_in(self, window: _Box) -> bool:
        """Whether it is shown; of lines that are too long for their page only the beginning is."""
        return _overlap(self.first_box, window) or _overlap(self.last_box, window)


def _overlap(one: _Box, other: _Box) -> bool:
    """Whether the boxes have a point in common."""
    return all(one[n] <= other[n + 2] and other[n] <= one[n + 2] for n in (0, 1))


def _lines_of(textpage: "PdfTextPage", number: int, window: _Box) -> Page:
    glyphs = _Glyphs(textpage)
    text = textpage.get_text_range(errors="replace")
    n_chars = textpage.count_chars()
    if len(text) != n_chars:  # then a place in the text is not the number of a character
        text = "".join(map(glyphs.char, range(n_chars)))
    spans = [span for span in _spans(text, glyphs) if span.is_in(window)]
    placed, is_turned = _placing(spans)
    lines = []
    close = _close_advance(spans) if not is_turned else inf
    for span in spans:
        left, right, y = map(_sane, placed(span))
        samples = [span.first + at for at in _samples(span.text)]
        size = _sane(median_low(map(glyphs.size, samples)))
        line = plain(_with_carets(span, size, glyphs))
        if line:
            is_mono = all(map(glyphs.is_mono, samples)) and not has_wide(line)
            is_row = _advance(span) > _WIDE * close and glyphs.has_gap(span, size)
            lines.append(Line(line, number, left, right, y, size, is_mono, is_row))
    return Page(list(_rows(lines)), is_turned)


def _sane(points: float) -> float:
    """The number, if it can be a place on a page; a broken file has infinite ones."""
    return points if abs(points) < _MAX_POINTS else 0.0


def _rows(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines, one for those of a row: PDFium ends a line at an exponent, and between cells."""
    row: Line | None = None
    for line in lines:
        if row and abs(row.y - line.y) <= _SAME_ROW * line.size and line.left >= row.right:
            gap = (line.left - row.right) / line.size if line.size else 0.0
            row = row._replace(
                text=f"{row.text} {line.text}" if gap > _NO_SPACE else row.text + line.text,
                right=line.right,
                is_mono=row.is_mono and line.is_mono,
                is_row=row.is_row or line.is_row or (gap > _GAP and not _ITEM.fullmatch(row.text)),
            )
        else:
            if row:
                yield row
            row = line
    if row:
        yield row


def _spans(text: str, glyphs: _Glyphs) -> Iterator[_Span]:
    for match in _LINE.finditer(text):
        line = match[0].strip()
        if line:
            first = match.end() - len(match[0].lstrip())
            last = max(first, first + len(line.rstrip(_END_HYPHEN)) - 1)
            yield _Span(
                line, first, last, glyphs.origin(first), glyphs.box(first), glyphs.box(last)
            )


def _close_advance(spans: Sequence[_Span]) -> float:
    """How wide letters are in the lines of a page that have no gaps."""
    advances = sorted(map(_advance, spans))
    return advances[len(advances) // 4] if advances else 0.0


def _advance(span: _Span) -> float:
    return abs(span.last_box[2] - span.first_box[0]) / width_of(span.text)


def _samples(text: str) -> Iterator[int]:
    """Places of letters at the beginning, in the middle, at the end; spaces may have no font."""
    for sixth in (1, 3, 5):
        at = sixth * len(text) // 6
        yield at - (at > 0 and (text[at].isspace() or text[at] == _END_HYPHEN))


def _placing(spans: list[_Span]) -> tuple[Callable[[_Span], tuple[float, float, float]], bool]:
    """How to tell left, right and height of a line from boxes; and whether the page is turned."""
    directions = Counter(
        _direction(span) for span in spans if len(span.text) >= _MIN_SIDEWAYS_CHARS
    )
    direction = directions.most_common(1)[0][0] if directions else _across
    return direction, direction is not _across


def _direction(span: _Span) -> Callable[[_Span], tuple[float, float, float]]:
    first, last = span.first_box, span.last_box
    if abs(last[1] - first[1]) <= abs(last[0] - first[0]):
        return _across
    return _upwards if last[1] > first[1] else _downwards


def _across(span: _Span) -> tuple[float, float, float]:
    first, last = span.first_box, span.last_box
    return min(first[0], last[0]), max(first[2], last[2]), span.origin[1]


def _upwards(span: _Span) -> tuple[float, float, float]:
    return span.first_box[1], span.last_box[3], -span.origin[0]


def _downwards(span: _Span) -> tuple[float, float, float]:
    return -span.first_box[3], -span.last_box[1], span.origin[0]


def _with_carets(span: _Span, size: float, glyphs: _Glyphs) -> str:
    """The line with "^" before its exponents: digits that are smaller and higher than the line."""
    text, parts, done = span.text, [], 0
    for match in _DIGITS.finditer(text):
        at = match.end()
        if glyphs.size(span.first + at - 1) < _SMALLER * size:
            start = _start_of_raised(span, at, size, glyphs)
            if start > done:
                parts += [text[done:start], "^"]
                done = start
    return "".join([*parts, text[done:]])


def _start_of_raised(span: _Span, end: int, size: float, glyphs: _Glyphs) -> int:
    """Where the exponent begins that ends there; 0 if it is none."""
    small = _SMALLER * size
    start = end - 1
    while start > max(0, end - _MAX_RAISED) and glyphs.size(span.first + start - 1) < small:
        start -= 1
    if start == 0 or span.text[start - 1].isspace():
        return 0
    (x, y), (base_x, base_y) = (
        glyphs.origin(span.first + start),
        glyphs.origin(span.first + start - 1),
    )
    return start if y - base_y > (1 - _SMALLER) * size and x > base_x else 0


def plain(line: str) -> str:
    """The line in letters that mean the same in every font; a hyphen at its end is "-"."""
    line = _PRIVATE_BULLET.sub("•", line, count=1) if _PRIVATE_BULLET.match(line) else line
    if line.endswith((_END_HYPHEN, _SOFT_HYPHEN)):
        line = f"{line[:-1]}-"
    return unicodedata.normalize("NFC", clean(line.translate(_FOLDED))).strip()
