"""Documents of the corpus: finding the files and reading one.

Belongs here: which files are documents, what one document is, reading it without ever failing the
others. Does not belong here: bytes to text (extraction.py), the monthly Parquet file
(snapshots.py), splitting (chunks.py).
"""

import glob
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from embedding_assets.corpus.formats.extraction import EXTRACTION_VERSION, Extracted, extract
from embedding_assets.errors import CorpusError, DocumentError

if TYPE_CHECKING:
    from upath import UPath

MEDIA_TYPES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".rst": "text/x-rst",
    ".txt": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
}
# A file is read and split in memory; a text this long is a dump, not a document.
MAX_DOCUMENT_BYTES = 100_000_000

# Some file systems keep times in steps of two seconds: a file that was changed so shortly before it
# is read may be changed again without looking any different.
RACY_MARGIN = timedelta(seconds=2)

_LOCAL_PROTOCOLS = frozenset({"", "file", "local"})
EPOCH = datetime.fromtimestamp(0, UTC)
_REMEDY = "correct paths in the [corpus] section of the settings"


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
    n_bytes: int
    modified_at: datetime  # UTC; 1970 if not known
    error_message: str | None = None
    signature: str = ""  # equal only if the file is the same; empty if that cannot be told
    extraction_version: int = EXTRACTION_VERSION  # which made the text
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
        """It has a text, be it that of an earlier version."""
        return self.error_message is None or self.text != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that is a document by its name, not read yet."""

    uri: str
    path: "UPath"
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What a file system tells about a file that is not opened."""

    signature: str  # see Document
    modified_at: datetime


def find_documents(paths: Sequence[str]) -> Iterator[SourceFile]:
    """Yield the documents under ``paths``: files, directories (recursively), globs, URIs of fsspec.

    The order is that of ``paths``, then of the names. A file that is reached twice is yielded
    once. Hidden files and directories, other suffixes than those of MEDIA_TYPES, and symbolic
    links out of the directory being walked are left out.

    Raises CorpusError if a path does not exist, matches nothing, is named but of no supported type,
    or is a directory that cannot be listed: without it the index would lose documents unnoticed.
    """
    seen: set[str] = set()
    real = cache(os.path.realpath)  # of directories: asking for each file takes longer than to find
    for corpus_path in paths:
        for path in _find_in(corpus_path):
            identity = _identity(str(path), real) if _is_local(path) else str(path)
            if identity not in seen:
                seen.add(identity)
                yield _source_file(path)


def _identity(path: str, real: Callable[[str], str]) -> str:
    """The same for all the ways to one file."""
    directory, name = os.path.split(path)
    return os.path.realpath(path) if os.path.islink(path) else os.path.join(real(directory), name)


def _find_in(corpus_path: str) -> Iterator["UPath"]:
    try:
        path = _parse(corpus_path)
        if not _is_local(path):
            path.fs.invalidate_cache()  # of listings that a long-lived process made last month
        if path.is_file():
            yield from _named_file(path)
        elif path.is_dir():
            yield from _walk(path)
        elif glob.has_magic(path.path):
            yield from _walk_matches(path)
        else:
            raise CorpusError(f"corpus path {corpus_path!r} does not exist; {_REMEDY}")
    except CorpusError:
        raise
    except Exception as exc:  # each backend of fsspec has a tree of errors of its own
        raise CorpusError(
            f"corpus path {corpus_path!r} cannot be searched ({exc}); make it readable or {_REMEDY}"
        ) from exc


def _parse(corpus_path: str) -> "UPath":
    from upath import UPath

    path = UPath(corpus_path)
    return UPath(path.path) if _is_local(path) else path


def _is_local(path: "UPath") -> bool:
    return path.protocol in _LOCAL_PROTOCOLS


def _named_file(path: "UPath") -> Iterator["UPath"]:
    if path.suffix.lower() not in MEDIA_TYPES:
        raise CorpusError(
            f"corpus path {str(path)!r} is a file of an unsupported type; supported are "
            f"{' '.join(MEDIA_TYPES)}: convert it or {_REMEDY}"
        )
    yield path


def _walk(root: "UPath") -> Iterator["UPath"]:
    return _walk_local(root, boundary=root) if _is_local(root) else _walk_remote(root)


def _walk_local(root: "UPath", *, boundary: "UPath") -> Iterator["UPath"]:
    """Yield the documents at or under ``root`` by name, links only to what ``boundary`` holds."""
    real_boundary = Path(os.path.realpath(str(boundary)))
    walked: set[str] = set()
    stack = [root]
    while stack:
        path = stack.pop()
        may_lead_out = path is root or path.is_symlink()
        if may_lead_out and not Path(os.path.realpath(str(path))).is_relative_to(real_boundary):
            continue
        if not path.is_dir():
            if path.suffix.lower() in MEDIA_TYPES:
                yield path
        elif (target := os.path.realpath(str(path))) not in walked:
            walked.add(target)  # a link to a directory above it would go round for ever
            stack += [path / name for name in reversed(_visible_names(path))]


def _visible_names(directory: "UPath") -> list[str]:
    return sorted(name for name in os.listdir(str(directory)) if not name.startswith("."))


