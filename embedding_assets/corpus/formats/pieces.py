"""Pieces: what readers write that make a text of something else, one after the other.

Belongs here: a block that has no place yet, and putting pieces together. Does not belong here: what
becomes one (the modules beside).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.formats.extracted import Extracted, Member
from embedding_assets.corpus.formats.text import one_line

_GAP = "\n\n"
_MAX_LEVEL = 6
_FENCE = re.compile("`{3,}")


class Piece(NamedTuple):
    """A block with its text, which has no place in the document yet."""

    kind: BlockKind
    text: str
    level: int = 0
    label: str = ""
    anchor: str = ""
    page: int = 0


def heading(label: str, level: int, *, anchor: str = "", page: int = 0) -> Piece:
    """A heading as Markdown has it; levels deeper than 6 become 6."""
    label, level = one_line(label), min(level, _MAX_LEVEL)
    return Piece(BlockKind.HEADING, f"{'#' * level} {label}", level, label, anchor, page)


def fenced(code: str, language: str = "") -> str:
    """The code within a fence that it does not contain."""
    fence = "`" * (max(map(len, _FENCE.findall(code)), default=2) + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


def pipes(rows: Sequence[Sequence[str]], *, n_headers: int) -> str:
    """The table, with a rule below its headers. Without headers an empty row stands for them."""
    headers = list(rows[:n_headers]) or [[""] * len(rows[0])]
    rule = ["---"] * len(headers[-1])
    return "\n".join(f"| {' | '.join(row)} |" for row in (*headers, rule, *rows[n_headers:]))


def assembled(
    pieces: Iterable[Piece],
    *,
    title: str = "",
    metadata: Mapping[str, object] | None = None,
    members: tuple[Member, ...] = (),
    remark: str = "",
) -> Extracted:
    """The document that the pieces make, in their order; blank ones are left out."""
    texts: list[str] = []
    blocks: list[Block] = []
    start = 0
    for piece in pieces:
        text = piece.text.rstrip()
        text = text if piece.kind is BlockKind.CODE else text.lstrip()
        if not text or (piece.kind is BlockKind.HEADING and not piece.label):
            continue
        end = start + len(text)
        blocks.append(
            Block(piece.kind, start, end, piece.level, piece.label, piece.anchor, piece.page)
        )
        texts.append(text)
        start = end + len(_GAP)
    return Extracted(
        title=title,
        text=_GAP.join(texts),
        blocks=tuple(blocks),
        metadata=metadata or {},
        members=members,
        remark=remark,
    )


def pieces_of(extracted: Extracted) -> Iterator[Piece]:
    """The pieces of what was read already, to go into another document."""
    for block in extracted.blocks:
        text = extracted.text[block.start : block.end]
        yield Piece(block.kind, text, block.level, block.label, block.anchor, block.page)
