"""Lines of a PDF to paragraphs, lists and code, by where they stand and where they end.

Belongs here: which lines belong together. Does not belong here: which lines are text
(lines.py), which are headings (headings.py), how words are joined (words.py).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import groupby, pairwise

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.pdf.pages import Line
from embedding_assets.corpus.formats.pdf.words import (
    Words,
    ends_sentence,
    has_wide,
    is_cut,
    is_right_to_left,
    width_of,
    width_of_first_word,
)
from embedding_assets.corpus.formats.pieces import Piece

# In sizes of the letters.
_ALIGNED = 0.4  # lines that begin there or here begin at the same place
_SAME_ROW = 0.35
_DEFAULT_LEADING = 1.2
_MAX_LEADING = 2.5  # between two lines of a paragraph
_MIN_COLUMN = 10.0  # some 20 letters
_MAX_INDENT = 4.0  # between lines of one column
_MAX_HANGING = 8.0  # between a first line and the others

_SURE_GAP = 1.4  # times the usual distance of lines
_LIKELY_GAP = 1.15
_OTHER_SIZE = 1.12
_WINDOW = 6  # lines before and after that show how wide a column is
_MIN_LINES = 3  # that show it
_JUSTIFIED = 0.1  # sizes; lines of a justified paragraph end at the same place
_STICKING_OUT = 6.0  # points
_MAX_FOOTNOTES = 12  # paragraphs at the end of a page that are looked over
_MAX_BLANK_LINES = 3  # in code
_MAX_INDENT_CHARS = 80  # of code

_BULLET = re.compile(r"[•◦‣▪▫■□●○◆◇►▶❖✓✔➢➤⁃∙·*](?:\s+|$)")  # noqa: RUF001
_DASH = re.compile(r"[-–—]\s+")  # noqa: RUF001
_NUMBER = re.compile(r"(?:\(?\d{1,3}[.)]|\(?[a-z]\)|\(?[ivx]{1,5}\)|[a-z]\.)\s+")
_ARABIC = re.compile(r"\(?(\d{1,3})[.)]\s")
_LEADERS = re.compile(r" ?[.·․](?: ?[.·․]){3,}+ ?")  # noqa: RUF001


class _Kind(Enum):
    PROSE = auto()
    BULLET = auto()
    NUMBER = auto()
    CODE = auto()


class _Link(Enum):
    """How a line belongs to the one before."""

    NONE = ""  # another paragraph
    SPACE = " "  # it goes on
    NEWLINE = "\n"  # the same paragraph, another line of a table, an address, a program


@dataclass(slots=True)
class _Group:
    """Lines of a paragraph, an item, a program; ``links`` are those to the lines before."""

    kind: _Kind
    lines: list[Line]
    links: list[_Link] = field(default_factory=lambda: [_Link.NONE])
    leading: float = 0.0  # the distance of its first two lines

    def add(self, line: Line, link: _Link) -> None:
        if not self.leading and link is not _Link.NONE and line.page == self.lines[-1].page:
            self.leading = max(0.0, self.lines[-1].y - line.y)
        self.lines.append(line)
        self.links.append(link)


def pieces_of_lines(items: Sequence[Line | Piece]) -> Iterator[Piece]:
    """The paragraphs, lists and programs that the lines make, between the headings."""
    items = _without_fonts([_mirrored(item) if isinstance(item, Line) else item for item in items])
    lines = [item for item in items if isinstance(item, Line)]
    groups = _Grouping(_leadings(lines), _edges(lines)).groups(items)
    words = Words.of([line.text for line in lines])
    for is_item, run in groupby(groups, key=_is_item):
        if is_item:
            yield from _list_pieces([group for group in run if isinstance(group, _Group)], words)
        else:
            yield from (
                group if isinstance(group, Piece) else _piece(group, words) for group in run
            )


def _mirrored(line: Line) -> Line:
    """A line that is read from the right has its beginning on the left."""
    if not is_right_to_left(line.text):
        return line
    return line._replace(left=-line.right, right=-line.left)


def _without_fonts(items: list[Line | Piece]) -> list[Line | Piece]:
    """The items; if most lines are in a font of equal widths, that does not make them programs."""
    lines = [item for item in items if isinstance(item, Line)]
    if 2 * sum(line.is_mono for line in lines) <= len(lines):
        return items
    return [item._replace(is_mono=False) if isinstance(item, Line) else item for item in items]


# --- What is usual --------------------------------------------------------------------------------


def _leadings(lines: Iterable[Line]) -> dict[int, float]:
    """By size of letters: the usual distance of lines."""
    counts: dict[int, Counter[float]] = defaultdict(Counter)
    for a, b in pairwise(lines):
        leading, size = a.y - b.y, round(a.size)
        if a.page == b.page and size == round(b.size) and _is_leading(leading, a.size):
            counts[size][round(2 * leading) / 2] += 1
    return {size: count.most_common(1)[0][0] for size, count in counts.items()}


def _is_leading(distance: float, size: float) -> bool:
    return _SAME_ROW * size < distance < _MAX_LEADING * size


def _advance(line: Line) -> float:
    return (line.right - line.left) / max(1, width_of(line.text))


def _edges(lines: Sequence[Line]) -> dict[int, float]:
    """By ``id`` of lines: where the lines of their column end, if there are enough to tell."""
    by_left: dict[int, list[float]] = defaultdict(list)
    for line in lines:
        by_left[round(line.left)].append(line.right)
    usual = {left: _edge(rights) for left, rights in by_left.items() if len(rights) >= _MIN_LINES}
    edges = {}
    for column in _columns(lines):
        for at, line in enumerate(column):
            around = column[max(0, at - _WINDOW) : at + _WINDOW + 1]
            edge = _edge_around(line, around) or usual.get(round(line.left))
            if edge is not None:
                edges[id(line)] = edge
    return edges


def _edge_around(line: Line, around: Sequence[Line]) -> float | None:
    """Where the lines around end: those that begin as this one does, if they end alike."""
    slack = line.size if has_wide(line.text) else _JUSTIFIED * line.size
    alike = sorted(
        (other.right for other in around if abs(other.left - line.left) <= _JUSTIFIED * line.size),
        reverse=True,
    )
    if len(alike) >= _MIN_LINES and alike[0] - alike[min(2, len(alike) - 2)] <= slack:
        return alike[0]
    near = [
        other.right for other in around if abs(other.left - line.left) <= _MAX_INDENT * line.size
    ]
    return _edge(near) if len(near) >= _MIN_LINES else None


def _edge(rights: Iterable[float]) -> float:
    """How far lines reach; one that sticks out alone does not count."""
    ordered = sorted(rights, reverse=True)
    return next((a for a, b in pairwise(ordered) if a - b <= _STICKING_OUT), ordered[0])


def _columns(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Runs of lines on a page, each below the one before."""
    column: list[Line] = []
    for line in lines:
        if column and (line.page != column[-1].page or line.y > column[-1].y + line.size):
            yield column
            column = []
        column.append(line)
    yield column


