"""RTF: characters of all encodings, what is hidden, merged cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.formats.office.rtf import read_rtf
from embedding_assets.errors import DocumentError

# fmt: off
PIECES = [
    "{", "}", "\\par ", "\\cell ", "\\row ", "\\cellx9 ", "\\intbl ", "a", "\\u55357?",
    "\\'e9", "\\'", "\\", "{\\footnote ", "{\\*\\x ", "\\trowd ", "{\\listtext 1.}", "\\s1 ",
    "\\outlinelevel3 ", "\\v ", "\\bin3 ", "\n",
]
# fmt: on


def text_of(body: str) -> str:
    return read_rtf(f"{{\\rtf1\\ansi\\deff0 {body}}}".encode("latin-1")).text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"caf\'e9", "café"),
        (r"{\fonttbl{\f1\fcharset204 A;}}{\f1\'cf\'f0\'e8}", "При"),
        (r"{\fonttbl{\f1\fcharset128 A;}}{\f1\'93\'fa\'96\'7b}", "日本"),
        (r"{\fonttbl{\f1\fcharset2 Symbol;}}5 {\f1 m}m, {\f1\u61549 m}m", "5 μm, μm"),
        (r"{\fonttbl{\f1\fcharset2 Symbol;}}{\f1\u8804 <} 5", "≤ 5"),
        (r"\u26085?\u26412?", "日本"),
        (r"\uc2\u26085\'93\'fa x", "日 x"),
        (r"\u-10179?\u-8704?", "😀"),
        (r"a\{b\}\\c\~d\_e", "a{b}\\c d\N{NON-BREAKING HYPHEN}e"),
        (r"\ldblquote a\rdblquote \emdash b", "“a”—b"),
    ],
)
def test_characters_are_what_their_font_and_unicode_say(body: str, text: str) -> None:
    """Of pairs of surrogates one character is made."""
    assert text_of(body) == text


def test_what_is_hidden_or_deleted_is_left_out_and_counted() -> None:
    """Until the group ends, or it is said that it is over."""
    found = read_rtf(rb"{\rtf1 a{\v b}{\deleted c} \v d\v0 e\par}")

    assert (found.text, found.remark) == ("a e", "1 hidden passage is left out")


def test_binary_data_is_passed_over() -> None:
    """Whatever braces are in it."""
    assert text_of(r"a{\pict\bin5 }}}}}}b") == "ab"


def test_a_note_stands_behind_its_paragraph() -> None:
    """Also if it has paragraphs of its own."""
    note = r"{\super\chftn}{\footnote {\pard b\par}{\pard c\par}}"

    assert text_of(rf"{{\pard a{note}\par}}d\par") == "a[1]\n\n[1] b\nc\n\nd"


def test_cells_are_in_the_columns_that_their_edges_make() -> None:
    """Merged ones are as wide or as high as they look."""
    row = r"\trowd\cellx1000\cellx3000\pard\intbl a\cell b\cell\row"
    merged = r"\trowd\clvmgf\cellx1000\cellx2000\cellx3000 x\cell y\cell z\cell\row"
    below = r"\trowd\clvmrg\cellx1000\cellx2000\cellx3010\cell v\cell w\cell\row\pard"

    assert text_of(row + merged + below) == (
        "| a | b |  |\n| --- | --- | --- |\n| x | y | z |\n| x | v | w |"
    )


@given(body=st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_rtf_is_a_text_whose_blocks_cover_it_or_an_error(body: str) -> None:
    """Nothing between the blocks but white space."""
    try:
        found = read_rtf(f"{{\\rtf1 {body}".encode())
    except DocumentError:
        return
    done = 0
    for block in found.blocks:
        assert not found.text[done : block.start].strip()
        done = block.end
    assert not found.text[done:].strip()
    found.text.encode()


@pytest.mark.parametrize(
    ("marker", "item"), [("o", "- x"), ("\\'d8", "- x"), ("a)", "- a) x"), ("7", "7. x")]
)
def test_a_letter_alone_is_a_bullet(marker: str, item: str) -> None:
    """Word's second bullet is an o, others are letters of fonts of symbols."""
    assert text_of(f"{{\\listtext {marker}\\tab}}x\\par ") == item


def test_a_row_that_is_cut_off_is_read() -> None:
    """As far as it is there."""
    row = r"\trowd\cellx500\cellx900\intbl "

    assert text_of(row + r"a\cell b\cell\row " + row + r"c\cell d\par e") == (
        "| a | b |\n| --- | --- |\n| c | d e |"
    )
