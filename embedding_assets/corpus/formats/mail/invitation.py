"""Invitations: what a calendar in a mail says of a meeting: about what, when, where, with whom.

Belongs here: the few properties of iCalendar (RFC 5545) that readers of a mail see. Does not belong
here: calendars that are files of their own.
"""

import re
from collections.abc import Iterator

from embedding_assets.corpus.formats.data.records import pieces_of_fields
from embedding_assets.corpus.formats.pieces import Piece

_FOLD = re.compile(r"\n[ \t]")
_EVENT = re.compile(r"^BEGIN:(VEVENT|VTODO)\n(.*?)(?:^END:\1|\Z)", re.MULTILINE | re.DOTALL)
_ALARM = re.compile(r"^BEGIN:VALARM\n.*?(?:^END:VALARM\n|\Z)", re.MULTILINE | re.DOTALL)
_PROPERTY = re.compile(r"^([A-Z-]+)((?:;[^:;\"\n]*(?:\"[^\"\n]*\")?)*+):(.*)$", re.MULTILINE)
_PARAMETER = re.compile(r"\b(CN|TZID)=(?:\"([^\"]*)\"|([^;:]*))")
_ESCAPED = re.compile(r"\\(.)")
_TIME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{2})([0-9]{2})[0-9]{2}(Z?))?")
_NAMES = ("SUMMARY", "DTSTART", "DTEND", "DUE", "LOCATION", "ORGANIZER", "DESCRIPTION")
_SHOWN = {"DTSTART": "start", "DTEND": "end"}


def is_invitation(source: str) -> bool:
    """Whether a meeting is in it, rather than when somebody is busy."""
    return _EVENT.search(source) is not None


def pieces_of_invitation(source: str, *, with_description: bool) -> Iterator[Piece]:
    """A line for each thing that it says of each meeting.

    The description is left out if the mail has a text, which says the same.
    """
    for event in _EVENT.finditer(_FOLD.sub("", source)):
        said: dict[str, str] = {}
        for name, parameters, value in _PROPERTY.findall(_ALARM.sub("", event[2])):
            said.setdefault(name, _value(name, parameters, value))
        names = _NAMES if with_description else _NAMES[:-1]
        yield from pieces_of_fields((_SHOWN.get(n, n.lower()), said.get(n, "")) for n in names)


def _value(name: str, parameters: str, value: str) -> str:
    about = {key: one or other for key, one, other in _PARAMETER.findall(parameters)}
    if name == "ORGANIZER":
        return about.get("CN", "") or value.partition(":")[2]
    if found := _TIME.fullmatch(value):
        year, month, day, hour, minute, is_utc = found.groups()
        zone = " UTC" if is_utc else f" {about['TZID']}" if "TZID" in about else ""
        return f"{year}-{month}-{day}" + (f" {hour}:{minute}{zone}" if hour else "")
    return _ESCAPED.sub(lambda each: "\n" if each[1] in "nN" else each[1], value).strip()
