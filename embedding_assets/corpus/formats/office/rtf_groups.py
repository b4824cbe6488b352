"""RTF as groups in groups, of control words and of bytes that are text.

Belongs here: syntax. Does not belong here: what the words mean (rtf.py, rtf_header.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_TOKEN = re.compile(
    r"\\(?:(?P<word>[a-zA-Z]{1,32})(?P<number>-?[0-9]{1,9})? ?"
    r"|'(?P<byte>[0-9a-fA-F]{2})|(?P<sign>[^a-zA-Z]))"
    r"|(?P<brace>[{}])|(?P<text>[^\\{}\r\n]++)|[\r\n]++|\\"
)
_LITERAL = "\\{}"


class Word(NamedTuple):
    """A control word, or a sign that is one."""

    name: str
    number: int | None = None


@dataclass(slots=True)
class Group:
    """What stands in a pair of braces."""

    parts: list["Group | Word | bytearray"] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What it is for; empty if it is text."""
        words = (part.name for part in self.parts[:2] if isinstance(part, Word))
        return next((name for name in words if name != "*"), "")

    @property
    def is_optional(self) -> bool:
        """Whether programs that do not know its name are to leave it out."""
        return bool(self.parts) and self.parts[0] == Word("*")

    @property
    def groups(self) -> Iterator["Group"]:
        return (part for part in self.parts if isinstance(part, Group))

    def number_of(self, name: str, default: int) -> int:
        """That of the first such word in it."""
        for part in self.parts:
            if isinstance(part, Word) and part.name == name and part.number is not None:
                return part.number
        return default

    def add(self, text: bytes) -> None:
        last = self.parts[-1] if self.parts else None
        if isinstance(last, bytearray):
            last += text
        else:
            self.parts.append(bytearray(text))


def parsed(source: str) -> Group:
    """The outermost group of a file, decoded as Latin-1; what follows it is left out."""
    root = Group()
    opened = [root]
    place = 0
    while token := _TOKEN.match(source, place):
        place = token.end()
        kind, here = token.lastgroup, opened[-1]
        if kind == "text":
            here.add(token[0].encode("latin-1"))
        elif kind == "byte":
            here.add(bytes.fromhex(token["byte"]))
        elif token["word"] == "bin":
            place += max(0, int(token["number"] or 0))
        elif token["word"]:
            here.parts.append(
                Word(token["word"], int(token["number"]) if token["number"] else None)
            )
        elif kind == "sign" and token["sign"] in _LITERAL:
            here.add(token["sign"].encode())
        elif kind == "sign":
            here.parts.append(Word(token["sign"]))
        elif token[0] == "{":
            opened.append(Group())
            here.parts.append(opened[-1])
        elif token[0] == "}" and len(opened) <= 2:
            break
        elif token[0] == "}":
            opened.pop()
    return next(root.groups, root)
