"""Books: chapters in order, what their table of contents calls them, what is protected."""

import pytest

from embedding_assets.corpus.formats.office.epub import read_epub
from embedding_assets.errors import DocumentError
from tests.archives import packed

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
