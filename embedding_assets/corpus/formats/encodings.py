"""Encodings: the bytes of a file to its characters, or why they cannot be told.

Belongs here: marks, declared charsets, guesses. Does not belong here: what the characters say.
"""

import codecs
import re

from embedding_assets.errors import DocumentError

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# All bytes of these are ASCII. So are those of HZ, but its "~{" and "~}" are in texts about Lisp.
_ESCAPES = {b"\x1b$@": "iso2022_jp_ext", b"\x1b$B": "iso2022_jp_ext", b"\x1b$)C": "iso2022_kr"}
_DECLARATION = re.compile(
    rb"""^\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:-]+)"""
    rb"""|<meta[^>]+?charset\s*=\s*["']?\s*([\w.:-]+)""",
    re.IGNORECASE,
)
_DECLARATION_BYTES = 1024  # how far browsers look (HTML standard, "prescan a byte stream")
# Codecs of Python that are for host names; the first takes time with the square of the text.
_NO_CHARSETS = frozenset({"punycode", "idna"})
# Names under which there is more in files than Python's codec of that name knows.
_WIDER = {
    "big5": "cp950",
    "cp949": "cp949",
    "euc_kr": "cp949",
    "gbk": "gb18030",
    "iso2022_jp": "iso2022_jp_ext",
    "iso8859-11": "cp874",
    "iso8859-8": "cp1255",
    "shift_jis": "cp932",
    "uhc": "cp949",
}
# Pairs that detectors do not tell apart: the other one has more letters, or typographic quotes.
_LIKELIER = {"iso8859-13": "cp1257", "koi8-r": "koi8-u"}
_BROWSERS_CHOICE = "cp1252"
_SAMPLE_BYTES = 64 * 1024
_FEW_BYTES = 200  # detectors see DOS and Macintosh in shorter texts where there is none
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_C1_CONTROLS = re.compile("[\x80-\x9f]")
_CONTROLS = re.compile("[\0-\x07\x0e-\x19\x1c-\x1f\x7f-\x9f]")
_ASCII = bytes(range(128))
# Quotes, dashes and dots that all of Windows' code pages have there, and letters in most others.
_TYPOGRAPHY = b"\x82\x84\x85\x91\x92\x93\x94\x95\x96\x97\x99"
# Letters of DOS and Macintosh that are signs, or capitals, in Windows' code pages.
_SIGNS = b"\x82\x84\x86\x87\x88\x8a\x8e\x93\x94\x99\x9f".decode("cp1252")
_SIGN_IN_WORD = re.compile(f"[a-z][{_SIGNS}][a-z]")
_MAX_SIGNS_IN_WORDS = 0.05  # of what is not ASCII


def decode(data: bytes, *, may_have_meta: bool, label: str = "") -> str:
    """Return the text of a file, by the first of these that applies.

    A mark at the start; NULs where UTF-16 and UTF-32 have them; the charset of ``label``, which is
    what somebody says who passes the file on, if it fits; if ``may_have_meta``, one that the file
    declares and that fits; escape sequences; valid UTF-8; what two detectors agree on.
    Raises DocumentError if ``data`` is binary, damaged, or in an encoding that cannot be told.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode_as(encoding, data)
    if b"\0" in data:
        return _text_with_nuls(data)
    for declared in (label, _declared_label(data) if may_have_meta else ""):
        text = _text_under(declared, data) if declared else None
        if text is not None:
            return text
    if data.isascii():
        return _decode_as(_ascii_encoding(data), data)
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        if _is_damaged_utf8(data):
            raise DocumentError(
                f"it is not valid UTF-8 at byte {exc.start}; repair it or save it again as UTF-8"
            ) from exc
    return _guessed_text(data)


def _decode_as(encoding: str, data: bytes) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise DocumentError(
            f"it looks like {encoding} but is not valid at byte {exc.start}; save it as UTF-8"
        ) from exc


def _text_with_nuls(data: bytes) -> str:
    """Decode UTF-16 or UTF-32 without a mark, if most characters are of alphabets."""
    is_little = data[1::2].count(0) > data[::2].count(0)
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le" if is_little else "utf-16-be"):
        text = _text_or_none(encoding, data, without=_CONTROLS)
        sample = (text or "")[:_SAMPLE_BYTES]
        if text and sum(character < "\u2000" for character in sample) > len(sample) / 2:
            return text
    raise DocumentError(
        "it is binary, not text: it contains NUL bytes; if it is UTF-16, save it as UTF-8"
    )


def _text_or_none(encoding: str, data: bytes, *, without: re.Pattern[str]) -> str | None:
    """None if there is no such codec, if it does not fit, or if it leaves what no text has."""
    try:
        text = data.decode(encoding)
    except (LookupError, ValueError):
        return None
    return None if without.search(text) else text


def _declared_label(data: bytes) -> str:
    """The charset that a page declares; empty if it does not."""
    match = _DECLARATION.search(data[:_DECLARATION_BYTES])
    return (match[1] or match[2]).decode("ascii") if match else ""


def _text_under(label: str, data: bytes) -> str | None:
    """Decode by a charset that somebody declares; None if it is a wrong one."""
    label = label.lower()
    if label in _NO_CHARSETS:
        return None
    # Whoever could read the label was not reading UTF-16 (HTML standard).
    encoding = "utf-8" if label.startswith("utf-16") else _web_codec(label) or label
    return _text_or_none(encoding, data, without=_C1_CONTROLS)


def _web_codec(label: str) -> str | None:
    """Python's name for what browsers read under a label; None if they do not know it."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    name = map_encoding_to_html5(label, fallback_utf8=False)
    return _WIDER.get(name or label.lower(), name)


