"""Packed files: the archives of XML that documents of office programs and books are.

Belongs here: opening one, its parts within bounds, what the file is instead if it is none. Does not
belong here: what is in the parts (the modules beside).
"""

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self
from xml.etree import ElementTree

from embedding_assets.errors import DocumentError

# An office program's file of text has a few dozen parts and is 5 to 20 times as large unpacked.
MAX_PARTS = 20_000
MAX_UNPACKED_BYTES = 1_000_000_000

_IS_LOCKED = 0x1  # a bit of a part's flags
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_LOCKED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
LOCKED = "it is protected by a password: save it without one"
_BROKEN = "it is damaged, or was cut off: get it again, or save it again"
_RELATED = "_rels/"
_MAX_REASON_CHARS = 100

_PANIC = "PanicException"  # of a library in Rust, which Python does not take for an Exception

Element = ElementTree.Element


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive; nothing of it is read beyond what it says it unpacks to, which is bounded."""

    _archive: zipfile.ZipFile

    @classmethod
    def of(cls, data: bytes, kind: str) -> Self:
        """``kind`` is what it should be, in words. Raises DocumentError for what is no archive, is
        locked or damaged, or unpacks to more than is read.
        """
        check_packed(data, kind)
        return cls(zipfile.ZipFile(io.BytesIO(data)))

    @property
    def names(self) -> list[str]:
        return self._archive.namelist()

    def bytes_of(self, name: str) -> bytes:
        """Raises DocumentError if there is no such part, or it is damaged."""
        try:
            return self._archive.read(name)
        except (KeyError, *_DAMAGE) as exc:
            raise DocumentError(_BROKEN) from exc

    def xml(self, name: str) -> Element:
        """The part with the names of its elements and attributes, but not their namespaces."""
        return parsed(self.bytes_of(name))

    def xml_if_any(self, name: str) -> Element:
        """The same; an empty element without such a part."""
        return self.xml(name) if name in self._archive.NameToInfo else Element("none")

    def related(self, name: str) -> dict[str, str]:
        """The parts that a part of Microsoft's formats goes with, by what they are to it."""
        return dict(self.relations(name))

    def relations(self, name: str) -> list[tuple[str, str]]:
        """The same, of which several may be the same to it."""
        folder, base = posixpath.split(name)
        relations = self.xml_if_any(posixpath.join(folder, _RELATED, f"{base}.rels"))
        return [
            (
                posixpath.basename(each.get("Type", "")),
                posixpath.normpath(posixpath.join("/", folder, each.get("Target", "")))[1:],
            )
            for each in relations
            if each.get("TargetMode") != "External"
        ]


_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)


def check_packed(data: bytes, kind: str) -> None:
    """Raises DocumentError for what is no archive, is locked, or unpacks to more than is read."""
    check_beginning(data, b"PK", kind)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except _DAMAGE as exc:
        raise DocumentError(_BROKEN) from exc
    if any(part.flag_bits & _IS_LOCKED for part in parts):
        raise DocumentError(LOCKED)
    n_bytes = sum(part.file_size for part in parts)
    if len(parts) > MAX_PARTS or n_bytes > MAX_UNPACKED_BYTES:
        raise DocumentError(
            f"it unpacks to {n_bytes / 1_000_000:,.0f} MB in {len(parts):,} parts; at most "
            f"{MAX_UNPACKED_BYTES // 1_000_000:,} MB in {MAX_PARTS:,} are read: split it"
        )


def check_beginning(data: bytes, mark: bytes, kind: str) -> None:
    """Raises DocumentError, which says what it is instead, for a file that begins otherwise."""
    if not data.startswith(mark):
        raise DocumentError(_mistaken(data, kind))


def is_ole(data: bytes) -> bool:
    """Whether it is in the container of Office's old formats, which locked files have, too."""
    return data.startswith(_OLE)


def check_ole(data: bytes) -> None:
    """Raises DocumentError for what is locked."""
    if _LOCKED_PACKAGE in data:
        raise DocumentError(LOCKED)


def _mistaken(data: bytes, kind: str) -> str:
    """What is said of a file that is something else."""
    if is_ole(data):
        check_ole(data)
        return f"it is in the old binary format of its program, no {kind}: save it as one"
    found = next((name for mark, name in _MARKS if mark.match(data)), "")
    if found:
        return f"it is {found}, no {kind}: name it so, or save it as one"
    return f"it is no {kind}, or damaged: get it again, or save it again"


_MARKS = (
    (re.compile(rb"PK"), "an archive, or of another office program"),
    (re.compile(rb"\s*\{\\rtf"), "RTF"),
    (re.compile(rb"%PDF-"), "a PDF"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|table)\b", re.I), "HTML"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml"), "XML"),
)


def parsed(data: bytes) -> Element:
    """XML with local names only. Raises DocumentError if it is none, or defines entities."""
    if b"<!ENTITY" in data:
        raise DocumentError(
            f"its XML defines entities, which nobody needs who means well; {_BROKEN}"
        )
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as exc:
        raise DocumentError(_BROKEN) from exc
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(name): value for name, value in element.attrib.items()}
    return root


def _local(name: str) -> str:
    return name.rpartition("}")[2]


@contextmanager
def understood(kind: str) -> Iterator[None]:
    """Whatever fails in the block is the file's fault: no program has written it so."""
    try:
        yield
    except (DocumentError, MemoryError):
        raise
    except BaseException as exc:
        if not isinstance(exc, Exception) and type(exc).__name__ != _PANIC:
            raise
        is_deep = isinstance(exc, RecursionError)
        reason = "nested too deeply" if is_deep else " ".join(str(exc).split())[:_MAX_REASON_CHARS]
        raise DocumentError(
            f"it is no sound {kind} ({reason or type(exc).__name__}): open it in its program and "
            "save it again"
        ) from exc
