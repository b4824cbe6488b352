"""Bytes to title and text: encodings, HTML, titles."""

import codecs
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.formats.extraction import extract
from embedding_assets.corpus.formats.text import MAX_TITLE_CHARS
from embedding_assets.errors import DocumentError

MEDIA_TYPES = ["text/markdown", "text/html", "text/x-rst", "text/plain"]
GERMAN = "Die Größe der Straße überrascht den schönen Käfer. " * 5
RUSSIAN = "Привет, мир! Это обычный текст на русском языке. " * 5
JAPANESE = "これは日本語のテキストです。テストのために書かれています。" * 5


def text_of(data: bytes, media_type: str = "text/plain") -> str:
    return extract(data, media_type, fallback_title="fallback").text


def html(markup: str) -> str:
    return text_of(markup.encode(), "text/html")


def title_of(text: str, media_type: str = "text/markdown") -> str:
    return extract(text.encode(), media_type, fallback_title="fallback").title


@given(data=st.one_of(st.binary(), st.text().map(str.encode)), media=st.sampled_from(MEDIA_TYPES))
def test_any_bytes_become_clean_text_or_an_error(data: bytes, media: str) -> None:
    """Whatever a file holds, it is a DocumentError or a text that every store takes."""
    try:
        extracted = extract(data, media, fallback_title="fallback")
    except DocumentError:
        return
    (extracted.title + extracted.text).encode()
    assert "\0" not in extracted.text
    assert "\r" not in extracted.text
    assert extracted.text.strip()
    assert extracted.title
    assert "\n" not in extracted.title
    assert len(extracted.title) <= MAX_TITLE_CHARS


# --- Encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"]
)
def test_western_encodings_are_told_apart(encoding: str) -> None:
    """German is read right in every encoding in which people still send it."""
    assert text_of(GERMAN.encode(encoding)) == GERMAN


@pytest.mark.parametrize("text", ["café", "naïve", "L'été, des crêpes à Besançon.", "¿Qué pasó?"])
def test_a_few_western_bytes_are_read_as_browsers_do(text: str) -> None:
    """Too little for statistics: then it is Windows-1252, not one of a dozen that fit as well."""
    assert text_of(text.encode("latin-1")) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        ("这是一个中文文本的例子用来测试编码检测。" * 5, "gbk"),
    ],
)
def test_legacy_encodings_are_guessed_from_the_text(text: str, encoding: str) -> None:
    """A file without any mark is read by what its bytes look like."""
    assert text_of(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides_and_disappears(mark: bytes, encoding: str) -> None:
    """The mark tells the encoding and is not part of the text."""
    assert text_of(mark + "жук 🐞".encode(encoding)) == "жук 🐞"


def test_a_clue_far_inside_a_big_file_is_found() -> None:
    """The sample is taken where the bytes stop being ASCII, not at the start."""
    text = "plain words here. " * 20_000 + GERMAN + "plain words here. " * 20_000

    assert text_of(text.encode("cp1252")) == text


def test_damaged_utf8_is_an_error_not_a_guess() -> None:
    """One bad byte in UTF-8 does not turn the whole text into another alphabet."""
    data = RUSSIAN.encode() + b"\xff" + RUSSIAN.encode()

    with pytest.raises(DocumentError, match=f"not valid UTF-8 at byte {len(RUSSIAN.encode())}"):
        text_of(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b" \t\r\n ", "there is no text in it, only whitespace"),
        (codecs.BOM_UTF8, "there is no text in it, only whitespace"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it is binary, not text: it contains NUL bytes"),
        (random.Random(1).randbytes(500).replace(b"\0", b""), "it is binary, or its encoding"),
        (b"ok \xff\xfe\xfd broken \x80\x81", "it is binary, or its encoding cannot be told"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8", "it looks like utf-16 but is not valid at byte"),
    ],
)
def test_what_is_not_text_is_said_in_plain_words(data: bytes, message: str) -> None:
    """Nothing is invented for bytes that are no text: the message says what they are."""
    with pytest.raises(DocumentError, match=message):
        text_of(data)


def test_newlines_are_one_character_and_nuls_are_gone() -> None:
    """Texts from Windows and old Macs look like all others."""
    assert text_of("a\r\nb\rc\n\0d".encode("utf-16")) == "a\nb\nc\nd"


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "latin1"])
def test_the_charset_of_a_page_is_believed(charset: str) -> None:
    """A page says how it is encoded; the Latin labels mean Windows-1252, as in browsers."""
    data = f'<meta charset="{charset}"><p>“Größe”</p>'.encode("cp1252")

    assert text_of(data, "text/html") == "“Größe”"


