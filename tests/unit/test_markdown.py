"""The blocks of Markdown, held against a CommonMark parser, and what it has beyond that."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.formats.markup.markdown import read_markdown

ROOT = Path(__file__).parents[2]
COMMONMARK = MarkdownIt("commonmark", {"maxNesting": 1000}).enable("table").disable("inline")

# Lines that begin, end, or look like blocks. None is of an extension, or a link's definition.
# fmt: off
PIECES = [
    "# a", "## b ##", "a", "b c", "===", "---", "- ", "* ", "1. ", "2. ", "> ", "```", "~~~",
    "````", "    ", "  ", "", "\n", "|a|b|", "|-|-|", "| c | d", "***", "<div>", "<p>x</p>",
    "</div>", "<!-- c -->", "x", "```py", "`", "\\", "* x",
]
# fmt: on


class Found(NamedTuple):
    """What both can be asked for: a heading's level, or "fence", and its lines."""

    kind: str
    body: str


def theirs(text: str) -> list[Found]:
    lines = text.split("\n")
    kinds = {"heading_open": "", "fence": "fence"}
    return [
        Found(kinds[token.type] or token.tag, "\n".join(lines[slice(*token.map)]).strip())
        for token in COMMONMARK.parse(text)
        if token.level == 0 and token.type in kinds and token.map is not None
    ]


def ours(text: str) -> list[Found]:
    return list(_ours(text))


def _ours(text: str) -> Iterator[Found]:
    extracted = read_markdown(text)
    for block in extracted.blocks:
        body = extracted.text[block.start : block.end]
        if block.kind is BlockKind.HEADING and not body.startswith("<"):
            yield Found(f"h{block.level}", body)
        elif block.kind is BlockKind.CODE and not body.startswith("    "):
            yield Found("fence", body.strip())


def blocks(text: str) -> list[tuple[str, str]]:
    extracted = read_markdown(text)
    return [(b.kind.value, extracted.text[b.start : b.end]) for b in extracted.blocks]


def sections(text: str) -> list[Block]:
    return [block for block in read_markdown(text).blocks if block.opens_section]


@pytest.mark.parametrize("path", sorted(ROOT.glob("**/docs/**/*.md")), ids=lambda path: path.name)
def test_real_documents_have_the_headings_and_fences_of_commonmark(path: Path) -> None:
    """What people write is divided as a parser that others keep divides it."""
    text = path.read_text()

    assert ours(text) == theirs(text)


@pytest.mark.parametrize("seed", range(10))
def test_any_lines_have_the_headings_and_fences_of_commonmark(seed: int) -> None:
    """Lists in quotes, fences without an end, underlines below anything: nothing is taken wrong."""
    source = random.Random(seed)
    for _ in range(300):
        pieces = source.choices(PIECES, k=source.randint(2, 12))
        text = "".join(piece + source.choice(["", "\n", "\n"]) for piece in pieces)

        assert ours(text) == theirs(text), text


