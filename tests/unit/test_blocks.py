"""What holds for the blocks of every text, whatever is in it."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.data.delimited import read_delimited
from embedding_assets.corpus.formats.data.json_values import read_json
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.mail.message import read_mail
from embedding_assets.corpus.formats.markup.asciidoc import read_asciidoc
from embedding_assets.corpus.formats.markup.code import read_braces, read_python, read_script
from embedding_assets.corpus.formats.markup.latex import read_latex
from embedding_assets.corpus.formats.markup.markdown import read_markdown
from embedding_assets.corpus.formats.markup.mdx import read_mdx
from embedding_assets.corpus.formats.markup.org import read_org
from embedding_assets.corpus.formats.markup.qmd import read_qmd
from embedding_assets.corpus.formats.markup.rst import read_rst
from embedding_assets.corpus.formats.plain import read_plain
from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS, clean, one_line

# fmt: off
PIECES = [
    "a", "b c", "# a", "===", "---", "- ", "1. ", "> ", "```", "~~~", "    ", "  ", "\t", "", "\n",
    "|a|b|", "|-|-|", "<div>", "<h1>", "</h1>", "<!--", "-->", "[a]: b", "[^a]: b", ": ", "!!! n",
    '=== "a"', ":::", "{: #a}", "{#a}", "x" * 99, "+++", "title: a", ".. ", ".. a:: b", ".. _a:",
    "::", ":a: b", ".. class:: A", ">>> ", "== ==", "+-+-+", "..", "é", "data:,", "\u2028", "\x1c",
    "\u3000", "{", "}", "import a", "<A b='c'>", "</A>", "```{r}", "#| a", "= a", "----", "====",
    "|===", "[[a]]", "[source,b]", "a:: ", "* a", "** b", "+", "#+title: a", "#+begin_src b",
    "#+end_src", ":a:", ":end:", "\\section{a}", "\\begin{itemize}", "\\item", "\\end{itemize}",
    "\\begin{tabular}", "&", "\\\\", "\\end{tabular}", "$", "$$", "\\[", "%", "def a():",
    "class A:", "/*", "*/", "void a(int b) {", '"""', "# copyright",
]
# fmt: on
HOSTILE = st.lists(st.sampled_from([*PIECES, "\n", "\n"]), max_size=40).map("".join)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), HOSTILE),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(HOSTILE, inner, max_size=4)
    ),
    max_leaves=20,
)
READERS = [read_markdown, read_rst, read_plain]
# Of what they read something is written anew, or left out.
OTHER_READERS = [
    read_asciidoc,
    read_braces,
    read_latex,
    read_mdx,
    read_org,
    read_python,
    read_qmd,
    read_script,
]


@pytest.mark.parametrize("read", [*READERS, *OTHER_READERS, read_delimited])
@given(source=st.one_of(HOSTILE, st.text()))
def test_blocks_are_in_order_and_cover_the_text(
    read: Callable[[str], Extracted], source: str
) -> None:
    """Every character that is no white space is in one block, which begins and ends with such."""
    check_blocks(read(clean(source)))


@given(value=JSON)
def test_blocks_of_json_are_in_order_and_cover_the_text(value: object) -> None:
    """However it is nested."""
    check_blocks(read_json(json.dumps(value)))


@given(text=HOSTILE, is_html=st.booleans())
def test_blocks_of_a_mail_are_in_order_and_cover_the_text(text: str, is_html: bool) -> None:
    """Whatever was left out of it."""
    head = f"Subject: a\nContent-Type: text/{'html' if is_html else 'plain'}; charset=utf-8\n\n"
    check_blocks(read_mail((head + text).encode()))


def check_blocks(extracted: Extracted) -> None:
    done = 0
    for block in extracted.blocks:
        body = extracted.text[block.start : block.end]
        assert not extracted.text[done : block.start].strip()
        assert done <= block.start < block.end
        assert body == body.rstrip()
        assert not body[0].isspace() or block.kind is BlockKind.CODE
        assert bool(block.label) == block.opens_section
        assert block.label == one_line(block.label)
        assert len(block.anchor) <= MAX_TITLE_CHARS
        assert (1 <= block.level <= 6) if block.kind is BlockKind.HEADING else block.level >= 0
        done = block.end
    assert not extracted.text[done:].strip()


@pytest.mark.parametrize("read", READERS)
@given(source=st.text(st.characters(exclude_characters=".<-+")))
def test_a_text_without_markup_that_hides_something_is_as_it_is(
    read: Callable[[str], Extracted], source: str
) -> None:
    """Only comments, front matter and their like are left out."""
    assert read(clean(source)).text == clean(source)
