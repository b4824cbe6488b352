"""MDX and Quarto: what they have beside Markdown."""

import pytest

from embedding_assets.corpus.formats.markup.mdx import read_mdx
from embedding_assets.corpus.formats.markup.qmd import read_qmd


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import A from 'a'\nimport B from 'b'\n\ntext", "text"),
        ("export const a = {\n\n  b: 1,\n}\n\ntext", "text"),
        ("export default (p) => <A {...p} />\n\ntext", "text"),
        ("a {b} c", "a c"),
        ("a {/* b {c} */}d", "a d"),
        ('a{" "}b', "a b"),
        ("a {b", "a {b"),
        ("`{a}` and ``<B>``", "`{a}` and ``<B>``"),
        ("$\\frac{a}{b}$ and \\{c\\}", "$\\frac{a}{b}$ and \\{c\\}"),
        ("```\n{a} <B>\nimport c\n```", "``` {a} <B> import c ```"),
        ("a <B.C d='e > f'>g</B.C> <></>h", "a g h"),
        ('<Tab label="npm" onClick={() => 1}>a</Tab>', "npm a"),
        ("<Card\n  title='A'\n  href='b'\n/>", "A"),
        ("1 < 2 and <b>c</b>", "1 < 2 and <b>c</b>"),
    ],
)
def test_jsx_is_no_text(source: str, text: str) -> None:
    """Statements, expressions and the tags of components go; code, and text between tags, stays."""
    assert words(read_mdx(source).text) == text


def test_what_is_indented_in_a_component_is_no_code() -> None:
    """Lists keep their nesting, and headings are headings."""
    source = "<A>\n  <B>\n      ## Title\n\n      - a\n        - b\n  </B>\n</A>\n"

    found = read_mdx(source)

    assert [block.kind.value for block in found.blocks] == ["heading", "list"]
    assert "## Title\n\n- a\n  - b\n" in found.text


def test_a_heading_of_mdx_keeps_its_own_anchor() -> None:
    """As Docusaurus has it."""
    assert [block.anchor for block in read_mdx("# A {#b}").blocks] == ["b"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("```{r}\n1\n```", "```r\n1\n```"),
        ("```{r a, echo=FALSE}\n#| b: c\n#| d: e\n1\n```", "```r\n1\n```"),
        ("~~~~{.python #a}\n1\n~~~~", "~~~~python\n1\n~~~~"),
        ("```{#a .sql}\n1\n```", "```sql\n1\n```"),
        ("```{=html}\n<b>\n```", "```html\n<b>\n```"),
        ("```{{r}}\n1\n```", "```r\n1\n```"),
        ("```{ojs}\n//| a\nb\n```", "```ojs\nb\n```"),
        ("a {{< include b.qmd >}}c", "a c"),
        ("```r\n#| a\n```", "```r\n#| a\n```"),
    ],
)
def test_code_that_is_run_has_its_language_and_no_options(source: str, text: str) -> None:
    """Fences as Quarto, knitr and Pandoc have them become Markdown's."""
    assert read_qmd(source).text == text


def test_attributes_go_with_the_expressions_that_they_are() -> None:
    """Of the tags that stay, which are those of HTML."""
    found = read_mdx('<img src={logo} alt="The logo"/> <b onClick={() => { go() }}>Go</b>\n')

    assert found.text.strip() == '<img alt="The logo"/> <b>Go</b>'
