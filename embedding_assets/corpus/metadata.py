"""Metadata: what a document says about itself, as it is kept with it.

Belongs here: one form for whatever front matter, pages, office files, mails and tables have. Does
not belong here: reading it (formats/), filtering by it (model/filters.py).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time

from embedding_assets.corpus.formats.text import clean

MAX_ENTRIES = 100
MAX_NAME_CHARS = 100
MAX_VALUE_CHARS = 1_000  # of a text, and of all the texts of a list together

_LISTS = (list, tuple, set, frozenset)

Metadata = dict[str, str | list[str]]


def tidied(raw: Mapping[str, object]) -> Metadata:
    """Texts and lists of texts, by name: what is empty is left out, what is too long is cut.

    What is nested has its names joined by dots. Dates are ISO 8601, truth is ``true`` or ``false``.
    """
    found: Metadata = {}
    for name, value in _flat("", raw):
        texts = list(_cut(_texts(value)))
        if texts and name:
            found[name] = texts if isinstance(value, _LISTS) else texts[0]
        if len(found) == MAX_ENTRIES:
            break
    return found


def as_json(metadata: Mapping[str, object]) -> str:
    """The same as one text, equal for equal metadata."""
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True)


def _flat(prefix: str, raw: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in raw.items():
        name = " ".join(clean(f"{prefix}{key}").split())[:MAX_NAME_CHARS]
        if not isinstance(value, Mapping):
            yield name, value
        elif len(name) < MAX_NAME_CHARS:  # nobody names what is deeper, and it may be endless
            yield from _flat(f"{name}.", value)


def _texts(value: object) -> Iterator[str]:
    items = value if isinstance(value, _LISTS) else [value]
    if isinstance(value, (set, frozenset)):
        items = sorted(items, key=str)  # or it is another list in each process
    for item in items:
        text = " ".join(clean(_text(item)).split())
        if text:
            yield text


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case date() | time():
            return value.isoformat()
        case str() | int() | float():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)


def _cut(texts: Iterable[str]) -> Iterator[str]:
    n_left = MAX_VALUE_CHARS
    for text in texts:
        if n_left <= 0:
            return
        yield text[:n_left]
        n_left -= len(text)
