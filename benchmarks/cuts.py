"""Where the cuts fall in real documents: crumbs, broken code, terms without their definition.

    python benchmarks/cuts.py DIR [DIR ...] [--max-chars 2000]  # as this code reads and cuts them
    python benchmarks/cuts.py --index FILE                      # as an index has published them

An index may be of any version of this project: its view published_chunks is read. Pages must still
be where its uris say, for terms are looked up in them. Documents of a directory are then edited,
each once a way, and what would be sent again is counted. What is a fence or a table has rules of
its own here: those of the code would not see their own mistakes.
"""

import argparse
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.find import find_documents
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.errors import DocumentError

MAX_TOKENS = 2048
CRUMB_CHARS = 100
PARAGRAPH = "This paragraph was not there before, and says nothing that the others would know of."

_HEADING_OR_FENCE = re.compile(r"#{1,6} |```|~~~")
_FENCE = re.compile(r"[ \t]*(?P<mark>`{3,}(?!.*`)|~{3,})")
_CODE = re.compile(r"^[ \t]*(`{3,}|~{3,}).*?^[ \t]*\1", re.MULTILINE | re.DOTALL)
_RULE = re.compile(r"[|: -]*-[|: -]*")
_FIRST_CHARS = 60  # of a definition
_MARKS = "a.headerlink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A chunk, wherever it comes from."""

    uri: str
    text: str
    has_place: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A document and what it was read from."""

    uri: str
    extracted: Extracted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("directories", nargs="*", metavar="DIR")
    parser.add_argument("--index", type=Path, metavar="FILE")
    parser.add_argument("--max-chars", type=int, default=2000)
    arguments = parser.parse_args()
    if bool(arguments.directories) == bool(arguments.index):
        parser.error("directories or --index")
    if arguments.index:
        report(list(published(arguments.index)))
        return
    chunker = Chunker(max_chars=arguments.max_chars, max_tokens=MAX_TOKENS)
    documents = list(read(arguments.directories))
    started = time.process_time()
    pieces = list(cut(documents, chunker))
    seconds = time.process_time() - started
    report(pieces)
    n_chars = sum(len(each.extracted.text) for each in documents)
    show("MB a second, cutting alone", n_chars / seconds / 1e6)
    report_edits([each.extracted for each in documents], chunker)


def published(index: Path) -> Iterator[Piece]:
    """What an index has published; before it kept sections, only a heading told a chunk's place."""
    with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT * FROM published_chunks ORDER BY uri, position")
        columns = [column for column, *_ in rows.description]
        for row in rows:
            values = dict(zip(columns, row, strict=True))
            place = f"{values['title']}{values['section']}" if "section" in values else ""
            text = values["text"]
            has_place = bool(place) or text.startswith("#")
            yield Piece(uri=values["uri"], text=text, has_place=has_place)


def read(directories: Sequence[str]) -> Iterator[Read]:
    extraction = Extraction()
    for source in find_documents(directories):
        path = Path(str(source.path))
        try:
            extracted = extraction.extract(
                path.read_bytes(), source.media_type, fallback_title=path.stem
            )
        except DocumentError as exc:
            print(f"{path}: {exc}")
        else:
            yield Read(uri=str(path), extracted=extracted)


def cut(documents: Iterable[Read], chunker: Chunker) -> Iterator[Piece]:
    for document in documents:
        extracted = document.extracted
        for chunk in chunker.split(extracted.title, extracted.text, extracted.blocks):
            has_place = bool(extracted.title or chunk.section)
            yield Piece(uri=document.uri, text=chunk.passage.text, has_place=has_place)


def report(pieces: Sequence[Piece]) -> None:
    """Print counts, and shares of all chunks."""
    texts = [piece.text for piece in pieces]
    fenced = [piece.text for piece in pieces if not piece.uri.endswith(".rst")]
    n_chars, n_chunks = sum(map(len, texts)), len(texts)
    by_uri = {uri: list(group) for uri, group in groupby(pieces, key=attrgetter("uri"))}
    n_crumbs = sum(
        len(piece.text) < CRUMB_CHARS
        for group in by_uri.values()
        if sum(len(piece.text) for piece in group) >= CRUMB_CHARS
        for piece in group
    )
    n_terms = n_cut = 0
    for uri, group in by_uri.items():
        if uri.endswith((".html", ".htm")):
            found = list(terms(Path(uri), [piece.text for piece in group]))
            n_terms, n_cut = n_terms + len(found), n_cut + found.count(False)
    print(f"{len(by_uri):,} documents, {n_chars / 1e6:.1f} MB in {n_chunks:,} chunks")
    show("chunks a MB", n_chunks / n_chars * 1e6)
    show("characters a chunk", n_chars / n_chunks)
    show(f"below {CRUMB_CHARS} characters", n_crumbs, n_chunks)
    show("only headings or fences", sum(map(is_bare, texts)), n_chunks)
    show("broken fences", sum(map(has_open_fence, fenced)), n_chunks)
    show("tables without header", sum(map(has_bare_table, texts)), n_chunks)
    show("without a place", sum(not piece.has_place for piece in pieces), n_chunks)
    show("terms cut from definition", n_cut, n_terms)


