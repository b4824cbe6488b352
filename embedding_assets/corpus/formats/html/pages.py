"""HTML as Markdown: the title of a page, and its main content with its blocks.

Belongs here: putting these together. Does not belong here: which part of a page is read
(content.py), what elements become (writer.py), what its head says (about.py),
encodings (encodings.py).
"""

from collections.abc import Sequence

from embedding_assets.corpus.formats.clutter import without_clutter
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.html.about import metadata_of
from embedding_assets.corpus.formats.html.content import (
    MIN_SHARE,
    kept,
    main_content,
    n_visible_chars,
    surroundings,
    whole_page,
)
from embedding_assets.corpus.formats.html.titles import title_of
from embedding_assets.corpus.formats.html.writer import write_pieces
from embedding_assets.corpus.formats.pieces import Piece, assembled
from embedding_assets.corpus.formats.titles import main_heading

_NOT_KEPT = "nothing in it matches html_keep"
_WHOLE = "hardly any main content was found in it, so the whole page is kept"


def read_html(source: str, *, keep: Sequence[str] = (), drop: Sequence[str] = ()) -> Extracted:
    """The title (empty if there is none), the main content as Markdown with its blocks, metadata.

    ``keep`` and ``drop`` are CSS selectors that a person has set: of what is read instead of the
    main content that would be found, and of what is left out.
    """
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(source)
    content = kept(tree, keep=keep, drop=drop)
    remarks = [_NOT_KEPT] if keep and content is None else []
    pieces = write_pieces(tree, content or main_content(tree, drop=drop))
    if content is None and _n_chars(pieces) < MIN_SHARE * n_visible_chars(tree):
        whole = write_pieces(tree, whole_page(tree, drop=drop))
        whole = whole or write_pieces(tree, surroundings(tree, drop=drop))
        if _n_chars(pieces) < MIN_SHARE * _n_chars(whole):
            pieces = whole
            remarks.append(_WHOLE)
    pieces = [piece._replace(text=without_clutter(piece.text)) for piece in pieces]
    title = title_of(tree, main_heading(pieces))
    return assembled(pieces, title=title, metadata=metadata_of(tree), remark="; ".join(remarks))


def check_selectors(selectors: Sequence[str]) -> None:
    """Raises ValueError, with the selector, for one that is none."""
    if not selectors:
        return
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    tree = LexborHTMLParser("")
    for selector in selectors:
        try:
            tree.css(selector)
        except SelectolaxError as exc:
            raise ValueError(f"{selector!r} is no CSS selector") from exc


def _n_chars(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.text) for piece in pieces)
