"""What the head of a page says about it, and what of that is wanted."""

import pytest

from embedding_assets.corpus.formats.html.pages import read_html
from embedding_assets.corpus.metadata import tidied


def said(head: str, *, html: str = "<html>") -> dict[str, object]:
    page = f"<!doctype html>{html}<head><title>t</title>{head}</head><body><p>text</p></body>"
    return dict(tidied(read_html(page).metadata))


def meta(name: str, content: str, attribute: str = "name") -> str:
    return f'<meta {attribute}="{content and name}" content="{content}">'


@pytest.mark.parametrize(
    ("head", "metadata"),
    [
        (meta("description", " a\nb "), {"description": "a b"}),
        (meta("Description", "a") + meta("og:description", "b"), {"description": "a"}),
        (meta("og:description", "b", "property"), {"description": "b"}),
        (meta("description", "") + meta("dc.description", "b"), {"description": "b"}),
        (meta("author", "Ada"), {"author": "Ada"}),
        (meta("author", "Ada") + meta("dc.creator", "Ada"), {"author": "Ada"}),
        (meta("citation_author", "A") + meta("citation_author", "B"), {"author": ["A", "B"]}),
        (meta("article:author", "https://social.example/ada", "property"), {}),
        (meta("keywords", "a, b ,a,"), {"keywords": ["a", "b"]}),
        (meta("keywords", "a, b; c"), {"keywords": ["a, b", "c"]}),
        (meta("article:tag", "a") + meta("article:tag", "b"), {"keywords": ["a", "b"]}),
        (meta("date", "2026") + meta("dc.created", "2025"), {"date": "2026"}),
        (meta("DC.date", "2026"), {"date": "2026"}),
        (meta("article:published_time", "2026", "property"), {"date": "2026"}),
        (meta("article:modified_time", "2026", "property"), {"modified": "2026"}),
        (meta("dcterms.language", "de"), {"language": "de"}),
        (meta("viewport", "a") + meta("generator", "b") + meta("robots", "c"), {}),
        ("<meta charset=utf-8><meta name=author><meta content=x>", {}),
        ('<script type="application/ld+json">{"author": "x"}</script>', {}),
    ],
)
def test_what_means_one_of_the_common_names(head: str, metadata: dict[str, object]) -> None:
    """Whoever invented the name; what is for machines is left out."""
    assert said(head) == metadata


@pytest.mark.parametrize(
    ("html", "language"),
    [
        ("<html lang=de-AT>", {"language": "de-AT"}),
        ("<HTML LANG='de'>", {"language": "de"}),
        ("<html xml:lang=de>", {"language": "de"}),
        ("<html lang=''>", {}),
        ("<html lang>", {}),
    ],
)
def test_the_language_is_that_of_the_root(html: str, language: dict[str, object]) -> None:
    """Before what a meta element says."""
    assert said("", html=html) == language
    assert said(meta("language", "en"), html=html) == {"language": "en"} | language


@pytest.mark.parametrize(
    ("head", "canonical"),
    [
        ("<link rel=canonical href=' https://a.example/b '>", "https://a.example/b"),
        ("<link rel=Canonical href=HTTP://a.example/b>", "HTTP://a.example/b"),
        (
            "<meta property=og:url content=https://b/><link rel=canonical href=https://a/>",
            "https://a/",
        ),
        ("<link rel=canonical href=/b/><meta property=og:url content=https://b/>", "https://b/"),
        ("<link rel=canonical href=file:///usr/share/a.html>", None),
        ("<link rel=canonical href=javascript:x>", None),
        ("<link rel=canonical>", None),
        ("<link rel=alternate href=https://a/>", None),
    ],
)
def test_a_canonical_address_is_one_of_the_web(head: str, canonical: str | None) -> None:
    """A path says nothing about where it is, and a file's address nothing to others."""
    assert said(head).get("canonical") == canonical
