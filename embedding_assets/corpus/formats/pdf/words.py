"""Words at the ends of lines: whether they go on, with or without a hyphen or a space.

Belongs here: what the letters say. Does not belong here: what their places say (text.py).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_MIN_PART = 3  # letters of a word that may be a part of a compound
_WIDE = re.compile(
    r"[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]|[\U00020000-\U0003ffff]"
)
_NO_SPACES = re.compile(
    r"[\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe6f\uff00-\uffef]|[\U00020000-\U0003ffff]"
)
_SENTENCE_END = re.compile(r"[.!?:;。！？：؟۔…][)\]»”’\"'）」』]*$")  # noqa: RUF001
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_FIRST_PART = re.compile(r"[^\W\d_]+")
_LAST_PART = re.compile(r"[^\W\d_]+(?=-$)")
_SEPARATORS = "/–—"  # noqa: RUF001


def has_wide(text: str) -> bool:
    """Whether there is Chinese, Japanese or Korean in it."""
    return not text.isascii() and bool(_WIDE.search(text))


def width_of(text: str) -> int:
    """In letters; one of Chinese, Japanese or Korean takes the room of two."""
    return len(text) if text.isascii() else len(text) + len(_WIDE.findall(text))


def width_of_first_word(text: str) -> int:
    """Of what stays together at the beginning of a line."""
    if _NO_SPACES.match(text):
        return 2
    return width_of(text.partition(" ")[0])


def ends_sentence(text: str) -> bool:
    return bool(_SENTENCE_END.search(text[-4:]))


def is_cut(text: str) -> bool:
    """Whether its last word perhaps goes on in the next line."""
    return text[-1:] == "-" and text[-2:-1].isalnum()


def is_right_to_left(text: str) -> bool:
    """Whether most of its letters are read from the right."""
    if text.isascii():
        return False
    return 2 * len(_RIGHT_TO_LEFT.findall(text)) > len(_LETTER.findall(text))


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a document, which tell whether a hyphen belongs to one."""

    known: frozenset[str]

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        """All of them but those that are cut at the end of a line."""
        known: set[str] = set()
        is_cut = False
        for line in lines:
            words = _WORD.findall(line.casefold())
            known.update(words[is_cut : -1 if line.endswith("-") else None])
            is_cut = line.endswith("-")
        return cls(frozenset(known))

    def joined(self, lines: Iterable[tuple[str, str]]) -> str:
        """One text of lines and what is before each, where spaces are only if they belong."""
        parts: list[str] = []
        for gap, line in lines:
            if parts and gap == " ":
                parts[-1], gap = self._seam(parts[-1], line)
            parts += [gap, line]
        return "".join(parts)

    def _seam(self, before: str, after: str) -> tuple[str, str]:
        """The first of two lines as it is when they are joined, and what is between."""
        if _NO_SPACES.match(before[-1]) and _NO_SPACES.match(after):
            return before, ""
        if before[-1] in _SEPARATORS and not before[-2:-1].isspace():
            return before, ""
        if not is_cut(before):
            return before, " "
        return (before, "") if self._is_compound(before, after) else (before[:-1], "")

    def _is_compound(self, before: str, after: str) -> bool:
        """Whether the hyphen between them is a word's own.

        It is if the document has the word so elsewhere, or its parts as words, but not the whole.
        """
        first, second = _LAST_PART.search(before), _FIRST_PART.match(after)
        if first is None or second is None or before[: first.start()].endswith("-"):
            return True
        if second[0][0].isupper() and not first[0].isupper():
            return True
        one, two = first[0].casefold(), second[0].casefold()
        if one + two in self.known:
            return False
        if f"{one}-{two}" in self.known:
            return True
        return min(len(one), len(two)) >= _MIN_PART and {one, two} <= self.known
