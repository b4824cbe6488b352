"""Quarto and R Markdown: Markdown whose code is run.

Belongs here: what these have beside Markdown. Does not belong here: Markdown (markdown.py).
"""

import re

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.markup.markdown import read_markdown

# "```{r setup, echo=FALSE}", "```{#lst-a .python}", "```{=html}"; and the options below it.
_FENCE = re.compile(
    r"^(?P<mark>[ \t>]*+(?:`{3,}+|~{3,}+)) *+"
    r"\{++(?:#\S++ ++)?[.=]?(?P<language>[\w+-]++)[^}\n]*+\}++.*+"
    r"(?:\n[ \t>]*+(?:\#|//|--|%+)\|.*+)*+",
    re.MULTILINE,
)
_SHORTCODE = re.compile(r"\{\{[<%][^{}\n]*+\}\}")


def read_qmd(source: str) -> Extracted:
    """As Markdown: code has its language, and no options; shortcodes are left out."""
    return read_markdown(source, dialect=_as_markdown)


def _as_markdown(document: str) -> str:
    return _SHORTCODE.sub("", _FENCE.sub(r"\g<mark>\g<language>", document))
