"""What is read of pages that is not their main text, and what of that is missing.

    python benchmarks/boilerplate.py sphinx=DIRECTORY docbook=DIRECTORY …

The main text is that of the elements in ``CHOSEN``, which were chosen by looking at pages of each
generator. Percentages are of characters in words, of the pages that are not kept whole because
little would be left of them; megabytes a second are of files, in CPU time.
"""

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from embedding_assets.corpus.formats.encodings import decode
from embedding_assets.corpus.formats.html.pages import read_html
from embedding_assets.corpus.formats.text import clean

# By generator: the main container, and what in it is no text.
CHOSEN = {
    "sphinx": ("div.body, [itemprop=articleBody]", ".headerlink, .contents, .viewcode-link"),
    "docbook": ("body", ".navheader, .navfooter, .toc:not(:has(.refpurpose)), img[alt^='[']"),
    "javadoc": ("main", "script, noscript"),
    "mkdocs": ("[role=main]", ".headerlink"),
    "texinfo": ("body", ".header, .section-toc, .chapter-toc, .Contents_element_top"),
    "doxygen": ("div.contents, div.headertitle", ".permalink, .toc, .lineno, .ingroups"),
    "rustdoc": ("#main-content", "#copy-path, .anchor, #toggle-all-docs"),
    "mdbook": ("main", ".buttons"),
    "nodejs": ("#apicontent", ".mark"),
}
NO_TEXT = (
    "head, script, style, svg, noscript, template, [hidden], [aria-hidden=true],"
    ' [style*="display:none"], [style*="display: none"]'
)
# fmt: off
INLINE = frozenset({
    "-text", "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "dfn", "em",
    "font", "i", "ins", "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike",
    "strong", "sub", "time", "tt", "u", "var", "wbr",
})
# fmt: on
MARKS = re.compile(r"^ *(?:(?:- |\d+\. |#+ )+|`{3,}.*$)", re.MULTILINE)
WORD = re.compile(r"[^\W_]+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sources", nargs="+", metavar="GENERATOR=DIRECTORY")
    parser.add_argument("--every", type=int, default=1, help="read every n-th page only")
    parser.add_argument("--worst", type=int, default=0, help="show that many of the worst pages")
    arguments = parser.parse_args()

    print("| pages of | pages | kept whole | boilerplate % | lost % | MB/s |\n|--|--|--|--|--|--|")
    for source in arguments.sources:
        generator, _, directory = source.partition("=")
        paths = sorted(path for path in Path(directory).rglob("*.html") if path.is_file())
        pages = list(measured(paths[:: arguments.every], generator))
        show(f"{generator}: {Path(directory).name}", pages, arguments.worst)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The words of a page that were read, and those of them that were chosen by hand."""

    path: Path
    n_bytes: int
    cpu_s: float
    is_whole: bool
    read: Counter[str]
    chosen: Counter[str]


def measured(paths: list[Path], generator: str) -> Iterator[Page]:
    """Pages in which there is something that was chosen: no frames, nor ways to other pages."""
    for path in paths:
        source = clean(decode(path.read_bytes(), may_have_meta=True))
        chosen = words(chosen_text(source, *CHOSEN[generator]))
        if chosen:
            started = time.process_time()
            extracted = read_html(source)
            yield Page(
                path=path,
                n_bytes=path.stat().st_size,
                cpu_s=time.process_time() - started,
                is_whole=bool(extracted.remark),
                read=words(MARKS.sub("", extracted.text)),
                chosen=chosen,
            )


def chosen_text(source: str, container: str, no_text: str) -> str:
    """What the chosen elements say: blocks and raised text are parted, inline markup is not."""
    tree = LexborHTMLParser(source)
    for node in tree.css(f"{NO_TEXT}, {no_text}"):
        node.remove()
    return "".join(part for node in tree.css(f":is({container})") for part in parts_of(node))


def parts_of(root: LexborNode) -> Iterator[str]:
    stack: list[LexborNode | str] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif node.tag == "-text":
            yield node.text_content or ""
        else:
            gap = "" if node.tag in INLINE else " "
            alternative = f" {node.attributes.get('alt') or ''} " if node.tag == "img" else ""
            stack += [gap, *reversed(list(node.iter(include_text=True))), gap + alternative]


def words(text: str) -> Counter[str]:
    return Counter(WORD.findall(text))


def n_chars(found: Counter[str]) -> int:
    return sum(len(word) * n for word, n in found.items())


def show(name: str, pages: list[Page], n_worst: int) -> None:
    usual = [page for page in pages if not page.is_whole]
    n_more = sum(n_chars(page.read - page.chosen) for page in usual)
    n_less = sum(n_chars(page.chosen - page.read) for page in usual)
    more = 100 * n_more / sum(n_chars(page.read) for page in usual)
    less = 100 * n_less / sum(n_chars(page.chosen) for page in usual)
    speed = sum(page.n_bytes for page in pages) / 1e6 / sum(page.cpu_s for page in pages)
    n_whole = len(pages) - len(usual)
    print(f"| {name} | {len(pages)} | {n_whole} | {more:.2f} | {less:.2f} | {speed:.1f} |")
    by_harm = sorted(pages, key=lambda p: n_chars(p.read - p.chosen) + n_chars(p.chosen - p.read))
    for page in reversed(by_harm[len(by_harm) - n_worst :]):
        print(page.path)
        print(f"  not chosen: {shown(page.read - page.chosen)}")
        print(f"  not read: {shown(page.chosen - page.read)}")


def shown(found: Counter[str]) -> str:
    return f"{n_chars(found)} characters, {' '.join(word for word, _ in found.most_common(12))}"


if __name__ == "__main__":
    main()
