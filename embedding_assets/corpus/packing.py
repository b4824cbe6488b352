"""Packing: a tree of sections to parts of a text, each of the size of a chunk.

Belongs here: which cuts are taken, and which small parts go together. Does not belong here: where a
text may be cut (cuts.py), what a part is called (chunks.py).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from math import inf
from operator import attrgetter
from typing import NamedTuple
from zlib import crc32

from embedding_assets.corpus.cuts import Cut, cuts_of
from embedding_assets.corpus.rulers import Ruler
from embedding_assets.corpus.sections import Run, Section

# Shares of a full chunk. A section that is smaller than SMALL goes with its neighbours, the rest of
# a long one if it is smaller than SMALL_REST; and blocks are cut so that no CRUMB is left.
SMALL = 0.35
SMALL_REST = 0.2
CRUMB = 0.05
# From here on it does not matter how full a chunk is.
NEARLY_FULL = 0.75

# What makes a cut worse, on the scale of cuts.py. A chunk that is less than half full is worse than
# a cut in a block too large for a chunk, and better than one in a block that would fit.
_LESS_THAN_HALF = 3.5
_LEAVES_SMALL = 2
_LEAVES_CRUMB = 10

_LOT_CHARS = 40  # the beginning of a text by which its lot is drawn
_AFTER_ALL_LOTS = 1 << 33  # above CRC-32's numbers by more than any size
_PARTS_A_SEAM = 4  # of so many parts one is a seam, more or less
_START = attrgetter("start")


class Part(NamedTuple):
    """``text[start:end]`` of a document, the lines that it repeats, and what it is about."""

    start: int
    end: int
    section: Section
    anchor: str
    size: float  # repeated lines included
    prefix: str = ""
    suffix: str = ""
    is_whole: bool = True  # all of a section, or of what it has between others


def parts_of(section: Section, ruler: Ruler) -> list[Part]:
    """The parts of a section in order, each within the ruler's limits if it can be cut at all."""
    parts: list[Part] = []
    for item in section.items:
        if isinstance(item, Section):
            found = parts_of(item, ruler)
        else:
            found = list(_packed(item, section, ruler))
        parts += found if len(found) == 1 else (part._replace(is_whole=False) for part in found)
    return _merged(parts, section, ruler) if len(parts) > 1 else parts


def _packed(run: Run, section: Section, ruler: Ruler) -> Iterator[Part]:
    """Whole blocks together, as many as there is room for."""
    anchored = [block for block in run if block.anchor]
    for start, end, size, prefix, suffix in _cut(run, ruler):
        before = bisect_right(anchored, start, key=_START)
        anchor = anchored[before - 1].anchor if before else section.anchor
        yield Part(start, end, section, anchor, size, prefix, suffix)


def _cut(run: Run, ruler: Ruler) -> Iterator[tuple[int, int, float, str, str]]:
    """Start, end, size, prefix and suffix of every part of a run."""
    start, end, prefix, full = run[0].start, run[-1].end, "", ruler.max_chars
    size = ruler.size(start, end)
    if size > full:
        cuts = list(cuts_of(run, ruler, crumb=CRUMB * full))
        places = _places(start, end, cuts, ruler)
        first, origin, size = 0, 0.0, places[-1][0]
        while size > full and first < len(cuts):
            room = full if first else full - CRUMB * full  # for what may stand before the run
            n = _best(cuts, places, first, origin, room, ruler)
            cut, (to, onward) = cuts[n], places[n]
            if start < cut.end:
                size = to - origin + ruler.size_of(cut.suffix)
                yield start, cut.end, size, prefix, cut.suffix
            start, prefix, first = cut.start, cut.prefix, n + 1
            origin = onward - ruler.size_of(prefix)
            size = places[-1][0] - origin
    yield start, end, size, prefix, ""


def _places(start: int, end: int, cuts: Sequence[Cut], ruler: Ruler) -> list[tuple[float, float]]:
    """Of every cut, and of the end: the size of all before its end, and before its start."""
    places, at = [], 0.0
    for cut in (*cuts, Cut(end, end, 0)):
        to = at + ruler.size(start, cut.end)
        at = to + ruler.size(cut.end, cut.start)
        places.append((to, at))
        start = cut.start
    return places


def _best(
    cuts: Sequence[Cut],
    places: Sequence[tuple[float, float]],
    first: int,
    origin: float,
    room: float,
    ruler: Ruler,
) -> int:
    """Which cut ends a part best that begins before the first of them.

    Of equal ones that nearly fill a chunk the text behind them chooses, of others the last is best:
    so the cuts are soon the same again behind a text that was inserted.
    """
    full, end = ruler.max_chars, places[-1][0]
    best, least = first, (inf, inf)
    for n in range(first, len(cuts)):
        to, onward = places[n]
        size, rest = to - origin, end - onward
        if size + ruler.size_of(cuts[n].suffix) > room:
            break
        badness = (
            cuts[n].badness
            + _LESS_THAN_HALF * (size < full / 2)
            + _LEAVES_SMALL * (rest < SMALL_REST * full)
            + _LEAVES_CRUMB * (min(size, rest) < CRUMB * full)
        )
        rank = badness, _lot(ruler.text, cuts[n].start) if size > NEARLY_FULL * full else -size
        if rank <= least:
            best, least = n, rank
    return best


def _lot(text: str, start: int) -> int:
    """A number that depends only on how the text at ``start`` begins; it is below ``-size``."""
    return crc32(text[start : start + _LOT_CHARS].encode()) - _AFTER_ALL_LOTS


def _merged(parts: Sequence[Part], section: Section, ruler: Ruler) -> list[Part]:
    """Small parts go with the next one, else with the one before, and are about both.

    What is about the whole section anyway takes small ones until it is full, or nearly so.
    """
    merged: list[Part] = []
    for part in parts:
        if not merged:
            merged.append(part)
            continue
        last = merged.pop()
        takes_small = last.section is section and not _is_seam(last, part, ruler)
        is_open = _is_small(last, ruler) or (takes_small and _is_small(part, ruler))
        merged += _joined(last, part, section, ruler) if is_open else [last, part]
        if len(merged) > 2 and _is_small(merged[-2], ruler):
            merged[-3:-1] = _joined(merged[-3], merged[-2], section, ruler)
    if len(merged) > 1 and _is_small(merged[-1], ruler):
        merged[-2:] = _joined(merged[-2], merged[-1], section, ruler)
    return merged


def _is_seam(last: Part, part: Part, ruler: Ruler) -> bool:
    """The text of the one behind says that a chunk begins here, for the reason that `_best` has."""
    return last.size > ruler.max_chars / 2 and _lot(ruler.text, part.start) % _PARTS_A_SEAM == 0


def _is_small(part: Part, ruler: Ruler) -> bool:
    """The rest of a long section is not, unless it is a crumb: it has a place of its own."""
    return part.size < ruler.max_chars * (SMALL if part.is_whole else SMALL_REST)


def _joined(one: Part, two: Part, section: Section, ruler: Ruler) -> list[Part]:
    """Both as one if that is not too large, and has room for a crumb beside them."""
    size = one.size + ruler.size(one.end, two.start) + two.size
    crumb = CRUMB * ruler.max_chars
    if size > ruler.max_chars - (min(one.size, two.size) > crumb) * crumb:
        return [one, two]
    return [Part(one.start, two.end, section, one.anchor, size, one.prefix, two.suffix)]
