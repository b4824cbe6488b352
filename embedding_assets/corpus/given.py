"""Given documents: what a table or a function of a person's own hands over, which is no file.

Belongs here: the value that such a function yields, and reading it as documents.py reads files.
Does not belong here: who hands it over (tables.py, sources.py), bytes to text (formats/).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import UnionType
from urllib.parse import urlsplit

from embedding_assets.corpus.documents import Document, documents_in, unread
from embedding_assets.corpus.formats.extraction import Reader
from embedding_assets.corpus.formats.text import clean, one_line
from embedding_assets.corpus.kept import with_kept
from embedding_assets.corpus.kinds import UNKNOWN_TYPE, kind_of_type
from embedding_assets.corpus.metadata import as_json, tidied
from embedding_assets.corpus.snapshots import Previous
from embedding_assets.errors import DocumentError
from embedding_assets.settings.values import KindGroup

MAX_ID_CHARS = 1_000

# A row group of the previous snapshot takes as long to open as a hundred texts take to be read.
_NEAR_ROWS = 100

# Neither people nor SQLite know what to do with these.
_CONTROLS = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDocument:
    """A document that is no file: its id, and its text or its data, of a kind of file that is read.

    Title, url and metadata win over those that are found in it. Raises ValueError, or TypeError,
    for what cannot be one.
    """

    id: str  # its uri; the same from month to month, and no other document's
    text: str | None = None
    data: bytes | None = None
    media_type: str = "text/plain"  # or text/markdown, text/html, application/pdf, …
    title: str = ""
    url: str = ""  # where people find it
    metadata: Mapping[str, object] = field(default_factory=dict)
    version: str = ""  # equal only if the document is the same; empty: its content tells

    def __post_init__(self) -> None:
        _check_types(self)
        if not is_id(self.id):
            raise ValueError(
                f"the id of a document must be one line of at most {MAX_ID_CHARS:,} characters, "
                f"not {self.id[:100]!r}"
            )
        if (self.text is None) == (self.data is None):
            raise ValueError(f"document {self.id!r} must have either text or data")
        for name in ("media_type", "url", "version"):
            if _CONTROLS.search(getattr(self, name)):
                raise ValueError(f"{name} of document {self.id!r} must be text in one line")
        if self.url and not _is_absolute(self.url):
            raise ValueError(
                f"the url of document {self.id!r} must begin with http(s)://host, "
                f"not {self.url[:100]!r}"
            )

    @property
    def content(self) -> bytes:
        """As a file would have it; the mark says that text is UTF-8, whatever a page says."""
        return clean(self.text).encode("utf-8-sig") if self.text is not None else self.data or b""


def is_id(text: str) -> bool:
    return bool(text.strip()) and len(text) <= MAX_ID_CHARS and not _CONTROLS.search(text)


def _check_types(document: SourceDocument) -> None:
    for name in ("id", "media_type", "title", "url", "version"):
        _check_type(document, name, str)
    _check_type(document, "text", str | None)
    _check_type(document, "data", bytes | None)
    _check_type(document, "metadata", Mapping)
    if not all(isinstance(name, str) for name in document.metadata):
        raise TypeError(f"the names in the metadata of document {document.id!r} must be str")


def _check_type(document: SourceDocument, name: str, expected: type | UnionType) -> None:
    value = getattr(document, name)
    if not isinstance(value, expected):
        wanted = getattr(expected, "__name__", expected)
        raise TypeError(
            f"{name} of document {document.id!r} must be {wanted}, not {type(value).__name__}"
        )


def _is_absolute(url: str) -> bool:
    try:
        address = urlsplit(url)
    except ValueError:  # brackets that are no IPv6 address
        return False
    return address.scheme in ("http", "https") and bool(address.hostname)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What should have been a document, and why it cannot be one."""

    id: str
    reason: str


