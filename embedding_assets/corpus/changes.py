"""Changes: what one reading of the corpus has that the one before had not, and the other way round.

Belongs here: the few facts of a document that are compared, the comparison, its words and rows.
Does not belong here: reading (pipeline/read.py), where the facts are kept (snapshots.py).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice

from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.formats.extraction import Reader
from embedding_assets.wording import count

MAX_SAMPLES = 5  # of each kind


class Kind(StrEnum):
    """What became of a document."""

    ADDED = "added"
    CHANGED = "changed"
    MOVED = "moved"  # under another uri, and gone from its old one
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    UNREADABLE = "unreadable"  # kept or not


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is remembered of a document of a snapshot, without its text."""

    uri: str
    row: int  # its place in that snapshot
    sha256: str
    media_type: str
    within: str
    has_text: bool
    signature: str
    extraction: str
    unreadable_since: datetime | None

    def is_good_for(self, reader: Reader) -> bool:
        """It has a text, and that would be extracted in the same way now."""
        return self.has_text and self.extraction == reader.fingerprint_of(self.media_type)

    def is_as_signed_by(self, document: Document) -> bool:
        """The document was taken over by its signature alone."""
        is_same_text = self.extraction == document.extraction
        return is_same_text and self.signature == document.signature != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One document that is not what or where it was."""

    kind: Kind
    uri: str
    from_uri: str = ""  # of one that was moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Documents by what became of them; those of all kinds but ``removed`` are there now."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    unreadable: int = 0
    samples: tuple[Change, ...] = ()  # the first few of each kind

    @property
    def counts(self) -> dict[str, int]:
        """By the names of the kinds."""
        return {kind.value: getattr(self, kind.value) for kind in Kind}

    @property
    def documents(self) -> int:
        return sum(self.counts.values()) - self.removed

    @property
    def summary(self) -> str:
        """All of it in one sentence."""
        unreadable = f", {self.unreadable:,} unreadable" if self.unreadable else ""
        return (
            f"{count(self.documents, 'document')}: {self.added:,} added, {self.changed:,} changed, "
            f"{self.moved:,} moved, {self.unchanged:,} unchanged{unreadable}; "
            f"{self.removed:,} removed"
        )


class Comparison:
    """A pass over the documents that are there now, beside those that were."""

    def __init__(self, earlier: Mapping[str, Known]) -> None:
        self._gone = dict(earlier)  # by uri; what is seen is taken out
        self._new: list[tuple[str, str]] = []  # uri and sha256
        self._seen: list[Change] = []
        self._n_unchanged = 0
        self.n_reused = 0  # documents that were not read again

    def look_at(self, documents: Iterable[Document]) -> None:
        """Take some more documents into account."""
        for document in documents:
            known = self._gone.pop(document.uri, None)
            if document.error_message is not None:
                self._seen.append(Change(kind=Kind.UNREADABLE, uri=document.uri))
            elif known is None:
                self._new.append((document.uri, document.sha256))
            elif known.has_text and known.sha256 == document.sha256:
                self._n_unchanged += 1
                self.n_reused += known.is_as_signed_by(document)
            else:
                self._seen.append(Change(kind=Kind.CHANGED, uri=document.uri))

    def changes(self) -> Changes:
        """The result, once every document has been looked at."""
        moved = dict(self._pair())
        origins = set(moved.values())
        changes = [
            *self._seen,
            *(Change(kind=Kind.MOVED, uri=uri, from_uri=origin) for uri, origin in moved.items()),
            *(Change(kind=Kind.ADDED, uri=uri) for uri, _ in self._new if uri not in moved),
            *(Change(kind=Kind.REMOVED, uri=uri) for uri in self._gone if uri not in origins),
        ]
        counts = Counter(change.kind for change in changes)
        return Changes(
            **{kind.value: n for kind, n in counts.items()},
            unchanged=self._n_unchanged,
            samples=tuple(
                change
                for kind in Kind
                for change in islice((c for c in changes if c.kind is kind), MAX_SAMPLES)
            ),
        )

    def _pair(self) -> Iterator[tuple[str, str]]:
        """Each new uri whose content is that of one that is gone, with that one; one to one."""
        gone: dict[str, list[str]] = defaultdict(list)
        for uri, known in reversed(self._gone.items()):
            if known.has_text:
                gone[known.sha256].append(uri)
        for uri, sha256 in self._new:
            if gone.get(sha256):
                yield uri, gone[sha256].pop()
