"""Time grows with a text, not with its square, whatever the text is and whoever reads it."""

import gc
import time
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.errors import DocumentError

TEXT_TYPES = ["text/markdown", "text/x-rst", "text/plain", "text/csv"]
# Of what these hold something is written anew, or left out.
OTHER_TYPES = [
    "text/asciidoc",
    "text/mdx",
    "text/x-braces",
    "text/x-org",
    "text/x-python",
    "text/x-quarto",
    "text/x-script",
    "text/x-tex",
]
CHUNKER = Chunker(max_chars=2000, max_tokens=2048)

SMALL = 8_000  # characters
LARGE = 8 * SMALL
# What is linear takes 8 times as long for the large text, what is quadratic 64 times.
MAX_GROWTH = 24
# Less than this is not told apart from nothing. 64 kB in MAX_GROWTH times this is half a MB a
# second, and nothing quadratic is that fast: its smallest step takes a nanosecond.
MIN_S = 0.005


def seconds(action: Callable[[], object]) -> float:
    """CPU time of the fastest of three calls, without looking for garbage of the other tests."""
    times = []
    gc.disable()
    try:
        for _ in range(3):
            started = time.process_time()
            action()
            times.append(time.process_time() - started)
    finally:
        gc.enable()
    return min(times)


def check_growth(work: Callable[[str], object], text_of: Callable[[int], str]) -> None:
    """Compare a text with one that is eight times as long."""
    large = seconds(partial(work, text_of(LARGE)))
    if large > MAX_GROWTH * MIN_S:
        small = seconds(partial(work, text_of(SMALL)))
        assert large < MAX_GROWTH * max(small, MIN_S), f"{small:.3f} s, then {large:.3f} s"


def read_and_split(text: str, media_type: str) -> None:
    """What a reindex does with a file of that text."""
    try:
        read = Extraction().extract(text.encode(), media_type, fallback_title="f")
    except DocumentError:
        return
    CHUNKER.split(read.title, read.text, read.blocks)


def repeated(before: str, unit: str, after: str) -> Callable[[int], str]:
    """A text of a given length, more or less, that is nothing but one thing."""
    return lambda n_chars: before + unit * (n_chars // len(unit)) + after


# fmt: off
STARTS = [
    "", "# a", "#", "---\n", "---\ntitle:", "---\ntitle: a", "---\ntitle: '", "```\n", "> ",
    "|a|\n|-|\n", "+++\ntitle = ", "- " * 50, ".. a::\n",
]
UNITS = [
    " ", "\t", "\n", "\r", "\x0b", "\u2028", "\ufeff", "\u200d", "\u0301", "a", "A. ", "1",
    "1. ", "#", "# ", " #", "# a\n\n", "-", "- ", "--- x\n", "---\n", "=", "a\n=\n", "title:\n",
    "'", "\"", "`", "``` ", "```\n", "~~~\n", "    ```\n", ">", "> - ", "*", "*a_ ", "[",
    "[a](", "![", "[^a]: x\n", "[a]: b\n", "<", "<!--", "<![CDATA[", "<?", "<a ", "</a", "&",
    "&amp", "|", "|-", "$", "~", "\\", "a\n: b\n", "    a\n\n", "ab ", "é", "👩‍👩‍👧", "索引",
    "กขค", "!!! a\n", ":::\n", ".. a:: b\n", ".. ", ".. _a:\n", ":a: b\n", "a::\n", "\n ", "==",
    "data:", "A" * 40, "<h1>", "</h1>", "{", "}", "{{", "import a\n", "<A>", "</A>\n", "<A\n", "``",
    "$", "```{r}\n", "#| a\n", "----\n", "====\n", "--\n", "|===\n", "[[", "[a,", "a:: ", "a::\n",
    "* a\n", "+\n", "(((", "indexterm:[", "anchor:a", "#+begin_src\n", "#+begin_quote\n", ":a:\n",
    ":PROPERTIES:\n", "[fn:", "\\a{", "\\a[", "\\section{", "\\begin{list}\n", "\\item ",
    "\\begin{verbatim}", "\\begin{tabular}", "\\[", "\\(", "\\verb|", "\\\\", "%", "\\footnote{",
    "def a(\n", "class A:\n  ", "@a(\n", "/*", '"""', "'''", "a(b) {\n ", "}\n", "(",
    "# copyright\n#\n", "=a\n",
]
ENDS = ["", "x", "\n", "\nx", "\n---\n", " x\n---\n", "\n===", "\0", "\ud800"]
# fmt: on


@pytest.mark.parametrize("media_type", TEXT_TYPES)
@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        ("# a", " ", "x"),
        ("# ", " #", "x"),
        ("---\ntitle: a", " ", "x\n---\n"),
        ("---\ntitle:", " ", "\n---\n"),
        ("---\ntitle: '", "' ", "x\n---\n"),
        ("---\n", "--- x\n", ""),
        ("", "# \n", ""),
        ("", "- ", "x"),
        ("", "> ", "x"),
        ("", "|a", "\n" + "|-" * 1000),
        ("", "[a](<b", ""),
        ("", "```\n", ""),
        ("x\n", "-", "x\n"),
        ("", "> - ", "x"),
        ("- " * 300 + "x\n", "\n", "x"),
        ("", "<h1>\n", ""),
        ("", "<!--\n\n", ""),
        ("", "!!! a\n    ", "b"),
        ("", "a\n: b\n", ""),
        ("# ", "*a ", ""),
        ("# ", "[![a](", ""),
        ("# ", "`a``", ""),
        ("", "# a\n", "# a-1\n"),
        ("", "== ==\na\n\n", ""),
        ("", ".. a:: b\n", ""),
        ("", ".. a::\n   ", "b"),
        ("", "a\n ", "b"),
        ("", "data:", ","),
        ("", "![a](data:a/b,", "c"),
        ("", "A" * 39 + "\n", ""),
        ("", "A" * 40 + "\n", "="),
        ("---\ntitle: a\n", "b: &b [*b, *b]\n", "---\nx"),
        ("+++\ntitle = ", "[", "\n+++\nx"),
        ("---\na: ", "[", "\n---\nx"),
        ("---\na: ", "{? ", "\n---\nx"),
        ("---\na: ", "{b: [", "\n---\nx"),
        ("---\n", "k:\n", "---\nx"),
        ("+++\n[", "a.", "a]\n+++\nx"),
        ("", ":a: b\n", ""),
        (":a:\n", " b\n", ""),
        (":authors: ", "a, ", ""),
        ("", ".. meta::\n   :a: b\n", ""),
    ],
)
def test_a_known_trap_is_linear(before: str, unit: str, after: str, media_type: str) -> None:
    """Lines and blocks that once took minutes, or that take a Markdown parser minutes."""
    check_growth(partial(read_and_split, media_type=media_type), repeated(before, unit, after))


