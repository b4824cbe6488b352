"""Presentations: in which order slides are read, what on them is no text."""

import io

import pytest
from pptx import Presentation
from pptx.oxml import parse_xml
from pptx.presentation import Presentation as Slides
from pptx.util import Inches

from embedding_assets.corpus.formats.office.pptx import read_pptx
from embedding_assets.errors import DocumentError

TITLE_AND_CONTENT, BLANK = 1, 6


def saved(slides: Slides) -> bytes:
    file = io.BytesIO()
    slides.save(file)
    return file.getvalue()


def test_lists_are_numbered_and_nested_as_they_are_shown() -> None:
    """A paragraph without a mark is none."""
    slides = Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[TITLE_AND_CONTENT])
    slide.shapes.title.text = "Steps"
    frame = slide.placeholders[1].text_frame
    for text, mark, level in [("a", "buAutoNum", 0), ("b", "", 1), ("c", "buAutoNum", 0)]:
        paragraph = frame.add_paragraph()
        paragraph.text, paragraph.level = text, level
        if mark:
            properties = paragraph._p.get_or_add_pPr()
            properties.append(properties.makeelement(f"{{{properties.nsmap['a']}}}{mark}"))

    assert read_pptx(saved(slides)).text == "## Steps\n\n1. a\n   - b\n2. c"


def test_a_slide_without_a_title_is_called_by_its_number() -> None:
    """It is no title of the whole; a slide without text is left out."""
    slides = Presentation()
    slides.slides.add_slide(slides.slide_layouts[BLANK])
    slide = slides.slides.add_slide(slides.slide_layouts[BLANK])
    box = slide.shapes.add_textbox(Inches(1), Inches(1), Inches(1), Inches(1))
    box.text_frame.text = "Text"
    found = read_pptx(saved(slides))

    assert (found.title, found.text) == ("", "## Slide 2\n\nText")
    assert {block.page for block in found.blocks} == {2}


def test_a_text_with_a_formula_is_read() -> None:
    """PowerPoint writes the whole box twice: as it is, and as a picture for older programs."""
    slides = Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[BLANK])
    box = slide.shapes.add_textbox(Inches(1), Inches(1), Inches(1), Inches(1))
    box.text_frame.text = "Energy "
    formula = (
        '<a14:m xmlns:a14="http://schemas.microsoft.com/office/drawing/2010/main" xmlns:m='
        '"http://schemas.openxmlformats.org/officeDocument/2006/math"><m:oMath><m:r><m:t>E=m</m:t>'
        "</m:r><m:sSup><m:e><m:r><m:t>c</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup>"
        "</m:sSup></m:oMath></a14:m>"
    )
    box.text_frame.paragraphs[0]._p.append(parse_xml(formula))
    either = parse_xml(
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">'
        '<mc:Choice Requires="a14"/><mc:Fallback/></mc:AlternateContent>'
    )
    box._element.addprevious(either)
    either[0].append(box._element)

    assert read_pptx(saved(slides)).text == "## Slide 1\n\nEnergy E=mc^2"


def test_a_document_of_word_is_no_presentation() -> None:
    """Though it is an archive of the same family."""
    with pytest.raises(DocumentError, match="it is no sound PowerPoint presentation"):
        read_pptx(b"PK\x05\x06" + bytes(18))
