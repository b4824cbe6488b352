"""Code of a page: the lines of a ``<pre>`` and their language, as a fenced block.

Belongs here: how pages mark up code. Does not belong here: the text around it (writer.py).
"""

import re
from typing import TYPE_CHECKING

from embedding_assets.corpus.formats.html.content import Content
from embedding_assets.corpus.formats.pieces import fenced
from embedding_assets.corpus.formats.text import clean

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_WITHOUT_NEWLINES = "br, div, p, li, tr"  # what ends a line without one
_BLOCKS = frozenset({"div", "p", "li", "tr", "pre"})
_LANGUAGE = re.compile(r"(?:^|\s)(?:language|lang|highlight(?:-source)?)-([\w+#.-]+)")
_NO_LANGUAGE = frozenset({"default", "none", "text", "plaintext", "notranslate"})
_WRAPPERS = frozenset({"pre", "span", "div", "figure", "td", "tr", "tbody", "table"})
_MAX_WRAPPERS = 8  # as many as are around code in a table with line numbers


def code_of(pre: "LexborNode", content: Content) -> str:
    """A ``<pre>`` within a fence that it does not contain; empty if nothing is in it."""
    code = clean(_text_of(pre, content)).rstrip()
    return fenced(code, _language_of(pre)) if code else ""


def _text_of(pre: "LexborNode", content: Content) -> str:
    if pre.css_first(_WITHOUT_NEWLINES) is None and not content.skips_in(pre):
        return pre.text()
    parts = [""]
    for node, tag, is_end in content.walk(pre):
        if tag == "-text":
            parts.append(node.text_content or "")
        elif (tag == "br" and not is_end) or (tag in _BLOCKS and parts[-1][-1:] not in "\n"):
            parts.append("\n")
    return "".join(parts)


def _language_of(pre: "LexborNode") -> str:
    """What a class says of it or of its only child, or of what is wrapped around it."""
    node: LexborNode | None = pre.css_first("code") or pre
    for _ in range(_MAX_WRAPPERS):
        if node is None or node.tag not in _WRAPPERS | {"code"}:
            break
        found = _LANGUAGE.search(node.attributes.get("class") or "")
        if found:
            return "" if found[1] in _NO_LANGUAGE else found[1]
        node = node.parent
    return ""