def test_every_kind_of_block() -> None:
    """Lists, tables, code and quotes are one block each, notes and definitions open up."""
    text = """\
para
goes on

- item

  ```
  code
  ```
  - nested
lazy

> quote
> - list

| a | b |
|---|---|
| 1 | 2 |

    indented

~~~
# no heading

[^1]: foot
    note
"""
    assert blocks(text.replace("# no heading\n", "# no heading\n~~~\n")) == [
        ("prose", "para\ngoes on"),
        ("list", "- item\n\n  ```\n  code\n  ```\n  - nested\nlazy"),
        ("prose", "> quote\n> - list"),
        ("table", "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("code", "    indented"),
        ("code", "~~~\n# no heading\n~~~"),
        ("prose", "[^1]: foot\n    note"),
    ]
    assert blocks(text)[-1] == ("code", "~~~\n# no heading\n\n[^1]: foot\n    note")


def test_a_note_is_a_caption_and_what_is_in_it() -> None:
    """Fences and lists in an admonition are whole, and its headings open no section."""
    text = """\
!!! note "Title"
    text

    ```
    code

    ```
    # not a section

=== "Tab"

    - a

::: tip
text
:::
"""
    assert blocks(text) == [
        ("caption", '!!! note "Title"'),
        ("prose", "text"),
        ("code", "    ```\n    code\n\n    ```"),
        ("prose", "# not a section"),
        ("caption", '=== "Tab"'),
        ("list", "- a"),
        ("caption", "::: tip"),
        ("prose", "text"),
        ("prose", ":::"),
    ]


def test_a_definition_stands_under_its_term() -> None:
    """Every block of a definition is one level deeper, what follows it is not."""
    text = """\
`outer`

:   first

    - list

    inner
    :   deep
: second

after
"""
    extracted = read_markdown(text)

    assert [
        (b.kind.value, b.level, b.label, extracted.text[b.start : b.end]) for b in extracted.blocks
    ] == [
        ("term", 0, "outer", "`outer`"),
        ("prose", 1, "", ":   first"),
        ("list", 1, "", "- list"),
        ("term", 1, "inner", "inner"),
        ("prose", 2, "", ":   deep"),
        ("prose", 1, "", ": second"),
        ("prose", 0, "", "after"),
    ]


@pytest.mark.parametrize(
    ("heading", "label", "anchor"),
    [
        ("# Plain words", "Plain words", "plain-words"),
        ("## `code_x` and *it* **b**", "code_x and it b", "code_x-and-it-b"),
        ("# [Link](http://a.b/(c) 'd'), [other][ref]", "Link, other", "link-other"),
        ("# [![alt](x.png)](y)", "alt", "alt"),
        ("# snake_case 5 * 3 * 2", "snake_case 5 * 3 * 2", "snake_case-5--3--2"),
        ("# a \\*b\\* &amp; <b>c</b>", "a *b* & c", "a-b--c"),
        ("# f(*args, **kw)", "f(*args, **kw)", "fargs-kw"),
        ("# Kramdown { #own .x }", "Kramdown", "own"),
        ("# Docusaurus {#own}", "Docusaurus", "own"),
        ("# Python-Markdown {: #own }", "Python-Markdown", "own"),
        ("# Below\n{: #own}", "Below", "own"),
        ("Setext {.no-id}\n===", "Setext", "setext"),
        ("# A {set}", "A {set}", "a-set"),
        ("# Über die Größe", "Über die Größe", "über-die-größe"),
        ("<h1 align=center id='own'>In <b>HTML</b></h1>", "In HTML", "own"),
        ("<div>\n<h2>Two\nlines</h2>\n</div>", "Two lines", "two-lines"),
    ],
)
def test_a_heading_is_its_words_and_an_anchor(heading: str, label: str, anchor: str) -> None:
    """Readers see no marks; the fragment is the author's, else GitHub's."""
    [found] = sections(f"text\n\n{heading}\n\ntext")

    assert (found.label, found.anchor) == (label, anchor)


def test_equal_headings_are_counted_as_github_does() -> None:
    """No two headings have one anchor."""
    found = sections("# a\n# a\n# a-1\n# a\n# b {#a}")

    assert [heading.anchor for heading in found] == ["a", "a-1", "a-1-1", "a-2", "a"]


def test_comments_are_not_text() -> None:
    """No reader sees them, unless they are code or something stands beside them."""
    text = "a\n\n<!-- b\n\n# c -->\n\n```\n<!-- d -->\n```\n\n<!-- e --> f"

    assert read_markdown(text).text == "a\n\n\n```\n<!-- d -->\n```\n\n<!-- e --> f"


def test_a_comment_without_an_end_is_text() -> None:
    """A mistake does not swallow the rest of a document."""
    assert blocks("<!-- a\n\nb") == [("prose", "<!-- a\n\nb")]


def test_too_deep_a_nesting_is_prose() -> None:
    """What stands under more than eight notes in each other is one block."""
    text = "\n".join("    " * depth + "!!! note" for depth in range(12))
    marker = blocks(text.replace("note", 'x "y"'))

    assert [kind for kind, _ in marker] == ["caption"] * 9 + ["prose"]
