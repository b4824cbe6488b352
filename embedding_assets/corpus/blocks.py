"""Blocks: what a text consists of, as marks over it: headings, terms, paragraphs, code, tables.

Belongs here: the value that every reader yields and that cutting works on. Does not belong here:
how a kind of file is read (formats/), where the cuts fall (chunks.py).
"""

from enum import StrEnum
from typing import NamedTuple


class BlockKind(StrEnum):
    """What a block is, as far as cutting it and keeping it with others depends on it."""

    HEADING = "heading"  # opens a section
    TERM = "term"  # opens one, too: what is defined, or the signature of what is described
    PROSE = "prose"  # a paragraph, also one of a definition
    LIST = "list"  # all items, nested ones too
    CODE = "code"  # with its fences, if it has any
    TABLE = "table"  # Markdown's pipes; the lines down to the rule of dashes are its header
    CAPTION = "caption"  # belongs to what follows


class Block(NamedTuple):
    """``text[start:end]`` of a document's text; between two blocks there is only white space.

    A tuple and no dataclass, because a megabyte of text has some ten thousand.
    """

    kind: BlockKind
    start: int
    end: int
    # Of a heading 1 to 6. Of any other block how many terms it stands under: 0 for what follows
    # a list of definitions, 1 for the paragraphs of a definition and for a term in it.
    level: int = 0
    label: str = ""  # of a heading or a term, which have one: its words in one line, without marks
    anchor: str = ""  # the fragment under which a reader finds it, without "#"
    page: int = 0  # of a file with pages or slides: on which it begins, from 1; else 0

    @property
    def opens_section(self) -> bool:
        return self.kind in (BlockKind.HEADING, BlockKind.TERM)
