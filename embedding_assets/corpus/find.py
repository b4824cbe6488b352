"""Finding the files of the corpus: paths, directories and globs, on disk or in an object store.

Belongs here: which files are documents, in which order, and why the others are none. Does not
belong here: reading one (documents.py), the kinds (kinds.py), counting (census.py).
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Self

from embedding_assets.corpus.census import Enumeration, LeftOut, Outcome
from embedding_assets.corpus.kinds import SUFFIXES, UNKNOWN_TYPE, kind_of_name, reason_against
from embedding_assets.corpus.patterns import IGNORE_FILE, Patterns
from embedding_assets.errors import CorpusError, DocumentError
from embedding_assets.settings.values import KindGroup

if TYPE_CHECKING:
    from upath import UPath

ALL_KINDS = frozenset(KindGroup)

_LOCAL_PROTOCOLS = frozenset({"", "file", "local"})
_REMEDY = "correct paths in the [corpus] section of the settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that is a document by its name, not read yet."""

    uri: str
    path: "UPath"
    media_type: str  # UNKNOWN_TYPE if the name does not tell

    @property
    def is_local(self) -> bool:
        return _is_local(self.path)


def find_documents(
    paths: Sequence[str],
    folder: Path = Path(),
    patterns: Patterns = Patterns(),  # noqa: B008 -- it is frozen
    *,
    kinds: frozenset[KindGroup] = ALL_KINDS,
    leave_out: Callable[[LeftOut], None] = lambda _: None,
) -> Iterator[SourceFile]:
    """Yield the documents under ``paths``: files, directories (recursively), globs, URIs of fsspec.

    Relative paths start at ``folder``, and so do the uris of what is found there, which are the
    same from anywhere. The order is that of ``paths``, then of the names. A file that is reached
    twice is yielded once. Hidden files and directories, kinds that are not read or not among
    ``kinds``, symbolic links out of the directory being walked, and what ``patterns`` say are left
    out, and each file of these is reported to ``leave_out`` once; a file that is named itself is
    yielded in any case.

    Raises CorpusError if a path does not exist, matches nothing, is named but of no supported type,
    or is a directory that cannot be listed: without it the index would lose documents unnoticed.
    Or if an IGNORE_FILE cannot be used.
    """
    seen: dict[str, str] = {}  # the first path to each file
    left: set[str] = set()
    real = cache(os.path.realpath)  # of directories: for each file it takes longer than the search
    for corpus_path in paths:
        start = _start_of(corpus_path, folder)
        for path, outcome in _find_in(corpus_path, start, _Sieve(patterns=patterns, kinds=kinds)):
            name = str(path)
            if outcome is None:
                identity = _identity(name, real) if _is_local(path) else name
                if identity not in seen:
                    seen[identity] = name
                    yield _source_file(path, start)
                    continue
                outcome = Outcome.SAME_FILE
                if seen[identity] == name:
                    continue
            if name not in left:
                left.add(name)
                leave_out(LeftOut(uri=_uri(path, start), outcome=outcome))


class _Found(NamedTuple):
    """A file, and why it is no document if it is none."""

    path: "UPath"
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sieve:
    """What is wanted of the files in a directory."""

    patterns: Patterns
    kinds: frozenset[KindGroup]

    def within(self, directory: str, read: Callable[[], bytes]) -> Self:
        """The same below a directory with an IGNORE_FILE."""
        return replace(self, patterns=self.patterns.within(directory, read))

    def reason_against(self, name: str) -> Outcome | None:
        """Why a file is none that is read, by its path below the root."""
        if PurePosixPath(name).name.startswith("."):
            return Outcome.HIDDEN
        return self.patterns.reason_against(name) or self._reason_against_kind(name)

    def _reason_against_kind(self, name: str) -> Outcome | None:
        kind = kind_of_name(name)
        if kind is None and not PurePosixPath(name).suffix and KindGroup.TEXT in self.kinds:
            return None  # its content tells
        return reason_against(kind, self.kinds)

    def reason_against_directory(self, name: str) -> Outcome | None:
        """The same for all that is below a directory, whose path ends with a slash."""
        if PurePosixPath(name).name.startswith("."):
            return Outcome.HIDDEN
        return Outcome.EXCLUDED if self.patterns.exclude(name) else None


def _identity(path: str, real: Callable[[str], str]) -> str:
    """The same for all the ways to one file."""
    directory, name = os.path.split(path)
    return os.path.realpath(path) if os.path.islink(path) else os.path.join(real(directory), name)


