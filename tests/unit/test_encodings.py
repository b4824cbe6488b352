"""Encodings: bytes to characters, or why not."""

import codecs
import random
import time
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.encodings import outcome_of, samples, written_sentences
from embedding_assets.corpus.formats.encodings import decode
from embedding_assets.errors import DocumentError

GERMAN = "Die Größe der Straße überrascht den schönen Käfer. " * 5
RUSSIAN = "Привет, мир! Это обычный текст на русском языке. " * 5
JAPANESE = "これは日本語のテキストです。テストのために書かれています。" * 5
SENTENCES = {language: " ".join(lines) for language, lines in written_sentences().items()}


def text_of(data: bytes) -> str:
    return decode(data, may_have_meta=False)


def page_of(data: bytes) -> str:
    return decode(data, may_have_meta=True)


# --- Whatever the bytes ---------------------------------------------------------------------------


@given(
    data=st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.text().map(lambda text: text.encode("utf-16-le", "surrogatepass")),
        st.lists(st.sampled_from([b"\x1b$B", b"\x1b(B", b"<meta charset=", b"a", b"\0", b"\x92"]))
        .map(b"".join)
        .filter(bool),
    ),
    may_have_meta=st.booleans(),
)
def test_any_bytes_become_a_text_or_an_error(data: bytes, may_have_meta: bool) -> None:
    """Whatever a file holds, nothing but DocumentError comes of it."""
    try:
        text = decode(data, may_have_meta=may_have_meta)
    except DocumentError:
        return
    assert "\0" not in text or data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    assert isinstance(text, str)


@given(text=st.text(st.characters(exclude_characters="\0\x1b\ufeff", codec="utf-8")))
def test_utf8_is_read_as_it_is(text: str) -> None:
    """No text is taken for another encoding if its bytes are UTF-8."""
    assert text_of(text.encode()) == text


LATIN = st.characters(min_codepoint=0x20, max_codepoint=0x24F, exclude_categories=["Cc"])
OF_THE_BMP = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cc", "Cs"])


