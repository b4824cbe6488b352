"""XHTML: what XML and HTML understand differently."""

import pytest

from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.corpus.formats.html.xhtml import html_of_xhtml


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("<a id='b'/>c", "<a id='b'></a>c"),
        ('<script src="a/b"/>c', '<script src="a/b"></script>c'),
        ('<p class="a>b"/>', '<p class="a>b"></p>'),
        ("<br/><img src='a'/>", "<br/><img src='a'/>"),
        ("<em:x/>", "<em:x></em:x>"),
        ("<![CDATA[a < b]]>&amp;", "a &lt; b&amp;"),
        ("<![CDATA[a", "a"),
        ("<p>a / > b</p>", "<p>a / > b</p>"),
    ],
)
def test_elements_end_where_xml_ends_them(source: str, html: str) -> None:
    """Elements that are closed at once do not swallow what follows, and CDATA is text."""
    assert html_of_xhtml(source) == html


def test_a_page_of_xhtml_may_declare_its_encoding() -> None:
    """In the XML declaration."""
    page = (
        '<?xml version="1.0" encoding="windows-1251"?><html><body><p>Привет, мир</p></body></html>'
    )

    found = Extraction().extract(
        page.encode("windows-1251"), "application/xhtml+xml", fallback_title="f"
    )

    assert found.text == "Привет, мир"
