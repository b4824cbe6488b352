"""Redaction: secrets are taken out by their value, whoever quotes them and in whichever form.

Belongs here: which values are secret, and a text, an error, a log record, a file without them. Does
not belong here: what a secret looks like (gemini/client.py), and the places from which words leave.
"""

import html
import json
import logging
import os
import re
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from mmap import mmap
from pathlib import Path
from urllib.parse import quote

# The SDK's own order: GOOGLE_API_KEY wins over GEMINI_API_KEY (google-genai 3.4, _api_client.py).
KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")

# What is shorter is hardly secret, and stands in any text.
_MIN_CHARS = 6
_MIN_PATH_CHARS = 16

_kept: set[str] = set()


class RedactedError(Exception):
    """What is left of an error that quoted a secret: its words and its traceback as text."""


def keep_secret(value: str) -> None:
    """From now on a secret of this process, as the keys in its environment are."""
    _kept.add(value)


def redacted(text: str) -> str:
    """The text without secrets: … stands in their place."""
    pattern = _pattern(_secrets())
    return pattern.sub("…", text) if pattern else text


def redact_file(path: Path) -> None:
    """Overwrite secrets in a file that came from elsewhere; its length and its lines stay."""
    if not path.stat().st_size:  # what is empty cannot be mapped
        return
    with path.open("r+b") as file, mmap(file.fileno(), 0) as content:
        for secret in map(_bytes, _secrets()):
            place = -1
            while (place := content.find(secret, place + 1)) >= 0:
                content[place : place + len(secret)] = b"*" * len(secret)


def cleared(exc: Exception) -> Exception:
    """The error, or one in its place if it or one of its causes quotes a secret."""
    told = "".join(traceback.format_exception(exc))
    if redacted(told) == told:
        return exc
    words = "".join(traceback.format_exception_only(exc))
    return RedactedError(redacted(f"{words}\n{told}"))


def redacted_record(record: logging.LogRecord) -> bool:
    """A filter for the logger of a library that quotes what it was sent."""
    record.msg, record.args = redacted(record.getMessage()), ()
    return True


def _secrets() -> frozenset[str]:
    """Those of this moment: an environment may change."""
    values = (*(os.environ.get(name, "") for name in KEY_VARIABLES), *_kept)
    return frozenset(value for value in map(str.strip, values) if len(value) >= _MIN_CHARS)


@lru_cache(maxsize=8)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    found = {form for secret in secrets for part in _parts(secret) for form in _forms(part)}
    alternatives = "|".join(map(_flexible, sorted(found, key=len, reverse=True)))
    return re.compile(alternatives, re.IGNORECASE) if alternatives else None


def _parts(secret: str) -> Iterator[str]:
    """The secret, and of an address what follows the host, which errors quote alone."""
    yield secret
    _, has_host, address = secret.partition("://")
    path = address.partition("/")[2]
    if has_host and len(path) >= _MIN_PATH_CHARS:
        yield path


def _forms(secret: str) -> Iterable[str]:
    """As it is, and as JSON, Python, an address, HTML and an encoder write it."""
    as_bytes = _bytes(secret)
    as_base64 = (b64encode(as_bytes), urlsafe_b64encode(as_bytes))
    quoted = (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret))
    return (
        secret,
        *(text[1:-1] for text in (*quoted, ascii(secret))),
        repr(as_bytes)[2:-1],
        quote(as_bytes),
        quote(as_bytes, safe=""),
        html.escape(secret),
        *(text.decode().rstrip("=") for text in as_base64),
    )


def _bytes(secret: str) -> bytes:
    return secret.encode("utf-8", "surrogateescape")


def _flexible(form: str) -> str:
    """White space in it may have become other white space, as in a message of one line."""
    return r"\s+".join(map(re.escape, form.split()))
