"""Marks: blocks found line by line, in texts whose markup is a matter of lines.

Belongs here: lines, what stands in one container among them, what all scanners do, marks to blocks.
Does not belong here: what a line means (markdown.py, rst.py, asciidoc.py, org.py, code.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS

# Every level of nesting is one more copy of its lines; what is deeper stays one block of prose.
MAX_DEPTH = 8


class Mark(NamedTuple):
    """Lines of a document that are one block. Every line that is not blank is under one mark."""

    kind: BlockKind | None  # None: readers do not see it
    first: int
    stop: int  # the line after the last
    level: int = 0
    label: str = ""
    anchor: str = ""
    text: str | None = None  # what readers get instead of the lines; an empty line if it is empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """The lines of a document, or those of a container in it, as they stand inside of that."""

    lines: list[str]  # without what indents the container; leading tabs are spaces
    offset: int = 0  # of the first one in the document
    level: int = 0  # how many terms they stand under
    depth: int = 0  # how many containers

    @classmethod
    def of(cls, text: str, *, tab_size: int) -> "Lines":
        lines = text.split("\n")
        return cls(lines=[x.expandtabs(tab_size) if "\t" in x else x for x in lines])

    def inside(self, first: int, stop: int, *, indent: int, is_defined: bool = False) -> "Lines":
        """The lines of a container, less ``indent`` characters each; ``is_defined`` by a term."""
        return Lines(
            lines=[line[min(indent, indentation(line)) :] for line in self.lines[first:stop]],
            offset=self.offset + first,
            level=self.level + is_defined,
            depth=self.depth + 1,
        )

    def skip_blank(self, at: int) -> int:
        while at < len(self.lines) and is_blank(self.lines[at]):
            at += 1
        return at

    def end_of_indented(self, at: int, indent: int) -> int:
        """The line after the last one, from ``at`` on, that is indented so far or blank."""
        stop = at
        while at < len(self.lines):
            line = self.lines[at]
            if not is_blank(line):
                if indentation(line) < indent:
                    break
                stop = at + 1
            at += 1
        return stop

    def mark(
        self,
        kind: BlockKind | None,
        first: int,
        stop: int,
        *,
        level: int | None = None,
        label: str = "",
        anchor: str = "",
        text: str | None = None,
    ) -> Mark:
        """The mark on these lines; its level is that of the container unless it is a heading's."""
        level = self.level if level is None else level
        return Mark(kind, self.offset + first, self.offset + stop, level, label, anchor, text)


@dataclass(slots=True)
class Scanner:
    """What finds blocks among lines, one after the other, whatever the markup is."""

    of: Lines
    at: int = 0  # the line at which the next block begins

    def _take(
        self,
        kind: BlockKind | None,
        stop: int,
        *,
        level: int | None = None,
        label: str = "",
        anchor: str = "",
        text: str | None = None,
    ) -> Mark:
        """The mark on the lines from here to ``stop``, where the next block begins."""
        first, self.at = self.at, stop
        return self.of.mark(kind, first, stop, level=level, label=label, anchor=anchor, text=text)

    def _line(self, at: int) -> str:
        return self.of.lines[at] if at < len(self.of.lines) else ""


def is_blank(line: str) -> bool:
    return not line or line.isspace()


def indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def blocks_of(text: str, marks: Iterable[Mark]) -> tuple[str, tuple[Block, ...]]:
    """The text as readers get it, without the lines that they do not see, and its blocks."""
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    parts: list[str] = []
    blocks: list[Block] = []
    done, n_left_out = 0, 0
    for kind, first, stop, level, label, anchor, instead in marks:
        start, end = starts[first], min(starts[stop], len(text))
        at = start - n_left_out
        if kind is None or instead is not None:
            parts += text[done:start], "" if instead is None else f"{instead}\n"
            n_left_out += end - start - len(parts[-1])
            done = end
        if kind is None or not (body := (text[start:end] if instead is None else instead).rstrip()):
            continue
        # Code is what it is by its indentation.
        lead = 0 if kind is BlockKind.CODE else len(body) - len(body.lstrip())
        anchor = anchor if len(anchor) <= MAX_TITLE_CHARS else ""  # every chunk would carry it
        blocks.append(Block(kind, at + lead, at + len(body), level, label, anchor))
    return "".join([*parts, text[done:]]), tuple(blocks)