# --- Lines to groups ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Grouping:
    """What is usual in a document, and so which lines belong together."""

    leadings: dict[int, float]
    edges: dict[int, float]

    def groups(self, items: Iterable[Line | Piece]) -> list[_Group | Piece]:
        groups: list[_Group | Piece] = []
        group: _Group | None = None
        for item in items:
            if isinstance(item, Piece):
                groups.append(item)
                group = None
                continue
            if group and _is_jump(group.lines[-1], item):
                group = self._interrupted(groups, item) or group
            link = self._link(group, item) if group else _Link.NONE
            if group and link is not _Link.NONE:
                group.add(item, link)
            else:
                group = _Group(_kind_of(item), [item])
                groups.append(group)
        return groups

    def _interrupted(self, groups: Sequence[_Group | Piece], line: Line) -> _Group | None:
        """The paragraph that the line at the top of a page or a column may continue.

        It is the last one, or the one before notes in smaller letters.
        """
        for group in groups[: -_MAX_FOOTNOTES - 1 : -1]:
            if isinstance(group, Piece):
                return None
            if group.lines[-1].size * _OTHER_SIZE > line.size:
                return group
        return None

    def _link(self, group: _Group, line: Line) -> _Link:
        before = group.lines[-1]
        if _is_other_size(before, line):
            return _Link.NONE
        if _is_jump(before, line):
            return self._link_over_jump(group, line)
        if group.kind is _Kind.CODE:
            is_near = before.y - line.y < _MAX_BLANK_LINES * self._leading(group, line)
            return _Link.NEWLINE if line.is_mono and is_near else _Link.NONE
        return self._link_in_column(group, line)

    def _link_over_jump(self, group: _Group, line: Line) -> _Link:
        if group.kind is _Kind.CODE:
            return _Link.NEWLINE if line.is_mono else _Link.NONE
        before = group.lines[-1]
        is_on = not _is_item_start(line) and not ends_sentence(before.text)
        is_forward = line.page != before.page or line.left > before.left
        if is_on and is_forward and not line.is_mono and self._is_full(before, line):
            return _Link.SPACE
        return _Link.NONE

    def _link_in_column(self, group: _Group, line: Line) -> _Link:
        before = group.lines[-1]
        gap = (before.y - line.y) / self._leading(group, line)
        is_full = self._is_full(before, line)
        has_ended = not is_full or ends_sentence(before.text)
        indent = (line.left - before.left) / line.size if line.size else 0.0
        # Or the first line is indented.
        is_hanging = is_full and len(group.lines) == 1 and abs(indent) <= _MAX_HANGING
        if gap > _SURE_GAP or (gap > _LIKELY_GAP and has_ended):
            return _Link.NONE
        if _is_item_start(line) and (has_ended or _is_next_item(group.lines[0], line)):
            return _Link.NONE
        if line.is_mono and has_ended:
            return _Link.NONE
        if abs(indent) > _ALIGNED and not is_hanging:
            return _Link.NONE
        if is_full and not (before.is_row and abs(indent) <= _ALIGNED):
            return _Link.SPACE
        return _Link.NONE if ends_sentence(before.text) else _Link.NEWLINE

    def _leading(self, group: _Group, line: Line) -> float:
        usual = self.leadings.get(round(line.size), _DEFAULT_LEADING * line.size)
        return group.leading or usual or 1.0

    def _is_full(self, line: Line, following: Line) -> bool:
        """Whether the first word of the following line would not have found room."""
        if is_cut(line.text):
            return True
        edge = self.edges.get(id(line), line.left)
        if following.is_row or edge - line.left < _MIN_COLUMN * line.size:
            return False
        return edge - line.right < (width_of_first_word(following.text) + 1) * _advance(line)


