"""Pictures of an index: what the months held and cost, how long jobs took, a map of the corpus.

Belongs here: numbers in, the bytes of a PNG out; the same numbers make the same picture.
Does not belong here: finding the numbers (store/), where a picture is shown (pictures.py).

Every text is drawn as it is: what a folder is called is neither a formula nor a reason to fail.
matplotlib is loaded when something is drawn, and of it only what keeps no state between pictures.
"""

import io
import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import takewhile
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedding_assets.money.bill import Bill
from embedding_assets.wording import count, format_usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_MONTHS = 24
MAX_WAITS = 8  # builds whose waiting times are compared
MAX_FOLDERS = 7
MAX_POINTS = 2000  # more would only cover each other

# Chosen by Okabe and Ito to be told apart without seeing red or green; black comes last, and
# yellow is left out, because it cannot be seen on white. Each has a shape of its own as well.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_REST_COLOUR = "#B0B0B0"
_PALE, _STRONG = "#A6BFD1", "#0072B2"
_INK, _FRAME = "#222222", "#BBBBBB"

_WIDTH_IN = 6.4
_DPI = 100  # so many pixels as the page gives it: drawn smaller, text would be too small
_LABELLED_BARS = 8
_LABEL_CHARS = 20
_TITLE_CHARS = 80
_NO_GLYPH = "\N{WHITE SQUARE}"
_TOP, _OTHER = "(top folder)", "other"

# From as soon as can be told apart to Gemini's own limit and beyond.
_SHORTEST_WAIT_S = 1.0
_WAIT_TICKS = {
    1: "≤ 1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h",
    6 * 3600: "6 h", 24 * 3600: "1 day", 168 * 3600: "1 week",
}  # fmt: skip

# Two main components of any number of dimensions, to more digits than a picture shows.
_SUBSPACE = 8
_SWEEPS = 6

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What a month's index held, and what was sent and billed for it, by all of its builds."""

    month: str
    n_chunks: int  # of the build that readers saw last; 0 if they saw none
    bill: Bill


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long the batch jobs of one build took, in seconds from submission to their end."""

    label: str
    answered_s: tuple[float, ...]
    unanswered_s: tuple[float, ...]  # of jobs that failed, expired or were cancelled

    @property
    def all_s(self) -> tuple[float, ...]:
        return (*self.answered_s, *self.unanswered_s)


# --- months -----------------------------------------------------------------------------------


def draw_months(months: Sequence[Month], *, published: str) -> bytes:
    """Chunks, requests sent and dollars, a column a month; the newest MAX_MONTHS, oldest first.

    The title is about the month that readers see. Raises ValueError if it is not among them.
    """
    seen = next((month for month in months if month.month == published), None)
    if seen is None:
        raise ValueError(f"the published month {published} is not among those to draw")
    shown = months[-MAX_MONTHS:]
    figure = _figure(height_in=5.4)
    chunks, requests, dollars = figure.subplots(3, 1, sharex=True)
    _bars(chunks, [month.n_chunks for month in shown], _PALE, _short)
    _bars(requests, [month.bill.n_requests for month in shown], _STRONG, _short)
    _dollar_bars(dollars, shown)
    for axes, unit in ((chunks, "chunks in\nthe index"), (requests, "requests\nsent")):
        _y_axis(axes, unit, _short)
    _y_axis(dollars, "US dollars", lambda value: format_usd(Decimal(f"{value:.10f}")))
    every = math.ceil(len(shown) / _LABELLED_BARS)
    dollars.set_xticks(range(len(shown))[::-1][::every])
    dollars.set_xticklabels([month.month for month in shown][::-1][::every])
    for axes in (chunks, requests, dollars):
        axes.set_xlim(-0.7, max(len(shown), 4) - 0.3)
        axes.tick_params(axis="x", length=0)
    figure.align_ylabels()
    _title(
        figure,
        f"The index of {seen.month} has {count(seen.n_chunks, 'chunk')}; "
        f"{count(seen.bill.n_requests, 'request')} "
        f"{'was' if seen.bill.n_requests == 1 else 'were'} sent "
        f"for {format_usd(seen.bill.billed_usd)}",
    )
    return _png(figure)


def _dollar_bars(axes: "Axes", months: Sequence[Month]) -> None:
    estimated = [float(month.bill.estimated_usd) for month in months]
    billed = [float(month.bill.billed_usd) for month in months]
    at = np.arange(len(months))
    axes.bar(at - 0.2, estimated, 0.38, color=_PALE, label="estimated")
    axes.bar(at + 0.2, billed, 0.38, color=_STRONG, label="billed")
    higher = [max(pair) for pair in zip(estimated, billed, strict=True)]
    _label_bars(axes, higher, [format_usd(month.bill.billed_usd) for month in months])
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False, fontsize=8, borderpad=0
    )
    _head_room(axes, higher)


def _bars(axes: "Axes", values: Sequence[float], colour: str, show: Callable[[float], str]) -> None:
    axes.bar(range(len(values)), values, 0.78, color=colour)
    _label_bars(axes, values, [show(value) for value in values])
    _head_room(axes, values)


def _label_bars(axes: "Axes", heights: Sequence[float], labels: Sequence[str]) -> None:
    """Each with its value while there is room; of many only the newest."""
    first = 0 if len(labels) <= _LABELLED_BARS else len(labels) - 1
    for at, (height, label) in [*enumerate(zip(heights, labels, strict=True))][first:]:
        axes.annotate(
            label,
            (at, height),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=_INK,
            parse_math=False,
        )


def _head_room(axes: "Axes", values: Iterable[float]) -> None:
    highest = max(values)
    axes.set_ylim(0, 1.25 * highest if highest else 1)


def _y_axis(axes: "Axes", unit: str, show: Callable[[float], str]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylabel(unit, fontsize=9, color=_INK)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))


def _short(value: float) -> str:
    """``1,196`` and ``0.5``, but ``25k`` and ``1.2M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        # From where three digits of the smaller unit would be rounded up to a thousand.
        if value >= max(0.9995 * size, 10_000):
            return f"{value / size:.3g}{unit}"
    return f"{value:,g}"