@given(
    latin=st.text(LATIN | st.sampled_from("\t\n"), min_size=2),
    others=st.text(OF_THE_BMP),
    encoding=st.sampled_from(["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]),
)
def test_wide_encodings_need_no_mark(latin: str, others: str, encoding: str) -> None:
    """NULs say that it is UTF-16 or UTF-32, and in which order, if there are alphabets."""
    text = latin + " " * len(others) + others
    assume(text[0] != "\ufeff")
    assume(sum(ord(character) < 0x100 for character in text) > len(text) / 2)

    assert text_of(text.encode(encoding)) == text


# --- Marks, declarations, escapes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides_and_disappears(mark: bytes, encoding: str) -> None:
    """The mark tells the encoding and is not part of the text."""
    assert text_of(mark + "жук 🐞".encode(encoding)) == "жук 🐞"


@pytest.mark.parametrize("language", ["ru", "el", "he", "ar", "th", "pl", "en"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_any_alphabet_is_read_without_a_mark(language: str, encoding: str) -> None:
    """The spaces of a text have NULs enough."""
    assert text_of(SENTENCES[language].encode(encoding)) == SENTENCES[language]


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "latin1", "US-ASCII"])
def test_the_charset_of_a_page_is_believed(charset: str) -> None:
    """A page says how it is encoded; the Latin labels mean Windows-1252, as in browsers."""
    data = f'<meta charset="{charset}"><p>“Größe”</p>'.encode("cp1252")

    assert page_of(data).endswith("<p>“Größe”</p>")


@pytest.mark.parametrize(
    ("label", "encoding", "text"),
    [
        ("shift_jis", "cp932", "①高﨑"),
        ("x-sjis", "cp932", "①"),
        ("euc-kr", "cp949", "똠방각하"),
        ("ks_c_5601-1987", "cp949", "똠"),
        ("gb2312", "gb18030", "镕€"),
        ("big5", "cp950", "碁"),
        ("iso-8859-9", "cp1254", "“ğ”"),
        ("tis-620", "cp874", "“ก”"),
        ("koi8-r", "koi8-r", "Жук ╒"),
        ("iso-2022-jp", "iso2022_jp_ext", "ｱ日本"),
        ("cp850", "cp850", "größer"),
    ],
)
def test_a_label_means_what_it_means_on_the_web(label: str, encoding: str, text: str) -> None:
    """Pages have more characters than the standard of their label knows."""
    for declaration in (f"<meta charset={label}>", f"<?xml version='1.0' encoding='{label}'?>"):
        assert page_of((declaration + text).encode(encoding)) == declaration + text


def test_the_charset_of_an_old_page_is_believed() -> None:
    """The http-equiv form counts as well."""
    page = '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r"><p>Жук'

    assert page_of(page.encode("koi8-r")) == page


@pytest.mark.parametrize("charset", ["no-such", "utf-16", "hex", "ascii"])
def test_a_charset_that_is_not_true_is_ignored(charset: str) -> None:
    """A wrong label does not spoil a page that is UTF-8."""
    page = f"<meta charset={charset}><p>Жук Á"

    assert page_of(page.encode()) == page


@pytest.mark.parametrize("charset", ["punycode", "idna"])
def test_an_encoding_of_host_names_is_no_charset(charset: str) -> None:
    """Python would decode pages by it, in a time that grows with their square."""
    page = f"<meta charset={charset}><p>a-b"

    assert page_of(page.encode()) == page


@pytest.mark.parametrize(
    ("label", "text", "encoding"),
    [("utf-8", GERMAN, "cp1252"), ("iso-8859-2", "“" + GERMAN, "cp1252")],
)
def test_a_charset_that_does_not_fit_is_ignored(label: str, text: str, encoding: str) -> None:
    """Bytes that it does not have, or controls where there should be letters, are against it."""
    page = f"<meta charset={label}>{text}"

    assert page_of(page.encode(encoding)) == page


def test_only_pages_declare() -> None:
    """A text about charsets is not read by them, nor is a declaration inside the text of a page."""
    assert text_of("<meta charset=koi8-r>ж".encode()).endswith("ж")
    late = " " * 2000 + "<meta charset=koi8-r><?xml version='1.0' encoding='koi8-r'?>ж"
    assert page_of(late.encode()) == late


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(JAPANESE, "iso2022_jp"), ("한국어 텍스트", "iso2022_kr"), ("plain", "iso2022_jp")],
)
def test_escape_sequences_are_no_text(text: str, encoding: str) -> None:
    """Seven bits are enough for Japanese mail: such bytes are no ASCII."""
    assert text_of(text.encode(encoding)) == text


@pytest.mark.parametrize("text", ["~{~(~A~)~^, ~}", "\x1b[1mbold\x1b[0m", "cost $BILL"])
def test_what_looks_like_escape_sequences_stays(text: str) -> None:
    """Lisp's directives, a terminal's colours and shell variables are text."""
    assert text_of(text.encode()) == text


# --- Guesses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_bytes", [50, 500, 5000])
def test_languages_are_told_apart(n_bytes: int) -> None:
    """24 encodings of 17 languages: what is read is right, but for a few that are too short."""
    outcomes = [
        outcome_of(text_of, data, text)
        for _, text, data in samples(written_sentences(), n_bytes=n_bytes, n_samples=4)
    ]

    assert outcomes.count("wrong") <= 0.01 * len(outcomes)
    assert outcomes.count("refused") <= 0.1 * len(outcomes)


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


