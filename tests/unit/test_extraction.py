"""Bytes to title and text: encodings, HTML, titles."""

import codecs
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS
from embedding_assets.errors import DocumentError

# fmt: off
MEDIA_TYPES = [
    "text/markdown", "text/html", "text/x-rst", "text/plain", "text/csv", "application/json",
    "application/jsonl", "application/vnd.apache.parquet", "message/rfc822", "application/mbox",
    "application/epub+zip", "application/pdf", "application/rtf", "application/vnd.ms-excel",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/x-ipynb+json", "application/xhtml+xml", "text/asciidoc", "text/mdx",
    "text/x-braces", "text/x-org", "text/x-python", "text/x-quarto", "text/x-script", "text/x-tex",
]
# fmt: on


def text_of(data: bytes, media_type: str = "text/plain") -> str:
    return Extraction().extract(data, media_type, fallback_title="fallback").text


def html(markup: str) -> str:
    return text_of(markup.encode(), "text/html")


def title_of(text: str, media_type: str = "text/markdown") -> str:
    return Extraction().extract(text.encode(), media_type, fallback_title="fallback").title


@given(data=st.one_of(st.binary(), st.text().map(str.encode)), media=st.sampled_from(MEDIA_TYPES))
def test_any_bytes_become_clean_text_or_an_error(data: bytes, media: str) -> None:
    """Whatever a file holds, it is a DocumentError or a text that every store takes."""
    try:
        extracted = Extraction().extract(data, media, fallback_title="fallback")
    except DocumentError:
        return
    (extracted.title + extracted.text).encode()
    assert "\0" not in extracted.text
    assert "\r" not in extracted.text
    assert extracted.text.strip() or extracted.members
    assert extracted.title
    assert "\n" not in extracted.title
    assert len(extracted.title) <= MAX_TITLE_CHARS


# --- Bytes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b" \t\r\n ", "there is no text in it, only whitespace"),
        (codecs.BOM_UTF8, "there is no text in it, only whitespace"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it is binary, not text: it contains NUL bytes"),
    ],
)
def test_what_is_not_text_is_said_in_plain_words(data: bytes, message: str) -> None:
    """Nothing is invented for bytes that are no text: the message says what they are."""
    with pytest.raises(DocumentError, match=message):
        text_of(data)


def test_newlines_are_one_character_and_nuls_are_gone() -> None:
    """Texts from Windows and old Macs look like all others."""
    assert text_of("a\r\nb\rc\n\0d".encode("utf-16")) == "a\nb\nc\nd"


def test_lone_surrogates_become_replacement_characters() -> None:
    """Not even a codec that makes them up brings a surrogate into the text."""
    page = b'<meta charset="unicode_escape"><p>a\\ud800b'

    assert text_of(page, "text/html") == "a\N{REPLACEMENT CHARACTER}b"


def test_pages_depend_on_selectors_and_the_parser() -> None:
    """Other files do not: they are not read again for another one."""
    usual, selecting = Extraction(), Extraction(keep=("main",))

    assert usual.fingerprint_of("text/html").endswith(f", selectolax {version('selectolax')}")
    assert usual.fingerprint_of("text/html") != selecting.fingerprint_of("text/html")
    assert selecting.fingerprint != Extraction(drop=("main",)).fingerprint
    assert selecting.fingerprint_of("text/plain") == usual.fingerprint_of("text/plain")
    assert usual.fingerprint_of("text/plain") == usual.fingerprint


# --- HTML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("markup", ["<p></p>", "<html><head><title>t</title></head></html>", "<!"])
def test_a_page_without_text_is_an_error(markup: str) -> None:
    """Markup alone is nothing to embed."""
    with pytest.raises(DocumentError, match="there is no text in it, only markup"):
        html(markup)


def test_an_empty_page_is_an_empty_file() -> None:
    """A file of no bytes says so, whatever its type."""
    with pytest.raises(DocumentError, match="the file is empty"):
        text_of(b"", "text/html")


# --- Titles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n## First ##\n\n### Second", "First"),
        ("![](logo.png)\n\n## Sponsors\n\n# Project { #project }\n\n# Usage", "Project"),
        ("A setext\ntitle\n=====\n", "A setext title"),
        ("Dashes\n---\n", "Dashes"),
        ("```sh\n# comment\n```\n# Real", "Real"),
        ("~~~\n```\n# comment\n~~~\n# Real", "Real"),
        ("---\ntitle: 'From the front'\n---\n# Heading", "From the front"),
        ('---\ntitle:\t"It\'s" \n---\ntext', "It's"),
        ("---\ntitle: 'a' b\n---\ntext", "'a' b"),
        ("---\ntitle: ''\n---\n# Heading", "Heading"),
        ("---\ntitle: \n---\n# Heading", "Heading"),
        ("---\nauthor: x\n---\n# Heading", "Heading"),
        ("- item\n---\n\ntext", "fallback"),
        ("#hashtag\n####### seven", "fallback"),
        ("#\n# \n# Third", "Third"),
        ("# C#", "C#"),
        ("# F # \t##\t", "F #"),
        ("# ##", "fallback"),
    ],
)
def test_the_title_of_markdown(text: str, title: str) -> None:
    """It is that of the front matter, else of the highest heading, else the file's name."""
    assert title_of(text) == title


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("=====\nTitle\n=====\n", "Title"),
        (".. note:: x\n\nTitle\n-----\n", "Title"),
        ("A long title\n----\n", "A long title"),
        ("words\n--\n", "fallback"),
        ("text\n\n-----\n\ntext", "fallback"),
        ("==== ====\na    b\n==== ====\n", "fallback"),
    ],
)
def test_the_title_of_restructured_text(text: str, title: str) -> None:
    """It is the first heading of the highest level, else the file's name."""
    assert title_of(text, "text/x-rst") == title


def test_a_page_without_a_title_is_titled_by_its_file() -> None:
    """An icon's title is none."""
    assert title_of("<svg><title>icon</title></svg><p>text", "text/html") == "fallback"


def test_plain_text_is_titled_by_its_file() -> None:
    """A line of hashes in plain text is no heading."""
    assert title_of("# not a heading", "text/plain") == "fallback"


def test_a_title_is_one_short_line() -> None:
    """White space is folded and an endless heading cut."""
    assert title_of("#  a \t b  ") == "a b"
    assert title_of(f"# a{' ' * 20_000}b") == "a b"
    assert title_of(f"a{' ' * 20_000}b\n====", "text/x-rst") == "a b"
    assert title_of("# " + "x" * 1000) == "x" * MAX_TITLE_CHARS
    assert Extraction().extract(b"x", "text/plain", fallback_title=" a\nb ").title == "a b"


def test_selectors_that_leave_nothing_are_named() -> None:
    """Who drops all of a page is told by what."""
    page, extraction = b"<main><p>Text</p></main>", Extraction(drop=("main",))

    with pytest.raises(DocumentError, match=r"only markup and what corpus\.html_drop names"):
        extraction.extract(page, "text/html", fallback_title="f")
