"""Headings of PDFs against their bookmarks, what is left out, time and memory.

    python benchmarks/pdf_sections.py FILE.pdf DIRECTORY …

A bookmark's heading is *named* if lines on its page, or on one beside, say what it says, *begun* if
its words begin the line where it points; else it goes there, or to the top of its page. *Left out*
are characters in words that PDFium reads, and that are neither in the text nor in its headings:
running heads, page numbers and tables of contents, as it should be. Each file is read in a process
of its own; *times* is its CPU time as a multiple of what PDFium takes to tell the bare text; memory
is what it takes beyond the file and the libraries.
"""

import argparse
import gzip
import multiprocessing
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.corpus.formats.pdf.document import read_pdf, text_of
from embedding_assets.corpus.formats.pdf.headings import Way, placed
from embedding_assets.corpus.formats.pdf.outline import bookmarks_of
from embedding_assets.corpus.formats.pdf.pages import opened, page_of
from embedding_assets.errors import DocumentError

WORD = re.compile(r"[^\W_]+")
HEADER = (
    "| file | pages | bookmarks | named | begun | pointed | top | left out % | pages/s | times "
    "| MB |\n"
    "|--|--|--|--|--|--|--|--|--|--|--|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--min-pages", type=int, default=1)
    parser.add_argument("--unnamed", type=int, default=0, help="show that many of each file")
    arguments = parser.parse_args()

    print(HEADER)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        read = pool.map(measured, files_of(arguments.paths))
        files = [file for file in read if file and file.n_pages >= arguments.min_pages]
        for file in files:
            show(file, arguments.unnamed)
    show(total_of(files), 0)


def files_of(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.name.endswith((".pdf", ".pdf.gz")))


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What was measured of a file."""

    name: str
    n_pages: int
    n_bookmarks: int
    ways: Counter[Way]
    n_letters: int
    n_left_out: int
    cpu_s: float
    pdfium_s: float
    peak_bytes: int
    unnamed: list[str]


def measured(path: Path) -> File | None:
    """None for a file that is not read."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    try:
        extracted = read_pdf(data)
    except DocumentError as exc:
        print(f"{path.name}: {exc}")
        return None
    cpu_s = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with opened(data) as pdf:
        pages = text_of([page_of(pdf, number) for number in range(1, len(pdf) + 1)])
        bookmarks = bookmarks_of(pdf)
        started = time.process_time()
        texts = [page.get_textpage().get_text_range() for page in pdf]
        pdfium_s = time.process_time() - started
    places = placed(pages, bookmarks)
    letters = letters_of(texts)
    missing = letters - letters_of([extracted.text])
    return File(
        name=path.name,
        n_pages=len(pages),
        n_bookmarks=len(bookmarks),
        ways=Counter(place.way for place in places),
        n_letters=letters.total(),
        n_left_out=missing.total(),
        cpu_s=cpu_s,
        pdfium_s=pdfium_s,
        peak_bytes=1024 * (peak - before),
        unnamed=[
            f"page {place.page}: {place.bookmark.title}"
            for place in places
            if place.way in (Way.POINTED, Way.TOP)
        ],
    )


def letters_of(texts: list[str]) -> Counter[str]:
    return Counter(letter for text in texts for letter in "".join(WORD.findall(text)).casefold())


def total_of(files: list[File]) -> File:
    return File(
        name="all",
        n_pages=sum(file.n_pages for file in files),
        n_bookmarks=sum(file.n_bookmarks for file in files),
        ways=sum((file.ways for file in files), Counter()),
        n_letters=sum(file.n_letters for file in files),
        n_left_out=sum(file.n_left_out for file in files),
        cpu_s=sum(file.cpu_s for file in files),
        pdfium_s=sum(file.pdfium_s for file in files),
        peak_bytes=max(file.peak_bytes for file in files),
        unnamed=[],
    )


def show(file: File, n_unnamed: int) -> None:
    print(
        f"| {file.name} | {file.n_pages:,} | {file.n_bookmarks:,} "
        f"| {' | '.join(f'{file.ways[way]:,}' for way in Way)} "
        f"| {100 * file.n_left_out / max(1, file.n_letters):.1f} "
        f"| {file.n_pages / file.cpu_s:,.0f} | {file.cpu_s / file.pdfium_s:.1f} "
        f"| {file.peak_bytes / 1e6:,.0f} |"
    )
    for title in file.unnamed[:n_unnamed]:
        print(f"    {title}")


if __name__ == "__main__":
    main()