@pytest.mark.parametrize("media_type", OTHER_TYPES)
@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        ("", "{", "x"),
        ("import ", "{}", "x"),
        ("", "<A>\n", "x"),
        ("", "#+begin_src\n", "x"),
        ("", "- a\n  #+begin_src\n", "x"),
        ("", ":PROPERTIES:\n", "x"),
        ("", "[a]\n", "x"),
        ("[", 'a"', "]\nx"),
        ("|===\n", "|a\n", "|===\n"),
        ("|===\n", ".2+|a ", "\n|==="),
        ("a::\n", "* b\n+\n", "x"),
        ("", "a::\n--\n", "x"),
        ("", "\\a{", "x"),
        ("", "\\begin{itemize}\\item ", "x"),
        ("\\begin{tabular}{l}", "a&b\\\\", "\\end{tabular}"),
        ("", "\\(", "x"),
        ("", "def a(\n", "x"),
        ("", "# copyright\n\n", "x"),
        ("", "class A {\n", "x"),
    ],
)
def test_a_trap_of_other_markup_is_linear(
    before: str, unit: str, after: str, media_type: str
) -> None:
    """What is opened and never closed, over and over."""
    check_growth(partial(read_and_split, media_type=media_type), repeated(before, unit, after))


@settings(max_examples=100)
@given(
    before=st.sampled_from(STARTS),
    unit=st.lists(st.sampled_from(UNITS), min_size=1, max_size=3).map("".join),
    after=st.sampled_from(ENDS),
    media_type=st.sampled_from([*TEXT_TYPES, *OTHER_TYPES]),
)
def test_whatever_is_repeated_is_linear(
    before: str, unit: str, after: str, media_type: str
) -> None:
    """Any few characters, over and over, after any beginning and before any end."""
    text_of = repeated(before, unit, after.replace("\ud800", ""))
    check_growth(partial(read_and_split, media_type=media_type), text_of)


