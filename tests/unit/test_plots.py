"""Pictures of an index: the same numbers make the same picture, and no name spoils it."""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedding_assets.defs import plots
from embedding_assets.defs.plots import (
    MAX_FOLDERS,
    MAX_MONTHS,
    Month,
    Waits,
    _short,
    draw_map,
    draw_months,
    draw_waits,
    folders_of,
    show_seconds,
    two_main_components,
)
from embedding_assets.money.bill import Bill

WIDTH_PX = 640  # what the web UI has room for
MAX_BYTES = 120_000

# Okabe and Ito's, but for yellow, which nobody sees on white.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
}

Picture = Callable[[], bytes]


def a_month(number: int, **changes: Any) -> Month:
    """A month of a growing index, counted from January 2025."""
    years, month = divmod(number, 12)
    values: dict[str, Any] = {
        "n_requests": 90 + number,
        "estimated_usd": Decimal("0.0125"),
        "billed_usd": Decimal("0.0123"),
    }
    n_chunks = changes.pop("n_chunks", 1200 + 10 * number)
    bill = Bill(**{**values, **changes})
    return Month(month=f"{2025 + years}-{month + 1:02}", n_chunks=n_chunks, bill=bill)


def drawn(months: Sequence[Month]) -> bytes:
    """The months, of which readers see the newest."""
    return draw_months(months, published=months[-1].month)


def waits(label: str, *answered_s: float, unanswered_s: Sequence[float] = ()) -> Waits:
    return Waits(label=label, answered_s=answered_s, unanswered_s=tuple(unanswered_s))


def vectors(n: int, dimensions: int = 16) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((n, dimensions)).astype(np.float32)


def a_map(*folders: str, n: int = 60) -> bytes:
    """A map of ``n`` chunks that are in these folders by turns."""
    uris = [f"/docs/{folders[number % len(folders)]}/{number}.md" for number in range(n)]
    return draw_map(vectors(n), uris, n_chunks=n)


def pixels(png: bytes) -> np.ndarray:
    """Red, green and blue of every pixel, a row each."""
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert image.width == WIDTH_PX
        return np.asarray(image.convert("RGB")).reshape(-1, 3)


def colours(png: bytes) -> list[str]:
    """Which of the colours for folders are seen, in their order; black is text as well."""
    found, counts = np.unique(pixels(png), axis=0, return_counts=True)
    return [
        name
        for name, colour in COLOURS.items()
        if counts[np.abs(found - on_white(colour)).max(axis=1) <= 2].sum() >= 20
    ]


def on_white(colour: str, opacity: float = 0.75) -> np.ndarray:
    """What is seen of a colour through which a little of the page shines."""
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return opacity * np.array(parts) + (1 - opacity) * 255


PICTURES: dict[str, Picture] = {
    "one month": lambda: drawn([a_month(0)]),
    "a year": lambda: drawn([a_month(n) for n in range(12)]),
    "five years": lambda: drawn([a_month(n) for n in range(60)]),
    "months of nothing": lambda: drawn(
        [a_month(n, n_chunks=0, n_requests=0, billed_usd=Decimal(0)) for n in range(2)]
    ),
    "a month of millions": lambda: drawn(
        [a_month(0, n_chunks=3_000_000, n_requests=3_000_000, billed_usd=Decimal(112))]
    ),
    "one job": lambda: draw_waits(waits("2026-11", 90.0), []),
    "a job of no time": lambda: draw_waits(waits("2026-11", 0.0), []),
    "a job of a month": lambda: draw_waits(waits("2026-11", 30 * 86_400.0), []),
    "jobs that died": lambda: draw_waits(waits("2026-11", unanswered_s=[172_800.0]), []),
    "jobs of twenty months": lambda: draw_waits(
        waits("2026-11", 60, 120, 240), [waits(f"month {n}", *range(1, n)) for n in range(20)]
    ),
    "three chunks": lambda: a_map("one", n=3),
    "one folder": lambda: a_map("one"),
    "many folders": lambda: a_map(*(f"folder {n}" for n in range(20))),
    "chunks all alike": lambda: draw_map(np.ones((5, 8), np.float32), ["a/b.md"] * 5, n_chunks=5),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_fits_the_page(name: str) -> None:
    """Whatever there is to draw, it is a PNG of the width of the page and some tens of kB."""
    png = PICTURES[name]()
    assert len(png) < MAX_BYTES
    assert len(np.unique(pixels(png), axis=0)) > 10


@pytest.mark.parametrize("name", ["one month", "one job", "many folders"])
def test_the_same_numbers_are_the_same_picture(name: str) -> None:
    """To the byte, also when several threads draw at once."""
    once = PICTURES[name]()
    with ThreadPoolExecutor(2) as pool:
        again = list(pool.map(lambda _: PICTURES[name](), range(2)))
    assert again == [once] * 2


def test_only_the_newest_months_are_shown() -> None:
    """A picture of many years is one of the newest two."""
    months = [a_month(n) for n in range(60)]
    assert drawn(months) == drawn(months[-MAX_MONTHS:])
    assert drawn(months) != drawn(months[:-1])


def test_what_is_not_there_is_not_drawn() -> None:
    """No month, no job and hardly a chunk are refused, with the reason."""
    with pytest.raises(ValueError, match="the published month 2025-01 is not among"):
        draw_months([], published="2025-01")
    with pytest.raises(ValueError, match="2026-11 had no batch job"):
        draw_waits(waits("2026-11"), [waits("2026-10", 60.0)])
    with pytest.raises(ValueError, match="2 vectors"):
        draw_map(vectors(2), ["a/b.md"] * 2, n_chunks=2)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5, "0.5"),
        (9_999, "9,999"),
        (25_000, "25k"),
        (999_499, "999k"),
        (999_999, "1M"),
        (1_200_000, "1.2M"),
        (1e9, "1G"),
    ],
)
def test_large_numbers_are_short(value: float, shown: str) -> None:
    """Three digits and a unit, never an exponent."""
    assert _short(value) == shown


