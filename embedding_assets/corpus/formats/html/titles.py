"""The title of a page: what its ``<title>`` says, without the name of the site.

Belongs here: which of its parts that is. Does not belong here: which heading may be it
(formats/titles.py).
"""

import re
from typing import TYPE_CHECKING

from embedding_assets.corpus.formats.text import one_line

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser

# "Page — Site", "Page | Site", "Page - Site", "Site: Page"; "Page (Site)".
_SEPARATOR = re.compile(r"\s+(?:[-\N{EN DASH}—|·•»«›:]|::)\s+|:\s+|\s+(?=\()")
_WORD = re.compile(r"\w+")


def title_of(tree: "LexborHTMLParser", heading: str) -> str:
    """The page's own title, else its main heading; empty without both."""
    titles = (one_line(node.text()) for node in tree.css(":is(head, body) > title"))
    title = next(filter(_WORD.search, titles), "")
    return _without_site(title, heading) if title else heading


def _without_site(title: str, heading: str) -> str:
    """The longest beginning of ``title`` that the heading has, too, or the end that is most of it.

    If there is none: without its last part, if only what is before has words of the heading.
    """
    cuts = [(match.start(), match.end()) for match in _SEPARATOR.finditer(title)]
    parts = [title, *(title[:start] for start, _ in reversed(cuts))]
    parts += [title[end:] for _, end in cuts if len(title) - end >= len(heading) / 2]
    words = _words(heading)
    for part in parts:
        if _words(part) in words:
            return part
    said = set(words.split())
    for start, end in cuts[-1:]:
        before, behind = _words(title[:start]).split(), _words(title[end:]).split()
        if said.intersection(before) and said.isdisjoint(behind):
            return title[:start]
    return title


def _words(text: str) -> str:
    """The words, each with a space on both sides."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "
