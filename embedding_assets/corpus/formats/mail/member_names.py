"""Names of files in a file: fit for the end of a uri, and each another one.

Belongs here: what a name may have in it. Does not belong here: where names come from (message.py,
mbox.py).
"""

import re
from collections.abc import Iterable, Iterator
from itertools import count

MAX_NAME_CHARS = 150

_NOT_IN_NAMES = re.compile(r"[\0-\x1f\x7f-\x9f/\\:*?\"<>|#%\ud800-\udfff]+")


def safe_name(name: str) -> str:
    """The name on one line, without what some file system or uri has no place for."""
    return _short(_NOT_IN_NAMES.sub("_", " ".join(name.split())).strip(". "))


def unique(names: Iterable[str]) -> Iterator[str]:
    """The names in their order; one that was there before gets a number: ``a.pdf``, ``a-2.pdf``."""
    taken: set[str] = set()
    numbers: dict[str, Iterator[int]] = {}
    for name in names:
        chosen = name
        while chosen in taken:
            stem, dot, suffix = _split(name)
            chosen = f"{stem}-{next(numbers.setdefault(name, count(2)))}{dot}{suffix}"
        taken.add(chosen)
        yield chosen


def _short(name: str) -> str:
    stem, dot, suffix = _split(name)
    return f"{stem[: MAX_NAME_CHARS - len(suffix) - 1]}{dot}{suffix}"


def _split(name: str) -> tuple[str, str, str]:
    """What is before the last dot, the dot, and a suffix, if that looks like one."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot, suffix) if stem and len(suffix) <= 10 else (name, "", "")
