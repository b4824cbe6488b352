"""Bookmarks of a PDF as headings: each at the lines that it names.

Belongs here: which lines a bookmark names, where it goes if it names none. Does not belong here:
reading bookmarks (outline.py).
"""

import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from embedding_assets.corpus.formats.pdf.outline import Bookmark
from embedding_assets.corpus.formats.pdf.pages import Line, Page
from embedding_assets.corpus.formats.pieces import Piece, heading

_MAX_LINES = 4  # of a heading
_MAX_FOUND = 20  # lines of a page that say the same
_MAX_NUMBER = 20  # letters of a number before a heading
_MAX_NUMBER_WORDS = 3  # such as "Chapter 12:"
_ROMAN = frozenset("IVXLC")
_MARKS = "()[].:;,-–—§#"  # noqa: RUF001
_MAX_BESIDE = 100  # lines of other columns, between a bookmark's place and its line
_SLACK = 20.0  # points by which a column may begin right of where a bookmark points
_NO_LETTERS = re.compile(r"[\W_]+")


class Way(IntEnum):
    """How the place of a heading was found."""

    NAMED = 0  # lines say what it says
    BEGUN = 1  # the line where it points begins with its words
    POINTED = 2  # by the height that the bookmark has
    TOP = 3  # only the page is known


class Place(NamedTuple):
    """Where a heading goes: before a line of a page; how many lines are the heading itself."""

    bookmark: Bookmark
    way: Way
    page: int
    at: int
    n_lines: int
    printed: str
    rest: str = ""  # of its line, that is text


class _Found(NamedTuple):
    """Lines that may be a heading, and the number before its words."""

    page: int
    at: int
    n_lines: int
    number: str


def placed(pages: Sequence[Page], bookmarks: Sequence[Bookmark]) -> list[Place]:
    """Where the bookmarks go, in the order of the text."""
    index = _index(pages, bookmarks)
    heights = {number: _heights(pages[number - 1]) for number in {b.page for b in bookmarks}}
    taken: set[tuple[int, int]] = set()
    places = []
    for bookmark in bookmarks:
        page = bookmark.page
        place = _named(pages, index, bookmark, taken) or _pointed(
            pages[page - 1], heights[page], bookmark
        )
        taken.update((place.page, at) for at in range(place.at, place.at + place.n_lines))
        places.append(place)
    return sorted(places, key=lambda place: (place.page, place.at))


def with_headings(pages: Sequence[Page], places: Sequence[Place]) -> Iterator[Line | Piece]:
    """The lines of all pages, headings in the place of those that name them."""
    of_page = defaultdict(list)
    for place in places:
        of_page[place.page].append(place)
    for number, page in enumerate(pages, start=1):
        done = 0
        for place in of_page[number]:
            yield from page.lines[done : place.at]
            yield _heading(place)
            if place.rest:
                yield page.lines[place.at]._replace(text=place.rest)
            done = max(done, place.at + place.n_lines)
        yield from page.lines[done:]


def _heading(place: Place) -> Piece:
    """As it is printed; it is called what the bookmark says, which often has no number."""
    bookmark = place.bookmark
    piece = heading(place.printed, bookmark.level, page=place.page)
    return piece._replace(label=bookmark.title)


# --- By its words ---------------------------------------------------------------------------------


def _index(
    pages: Sequence[Page], bookmarks: Sequence[Bookmark]
) -> dict[tuple[int, str], list[_Found]]:
    """By page and letters: the lines that say what some bookmark says."""
    wanted = {key for bookmark in bookmarks for key in _keys(bookmark.title)}
    max_letters = max(map(len, wanted), default=0)
    index: dict[tuple[int, str], list[_Found]] = defaultdict(list)
    for number in sorted({bookmark.page + n for bookmark in bookmarks for n in (-1, 0, 1)}):
        if 0 < number <= len(pages):
            lines = [line.text for line in pages[number - 1].lines]
            for letters, found in _headings_in(lines, number, max_letters):
                same = index[number, letters] if letters in wanted else []
                if len(same) < _MAX_FOUND:
                    same.append(found)
    return index


