"""RTF: its words, by paragraphs.

Belongs here: what is taken out of it before striprtf reads it, and what becomes of the rest. Does
not belong here: other text (plain.py).
"""

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.packed import understood
from embedding_assets.corpus.formats.plain import read_plain

_KIND = "RTF"


def read_rtf(data: bytes) -> Extracted:
    with understood(_KIND):
        from striprtf.striprtf import rtf_to_text

        text: str = rtf_to_text(data.decode("latin-1"), errors="replace")  # type: ignore[no-untyped-call]
    return read_plain(text)