def test_the_charset_of_an_old_page_is_believed() -> None:
    """The http-equiv form counts as well."""
    meta = '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">'

    assert text_of(f"{meta}<p>Жук".encode("koi8-r"), "text/html") == "Жук"


@pytest.mark.parametrize("charset", ["no-such", "utf-16", "hex", "ascii"])
def test_a_charset_that_is_not_true_is_ignored(charset: str) -> None:
    """A wrong label does not spoil a page that is UTF-8."""
    page = f"<meta charset={charset}><p>Жук Á"

    assert text_of(page.encode(), "text/html") == "Жук Á"


@pytest.mark.parametrize("charset", ["punycode", "idna"])
def test_an_encoding_of_host_names_is_no_charset(charset: str) -> None:
    """Python would decode pages by it, in a time that grows with their square."""
    assert text_of(f"<meta charset={charset}><p>a-b".encode(), "text/html") == "a-b"


def test_lone_surrogates_become_replacement_characters() -> None:
    """Not even a codec that makes them up brings a surrogate into the text."""
    page = b'<meta charset="unicode_escape"><p>a\\ud800b'

    assert text_of(page, "text/html") == "a\N{REPLACEMENT CHARACTER}b"


# --- HTML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("markup", ["<p></p>", "<html><head><title>t</title></head></html>", "<!"])
def test_a_page_without_text_is_an_error(markup: str) -> None:
    """Markup alone is nothing to embed."""
    with pytest.raises(DocumentError, match="there is no text in it, only markup"):
        html(markup)


def test_an_empty_page_is_an_empty_file() -> None:
    """A file of no bytes says so, whatever its type."""
    with pytest.raises(DocumentError, match="the file is empty"):
        text_of(b"", "text/html")


# --- Titles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n## First ##\n\n# Second", "First"),
        ("A setext\ntitle\n=====\n", "title"),
        ("Dashes\n---\n", "Dashes"),
        ("```sh\n# comment\n```\n# Real", "Real"),
        ("~~~\n```\n# comment\n~~~\n# Real", "Real"),
        ("---\ntitle: 'From the front'\n---\n# Heading", "From the front"),
        ('---\ntitle:\t"It\'s" \n---\n', "It's"),
        ("---\ntitle: 'a' b\n---\n", "'a' b"),
        ("---\ntitle: ''\n---\n", "''"),
        ("---\ntitle:\ntitle: second\n---\n", "second"),
        ("---\ntitle: \n---\n# Heading", "Heading"),
        ("---\nauthor: x\n---\n# Heading", "Heading"),
        ("- item\n---\n\ntext", "fallback"),
        ("#hashtag\n####### seven", "fallback"),
        ("#\n# \n# Third", "Third"),
        ("# C#", "C#"),
        ("# F # \t##\t", "F #"),
        ("# ##", "##"),
    ],
)
def test_the_title_of_markdown(text: str, title: str) -> None:
    """It is the front matter's, else the first heading outside of code, else the file's name."""
    assert title_of(text) == title


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("=====\nTitle\n=====\n", "Title"),
        (".. note:: x\n\nTitle\n-----\n", "Title"),
        ("A long title\n----\n", "A long title"),
        ("words\n--\n", "fallback"),
        ("text\n\n-----\n\ntext", "fallback"),
        ("==== ====\na    b\n==== ====\n", "fallback"),
    ],
)
def test_the_title_of_restructured_text(text: str, title: str) -> None:
    """It is the first underlined line."""
    assert title_of(text, "text/x-rst") == title


def test_a_page_without_a_title_is_titled_by_its_file() -> None:
    """An icon's title is none."""
    assert title_of("<svg><title>icon</title></svg><p>text", "text/html") == "fallback"


def test_plain_text_is_titled_by_its_file() -> None:
    """A line of hashes in plain text is no heading."""
    assert title_of("# not a heading", "text/plain") == "fallback"


def test_a_title_is_one_short_line() -> None:
    """White space is folded and an endless heading cut."""
    assert title_of("#  a \t b  ") == "a b"
    assert title_of("# " + "x" * 1000) == "x" * MAX_TITLE_CHARS
    assert extract(b"x", "text/plain", fallback_title=" a\nb ").title == "a b"
