"""Styles and numbers of Word documents: what a paragraph's style says of it, and what stands before
an item.

Belongs here: inheritance of styles, counting. Does not belong here: the text (docx.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

from embedding_assets.corpus.formats.office.flow import heading_level_of
from embedding_assets.corpus.formats.office.numerals import lettered, roman
from embedding_assets.corpus.formats.office.packed import Element

_NO_HEADING = 9  # the outline level of text
_MAX_BASES = 20
_STYLE_OF_ITEMS = re.compile(r"list (?:bullet|number) ([2-9])")  # each a list of its own
_PLACE = re.compile(r"%([1-9])")


def value_of(properties: Element | None, name: str) -> str:
    """The value of a property; empty if it is not there."""
    found = properties.find(name) if properties is not None else None
    return found.get("val", "") if found is not None else ""


def is_on(properties: Element | None, name: str, default: bool = False) -> bool:
    """Whether a property that is on or off is there, and on."""
    found = properties.find(name) if properties is not None else None
    return default if found is None else found.get("val", "on") not in ("0", "false", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What is known of a paragraph or of a run in it."""

    style_id: str = ""
    name: str = ""
    heading_level: int = 0  # from 1; 0 is none
    num_id: str = ""  # of its list
    level: str = ""  # in that
    is_hidden: bool = False
    script: str = ""

    @property
    def depth(self) -> int:
        """How deep the items of such a style are, whatever their list says."""
        found = _STYLE_OF_ITEMS.fullmatch(self.name)
        return int(found[1]) - 1 if found else 0

    def with_own(self, properties: Element | None) -> Self:
        """The style of a paragraph that has such properties itself."""
        if properties is None:
            return self
        found = self
        outline = value_of(properties, "outlineLvl")
        if outline.isdecimal():
            level = int(outline)
            found = replace(found, heading_level=0 if level >= _NO_HEADING else level + 1)
        numbers = properties.find("numPr")
        if numbers is not None:
            found = replace(
                found,
                num_id=value_of(numbers, "numId") or self.num_id,
                level=value_of(numbers, "ilvl") or self.level,
            )
        return found

    def with_run(self, properties: Element | None, styles: Mapping[str, "Style"]) -> Self:
        """The style of a run that has such properties itself."""
        if properties is None:
            return self
        character = styles.get(value_of(properties, "rStyle"), Style())
        return replace(
            self,
            is_hidden=is_on(properties, "vanish", self.is_hidden or character.is_hidden),
            script=value_of(properties, "vertAlign") or character.script or self.script,
        )


def styles_of(part: Element) -> dict[str, Style]:
    """All styles by their id, each with what it has of those that it is based on."""
    elements = {each.get("styleId", ""): each for each in part.iter("style")}
    found: dict[str, Style] = {}
    for style_id in elements:
        style = Style()
        for element in reversed(_bases(style_id, elements)):
            name = value_of(element, "name").lower()
            level = heading_level_of(name) or style.heading_level
            style = replace(style, style_id=style_id, name=name, heading_level=level)
            style = style.with_own(element.find("pPr")).with_run(element.find("rPr"), {})
        found[style_id] = style
    return found


def _bases(style_id: str, elements: Mapping[str, Element]) -> list[Element]:
    """The style, what it is based on, and so on."""
    bases: list[Element] = []
    while style_id in elements and len(bases) < _MAX_BASES:
        bases.append(elements[style_id])
        style_id = value_of(bases[-1], "basedOn")
    return bases


class Label(NamedTuple):
    """What stands before an item: a number, if that is written as such, a text or a bullet."""

    depth: int
    text: str  # empty for a bullet
    number: int | None = None

    @property
    def is_bullet(self) -> bool:
        return not self.text

    @property
    def before(self) -> str:
        """What has to be written before the item, as a mark of Markdown does not say it."""
        return "" if self.number is not None or self.is_bullet else f"{self.text} "


class _Level(NamedTuple):
    """How a level of a list counts."""

    form: str = "decimal"
    text: str = ""  # "%1.%2"
    start: int = 1
    is_legal: bool = False  # the numbers above it are digits here, whatever they are there