@pytest.mark.parametrize("text", ["it’s", "“Don’t” she said…", "The file’s “name” is €5.\n" * 40])  # noqa: RUF001
def test_quotes_alone_do_not_mislead(text: str) -> None:
    """English with typographic quotes has no letter that tells; it is Windows-1252."""
    assert text_of(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    ("language", "encoding"), [("cs", "cp852"), ("ru", "cp866"), ("ru", "mac_cyrillic")]
)
def test_dos_and_macintosh_are_recognised(language: str, encoding: str) -> None:
    """Old encodings are read where there is text enough to tell them."""
    text = SENTENCES[language].encode(encoding, "ignore").decode(encoding)

    assert text_of(text.encode(encoding)) == text


@pytest.mark.parametrize(("language", "encoding"), [("de", "cp437"), ("fr", "cp850")])
def test_letters_that_would_be_quotes_are_refused(language: str, encoding: str) -> None:
    """No word has a quote within: Western DOS, which detectors do not know, is not Windows-1252."""
    data = SENTENCES[language].encode(encoding, "ignore")

    with pytest.raises(DocumentError, match="its encoding cannot be told"):
        text_of(data)


def test_candidates_are_named() -> None:
    """If two encodings are as likely, the message has both, and the way out."""
    with pytest.raises(
        DocumentError, match="told: it may be cp1250 or iso8859-2; save it as UTF-8"
    ):
        text_of("Źródło".encode("iso8859-2"))


def test_a_clue_far_inside_a_big_file_is_found() -> None:
    """The sample is taken where the bytes stop being ASCII, not at the start."""
    text = "plain words here. " * 20_000 + GERMAN + "plain words here. " * 20_000

    assert text_of(text.encode("cp1252")) == text


def test_the_whole_text_must_fit() -> None:
    """A sample that is text does not make a text of what comes after it."""
    data = GERMAN.encode("cp1252") * 1000 + b"\x81"

    with pytest.raises(DocumentError, match="its encoding cannot be told; save it as UTF-8"):
        text_of(data)


def test_damaged_utf8_is_an_error_not_a_guess() -> None:
    """One bad byte in UTF-8 does not turn the whole text into another alphabet."""
    data = RUSSIAN.encode() + b"\xff" + RUSSIAN.encode()

    with pytest.raises(DocumentError, match=f"not valid UTF-8 at byte {len(RUSSIAN.encode())}"):
        text_of(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it is binary, not text: it contains NUL bytes"),
        (b"words\0and more words", "it is binary, not text: it contains NUL bytes"),
        (JAPANESE.encode("utf-16-le") + b"\n\0", "if it is UTF-16, save it as UTF-8"),
        (random.Random(1).randbytes(500).replace(b"\0", b""), "it is binary, or its encoding"),
        (b"ok \xff\xfe\xfd broken \x80\x81", "it is binary, or its encoding cannot be told"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8", "it looks like utf-16 but is not valid at byte"),
        (b"\x1b$B\x7f\x7f", "it looks like iso2022_jp_ext but is not valid at byte"),
    ],
)
def test_what_is_not_text_is_said_in_plain_words(data: bytes, message: str) -> None:
    """Nothing is invented for bytes that are no text: the message says what they are."""
    with pytest.raises(DocumentError, match=message):
        text_of(data)


@pytest.mark.parametrize(
    "unit",
    [
        *(b"\xff", b"a\xff", b"\x81\x40", b"a\x92a ", b"\x1b$B", b"\x1b", b"a\0", b"\0\0\0a"),
        *(b"<meta ", b"<?xml ", "é".encode("cp1252"), "ж".encode("cp1251")),
    ],
)
def test_time_grows_with_the_file(unit: bytes) -> None:
    """Eight times the bytes take no more than eight times as long, more or less."""

    def seconds(n_bytes: int) -> float:
        started = time.process_time()
        with suppress(DocumentError):
            page_of(unit * (n_bytes // len(unit)))
        return time.process_time() - started

    seconds(1000)  # the libraries are loaded
    assert seconds(1_600_000) < 24 * max(seconds(200_000), 0.01)