def show(name: str, value: float, of: int | None = None) -> None:
    share = f"{100 * value / of:8.2f} % of {of:,}" if of else ""
    number = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
    print(f"{name:>34} {number:>10} {share}")


def is_bare(text: str) -> bool:
    lines = filter(str.strip, text.split("\n"))
    return all(_HEADING_OR_FENCE.match(line) for line in lines)


def has_open_fence(text: str) -> bool:
    mark = ""
    for line in text.split("\n"):
        bare_line = line.strip()
        if mark and bare_line.startswith(mark) and not bare_line.strip(mark[0]):
            mark = ""
        elif not mark and (fence := _FENCE.match(line)):
            mark = fence["mark"]
    return mark != ""


def has_bare_table(text: str) -> bool:
    """Some rows have no rule of dashes above them, outside code."""
    lines = _CODE.sub("", text).split("\n")
    tables = (list(rows) for is_row, rows in groupby(lines, key=is_table_row) if is_row)
    return any(len(rows) > 1 and not any(map(_RULE.fullmatch, rows)) for rows in tables)


def is_table_row(line: str) -> bool:
    return line.startswith("|") and not line.startswith("||") and line.count("|") > 1


def terms(page: Path, texts: Sequence[str]) -> Iterator[bool]:
    """For each term of a page's definition lists: is the beginning of its definition in its chunk?

    Letters and digits alone are compared. Terms that are in no chunk or have no definition in one
    are left out.
    """
    bare_texts = [bare(text) for text in texts]
    whole = "\n".join(bare_texts)
    tree = LexborHTMLParser(page.read_bytes())
    for mark in tree.css(_MARKS):
        mark.decompose()
    for node in tree.css("dt"):
        term, definition = bare(node.text()), bare(beginning_of_definition(node))[:_FIRST_CHARS]
        if term and definition and term in whole and definition in whole:
            yield any(term in text and definition in text for text in bare_texts)


def beginning_of_definition(term: LexborNode) -> str:
    """What the first block of it has; nothing if no definition follows."""
    node = term.next
    while node is not None and node.is_text_node:
        node = node.next
    if node is None or node.tag != "dd":
        return ""
    children = (child.text() for child in node.iter(include_text=True))
    return next(filter(str.strip, children), "")


def bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


def report_edits(documents: Sequence[Extracted], chunker: Chunker) -> None:
    """Print what is sent again when each document is edited alone."""
    n_inserted = n_sent = n_chunks = n_renamed = n_released = 0
    for document in documents:
        before = sent(document, chunker)
        n_chunks += len(before)
        n_renamed += len(sent(replace(document, title="Another title"), chunker) - before)
        old, new = (sent(of_release(document, release), chunker) for release in ("6.1", "6.2.1"))
        n_released += len(new - old)
        if inserted := with_paragraph(document):
            n_inserted += 1
            n_sent += len(sent(inserted, chunker) - before)
    show("sent again per inserted paragraph", n_sent / max(n_inserted, 1))
    show("sent again after another title", n_renamed, n_chunks)
    show("sent again after another release", n_released, n_chunks)


def sent(document: Extracted, chunker: Chunker) -> set[bytes]:
    chunks = chunker.split(document.title, document.text, document.blocks)
    return {chunk.passage.sha256 for chunk in chunks}


def of_release(document: Extracted, release: str) -> Extracted:
    """The same, with a version in its title as many books have it in the titles of all pages."""
    return replace(document, title=f"{document.title} — Book {release} documentation")


def with_paragraph(document: Extracted) -> Extracted | None:
    """The document with one more paragraph behind that in its middle, if it has paragraphs."""
    places = [n for n, block in enumerate(document.blocks) if block.kind is BlockKind.PROSE]
    if not places:
        return None
    middle = places[len(places) // 2]
    before, behind = document.blocks[: middle + 1], document.blocks[middle + 1 :]
    at, added = before[-1].end, f"\n\n{PARAGRAPH}"
    paragraph = Block(BlockKind.PROSE, at + 2, at + len(added), before[-1].level)
    moved = (b._replace(start=b.start + len(added), end=b.end + len(added)) for b in behind)
    text = document.text[:at] + added + document.text[at:]
    return replace(document, text=text, blocks=(*before, paragraph, *moved))


if __name__ == "__main__":
    main()
