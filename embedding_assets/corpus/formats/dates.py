"""Dates: those that people and programs write in words, as ISO 8601, so that they can be compared.

Belongs here: forms that mean one day only. Does not belong here: names of metadata (names.py),
dates in mails, which have a time zone (mail/headers.py).
"""

import re
from collections.abc import Mapping
from datetime import date

_NAMES = ("date", "modified")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY, _YEAR = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?", r"(?P<year>[0-9]{4})"
# "May 4, 2026", "4 May 2026", "4-May-2026", "Mon, 4 May 2026"; "4.5.2026"; "2026/5/4",
# "2026-05-04 Mon", as Org has it. Of "4/5/2026" nobody knows the month.
_FORMS = [
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?:[a-z]{{3,9}},? )?{_MONTH} {_DAY},? {_YEAR}",
        rf"(?:[a-z]{{3,9}},? )?{_DAY}[ -]{_MONTH}[ -]{_YEAR}",
        rf"{_DAY}\. ?(?P<number>[0-9]{{1,2}})\. ?{_YEAR}",
        rf"{_YEAR}/(?P<number>[0-9]{{1,2}})/(?P<day>[0-9]{{1,2}})",
        rf"{_YEAR}-(?P<number>[0-9]{{2}})-(?P<day>[0-9]{{2}}) \w{{2,3}}\.?(?: [0-9:-]+)?",
    )
]


def with_iso_dates(metadata: Mapping[str, object]) -> dict[str, object]:
    """The same, with dates that are a day in words as days; others stay as they are."""
    return {
        k: iso_date(v) if k in _NAMES and isinstance(v, str) else v for k, v in metadata.items()
    }


def iso_date(text: str) -> str:
    """The day that it says; the text itself if it says something else, too."""
    words = " ".join(text.split())
    found = next(filter(None, (form.fullmatch(words) for form in _FORMS)), None)
    if found is None:
        return text
    said = found.groupdict()
    month = int(said.get("number") or 0)
    month = month or _MONTHS.index(said["month"][:3].lower()) + 1
    try:
        return date(int(said["year"]), month, int(said["day"])).isoformat()
    except ValueError:
        return text
