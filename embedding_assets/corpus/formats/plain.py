"""Plain text: paragraphs, and nothing known of them.

Belongs here: text that has no markup. Does not belong here: the other kinds of text.
"""

import re
from collections.abc import Iterator

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.formats.clutter import without_clutter
from embedding_assets.corpus.formats.extracted import Extracted

_PARAGRAPH = re.compile(r"\S.*(?:\n[^\S\n]*+\S.*)*+")


def read_plain(source: str) -> Extracted:
    """The text but for its clutter, a block a paragraph."""
    text = without_clutter(source)
    return Extracted(title="", text=text, blocks=tuple(paragraphs(text)))


def paragraphs(text: str) -> Iterator[Block]:
    """The blocks of a text of which nothing else is known."""
    for paragraph in _PARAGRAPH.finditer(text):
        end = paragraph.start() + len(paragraph[0].rstrip())
        yield Block(BlockKind.PROSE, paragraph.start(), end)
