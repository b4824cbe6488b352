"""Kinds of files: which there are, how their names end, and what reading one needs.

Belongs here: the table, and telling a kind by a name or by content. Does not belong here: reading
(formats/), which files there are (find.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath

from embedding_assets.settings.values import KindGroup

# The extra of this package that has what is heavy: embedding-assets[documents].
DOCUMENTS_EXTRA = "documents"

UNKNOWN_TYPE = ""  # of a file without a suffix, until it is opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file."""

    media_type: str
    suffixes: tuple[str, ...]
    group: KindGroup
    library: str = ""  # the distribution whose version its text depends on
    extra: str = ""  # which extra of this package has that; empty if it is always there

    @property
    def is_installed(self) -> bool:
        return not self.extra or _version_of(self.library) != ""

    @property
    def library_version(self) -> str:
        """Such as "selectolax 1.0.1"; empty without a library."""
        return f"{self.library} {_version_of(self.library)}" if self.library else ""


KINDS = (
    Kind(media_type="text/markdown", suffixes=(".md", ".markdown"), group=KindGroup.TEXT),
    Kind(media_type="text/x-rst", suffixes=(".rst",), group=KindGroup.TEXT),
    Kind(media_type="text/plain", suffixes=(".txt",), group=KindGroup.TEXT),
    Kind(
        media_type="text/html",
        suffixes=(".html", ".htm"),
        group=KindGroup.TEXT,
        library="selectolax",
    ),
    Kind(
        media_type="application/pdf",
        suffixes=(".pdf",),
        group=KindGroup.OFFICE,
        library="pypdfium2",
        extra=DOCUMENTS_EXTRA,
    ),
)

_BY_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}
SUFFIXES = tuple(_BY_SUFFIX)
_BY_MEDIA_TYPE = {kind.media_type: kind for kind in KINDS}


def kind_of_name(name: str) -> Kind | None:
    """By the end of the name, the longest one that is known: ``.rst.txt`` before ``.txt``."""
    return next(filter(None, map(_BY_SUFFIX.get, _suffixes(name))), None)


def kind_of_type(media_type: str) -> Kind | None:
    return _BY_MEDIA_TYPE.get(media_type)


def _suffixes(name: str) -> Iterator[str]:
    suffixes = PurePosixPath(name).suffixes[-2:]
    for n in range(len(suffixes)):
        yield "".join(suffixes[n:]).lower()


@cache
def _version_of(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
