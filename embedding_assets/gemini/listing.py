"""A list at Gemini: page by page, entry by entry, each entry once.

Belongs here: where a list ends, and which of its entries are believed. Does not belong here: what
an entry says (operations.py), the calls (client.py).
"""

from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from embedding_assets.gemini.operations import UnreadableError

_MAX_PAGES = 1_000  # of a hundred entries
_MAX_PAGES_WITHOUT_NEWS = 20  # in a row; a filter on Gemini's side may leave some of them empty


class Named(Protocol):
    """What is known by a name."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


class Listing(Generic[T]):
    """A list as Gemini gives it, the newest first, read as far as it is iterated over.

    What is not ours and cannot be read is left out. Whatever may have kept an entry of ours from
    us is among ``problems``, a sentence each: then nothing is known to be absent.
    """

    def __init__(
        self,
        field: str,
        fetch: Callable[[str], dict[str, Any]],
        read: Callable[[object], T | None],
    ) -> None:
        """``fetch`` gets the page of a token, ``read`` reads an entry as operations.py does."""
        self.problems: list[str] = []
        self._field = field
        self._fetch = fetch
        self._read = read

    def __iter__(self) -> Iterator[T]:
        names: set[str] = set()
        tokens = [""]
        n_dull = 0
        while True:
            page = self._fetch(tokens[-1])
            n_before = len(names)
            for found in self._entries(page):
                if found.name not in names:
                    names.add(found.name)
                    yield found
            n_dull = 0 if len(names) > n_before else n_dull + 1
            token = page.get("nextPageToken")
            if not token:
                return
            why = _reason_to_stop(token, tokens, n_dull)
            if why is not None:
                self._say(f"it {why} after {len(names):,} entries")
                return
            tokens.append(token)

    def _entries(self, page: dict[str, Any]) -> Iterator[T]:
        """What can be read of a page."""
        entries = page.get(self._field, [])
        if not isinstance(entries, list):
            self._say(f"a page of it has {type(entries).__name__} for entries")
            return
        n_read = 0
        for entry in entries:
            try:
                found = self._read(entry)
            except UnreadableError as exc:
                self.problems.append(str(exc))
                continue
            if found is not None:
                n_read += 1
                yield found
        if entries and not n_read:
            self._say(f"none of the {len(entries):,} entries of a page can be read")

    def _say(self, what: str) -> None:
        self.problems.append(f"Gemini's list of {self._field} cannot be read to its end: {what}")


def _reason_to_stop(token: object, tokens: list[str], n_dull: int) -> str | None:
    """Why the next page is not asked for, although there is said to be one."""
    if not isinstance(token, str):
        return f"names a next page by {type(token).__name__}"
    if token in tokens:
        return "names a page as the next one that was read already"
    if n_dull >= _MAX_PAGES_WITHOUT_NEWS:
        return f"has had nothing new on {n_dull} pages"
    return "does not end" if len(tokens) >= _MAX_PAGES else None
