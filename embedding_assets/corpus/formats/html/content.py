"""The main content of a page: which of its elements are read, and which in them are left out.

Belongs here: selectors, ours and a person's, and the walk over what they leave. Does not belong
here: what an element becomes (writer.py).
"""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

# fmt: off
# What no reader of a page sees, or what is no text.
_INVISIBLE = (
    "head", "script", "style", "template", "noscript", "svg", "iframe", "noframes", "object",
    "audio", "video", "canvas", "datalist", "dialog:not([open])",
    "[hidden]:not([hidden=until-found i])", '[aria-hidden="true" i]',
    '[style*="display:none" i]', '[style*="display: none" i]',
    "semantics:has(> annotation) > :not(annotation)",  # a formula that is there as TeX, too
)
# What is on a page for finding one's way, wherever it is.
_CONTROLS = (
    "nav", "[role=navigation]", "[role=search]", "form:has(> input[type=search])",
    "form[action*=search i]", "select",
    "button:not(:is(h1, h2, h3, h4, h5, h6, dt, summary) > button)", ".copybutton", ".copybtn",
    ".headerlink", ".viewcode-link", ".viewcode-back", ".breadcrumb", ".breadcrumbs",
    ".pagination", ".md-content__button", ".md-source-file", ".theme-edit-this-page",
    ".linenos", ".linenodiv", ".lineno", "td.gutter",
    ":is(div, aside, form, dialog):is([class*=cookie i], [id*=cookie i], [class*=consent i],"
    " [id*=consent i]):has(button, [role=button], input)",
)
# What stands around the main content of a page that does not say which that is.
_SURROUNDINGS = (
    "header:not(:has(h1))", "footer", "aside:not([role^=doc-], .footnote, .topic, .admonition)",
    "[role=banner]", "[role=contentinfo]", "[role=complementary]", ".navheader", ".navfooter",
    ".navbar", ".topNav", ".subNav", ".bottomNav", ".legalCopy", ".sidebar", "#sidebar",
    ".footer", "#footer",
)
_NO_TEXT = (*_INVISIBLE, *_CONTROLS)
# Lists of links, if that is what they are: such a class may be that of a whole page.
_LISTS_OF_LINKS = (
    ":is(:is(div, ul, ol, dl, details, section, aside, table):is(.toc, .contents.topic,"
    " .contents.local, #toc, #TOC, [class*=-toc], [class*=toc-], [class*=table-of-contents i],"
    " [id*=table-of-contents i]),"
    " :has(> a:is([rel~=next], [rel~=prev], [rel~=up], [rel~=contents], [rel~=index])))"
)
_MAX_LISTS = 1000  # of a page
_MAX_LOOKS = 4  # at a page's whole text
_MAX_OTHERS = 40  # letters in them that are in no link: "Table of Contents", "Next: "
# The same, if there is nothing else but signs between, on pages that do not tell their main part.
_LINK_BARS = "div:has(> a[href] ~ a[href])"