# --- waiting times ----------------------------------------------------------------------------


def draw_waits(current: Waits, earlier: Sequence[Waits]) -> bytes:
    """How long each batch job took, a row a build, the newest on top; ``earlier`` oldest first.

    Raises ValueError if the current build had no batch job.
    """
    if not current.all_s:
        raise ValueError(f"{current.label} had no batch job whose waiting time could be drawn")
    rows = [current, *[waits for waits in reversed(earlier) if waits.all_s]][:MAX_WAITS]
    figure = _figure(height_in=1.4 + 0.45 * len(rows))
    axes = figure.subplots()
    for row, waits in enumerate(rows):
        _wait_row(axes, row, waits, _STRONG if waits is current else "#888888")
    labels = [f"{waits.label}\n{count(len(waits.all_s), 'job')}" for waits in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    _time_axis(axes, [seconds for waits in rows for seconds in waits.all_s])
    has_crosses = any(waits.unanswered_s for waits in rows)
    axes.set_xlabel(
        "time from submission to the end of a job; the line is the median"
        + ("\n(a cross: it ended without an answer)" if has_crosses else ""),
        fontsize=9,
        color=_INK,
    )
    _title(figure, _wait_sentence(current))
    return _png(figure)


def _wait_row(axes: "Axes", row: int, waits: Waits, colour: str) -> None:
    for seconds, marker in ((waits.answered_s, "o"), (waits.unanswered_s, "x")):
        # Beside each other, always in the same way: jobs of one submission end together.
        aside = [row + 0.5 * ((n + 1) * 0.618034 % 1 - 0.5) for n in range(len(seconds))]
        at = [max(value, _SHORTEST_WAIT_S) for value in seconds]
        axes.scatter(at, aside, s=22, marker=marker, color=colour, alpha=0.6, linewidths=1)
    middle = max(median(waits.all_s), _SHORTEST_WAIT_S)
    axes.plot([middle, middle], [row - 0.36, row + 0.36], color=_INK, linewidth=1.6)


def _time_axis(axes: "Axes", seconds: Sequence[float]) -> None:
    """Logarithmic, from a tick below the shortest to a tick above the longest."""
    shortest = max(min(seconds), _SHORTEST_WAIT_S)
    longest = max(max(seconds), _SHORTEST_WAIT_S)
    below = [tick for tick in _WAIT_TICKS if tick <= shortest][-1]
    above = next((tick for tick in _WAIT_TICKS if tick > longest), longest)
    axes.set_xscale("log")
    axes.set_xticks(list(_WAIT_TICKS), list(_WAIT_TICKS.values()), fontsize=9)
    axes.set_xlim(below / 1.25, above * 1.25)
    axes.minorticks_off()
    axes.grid(axis="x", color="#E5E5E5", linewidth=0.8)


def _wait_sentence(waits: Waits) -> str:
    middle, longest = show_seconds(median(waits.all_s)), show_seconds(max(waits.all_s))
    n_jobs = len(waits.all_s)
    if n_jobs == 1:
        return f"The one batch job of {waits.label} took {longest}"
    return (
        f"Half of the {n_jobs:,} batch jobs of {waits.label} took {middle} or less, the longest "
        f"{longest}"
    )


def show_seconds(seconds: float) -> str:
    """``4.2 s``, ``12 s``, ``12 min``, ``5.5 h``: two digits are all a person wants."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds)} s"


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"


# --- the map ----------------------------------------------------------------------------------


def draw_map(vectors: Floats, uris: Sequence[str], *, n_chunks: int) -> bytes:
    """A sample of an index's vectors on their two main components, a colour a folder.

    ``uris[i]`` is a document that has the text of ``vectors[i]``; ``n_chunks`` is how many there
    are to sample from. Raises ValueError for fewer than three: two points make no map.
    """
    if len(vectors) < 3:
        raise ValueError(f"{len(vectors)} vectors make no map")
    points, shares = two_main_components(vectors)
    figure = _figure(height_in=5.0)
    axes = figure.subplots()
    folders = _biggest(folders_of(uris))
    of_point = np.array([folders.get(folder, len(folders)) for folder in folders_of(uris)])
    handles = _scatter(axes, points, of_point, n_folders=len(folders))
    names = [*folders, *([_OTHER] if len(handles) > len(folders) else [])]
    if len(names) > 1:
        _legend(axes, handles, names)
    axes.set_aspect("equal", adjustable="datalim")
    for axis, which, share in ((axes.xaxis, "First", shares[0]), (axes.yaxis, "Second", shares[1])):
        label = f"{which} main component ({share:.1%} of the variance)"
        axis.set_label_text(label, fontsize=9, color=_INK)
    sampled = "" if len(vectors) == n_chunks else f"{len(vectors):,} of "
    coloured = "a colour a folder" if len(names) > 1 else "all of one folder"
    _title(
        figure,
        f"Chunks that are alike lie close together: {sampled}{n_chunks:,} chunks, {coloured}",
    )
    return _png(figure)


def two_main_components(vectors: Floats) -> tuple[Floats, tuple[float, float]]:
    """Where each vector lies on them, (rows, 2), and what share of the variance each has.

    By subspace iteration from a fixed start: a whole decomposition of 3,072 dimensions takes
    seconds, this a tenth of one.
    """
    centred = vectors - vectors.mean(axis=0)
    basis = np.random.default_rng(0).standard_normal((centred.shape[1], _SUBSPACE), np.float32)
    for _ in range(_SWEEPS):
        # (A.T B).T: with the long matrix on the right the product takes a tenth of the time.
        basis, _ = np.linalg.qr(((centred @ basis).T @ centred).T)
    _, _, rotation = np.linalg.svd(centred @ basis, full_matrices=False)
    axes = (basis @ rotation.T)[:, :2]
    # Mirrored it would be just as true, but months should look alike.
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    points = centred @ axes
    variance = float((centred**2).sum())
    first, second = (points**2).sum(axis=0) / variance if variance > 0 else (0.0, 0.0)
    return points, (float(first), float(second))


def folders_of(uris: Sequence[str]) -> list[str]:
    """The folder of each document below what is common to all."""
    paths = [uri.split("/")[:-1] for uri in uris]
    common = takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    n_common = sum(1 for _ in common)
    return [path[n_common] if len(path) > n_common else _TOP for path in paths]


def _biggest(folders: Sequence[str]) -> dict[str, int]:
    """The folders that get a colour, each with its number; by size, then by name."""
    biggest = Counter(sorted(folders)).most_common(MAX_FOLDERS)
    return {folder: number for number, (folder, _) in enumerate(biggest)}


def _scatter(axes: "Axes", points: Floats, of_point: Floats, *, n_folders: int) -> list[Any]:
    """Each point in the colour of its folder, the rest below them; a handle for each in use."""
    styles = [*zip(_COLOURS, _MARKERS, strict=True)][:n_folders]
    handles = []
    for number, (colour, marker) in enumerate([*styles, (_REST_COLOUR, ".")]):
        mine = points[of_point == number]
        if len(mine):
            handle = axes.scatter(
                mine[:, 0],
                mine[:, 1],
                s=14,
                color=colour,
                marker=marker,
                alpha=0.75,
                linewidths=0,
                zorder=1 if number == n_folders else 2,
            )
            handles.append(handle)
    return handles


def _legend(axes: "Axes", handles: Sequence[Any], names: Sequence[str]) -> None:
    # Names come later: matplotlib leaves out those that begin with an underscore.
    legend = axes.legend(
        handles,
        [str(number) for number in range(len(handles))],
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
        fontsize=8,
        handletextpad=0.2,
        markerscale=1.6,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_fontfamily(_FONT)
        text.set_text(_drawable(name))


def _drawable(name: str) -> str:
    """A name that fits, of characters that the font has."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont(_FONT))
    shown = "".join(
        letter if letter.isprintable() and font.get_char_index(ord(letter)) else _NO_GLYPH
        for letter in name
    )
    if len(shown) <= _LABEL_CHARS:
        return shown
    half = _LABEL_CHARS // 2
    return f"{shown[: half - 1]}…{shown[-half:]}"


# --- what all of them share -------------------------------------------------------------------

_FONT = "DejaVu Sans"  # it comes with matplotlib


def _figure(*, height_in: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, layout="constrained")


def _title(figure: "Figure", sentence: str) -> None:
    lines = textwrap.fill(sentence, _TITLE_CHARS)
    figure.suptitle(lines, fontsize=10.5, x=0.01, ha="left", color=_INK, parse_math=False)


def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_FRAME)
        axes.tick_params(axis="both", color=_FRAME, labelcolor=_INK, labelsize=8.5)
        axes.set_axisbelow(True)
    FigureCanvasAgg(figure)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi="figure", metadata={"Software": None})
    return out.getvalue()
