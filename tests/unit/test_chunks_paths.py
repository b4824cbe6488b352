"""Paths: what of titles and headings Gemini gets, and what people see of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.paths import MAX_PATH_CHARS, path_of, section_name
from embedding_assets.corpus.sections import Section
from embedding_assets.model.tokens import DEFAULT

TERM_DEPTH = 7


def a_section(*labels: str, term: str = "", level: int = 1) -> Section:
    """A section below headings, the first of the level; or that of a term there."""
    section = Section()
    for depth, label in enumerate(labels, level):
        section = Section(depth=depth, label=label, parent=section)
    return Section(depth=TERM_DEPTH, label=term, parent=section) if term else section


def a_path(title: str, *labels: str, term: str = "", level: int = 1) -> str:
    return path_of(title, a_section(*labels, term=term, level=level), max_tokens=200)


def test_a_path_leads_from_the_title_to_the_term() -> None:
    """People see the same without the title, as the document has it."""
    section = a_section("2.1. Objects", term="open(path)", level=2)

    assert path_of("Zip 3.11", section, max_tokens=200) == "Zip › Objects › open(path)"
    assert section_name("Zip 3.11", section) == "2.1. Objects › open(path)"


@pytest.mark.parametrize("title", ["Zip", "1. Zip", "Zip 1.2 — Book 3.4 documentation"])
def test_a_first_heading_like_the_title_is_not_repeated(title: str) -> None:
    """Neither for Gemini nor for people; and equal parts that follow each other are one."""
    section = a_section("1. Zip", "Use", "Use")

    assert path_of(title, section, max_tokens=200) == "Zip › Use"
    assert section_name(title, section) == "Use › Use"


@pytest.mark.parametrize(
    ("title", "heading", "path"),
    [
        ("GETTING STARTED", "Getting started", "GETTING STARTED"),
        ("Why?", "Why", "Why?"),
        ("C", "C++", "C › C++"),
        ("!!!", "???", "!!! › ???"),
    ],
)
def test_case_and_the_last_mark_make_no_other_title(title: str, heading: str, path: str) -> None:
    """But any other sign does: languages are called by such."""
    assert a_path(title, heading) == path


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("zipfile — Work with ZIP archives — Python 3.11.2 documentation", None),
        ("6. Maintainer scripts — Debian Policy Manual v4.6.2.0", "Maintainer scripts"),
        ("Async hooks | Node.js v18.20.4 Documentation", "Async hooks"),
        ("Python 3.11.2 documentation", "Python documentation"),
        ("jsoup Java HTML Parser 1.15.3 API", "jsoup Java HTML Parser API"),
        ("Solving (GNU Octave (version 7.3.0))", "Solving (GNU Octave)"),
        ("Welcome to LLVM 15.0.6's documentation", "Welcome to LLVM's documentation"),
        ("Linux, Release 6.1.192", "Linux"),
        ("Driver (1.2.3)", "Driver"),
        ("Driver [v1.2-rc1]: Notes", "Driver: Notes"),
        ("Chapter 5. Data Definition", "Data Definition"),
        ("Appendix A. Error Codes", "Error Codes"),
        ("Part III: Hints", "Hints"),
        ("F.12. dblink", "dblink"),
        ("¶ so\N{SOFT HYPHEN}ft \n\t space¶", "soft space"),
        ("e\N{COMBINING ACUTE ACCENT}", "é"),
        # What is about a version, or has nothing else.
        ("What's New In Python 3.11 — Python 3.11.2 documentation", "What's New In Python 3.11"),
        ("E.1. Release 15.18", "Release 15.18"),
        ("3.11.2", None),
        ("Chapter 5.", None),
        ("v1.2", None),
        # Numbers that are no versions.
        ("HTTP/1.1", None),
        ("C++17", None),
        ("RFC 2616", None),
        ("ISO 8601", None),
        ("Linux 802.11 drivers", None),
        ("Control Group v2", None),
        ("Porting from Python 2 to 3", None),
        ("3D graphics", None),
        ("404", None),
        ("zipfile — Work with ZIP archives", None),
    ],
)
def test_a_title_is_without_site_and_version(title: str, name: str | None) -> None:
    """A new release changes the path of no page; what has no other name keeps its own."""
    expected = title if name is None else name
    if title.startswith("zipfile"):
        expected = "zipfile — Work with ZIP archives"

    assert a_path(title) == expected
    assert a_path("T", title) == f"T › {expected}"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("10.5.2. Functions", "Functions"),
        ("7.25.5. Return Value¶", "Return Value"),
        ("§ 3.2 Scope", "Scope"),
        ("A.1 Grammar", "Grammar"),
        ("5.3.4) debug", "debug"),
        ("2. 任务使用率", "任务使用率"),
        ("3.1. /etc/rc.d/rc.inet1", "/etc/rc.d/rc.inet1"),
        ("2.1. `open`", "`open`"),
        ("Version 3.11 and before", None),
        ("1.2.3 (2026-01-01)", None),
        ("2026-11-30", None),
        ("10.5.2.", None),
        ("4:4:4 subsampling", None),
        ("32-bit formats", None),
        ("3D", None),
        ("E. coli", None),
        ("Part of the whole", None),
        ("Python 2 to 3", None),
        ("ISO 8601", None),
        ("-delete_rpath <rpath>", None),
    ],
)
def test_a_lower_heading_is_without_its_number(label: str, name: str | None) -> None:
    """One chapter more changes no path; but versions and other numbers stay."""
    assert a_path("T", label, level=2) == f"T › {name or label}"
    assert section_name("T", a_section(label, level=2)) == label


def test_a_long_signature_is_without_its_parameters() -> None:
    """Other long parts end with a word."""
    parameters = ", ".join(f"parameter_{n}=None" for n in range(10))

    assert a_path("T", term=f"module.call({parameters})") == "T › module.call(…)"
    assert a_path("T", term="short(a, b)") == "T › short(a, b)"
    assert a_path("word " * 30) == "word " * 18 + "word…"
    assert len(a_path("x" * 200)) < 100


def test_what_is_in_the_middle_is_left_out_first() -> None:
    """Title and term stay, and the headings next to the term, as far as there is room."""
    headings = [f"{name} {'x' * 65}" for name in "abc"]

    assert a_path("Title", *headings, term="t()") == f"Title › {headings[1]} › {headings[2]} › t()"
    assert a_path("x" * 99, *headings, term="y" * 99).count("›") == 1


@given(
    title=st.text(max_size=250),
    labels=st.lists(st.text(max_size=250), max_size=6),
    max_tokens=st.integers(0, 200),
)
def test_a_path_is_within_its_limits(title: str, labels: list[str], max_tokens: int) -> None:
    """Whatever the labels are: one line, no empty part, always the same."""
    section = a_section(*labels)
    path = path_of(title, section, max_tokens=max_tokens)

    assert path == path_of(title, section, max_tokens=max_tokens)
    assert len(path) <= MAX_PATH_CHARS
    assert not path or DEFAULT.estimate(path) <= max_tokens
    assert path == " ".join(path.split())
    assert path or not title.strip("¶\N{SOFT HYPHEN}") or max_tokens < 200


@given(label=st.text(" 1.vV()[]-§A:x", max_size=200))
def test_no_label_becomes_empty(label: str) -> None:
    """One that is nothing but numbers and marks stays as it is."""
    assert bool(a_path(label)) == bool(label.strip())
