"""Word documents: what their styles, numbers and marks mean for the text."""

import pytest

from embedding_assets.corpus.formats.extracted import Member
from embedding_assets.corpus.formats.office.docx import read_docx
from tests.archives import packed, word_document

_TEXT = "<w:r><w:t>{}</w:t></w:r>"


def paragraph(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr>{_TEXT.format(text)}</w:p>"


def text_of(body: str, **parts: str) -> str:
    return read_docx(word_document(body, **parts)).text


def test_a_style_is_a_heading_if_what_it_is_based_on_is_one() -> None:
    """Whatever it is called."""
    styles = (
        '<w:style w:styleId="H"><w:name w:val="Kapitel"/>'
        '<w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>'
        '<w:style w:styleId="I"><w:name w:val="Own"/><w:basedOn w:val="H"/></w:style>'
    )

    assert text_of(paragraph("Named", '<w:pStyle w:val="I"/>'), styles=styles) == "## Named"


def test_a_style_is_a_heading_if_it_is_called_so() -> None:
    """Google Docs says no outline level; one that is said counts more."""
    styles = "".join(
        f'<w:style w:styleId="{name[-1]}"><w:name w:val="{name}"/>{more}</w:style>'
        for name, more in [
            ("heading 1", ""),
            ("heading 2", '<w:basedOn w:val="1"/>'),
            ("heading 3", '<w:pPr><w:outlineLvl w:val="9"/></w:pPr>'),
        ]
    )
    body = "".join(paragraph("x", f'<w:pStyle w:val="{n}"/>') for n in (1, 2, 3))

    assert text_of(body, styles=styles) == "# x\n\n## x\n\nx"


def test_a_table_of_contents_is_left_out() -> None:
    """So is what a form says about what belongs there."""
    styles = '<w:style w:styleId="T"><w:name w:val="toc 2"/></w:style>'
    field = f"<w:sdtContent>{paragraph('Click here')}</w:sdtContent>"
    placeholder = f"<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr>{field}</w:sdt>"
    body = paragraph("Snow 7", '<w:pStyle w:val="T"/>') + placeholder

    assert text_of(body + paragraph("Text"), styles=styles) == "Text"


@pytest.mark.parametrize(
    ("form", "text", "item"),
    [
        ("decimal", "%1.", "3. x"),
        ("decimal", "Article %1", "- Article 3 x"),
        ("lowerLetter", "%1)", "- c) x"),
        ("upperRoman", "%1.", "- III. x"),
        ("bullet", "·", "- x"),
    ],
)
def test_an_item_has_the_number_that_word_shows(form: str, text: str, item: str) -> None:
    """A list that begins with three says so."""
    numbering = (
        '<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:start w:val="3"/>'
        f'<w:numFmt w:val="{form}"/><w:lvlText w:val="{text}"/></w:lvl></w:abstractNum>'
        '<w:num w:numId="7"><w:abstractNumId w:val="1"/></w:num>'
    )
    properties = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="7"/></w:numPr>'

    assert text_of(paragraph("x", properties), numbering=numbering) == item


def numbering_of(*levels: str) -> str:
    """A list with the id 7 and such levels."""
    inner = "".join(f'<w:lvl w:ilvl="{n}">{level}</w:lvl>' for n, level in enumerate(levels))
    return (
        f'<w:abstractNum w:abstractNumId="1">{inner}</w:abstractNum>'
        '<w:num w:numId="7"><w:abstractNumId w:val="1"/></w:num>'
    )


def in_list(level: int) -> str:
    return f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="7"/></w:numPr>'


def test_a_blank_paragraph_has_a_number_unless_it_is_hidden_or_deleted() -> None:
    """Those that follow have the numbers that Word shows."""
    marks = ["", "<w:rPr><w:del/></w:rPr>", "<w:rPr><w:vanish/></w:rPr>"]
    blank = "".join(
        f'<w:p><w:pPr>{in_list(0)}{mark}</w:pPr><w:r><w:br w:type="page"/></w:r></w:p>'
        for mark in marks
    )
    level = '<w:numFmt w:val="upperRoman"/><w:lvlText w:val="%1."/>'
    body = paragraph("a", in_list(0)) + blank + paragraph("b", in_list(0))

    assert text_of(body, numbering=numbering_of(level)) == "- I. a\n- III. b"


def test_numbers_of_law_are_digits() -> None:
    """Article II has a section 2.1."""
    article = '<w:numFmt w:val="upperRoman"/><w:lvlText w:val="Article %1"/>'
    section = '<w:isLgl/><w:numFmt w:val="decimal"/><w:lvlText w:val="Section %1.%2"/>'
    body = paragraph("a", in_list(0)) * 2 + paragraph("b", in_list(1))

    assert text_of(body, numbering=numbering_of(article, section)) == (
        "- Article I a\n- Article II a\n  - Section 2.1 b"
    )


def test_moved_and_deleted_text_is_read_where_it_is_now() -> None:
    """Comments and instructions of fields are no text either."""
    body = (
        "<w:p>"
        + _TEXT.format("a ")
        + f"<w:moveFrom>{_TEXT.format('gone')}</w:moveFrom><w:ins>{_TEXT.format('new')}</w:ins>"
        + "<w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
        + "<w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
    )

    assert text_of(body) == "a new"


def test_files_that_word_would_take_in_are_documents_of_their_own() -> None:
    """Programs on the web write a whole text so: as a page that Word is to convert."""
    relation = '<Relationship Type="http://x/aFChunk" Target="{}"/>'.format
    data = packed({
        "word/document.xml": "<document><body><altChunk/><altChunk/></body></document>",
        "word/_rels/document.xml.rels": "<Relationships>"
        f"{relation('a.html')}{relation('/word/b.mht')}{relation('gone.html')}</Relationships>",
        "word/a.html": "<p>a</p>",
        "word/b.mht": "MIME-Version: 1.0",
    })  # fmt: skip

    assert read_docx(data).members == (
        Member(name="a.html", media_type="", data=b"<p>a</p>"),
        Member(name="b.mht", media_type="message/rfc822", data=b"MIME-Version: 1.0"),
    )


def test_what_a_style_hides_is_hidden() -> None:
    """Unless a run says otherwise; the remark counts paragraphs."""
    styles = '<w:style w:styleId="V"><w:name w:val="v"/><w:rPr><w:vanish/></w:rPr></w:style>'
    shown = '<w:r><w:rPr><w:vanish w:val="0"/></w:rPr><w:t>seen</w:t></w:r>'
    body = f'<w:p><w:pPr><w:pStyle w:val="V"/></w:pPr>{_TEXT.format("not ")}{shown}</w:p>'
    found = read_docx(word_document(body, styles=styles))

    assert (found.text, found.remark) == ("seen", "1 hidden passage is left out")


def test_a_note_stands_behind_the_block_that_refers_to_it() -> None:
    """In an item it is part of that; of a table it comes behind the whole."""
    mark = "<w:r><w:footnoteRef/></w:r>"
    notes = f'<w:footnote w:id="2"><w:p>{mark}{_TEXT.format(" Why.")}</w:p></w:footnote>'
    reference = '<w:r><w:footnoteReference w:id="2"/></w:r>'
    cell = f"<w:tc><w:p>{_TEXT.format('a')}{reference}</w:p></w:tc>"
    row = f"<w:tr>{cell}<w:tc>{paragraph('b')}</w:tc></w:tr>"

    assert text_of(f"<w:tbl>{row}{row}</w:tbl>", footnotes=notes) == (
        "| a[1] | b |\n| --- | --- |\n| a[2] | b |\n\n[1] Why.\n\n[2] Why."
    )


def test_formulas_are_on_one_line() -> None:
    """Powers and fractions can be told."""
    m = "<w:p><w:oMath>{}</w:oMath></w:p>"
    power = f"<w:sSup><w:e>{_TEXT.format('x')}</w:e><w:sup>{_TEXT.format('2')}</w:sup></w:sSup>"
    fraction = f"<w:f><w:num>{_TEXT.format('a+b')}</w:num><w:den>{_TEXT.format('c')}</w:den></w:f>"

    assert text_of(m.format(power + fraction)) == "x^2(a+b)/c"


def test_signs_of_formulas_are_read_though_they_are_no_text() -> None:
    """Word notes parentheses, roots and sums as what they are for."""
    e = "<w:e>{}</w:e>".format
    letter = "<w:r><w:t>{}</w:t></w:r>".format
    inside = f"<w:d>{e(letter('a'))}{e(letter('b'))}</w:d>"
    bars = f'<w:d><w:dPr><w:begChr w:val="["/><w:endChr/></w:dPr>{e(letter("c"))}</w:d>'
    root = f"<w:rad><w:deg/>{e(letter('d+1'))}</w:rad>"
    total = f'<w:nary><w:naryPr><w:chr w:val="∑"/></w:naryPr>{e(letter("x"))}</w:nary>'
    sine = f"<w:func><w:fName>{letter('sin')}</w:fName>{e(letter('y'))}</w:func>"
    body = f"<w:p><w:oMath>{letter('f')}{inside}{bars}{root}{total}{sine}</w:oMath></w:p>"

    assert text_of(body) == "f(a|b)[c√(d+1)∑xsin y"


@pytest.mark.parametrize(
    ("font", "code", "text"),
    [
        ("Symbol", "F06D", "5 μm"),
        ("Symbol", "00B1", "5 ±m"),
        ("Symbol", "2264", "5 ≤m"),
        ("Wingdings", "F0FC", "5 ✓m"),
        ("Wingdings", "F041", "5 m"),
        ("Own", "F041", "5 m"),
        ("Symbol", "x", "5 m"),
    ],
)
def test_a_sign_of_a_font_of_symbols_is_read(font: str, code: str, text: str) -> None:
    """Unless nobody knows what it is."""
    symbol = f'<w:r><w:sym w:font="{font}" w:char="{code}"/></w:r>'

    assert text_of(f"<w:p>{_TEXT.format('5 ')}{symbol}{_TEXT.format('m')}</w:p>") == text


def test_digits_that_are_raised_one_by_one_are_one_power() -> None:
    """As Word writes what was typed at different times."""
    raised = '<w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>{}</w:t></w:r>'

    assert (
        text_of(f"<w:p>{_TEXT.format('10')}{raised.format(1)}{raised.format(2)}</w:p>") == "10^12"
    )