_CONTAINERS = (
    ".theme-doc-markdown",                # Docusaurus; the side bars are in its <main>
    ".md-content__inner",                 # MkDocs with the Material theme
    ".markdown-section",                  # GitBook; the results of a search are in its main part
    "[itemprop=articleBody]",             # Sphinx with the Read the Docs theme
    "main article:only-of-type", "main", "[role=main]",  # Javadoc, MkDocs, Sphinx
    "h1#title-heading, div#main-content", # exports of Confluence
    "article",
    "div.body",                           # Sphinx's old themes
)
# Names that main content has by custom; but anything may be called so.
_CUSTOMARY = ":is(#content, [id$=content i], #main, .main-content)"
# fmt: on
# Of the pages of 13 generators none has less than a quarter of its text in its main content, but
# for those that are only a table of contents.
MIN_SHARE = 0.2
_PERMALINK = re.compile(r"[\s¶§#◆◇🔗∞⚓\ue000-\uf8ff]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is read of a page: ``roots`` in order, without what ``dropped`` selects in them."""

    roots: list["LexborNode"]
    dropped: str
    skipped: Set[int]  # the mem_id of all that is left out

    def walk(
        self, root: "LexborNode", leaves: Set[str] = frozenset()
    ) -> Iterator[tuple["LexborNode", str, bool]]:
        """The nodes below with their tags, each at its start and, but for text, at its end.

        Without recursion: real pages nest deeper than Python may.
        """
        opened: list[tuple[LexborNode, str]] = []
        node: LexborNode | None = root
        while node is not None or opened:
            if node is None:
                node, tag = opened.pop()
                yield node, tag, True
                node = node.next if opened else None
                continue
            tag = node.tag or ""
            if tag == "-text":
                yield node, tag, False
                node = node.next
            elif node.mem_id in self.skipped:
                node = node.next
            else:
                yield node, tag, False
                opened.append((node, tag))
                node = None if tag in leaves else node.first_child

    def skips_in(self, node: "LexborNode") -> bool:
        """Whether something below is left out."""
        return node.css_first(self.dropped) is not None


def kept(tree: "LexborHTMLParser", *, keep: Sequence[str], drop: Sequence[str]) -> Content | None:
    """What a person's selectors ask for; nothing, if ``keep`` is nowhere on the page."""
    roots = _outermost(tree, keep) if keep else []
    return _content(tree, roots, _NO_TEXT, _links(tree), drop) if roots else None


def main_content(tree: "LexborHTMLParser", *, drop: Sequence[str]) -> Content:
    """What is in the page's main container; without one, what is not around its main text."""
    roots = next(filter(None, (_outermost(tree, [c]) for c in _CONTAINERS)), [])
    links = _links(tree)
    if roots:
        return _content(tree, roots, _NO_TEXT, links, drop)
    links += _lists_of_links(tree, _LINK_BARS, max_others=0)
    roots = _customary(tree) or _root(tree)
    return _content(tree, roots, (*_NO_TEXT, *_SURROUNDINGS), links, drop)


def whole_page(tree: "LexborHTMLParser", *, drop: Sequence[str]) -> Content:
    """Whatever is not plainly for finding one's way."""
    return _content(tree, _root(tree), (*_NO_TEXT, *_SURROUNDINGS), [], drop)


def surroundings(tree: "LexborHTMLParser", *, drop: Sequence[str]) -> Content:
    """What stands around a main content, too: some pages are only a header, or a side bar."""
    return _content(tree, _root(tree), _NO_TEXT, [], drop)


def _content(
    tree: "LexborHTMLParser",
    roots: list["LexborNode"],
    selectors: Sequence[str],
    links: list["LexborNode"],
    drop: Sequence[str],
) -> Content:
    """The roots without what is selected in them; what a person drops is no root either."""
    dropped = _any((*selectors, *drop))
    skipped = {node.mem_id for node in (*tree.css(dropped), *links)}
    by_person = {node.mem_id for node in tree.css(_any(drop))} if drop else set()
    roots = [root for root in roots if not _is_within(root, by_person)]
    return Content(roots=roots, dropped=dropped, skipped=skipped - {n.mem_id for n in roots})


def _is_within(node: "LexborNode | None", mem_ids: Set[int]) -> bool:
    while node is not None and mem_ids:
        if node.mem_id in mem_ids:
            return True
        node = node.parent
    return False


def _root(tree: "LexborHTMLParser") -> list["LexborNode"]:
    """The body: read even if it is hidden until a script has run, or is called a side bar."""
    root = tree.body or tree.root
    return [root] if root is not None else []


def _any(selectors: Sequence[str]) -> str:
    """One selector for all of them: then each node is found once, in the order of the page."""
    return f":is({', '.join(selectors)})"


def _outermost(tree: "LexborHTMLParser", selectors: Sequence[str]) -> list["LexborNode"]:
    """What the selectors match in the order of the page, but for what is in one of these."""
    selector = _any(selectors)
    found: list[LexborNode] = []
    seen: set[int] = set()
    for node in tree.css(selector):
        if node.mem_id not in seen:
            found.append(node)
            seen |= {inner.mem_id for inner in node.css(selector)}
    return found


def _customary(tree: "LexborHTMLParser") -> list["LexborNode"]:
    """The innermost element that is called so and has most of the text; nothing, if none has."""
    nodes = tree.css(_CUSTOMARY)[:_MAX_LISTS]
    n_chars = [len(node.text()) for node in nodes]
    least = max(max(n_chars, default=0) / 2, MIN_SHARE * n_visible_chars(tree))
    return [node for node, n in zip(nodes, n_chars, strict=True) if n > least][-1:]


def n_visible_chars(tree: "LexborHTMLParser") -> int:
    """Of the whole page, more or less."""
    n_chars = len(tree.root.text()) if tree.root is not None else 0
    return n_chars - sum(
        len(node.text()) for node in tree.css(":is(head, body script, body style)")
    )


def _links(tree: "LexborHTMLParser") -> list["LexborNode"]:
    """Tables of contents, ways to the next page, permalinks."""
    marks = [n for n in tree.css('a[href^="#"]') if _PERMALINK.fullmatch(n.text())]
    return marks + _lists_of_links(tree, _LISTS_OF_LINKS, max_others=_MAX_OTHERS)


def _lists_of_links(
    tree: "LexborHTMLParser", selector: str, *, max_others: int
) -> list["LexborNode"]:
    """Those with no more than ``max_others`` letters outside links, or, if any, than in links.

    They can be in one another, thousands deep: the whole page's text is looked at a few times only.
    """
    found: list[LexborNode] = []
    nodes = tree.css(selector)[:_MAX_LISTS]
    n_left = _MAX_LOOKS * n_visible_chars(tree) if nodes else 0
    for node in nodes:
        text = node.text()
        n_left -= len(text)
        if n_left < 0:
            break
        n_linked = sum(_n_letters(link.text()) for link in node.css("a[href]"))
        most = max(n_linked, max_others) if max_others else 0
        if _n_letters(text) - n_linked <= most:
            found.append(node)
    return found


def _n_letters(text: str) -> int:
    return sum(map(str.isalnum, text))
