"""The heading that is a document's title, if nothing else is.

Belongs here: which heading that is. Does not belong here: front matter (markup/front_matter.py), a
page's ``<title>`` (html/titles.py), the name of a file (extraction.py).
"""

from collections.abc import Iterable

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.formats.pieces import Piece


def main_heading(blocks: Iterable[Block | Piece]) -> str:
    """The first heading of the highest level, not merely the first one; empty if there is none."""
    headings = [block for block in blocks if block.kind is BlockKind.HEADING]
    return min(headings, key=lambda heading: heading.level).label if headings else ""