@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        ("", "a</x>", ""),
        ("", "a</p>", ""),
        ("", "<p>a", ""),
        ("", "<p></p>", "a"),
        ("", "<li>a", ""),
        ("<ul>", "<li>", "a"),
        ("<table>", "a<tr>", ""),
        ("<table><tr>", "<td>", "a"),
        ("<table>", "<tr><td>a", ""),
        ("", "<title></title>", "a"),
        ("<head>", "<meta name=author content=a>", "<body>a"),
        ("<head><meta name=keywords content='", "a, ", "'><body>a"),
        ("", "<h1></h1>", "a"),
        ("", "<a class=headerlink>a</a>", "a"),
        ("", "<script></script>", "a"),
        ("<pre>", "`", ""),
        ("<pre>", "``` ", ""),
        ("<p>", " ", "a"),
        ("<p>", "\n", "a"),
        ("", "<!--", ""),
        ("", "<![CDATA[", ""),
        ("", "<!", ""),
        ("", "<", "a"),
        ("", "&", ""),
        ("", "&#x10", ""),
        ("<p>&", "a", ""),
        ("<meta charset=punycode>-", "k", ""),
        ("<meta charset=idna>", "a.", ""),
        ("<meta charset=utf-7>", "+AGE-", ""),
        ("<meta charset=unicode_escape>", "\\u0061", ""),
    ],
)
def test_markup_that_the_parser_can_cope_with_is_linear(before: str, unit: str, after: str) -> None:
    """The writer, and charsets that a page may claim, add nothing to the parser's time."""
    check_growth(partial(read_and_split, media_type="text/html"), repeated(before, unit, after))


_MAIL = "From: a@b.c\nSubject: a\n"
_PARTS = f"{_MAIL}Content-Type: multipart/mixed; boundary=b\n\n"


@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        ("", "Content-Type: multipart/mixed; boundary=b\n\n--b\n", ""),
        ("", "Content-Type: message/rfc822\n\n", ""),
        (_PARTS, "--b\n\nx\n", ""),
        (_PARTS, "--b\nContent-Type: a/b; name=a.b\n\nx\n", ""),
        ("", "To: a@b\n", "\nx"),
        ("To: ", "a@b, ", "\n\nx"),
        ("To: ", "(", "\n\nx"),
        ("Subject: ", "=?a?q?", "\n\nx"),
        (f"{_MAIL}Content-Type: text/plain; ", 'a=";', "\n\nx"),
        (f"{_MAIL}Content-Type: text/plain; format=flowed\n\n", "> a \n", ""),
        (f"{_MAIL}\n", "> a\nb\n", ""),
        (f"{_MAIL}\n", "From: a\nb: c\n\n", ""),
        (f"{_MAIL}\n", "-", ""),
        (f"{_MAIL}\n", "* ", "x"),
        (f"{_MAIL}\n-----", "forwar ", "x"),
        (f"{_MAIL}\n-----BEGIN PGP SIGNATURE-----\n", "a\n", ""),
        (f"{_MAIL}\n", "-----BEGIN PGP SIGNATURE-----\n", ""),
        (f"{_MAIL}\n", "-----BEGIN PGP SIGNED MESSAGE-----\na: b\n", ""),
        (f"{_MAIL}Content-Type: text/html\n\n", "<blockquote type=cite>a</blockquote><br>", ""),
    ],
)
def test_mails_are_linear(before: str, unit: str, after: str) -> None:
    """Parts, headers, quotes and signatures, however many."""
    check_growth(
        partial(read_and_split, media_type="message/rfc822"), repeated(before, unit, after)
    )


@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        ("", "From a 10:00\nA: b\n\nx\n", ""),
        ("", "From a 10:00\nmessage-id: <a>\n\nx\n", ""),
        ("From ", "1:11 ", "\nx"),
        ("From a 10:00\nA: b\n", "message-id: \n", ""),
    ],
)
def test_mailboxes_are_linear(before: str, unit: str, after: str) -> None:
    """Also one of many mails with the same name."""
    read = partial(read_and_split, media_type="application/mbox")
    check_growth(read, repeated(before, unit, after))


@pytest.mark.parametrize("media_type", ["application/json", "application/jsonl", "text/csv"])
@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        ("", "[", ""),
        ("[", "[" * 200 + "]" * 200 + ",", "1]"),
        ("[", '{"a":' * 200 + "1" + "}" * 200 + ",", "1]"),
        ("{", '"a":{"x":[{}]},', '"b":1}'),
        ("[", "1,", "1]"),
        ("[", '"a",', "1]"),
        ("", "1", ""),
        ("", '{"a":1}\n', ""),
        ("", '{"a":1}\n{\n', ""),
        ("", "[\n", ""),
        ("", "a,", "\n" + "a\n" * 1000),
        ('a,b\n"', "a\n", ""),
        ("", '""', ""),
    ],
)
def test_data_are_linear(before: str, unit: str, after: str, media_type: str) -> None:
    """However wide, deep or broken."""
    check_growth(partial(read_and_split, media_type=media_type), repeated(before, unit, after))


@pytest.mark.parametrize("byte", [b"\xff", b"a\xff", b"\xc3", b"\xe9 ", b"\x81\x40", b"\n\xff"])
def test_bytes_in_no_known_encoding_are_linear(byte: bytes) -> None:
    """However many bytes make no sense, a sample decides."""

    def read(text: str) -> None:
        try:
            Extraction().extract(text.encode("latin-1"), "text/plain", fallback_title="f")
        except DocumentError:
            return

    check_growth(read, repeated("", byte.decode("latin-1"), ""))
