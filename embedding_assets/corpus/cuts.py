"""Cuts: the places at which a text may be cut, and how bad each of them is.

Belongs here: what rows, lines, items, sentences are, and which lines a part repeats. Does not
belong here: which of the places are taken (packing.py).
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.rulers import Ruler
from embedding_assets.corpus.sections import Run, depth_of, leads_on

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter

# How bad a cut is; all are worse by WHOLE in a block that would fit into a chunk.
BETWEEN, MAJOR, MINOR, FINE = range(4)  # blocks; outer items, rows; inner ones, sentences; words
WHOLE = 3
LEADING = 20  # behind what leads on to the next block or line

# The splitter's time grows with the square of the number of units (words, sentences, lines) that
# it sees at once: 800 kB on one line take it ten times as long in one call as in windows of 16
# chunks' worth, and 5 MB over half a minute instead of a second (benchmarks/splitting.py).
WINDOW_CHUNKS = 16

_CUT_ROOM = 1.05  # times the size of what is cut
# Possessive, or a line of spaces or of backticks would take time with the square of its length.
_ITEM_MARK = r"[ \t]*+(?:[-*+•]|\w{1,4}[.)])[ \t]++"
_ITEM = re.compile(_ITEM_MARK)
_FENCE = re.compile(rf"(?:{_ITEM_MARK})?[ \t]*+(?P<mark>`{{3,}}+(?!.*`)|~{{3,}}+)")
_RULE = re.compile(r"[ \t|:]*-[ \t|:-]*")  # below the header of a table
_SENTENCE_END = re.compile(
    r"""[.!?…]["'”’)\]*_`]{0,3}(?=\s)|[。！？]["”’」』）]{0,3}|(?=\n)"""  # noqa: RUF001
)
_SPACE = re.compile(r"\s*")


class Cut(NamedTuple):
    """A place between ``text[:end]`` and ``text[start:]``, with white space between them."""

    end: int
    start: int
    badness: int
    suffix: str = ""  # what the part before it needs at its end
    prefix: str = ""  # what the part behind it repeats


def cuts_of(run: Run, ruler: Ruler, *, crumb: float) -> Iterator[Cut]:
    """The places in a run of blocks, in order; what is between two of them fits into a chunk.

    A block has some of its own if it is too large for a chunk or leaves only a crumb's room there.
    """
    previous = run[0]
    for n, block in enumerate(run):
        if n:
            yield Cut(previous.end, block.start, _badness(previous, block, ruler.text))
        size = ruler.size(block.start, block.end)
        if size > ruler.max_chars - crumb:
            cuts = _inner_cuts(block, ruler)
            is_whole = size <= ruler.max_chars
            yield from (
                (cut._replace(badness=cut.badness + WHOLE) for cut in cuts) if is_whole else cuts
            )
        previous = block


def _badness(block: Block, following: Block, text: str) -> int:
    """Of a cut between two blocks; headings and terms without content do not need the next one."""
    is_bare = block.opens_section and following.opens_section
    if is_bare and depth_of(following) <= depth_of(block):
        return MINOR
    return LEADING if leads_on(text, block) else BETWEEN


def _inner_cuts(block: Block, ruler: Ruler) -> Iterator[Cut]:
    """Between lines, where these make up the block; in lines of more than half a chunk, too."""
    end = start = block.start
    prefix = ""
    for cut in chain(_line_cuts(block, ruler), [Cut(block.end, block.end, BETWEEN)]):
        if ruler.size(start, cut.end) > ruler.max_chars / 2:
            indented = _after_space(ruler.text, start, cut.end)
            if start < indented:
                yield Cut(end, indented, LEADING, prefix=prefix)
            room = ruler.max_chars - ruler.size_of(prefix) - ruler.size_of(cut.suffix)
            for fine in _fine_cuts(indented, cut.end, ruler, room):
                yield Cut(fine.end, fine.start, fine.badness, cut.suffix, prefix)
        if cut.end < block.end:
            yield cut
        end, start, prefix = cut.end, cut.start, cut.prefix


def _line_cuts(block: Block, ruler: Ruler) -> Iterator[Cut]:
    match block.kind:
        case BlockKind.TABLE:
            return _cuts_of_table(block, ruler)
        case BlockKind.CODE | BlockKind.LIST:
            return _cuts_of_lines(block, ruler)
        case _:
            return iter(())


def _cuts_of_table(block: Block, ruler: Ruler) -> Iterator[Cut]:
    text, rows = ruler.text, list(_lines(block, ruler.text))
    n_header = next((n for n, row in enumerate(rows, 1) if _RULE.fullmatch(text, *row)), 0)
    header = text[block.start : rows[n_header - 1][1]] + "\n" if n_header else ""
    prefix = header if _is_short(header, ruler) else ""
    for n, (row, following) in enumerate(pairwise(rows), 1):
        if n <= n_header:
            yield Cut(row[1], following[0], LEADING)
        else:
            yield Cut(row[1], following[0], MAJOR, prefix=prefix)


def _cuts_of_lines(block: Block, ruler: Ruler) -> Iterator[Cut]:
    """Of code, or of a list, which may have code in it: what is cut is fenced on both sides."""
    text = ruler.text
    top = block.start - text.rfind("\n", 0, block.start) - 1  # how far a list is indented
    mark = opening = closing = ""  # of the code that is open
    for line, following in pairwise(_lines(block, text)):
        here, there = text[slice(*line)], text[slice(*following)]
        begins = False
        if not mark and (fence := _FENCE.match(here)):
            mark, begins = fence["mark"], True
            opening, closing = _fences(fence, ruler)
        elif mark and _is_end(here, mark):
            mark = opening = closing = ""
        ends = mark != "" and _is_end(there, mark)
        is_apart = following[0] > line[1] + 1  # there is a blank line between
        is_item = block.kind is BlockKind.LIST and not mark and _ITEM.match(there) is not None
        if begins or ends:
            badness = LEADING
        elif is_apart or is_item:
            badness = MAJOR if _indentation(there) <= top else MINOR
        else:
            badness = FINE
        yield Cut(line[1], following[0], badness, closing, opening)


def _fences(fence: re.Match[str], ruler: Ruler) -> tuple[str, str]:
    """What a part of code begins with and ends with: without the language if that is too long."""
    indent, mark = " " * fence.start("mark"), fence["mark"]
    closing = f"\n{indent}{mark}"
    for line in (fence.string[fence.start("mark") :], mark):
        opening = f"{indent}{line}\n"
        if _is_short(opening + closing, ruler):
            return opening, closing
    return "", ""


def _is_end(line: str, mark: str) -> bool:
    """As Markdown has it, but at any indentation: it may be in an item."""
    bare = line.strip()
    return bare.startswith(mark) and not bare.strip(mark[0])


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _lines(block: Block, text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the lines that are not blank, without white space at their ends."""
    start = block.start
    for line in text[block.start : block.end].split("\n"):
        if bare := line.rstrip():
            yield start, start + len(bare)
        start += len(line) + 1


