"""Headers of a mail: who wrote it to whom, when and about what, decoded.

Belongs here: encoded words, addresses, dates, ids, and what of it is kept as metadata. Does not
belong here: the parts of a message (message.py).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.policy import Compat32
from email.utils import getaddresses, parsedate_to_datetime

from embedding_assets.corpus.formats.encodings import decode
from embedding_assets.errors import DocumentError

# Of a header; metadata keep less. Parsers take time with the square of it.
_MAX_CHARS = 8_000
# Encodings that are ASCII, or in which a text can look like UTF-8 by accident.
_NEVER_UTF8 = re.compile(r"gb|big5|shift|sjis|euc|ks_?c|iso-2022|hz|utf-7", re.IGNORECASE)
_USUAL = "cp1252"
_REPLY = re.compile(r"(?:(?:re?|fwd?|aw|wg|sv|vb|vs|tr|rv|antw|i)(?:\[[0-9]+\])?\s?:\s*)++", re.I)
_FORWARDED = re.compile(r"(?:fwd?|wg|vb|tr|rv|i)\s?:", re.IGNORECASE)
_ID = re.compile(r"<([^<>\s]+)>")


class MailPolicy(Compat32):
    """Headers in whatever encoding they came, unfolded; an endless one is cut."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        raw = value[:_MAX_CHARS].encode("utf-8", "surrogateescape")
        return " ".join(_forgiven(raw, "").split())

    def fold_binary(self, name: str, value: str) -> bytes:
        """As it came."""
        return f"{name}: {value}\n".encode("utf-8", "surrogateescape")


def subject_of(message: Message) -> str:
    return words_of_header(message.get("subject", ""))


def without_reply_marks(subject: str) -> str:
    """Without "Re:" and the like, if there is more."""
    return _REPLY.sub("", subject, count=1) if not _REPLY.fullmatch(subject) else subject


def is_forwarded(message: Message) -> bool:
    return _FORWARDED.match(subject_of(message)) is not None


def metadata_of(message: Message) -> dict[str, object]:
    """Under the names of its headers; what is not there is empty."""
    senders = _addresses(message, "from")
    return {
        "author": next((name or address for name, address in senders), ""),
        "date": _date(message.get("date", "")),
        "subject": subject_of(message),
        "from": next((_said(*sender) for sender in senders), ""),
        "to": [_said(*each) for each in _addresses(message, "to")],
        "cc": [_said(*each) for each in _addresses(message, "cc")],
        "message_id": _first_id(message, "message-id"),
        "in_reply_to": _first_id(message, "in-reply-to"),
        "references": _ID.findall(message.get("references", "")),
        "list_id": _first_id(message, "list-id"),
    }


def text_of(data: bytes, charset: str, *, may_have_meta: bool = False) -> str:
    """By the charset that is declared, if it fits; but what is UTF-8 is hardly anything else.

    What fits nothing has its wrong bytes replaced, as mail programs do: nobody can save it again.
    Raises DocumentError if it is binary.
    """
    if not _NEVER_UTF8.match(charset):
        with suppress(UnicodeDecodeError):
            data.decode()
            charset = ""
    try:
        return decode(data, may_have_meta=may_have_meta, label=charset)
    except DocumentError:
        if b"\0" in data:
            raise
    with suppress(LookupError, ValueError):
        return data.decode(charset or _USUAL, "replace")
    return data.decode(_USUAL, "replace")


def words_of_header(header: str) -> str:
    """What is encoded in it (RFC 2047), decoded."""
    try:
        parts = decode_header(header)
    except (HeaderParseError, ValueError):
        return header
    return "".join(map(_words_of_part, parts))


def _words_of_part(part: tuple[str | bytes, str | None]) -> str:
    words, charset = part
    if isinstance(words, str):
        return words
    if charset is None:
        return words.decode("raw_unicode_escape")
    return _forgiven(words, charset.partition("*")[0])


def _forgiven(data: bytes, charset: str) -> str:
    """Nobody minds a few broken letters in a header."""
    try:
        return text_of(data, charset)
    except DocumentError:
        return data.decode(errors="replace")


def _addresses(message: Message, header: str) -> list[tuple[str, str]]:
    """Names, which may be empty, and addresses; what is no address is a name alone."""
    return [pair for value in message.get_all(header, []) for pair in _pairs(value)]


def _pairs(value: str) -> Iterator[tuple[str, str]]:
    try:
        pairs = [pair for pair in getaddresses([value]) if any(pair)]
    except RecursionError:  # it is full of parentheses
        pairs = []
    for name, address in pairs or [(value, "")]:
        yield words_of_header(name), words_of_header(address)


def _said(name: str, address: str) -> str:
    return f"{name} <{address}>" if name and address else name or address


def _date(header: str) -> datetime | None:
    """In UTC, so that dates can be compared as texts; None if it is none."""
    try:
        sent_at = parsedate_to_datetime(header)
        return sent_at.replace(tzinfo=sent_at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _first_id(message: Message, header: str) -> str:
    return next(iter(_ID.findall(message.get(header, ""))), "")
