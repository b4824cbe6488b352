"""Sections: the tree that a document's headings and terms make of its blocks.

Belongs here: which section a block belongs to, and which blocks stay with what follows them. Does
not belong here: where the cuts fall (packing.py), how a section is called in a path (paths.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from embedding_assets.corpus.blocks import Block, BlockKind

_TERM_DEPTH = 7  # below headings, which have levels 1 to 6
_MAX_TERM_LEVEL = 6  # deeper ones count as siblings; so the tree can be walked by recursion
_LEADS = frozenset({BlockKind.HEADING, BlockKind.TERM, BlockKind.CAPTION})
_COLONS = (":", "：")  # noqa: RUF001 -- the full-width one of Chinese and Japanese

# Blocks of one section that follow each other; at their beginning, what leads there.
Run = list[Block]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """A heading or a term with all that stands under it, in order; or the whole document."""

    depth: int = 0  # 0 of a document, a heading's level, 7 and more of a term
    label: str = ""
    anchor: str = ""  # its own, or that of the nearest section around it
    parent: "Section | None" = None
    items: list["Run | Section"] = field(default_factory=list)


def leads_on(text: str, block: Block) -> bool:
    """The block makes no sense without the next one."""
    is_lead_in = block.kind is BlockKind.PROSE and text.endswith(_COLONS, block.start, block.end)
    return is_lead_in or block.kind in _LEADS


def tree_of(text: str, blocks: Sequence[Block]) -> Section:
    """The document as a section.

    A section of only a heading or a term leads to the next one within its parent; if there is
    none, it belongs to the parent.
    """
    root = Section()
    around = [root]  # the sections that are open, outermost first
    run: Run = []
    home: Section | None = None  # of a run without content so far: what it belongs to by itself
    for block in blocks:
        opens, depth = block.opens_section, depth_of(block)
        if opens or depth <= around[-1].depth:
            if home is None:  # there is content, of which only what leads on to a term goes with it
                home = around[-1]
                n_placed = _count_before_lead(text, run) if _is_term_in(home, depth) else len(run)
                run = _placed(run, n_placed, home)
            while around[-1].depth >= depth:
                around.pop()
            # Without a section that opens in its home, a run without content leads nowhere.
            if around[-1].depth < home.depth + (not opens):
                run = _placed(run, len(run), home)
            if opens:
                home = home if run else around[-1]
                around.append(_opened(block, depth, around[-1]))
        run.append(block)
        home = home if opens else None
    _placed(run, len(run), home or around[-1])
    return root


def depth_of(block: Block) -> int:
    """The depth of the section that a heading or a term opens, and of one that a block closes."""
    if block.kind is BlockKind.HEADING:
        return block.level
    return _TERM_DEPTH + min(block.level, _MAX_TERM_LEVEL)


def _opened(block: Block, depth: int, parent: Section) -> Section:
    anchor = block.anchor or parent.anchor
    section = Section(depth=depth, label=block.label, anchor=anchor, parent=parent)
    parent.items.append(section)
    return section


def _is_term_in(section: Section, depth: int) -> bool:
    return depth >= _TERM_DEPTH and depth > section.depth


def _count_before_lead(text: str, run: Run) -> int:
    """How many blocks there are before those at the end that lead on to what follows the run."""
    return next((n for n in range(len(run), 0, -1) if not leads_on(text, run[n - 1])), 0)


def _placed(run: Run, n_blocks: int, section: Section) -> Run:
    """The rest of a run whose first blocks now belong to the section."""
    if n_blocks:
        section.items.append(run[:n_blocks])
    return run[n_blocks:]
