"""Where people find a document, by what it says and what settings say."""

import pytest

from embedding_assets.corpus.urls import fingerprint_of, url_of

URLS = {
    "": "https://any.example/",
    "docs/": "https://docs.example/v1/",
    "docs/blog/": "https://blog.example/{stem}.html",
    "guide/": "https://guide.example/{stem}/",
    "wiki/": "https://wiki.example/view?page={path}",
}
OWN = "https://own.example/a"


@pytest.mark.parametrize(
    ("uri", "metadata", "url"),
    [
        ("docs/a.md", {"url": OWN, "canonical": "https://c.example/"}, OWN),
        ("docs/a.md", {"canonical": "https://c.example/"}, "https://docs.example/v1/a.md"),
        ("docs/a.md", {"url": "/relative/"}, "https://docs.example/v1/a.md"),
        ("docs/a.md", {"url": "javascript:alert(1)"}, "https://docs.example/v1/a.md"),
        ("docs/a.md", {"url": ["https://a.example", OWN]}, "https://docs.example/v1/a.md"),
        ("docs/a b/ü#1?.md", {}, "https://docs.example/v1/a%20b/%C3%BC%231%3F.md"),
        ("docs/blog/2026/a.b.md", {}, "https://blog.example/2026/a.b.html"),
        ("guide/install.md", {}, "https://guide.example/install/"),
        ("guide/index.md", {}, "https://guide.example/"),
        ("guide/a/index.md", {}, "https://guide.example/a/"),
        ("guide/my-index.md", {}, "https://guide.example/my-index/"),
        ("guide/v1.2/README", {}, "https://guide.example/v1.2/README/"),
        ("wiki/{stem} & x.md", {}, "https://wiki.example/view?page=%7Bstem%7D%20%26%20x.md"),
        ("else/a.md", {}, "https://any.example/else/a.md"),
    ],
)
def test_the_longest_prefix_says_it_unless_the_document_does(
    uri: str, metadata: dict[str, object], url: str
) -> None:
    """The rest of the uri is encoded, and goes where the address wants it."""
    assert url_of(uri, metadata, URLS) == url


@pytest.mark.parametrize(
    ("uri", "metadata", "url"),
    [
        ("a.html", {"canonical": OWN}, OWN),
        ("a.html", {"canonical": "a.html"}, ""),
        ("a.html", {"canonical": "https://"}, ""),
        ("a.html", {"canonical": "https://a.example/b c"}, ""),
        ("a.html", {"canonical": "https://a.example/" + "b" * 1000}, ""),
        ("HTTPS://web.example/a", {}, "HTTPS://web.example/a"),
        ("https://web.example/a", {"canonical": OWN}, OWN),
        ("s3://bucket/a.md", {}, ""),
        ("docs/a.md", {}, ""),
    ],
)
def test_without_settings_an_address_is_an_address(
    uri: str, metadata: dict[str, object], url: str
) -> None:
    """That of a page, or the uri itself, if it is whole and of the web."""
    assert url_of(uri, metadata, {}) == url


def test_other_urls_have_another_fingerprint() -> None:
    """In whatever order they are; without any there is none."""
    assert fingerprint_of({}) == ""
    assert fingerprint_of({"a": "b", "c": "d"}) == fingerprint_of({"c": "d", "a": "b"})
    assert fingerprint_of({"a": "b"}) != fingerprint_of({"a": "c"})
