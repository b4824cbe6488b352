"""What people write to say which documents they mean, and what is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.errors import SettingsError
from embedding_assets.model.filters import Condition, Filter, parse_filter

QUOTES = st.sampled_from("\"'")
SPACES = st.sampled_from(["", " ", "  ", "\n"])
NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_.:-]*", fullmatch=True) | st.text(min_size=1)
CONDITIONS = st.builds(Condition, name=NAMES, pattern=st.text(), is_negated=st.booleans())


def conditions(text: str) -> list[tuple[str, str, str]]:
    """Name, operator and pattern of each."""
    return [
        (c.name, "!=" if c.is_negated else "=", c.pattern) for c in parse_filter(text).conditions
    ]


def quoted(text: str, quote: str) -> str:
    return quote + text.replace(quote, 2 * quote) + quote


@st.composite
def written(draw: st.DrawFn, condition: Condition) -> str:
    """A condition as somebody may write it."""
    name, pattern = (quoted(x, draw(QUOTES)) for x in (condition.name, condition.pattern))
    operator = "!=" if condition.is_negated else "="
    return f"{name}{draw(SPACES)}{operator}{draw(SPACES)}{pattern}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("guide/*", [("uri", "=", "guide/*")]),
        ("  guide/a.md ", [("uri", "=", "guide/a.md")]),
        ("my notes/a and b.md", [("uri", "=", "my notes/a and b.md")]),
        ("Ada's notes/*.md", [("uri", "=", "Ada's notes/*.md")]),
        ("https://wiki.example/?page=3", [("uri", "=", "https://wiki.example/?page=3")]),
        ('"a=b.md"', [("uri", "=", "a=b.md")]),
        ("'my notes/*'", [("uri", "=", "my notes/*")]),
        ("title", [("uri", "=", "title")]),
        ("author=Ada", [("author", "=", "Ada")]),
        (
            """uri = "guide/*" AND language != en and author = 'Ada ''A.'' B' and x.y:z-1 = *""",
            [
                ("uri", "=", "guide/*"),
                ("language", "!=", "en"),
                ("author", "=", "Ada 'A.' B"),
                ("x.y:z-1", "=", "*"),
            ],
        ),
        ("guide/* and language = de", [("uri", "=", "guide/*"), ("language", "=", "de")]),
        ("title = and and text = and", [("title", "=", "and"), ("text", "=", "and")]),
        ("title = ''", [("title", "=", "")]),
        ("Autorin = Ähre", [("Autorin", "=", "Ähre")]),
    ],
)
def test_conditions_are_joined_by_and(text: str, expected: list[tuple[str, str, str]]) -> None:
    """A name and a pattern each; a pattern alone is one of uris."""
    assert conditions(text) == expected


@pytest.mark.parametrize(
    ("text", "at", "expected", "found"),
    [
        ("", 1, "a pattern", "its end"),
        ("title =", 8, "a pattern", "its end"),
        ("title == x", 8, "a pattern", "'= x'"),
        ("title = x and", 14, "a pattern", "its end"),
        ('title = "x', 9, "a pattern, in quotes if there are", "'\"x'"),
        ('title = "x"y', 9, "a pattern", "'\"x\"y'"),
        ("title ~ x", 7, "'=' or '!=' behind a name, or 'and'", "'~ x'"),
        ("title = x or uri = y", 11, "'and'", "'or uri = y'"),
        ("title = x; DROP TABLE chunks", 12, "'and'", "'DROP TABLE chunks'"),
        ("title = my notes", 12, "'and'", "'notes'"),
        ('"" = x', 4, "'=' or '!='", "'= x'"),
        ("title =\n" + "x" * 90 + " y", 100, "'and'", "'y'"),
    ],
)
def test_anything_else_is_refused_in_one_line(
    text: str, at: int, expected: str, found: str
) -> None:
    """It says where, what was expected there, what was found, and how one is written."""
    with pytest.raises(SettingsError) as refused:
        parse_filter(text)
    message = str(refused.value)
    assert message.startswith(f"the filter is not understood at character {at}: expected ")
    assert expected in message
    assert f", found {found}; it is written like " in message
    assert "\n" not in message


@given(wanted=st.lists(CONDITIONS, min_size=1, max_size=4), data=st.data())
def test_what_is_written_is_what_is_meant(wanted: list[Condition], data: st.DataObject) -> None:
    """Whatever names and patterns are, in quotes they can be said."""
    text = data.draw(st.sampled_from([" and ", " AND\n", "  And  "])).join(
        data.draw(written(condition)) for condition in wanted
    )
    assert parse_filter(text) == Filter(conditions=tuple(wanted))


@given(text=st.text() | st.text(alphabet="ab= !\"'*and\n"))
def test_whatever_is_written_is_understood_or_refused(text: str) -> None:
    """There is no other error."""
    with suppress(SettingsError):
        assert parse_filter(text).conditions


def test_an_application_may_say_it_as_a_mapping() -> None:
    """Patterns by name, none at all, or the text that people write."""
    by_mapping = Filter.of({"uri": "guide/*", "author": "Ada"})
    assert by_mapping == Filter.of("uri = guide/* and author = Ada")
    assert Filter.of(None) == Filter.of({}) == Filter()


@pytest.mark.parametrize("where", [{"uri": None}, {"": "x"}, {"uri": "a", 3: "b"}, {"uri": 5}])
def test_a_mapping_of_anything_else_is_refused(where: dict[str, str]) -> None:
    """The error names what is wrong and what was expected."""
    with pytest.raises(SettingsError, match=r"^where has .* with .*, expected one of 'uri', 'url'"):
        Filter.of(where)


def test_an_endless_filter_is_refused() -> None:
    """SQLite would refuse it later, in words of its own."""
    with pytest.raises(SettingsError, match=r"pattern for 'uri' has 10,001 characters, expected"):
        parse_filter("x" * 10_001)
    with pytest.raises(SettingsError, match="the filter has 101 conditions, expected 100 at the"):
        parse_filter("a = b and " * 100 + "a = b")
