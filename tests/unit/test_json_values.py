"""JSON, of one value or of one a line: lines, sections, rows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.formats.data.json_values import read_json, read_json_lines
from embedding_assets.errors import DocumentError

LONG = "A sentence of some length, as people write it into a field for remarks. " * 8


def text_of(value: object) -> str:
    return read_json(json.dumps(value)).text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "b": "x", "c": None, "d": ""}, "a: 1\nb: x"),
        ({"a": {"b": [1, 2]}}, 'a: {"b": [1, 2]}'),
        ({"a": ["x", 1.0, None, True]}, "a: x, 1, true"),
        ({"a": list(range(17))}, "a: [17 numbers]"),
        ({"a": [[0.5, 1]] * 9}, "a: [18 numbers]"),
        ([[0.5, 1]] * 9, "[18 numbers]"),
        (["x", 1, ["y", "z"], {"a": 1}], '- x\n- 1\n- y, z\n- {"a": 1}'),
        ("one\n\ntwo", "one\n\ntwo"),
        (1.0, "1"),
        ({"a": 1e300}, "a: 1e+300"),
        ({"a": "<p>Of <b>clay</b></p>", "b": "<T>"}, "a: Of clay\nb: <T>"),
        ([{"a": 1}, {"b": "x|y"}], "| a | b |\n| --- | --- |\n| 1 |  |\n|  | x\\|y |"),
        ({"x": {"a": 1}, "y": {"a": 2}}, "|  | a |\n| --- | --- |\n| x | 1 |\n| y | 2 |"),
        (
            {"x": {"a": 1}, "y": {"b": 2}},
            "|  | a | b |\n| --- | --- | --- |\n| x | 1 |  |\n| y |  | 2 |",
        ),
        ({"x": {"a": LONG}, "y": 2}, f"y: 2\n\n## x\n\n### a\n\n{LONG.rstrip()}"),
    ],
)
def test_values_as_text(value: object, text: str) -> None:
    """What is short stands in a line, rows are a table, and the rest has headings."""
    assert text_of(value) == text


def test_objects_of_a_list_have_their_names_as_headings() -> None:
    """If they have one; else they are numbered."""
    nested = {"inner": {"text": LONG}}
    text = text_of([{"name": "Ada", "age": 36} | nested, {"age": 41} | nested])

    assert text.startswith("## Ada\n\nage: 36\n\n### inner\n\n#### text\n\n")
    assert "\n\n## 2\n\nage: 41\n\n### inner\n\n" in text


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"name": {"common": "Aruba", "official": "A"}}, "Aruba"),
        ({"title": {"rendered": "A post"}, "author": {"name": "Ada"}}, "A post"),
        ({"type": "Feature", "properties": {"mag": 2, "title": "M 2, near"}}, "M 2, near"),
        ({"id": "7", "attributes": {"title": "An article"}}, "An article"),
        ({"author": {"name": "Ada"}}, "1"),
    ],
)
def test_a_name_may_be_in_an_object_within(value: dict[str, object], name: str) -> None:
    """In several languages, or where some formats keep what an object has; then it stays there."""
    text = text_of([value | {"inner": {"text": LONG}}])

    assert text.startswith(f"## {name}\n\n")
    assert text.count(name) >= 2 - (name == "1")


def test_lines_that_nest_are_sections() -> None:
    """As the objects of a list are; but a long text is one cell of its row."""
    nested = {"title": "A talk", "turns": [{"role": "user", "text": f"{LONG}\nEnd."}]}
    text = read_json_lines(json.dumps(nested)).text

    assert text.startswith("## A talk\n\n### turns\n\n#### 1\n\nrole: user\n\n##### text\n\nA sent")
    assert read_json_lines(json.dumps({"title": "A", "b": LONG})).text.startswith(
        "## A\n\nb: A sen"
    )


def test_headings_have_six_levels() -> None:
    """What is nested deeper stays JSON."""
    value: object = {"text": LONG}
    for key in "gfedcba":
        value = {key: value}

    text = text_of(value)
    assert text.startswith("## a\n\n### b\n\n#### c\n\n##### d\n\n###### e\n\n{")
    assert json.loads(text.split("\n\n")[-1]) == {"f": {"g": {"text": LONG}}}


def test_a_title_is_taken_from_the_value() -> None:
    """And does not stand in the text again."""
    found = read_json('{"title": " The\\n title", "a": 1}')

    assert (found.title, found.text) == ("The title", "a: 1")
    assert read_json('{"title": ["a"]}').title == ""


def test_lines_are_read_whatever_the_file_is_called() -> None:
    """Many files of lines end in .json."""
    lines = '{"a": 1}\n{"a": 2}\n'

    assert read_json(lines) == read_json_lines(lines)
    assert read_json(lines).text == "| a |\n| --- |\n| 1 |\n| 2 |"


def test_lines_that_are_broken_are_counted() -> None:
    """The others are read, but for a file that is mostly broken."""
    found = read_json_lines('{"a": 1}\n{"a":\n\n"x"\n{"b": 2}\n')

    assert found.text == "| a |  | b |\n| --- | --- | --- |\n| 1 |  |  |\n|  | x |  |\n|  |  | 2 |"
    assert found.remark == "1 line is no JSON, and left out"
    with pytest.raises(DocumentError, match="2 of its 3 lines are no JSON; repair it"):
        read_json_lines("{\n[1]\n{\n")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{'a': 1}", "it is no JSON"),
        ('{"a": 1} {"b": 2}', "it is no JSON"),
        ("// a comment\n{}", "it is no JSON"),
        ("[" * 100_000, "it is nested too deeply"),
        ("1" * 5_000, "it is no JSON"),
    ],
)
def test_what_is_no_json_is_said(source: str, message: str) -> None:
    """In one clause."""
    with pytest.raises(DocumentError, match=message):
        read_json(source)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.text("ab\n|", min_size=1)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("xyz"), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(value=VALUES)
def test_no_text_of_a_value_is_lost(value: object) -> None:
    """However it is nested."""
    source = json.dumps(value)
    assert read_json(source).text.count("b") >= source.count("b")
