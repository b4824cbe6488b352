"""Front matter: metadata in front of a document, and what only looks like it."""

import pytest

from embedding_assets.corpus.formats.markup.front_matter import FrontMatter, split_front_matter
from embedding_assets.corpus.metadata import tidied

DOCUMENT = "# Heading\n\ntext\n"


@pytest.mark.parametrize(
    ("front", "title"),
    [
        ("---\ntitle: Plain\ntags: [a, b]\n---\n", "Plain"),
        ('---\nauthor: x\ntitle: "A: b"\n...\n', "A: b"),
        ("---\ntitle: >\n  folded\n  lines\ntags:\n- a\n---\n", "folded lines"),
        ("---\n# SPDX-License-Identifier: MIT\ntitle: 2026-01-01 # comment\n---\n", "2026-01-01"),
        ("---\ntitle: {a: b}\n---\n", ""),
        ("---\ntitle:\n---\n", ""),
        ("---\nsub:\n  title: not this\n---\n", ""),
        ("---\n---\n", ""),
        ('+++\ntitle = "From TOML"\n[extra]\na = 1\n+++\n', "From TOML"),
        ("+++\ndate = 2026-01-01\n+++\n", ""),
    ],
)
def test_front_matter_is_no_text_and_has_the_title(front: str, title: str) -> None:
    """YAML and TOML are read as such, and nothing of them is left in the text."""
    found, document = split_front_matter(front + DOCUMENT)
    assert (found.title, document) == (title, DOCUMENT)


@pytest.mark.parametrize(
    ("front", "title"),
    [
        ("---\ntitle: a: b\n---\n", "a: b"),
        ("---\ntitle: 'open\ntags: [x\n---\n", "'open"),
        ("---\ntitle: *unknown\n---\n", "*unknown"),
        ("---\ntitle: " + "[" * 5000 + "\n---\n", "[" * 200),
        ("---\ntitle: a" + " " * 5000 + "b\n---\n", "a b"),
        ("+++\ntitle = unquoted\n+++\n", "unquoted"),
        ("+++\ntitle = " + "[" * 5000 + "\n+++\n", "[" * 200),
    ],
)
def test_broken_front_matter_is_none_the_less(front: str, title: str) -> None:
    """What a parser refuses, or must not be given, is taken as it stands."""
    found, document = split_front_matter(front + DOCUMENT)
    assert (found.title, document) == (title, DOCUMENT)


@pytest.mark.parametrize(
    ("front", "title"),
    [
        (
            '---\ntitle: "half \\ud83d, \\0 nothing"\n---\n',
            "half \N{REPLACEMENT CHARACTER}, nothing",
        ),
        ('+++\ntitle = "\\u0000 nothing"\n+++\n', "nothing"),
    ],
)
def test_what_is_escaped_in_a_title_is_as_clean_as_all_text(front: str, title: str) -> None:
    """Neither half of a surrogate pair nor NUL: UTF-8 and paths have no place for them."""
    found, document = split_front_matter(front + DOCUMENT)
    assert (found.title, document) == (title, DOCUMENT)


def test_a_bomb_of_aliases_is_harmless() -> None:
    """Nothing but the title is used."""
    bomb = "a0: &a0 x\n" + "".join(
        f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60)
    )

    found, document = split_front_matter(f"---\n{bomb}title: t\n---\n{DOCUMENT}")

    assert (found, document) == (FrontMatter(title="t"), DOCUMENT)


@pytest.mark.parametrize(
    ("front", "metadata"),
    [
        (
            "---\ntitle: A\nauthors:\n  - name: Ada\n  - Bob\ntags: [x, 'y, z']\ndate: 2026-01-01\n"
            "draft: true\nweight: 010\nparams:\n  a: {b: c}\nempty:\nnone: ~\n---\n",
            {
                "title": "A",
                "author": ["Ada", "Bob"],
                "tags": ["x", "y, z"],
                "date": "2026-01-01",
                "draft": "true",
                "weight": "010",
                "params.a.b": "c",
            },
        ),
        (
            '+++\ntitle = "A"\nlastmod = 2026-01-02T03:04:05Z\ndraft = true\nweight = 10\n'
            'keywords = "a, b"\n[extra]\nlang = "de"\n+++\n',
            {
                "title": "A",
                "modified": "2026-01-02T03:04:05+00:00",
                "draft": "true",
                "weight": "10",
                "keywords": ["a", "b"],
                "extra.lang": "de",
            },
        ),
        (
            "---\nLang: de\ncreated: 2025\ndate: 2026\nUpdated: 2027\n---\n",
            {"language": "de", "created": "2025", "date": "2026", "modified": "2027"},
        ),
        ("---\nauthor: {name: Ada, email: a@b}\n---\n", {"author": "Ada"}),
        ("---\nauthor: {email: a@b}\n---\n", {"author.email": "a@b"}),
        ("---\nauthors: [[{name: Ada}], ~]\n---\n", {"author": ['["Ada"]']}),
        ("---\n---\n", {}),
    ],
)
def test_front_matter_is_metadata(front: str, metadata: dict[str, object]) -> None:
    """All of it, texts as they are written, under the common names if it means these."""
    found, _ = split_front_matter(front + DOCUMENT)
    assert tidied(found.metadata) == metadata


@pytest.mark.parametrize(
    "front",
    [
        "---\ntitle: t\nauthor: a: b\n---\n",
        "---\ntitle: t\na: &a [x]\nb: *a\n---\n",
        "---\ntitle: t\na: " + "[" * 30 + "]" * 30 + "\n---\n",
        "---\ntitle: t\na: " + "{b: [" * 150 + "]}" * 150 + "\n---\n",
        "---\ntitle: t\na:\n" + "".join(" " * n + "b:\n" for n in range(1, 50)) + "---\n",
        "---\ntitle: t\na: " + "b " * 10_000 + "\n---\n",
        '+++\ntitle = "t"\na = ' + "[" * 5000 + "\n+++\n",
        '+++\ntitle = "t"\na = 1\na = 2\n+++\n',
    ],
)
def test_what_no_parser_takes_is_no_metadata(front: str) -> None:
    """Broken, endless, or nested as no person nests it: then there is only the title."""
    found, _ = split_front_matter(front + DOCUMENT)
    assert found == FrontMatter(title="t")


def test_tables_as_deep_as_a_file_is_long_are_harmless() -> None:
    """TOML nests them without a bracket each; nobody asks for such a name."""
    found, _ = split_front_matter(f"+++\nb = 1\n[{'a.' * 5000}a]\nc = 1\n+++\n{DOCUMENT}")
    assert tidied(found.metadata) == {"b": "1"}


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nAn ordinary document.\n\n---\n\nMore: of it.\n",
        "---\nAn ordinary document: it has a colon.\nAnd a second line.\n---\n",
        "---\n- a list\n- of two\n---\n",
        "---\n\n# Heading\n\nNote: a rule came first.\n\n---\n",
        "---\ntitle: without an end\n",
        "text\n---\ntitle: later\n---\n",
        "----\ntitle: four dashes\n----\n",
        "+++\nwords\n+++\n",
    ],
)
def test_a_rule_at_the_beginning_is_no_front_matter(text: str) -> None:
    """An ordinary document loses nothing."""
    assert split_front_matter(text) == (FrontMatter(), text)
