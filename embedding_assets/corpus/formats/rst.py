"""reStructuredText: the text as it is, its title and its blocks.

Belongs here: what this markup says of headings, code, tables. Does not belong here: other kinds.
"""

from dataclasses import replace

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.plain import read_plain
from embedding_assets.corpus.formats.titles import find_title


def read_rst(source: str) -> Extracted:
    """Title, text and blocks."""
    return replace(read_plain(source), title=find_title(source, "text/x-rst"))
