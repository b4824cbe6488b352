"""Finding the files of the corpus: paths, directories and globs, on disk or in an object store.

Belongs here: which files are documents, and in which order. Does not belong here: reading one
(documents.py).
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from embedding_assets.corpus.kinds import SUFFIXES, kind_of_name
from embedding_assets.corpus.patterns import IGNORE_FILE, Patterns
from embedding_assets.errors import CorpusError

if TYPE_CHECKING:
    from upath import UPath

_LOCAL_PROTOCOLS = frozenset({"", "file", "local"})
_REMEDY = "correct paths in the [corpus] section of the settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that is a document by its name, not read yet."""

    uri: str
    path: "UPath"
    media_type: str


def find_documents(
    paths: Sequence[str],
    folder: Path = Path(),
    patterns: Patterns = Patterns(),  # noqa: B008 -- it is frozen
) -> Iterator[SourceFile]:
    """Yield the documents under ``paths``: files, directories (recursively), globs, URIs of fsspec.

    Relative paths start at ``folder``, and so do the uris of what is found there, which are the
    same from anywhere. The order is that of ``paths``, then of the names. A file that is reached
    twice is yielded once. Hidden files and directories, kinds that are not read,
    symbolic links out of the directory being walked, and what ``patterns`` say are left out; a file
    that is named itself is not.

    Raises CorpusError if a path does not exist, matches nothing, is named but of no supported type,
    or is a directory that cannot be listed: without it the index would lose documents unnoticed.
    Or if an IGNORE_FILE cannot be used.
    """
    seen: set[str] = set()
    real = cache(os.path.realpath)  # of directories: for each file it takes longer than the search
    for corpus_path in paths:
        start = _start_of(corpus_path, folder)
        for path in _find_in(corpus_path, start, patterns):
            identity = _identity(str(path), real) if _is_local(path) else str(path)
            if identity not in seen:
                seen.add(identity)
                yield _source_file(path, start)


def _identity(path: str, real: Callable[[str], str]) -> str:
    """The same for all the ways to one file."""
    directory, name = os.path.split(path)
    return os.path.realpath(path) if os.path.islink(path) else os.path.join(real(directory), name)


def _start_of(corpus_path: str, folder: Path) -> str:
    """What stands before a relative local path; nothing before others."""
    is_relative = ":/" not in corpus_path and not os.path.isabs(corpus_path)
    return f"{folder.as_posix()}/" if is_relative and folder != Path() else ""


def _find_in(corpus_path: str, start: str, patterns: Patterns) -> Iterator["UPath"]:
    try:
        path = _parse(start + corpus_path)
        if not _is_local(path):
            path.fs.invalidate_cache()  # of listings that a long-lived process made last month
        if path.is_file():
            yield from _named_file(path)
        elif path.is_dir():
            yield from _walk(path, patterns)
        elif glob.has_magic(path.path.removeprefix(start)):
            yield from _walk_matches(path, start, patterns)
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
    if kind_of_name(path.name) is None:
        raise CorpusError(
            f"corpus path {str(path)!r} is a file of an unsupported type; supported are "
            f"{' '.join(SUFFIXES)}: convert it or {_REMEDY}"
        )
    yield path


def _walk(root: "UPath", patterns: Patterns) -> Iterator["UPath"]:
    if _is_local(root):
        return _walk_local(root, "", patterns, boundary=root)
    # One listing for the whole tree: asking object by object would be one request each.
    return _visible_documents(root, root.fs.find(root.path), patterns)


def _walk_local(
    root: "UPath", name: str, patterns: Patterns, *, boundary: "UPath"
) -> Iterator["UPath"]:
    """Yield the documents at or under ``root`` by name, links only to what ``boundary`` holds.

    ``name`` is the root's path below the boundary, as patterns see it; empty if it is the boundary.
    """
    real_boundary = Path(os.path.realpath(str(boundary)))
    walked: set[str] = set()
    # Each with the real path of its directory, for asking anew takes long deep down; and with what
    # is to be left out there.
    stack = [(root, "", name, patterns)]
    while stack:
        path, real_parent, name, patterns = stack.pop()
        real = os.path.join(real_parent, path.name)
        if path is root or path.is_symlink():
            real = os.path.realpath(str(path))
            if not Path(real).is_relative_to(real_boundary):
                continue
        if not path.is_dir():
            if kind_of_name(path.name) and not patterns.leave_out(name):
                yield path
            continue
        directory = f"{name}/" if name else ""
        if real in walked or (directory and patterns.exclude(directory)):
            continue
        walked.add(real)  # a link to a directory above it would go round for ever
        patterns = _patterns_in(path, directory, patterns)
        names = reversed(_visible_names(path))
        stack += [(path / each, real, directory + each, patterns) for each in names]


