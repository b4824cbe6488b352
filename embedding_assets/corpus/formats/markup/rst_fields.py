"""Fields of reStructuredText that are about the document, such as ``:Author: Ada``.

Belongs here: what a list of fields says. Does not belong here: where such lists stand (rst.py).
"""

import re
from collections.abc import Iterable

from embedding_assets.corpus.formats.names import listed, with_common_names

_FIELD = re.compile(r":(?![: ])((?:[^:`\\]|\\.)+):(?: +(.*)|$)")
_BULLET = re.compile(r"[-+*\u2022] +")
_BY_VERSION_CONTROL = re.compile(r"\$[A-Z]\w*: (.*)\$")


def said_in_fields(lines: Iterable[str]) -> dict[str, object]:
    """Names and values, under the common names; attributes behind a name are left out."""
    bodies: dict[str, list[str]] = {}
    body: list[str] = []
    for line in map(str.strip, lines):
        if field := _FIELD.match(line):
            body = bodies.setdefault(field[1].split()[0].lower(), [])
            line = field[2] or ""
        if line:
            body.append(line)
    return with_common_names({name: _value(name, body) for name, body in bodies.items()})


def _value(name: str, body: list[str]) -> object:
    text = " ".join(body)
    if name == "authors":
        is_list = all(map(_BULLET.match, body))
        return [_BULLET.sub("", line, count=1) for line in body] if is_list else listed(text)
    kept = _BY_VERSION_CONTROL.fullmatch(text)
    return kept[1] if kept else text
