"""What a file without a suffix is, by its content."""

import io
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.content_types import may_be_read, type_of_content
from embedding_assets.corpus.kinds import kind_of_type


def archive(**entries: str) -> bytes:
    """A zip file; ``__`` in a name is a slash, ``_`` a dot."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in entries.items():
            file.writestr(name.replace("__", "/").replace("_", "."), text)
    return data.getvalue()


OPEN_DOCUMENT = "application/vnd.oasis.opendocument.text"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"plain text", "text/plain"),
        ("größer".encode("latin-1"), "text/plain"),
        ("größer".encode("utf-16"), "text/plain"),
        (b"\x1b$B$3", "text/plain"),
        (b"%PDF-1.7\n%\xe2\xe3\0", "application/pdf"),
        (b"{\\rtf1 x}", "application/rtf"),
        (b"\xef\xbb\xbf<!DOCTYPE html><p>x", "text/html"),
        (b"\n<HTML><p>x", "text/html"),
        (b"<htmlx>", "text/plain"),
        (b"From ada@example.org Mon Nov 30 10:00:00 2026\n\nx", "application/mbox"),
        (b"From here on", "text/plain"),
        (archive(mimetype=OPEN_DOCUMENT, content_xml="x"), OPEN_DOCUMENT),
        (archive(mimetype="application/epub+zip"), "application/epub+zip"),
        (archive(word__document_xml="x"), WORD),
        (archive(mimetype="image/openraster"), ""),
        (archive(a="x"), ""),
        (b"PK\x03\x04 and no archive", ""),
        (b"\x7fELF\x02\0", ""),
        (b"\x89PNG\r\n\x1a\n", ""),
        (b"\x1f\x8b\x08", ""),
    ],
)
def test_files_tell_what_they_are(data: bytes, media_type: str) -> None:
    """By how they begin, or what is in them; other binary files are of no kind."""
    assert type_of_content(data) == media_type


def test_an_archive_that_unpacks_to_much_is_only_begun() -> None:
    """It says what it is in its first bytes, or not at all; nobody is there to confine it."""
    data = archive(mimetype=OPEN_DOCUMENT.ljust(50_000_000))
    tracemalloc.start()

    assert type_of_content(data) == OPEN_DOCUMENT
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def packed(method: int) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        file.writestr("mimetype", OPEN_DOCUMENT * 3)
    return data.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_of_no_kind(method: int) -> None:
    """Wherever it is damaged, and however it is packed."""
    whole = packed(method)
    for place in range(4, len(whole)):
        spoilt = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        media_type = type_of_content(spoilt)
        assert media_type == "" or kind_of_type(media_type)


@given(data=st.binary())
def test_any_content_is_of_a_kind_or_of_none(data: bytes) -> None:
    """And what is of none at the beginning is of none as a whole."""
    media_type = type_of_content(data)
    assert media_type == "" or kind_of_type(media_type)
    assert may_be_read(data) or media_type == ""