def test_the_title_is_about_what_readers_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """A month that is being built is a column, and not the index."""
    titles: list[str] = []
    monkeypatch.setattr(plots, "_title", lambda _figure, sentence: titles.append(sentence))

    draw_months([a_month(0), a_month(1, n_chunks=0)], published="2025-01")

    assert titles == ["The index of 2025-01 has 1,200 chunks; 90 requests were sent for $0.0123"]


def test_builds_without_a_job_are_left_out() -> None:
    """A month that was sent synchronously is no row in the picture of waiting times."""
    current, earlier = waits("2026-11", 60.0, 90.0), waits("2026-09", 70.0)
    with_gap = draw_waits(current, [earlier, waits("2026-10")])
    assert with_gap == draw_waits(current, [earlier])


@pytest.mark.parametrize(
    "folders",
    [
        (r"$\frac{", "$a_1$ and $b^2$", "_private", "100%", "a very long name " * 20, " "),
        ("日本語のフォルダ", "🦊", "line\nbreak\ttab", "undecodable \udcff", "<img src=x>", ""),
    ],
)
def test_folders_may_be_called_anything(folders: tuple[str, ...]) -> None:
    """No name is taken for a formula, left out of the legend, or a warning for want of a glyph."""
    assert colours(a_map(*folders, n=240)) == [*COLOURS]


def test_every_folder_has_its_colour() -> None:
    """As many folders as there are colours for can be told apart; all others share a grey."""
    for n_folders in (1, 2, MAX_FOLDERS, MAX_FOLDERS + 5):
        png = a_map(*(f"folder {n}" for n in range(n_folders)), n=40 * n_folders)
        assert colours(png) == [*COLOURS][:n_folders]


@pytest.mark.parametrize(
    ("uris", "folders"),
    [
        (["/docs/a/1.md", "/docs/a/x/2.md", "/docs/b/3.md"], ["a", "a", "b"]),
        (["s3://bucket/docs/a/1.md", "s3://bucket/docs/b/c/1.md"], ["a", "b"]),
        (["/docs/1.md", "/docs/a/2.md"], ["(top folder)", "a"]),
        (["/docs/1.md", "/docs/2.md"], ["(top folder)", "(top folder)"]),
        (["/docs/a/1.md"], ["(top folder)"]),
        (["1.md", "/2.md"], ["(top folder)", ""]),
        ([], []),
    ],
)
def test_a_folder_is_the_first_one_below_what_is_common(
    uris: list[str], folders: list[str]
) -> None:
    """Where all documents are together says nothing; the first difference does."""
    assert folders_of(uris) == folders


def test_the_map_shows_the_two_main_components() -> None:
    """They are those of the whole decomposition; of a picture only mirrored ones would differ."""
    spread = np.diag([9.0, 5, *[1] * 14]).astype(np.float32)
    sample = vectors(500) @ spread
    centred = sample - sample.mean(axis=0)
    _, values, rows = np.linalg.svd(centred, full_matrices=False)
    points, shares = two_main_components(sample)
    for axis in (0, 1):
        correlation = np.corrcoef(points[:, axis], centred @ rows[axis])[0, 1]
        assert abs(correlation) == pytest.approx(1, abs=1e-4)
        assert shares[axis] == pytest.approx(values[axis] ** 2 / (values**2).sum(), rel=1e-3)


def test_the_map_is_not_mirrored_by_a_new_chunk() -> None:
    """Month after month the same folder is on the same side."""
    sample = vectors(500) @ np.diag([9.0, 5, *[1] * 14]).astype(np.float32)
    before, _ = two_main_components(sample[:-1])
    after, _ = two_main_components(sample)
    assert np.corrcoef(before[:, 0], after[:-1, 0])[0, 1] > 0.99
    assert np.corrcoef(before[:, 1], after[:-1, 1])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.42, "0.42 s"),
        (4.24, "4.2 s"),
        (99.4, "99 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3600, "60 min"),
        (5400, "90 min"),
        (7200, "2 h"),
        (19_800, "5.5 h"),
        (172_800, "48 h"),
        (2_592_000, "720 h"),
    ],
)
def test_seconds_are_shown_in_a_unit_that_people_use(seconds: float, shown: str) -> None:
    """Two digits, and never a hundred minutes."""
    assert show_seconds(seconds) == shown