def read_given(
    given: Iterable[SourceDocument | Refused],
    previous: Previous,
    *,
    now: datetime,
    keep_for: timedelta,
    max_bytes: int,
    reader: Reader,
) -> Iterator[Document]:
    """Yield the documents of each, in order, as ``read_files`` does for files.

    One with the same version, or the same content, is taken from the previous snapshot. Title, url,
    metadata and media type are content, too. A text that comes in quite another order than then is
    read, which takes less time than to find it.
    """
    for each, is_near in _with_nearness(given, previous):
        if isinstance(each, Refused):
            documents = [
                _unreadable(unread(each.id, UNKNOWN_TYPE, title=each.id), each.reason, now)
            ]
        else:
            is_sought = is_near or not _is_text(each)
            documents = _taken_over(each, previous, reader) if is_sought else []
            documents = documents or _read(each, now=now, max_bytes=max_bytes, reader=reader)
        yield from with_kept(each.id, documents, previous, now=now, keep_for=keep_for)


def _with_nearness(
    given: Iterable[SourceDocument | Refused], previous: Previous
) -> Iterator[tuple[SourceDocument | Refused, bool]]:
    """Each, and whether it stands near the one before it in the previous snapshot as well."""
    row = 0
    for each in given:
        known = previous.known.get(each.id)
        yield each, known is not None and abs(known.row - row) <= _NEAR_ROWS
        row = known.row if known else row


def _is_text(given: SourceDocument) -> bool:
    kind = kind_of_type(_media_type(given))
    return kind is not None and kind.group is KindGroup.TEXT


def _taken_over(given: SourceDocument, previous: Previous, reader: Reader) -> list[Document]:
    """What the previous snapshot has of it, if that is the same and has been read in this way."""
    known = previous.known_in(given.id)
    if not all(each.is_good_for(reader) for each in known):
        return []
    own, signature = previous.known.get(given.id), _signature(given)
    is_same_version = all(each.signature == signature != "" for each in known)
    if not (is_same_version or (own and own.sha256 == _sha256(given, given.content))):
        return []
    found = [each for each in (previous.document(each.uri) for each in known) if each]
    # Who gives another address means it, whatever the version.
    if len(found) < len(known) or any(given.url not in ("", each.url) for each in found):
        return []
    # They may stand there in place of what could not be read.
    return [
        replace(each, url=given.url, signature=signature, error_message=None, unreadable_since=None)
        for each in found
    ]


def _read(
    given: SourceDocument, *, now: datetime, max_bytes: int, reader: Reader
) -> list[Document]:
    content = given.content
    document = replace(
        unread(given.id, _media_type(given), title=given.id),
        n_bytes=len(content),
        extraction=reader.fingerprint_of(_media_type(given)),
        signature=_signature(given),
    )
    try:
        _check(document, max_bytes)
    except DocumentError as exc:
        documents = [_unreadable(document, str(exc), now)]
    else:
        documents = documents_in(document, content, reader, now=now)
    return [
        _as_given(each, given, content) if each.uri == given.id else replace(each, url=given.url)
        for each in documents
    ]


def _as_given(document: Document, given: SourceDocument, content: bytes) -> Document:
    """With what was said of it beside its content."""
    metadata = {**json.loads(document.metadata), **tidied(given.metadata)}
    return replace(
        document,
        sha256=_sha256(given, content),
        title=_title(given) or document.title,
        url=given.url,
        metadata=as_json(metadata),
    )


def _unreadable(document: Document, reason: str, now: datetime) -> Document:
    return replace(document, error_message=reason, signature="", unreadable_since=now)


def _check(document: Document, max_bytes: int) -> None:
    """Raises DocumentError for what is not even tried."""
    kind = kind_of_type(document.media_type)
    if kind is None:
        raise DocumentError(f"its media type {document.media_type[:100]!r} is none that is read")
    kind.check_installed()
    if document.n_bytes > max_bytes:
        raise DocumentError(
            f"it has {document.n_bytes:,} bytes, more than the {max_bytes:,} that are read; split "
            "it, or raise corpus.max_file_mb"
        )


def _media_type(given: SourceDocument) -> str:
    """Without parameters such as a charset."""
    return given.media_type.partition(";")[0].strip().lower()


def _title(given: SourceDocument) -> str:
    return one_line(clean(given.title))


def _signature(given: SourceDocument) -> str:
    return f"version {given.version}" if given.version else ""


def _sha256(given: SourceDocument, content: bytes) -> str:
    """Of all that makes another document of it."""
    about = {
        "media_type": _media_type(given),
        "title": _title(given),
        "url": given.url,
        "metadata": tidied(given.metadata),
    }
    return hashlib.sha256(as_json(about).encode() + b"\n" + content).hexdigest()
