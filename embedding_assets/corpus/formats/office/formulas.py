"""Formulas on one line: x^2, (a+b)/c, √(x), f(x).

Belongs here: what Office's markup for mathematics means, and MathML, which OpenDocument has. Does
not belong here: where formulas stand (docx.py, pptx.py, odt.py).
"""

from collections.abc import Iterable, Iterator

from embedding_assets.corpus.formats.office.flow import Span, line_of, text_span
from embedding_assets.corpus.formats.office.packed import Element
from embedding_assets.corpus.formats.text import one_line

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
    return _in_parentheses(line_of(formula(element)))


def _in_parentheses(html: str) -> str:
    """Unless it is a word or a number."""
    return html if html.isalnum() else f"({html})"


def mathml(element: Element) -> str:
    """What somebody typed, if that is there, else what became of it."""
    typed = next(element.iter("annotation"), None)
    if typed is not None:
        return text_span(one_line(typed.text or "")).html
    parts = list(map(mathml, element))
    match element.tag:
        case "mfrac":
            return "/".join(map(_in_parentheses, parts))
        case "msup" if len(parts) > 1:
            return f"{parts[0]}<sup>{parts[1]}</sup>"
        case "msqrt":
            return f"√{_in_parentheses(''.join(parts))}"
        case _:
            return text_span((element.text or "").strip()).html + "".join(parts)
