"""Lines of a PDF that are no text of it: running heads and feet, page numbers, tables of contents.

Belongs here: which lines these are. Does not belong here: what becomes of the others (pdf_text.py).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile

from embedding_assets.corpus.formats.pdf_pages import Line

_MIN_RUNNING = 3  # pages, or all of a file's two
_MAX_APART = 2  # pages; the heads of left and right pages differ
_MAX_EDGE = 6  # lines at the top of a page, and at its bottom
_MIN_SHARE = 0.7  # of the lines at a height; then all at that height are heads

_NUMBER = re.compile(r"\d+|\b[ivxl]+\b")
_MAX_DIGITS = 9
_PAGE_NUMBER = re.compile(r"(?:\d{1,4}|[ivxlIVXL]{1,7})$")
_LEADER = re.compile(r"[.·․…](?: ?[.·․…]){2,}$")  # noqa: RUF001
_LEADER_TAIL = 12
_MIN_ENTRIES = 3
_MAX_BETWEEN = 3  # lines: an entry of several, or one without a leader


def without_running(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without the lines that stand at their edges page after page.

    These say the same at the same height on pages that follow each other, or on every second one;
    numbers in them may count the pages. What is further in than a line that stays, stays.
    """
    edges = [_edges(page) for page in pages]
    repeated = _repeated(edges, max(2, min(_MIN_RUNNING, len(pages))))
    heights = _heights(edges, repeated)
    running = {
        id(line)
        for both in edges
        for edge in both
        for line in takewhile(lambda line: id(line) in repeated or round(line.y) in heights, edge)
    }
    return [[line for line in page if id(line) not in running] for page in pages]


def _edges(page: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The lines at the top and at the bottom, the outermost first."""
    by_height = sorted(page, key=lambda line: line.y)
    return by_height[: -_MAX_EDGE - 1 : -1], by_height[:_MAX_EDGE]


def _repeated(edges: list[tuple[list[Line], list[Line]]], min_pages: int) -> set[int]:
    """Which lines at the edges say the same on so many pages near each other."""
    chains: dict[int, list[Line]] = {}
    latest: dict[tuple[int, str], list[Line]] = defaultdict(list)
    for top, bottom in edges:
        for line in {id(line): line for line in (*top, *bottom)}.values():
            key = round(line.y), _NUMBER.sub("0", line.text)
            near = [other for other in latest[key] if line.page - other.page <= _MAX_APART]
            before = next((other for other in near if _goes_on(other, line)), None)
            chain = chains[id(before)] if before else []
            chain.append(line)
            chains[id(line)] = chain
            latest[key] = [*near, line]
    return {
        which for which, chain in chains.items() if len({line.page for line in chain}) >= min_pages
    }


def _goes_on(one: Line, other: Line) -> bool:
    """Whether their numbers are the same, or have grown with the pages."""
    n_pages = other.page - one.page
    pairs = zip(_numbers(one), _numbers(other), strict=True)
    return n_pages > 0 and all(b - a in (0, n_pages) for a, b in pairs)


def _numbers(line: Line) -> Iterator[int]:
    for number in _NUMBER.findall(line.text):
        yield int(number[-_MAX_DIGITS:]) if number.isdecimal() else _roman(number)


def _roman(number: str) -> int:
    values = [{"i": 1, "v": 5, "x": 10, "l": 50}[letter] for letter in number]
    return sum(-a if a < b else a for a, b in pairwise([*values, 0]))


def _heights(edges: list[tuple[list[Line], list[Line]]], repeated: set[int]) -> set[int]:
    """The heights at which heads and feet stand: also those that are on few pages."""
    outermost = [edge[0] for both in edges for edge in both if edge]
    n_lines = Counter(round(line.y) for line in outermost)
    n_repeated = Counter(round(line.y) for line in outermost if id(line) in repeated)
    return {y for y, n in n_repeated.items() if n >= max(_MIN_RUNNING, _MIN_SHARE * n_lines[y])}


def without_contents(page: Sequence[Line]) -> list[Line]:
    """A page without its table of contents: entries with dots up to page numbers that grow."""
    entries = [(at, number) for at, line in enumerate(page) if (number := _entry(line)) is not None]
    numbers = [number for _, number in entries]
    if len(entries) < _MIN_ENTRIES or numbers != sorted(numbers):
        return list(page)
    dropped = {at for at, _ in entries}
    for one, other in pairwise(sorted(dropped)):
        if other - one <= _MAX_BETWEEN + 1:
            dropped.update(range(one, other))
    for edge in (entries[0][0] - 1, entries[-1][0] + 1):  # of a chapter, without dots
        if 0 <= edge < len(page) and _PAGE_NUMBER.search(page[edge].text):
            dropped.add(edge)
    return [line for at, line in enumerate(page) if at not in dropped]


def _entry(line: Line) -> int | None:
    """The page that an entry of a table of contents names."""
    number = _PAGE_NUMBER.search(line.text)
    if number is None:
        return None
    before = line.text[: number.start()].rstrip()
    if not _LEADER.search(before[-_LEADER_TAIL:]):
        return None
    return int(number[0]) if number[0].isdecimal() else 0