def _is_short(repeated: str, ruler: Ruler) -> bool:
    return ruler.size_of(repeated) < ruler.max_chars / 2


def _fine_cuts(start: int, end: int, ruler: Ruler, room: float) -> Iterator[Cut]:
    """Behind sentences and lines; between words in what is larger than the room."""
    for cut in chain(_sentence_cuts(start, end, ruler.text), [Cut(end, end, BETWEEN)]):
        if ruler.size(start, cut.end) > room:
            words = _words(start, cut.end, ruler, room / 2)
            yield from (Cut(one[1], two[0], FINE) for one, two in pairwise(words))
        if cut.end < end:
            yield cut
        start = cut.start


def _sentence_cuts(start: int, end: int, text: str) -> Iterator[Cut]:
    for found in _SENTENCE_END.finditer(text, start, end):
        if found.end() > start:
            start = _after_space(text, found.end(), end)
            is_sentence = found[0] != "" and not text[start : start + 1].islower()
            if is_sentence or "\n" in text[found.end() : start]:
                yield Cut(found.end(), start, MINOR if is_sentence else FINE)


def _after_space(text: str, start: int, end: int) -> int:
    space = _SPACE.match(text, start, end)
    return space.end() if space else start


def _words(start: int, end: int, ruler: Ruler, room: float) -> Iterator[tuple[int, int]]:
    """Start and end of parts of about the size, cut between words where there are any."""
    max_chars = max(1, int(room))
    splitter = _splitter(max_chars)
    while start < end:
        window = ruler.text[start : min(end, start + WINDOW_CHUNKS * max_chars)]
        found = splitter.chunk_indices(window)
        is_last = start + len(window) >= end
        # The continuation of the last part was out of sight.
        n_final = len(found) if is_last else max(1, len(found) - 1)
        for offset, part in found[:n_final]:
            yield from _within(room, start + offset, part, ruler)
        start += found[n_final][0] if n_final < len(found) else len(window)


def _within(room: float, start: int, part: str, ruler: Ruler) -> Iterator[tuple[int, int]]:
    """The part; or its own parts, cut as if they had to have fewer characters."""
    size = ruler.size_of(part)
    if size <= room or len(part) == 1:
        yield start, start + len(part)
        return
    # Parts of about the same size, with room for cuts that fall early, or a crumb would be left
    # over. Always fewer characters than the part has, so that this ends.
    n_parts = int(size * _CUT_ROOM / room) + 1
    max_chars = max(1, int(len(part) * _CUT_ROOM / n_parts))
    for offset, smaller in _splitter(max_chars).chunk_indices(part):
        yield from _within(room, start + offset, smaller, ruler)


@lru_cache
def _splitter(max_chars: int) -> "TextSplitter":
    from semantic_text_splitter import TextSplitter

    return TextSplitter(max_chars)
