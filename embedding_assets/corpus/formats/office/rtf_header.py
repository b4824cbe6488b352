"""What an RTF file says before its text: fonts with their encodings, styles, author and dates.

Belongs here: the groups at its beginning. Does not belong here: the text (rtf.py).
"""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Self

from embedding_assets.corpus.formats.names import listed
from embedding_assets.corpus.formats.office.flow import heading_level_of
from embedding_assets.corpus.formats.office.rtf_groups import Group, Word
from embedding_assets.corpus.formats.office.symbols import has_symbols, sign

_ANSI = "cp1252"
# Of Windows and, from 77, of the Macintosh.
_CHARSETS = {
    **{77: "mac_roman", 78: "shift_jis", 79: "big5", 80: "euc_kr", 81: "mac_arabic"},
    **{83: "mac_greek", 85: "mac_turkish", 86: "mac_latin2", 88: "mac_latin2", 89: "mac_cyrillic"},
    **{128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030", 136: "cp950", 161: "cp1253"},
    **{162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251"},
    **{222: "cp874", 238: "cp1250", 254: "cp437", 255: "cp850"},
}
_INFO = {
    "title": "title",
    "author": "author",
    "subject": "subject",
    "keywords": "keywords",
    "doccomm": "description",
    "category": "category",
}
_DATES = {"creatim": "date", "revtim": "modified"}


class Style(NamedTuple):
    name: str = ""
    heading_level: int = 0  # from 1; 0 is none


@dataclass(frozen=True, slots=True)
class Header:
    """What holds for the whole text."""

    codec: str
    font: int  # that of text without one
    codecs: Mapping[int, str] = field(default_factory=dict)  # of fonts
    symbols: Mapping[int, str] = field(default_factory=dict)  # the names of fonts of symbols
    styles: Mapping[int, Style] = field(default_factory=dict)
    metadata: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Group) -> Self:
        page = root.number_of("ansicpg", 0)
        codec = _known(f"cp{page}") if page else _ANSI
        groups = {group.name: group for group in root.groups}
        fonts = groups.get("fonttbl", Group())
        header = cls(codec, root.number_of("deff", -1), _codecs_of(fonts))
        symbols = {
            group.number_of("f", -1): name
            for group in fonts.groups
            if has_symbols(name := header.plain(group).rstrip(";"))
        }
        styles = {
            group.number_of("s", 0): header._style(group)
            for group in groups.get("stylesheet", Group()).groups
            if not group.is_optional
        }
        metadata = header._metadata(groups.get("info", Group()))
        return cls(header.codec, header.font, header.codecs, symbols, styles, metadata)

    def decoded(self, text: bytes | bytearray, font: int) -> str:
        """In the encoding of the font, if it has one of its own."""
        if font in self.symbols:
            return "".join(sign(code, self.symbols[font]) for code in text)
        return text.decode(self.codecs.get(font, self.codec), errors="replace")

    def character(self, code: int, font: int) -> str:
        """That of a code of Unicode, negative ones included, or half of one."""
        code %= 0x10000
        return sign(code, self.symbols[font]) if font in self.symbols else chr(code)

    def plain(self, group: Group) -> str:
        """The text of a group that says no more than that."""
        text, n_to_skip = "", 0
        for part in group.parts:
            if isinstance(part, bytearray):
                text += self.decoded(part[n_to_skip:], self.font)
                n_to_skip = 0
            elif isinstance(part, Word) and part.name == "u" and part.number is not None:
                text += chr(part.number % 0x10000)
                n_to_skip = 1
        return joined(text).strip()

    def _style(self, group: Group) -> Style:
        name = self.plain(group).rstrip(";").lower()
        level = group.number_of("outlinelevel", -1) + 1
        return Style(name, level or heading_level_of(name))

    def _metadata(self, info: Group) -> dict[str, object]:
        found: dict[str, object] = {
            _INFO[group.name]: listed(text) if group.name == "keywords" else text
            for group in info.groups
            if group.name in _INFO and (text := self.plain(group))
        }
        dates = {_DATES[g.name]: _date_of(g) for g in info.groups if g.name in _DATES}
        return found | {name: date for name, date in dates.items() if date}


def joined(text: str) -> str:
    """With each pair of surrogates as the character that it stands for."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _codecs_of(fonts: Group) -> dict[int, str]:
    found: dict[int, str] = {}
    groups = list(fonts.groups) or [fonts]
    for group in groups:
        number = group.number_of("f", -1)
        page = group.number_of("cpg", 0)
        charset = _CHARSETS.get(group.number_of("fcharset", 0), "")
        if codec := _known(f"cp{page}", charset) if page else charset:
            found[number] = codec
    return found


def _known(codec: str, default: str = _ANSI) -> str:
    try:
        return codecs.lookup("utf-8" if codec == "cp65001" else codec).name
    except LookupError:
        return default


def _date_of(group: Group) -> str:
    year, month, day = (group.number_of(name, 1) for name in ("yr", "mo", "dy"))
    hour, minute = (group.number_of(name, 0) for name in ("hr", "min"))
    try:  # no time zone is said
        return datetime(year, month, day, hour, minute).isoformat()  # noqa: DTZ001
    except ValueError:
        return ""
