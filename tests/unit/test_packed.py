"""Archives of XML: what is refused before anything of them is read, and in which words."""

import zipfile
from io import BytesIO

import pytest

from embedding_assets.corpus.formats.office.docx import read_docx
from embedding_assets.corpus.formats.office.odt import read_odt
from embedding_assets.corpus.formats.office.packed import MAX_PARTS, Packed
from embedding_assets.corpus.formats.office.rtf import read_rtf
from embedding_assets.corpus.formats.office.sheets import read_sheets
from embedding_assets.errors import DocumentError
from tests.archives import open_document, packed, word_document

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{\\rtf1 text}", "it is RTF, no Word document: name it so"),
        (b"%PDF-1.7", "it is a PDF, no Word document: name it so"),
        (b"\xef\xbb\xbf <!DOCTYPE html><p>text", "it is HTML, no Word document: name it so"),
        (b"<?xml version='1.0'?><a/>", "it is XML, no Word document: name it so"),
        (b"some text", "it is no Word document, or damaged: get it again"),
        (OLE + b"text", "it is in the old binary format of its program, no Word document"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "it is protected by a password: save it"),
        (b"PK\x03\x04 cut", "it is damaged, or was cut off: get it again"),
        (packed({"content.xml": "<a/>"}), "it is no Word document, but another file of the same"),
    ],
)
def test_what_is_no_document_of_its_kind_is_called_what_it_is(data: bytes, message: str) -> None:
    """The message says what to do, too."""
    with pytest.raises(DocumentError, match=message):
        read_docx(data)


def test_an_archive_with_too_many_parts_is_refused() -> None:
    """Before any of them is read."""
    data = packed(dict.fromkeys(map(str, range(MAX_PARTS + 1)), ""))

    with pytest.raises(DocumentError, match="0 MB in 20,001 parts; at most 1,000 MB in 20,000"):
        Packed.of(data, "EPUB")


def test_a_part_is_never_larger_than_it_was_said_to_be() -> None:
    """An archive that lies about it is damaged."""
    data = bytearray(word_document("<w:p><w:r><w:t>text</w:t></w:r></w:p>"))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (10).to_bytes(4, "little")

    with pytest.raises(DocumentError, match="it is damaged, or was cut off"):
        read_docx(bytes(data))


def test_a_part_with_a_password_locks_the_file() -> None:
    """As every program writes it that locks a plain archive."""
    data = bytearray(packed({"word/document.xml": "<a/>"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(DocumentError, match="it is protected by a password"):
        read_docx(bytes(data))


def test_a_locked_open_document_says_so() -> None:
    """Its parts are there, but scrambled; its manifest says so."""
    manifest = '<manifest xmlns="urn:m"><file-entry><encryption-data/></file-entry></manifest>'
    data = packed({"content.xml": "\x01\x02", "META-INF/manifest.xml": manifest})

    for read in (read_odt, read_sheets):
        with pytest.raises(DocumentError, match="it is protected by a password"):
            read(data)


def test_entities_are_not_expanded() -> None:
    """A few lines of them could be gigabytes."""
    bomb = '<!DOCTYPE a [<!ENTITY b "text">]><a>&b;</a>'

    with pytest.raises(DocumentError, match="its XML defines entities"):
        read_odt(packed({"content.xml": bomb}))


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (read_docx, word_document("<w:sdt>" * 5000 + "</w:sdt>" * 5000)),
        (read_odt, open_document("<text:section>" * 5000 + "</text:section>" * 5000)),
        (read_rtf, b"{\\rtf1 " + b"{" * 5000 + b"}" * 5001),
    ],
)
def test_what_is_nested_too_deeply_is_refused(read, data: bytes) -> None:  # type: ignore[no-untyped-def]
    """No program writes that; Python would run out of stack."""
    with pytest.raises(DocumentError, match=r"it is no sound .* \(nested too deeply\)"):
        read(data)


def test_damage_in_a_part_is_the_file_s_fault() -> None:
    """A byte that has changed is noticed."""
    data = word_document("<w:p><w:r><w:t>text</w:t></w:r></w:p>")
    with zipfile.ZipFile(BytesIO(data)) as archive:
        place = archive.getinfo("word/document.xml").header_offset + 80
    damaged = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]

    with pytest.raises(DocumentError, match="it is damaged, or was cut off"):
        read_docx(damaged)
