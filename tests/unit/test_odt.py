"""OpenDocument texts: lists that go on, what is hidden, cells that are repeated."""

import pytest

from embedding_assets.corpus.formats.office.odt import read_odt
from tests.archives import open_document

_STEPS = (
    '<text:list-style style:name="L"><text:list-level-style-number text:level="1" '
    'style:num-format="1" text:start-value="4"/><text:list-level-style-number text:level="2" '
    'style:num-format="i" style:num-suffix=")" text:display-levels="2"/></text:list-style>'
)


def text_of(body: str, styles: str = "") -> str:
    return read_odt(open_document(body, styles=styles)).text


def test_a_list_counts_from_where_it_starts_or_goes_on() -> None:
    """Numbers in several parts are written as the program shows them."""
    item = "<text:list-item><text:p>{}</text:p>{}</text:list-item>"
    inner = f"<text:list>{item.format('b', '')}</text:list>"
    first = f'<text:list text:style-name="L">{item.format("a", inner)}</text:list>'
    second = first.replace("<text:list ", '<text:list text:continue-numbering="true" ', 1)

    assert text_of(f"{first}<text:p>x</text:p>{second}", _STEPS) == (
        "4. a\n   - 4.i) b\n\nx\n\n5. a\n   - 5.i) b"
    )


def test_headings_have_the_numbers_that_the_program_shows() -> None:
    """As the style of the outline says."""
    levels = "".join(
        f'<text:outline-level-style text:level="{n}" style:num-format="{form}" '
        f'text:display-levels="{n}"/>'
        for n, form in [(1, "I"), (2, "1")]
    )
    headings = "".join(f'<text:h text:outline-level="{n}">x</text:h>' for n in (1, 2, 1, 2, 2))
    outline = f"<text:outline-style>{levels}</text:outline-style>"

    assert text_of(headings, outline).splitlines()[::2] == [
        "# I x",
        "## I.1 x",
        "# II x",
        "## II.1 x",
        "## II.2 x",
    ]


def test_a_heading_without_a_number_does_not_count() -> None:
    """Such as a preface."""
    outline = (
        '<text:outline-style><text:outline-level-style text:level="1" style:num-format="1"/>'
        "</text:outline-style>"
    )
    preface = '<text:h text:outline-level="1" text:is-list-header="true">a</text:h>'

    assert text_of(f'{preface}<text:h text:outline-level="1">b</text:h>', outline) == "# a\n\n# 1 b"


def test_the_text_of_a_drawing_stands_behind_the_paragraph() -> None:
    """Its paragraphs are no words of that."""
    drawing = "<text:custom-shape><text:p>c</text:p><text:p>d</text:p></text:custom-shape>"

    assert text_of(f"<text:p>a{drawing}b</text:p><text:p>e</text:p>") == "ab\n\nc\n\nd\n\ne"


_TYPED = "<semantics><mi>E</mi><annotation>E &lt; m c^2</annotation></semantics>"
_SHOWN = (
    "<mi>y</mi><mo>=</mo><mfrac><mrow><mi>a</mi><mo>+</mo><msup><mi>x</mi><mn>2</mn></msup></mrow>"
    "<mn>3</mn></mfrac><msqrt><mi>b</mi></msqrt>"
)


@pytest.mark.parametrize(("formula", "text"), [(_TYPED, "E < m c^2"), (_SHOWN, "y=(a+x^2)/3√b")])
def test_a_formula_is_what_was_typed_or_is_shown(formula: str, text: str) -> None:
    """It is in a part of its own, beside other objects that say nothing."""
    objects = '<text:frame><text:object text:href="./Object {}"/></text:frame>'.format
    parts = {
        "Object 1/content.xml": f"<m:math xmlns:m='urn:m'>{formula}</m:math>",
        "Object 2/content.xml": "<chart><annotation>x</annotation></chart>",
    }
    body = f"<text:p>So {objects(1)}{objects(2)}{objects(3)}.</text:p>"

    assert read_odt(open_document(body, parts=parts)).text == f"So {text}."


def test_hidden_paragraphs_and_sections_are_counted() -> None:
    """Whether they are hidden by a style, a field or a section."""
    styles = (
        '<style:style style:name="H"><style:text-properties text:display="none"/></style:style>'
    )
    found = read_odt(
        open_document(
            '<text:p text:style-name="H">a</text:p>'
            '<text:p>b<text:hidden-paragraph text:is-hidden="true"/></text:p>'
            '<text:section text:display="none"><text:p>c</text:p></text:section><text:p>d</text:p>',
            styles=styles,
        )
    )

    assert (found.text, found.remark) == ("d", "3 hidden passages are left out")


def test_cells_that_are_repeated_are_one_wide_cell() -> None:
    """A file can ask for billions of them."""
    row = (
        '<table:table-row table:number-rows-repeated="999999"><table:table-cell><text:p>a</text:p>'
        '</table:table-cell><table:table-cell table:number-columns-repeated="3"><text:p>b</text:p>'
        "</table:table-cell></table:table-row>"
    )

    assert text_of(f"<table:table>{row}{row}</table:table>") == (
        "| a | b |  |  |\n| --- | --- | --- | --- |\n| a | b |  |  |"
    )
