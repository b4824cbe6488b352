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
_META_CHARSET = re.compile(rb"<meta[^>]+?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_META_SCAN_BYTES = 1024  # how far browsers look (HTML standard, "prescan a byte stream")
# Codecs of Python that are for host names; the first takes time with the square of the text.
_NO_CHARSETS = frozenset({"punycode", "idna"})
_SAMPLE_BYTES = 64 * 1024
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
# A mark or NULs would have given these away; without them they match only by chance.
_IMPLAUSIBLE = ["utf_7", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le"]


def decode(data: bytes, *, may_have_meta: bool) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode_as(encoding, data)
    if b"\0" in data:
        raise DocumentError("it is binary, not text: it contains NUL bytes")
    declared = _declared_text(data) if may_have_meta else None
    if declared is not None:
        return declared
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        if _is_damaged_utf8(data):
            raise DocumentError(
                f"it is not valid UTF-8 at byte {exc.start}; repair it or save it again as UTF-8"
            ) from exc
    return _decode_as(_guessed_encoding(data), data)


def _decode_as(encoding: str, data: bytes) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise DocumentError(
            f"it looks like {encoding} but is not valid at byte {exc.start}; save it as UTF-8"
        ) from exc


def _declared_text(data: bytes) -> str | None:
    """Decode by the ``<meta charset>``; None if there is none, or a wrong one."""
    match = _META_CHARSET.search(data[:_META_SCAN_BYTES])
    if match is None:
        return None
    label = match[1].decode("ascii", "replace").lower()
    # The HTML standard reads these labels as the encodings that pages really use under them.
    if label.startswith("utf-16"):
        label = "utf-8"
    elif label in {"iso-8859-1", "latin1", "ascii", "us-ascii"}:
        label = "cp1252"
    elif label in _NO_CHARSETS:
        return None
    try:
        return data.decode(label)
    except (LookupError, ValueError):
        return None


def _is_damaged_utf8(data: bytes) -> bool:
    """Most of the bytes over 127 make sense as UTF-8: other encodings do so only by accident."""
    text = data.decode(errors="replace")
    n_bad = text.count("\N{REPLACEMENT CHARACTER}")
    n_special = len(text) - len(text.encode("ascii", "ignore"))
    return n_special - n_bad > n_bad


def _guessed_encoding(data: bytes) -> str:
    """Name the legacy encoding of ``data`` by statistics on a sample around its first clue."""
    from charset_normalizer import from_bytes

    clue = _NOT_ASCII.search(data)
    start = max(0, clue.start() - _SAMPLE_BYTES // 4) if clue else 0
    matches = from_bytes(data[start : start + _SAMPLE_BYTES], cp_exclusion=_IMPLAUSIBLE)
    best = matches.best()
    if best is not None:
        # Among equals the one that browsers assume: short Western texts fit a dozen encodings.
        for match in matches:
            is_equal = (match.chaos, match.coherence) == (best.chaos, best.coherence)
            if is_equal and "cp1252" in match.could_be_from_charset:
                return "cp1252"
        if best.coherence > 0 or best.multi_byte_usage > 0:
            return best.encoding
    raise DocumentError("it is binary, or its encoding cannot be told; save it as UTF-8")