def _start_of(corpus_path: str, folder: Path) -> str:
    """What stands before a relative local path; nothing before others."""
    is_relative = ":/" not in corpus_path and not os.path.isabs(corpus_path)
    return f"{folder.as_posix()}/" if is_relative and folder != Path() else ""


def _find_in(corpus_path: str, start: str, sieve: _Sieve) -> Iterator[_Found]:
    try:
        path = _parse(start + corpus_path)
        if not _is_local(path):
            path.fs.invalidate_cache()  # of listings that a long-lived process made last month
        if path.is_file():
            yield _named_file(path)
        elif path.is_dir():
            yield from _walk(path, sieve)
        elif glob.has_magic(path.path.removeprefix(start)):
            yield from _walk_matches(path, start, sieve)
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


def _named_file(path: "UPath") -> _Found:
    kind = kind_of_name(path.name)
    if kind is None and path.suffix:
        raise CorpusError(
            f"corpus path {str(path)!r} is a file of an unsupported type; supported are "
            f"{' '.join(SUFFIXES)}: convert it or {_REMEDY}"
        )
    if kind is not None:
        try:
            kind.check_installed()
        except DocumentError as exc:
            raise CorpusError(f"corpus path {str(path)!r}: {exc}; or {_REMEDY}") from exc
    return _Found(path)


def _walk(root: "UPath", sieve: _Sieve) -> Iterator[_Found]:
    if _is_local(root):
        return _walk_local(root, "", sieve, boundary=root)
    # One listing for the whole tree: asking object by object would be one request each.
    return _sifted(root, root.fs.find(root.path), sieve)


class _Step(NamedTuple):
    """A path on the way through a tree."""

    path: "UPath"
    real_parent: str  # for asking anew takes long deep down
    name: str  # below the boundary, as patterns see it
    sieve: _Sieve  # what is wanted there
    is_link: bool


def _walk_local(root: "UPath", name: str, sieve: _Sieve, *, boundary: "UPath") -> Iterator[_Found]:
    """Look at all files at or under ``root`` by name, at links only to what ``boundary`` holds.

    ``name`` is the root's path below the boundary; empty if it is the boundary.
    """
    real_boundary = Path(os.path.realpath(str(boundary)))
    walked: set[str] = set()
    stack = [_Step(root, "", name, sieve, is_link=True)]
    while stack:
        path, real_parent, name, sieve, is_link = stack.pop()
        real = os.path.join(real_parent, path.name)
        if is_link:
            real = os.path.realpath(str(path))
            if not Path(real).is_relative_to(real_boundary):
                yield _Found(path, Outcome.LINK_OUT)
                continue
        if not path.is_dir():
            yield _sifted_file(path, name, sieve)
            continue
        directory = f"{name}/" if name else ""
        outcome = sieve.reason_against_directory(directory) if directory else None
        if outcome is not None:
            yield from (_Found(below, outcome) for below in _files_below(path))
        elif real not in walked:  # a link to a directory above it would go round for ever
            walked.add(real)
            sieve = _sieve_in(path, directory, sieve)
            stack += _steps_into(path, real, directory, sieve)


def _steps_into(path: "UPath", real: str, directory: str, sieve: _Sieve) -> list[_Step]:
    """What a directory has, the last name first."""
    with os.scandir(str(path)) as entries:
        links = {entry.name: entry.is_symlink() for entry in entries}
    return [
        _Step(path / name, real, directory + name, sieve, is_link=links[name])
        for name in sorted(links, reverse=True)
    ]


def _sifted_file(path: "UPath", name: str, sieve: _Sieve) -> _Found:
    outcome = sieve.reason_against(name or path.name)
    if outcome is None and kind_of_name(path.name) is None and not path.is_file():
        outcome = Outcome.SPECIAL if path.exists() else Outcome.LINK_OUT
    return _Found(path, outcome)


def _files_below(path: "UPath") -> Iterator["UPath"]:
    """All files in a directory that is left out; what cannot be listed there is passed over."""
    if not path.is_symlink():
        for directory, _, names in os.walk(str(path)):
            yield from (type(path)(directory, name) for name in sorted(names))


def _sieve_in(path: "UPath", directory: str, sieve: _Sieve) -> _Sieve:
    """The same with the patterns of the IGNORE_FILE in this directory, if there is one."""
    file = path / IGNORE_FILE
    return sieve.within(directory, file.read_bytes) if file.is_file() else sieve


