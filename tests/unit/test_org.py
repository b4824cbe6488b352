"""The blocks of Org, and its keywords."""

import pytest

from embedding_assets.corpus.formats.markup.org import read_org


def blocks(source: str) -> list[tuple[str, str]]:
    found = read_org(source)
    return [(b.kind.value, found.text[b.start : b.end]) for b in found.blocks]


@pytest.mark.parametrize(
    ("heading", "label"),
    [
        ("* A", "A"),
        ("** TODO [#A] A [1/2] :b:c:", "A"),
        ("* DONE /a/ =b= [[c][d]] <<e>>[fn:1]", "a b d"),
        ("* DOING it", "DOING it"),
        ("* a :b", "a :b"),
        ("******* A", "A"),
    ],
)
def test_a_heading_is_its_words(heading: str, label: str) -> None:
    """Without state, priority, tags and marks."""
    block = read_org(heading).blocks[0]

    assert block.label == label
    assert block.level == min(heading.index(" "), 6)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("# a\nb", [("prose", "b")]),
        (
            "* a\nSCHEDULED: <2024-01-01>\n:LOGBOOK:\n- x\n:END:\nb",
            [("heading", "# a"), ("prose", "b")],
        ),
        (":NOTE:\na\n:END:\nb", [("prose", "a"), ("prose", "b")]),
        ("* COMMENT a\nb\n** c\n* d", [("heading", "# d")]),
        ("* a :noexport:\nb\n* c", [("heading", "# c")]),
        ("#+begin_src c :x y\n  a;\n,* b\n#+end_src", [("code", "```c\n  a;\n* b\n```")]),
        ("  #+BEGIN_EXAMPLE\n  * a\n  #+END_EXAMPLE", [("code", "  ```\n  * a\n  ```")]),
        ("#+begin_comment\na\n#+end_comment\nb", [("prose", "b")]),
        ("#+begin_quote\na\n#+end_quote", [("prose", "a")]),
        ("#+begin_src c\na\n* b", [("code", "```c\na\n```"), ("heading", "# b")]),
        (": a\n:  b", [("code", "```\na\n b\n```")]),
        ("| a | b |\n|---+---|\n| c | |", [("table", "| a | b |\n| --- | --- |\n| c |  |")]),
        ("| a |", [("table", "|  |\n| --- |\n| a |")]),
        ("- a\n  - b\n\n  c\n- d\ne", [("list", "- a\n  - b\n\n  c\n- d"), ("prose", "e")]),
        ("#+caption: a\n| b |", [("caption", "a"), ("table", "|  |\n| --- |\n| b |")]),
        ("a\n[fn:1] b", [("prose", "a"), ("prose", "[fn:1] b")]),
    ],
)
def test_a_block_is_what_its_lines_say(source: str, found: list[tuple[str, str]]) -> None:
    """Code has Markdown's fences, tables its pipes; what is not exported is left out."""
    assert blocks(source) == found


def test_a_fragment_is_what_the_author_chose() -> None:
    """Others change with every export."""
    source = "* a\n:PROPERTIES:\n:CUSTOM_ID: b\n:END:\n* c"

    assert [block.anchor for block in read_org(source).blocks] == ["b", ""]


def test_keywords_are_metadata() -> None:
    """The title may be in several lines."""
    found = read_org("#+title: A\n#+TITLE: b\n#+date: [2024-05-06]\n#+filetags: :c:d:\ntext")

    assert found.title == "A b"
    assert found.metadata == {"date": "2024-05-06", "keywords": ["c", "d"]}
