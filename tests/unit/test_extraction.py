"""Bytes to title and text: encodings, HTML, titles."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.formats.extraction import Extracted, extract
from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS
from embedding_assets.errors import DocumentError

MEDIA_TYPES = ["text/markdown", "text/html", "text/x-rst", "text/plain"]


def text_of(data: bytes, media_type: str = "text/plain") -> str:
    return extract(data, media_type, fallback_title="fallback").text


def html(markup: str) -> str:
    return text_of(markup.encode(), "text/html")


def title_of(text: str, media_type: str = "text/markdown") -> str:
    return extract(text.encode(), media_type, fallback_title="fallback").title


@given(data=st.one_of(st.binary(), st.text().map(str.encode)), media=st.sampled_from(MEDIA_TYPES))
def test_any_bytes_become_clean_text_or_an_error(data: bytes, media: str) -> None:
    """Whatever a file holds, it is a DocumentError or a text that every store takes."""
    try:
        extracted = extract(data, media, fallback_title="fallback")
    except DocumentError:
        return
    (extracted.title + extracted.text).encode()
    assert "\0" not in extracted.text
    assert "\r" not in extracted.text
    assert extracted.text.strip()
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


# --- HTML -----------------------------------------------------------------------------------------


def test_a_page_becomes_markdown() -> None:
    """Headings, paragraphs, lists, tables and code keep their form; all else is gone."""
    page = """<!doctype html><html><head><title>The
        &amp; page</title><style>p {}</style><meta name=x></head><body onload="x()">
        <script>alert("no")</script><template><p>no</p></template><noscript>no</noscript>
        <svg><title>no</title><text>no</text></svg><!-- no -->
        <h1>First <em>heading</em><a class="headerlink" href="#x">¶</a></h1>
        <p>Caf&eacute;&nbsp;&lt;b&gt;   <b>bold</b>,
           x<sub>2</sub></p><div>one</div><div>two<br>three</div>
        <ul><li>a<ul><li>b<ol><li>c</li></ol></li></ul></li><li></li><li><p>d</p></li></ul>
        <pre>
  def f():
      # a comment
      return 1 &lt; 2
</pre>
        <table><thead><tr><th></th><th>x</th></tr></thead>
        <tr><td>r</td><td><p>1</p><p>2</p></td></tr></table>
        <h6></h6><h2>Second<br>heading</h2>tail<hr>end</body></html>"""

    assert extract(page.encode(), "text/html", fallback_title="f") == Extracted(
        title="The & page",
        text="""\
# First heading

Café <b> bold, x2

one
two
three

- a
  - b
    - c
- d

```
  def f():
      # a comment
      return 1 < 2
```

| x
r | 1 2

## Second heading

tail

end""",
    )


def test_code_that_contains_a_fence_gets_a_longer_one() -> None:
    """A fence inside a code block does not end it."""
    assert html("<pre>```\nx\n```</pre>") == "````\n```\nx\n```\n````"


def test_code_inside_a_table_stays_code() -> None:
    """The tables that hold line numbers and code do not flatten the code."""
    markup = "<table><tr><td><pre>1\n2</pre></td><td><pre>a\n  b</pre></td></tr></table>"

    assert html(markup) == "```\n1\n2\n```\n\n```\na\n  b\n```"


def test_words_of_neighbouring_elements_do_not_melt() -> None:
    """Inline markup joins as written, blocks and cells always part."""
    assert html("<b>in</b>side <i>a </i>b<p>c</p>d") == "inside a b\n\nc\n\nd"
    assert html("<tr><td>a<td>b") == "ab"  # no table: browsers drop the cells as well
    assert html("<table><tr><td>a<td><td>b<tr><td>c</table>") == "a | | b\nc"


def test_deep_nesting_is_no_problem() -> None:
    """A page may nest deeper than Python recurses."""
    assert html("<b>" * 5000 + "deep") == "deep"
    assert html("<ul><li>" * 2000 + "deep") == "  " * 6 + "- deep"


def test_a_stray_end_or_row_is_no_problem() -> None:
    """Broken markup loses structure, not text."""
    assert html("</ul></tr></h1>a<li>b</table></td><tr>c") == "a\n- bc"


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
    """It is the first underlined line."""
    assert title_of(text, "text/x-rst") == title


@pytest.mark.parametrize(
    ("markup", "title"),
    [
        ("<title>T</title><h1>H</h1>", "T"),
        ("<title> </title><h3>H &amp; <b>M</b></h3>", "H & M"),
        ("<svg><title>icon</title></svg><p>text", "fallback"),
    ],
)
def test_the_title_of_a_page(markup: str, title: str) -> None:
    """It is the page's title, else its first heading, else the file's name."""
    assert title_of(f"{markup}<p>text", "text/html") == title


def test_plain_text_is_titled_by_its_file() -> None:
    """A line of hashes in plain text is no heading."""
    assert title_of("# not a heading", "text/plain") == "fallback"


def test_a_title_is_one_short_line() -> None:
    """White space is folded and an endless heading cut."""
    assert title_of("#  a \t b  ") == "a b"
    assert title_of("# " + "x" * 1000) == "x" * MAX_TITLE_CHARS
    assert extract(b"x", "text/plain", fallback_title=" a\nb ").title == "a b"