def _visible_names(directory: "UPath") -> list[str]:
    return sorted(name for name in os.listdir(str(directory)) if not name.startswith("."))


def _sifted(root: "UPath", names: Iterable[str], sieve: _Sieve) -> Iterator[_Found]:
    """Look at what a remote file system has under ``root``, by the names that it uses."""
    below = sorted(PurePosixPath(name.removeprefix(root.path).lstrip("/")) for name in names)
    ignoring = {path.parent for path in below if path.name == IGNORE_FILE}
    top = PurePosixPath()

    @cache
    def sieve_in(directory: PurePosixPath) -> _Sieve | Outcome:
        """An outcome, if the directory is left out as a whole."""
        above = sieve if directory == top else sieve_in(directory.parent)
        name = "" if directory == top else f"{directory}/"
        if isinstance(above, Outcome):
            return above
        outcome = above.reason_against_directory(name) if name else None
        if outcome is not None:
            return outcome
        file = root.joinpath(*directory.parts, IGNORE_FILE)
        return above.within(name, file.read_bytes) if directory in ignoring else above

    for path in below:
        there = sieve_in(path.parent)
        outcome = there if isinstance(there, Outcome) else there.reason_against(str(path))
        yield _Found(root.joinpath(*path.parts), outcome)


def _walk_matches(pattern: "UPath", start: str, sieve: _Sieve) -> Iterator[_Found]:
    """Look at the files that a glob matches, and at those in the directories that it matches."""
    parents = pattern.parents
    root = next(p for p in parents if not glob.has_magic(f"{p.path}/".removeprefix(start)))
    files = Enumeration()
    expand = _expand_local if _is_local(root) else _expand_remote
    for found in expand(pattern, root, sieve):
        files.add(str(found.path), found.outcome or Outcome.READ)
        yield found
    if Outcome.READ not in files.census.counts:
        raise CorpusError(
            f"corpus path {str(pattern)!r} matches no document ({files.census.summary}); {_REMEDY}"
        )


def _expand_local(pattern: "UPath", root: "UPath", sieve: _Sieve) -> Iterator[_Found]:
    if root.is_dir():
        for match in _match(root, pattern.relative_to(root).parts):
            name = "" if match == root else match.relative_to(root).as_posix()
            there = _sieve_above(root, name, sieve)
            yield from _walk_local(match, name, there, boundary=root)


def _sieve_above(root: "UPath", name: str, sieve: _Sieve) -> _Sieve:
    """What is wanted where ``name`` is, by all directories from the root down to it."""
    directory = ""
    for part in PurePosixPath(name).parts:
        sieve = _sieve_in(root / directory, directory, sieve)
        directory += f"{part}/"
    return sieve


def _match(directory: "UPath", parts: Sequence[str]) -> Iterator["UPath"]:
    """Expand a glob part by part. Unlike glob and pathlib it fails on an unreadable directory."""
    if not parts:
        yield directory
        return
    head, *rest = parts
    if head == "**":
        for below in _directories(directory):
            yield from _match(below, rest)
        return
    for name in _visible_names(directory):
        path = directory / name
        if fnmatchcase(name, head) and (path.is_dir() or not rest):
            yield from _match(path, rest)


def _directories(root: "UPath") -> Iterator["UPath"]:
    """``root`` and all directories under it, each before what is in it; links are not followed."""
    stack = [root]
    while stack:
        directory = stack.pop()
        yield directory
        paths = [directory / name for name in reversed(_visible_names(directory))]
        stack += [path for path in paths if path.is_dir() and not path.is_symlink()]


def _expand_remote(pattern: "UPath", root: "UPath", sieve: _Sieve) -> Iterator[_Found]:
    names = set(pattern.fs.glob(f"{root.path.rstrip('/')}/**/{IGNORE_FILE}"))
    for name, info in pattern.fs.glob(pattern.path, detail=True).items():
        names.update(pattern.fs.find(name) if info["type"] == "directory" else [name])
    yield from _sifted(root, names, sieve)


def _source_file(path: "UPath", start: str) -> SourceFile:
    kind = kind_of_name(path.name)
    media_type = kind.media_type if kind else UNKNOWN_TYPE
    return SourceFile(uri=_uri(path, start), path=path, media_type=media_type)


def _uri(path: "UPath", start: str) -> str:
    # A local name may be bytes that are no UTF-8; neither SQLite nor Parquet would take them.
    return path.as_posix().removeprefix(start).encode(errors="backslashreplace").decode()
