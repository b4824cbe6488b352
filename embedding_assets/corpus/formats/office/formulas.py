"""Formulas of Microsoft's office programs on one line: x^2, (a+b)/c, √(x), f(x).

Belongs here: what Office's markup for mathematics means. Does not belong here: where formulas stand
(docx.py, pptx.py).
"""

from collections.abc import Iterable, Iterator

from embedding_assets.corpus.formats.office.flow import Span, line_of, text_span
from embedding_assets.corpus.formats.office.packed import Element

_DELETED = frozenset({"del", "moveFrom"})
_PARTS_OF_FRACTION = ("num", "den")


def formula(element: Element) -> Iterator[Span]:
    """Powers, fractions, roots, sums and parentheses can be told."""
    for child in element:
        match child.tag:
            case "t":
                yield text_span(child.text or "")
            case "sup" | "sub":
                yield Span(line_of(formula(child)), child.tag)
            case "f":
                parts = [part for part in child if part.tag in _PARTS_OF_FRACTION]
                yield Span("/".join(map(_grouped, parts)))
            case "rad":
                yield from [*_part(child, "deg"), Span("√")]
                yield from (Span(_grouped(part)) for part in child.iterfind("e"))
            case "d":
                yield from _delimited(child)
            case "nary":
                yield text_span(_sign(child, "naryPr/chr", "∫"))
                yield from formula(child)
            case "func":
                yield from [*_part(child, "fName"), Span(" "), *_part(child, "e")]
            case tag if tag not in _DELETED:
                yield from formula(child)


def _delimited(element: Element) -> Iterator[Span]:
    """What stands in parentheses, brackets or bars."""
    between = _sign(element, "dPr/sepChr", "|")
    yield text_span(_sign(element, "dPr/begChr", "("))
    for n, part in enumerate(element.iterfind("e")):
        yield from [text_span(between)] if n else []
        yield from formula(part)
    yield text_span(_sign(element, "dPr/endChr", ")"))


def _sign(element: Element, path: str, default: str) -> str:
    found = element.find(path)
    return default if found is None else found.get("val", "")


def _part(element: Element, tag: str) -> Iterable[Span]:
    part = element.find(tag)
    return () if part is None else formula(part)


def _grouped(element: Element) -> str:
    """In parentheses, unless it is a word or a number."""
    html = line_of(formula(element))
    return html if html.isalnum() else f"({html})"
