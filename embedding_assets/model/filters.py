"""Filters: which documents, or chunks of them, are meant; one language wherever that is asked.

Belongs here: the value, what people write for it, what is refused. Does not belong here: finding
what it means in an index (store/conditions.py).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from embedding_assets.errors import SettingsError

# What every chunk has; any other name is one of its document's metadata.
OWN_NAMES = ("uri", "url", "title", "section", "text")

# A pattern alone may have spaces, unless it looks like an attempt at a condition.
_ALONE = re.compile(rf"""(?!(?:{"|".join(OWN_NAMES)})\s)[^\s"'=][^"=]*""")
_NAME = re.compile(r"""([^\W\d][\w.:-]*+|"(?:[^"]|"")++"|'(?:[^']|'')++')\s*+(!?=)\s*+""")
_PATTERN = re.compile(r"""("(?:[^"]|"")*+"|'(?:[^']|'')*+'|[^\s"'=][^\s"]*+)(?!\S)\s*""")
_AND = re.compile(r"and(?!\S)\s*", re.IGNORECASE)
_MAX_SHOWN_CHARS = 60
_MAX_PATTERN_CHARS = 10_000  # SQLite takes 50,000 bytes
_MAX_CONDITIONS = 100  # and a thousand of these


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is called ``name`` matches the pattern; of several values it is enough that one does.

    Patterns are those of SQLite's GLOB: ``*``, ``?`` and ``[...]``; what equals one matches, too.
    If the condition ``is_negated``, no value may match, and there need not be one.
    """

    name: str
    pattern: str
    is_negated: bool = False

    def __post_init__(self) -> None:
        if len(self.pattern) > _MAX_PATTERN_CHARS:
            raise SettingsError(
                f"the pattern for {self.name[:_MAX_SHOWN_CHARS]!r} has {len(self.pattern):,} "
                f"characters, expected {_MAX_PATTERN_CHARS:,} at the most"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What meets all conditions is meant; without any, everything."""

    conditions: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if len(self.conditions) > _MAX_CONDITIONS:
            raise SettingsError(
                f"the filter has {len(self.conditions):,} conditions, expected {_MAX_CONDITIONS} "
                "at the most"
            )

    @classmethod
    def of(cls, where: str | Mapping[str, str] | None) -> Self:
        """What an application asks for: as people write it, or patterns by name.

        Raises SettingsError for what is neither.
        """
        if isinstance(where, str):
            return cls(conditions=parse_filter(where).conditions)
        for name, pattern in (where or {}).items():
            if not (isinstance(name, str) and name and isinstance(pattern, str)):
                raise SettingsError(
                    f"where has {name!r} with {pattern!r}, expected one of "
                    f"{', '.join(map(repr, OWN_NAMES))} or the name of metadata, each with a "
                    "pattern like 'guide/*'"
                )
        return cls(conditions=tuple(Condition(name=n, pattern=p) for n, p in (where or {}).items()))

    @property
    def names(self) -> frozenset[str]:
        """What it looks at."""
        return frozenset(condition.name for condition in self.conditions)


EVERYTHING = Filter()


def parse_filter(text: str) -> Filter:
    """``uri = "guide/*" and language != en``; a pattern alone is one of uris.

    A pattern that has spaces or quotes stands in quotes, with quotes in it doubled. Raises
    SettingsError, in one line, for anything else.
    """
    text = text.strip()
    if _ALONE.fullmatch(text):
        return Filter(conditions=(Condition(name="uri", pattern=text),))
    return Filter(conditions=tuple(_conditions(text)))


def _conditions(text: str) -> Iterator[Condition]:
    at = 0
    while True:
        named = _NAME.match(text, at)
        at = named.end() if named else at
        pattern = _PATTERN.match(text, at)
        if pattern is None:
            raise _refusal(text, at, "a pattern, in quotes if there are spaces or quotes in it")
        yield Condition(
            name=_bare(named[1]) if named else "uri",
            pattern=_bare(pattern[1]),
            is_negated=named is not None and named[2] == "!=",
        )
        at = pattern.end()
        if at == len(text):
            return
        joint = _AND.match(text, at)
        if joint is None:
            raise _refusal(text, at, "'and'" if named else "'=' or '!=' behind a name, or 'and'")
        at = joint.end()


def _bare(word: str) -> str:
    quote = word[0]
    return word[1:-1].replace(2 * quote, quote) if quote in "\"'" else word


def _refusal(text: str, at: int, expected: str) -> SettingsError:
    found = f"found {text[at : at + _MAX_SHOWN_CHARS]!r}" if at < len(text) else "found its end"
    return SettingsError(
        f"the filter is not understood at character {at + 1}: expected {expected}, {found}; "
        """it is written like uri = "guide/*" and language != en"""
    )
