"""The blocks of AsciiDoc, as Asciidoctor and the older AsciiDoc understand it."""

import pytest

from embedding_assets.corpus.formats.markup.asciidoc import read_asciidoc


def blocks(source: str) -> list[tuple[str, str]]:
    found = read_asciidoc(source)
    return [(b.kind.value, found.text[b.start : b.end]) for b in found.blocks]


def sections(source: str) -> list[tuple[int, str, str]]:
    blocks = read_asciidoc(source).blocks
    return [(b.level, b.label, b.anchor) for b in blocks if b.opens_section]


def test_headings_have_levels_and_anchors() -> None:
    """One line or two; the fragment is what Asciidoctor makes of it, or what stands before."""
    source = """\
= Book

== One: *bold* `code`

[[own]]
=== Two

One: bold code
--------------

[#three.role]
Three
~~~~~

[discrete]
== None
"""
    assert sections(source) == [
        (1, "Book", ""),
        (2, "One: bold code", "_one_bold_code"),
        (3, "Two", "own"),
        (2, "One: bold code", "_one_bold_code_2"),
        (3, "Three", "three"),
    ]


def test_the_form_of_anchors_is_the_documents() -> None:
    """As Antora sets it."""
    assert sections(":idprefix:\n:idseparator: -\n\n== A b") == [(2, "A b", "a-b")]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("// a\nb", [("prose", "b")]),
        ("////\na\n////\nb", [("prose", "b")]),
        ("ifdef::a[]\nb\nendif::[]", [("prose", "b")]),
        ("include::a.adoc[]\n\nb", [("prose", "b")]),
        ("a (((b,c))) ((d)) indexterm:[e]f [[g]]", [("prose", "a  d f")]),
        ("image::a.png[A map,100]", [("prose", "A map")]),
        ("++++\n<b>\n++++", []),
        ("[stem]\n++++\nx^2\n++++", [("code", "$$\nx^2\n$$")]),
        ("[source,ruby]\n----\na\n----", [("code", "```ruby\na\n```")]),
        ("[source]\na\nb\n\nc", [("code", "```\na\nb\n```"), ("prose", "c")]),
        ("....\n```\n....", [("code", "````\n```\n````")]),
        ("```js\na\n```", [("code", "```js\na\n```")]),
        ("----\nunclosed", [("code", "```\nunclosed\n```")]),
        (".Title\n----\na\n----", [("caption", "Title"), ("code", "```\na\n```")]),
        ("[TIP]\n====\na\n\nb\n====", [("caption", "TIP:"), ("prose", "a"), ("prose", "b")]),
        ("[NOTE]\na", [("prose", "NOTE: a")]),
        ("* a\n** b\n\n* c\n\nd", [("list", "* a\n** b\n\n* c"), ("prose", "d")]),
        ("* a\n+\n----\nb\n----\n* c", [("list", "* a\n\n```\nb\n```\n* c")]),
        ("a\n\n  b", [("prose", "a"), ("code", "  b")]),
        (":a: b\n\n{a} {c} \\{a}", [("prose", "b {c} \\{a}")]),
        ("[quote,x]\n____\na\n____", [("prose", "a")]),
    ],
)
def test_a_block_is_what_its_lines_say(source: str, found: list[tuple[str, str]]) -> None:
    """Code has Markdown's fences; what readers do not see is left out."""
    assert blocks(source) == found


def test_terms_have_their_definitions() -> None:
    """What a plus attaches belongs to them, what follows after a blank line does not."""
    source = "a::\n--b::\n\tOne.\n+\nTwo.\nc:::\n  Three.\n\nd:: four\n\nFive."

    found = [(b.kind.value, b.level, b.label) for b in read_asciidoc(source).blocks]

    assert found == [
        ("term", 0, "a"),
        ("term", 0, "--b"),
        ("prose", 1, ""),
        ("prose", 1, ""),
        ("term", 1, "c"),
        ("prose", 2, ""),
        ("term", 0, "d"),
        ("prose", 0, ""),
    ]


@pytest.mark.parametrize(
    ("source", "table"),
    [
        ("|===\n|a |b\n\n|c\n|d\n|===", "| a | b |\n| --- | --- |\n| c | d |"),
        ("[%header,cols=2*]\n|===\n|a|b|c|d\n|===", "| a | b |\n| --- | --- |\n| c | d |"),
        ("[cols=2]\n|===\n2+|a\n|b|c\n|===", "|  |  |\n| --- | --- |\n| a |  |\n| b | c |"),
        ("[cols=2]\n|===\n.2+|a|b\n|c\n|===", "|  |  |\n| --- | --- |\n| a | b |\n| a | c |"),
        (',===\na,"b,c"\n,===', "|  |  |\n| --- | --- |\n| a | b,c |"),
        ("|===\n|a\\|b |c\n|===", "|  |  |\n| --- | --- |\n| a\\|b | c |"),
    ],
)
def test_tables_are_pipes(source: str, table: str) -> None:
    """With headers, spans, and columns as many as are said or the first line has."""
    assert blocks(source) == [("table", table)]


def test_the_header_says_who_wrote_it_and_when() -> None:
    """And attributes say the rest."""
    source = "= T\nA B <a@b.c>; C D\n2024-05-06\n:description: x\n:keywords: y, z\n\ntext"

    found = read_asciidoc(source)

    assert {name: value for name, value in found.metadata.items() if value} == {
        "author": ["A B", "C D"],
        "date": "2024-05-06",
        "description": "x",
        "keywords": ["y", "z"],
    }
    assert found.text.split("\n")[0] == "# T"


def test_several_authors_are_a_list() -> None:
    """Of the line below the title, and of the attribute."""
    assert read_asciidoc("= T\nAda L <a@b.c>; Bob\n\ntext").metadata["author"] == ["Ada L", "Bob"]
    assert read_asciidoc("= T\n:author: Ada\n\ntext").metadata["author"] == "Ada"
