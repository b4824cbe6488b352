"""Quotes: what of a mail's text stands in other mails, too, or at the end of every one.

Belongs here: quoted mails, signatures, footers of lists, lines that were wrapped for sending. Does
not belong here: messages and their parts (message.py).
"""

import re
from collections.abc import Callable, Sequence
from itertools import groupby

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.pieces import Piece

_MAX_QUOTED_LINES = 10  # above an answer; of more the last ones are kept
_LEFT_OUT = "> […]"
_SIGNATURE = "-- "  # RFC 3676, 4.3
_MAX_SIGNATURE_LINES = 20
_FOOTER = re.compile(r"_{30,}")
_SENT = re.compile(
    r"[0-9]{1,2}[:.h][0-9]{2}|\b(?:19|20)[0-9]{2}|\b[0-9]{1,2}/[0-9]{1,2}/[0-9]{2}\b"
)
_WROTE = re.compile(
    r"\b(?:wrote|writes|schrieb|écrit|escribió|scritto|escreveu|schreef|skrev|kirjoitti|napisał"
    r"|napsal|написал|пишет)\b|写道"
)
_MAX_ATTRIBUTION_LINES = 3
# The headers of a mail as Outlook and others put them before it, in many languages: who sent it,
# and when or about what. A journey has "From:" and "To:", too, and a date.
_FROM = "From|Von|De|Da|Van|Från|Fra|Od|От|差出人|发件人"
_ABOUT = "Subject|Betreff|Objet|Asunto|Oggetto|Assunto|Onderwerp|Ämne|Emne|Тема|件名|主题"
_WHEN = (
    "Sent|Gesendet|Envoyé|Enviad[oa]|Inviato|Verzonden|Skickat|Sendt|Отправлено|送信日時|发送时间"
)
_DATE = "Date|Datum|Fecha|Data|Дата|日期"
_COLON = r"[ \xa0*]*+[:\uff1a].*"
_HEADER = rf"[ \xa0*]*+[^\s:*][^:\uff1a\n]{{0,25}}{_COLON}"
_ORIGINAL = re.compile(
    r"^(?:[-_]{5,}+.*\n\s?)?"
    rf"(?=(?:{_HEADER}\n){{0,4}}?[ *]*+(?:{_FROM}){_COLON})"
    rf"(?=(?:{_HEADER}\n){{0,4}}?[ *]*+(?:{_ABOUT}|{_WHEN}){_COLON})"
    rf"[ *]*+(?:{_FROM}|{_DATE}|{_ABOUT}){_COLON}(?:\n{_HEADER}){{2,}}",
    re.MULTILINE,
)
# What stands above a mail that is passed on: then that is what it was sent for.
_PASSED_ON = re.compile(
    r"^(?:[-_]{2,}+.{0,40}?|[ *]*+Begin )"
    r"(?:forwarded|weitergeleitet|transféré|reenviad|inoltrat|encaminhad|doorgestuurd|vidarebefordra"
    r"|videresendt|przekazan|пересыла|пересланн|転送|转发)",
    re.MULTILINE | re.IGNORECASE,
)
_LAST = ":not(:has(~ :not(br)))"
_LAST_QUOTE = f"blockquote:is([type=cite], .gmail_quote, .protonmail_quote){_LAST}"
# CSS selectors of what mail programs say is quoted or signed, and of what may be a quote.
QUOTED_IN_HTML = (
    _LAST_QUOTE,
    f":is(.gmail_attr, .moz-cite-prefix):has(+ {_LAST_QUOTE})",
    ".yahoo_quoted",
    ".gmail_signature",
    ".moz-signature",
)
PERHAPS_QUOTED_IN_HTML = f"blockquote{_LAST}"


def is_passed_on(text: str) -> bool:
    """Whether a mail stands in it that somebody sends on, before any that is answered."""
    passed_on, original = _PASSED_ON.search(text), _ORIGINAL.search(text)
    return passed_on is not None and (original is None or passed_on.start() <= original.start())