def _headings_in(lines: list[str], page: int, max_letters: int) -> Iterator[tuple[str, _Found]]:
    """The letters of lines, and of lines with those that follow, with and without a number."""
    letters = [_letters(line) for line in lines]
    for at, line in enumerate(lines):
        if len(letters[at]) > max_letters + _MAX_NUMBER:
            continue
        numbers = list(_numbers(line))
        text = ""
        for n_lines, more in enumerate(letters[at : at + _MAX_LINES], start=1):
            text += more
            for number in numbers:
                rest = text[len(_letters(number)) :]
                if 0 < len(rest) <= max_letters:
                    yield rest, _Found(page, at, n_lines, number)
            if len(text) > max_letters + _MAX_NUMBER:
                break


def _keys(title: str) -> list[str]:
    """The title's letters, with and without a number before it."""
    return [letters for number in _numbers(title) if (letters := _letters(title[len(number) :]))]


def _numbers(text: str) -> Iterator[str]:
    """What is perhaps a number before a heading's words, the empty one first."""
    yield ""
    end = 0
    for word in text.split(" ", _MAX_NUMBER_WORDS)[:_MAX_NUMBER_WORDS]:
        end += len(word) + (end > 0)
        bare = word.strip(_MARKS)
        if bare and (len(bare) == 1 or _ROMAN.issuperset(bare) or _has_digit(bare)):
            yield text[:end]


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))


def _named(
    pages: Sequence[Page],
    index: dict[tuple[int, str], list[_Found]],
    bookmark: Bookmark,
    taken: set[tuple[int, int]],
) -> Place | None:
    """The lines that say what the bookmark says; of several the largest, then the nearest."""

    def rank(found: _Found) -> tuple[float, float]:
        line = pages[found.page - 1].lines[found.at]
        return -round(line.size), abs((bookmark.y or line.y) - line.y)

    keys = _keys(bookmark.title)
    for page in (bookmark.page, bookmark.page + 1, bookmark.page - 1):
        for key in keys:
            free = [found for found in index.get((page, key), ()) if (page, found.at) not in taken]
            if free:
                found = min(free, key=rank)
                number = found.number if key == keys[0] else ""
                printed = f"{number} {bookmark.title}".lstrip()
                return Place(bookmark, Way.NAMED, page, found.at, found.n_lines, printed)
    return None


def _letters(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _NO_LETTERS.sub("", text).casefold()


# --- By its place ---------------------------------------------------------------------------------


def _pointed(page: Page, heights: list[tuple[float, int]], bookmark: Bookmark) -> Place:
    """Before the topmost line below the bookmark's place; at the top of the page without one."""
    if bookmark.y is None or page.is_turned or not heights:
        return Place(bookmark, Way.TOP, bookmark.page, 0, 0, bookmark.title)
    below = heights[bisect_left(heights, (-bookmark.y, 0)) :][:_MAX_BESIDE]
    left = (bookmark.x or 0.0) - _SLACK
    at = next((at for _, at in below if page.lines[at].left >= left), len(page.lines))
    rest = _rest(page.lines[at].text, bookmark.title) if at < len(page.lines) else ""
    way = Way.BEGUN if rest else Way.POINTED
    return Place(bookmark, way, bookmark.page, at, bool(rest), bookmark.title, rest)


def _heights(page: Page) -> list[tuple[float, int]]:
    """Lines by height, the topmost first."""
    return sorted((-line.y, at) for at, line in enumerate(page.lines))


def _rest(text: str, title: str) -> str:
    """What follows the title in a line that begins with it; empty if it does not."""
    rest = text.removeprefix(title)
    return rest.strip() if rest != text and not rest[:1].isalnum() else ""
