"""What a file says: the value that every reader of a kind of file returns.

Belongs here: the value. Does not belong here: which reader a type has (extraction.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from embedding_assets.corpus.blocks import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in a file, such as a mail's attachment: a document of its own."""

    name: str  # within the file that has it; may have slashes, is unique there
    media_type: str  # empty if nobody says: then the name and the content tell
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """A title of one line, empty if there is none, and a text with its blocks, in order.

    ``metadata`` is what the file says about itself: author, date, language, description, keywords
    and the like, under these names if they mean that; ``url`` if it says where it is published.
    ``remark`` is one clause on how it was read, for people, if that was not as usual.
    """

    title: str
    text: str
    blocks: tuple[Block, ...]
    metadata: Mapping[str, object] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    remark: str = ""
