"""What kind of file it is, by its content, where the name does not tell.

Belongs here: how files of each kind begin. Does not belong here: the kinds and their suffixes
(kinds.py).
"""

import io
import lzma
import re
import zipfile
import zlib

from embedding_assets.corpus.kinds import UNKNOWN_TYPE, kind_of_name, kind_of_type

HEAD_BYTES = 4096  # of a file, which are enough to tell
_STARTS = (
    (re.compile(rb"%PDF-"), ".pdf"),
    (re.compile(rb"\{\\rtf"), ".rtf"),
    (re.compile(rb"From \S+ +\w{3} \w{3} +\d"), ".mbox"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)[\s>]", re.IGNORECASE), ".html"),
)
_ARCHIVE = b"PK\x03\x04"
# What is in an archive of Office Open XML; OpenDocument and EPUB say themselves what they are.
_MAIN_PARTS = {
    "word/document.xml": ".docx",
    "ppt/presentation.xml": ".pptx",
    "xl/workbook.xml": ".xlsx",
}
# What is raised for archives, in which anything may be damaged or of a newer kind.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
)
_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16 and UTF-32
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def may_be_read(head: bytes) -> bool:
    """Whether the beginning of a file is that of one that is read."""
    head = head[:HEAD_BYTES]
    return head.startswith((b"%PDF-", _ARCHIVE)) or _is_text(head)


def type_of_content(data: bytes) -> str:
    """The media type; UNKNOWN_TYPE if it is none that is read. What looks like text is plain."""
    head = data[:HEAD_BYTES]
    suffix = next((suffix for start, suffix in _STARTS if start.match(head)), "")
    if data.startswith(_ARCHIVE):
        return _type_of_archive(data)
    if suffix:
        return _type_of(suffix)
    return "text/plain" if _is_text(head) else UNKNOWN_TYPE


def _is_text(head: bytes) -> bool:
    return head.startswith(_MARKS) or not _CONTROLS.search(head)


def _type_of(suffix: str) -> str:
    kind = kind_of_name(f"x{suffix}")
    return kind.media_type if kind else UNKNOWN_TYPE


def _type_of_archive(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            said = _beginning_of(archive, "mimetype") if "mimetype" in names else ""
    except _DAMAGES:
        return UNKNOWN_TYPE
    suffix = next((_MAIN_PARTS[part] for part in _MAIN_PARTS if part in names), "")
    return said if kind_of_type(said) else _type_of(suffix)


def _beginning_of(archive: zipfile.ZipFile, name: str) -> str:
    """Of what may be packed without end."""
    with archive.open(name) as file:
        return file.read(100).decode().strip()
