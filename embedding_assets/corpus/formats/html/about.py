"""What a page says about itself in its head: language, author, dates, description, its address.

Belongs here: which elements say it. Does not belong here: the title (titles.py), values as
they are kept (corpus/metadata.py).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from embedding_assets.corpus.formats.names import listed

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser

# By ``name`` or ``property``; of several with one meaning the first counts. What is for machines,
# such as generator, viewport and robots, is about the file.
_MEANINGS = {
    "article:author": "author",
    "article:modified_time": "modified",
    "article:published_time": "date",
    "article:tag": "keywords",
    "author": "author",
    "citation_author": "author",
    "citation_publication_date": "date",
    "date": "date",
    "dc.created": "date",
    "dc.creator": "author",
    "dc.date": "date",
    "dc.date.modified": "modified",
    "dc.description": "description",
    "dc.language": "language",
    "dc.subject": "subject",
    "dcterms.created": "date",
    "dcterms.creator": "author",
    "dcterms.date": "date",
    "dcterms.description": "description",
    "dcterms.issued": "date",
    "dcterms.language": "language",
    "dcterms.modified": "modified",
    "dcterms.subject": "subject",
    "description": "description",
    "keywords": "keywords",
    "language": "language",
    "last-modified": "modified",
    "og:description": "description",
    "og:updated_time": "modified",
    "og:url": "canonical",
    "pubdate": "date",
    "subject": "subject",
}
_WEB = ("http://", "https://")


def metadata_of(tree: "LexborHTMLParser") -> dict[str, object]:
    """Under the common names; of authors and keywords all, each once, of others the first."""
    found: dict[str, list[str]] = {}
    for name, value in _said(tree):
        if _is_usable(name, value):
            found.setdefault(name, []).append(value)
    about: dict[str, object] = {name: values[0] for name, values in found.items()}
    if len(authors := list(dict.fromkeys(found.get("author", ())))) > 1:
        about["author"] = authors
    if keywords := found.get("keywords"):
        about["keywords"] = list(dict.fromkeys(word for text in keywords for word in listed(text)))
    return about


def _said(tree: "LexborHTMLParser") -> Iterator[tuple[str, str]]:
    if tree.root is None or tree.head is None:
        return
    root = tree.root.attributes
    yield "language", (root.get("lang") or root.get("xml:lang") or "").strip()
    for link in tree.head.css("link[rel=canonical i][href]"):
        yield "canonical", (link.attributes["href"] or "").strip()
    for meta in tree.head.css("meta[content]"):
        attributes = meta.attributes
        name = attributes.get("name") or attributes.get("property") or ""
        if meaning := _MEANINGS.get(name.strip().lower()):
            yield meaning, (attributes["content"] or "").strip()


def _is_usable(name: str, value: str) -> bool:
    is_address = value.lower().startswith(_WEB)
    match name:
        case "canonical":
            return is_address
        case "author":  # Facebook has the address of a profile for one
            return value != "" and not is_address
    return value != ""