def own_text(text: str) -> str:
    """A plain text without quoted mails behind it, signature and footer; empty if that is all.

    A quote above an answer is kept: the last lines of it.
    """
    lines: Sequence[str] = _without_original(text).split("\n")
    lines = _without_signature(_without_footer(lines))
    lines = _without_attribution(_without_last_quote(lines))
    return "\n".join(_with_short_quotes(_without_signature(lines))).strip("\n")


def own_pieces(pieces: Sequence[Piece]) -> list[Piece]:
    """The same of a page, of which all that QUOTED_IN_HTML selects is gone already."""
    own: list[Piece] = []
    for piece in pieces:
        text = _without_original(piece.text)
        own.append(piece._replace(text=text))
        if text != piece.text:
            break
    if own and own[-1].kind is BlockKind.PROSE:
        lines = _without_attribution(own[-1].text.split("\n"))
        own[-1] = own[-1]._replace(text="\n".join(lines))
    return [piece for piece in own if piece.text.strip()]


def ends_in_attribution(pieces: Sequence[Piece]) -> bool:
    """Whether the last line says who wrote what stands behind it."""
    lines = pieces[-1].text.split("\n") if pieces else []
    return _without_attribution(lines) != lines


def _without_original(text: str) -> str:
    original = _ORIGINAL.search(text)
    return text[: original.start()] if original else text


def _without_end(lines: Sequence[str], begins: Callable[[str], bool]) -> Sequence[str]:
    """Without the last lines, from one on that begins them."""
    for n in range(len(lines) - 1, max(len(lines) - _MAX_SIGNATURE_LINES, 0) - 1, -1):
        if begins(lines[n]):
            return lines[:n]
    return lines


def _without_footer(lines: Sequence[str]) -> Sequence[str]:
    """What mailing lists add below a rule."""
    return _without_end(lines, lambda line: _FOOTER.fullmatch(line.rstrip()) is not None)


def _without_signature(lines: Sequence[str]) -> Sequence[str]:
    return _without_end(lines, _SIGNATURE.__eq__)


def _without_last_quote(lines: Sequence[str]) -> Sequence[str]:
    n = len(lines)
    while n and (_is_quote(lines[n - 1]) or not lines[n - 1].strip()):
        n -= 1
    return lines[:n]


def _without_attribution(lines: Sequence[str]) -> Sequence[str]:
    """Without "On Monday, Ada wrote:" at the end, which may be wrapped."""
    n = len(lines)
    while n and not lines[n - 1].strip():
        n -= 1
    for first in range(n - 1, max(n - 1 - _MAX_ATTRIBUTION_LINES, -1), -1):
        if not lines[first].strip():
            break
        if _is_attribution(" ".join(lines[first:n])):
            return lines[:first]
    return lines


def _is_attribution(line: str) -> bool:
    """It names a time and an address, or a time and that somebody wrote; "Ada wrote:" is none."""
    is_of_somebody = "@" in line or _WROTE.search(line) is not None
    return line.rstrip().endswith(":") and is_of_somebody and _SENT.search(line) is not None


def _with_short_quotes(lines: Sequence[str]) -> list[str]:
    found: list[str] = []
    for is_quote, group in groupby(lines, _is_quote):
        same = list(group)
        if is_quote and len(same) > _MAX_QUOTED_LINES:
            same = [_LEFT_OUT, *same[-_MAX_QUOTED_LINES:]]
        found += same
    return found


def _is_quote(line: str) -> bool:
    return line.startswith(">")


# --- RFC 3676 -------------------------------------------------------------------------------------


def unflowed(text: str, *, has_extra_space: bool) -> str:
    """The lines of a text in ``format=flowed`` as they were before they were wrapped.

    ``has_extra_space`` (``delsp=yes``): the space that marks a wrapped line is none of the text's.
    """
    parts: list[str] = []
    open_depth: int | None = None  # of the quote in which the next line may go on
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        is_signature = content == _SIGNATURE
        goes_on = depth == open_depth and content.strip() != "" and not is_signature
        is_wrapped = content.endswith(" ") and not is_signature
        start = "" if goes_on else f"\n{'>' * depth}{' ' * (depth > 0)}"
        parts.append(start + (content[:-1] if is_wrapped and has_extra_space else content))
        open_depth = depth if is_wrapped else None
    return "".join(parts)[1:]