def _patterns_in(path: "UPath", directory: str, patterns: Patterns) -> Patterns:
    """The same with those of the IGNORE_FILE in this directory, if there is one."""
    file = path / IGNORE_FILE
    return patterns.within(directory, file.read_bytes) if file.is_file() else patterns


def _visible_names(directory: "UPath") -> list[str]:
    return sorted(name for name in os.listdir(str(directory)) if not name.startswith("."))


def _visible_documents(
    root: "UPath", names: Iterable[str], patterns: Patterns
) -> Iterator["UPath"]:
    """Turn the names by which a remote file system knows files under ``root`` into paths."""
    below = sorted(PurePosixPath(name.removeprefix(root.path).lstrip("/")) for name in names)
    ignoring = {path.parent for path in below if path.name == IGNORE_FILE}
    top = PurePosixPath()

    @cache
    def patterns_in(directory: PurePosixPath) -> Patterns | None:
        """Nothing, if the directory is left out as a whole."""
        above = patterns if directory == top else patterns_in(directory.parent)
        name = "" if directory == top else f"{directory}/"
        if above is None or (name and above.exclude(name)):
            return None
        file = root.joinpath(*directory.parts, IGNORE_FILE)
        return above.within(name, file.read_bytes) if directory in ignoring else above

    for path in below:
        is_visible = not any(part.startswith(".") for part in path.parts)
        if kind_of_name(path.name) and is_visible:
            there = patterns_in(path.parent)
            if there is not None and not there.leave_out(str(path)):
                yield root.joinpath(*path.parts)


def _walk_matches(pattern: "UPath", start: str, patterns: Patterns) -> Iterator["UPath"]:
    """Yield the documents that a glob matches, and those in the directories that it matches."""
    parents = pattern.parents
    root = next(p for p in parents if not glob.has_magic(f"{p.path}/".removeprefix(start)))
    n_found = 0
    expand = _expand_local if _is_local(root) else _expand_remote
    for path in expand(pattern, root, patterns):
        n_found += 1
        yield path
    if n_found == 0:
        raise CorpusError(f"corpus path {str(pattern)!r} matches no document; {_REMEDY}")


def _expand_local(pattern: "UPath", root: "UPath", patterns: Patterns) -> Iterator["UPath"]:
    if root.is_dir():
        for match in _match(root, pattern.relative_to(root).parts):
            name = "" if match == root else match.relative_to(root).as_posix()
            there = _patterns_above(root, name, patterns)
            yield from _walk_local(match, name, there, boundary=root)


def _patterns_above(root: "UPath", name: str, patterns: Patterns) -> Patterns:
    """What is to be left out where ``name`` is, by all directories from the root down to it."""
    directory = ""
    for part in PurePosixPath(name).parts:
        patterns = _patterns_in(root / directory, directory, patterns)
        directory += f"{part}/"
    return patterns


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


def _expand_remote(pattern: "UPath", root: "UPath", patterns: Patterns) -> Iterator["UPath"]:
    names = set(pattern.fs.glob(f"{root.path.rstrip('/')}/**/{IGNORE_FILE}"))
    for name, info in pattern.fs.glob(pattern.path, detail=True).items():
        names.update(pattern.fs.find(name) if info["type"] == "directory" else [name])
    yield from _visible_documents(root, names, patterns)


def _source_file(path: "UPath", start: str) -> SourceFile:
    kind = kind_of_name(path.name)
    assert kind is not None
    return SourceFile(
        # A local name may be bytes that are no UTF-8; neither SQLite nor Parquet would take them.
        uri=path.as_posix().removeprefix(start).encode(errors="backslashreplace").decode(),
        path=path,
        media_type=kind.media_type,
    )
