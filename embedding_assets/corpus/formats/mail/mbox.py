"""Mailboxes: many mails in one file, each of which becomes a document of its own.

Belongs here: where one mail ends and the next begins. Does not belong here: what is in one
(message.py).
"""

import hashlib
import re
from collections.abc import Iterator
from itertools import zip_longest

from embedding_assets.corpus.formats.extracted import Extracted, Member
from embedding_assets.corpus.formats.mail.member_names import safe_name, unique
from embedding_assets.corpus.formats.mail.message import MAIL_TYPE
from embedding_assets.errors import DocumentError
from embedding_assets.wording import count

# "From ", somebody, and when; then headers. A sentence may begin with "From ", too.
_SEPARATOR = re.compile(rb"^From .*\n(?=>?[!-9;-~]+:|>?From |[ \t])", re.MULTILINE)
_TIME = re.compile(rb"[0-9]{1,2}:[0-9]{2}")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_MESSAGE_ID = re.compile(rb"^message-id:\s*<([^<>\s]+)>", re.MULTILINE | re.IGNORECASE)
# Of Thunderbird and its relatives, for a mail that is deleted but still in the file.
_STATUS = re.compile(rb"^x-mozilla-status:\s*([0-9a-f]{4})", re.MULTILINE | re.IGNORECASE)
_DELETED = 0x0008


def read_mbox(data: bytes) -> Extracted:
    """Its mails, each called by its id, as members; it has no text of its own.

    Raises DocumentError if there is no mail in it.
    """
    mails = list(_mails(data))
    kept = [mail for mail in mails if not _is_deleted(mail)]
    if not kept:
        raise DocumentError('there is no mail in it: each must begin with a line "From …"')
    names = unique(map(_name_of, kept))
    n_deleted = len(mails) - len(kept)
    return Extracted(
        title="",
        text="",
        blocks=(),
        members=tuple(
            Member(name=name, media_type=MAIL_TYPE, data=_QUOTED.sub(rb"\1", mail))
            for name, mail in zip(names, kept, strict=True)
        ),
        remark=_said(n_deleted) if n_deleted else "",
    )


def _said(n_deleted: int) -> str:
    return f"{count(n_deleted, 'deleted mail is', 'deleted mails are')} left out"


def _mails(data: bytes) -> Iterator[bytes]:
    """The bytes of each, without the line that only the mailbox has."""
    found = [m for m in _SEPARATOR.finditer(data) if _TIME.search(data, *m.span())]
    stops = [separator.start() for separator in found[1:]]
    for separator, stop in zip_longest(found, stops):
        yield data[separator.end() : stop]


def _head(mail: bytes) -> bytes:
    end = _END_OF_HEADERS.search(mail)
    return mail[: end.start()] if end else mail


def _is_deleted(mail: bytes) -> bool:
    status = _STATUS.search(_head(mail))
    return status is not None and int(status[1], 16) & _DELETED != 0


def _name_of(mail: bytes) -> str:
    """By the message's id, else by its content: the same wherever in the mailbox it stands."""
    found = _MESSAGE_ID.search(_head(mail))
    message_id = safe_name(found[1].decode(errors="replace")) if found else ""
    return f"{message_id or hashlib.sha256(mail).hexdigest()[:16]}.eml"
