"""XHTML: as a parser of HTML reads it rightly.

Belongs here: where XML and HTML mean something else by the same markup. Does not belong here: pages
(pages.py).
"""

import re
from html import escape

# Of any other element HTML does not see that "<a id='x'/>" or "<script/>" ends at once.
_ALONE = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)"
    r"(?P<tag>[A-Za-z][\w:.-]*+)(?P<rest>(?:[^<>\"'/]|/(?!>)|\"[^\"<]*+\"|'[^'<]*+')*+)/>",
    re.IGNORECASE,
)
_CDATA, _CDATA_END = "<![CDATA[", "]]>"


def html_of_xhtml(source: str) -> str:
    """The same page for a parser to which ``<a id="x"/>`` goes on, and CDATA is a comment."""
    first, *others = source.split(_CDATA)
    source = first + "".join(map(_with_plain_text, others))
    return _ALONE.sub(r"<\g<tag>\g<rest>></\g<tag>>", source)


def _with_plain_text(part: str) -> str:
    text, _, rest = part.partition(_CDATA_END)
    return escape(text) + rest
