"""Presentations: slides with their titles, texts, tables and speaker notes.

Belongs here: what is on a slide, in which order it is read. Does not belong here: the HTML that is
made of it (flow.py).
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.office.flow import (
    Cell,
    Flow,
    Span,
    hidden,
    image_span,
    line_of,
    read_flow,
    text_span,
    title_in,
)
from embedding_assets.corpus.formats.office.formulas import formula
from embedding_assets.corpus.formats.office.ooxml import properties_of
from embedding_assets.corpus.formats.office.packed import Packed, parsed, understood
from embedding_assets.corpus.formats.pieces import Piece, assembled, heading, pieces_of
from embedding_assets.corpus.formats.text import one_line

if TYPE_CHECKING:
    from pptx.slide import Slide

_KIND = "PowerPoint presentation"
_SLIDE_LEVEL = 2  # the title of all is above
# What is the same on every slide.
_FURNITURE = frozenset({"DATE", "FOOTER", "HEADER", "SLIDE_NUMBER", "SLIDE_IMAGE"})
_WITH_BULLETS = frozenset({"BODY", "OBJECT", "VERTICAL_BODY", "VERTICAL_OBJECT"})
_ROWS_A_SLIDE = 12  # shapes whose tops are in the same of these bands are read from left to right
_MAX_DEPTH = 20  # of groups
_NOTES = "Notes:"
_DIAGRAM_DATA = "/diagramData"


def read_pptx(data: bytes) -> Extracted:
    """The slides as Markdown, each with its number as the page, without those that are hidden."""
    package = Packed.of(data, _KIND)
    with understood(_KIND):
        from pptx import Presentation

        metadata = properties_of(package)
        presentation = Presentation(io.BytesIO(data))
        band = max(1, (presentation.slide_height or 0) // _ROWS_A_SLIDE)
        slides = list(presentation.slides)
        for slide in slides:
            _choose(slide)
        pieces = [
            piece
            for number, slide in enumerate(slides, 1)
            if not _is_hidden(slide)
            for piece in _pieces_of(slide, number, band)
        ]
        title = title_in(metadata) or _first_title(slides)
    remark = hidden(sum(map(_is_hidden, slides)), "slide")
    return assembled(pieces, title=title, metadata=metadata, remark=remark)


def _first_title(slides: Sequence["Slide"]) -> str:
    titles = (slide.shapes.title for slide in slides if not _is_hidden(slide))
    return next((text for each in titles if each is not None and (text := one_line(each.text))), "")


def _is_hidden(slide: "Slide") -> bool:
    return slide._element.get("show") in ("0", "false")


def _choose(slide: "Slide") -> None:
    """Of what is said in several ways, such as a text with a formula, only the first is left."""
    for either in list(slide._element.iter(f"{_COMPATIBILITY}AlternateContent")):
        chosen = either.find(f"{_COMPATIBILITY}Choice")
        for element in chosen if chosen is not None else ():
            either.addprevious(element)
        either.getparent().remove(either)


def _pieces_of(slide: "Slide", number: int, band: int) -> Iterator[Piece]:
    """The slide's title, and what is on it; nothing, if there is no text."""
    title, flow = slide.shapes.title, Flow()
    if name := " ".join(_lines(title.text_frame)) if title is not None else "":
        flow.heading(name, _SLIDE_LEVEL)
    for shape in _in_order(slide.shapes, band):
        if title is None or shape.shape_id != title.shape_id:
            _write_shape(shape, flow)
    _write_diagrams(slide, flow)
    _write_notes(slide, flow)
    pieces = list(pieces_of(read_flow(flow.html())))
    if pieces and not name:
        yield heading(f"Slide {number}", _SLIDE_LEVEL, page=number)
    for piece in pieces:
        yield piece._replace(page=number)