def _walk_remote(root: "UPath") -> Iterator["UPath"]:
    # One listing for the whole tree: asking object by object would be one request each.
    yield from _visible_documents(root, root.fs.find(root.path))


def _visible_documents(root: "UPath", names: Iterable[str]) -> Iterator["UPath"]:
    """Turn the names by which a remote file system knows files under ``root`` into paths."""
    for name in sorted(names):
        parts = PurePosixPath(name.removeprefix(root.path)).parts
        inner = [part for part in parts if part != "/"]
        path = root.joinpath(*inner)
        if path.suffix.lower() in MEDIA_TYPES and not any(part.startswith(".") for part in inner):
            yield path


def _walk_matches(pattern: "UPath") -> Iterator["UPath"]:
    """Yield the documents that a glob matches, and those in the directories that it matches."""
    root = next(parent for parent in pattern.parents if not glob.has_magic(parent.path))
    n_found = 0
    for path in _expand_local(pattern, root) if _is_local(root) else _expand_remote(pattern, root):
        n_found += 1
        yield path
    if n_found == 0:
        raise CorpusError(f"corpus path {str(pattern)!r} matches no document; {_REMEDY}")


def _expand_local(pattern: "UPath", root: "UPath") -> Iterator["UPath"]:
    if root.is_dir():
        for match in _match(root, pattern.relative_to(root).parts):
            yield from _walk_local(match, boundary=root)


def _match(directory: "UPath", parts: Sequence[str]) -> Iterator["UPath"]:
    """Expand a glob part by part. Unlike glob and pathlib it fails on an unreadable directory."""
    if not parts:
        yield directory
        return
    head, *rest = parts
    if head == "**":
        yield from _match(directory, rest)
    for name in _visible_names(directory):
        path = directory / name
        if head == "**":
            if path.is_dir() and not path.is_symlink():
                yield from _match(path, parts)
        elif fnmatchcase(name, head) and (path.is_dir() or not rest):
            yield from _match(path, rest)


def _expand_remote(pattern: "UPath", root: "UPath") -> Iterator["UPath"]:
    names: set[str] = set()
    for name, info in pattern.fs.glob(pattern.path, detail=True).items():
        names.update(pattern.fs.find(name) if info["type"] == "directory" else [name])
    yield from _visible_documents(root, names)


def _source_file(path: "UPath") -> SourceFile:
    return SourceFile(
        # A local name may be bytes that are no UTF-8; neither SQLite nor Parquet would take them.
        uri=path.as_posix().encode(errors="backslashreplace").decode(),
        path=path,
        media_type=MEDIA_TYPES[path.suffix.lower()],
    )


def _recall_nothing(_sha256: str) -> Extracted | None:
    return None


def read_document(
    source: SourceFile,
    *,
    now: datetime,
    recall: Callable[[str], Extracted | None] = _recall_nothing,
) -> Document:
    """Read one document. Whatever is wrong with its file ends up in ``error_message``.

    ``now`` is when reading the corpus began. ``recall`` may know the text of the file's bytes, by
    their sha256, from an earlier time.
    """
    document = Document(
        uri=source.uri,
        sha256="",
        media_type=source.media_type,
        title=PurePosixPath(source.uri).stem,
        text="",
        n_bytes=0,
        modified_at=EPOCH,
    )
    try:
        state = look_at(source, now=now)  # before the bytes: what changes in between looks changed
        data = _read_bytes(source.path)
        sha256 = hashlib.sha256(data).hexdigest()
        document = replace(
            document, sha256=sha256, n_bytes=len(data), modified_at=state.modified_at
        )
        extracted = recall(sha256) or extract(
            data, source.media_type, fallback_title=document.title
        )
    except DocumentError as exc:
        return replace(document, error_message=str(exc), unreadable_since=now)
    return replace(document, title=extracted.title, text=extracted.text, signature=state.signature)


def look_at(source: SourceFile, *, now: datetime) -> FileState:
    """See whether a file can be read and how it looks, without opening it.

    Raises DocumentError if it is gone, no file, or too large.
    """
    with _document_errors():
        found = source.path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise DocumentError("it is not a file any more, or a special one such as a pipe")
        if found.st_size > MAX_DOCUMENT_BYTES:
            raise DocumentError(
                f"the file has {found.st_size:,} bytes, more than the {MAX_DOCUMENT_BYTES:,} that "
                "are read; split it"
            )
        return FileState(
            signature=_signature(found, now),
            modified_at=datetime.fromtimestamp(found.st_mtime, UTC),
        )


def _signature(found: Any, now: datetime) -> str:
    """Of what ``stat`` says: of a local file its times and place, elsewhere the ETag."""
    if isinstance(found, os.stat_result):
        touched_at = datetime.fromtimestamp(max(found.st_mtime, found.st_ctime), UTC)
        if touched_at >= now - RACY_MARGIN:
            return ""
        return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
    info = {re.sub("[-_]", "", name).lower(): value for name, value in found.as_info().items()}
    etag = str(info.get("etag") or "W/")
    # A weak one (RFC 9110, 8.8.1) stays the same when the bytes change a little.
    return "" if etag.startswith("W/") else f"etag {etag}"


def _read_bytes(path: "UPath") -> bytes:
    with _document_errors():
        return path.read_bytes()


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
