"""Mails: the text that somebody wrote, and the files that came with it.

Belongs here: the parts of a message, and which of them are its text. Does not belong here: headers
(headers.py), what of a text is quoted (quotes.py), calendars (invitation.py), mailboxes (mbox.py).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import Message
from mimetypes import guess_extension
from typing import NamedTuple

from embedding_assets.corpus.formats.extracted import Extracted, Member
from embedding_assets.corpus.formats.html.pages import read_html
from embedding_assets.corpus.formats.mail.headers import (
    MailPolicy,
    is_forwarded,
    metadata_of,
    subject_of,
    text_of,
    without_reply_marks,
    words_of_header,
)
from embedding_assets.corpus.formats.mail.invitation import is_invitation, pieces_of_invitation
from embedding_assets.corpus.formats.mail.member_names import safe_name, unique
from embedding_assets.corpus.formats.mail.quotes import (
    PERHAPS_QUOTED_IN_HTML,
    QUOTED_IN_HTML,
    ends_in_attribution,
    is_passed_on,
    own_pieces,
    own_text,
    unflowed,
)
from embedding_assets.corpus.formats.pieces import Piece, assembled, pieces_of
from embedding_assets.corpus.formats.plain import read_plain
from embedding_assets.corpus.formats.text import clean, one_line
from embedding_assets.errors import DocumentError

MAIL_TYPE = "message/rfc822"

_HTML = "text/html"
_CALENDAR = "text/calendar"
_NO_TYPE = "application/octet-stream"
_ENCRYPTED = frozenset(
    {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
)
_ENCRYPTED_TEXT = "-----BEGIN PGP MESSAGE-----"
_IS_ENCRYPTED = "it is encrypted, or signed in a packed form; save it decrypted"
# fmt: off
# What is about the message, and for mail programs.
_NO_FILES = frozenset({
    "application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature",
    "message/delivery-status", "message/disposition-notification", "text/rfc822-headers",
})
# fmt: on
_SIGNED = re.compile(
    r"^-----BEGIN PGP SIGNED MESSAGE-----\n(?:\w++: .*\n)*\n?"
    r"|^-----BEGIN PGP SIGNATURE-----\n(?:[^-\n].*\n|\n)*(?:-----END PGP SIGNATURE-----)?",
    re.MULTILINE,
)
_FOLDERS = re.compile(r".*[/\\]", re.DOTALL)
_ALL_QUOTED = "all of it is quoted, or a signature"
# Of the text of the longest alternative: a plain one with less only says that there is another.
_MIN_SHARE = 1 / 3


def read_mail(data: bytes) -> Extracted:
    """The text without what is quoted behind it, headers as metadata, attachments as members.

    The title is the subject without "Re:". Raises DocumentError if it is encrypted or no mail.
    """
    try:
        message = message_from_bytes(data, policy=MailPolicy())
        if not message.keys():
            raise DocumentError("it is no mail: it does not begin with headers")
        return _read(message)
    except RecursionError as exc:
        raise DocumentError("its parts are nested too deeply; save what is in it") from exc


@dataclass(slots=True, kw_only=True)
class _Letter:
    """How the parts of a message are read, and the files found in them so far."""

    is_whole: bool  # with what is quoted
    members: list[Member] = field(default_factory=list)
    calendars: list[str] = field(default_factory=list)


class _Text(NamedTuple):
    """What is read of a part, and how long it was with what is quoted."""

    pieces: Sequence[Piece]
    n_chars: int


_NO_TEXT = _Text((), 0)


def _read(message: Message) -> Extracted:
    letter = _Letter(is_whole=is_forwarded(message))
    pieces, remark = _text_in(message, letter).pieces, ""
    if not (pieces or letter.is_whole or letter.calendars):
        letter = _Letter(is_whole=True)
        pieces = _text_in(message, letter).pieces
        remark = _ALL_QUOTED if pieces else ""
    meetings = [
        piece
        for calendar in letter.calendars
        for piece in pieces_of_invitation(calendar, with_description=not pieces)
    ]
    names = unique(member.name for member in letter.members)
    return assembled(
        [*pieces, *meetings],
        title=one_line(without_reply_marks(subject_of(message))),
        metadata=metadata_of(message),
        members=tuple(replace(m, name=name) for m, name in zip(letter.members, names, strict=True)),
        remark=remark,
    )


# --- Text -----------------------------------------------------------------------------------------


def _text_in(part: Message, letter: _Letter) -> _Text:
    """The text of a part, whose files go to the letter."""
    media_type = part.get_content_type()
    if media_type in _ENCRYPTED:
        raise DocumentError(_IS_ENCRYPTED)
    if part.is_multipart() and part.get_content_maintype() == "multipart":
        texts = [_text_in(each, letter) for each in _parts_of(part)]
        return _best(texts) if media_type == "multipart/alternative" else _joined(texts)
    if media_type == _CALENDAR and part.get_content_disposition() != "attachment":
        calendar = _source_of(part, may_have_meta=False)
        if is_invitation(calendar):
            letter.calendars.append(calendar)
            return _NO_TEXT
    if _is_text(part):
        return _text_of_part(part, is_whole=letter.is_whole)
    if media_type not in _NO_FILES:
        letter.members += _members_of(part, media_type)
    return _NO_TEXT


def _parts_of(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [each for each in payload if isinstance(each, Message)] if part.is_multipart() else []


def _best(alternatives: Sequence[_Text]) -> _Text:
    """The first one, which is the plain one, unless it hardly says what another one says."""
    least = max((text.n_chars for text in alternatives), default=0) * _MIN_SHARE
    return next((text for text in alternatives if text.n_chars >= least), _NO_TEXT)


def _joined(texts: Sequence[_Text]) -> _Text:
    pieces = [piece for text in texts for piece in text.pieces]
    return _Text(pieces, sum(text.n_chars for text in texts))


def _is_text(part: Message) -> bool:
    """And no file; also what calls itself many parts and has no boundary between them."""
    is_attached = part.get_content_disposition() == "attachment" or bool(part.get_filename())
    is_text = part.get_content_type() in ("text/plain", _HTML) and not is_attached
    return is_text or part.get_content_maintype() == "multipart"


def _text_of_part(part: Message, *, is_whole: bool) -> _Text:
    is_html = part.get_content_type() == _HTML
    source = _source_of(part, may_have_meta=is_html)
    if is_html:
        whole = _pieces_of_page(source)
        n_chars = sum(len(piece.text) for piece in whole)
        return _Text(whole if is_whole else _own_pieces_of_page(source, whole), n_chars)
    if source.lstrip().startswith(_ENCRYPTED_TEXT):
        raise DocumentError(_IS_ENCRYPTED)
    if _is(part, "format", "flowed"):
        source = unflowed(source, has_extra_space=_is(part, "delsp", "yes"))
    text = _SIGNED.sub("", source).strip("\n")
    own = text if is_whole or is_passed_on(text) else own_text(text)
    return _Text(list(pieces_of(read_plain(own))), len(text))


def _source_of(part: Message, *, may_have_meta: bool) -> str:
    charset = part.get_content_charset("")
    return clean(text_of(_payload(part), charset, may_have_meta=may_have_meta))


def _pieces_of_page(source: str, *drop: str) -> list[Piece]:
    return list(pieces_of(read_html(source, keep=("body",), drop=drop)))


def _own_pieces_of_page(source: str, whole: list[Piece]) -> list[Piece]:
    """Without what is marked as quoted; so is what stands at the end, below whose it is."""
    marked = _pieces_of_page(source, *QUOTED_IN_HTML)
    if is_passed_on("\n".join(piece.text for piece in marked)):
        return whole
    if "<blockquote" in source.lower():
        unmarked = _pieces_of_page(source, *QUOTED_IN_HTML, PERHAPS_QUOTED_IN_HTML)
        marked = unmarked if ends_in_attribution(unmarked) else marked
    return own_pieces(marked)


def _is(part: Message, parameter: str, value: str) -> bool:
    return str(part.get_param(parameter, "")).lower() == value


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


# --- Files ----------------------------------------------------------------------------------------


def _members_of(part: Message, media_type: str) -> Iterator[Member]:
    """The file that a part is; none for a picture in a text."""
    if media_type == MAIL_TYPE:
        yield from map(_attached_mail, _parts_of(part))
        return
    named = _FOLDERS.sub("", words_of_header(part.get_filename("")))
    name, data = safe_name(named), _payload(part)
    if data and not _is_in_text(part):
        yield Member(
            name=name or f"attachment{guess_extension(media_type) or ''}",
            media_type="" if media_type == _NO_TYPE else media_type,
            data=data,
        )


def _is_in_text(part: Message) -> bool:
    """A picture without a name, or which the text has an id for."""
    is_attached = part.get_content_disposition() == "attachment"
    is_shown = "content-id" in part and not is_attached
    return part.get_content_maintype() == "image" and (is_shown or not part.get_filename())


def _attached_mail(message: Message) -> Member:
    name = safe_name(subject_of(message)) or "mail"
    return Member(name=f"{name}.eml", media_type=MAIL_TYPE, data=message.as_bytes())