def _is_jump(before: Line, line: Line) -> bool:
    """Whether the line is on another page, or further up in another column."""
    return line.page != before.page or line.y > before.y + line.size


def _is_other_size(before: Line, line: Line) -> bool:
    small, large = sorted((before.size, line.size))
    return large > _OTHER_SIZE * small


def _kind_of(line: Line) -> _Kind:
    if _BULLET.match(line.text) or _DASH.match(line.text):
        return _Kind.BULLET
    if line.is_mono:
        return _Kind.CODE
    return _Kind.NUMBER if _NUMBER.match(line.text) else _Kind.PROSE


def _is_item_start(line: Line) -> bool:
    return _kind_of(line) in (_Kind.BULLET, _Kind.NUMBER)


def _is_next_item(first: Line, line: Line) -> bool:
    """Whether it is certain without regard to the line before: by its bullet or its number."""
    if _BULLET.match(line.text):
        return True
    before, number = _ARABIC.match(first.text), _ARABIC.match(line.text)
    return before is not None and number is not None and int(number[1]) == int(before[1]) + 1


def _is_item(group: _Group | Piece) -> bool:
    return isinstance(group, _Group) and group.kind in (_Kind.BULLET, _Kind.NUMBER)


# --- Groups to pieces -----------------------------------------------------------------------------


def _piece(group: _Group, words: Words) -> Piece:
    if group.kind is _Kind.CODE:
        return Piece(BlockKind.CODE, _code(group.lines), page=group.lines[0].page)
    return Piece(BlockKind.PROSE, _text(group, words), page=group.lines[0].page)


def _text(group: _Group, words: Words) -> str:
    links = (link.value for link in group.links)
    text = words.joined(zip(links, (line.text for line in group.lines), strict=True))
    return _LEADERS.sub(" … ", text)


def _code(lines: Sequence[Line]) -> str:
    """Indented as on the page, with blank lines where there is room for them."""
    longest = max(lines, key=lambda line: len(line.text))
    advance = max(_advance(longest), 1.0)
    margin = min(line.left for line in lines)
    leading = min(
        (a.y - b.y for a, b in pairwise(lines) if a.page == b.page and a.y - b.y > a.size / 2),
        default=1.0,
    )
    text = []
    for before, line in pairwise([lines[0], *lines]):
        n_lines = round((before.y - line.y) / leading) if before.page == line.page else 1
        text += [""] * min(n_lines - 1, _MAX_BLANK_LINES)
        indent = min(round((line.left - margin) / advance), _MAX_INDENT_CHARS)
        text.append(" " * indent + line.text)
    return "\n".join(["```", *text, "```"])


def _list_pieces(items: Sequence[_Group], words: Words) -> Iterator[Piece]:
    """A list; a single numbered paragraph is none."""
    if len(items) == 1 and items[0].kind is _Kind.NUMBER:
        yield _piece(items[0], words)
        return
    lefts: list[float] = []
    text = []
    for before, item in pairwise([items[0], *items]):
        first = item.lines[0]
        slack = _ALIGNED * first.size
        if _is_jump(before.lines[-1], first):  # to another column: it goes on at the same depth
            shift = first.left - before.lines[0].left
            lefts = [left + shift for left in lefts]
        while lefts and first.left < lefts[-1] - slack:
            lefts.pop()
        if not lefts or first.left > lefts[-1] + slack:
            lefts.append(first.left)
        indent = "    " * (len(lefts) - 1)
        text.append(indent + _item_text(item, words).replace("\n", f"\n{indent}  "))
    yield Piece(BlockKind.LIST, "\n".join(text), page=items[0].lines[0].page)


def _item_text(item: _Group, words: Words) -> str:
    text = _text(item, words)
    mark = _BULLET.match(text) or _DASH.match(text)
    return f"- {text[mark.end() :]}" if mark else text
