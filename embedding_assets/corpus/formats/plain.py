"""Plain text: paragraphs, and nothing known of them.

Belongs here: text that has no markup. Does not belong here: the other kinds of text.
"""

import re
from collections.abc import Iterator

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.formats.extracted import Extracted

_PARAGRAPH = re.compile(r"^.*\S.*(?:\n.*\S.*)*", re.MULTILINE)


def read_plain(source: str) -> Extracted:
    """The text as it is, a block a paragraph."""
    return Extracted(title="", text=source, blocks=tuple(_paragraphs(source)))


def _paragraphs(text: str) -> Iterator[Block]:
    for match in _PARAGRAPH.finditer(text):
        yield Block(BlockKind.PROSE, match.start(), match.end())