def _in_order(shapes: Iterable[Any], band: int, depth: int = 0) -> Iterator[Any]:
    """From the top to the bottom, and there from left to right; a group as a whole."""
    for shape in sorted(shapes, key=lambda each: ((each.top or 0) // band, each.left or 0)):
        if hasattr(shape, "shapes") and depth < _MAX_DEPTH:
            yield from _in_order(shape.shapes, band, depth + 1)
        else:
            yield shape


def _write_shape(shape: Any, flow: Flow) -> None:
    kind = shape.placeholder_format.type.name if shape.is_placeholder else ""
    if kind in _FURNITURE:
        return
    if shape.has_table if hasattr(shape, "has_table") else False:
        _write_table(shape.table, flow)
    elif getattr(shape, "has_chart", False) and shape.chart.has_title:
        flow.paragraph(" ".join(_lines(shape.chart.chart_title.text_frame)))
    elif shape.has_text_frame:
        _write_text(shape.text_frame, flow, has_bullets=kind in _WITH_BULLETS)
    flow.paragraph(image_span(_alternative(shape)).html)


def _alternative(shape: Any) -> str:
    """What the shape shows, as somebody has described it."""
    return next((each.get("descr", "") for each in shape._element.iter(_PROPERTIES)), "")


_PROPERTIES = "{http://schemas.openxmlformats.org/presentationml/2006/main}cNvPr"
_COMPATIBILITY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"


def _write_text(frame: Any, flow: Flow, *, has_bullets: bool) -> None:
    numbers: dict[int, int] = {}
    for paragraph in frame.paragraphs:
        line = line_of(_spans(paragraph._p))
        if not line.strip():
            continue
        properties = paragraph._p.find(f"{_DRAWING}pPr")
        marks = {
            each.tag.removeprefix(_DRAWING): each
            for each in ([] if properties is None else properties)
        }
        if "buNone" in marks or not (has_bullets or "buChar" in marks or "buAutoNum" in marks):
            flow.paragraph(line)
            continue
        depth = paragraph.level
        number = None
        if "buAutoNum" in marks:
            start = int(marks["buAutoNum"].get("startAt", "1"))
            number = numbers[depth] = numbers.get(depth, start - 1) + 1
        numbers = {each: n for each, n in numbers.items() if each <= depth}
        flow.item(line, depth=depth, number=number)


def _write_table(table: Any, flow: Flow) -> None:
    rows = [
        [
            Cell(
                "".join(f"<p>{line}</p>" for line in _lines(cell.text_frame)),
                cell.span_width if cell.is_merge_origin else 1,
                cell.span_height if cell.is_merge_origin else 1,
            )
            for cell in row.cells
            if not cell.is_spanned
        ]
        for row in table.rows
    ]
    flow.table(rows, n_headers=1)


def _write_diagrams(slide: "Slide", flow: Flow) -> None:
    """The texts of SmartArt, which stand in parts of their own."""
    for relation in slide.part.rels.values():
        if relation.reltype.endswith(_DIAGRAM_DATA) and not relation.is_external:
            for paragraph in parsed(relation.target_part.blob).iter("p"):
                text = "".join(paragraph.itertext())
                if text.strip():
                    flow.item(text_span(text).html, depth=0)


def _write_notes(slide: "Slide", flow: Flow) -> None:
    notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    lines = _lines(notes) if notes is not None else []
    if lines:
        flow.paragraph(_NOTES)
    for line in lines:
        flow.paragraph(line)


def _lines(frame: Any) -> list[str]:
    """The paragraphs that are not blank."""
    lines = (line_of(_spans(paragraph._p)) for paragraph in frame.paragraphs)
    return [line for line in lines if line.strip()]


def _spans(paragraph: Any) -> Iterator[Span]:
    for child in paragraph:
        tag = str(child.tag).removeprefix(_DRAWING)
        if tag == "br":
            yield Span("<br>")
        elif tag == _FORMULA:
            yield from _formula(child)
        elif tag == "r" or (tag == "fld" and child.get("type") not in _FIELDS):
            properties = child.find(f"{_DRAWING}rPr")
            baseline = "" if properties is None else properties.get("baseline", "")
            script = "" if baseline.strip("0%") == "" else "sub" if baseline[0] == "-" else "sup"
            yield text_span(child.findtext(f"{_DRAWING}t") or "", script)


def _formula(element: Any) -> Iterator[Span]:
    from lxml.etree import tostring  # type: ignore[import-untyped]

    return formula(parsed(tostring(element)))


_FORMULA = "{http://schemas.microsoft.com/office/drawing/2010/main}m"
_FIELDS = frozenset({"slidenum"})