def _ascii_encoding(data: bytes) -> str:
    """Of bytes that are all ASCII: an encoding that switches by escape sequences, if any."""
    return next((name for escape, name in _ESCAPES.items() if escape in data), "ascii")


def _is_damaged_utf8(data: bytes) -> bool:
    """Most of the bytes over 127 make sense as UTF-8: other encodings do so only by accident."""
    text = data.decode(errors="replace")
    n_bad = text.count("\N{REPLACEMENT CHARACTER}")
    return _n_special(text) - n_bad > n_bad


def _n_special(text: str) -> int:
    """How many of its characters are not ASCII."""
    return len(text) - len(text.encode("ascii", "ignore"))


def _guessed_text(data: bytes) -> str:
    """Decode by what a sample around the first clue looks like, if all who look read one text."""
    clue = _NOT_ASCII.search(data)
    start = max(0, clue.start() - _SAMPLE_BYTES // 4) if clue else 0
    encodings = _likely_encodings(data[start : start + _SAMPLE_BYTES])
    readings = dict(_reading(encoding, data) for encoding in encodings)
    text, *others = set(readings.values())
    if text is not None and not others:
        return text
    candidates = sorted(encoding for encoding, text in readings.items() if text is not None)
    guesses = f": it may be {' or '.join(candidates)}" if candidates else ""
    raise DocumentError(f"it is binary, or its encoding cannot be told{guesses}; save it as UTF-8")


def _likely_encodings(sample: bytes) -> set[str]:
    """What two detectors say of ``sample``; or what browsers take, if letters are rare in it."""
    from cchardet import detect
    from resiliparse.parse.encoding import detect_encoding

    n_special = len(sample.translate(None, _ASCII))
    if 5 * len(sample.translate(None, _ASCII + _TYPOGRAPHY)) <= n_special:
        return {_BROWSERS_CHOICE}
    answers = (
        detect_encoding(sample, html5_compatible=False, from_html_meta=False),
        detect(sample)["encoding"],
    )
    return {_likely_encoding(answer, n_bytes=len(sample)) for answer in answers}


def _likely_encoding(answer: str | None, *, n_bytes: int) -> str:
    """What a detector's answer means; where it means nothing, what browsers take."""
    encoding = _web_codec(answer) if answer else None
    if encoding is None:
        encoding = answer if answer and n_bytes >= _FEW_BYTES else _BROWSERS_CHOICE
    return _LIKELIER.get(encoding, encoding)


def _reading(encoding: str, data: bytes) -> tuple[str, str | None]:
    """Decode by ``encoding``, or else as browsers do; None if neither makes a text."""
    for candidate in (encoding, _BROWSERS_CHOICE):
        text = _text_or_none(candidate, data, without=_CONTROLS)
        if text is not None and _has_whole_words(text):
            return candidate, text
    return encoding, None


def _has_whole_words(text: str) -> bool:
    n_broken = len(_SIGN_IN_WORD.findall(text))
    return n_broken <= _MAX_SIGNS_IN_WORDS * _n_special(text)