@dataclass(slots=True)
class Numbering:
    """The lists of a document, and how far each has counted."""

    levels: Mapping[str, Mapping[int, _Level]]  # of a list, by the id of that
    counted_by: Mapping[str, str]  # the same for lists that go on counting
    level_of_style: Mapping[tuple[str, str], str]  # of a list and a style of paragraphs
    _counts: dict[str, dict[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, part: Element) -> Self:
        abstract = {each.get("abstractNumId", ""): each for each in part.iter("abstractNum")}
        by_style = {value_of(each, "styleLink"): key for key, each in abstract.items()}
        levels: dict[str, dict[int, _Level]] = {}
        counted_by: dict[str, str] = {}
        level_of_style: dict[tuple[str, str], str] = {}
        for num in part.iter("num"):
            num_id, key = num.get("numId", ""), value_of(num, "abstractNumId")
            if key in abstract and (link := value_of(abstract[key], "numStyleLink")):
                key = by_style.get(link, key)
            own = [each for each in num if each.tag == "lvlOverride"]
            elements = [*abstract[key].iter("lvl")] if key in abstract else []
            elements += [inner for each in own for inner in each.iter("lvl")]
            levels[num_id] = {_index(each): _level(each) for each in elements}
            for element in elements:
                level_of_style[num_id, value_of(element, "pStyle")] = str(_index(element))
            starts = {_index(e): value_of(e, "startOverride") for e in own}
            for index, start in starts.items():
                if start.isdecimal() and index in levels[num_id]:
                    level = levels[num_id][index]
                    levels[num_id][index] = level._replace(start=int(start))
            counted_by[num_id] = f"num {num_id}" if any(starts.values()) else f"abstract {key}"
        return cls(levels, counted_by, level_of_style)

    def next_label(self, style: Style) -> Label | None:
        """What stands before the next paragraph of that style; nothing if it is in no list."""
        levels = self.levels.get(style.num_id)
        if levels is None or style.num_id == "0":
            return None
        text = style.level or self.level_of_style.get((style.num_id, style.style_id), "0")
        index = int(text) if text.isdecimal() else 0
        level = levels.get(index, _Level())
        counts = self._count(self.counted_by[style.num_id], index, level)
        depth = max(index, style.depth)
        if level.form in ("bullet", "none") or not level.text:
            return Label(depth, "")
        is_usual = level.form == "decimal" and level.text.strip(" .)") == f"%{index + 1}"
        shown = {index: level} if level.is_legal else levels
        text = _PLACE.sub(lambda at: _counted(int(at[1]) - 1, shown, counts), level.text)
        return Label(depth, text, counts[index] if is_usual else None)

    def _count(self, key: str, index: int, level: _Level) -> Mapping[int, int]:
        """How far all levels have counted, with one more at this one, and none below it."""
        counts = self._counts.setdefault(key, {})
        counts[index] = counts.get(index, level.start - 1) + 1
        for deeper in [each for each in counts if each > index]:
            del counts[deeper]
        return counts


def _counted(index: int, levels: Mapping[int, _Level], counts: Mapping[int, int]) -> str:
    level = levels.get(index, _Level())
    number = counts.get(index, level.start)
    match level.form:
        case "lowerLetter":
            return lettered(number).lower()
        case "upperLetter":
            return lettered(number)
        case "lowerRoman":
            return roman(number).lower()
        case "upperRoman":
            return roman(number)
        case "decimalZero":
            return f"{number:02}"
        case _:
            return str(number)


def _level(element: Element) -> _Level:
    start = value_of(element, "start")
    return _Level(
        form=value_of(element, "numFmt") or "decimal",
        text=value_of(element, "lvlText"),
        start=int(start) if start.isdecimal() else 1,
        is_legal=is_on(element, "isLgl"),
    )


def _index(element: Element) -> int:
    index = element.get("ilvl", "0")
    return int(index) if index.isdecimal() else 0
