"""What a file says: the value that every reader of a kind of file returns.

Belongs here: the value. Does not belong here: which reader a type has (extraction.py).
"""

from dataclasses import dataclass

from embedding_assets.corpus.blocks import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """A title of one line, empty if there is none, and a text with its blocks, in order.

    ``remark`` is one clause on how it was read, for people, if that was not as usual.
    """

    title: str
    text: str
    blocks: tuple[Block, ...]
    remark: str = ""
