"""Kinds of files: which there are, how their names end, and what reading one needs.

Belongs here: the table, and telling a kind by a name or by content. Does not belong here: reading
(formats/), which files there are (find.py).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from embedding_assets.corpus.census import Outcome
from embedding_assets.errors import DocumentError
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
    distribution: str = ""  # of the library whose version its text depends on
    extra: str = ""  # which extra of this package has that; empty if it is always there

    @property
    def is_installed(self) -> bool:
        return not self.extra or _version_of(self.distribution) != ""

    def check_installed(self) -> None:
        """Raises DocumentError if what reads it is not there."""
        if not self.is_installed:
            raise DocumentError(f"reading it needs `pip install 'embedding-assets[{self.extra}]'`")

    @property
    def made_by(self) -> str:
        """Such as "selectolax 1.0.1"; empty without a library."""
        return f"{self.distribution} {_version_of(self.distribution)}" if self.distribution else ""


_OOXML = "application/vnd.openxmlformats-officedocument"
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument"
_HTML_PARSER = "selectolax"
# fmt: off
# Of languages in which what belongs together is in braces, and of others.
_WITH_BRACES = (
    ".c", ".cc", ".cpp", ".cs", ".cxx", ".dart", ".go", ".groovy", ".h", ".hh", ".hpp", ".java",
    ".js", ".jsx", ".kt", ".kts", ".m", ".mjs", ".php", ".rs", ".scala", ".swift", ".ts", ".tsx",
    ".zig",
)
_WITHOUT_BRACES = (
    ".bash", ".clj", ".el", ".erl", ".ex", ".exs", ".hs", ".jl", ".lisp", ".lua", ".ml", ".mli",
    ".pl", ".pm", ".ps1", ".r", ".rb", ".scm", ".sh", ".sql", ".zsh",
)
# fmt: on


def _kinds(
    group: KindGroup,
    suffixes: Mapping[str, tuple[str, ...]],
    *,
    by: str = "",
    extra: str = "",
) -> Iterator[Kind]:
    """Kinds that have all but the suffixes in common; ``by`` names the distribution."""
    for media_type, its_suffixes in suffixes.items():
        yield Kind(
            media_type=media_type,
            suffixes=its_suffixes,
            group=group,
            distribution=by,
            extra=extra,
        )


SPREADSHEETS = {
    f"{_OOXML}.spreadsheetml.sheet": (".xlsx", ".xlsm"),
    "application/vnd.ms-excel": (".xls",),
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": (".xlsb",),
    f"{_OPEN_DOCUMENT}.spreadsheet": (".ods",),
}
_TEXTS = {
    "text/markdown": (".md", ".markdown", ".md.txt"),
    "text/mdx": (".mdx",),
    "text/x-quarto": (".qmd", ".rmd"),
    # What Sphinx calls the sources that it copies beside its pages has two suffixes.
    "text/x-rst": (".rst", ".rst.txt"),
    "text/asciidoc": (".adoc", ".asciidoc"),
    "text/x-org": (".org",),
    "text/x-tex": (".tex", ".ltx", ".latex"),
    "text/plain": (".txt",),
    "application/x-ipynb+json": (".ipynb",),
}
_PAGES = {
    "text/html": (".html", ".htm"),
    "application/xhtml+xml": (".xhtml", ".xht"),
}
# These become HTML on the way.
_OFFICE = {
    f"{_OOXML}.wordprocessingml.document": (".docx", ".docm"),
    f"{_OPEN_DOCUMENT}.text": (".odt", ".ott"),
    "application/rtf": (".rtf",),
    "application/epub+zip": (".epub",),
}
_SLIDES = {f"{_OOXML}.presentationml.presentation": (".pptx", ".pptm", ".ppsx")}
_DATA = {
    "text/csv": (".csv",),
    "text/tab-separated-values": (".tsv",),
    "application/json": (".json",),
    "application/jsonl": (".jsonl", ".ndjson"),
}
_CODE = {
    "text/x-python": (".py", ".pyi", ".pyw"),
    "text/x-braces": _WITH_BRACES,
    "text/x-script": _WITHOUT_BRACES,
}

KINDS = (
    *_kinds(KindGroup.TEXT, _TEXTS),
    *_kinds(KindGroup.TEXT, _PAGES, by=_HTML_PARSER),
    *_kinds(
        KindGroup.OFFICE,
        {"application/pdf": (".pdf",)},
        by="pypdfium2",
        extra=DOCUMENTS_EXTRA,
    ),
    *_kinds(KindGroup.OFFICE, _OFFICE, by=_HTML_PARSER),
    *_kinds(KindGroup.OFFICE, _SLIDES, by="python-pptx", extra=DOCUMENTS_EXTRA),
    *_kinds(KindGroup.MAIL, {"message/rfc822": (".eml",)}, by=_HTML_PARSER),
    *_kinds(KindGroup.MAIL, {"application/mbox": (".mbox",)}),
    *_kinds(KindGroup.DATA, SPREADSHEETS, by="python-calamine", extra=DOCUMENTS_EXTRA),
    *_kinds(KindGroup.DATA, _DATA),
    *_kinds(KindGroup.DATA, {"application/vnd.apache.parquet": (".parquet",)}, by="pyarrow"),
    *_kinds(KindGroup.CODE, _CODE),
)

_BY_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}
SUFFIXES = tuple(_BY_SUFFIX)
_BY_MEDIA_TYPE = {kind.media_type: kind for kind in KINDS}


def kind_of_name(name: str) -> Kind | None:
    """By the end of the name, the longest one that is known: ``.rst.txt`` before ``.txt``."""
    return next(filter(None, map(_BY_SUFFIX.get, _suffixes(name))), None)


def kind_of_type(media_type: str) -> Kind | None:
    return _BY_MEDIA_TYPE.get(media_type)


def reason_against(kind: Kind | None, wanted: Collection[KindGroup]) -> Outcome | None:
    """Why files of a kind are left out, if they are."""
    if kind is None:
        return Outcome.UNKNOWN_KIND
    if kind.group not in wanted:
        return Outcome.UNWANTED_KIND
    return None if kind.is_installed else Outcome.NOT_INSTALLED


def _suffixes(name: str) -> Iterator[str]:
    """The last two together, then the last; without a path object, for there may be many names."""
    parts = name.rpartition("/")[2].lstrip(".").lower().split(".")
    for n in (2, 1):
        if len(parts) > n:
            yield "." + ".".join(parts[-n:])


@cache
def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
