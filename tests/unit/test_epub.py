"""Books: chapters in order, what their table of contents calls them, what is protected."""

import time

import pytest

from embedding_assets.corpus.formats.office.epub import read_epub
from embedding_assets.errors import DocumentError
from tests.archives import packed

_NCX_TYPE = 'media-type="application/x-dtbncx+xml"'
_CONTAINER = '<container><rootfiles><rootfile full-path="O/b.opf"/></rootfiles></container>'
_OPF = """<package><metadata><title>Book</title><identifier>urn:uuid:1</identifier></metadata>
<manifest><item id="b" href="b%20b.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>
<item id="n" href="n.ncx" media-type="application/x-dtbncx+xml"/></manifest>
<spine><itemref idref="b"/><itemref idref="gone"/><itemref idref="a"/></spine></package>"""
_NCX = """<ncx><navMap><navPoint><navLabel><text>First</text></navLabel>
<content src="b%20b.xhtml#x"/></navPoint></navMap></ncx>"""
_PARTS = {
    "META-INF/container.xml": _CONTAINER,
    "O/b.opf": _OPF,
    "O/n.ncx": _NCX,
    "O/b b.xhtml": "<html><head><title/></head><body><p>one<a id='x'/></p></body></html>",
    "O/a.xhtml": "<html><body><h2 id='y'>Second</h2><p>two</p></body></html>",
}


def test_chapters_are_in_the_order_of_reading() -> None:
    """What has no heading has that of the table of contents; an empty title hides nothing."""
    found = read_epub(packed(_PARTS))

    assert (found.title, found.text) == ("Book", "# First\n\none\n\n## Second\n\ntwo")
    assert not any(block.anchor for block in found.blocks)
    assert not found.metadata


def test_the_contents_of_epub_3_name_chapters_too() -> None:
    """They are places as their own page says them; its pages and landmarks name nothing."""
    nav = (
        '<html xmlns:epub="urn:e"><nav epub:type="page-list"><a href="../b%20b.xhtml">7</a></nav>'
        '<nav epub:type="toc"><a href="../b%20b.xhtml#x">The <i>first</i></a></nav></html>'
    )
    opf = _OPF.replace(
        '<item id="n" href="n.ncx" media-type="application/x-dtbncx+xml"/>',
        '<item id="n" href="t/n.xhtml" media-type="application/xhtml+xml" properties="nav"/>',
    )
    parts = {**_PARTS, "O/b.opf": opf, "O/t/n.xhtml": nav}

    assert read_epub(packed(parts)).text.startswith("# The first\n\none")
    assert read_epub(packed({**parts, "O/t/n.xhtml": "<nav>&nbsp;"})).text.startswith("one\n\n")


@pytest.mark.parametrize(("place", "text"), [("", "two"), ("#toc", "one")])
def test_a_chapter_that_begins_with_the_contents_is_read(place: str, text: str) -> None:
    """Only a whole page of them is left out."""
    guide = f'<guide><reference type="toc" href="b%20b.xhtml{place}"/></guide></package>'
    parts = {**_PARTS, "O/b.opf": _OPF.replace("</package>", guide)}

    assert text in read_epub(packed(parts)).text
    assert ("one" in read_epub(packed(parts)).text) == bool(place)


def test_time_grows_with_the_chapters() -> None:
    """The table of contents is read once."""
    n = 1000
    items = "".join(
        f'<item id="i{k}" href="{k}.xhtml" media-type="application/xhtml+xml"/>' for k in range(n)
    )
    spine = "".join(f'<itemref idref="i{k}"/>' for k in range(n))
    point = '<navPoint><navLabel><text>C{0}</text></navLabel><content src="{0}.xhtml"/></navPoint>'
    opf = f'{_OPF.partition("<item ")[0]}<item id="n" href="n.ncx" {_NCX_TYPE}/>{items}'
    parts = {
        "META-INF/container.xml": _CONTAINER,
        "O/b.opf": f"{opf}</manifest><spine>{spine}</spine></package>",
        "O/n.ncx": "<ncx>" + "".join(point.format(k) for k in range(n)) + "</ncx>",
        **{f"O/{k}.xhtml": "<html><body>x</body></html>" for k in range(n)},
    }
    data = packed(parts)
    start = time.process_time()

    assert read_epub(data).text.endswith("# C999\n\nx")
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("algorithm", "is_readable"),
    [("http://www.idpf.org/2008/embedding", True), ("http://www.w3.org/2001/04/xmlenc#aes", False)],
)
def test_a_protected_book_is_refused(algorithm: str, is_readable: bool) -> None:
    """Fonts may be scrambled."""
    locks = f'<encryption><EncryptionMethod Algorithm="{algorithm}"/></encryption>'
    data = packed({**_PARTS, "META-INF/encryption.xml": locks})

    if is_readable:
        assert read_epub(data).text
    else:
        with pytest.raises(DocumentError, match=r"protected against copying \(DRM\)"):
            read_epub(data)
