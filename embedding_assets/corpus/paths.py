"""Paths: what a chunk is about, in the words of its document: title › headings › term.

Belongs here: what a path leaves out, so that a release number or a chapter more changes no chunk
of a book. Does not belong here: which section a chunk is of (sections.py, packing.py).
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

from embedding_assets.corpus.sections import Section
from embedding_assets.model.passages import PATH_SEPARATOR
from embedding_assets.model.tokens import DEFAULT

MAX_PATH_CHARS = 200
# The first and the last part have room together.
_MAX_PART_CHARS = (MAX_PATH_CHARS - len(PATH_SEPARATOR)) // 2

_INVISIBLE = dict.fromkeys(map(ord, "\N{SOFT HYPHEN}\N{ZERO WIDTH SPACE}\N{WORD JOINER}\ufeff¶"))
_SITE_SEPARATOR = re.compile(r" (?:[—–|·»-]|::) ")  # noqa: RUF001
_SITE_ENDS = ("documentation", "docs", "manual", "handbook", "wiki")

# Before a word: "10.5.2.", "5.", "F.12.", "A.1", "§ 3.2", "Chapter 5:", "Appendix A."
_SECTION_NUMBER = re.compile(
    r"""(?:
        (?:§+\s?|(?i:chapter|section|part|appendix|annex)\s)
        (?:[0-9]+|[A-Z]|[IVXL]+)(?:\.[0-9]+)*(?:[.:)]|(?=\s[A-Z]))
      | §+\s?[0-9]+(?:\.[0-9]+)*
      | [0-9]{1,2}(?:(?:\.[0-9]+)+[.)]?|[.)])
      | [A-Z](?:\.[0-9]+)+\.?
    )\s+(?=["'“‘`<$(/-]*[^\W\d])""",  # noqa: RUF001
    re.VERBOSE,
)
_RELEASE = (
    r"(?:(?i:release|version)\s)?[vV]?(?:[0-9]{1,2}|20[0-9]{2})(?:\.[0-9]+)+"
    r"(?:[-.+~]?(?:alpha|beta|rc|dev|post|[ab])[-.]?[0-9]*)?"
)
# "6.1.192", "v1.2-rc1", "(1.2.3)", "Release 15.18"; but not that of "HTTP/1.1" or "802.11".
_VERSION = re.compile(
    rf"(?<![^\s(\[])(?:\({_RELEASE}\)|\[{_RELEASE}\]|{_RELEASE})(?![^\s,:;'’)\]])"  # noqa: RUF001
)
# What is about a version, and not only of one.
_ON_VERSIONS = re.compile(
    r"(?i)\b(?:new in|changes? (?:in|since|from)|changelog|release notes|migrat|upgrad|porting)"
)
_MARKS = ".:!?…"
_LEFT_OVER = re.compile(r"(?<=[(\[]) | (?=[,:;'’)\]])|[(\[] ?[)\]]")  # noqa: RUF001
_DANGLING = " ,:;|·–—-"  # noqa: RUF001


def path_of(title: str, section: Section, *, max_tokens: int) -> str:
    """The title and what the section stands under, outermost first, as far as there is room.

    What is between the first and the last is left out first, the outer parts before the others.
    """
    below = _below(title, section)
    names = [_title_name(title), *(_name_of(each) for each in below)]
    parts = [name for name, _ in groupby(filter(None, names))]
    while parts:
        path = PATH_SEPARATOR.join(parts)
        if len(path) <= MAX_PATH_CHARS and DEFAULT.estimate(path) <= max_tokens:
            return path
        del parts[1 if len(parts) > 2 else 0]
    return ""


def section_name(title: str, section: Section) -> str:
    """What the section stands under, as the document calls it, without the document's title."""
    return PATH_SEPARATOR.join(each.label for each in _below(title, section) if each.label)


def _below(title: str, section: Section) -> list[Section]:
    """The section and those around it, outermost first; not the one that has the title."""
    sections = list(_outwards(section))[::-1]
    has_title = sections and _heard(sections[0].label) == _heard(title)
    return sections[1:] if has_title else sections


def _heard(title: str) -> str:
    """The same for titles that differ by case, or by the mark at their end."""
    name = _title_name(title).casefold()
    return name.rstrip(_MARKS) or name


def _outwards(section: Section) -> Iterator[Section]:
    while section.parent is not None:
        yield section
        section = section.parent


def _name_of(section: Section) -> str:
    return _title_name(section.label) if section.depth == 1 else _name(section.label)


@lru_cache
def _title_name(label: str) -> str:
    """A name that stays the same when a book has a new release."""
    name = _without_section_number(_without_site(_plain(label)))
    return _short(name if _ON_VERSIONS.search(name) else _without_version(name) or name)


@lru_cache(maxsize=1024)
def _name(label: str) -> str:
    return _short(_without_section_number(_plain(label)))


def _plain(label: str) -> str:
    return " ".join(unicodedata.normalize("NFC", label).translate(_INVISIBLE).split())


def _without_section_number(name: str) -> str:
    number = _SECTION_NUMBER.match(name)
    return name[number.end() :] if number else name


def _without_site(title: str) -> str:
    """Of "zipfile - Python 3.11 documentation" what is before the last dash."""
    separators = list(_SITE_SEPARATOR.finditer(title))
    site = _without_version(title[separators[-1].end() :]) if separators else ""
    return title[: separators[-1].start()] if site.lower().endswith(_SITE_ENDS) else title


def _without_version(title: str) -> str:
    bare = _VERSION.sub("", title)
    return title if bare == title else " ".join(_LEFT_OVER.sub("", bare).split()).strip(_DANGLING)


def _short(name: str) -> str:
    """At most a part's length: a signature without its parameters, else the first words."""
    if len(name) <= _MAX_PART_CHARS:
        return name
    called, parenthesis, _ = name[: _MAX_PART_CHARS - 2].partition("(")
    if parenthesis and not called.endswith(" ") and called:
        return f"{called}(…)"
    words, _, _ = name[:_MAX_PART_CHARS].rpartition(" ")
    return (words or name[: _MAX_PART_CHARS - 1]) + "…"
