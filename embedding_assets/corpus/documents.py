"""Documents of the corpus: what one is, and reading it without ever failing the others.

Belongs here: the value, the file's signature, what keeps one file from being read. Does not belong
here: finding files (find.py), bytes to text (formats/), the monthly Parquet file (snapshots.py).
"""

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from embedding_assets.corpus.blocks import Block
from embedding_assets.corpus.census import LeftOutError, Outcome
from embedding_assets.corpus.content_types import HEAD_BYTES, may_be_read, type_of_content
from embedding_assets.corpus.find import SourceFile
from embedding_assets.corpus.formats.extracted import Extracted, Member
from embedding_assets.corpus.formats.extraction import Extraction, Reader
from embedding_assets.corpus.kinds import UNKNOWN_TYPE, kind_of_name, kind_of_type
from embedding_assets.corpus.metadata import as_json
from embedding_assets.errors import DocumentError
from embedding_assets.wording import count

MAX_DEPTH = 5  # of files in files

_BLOCK_BYTES = 1_000_000
_NO_KIND = "application/octet-stream"  # that is read
_NOT_READ = (Outcome.UNKNOWN_KIND, Outcome.UNWANTED_KIND)  # and nobody asks why

# Some file systems keep times in steps of two seconds: a file that was changed so shortly before it
# is read may be changed again without looking any different.
RACY_MARGIN = timedelta(seconds=2)
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One version of one document.

    With a text and no error it is the file as it was read. With both the file cannot be read now,
    and all but the error is its last good version, kept in its place. With an error and no text it
    cannot be used.
    """

    uri: str  # the path under which the settings reach it, posix style
    sha256: str  # hex, of the file's bytes; empty if they could not be read
    media_type: str
    title: str
    text: str
    blocks: tuple[Block, ...]  # of the text, in order
    n_bytes: int
    modified_at: datetime  # UTC; 1970 if not known
    extraction: str  # which way of reading made the text
    url: str = ""  # where people find it; empty if nobody says
    metadata: str = "{}"  # what it says about itself, as JSON: texts and lists of texts, by name
    within: str = ""  # the uri of the file in which it is one, such as a mail; else empty
    remark: str = ""  # how it was read, if that was not as usual
    error_message: str | None = None
    signature: str = ""  # equal only if the file is the same; empty if that cannot be told
    unreadable_since: datetime | None = None  # UTC; the first snapshot that could not read it

    def __post_init__(self) -> None:
        for name in ("modified_at", "unreadable_since"):
            at = getattr(self, name)
            if at is not None and at.utcoffset() != timedelta(0):
                raise ValueError(f"{name} must be an aware UTC time, not {at!r}")

    @property
    def is_kept(self) -> bool:
        """An earlier version that stands in for a file that cannot be read."""
        return self.error_message is not None and self.text != ""

    @property
    def is_usable(self) -> bool:
        """It has a text, possibly that of an earlier version."""
        return self.error_message is None or self.text != ""

    @property
    def is_draft(self) -> bool:
        """By its own word."""
        return bool(json.loads(self.metadata).get("draft") == "true")


# May know what was extracted from the bytes with this sha256, from an earlier time.
Recall = Callable[[str], Extracted | None]


def knows_nothing(_: str) -> None:
    """The recall of what is read for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What a file system tells about a file that is not opened."""

    signature: str  # see Document
    modified_at: datetime


def read_file(
    source: SourceFile,
    *,
    now: datetime,
    max_bytes: int,
    recall: Recall = knows_nothing,
    reader: Reader = Extraction(),  # noqa: B008 -- it is frozen
) -> list[Document]:
    """Read a file: its document, then those of the files in it, such as a mail's attachments.

    A file that is nothing but files in it has no document of its own. Whatever is wrong ends up in
    ``error_message``. ``now`` is when reading the corpus began. Raises LeftOutError if its content
    turns out to be of a kind that is not read.
    """
    title = PurePosixPath(source.uri).stem
    document = unread(source.uri, source.media_type, title=title)
    try:
        # Before the bytes: what changes in between looks changed.
        state = look_at(source, now=now, max_bytes=max_bytes)
        data = _read(source, max_bytes)
    except DocumentError as exc:
        return [_broken(document, exc, reader, now)]
    document = replace(document, modified_at=state.modified_at, signature=state.signature)
    # What a name says was asked when the file was found; one that is named itself is always read.
    read = documents_in if document.media_type else documents_of
    return read(document, data, reader, now=now, recall=recall)


def documents_of(
    document: Document,
    data: bytes,
    reader: Reader,
    *,
    now: datetime,
    recall: Recall = knows_nothing,
    depth: int = 0,
) -> list[Document]:
    """The same of bytes, and of a document of which they are all that is not known yet."""
    media_type = document.media_type or type_of_content(data)
    # What is too deep may have itself in it.
    reason = reader.reason_against(media_type) if depth <= MAX_DEPTH else Outcome.TOO_DEEP
    if reason is not None:
        raise LeftOutError(reason)
    document = replace(document, media_type=media_type)
    return documents_in(document, data, reader, now=now, recall=recall, depth=depth)


def documents_in(
    document: Document,
    data: bytes,
    reader: Reader,
    *,
    now: datetime,
    recall: Recall = knows_nothing,
    depth: int = 0,
) -> list[Document]:
    """The same of a document whose kind is known, and is not asked whether it is wanted."""
    media_type, sha256 = document.media_type, hashlib.sha256(data).hexdigest()
    document = replace(document, sha256=sha256, n_bytes=len(data))
    try:
        with exhaustion_as_document_error():
            extracted = recall(sha256) or reader.extract(
                data, media_type, fallback_title=document.title
            )
        members, left_out = _members_of(document, extracted.members, reader, now, depth + 1)
        remark = _with_left_out(extracted.remark, left_out)
        if not extracted.text and not members:
            raise DocumentError(f"there is no text in it; {remark}")
    except DocumentError as exc:
        return [_broken(document, exc, reader, now)]
    own = replace(
        document,
        title=extracted.title,
        text=extracted.text,
        blocks=extracted.blocks,
        extraction=reader.fingerprint_of(media_type),
        metadata=as_json(extracted.metadata),
        remark=remark,
    )
    return [own] * bool(extracted.text) + members


def _members_of(
    document: Document, members: Iterable[Member], reader: Reader, now: datetime, depth: int
) -> tuple[list[Document], Counter[Outcome]]:
    """The documents of the files in a file, and why how many of these have none."""
    documents: list[Document] = []
    left_out: Counter[Outcome] = Counter()
    for each in members:
        member = _unread_member(document, each)
        try:
            documents += documents_of(member, each.data, reader, now=now, depth=depth)
        except LeftOutError as exc:
            left_out[exc.outcome] += 1
    return documents, left_out


def unread(uri: str, media_type: str, *, title: str) -> Document:
    """What there is of a document before its file was looked at."""
    return Document(
        uri=uri,
        sha256="",
        media_type=media_type,
        title=title,
        text="",
        blocks=(),
        n_bytes=0,
        modified_at=EPOCH,
        extraction="",
    )


def _unread_member(document: Document, member: Member) -> Document:
    kind = kind_of_name(member.name) or kind_of_type(member.media_type)
    by_content = UNKNOWN_TYPE if not PurePosixPath(member.name).suffix else _NO_KIND
    uri, title = f"{document.uri}/{member.name}", PurePosixPath(member.name).stem
    return replace(
        unread(uri, kind.media_type if kind else by_content, title=title),
        modified_at=document.modified_at,
        signature=document.signature,
        within=document.within or document.uri,
    )


def _broken(document: Document, error: DocumentError, reader: Reader, now: datetime) -> Document:
    return replace(
        document,
        extraction=reader.fingerprint_of(document.media_type),
        error_message=str(error),
        signature="",
        unreadable_since=now,
    )


def _with_left_out(remark: str, left_out: Counter[Outcome]) -> str:
    numbers = {
        "of kinds that are not read": sum(map(left_out.__getitem__, _NOT_READ)),
        **{str(reason): left_out[reason] for reason in (Outcome.NOT_INSTALLED, Outcome.TOO_DEEP)},
    }
    said = [f"{count(n, 'file')} in it left out, {why}" for why, n in numbers.items() if n]
    return "; ".join(filter(None, [remark, *said]))


def look_at(source: SourceFile, *, now: datetime, max_bytes: int) -> FileState:
    """See whether a file can be read and how it looks, without opening it.

    Raises DocumentError if it is gone, no file, or too large.
    """
    with _document_errors():
        found = source.path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise DocumentError("it is not a file any more, or a special one such as a pipe")
        if found.st_size > max_bytes:
            raise _too_large(f"{found.st_size:,} bytes", max_bytes)
        return FileState(
            signature=_signature(found, now),
            modified_at=datetime.fromtimestamp(found.st_mtime, UTC),
        )


def _read(source: SourceFile, max_bytes: int) -> bytes:
    """The bytes of a file; never more than ``max_bytes``, whatever its size was said to be.

    Only the beginning, if that shows that it is none that is read.
    """
    blocks: list[bytes] = []
    n_left = max_bytes + 1
    with _document_errors(), source.path.open("rb") as file:
        if not source.media_type and not may_be_read(head := file.read(HEAD_BYTES)):
            return head
        file.seek(0)
        while n_left and (block := file.read(min(n_left, _BLOCK_BYTES))):
            blocks.append(block)
            n_left -= len(block)
    if not n_left:
        raise _too_large("more bytes than were listed", max_bytes)
    return b"".join(blocks)


def _too_large(size: str, max_bytes: int) -> DocumentError:
    return DocumentError(
        f"the file has {size}, more than the {max_bytes:,} that are read; split it, or raise "
        "corpus.max_file_mb"
    )


def _signature(found: Any, now: datetime) -> str:
    """From what ``stat`` says: of a local file its size, times and inode, elsewhere the ETag."""
    if isinstance(found, os.stat_result):
        touched_at = datetime.fromtimestamp(max(found.st_mtime, found.st_ctime), UTC)
        if touched_at >= now - RACY_MARGIN:
            return ""
        return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
    info = {re.sub("[-_]", "", name).lower(): value for name, value in found.as_info().items()}
    etag = str(info.get("etag") or "W/")
    # A weak one (RFC 9110, 8.8.1) stays the same when the bytes change a little.
    return "" if etag.startswith("W/") else f"etag {etag}"


@contextmanager
def _document_errors() -> Iterator[None]:
    """Raises DocumentError for whatever a file system has against a file."""
    try:
        yield
    except DocumentError:
        raise
    except FileNotFoundError as exc:
        raise DocumentError("the file is gone: deleted meanwhile, or a link to nothing") from exc
    except Exception as exc:  # each backend of fsspec has errors of its own
        reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
        raise DocumentError(f"the file cannot be read: {reason}") from exc


@contextmanager
def exhaustion_as_document_error() -> Iterator[None]:
    """Raises DocumentError where one document takes more memory, or stack, than there is."""
    try:
        yield
    except (MemoryError, RecursionError) as exc:
        raise DocumentError(
            f"it takes more memory than there is ({type(exc).__name__}); split it"
        ) from exc


def in_batches(
    documents: Iterable[Document], *, max_documents: int, max_chars: int
) -> Iterator[list[Document]]:
    """Batches that end at whichever limit is reached first, so that memory is bounded."""
    batch: list[Document] = []
    n_chars = 0
    for document in documents:
        batch.append(document)
        n_chars += len(document.text)
        if len(batch) >= max_documents or n_chars >= max_chars:
            yield batch
            batch, n_chars = [], 0
    if batch:
        yield batch
