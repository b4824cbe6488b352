"""Lines of a PDF that are no text of it: running heads and feet, page numbers, tables of contents.

Belongs here: which lines these are. Does not belong here: what becomes of the others (text.py).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise, product, takewhile

from embedding_assets.corpus.formats.pdf.pages import Line
from embedding_assets.corpus.formats.pieces import Piece

_MIN_RUNNING = 3  # pages, or all of a file's two
_MAX_APART = 2  # pages; the heads of left and right pages differ
_MAX_EDGE = 6  # lines at the top of a page, and at its bottom
_MIN_SHARE = 0.7  # of the lines at a height; then all at that height are heads
_MAX_SIZE = 1.2  # times that of most letters; what is larger is a title

_NUMBER = re.compile(r"\d{1,9}|\b[ivxl]+\b")
_OUTER_NUMBERS = re.compile(r"^(?:\d{1,5}|[ivxl]+)(?!\S)|(?<!\S)(?:\d{1,5}|[ivxl]+)$")
_MAX_NUMBERS = 3  # of which each may count the pages
_PAGE_NUMBER = re.compile(r"(?:\d{1,4}|[ivxlIVXL]{1,7})$")
_LEADER = re.compile(r"[.·․…](?: ?[.·․…]){2,}$")  # noqa: RUF001
_LEADER_TAIL = 12
_MIN_ENTRIES = 3
_LARGER = 1.1  # times an entry, of a title
_MAX_BETWEEN = 3  # lines: an entry of several, or one without a leader


def without_running(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without the lines that stand at their edges page after page.

    These say the same at the same height on pages that follow each other, or on every second one,
    or begin or end with the number of the page. What is further in than a line that stays, stays.
    """
    max_size = _MAX_SIZE * usual_size(chain.from_iterable(pages))
    edges = [edge for page in pages for edge in _edges(page, max_size)]
    repeated = _repeated(edges, max(2, min(_MIN_RUNNING, len(pages))))
    heights = _heights(edges, repeated)
    offsets = {
        offset
        for edge in edges
        for line in edge
        if id(line) in repeated
        for offset in _offsets(line)
    }

    def is_running(line: Line) -> bool:
        if id(line) in repeated or round(line.y) in heights:
            return True
        return bool(_NUMBER.fullmatch(line.text)) and not offsets.isdisjoint(_offsets(line))

    running = {id(line) for edge in edges for line in takewhile(is_running, edge)}
    return [[line for line in page if id(line) not in running] for page in pages]


def usual_size(lines: Iterable[Line]) -> float:
    """That of most letters."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _edges(page: Sequence[Line], max_size: float) -> Iterator[list[Line]]:
    """The lines at the top and at the bottom, the outermost first, up to a large one."""
    by_height = sorted(page, key=lambda line: line.y)
    for edge in (by_height[: -_MAX_EDGE - 1 : -1], by_height[:_MAX_EDGE]):
        yield list(takewhile(lambda line: line.size <= max_size, edge))


def _repeated(edges: Iterable[Iterable[Line]], min_pages: int) -> set[int]:
    """By ``id``: the lines at the edges that others on so many pages nearby are like."""
    repeated: set[int] = set()
    chains: dict[tuple[object, ...], list[Line]] = {}
    for edge in edges:
        for line in edge:
            for key in _keys(line):
                chain = chains.setdefault(key, [])
                if chain and line.page - chain[-1].page > _MAX_APART:
                    chain.clear()
                if not chain or chain[-1].page != line.page:
                    chain.append(line)
                if len(chain) >= min_pages:
                    repeated.update(map(id, chain[-min_pages:]))
    return repeated


def _keys(line: Line) -> Iterator[tuple[object, ...]]:
    """What lines have in common that are alike: each number itself, or less that of the page."""
    y = round(line.y)
    numbers = list(map(_value, _NUMBER.findall(line.text)))
    words = _NUMBER.sub("0", line.text)
    is_relative = product((False, True), repeat=len(numbers))
    for relative in is_relative if len(numbers) <= _MAX_NUMBERS else [(False,) * len(numbers)]:
        pairs = zip(numbers, relative, strict=True)
        yield (y, words, relative, *(number - line.page * less for number, less in pairs))
    for offset in _offsets(line):
        yield y, offset


def _offsets(line: Line) -> set[int]:
    """By how much the numbers at the line's ends differ from that of the page."""
    return {_value(number) - line.page for number in _OUTER_NUMBERS.findall(line.text)}


def _value(number: str) -> int:
    if number.isdecimal():
        return int(number)
    values = [{"i": 1, "v": 5, "x": 10, "l": 50}[letter] for letter in number]
    return sum(-a if a < b else a for a, b in pairwise([*values, 0]))


def _heights(edges: Iterable[Sequence[Line]], repeated: set[int]) -> set[int]:
    """The heights at which heads and feet stand: also those that are on few pages."""
    outermost = [edge[0] for edge in edges if edge]
    n_lines = Counter(round(line.y) for line in outermost)
    n_repeated = Counter(round(line.y) for line in outermost if id(line) in repeated)
    return {y for y, n in n_repeated.items() if n >= max(_MIN_RUNNING, _MIN_SHARE * n_lines[y])}


def without_contents(page: Sequence[Line]) -> list[Line]:
    """A page without its table of contents: entries with dots up to page numbers that grow.

    A line without text takes their place, for ``without_titles_of_contents``.
    """
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
    first = min(dropped)
    return [
        line._replace(text="") if at == first else line
        for at, line in enumerate(page)
        if at == first or at not in dropped
    ]


def without_titles_of_contents(items: Iterable[Line | Piece]) -> list[Line | Piece]:
    """Lines and headings without those that stand above nothing but a table of contents."""
    kept: list[Line | Piece] = []
    contents: Line | None = None  # that was the item before
    for item in [*items, None]:
        if isinstance(item, Line) and not item.text:
            contents = contents or item
            continue
        if contents and kept and _is_title_of(contents, kept[-1], item):
            kept.pop()
        contents = None
        if item:
            kept.append(item)
    return kept


def _is_title_of(contents: Line, before: Line | Piece, after: Line | Piece | None) -> bool:
    if isinstance(before, Line):
        return before.size >= _LARGER * contents.size
    return after is None or (isinstance(after, Piece) and after.level <= before.level)


def _entry(line: Line) -> int | None:
    """The page that an entry of a table of contents names."""
    number = _PAGE_NUMBER.search(line.text)
    if number is None:
        return None
    before = line.text[: number.start()].rstrip()
    if not _LEADER.search(before[-_LEADER_TAIL:]):
        return None
    return int(number[0]) if number[0].isdecimal() else 0
