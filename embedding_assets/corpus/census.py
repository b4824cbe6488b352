"""The census of a corpus: every file that was seen, and what became of it.

Belongs here: what may become of a file, the counts, their words. Does not belong here: finding
files (find.py), reading them (documents.py), where the census is kept (snapshots.py).
"""

import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Self

from embedding_assets.wording import count

MAX_SAMPLES = 10  # of each outcome and kind
MAX_KINDS = 200  # of each outcome: names may end in numbers, dates and hosts
_MAX_NAMED_KINDS = 4
NO_SUFFIX = "no suffix"
OTHER_SUFFIXES = "others"


class Outcome(StrEnum):
    """What became of a file; with all but the first two it is left out."""

    READ = "read"
    UNREADABLE = "unreadable"  # is listed with what is wrong; an earlier version may stand in
    EXCLUDED = "excluded by a pattern"  # of the settings or of a file in the corpus
    NOT_INCLUDED = "not among corpus.include"
    UNKNOWN_KIND = "of a kind that is not supported"
    UNWANTED_KIND = "of a kind that corpus.kinds does not name"
    NOT_INSTALLED = "of a kind that needs `pip install 'embedding-assets[documents]'`"
    HIDDEN = "hidden"  # its name, or that of a directory around it, begins with a dot
    LINK_OUT = "a link out of its corpus path, or to nothing"
    SAME_FILE = "another way to a file that is read"
    SPECIAL = "a device, a pipe or a socket"
    TABLE = "read as a table"  # by corpus.tables
    DRAFT = "a draft"  # by its own word, if corpus.skip_drafts is set
    TOO_DEEP = "in too many files in files"  # an attachment; this and the next two are no files
    OTHER_DRAFT = "marked as a draft"  # a row, an attachment, what a function has yielded
    SAME_ID = "with an id that another document has"  # the same

    @property
    def is_left_out(self) -> bool:
        return self not in (Outcome.READ, Outcome.UNREADABLE)

    @property
    def is_of_files(self) -> bool:
        return self not in (Outcome.TOO_DEEP, Outcome.OTHER_DRAFT, Outcome.SAME_ID)


class LeftOutError(Exception):
    """Raised where a file turns out to be no document once its content is seen."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A file that is no document, and why."""

    uri: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many files of a kind had one outcome."""

    outcome: Outcome
    kind: str  # the suffix, or NO_SUFFIX, or OTHER_SUFFIXES
    n_files: int
    samples: tuple[str, ...]  # the first few uris


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """All files of a corpus: by outcome, then the most frequent kinds first."""

    tallies: tuple[Tally, ...] = ()

    @property
    def counts(self) -> dict[Outcome, int]:
        """Files by outcome; those that there are."""
        counts: Counter[Outcome] = Counter()
        for tally in self.tallies:
            counts[tally.outcome] += tally.n_files
        return dict(counts)

    @property
    def n_files(self) -> int:
        return sum(n for outcome, n in self.counts.items() if outcome.is_of_files)

    @property
    def left_out(self) -> tuple[Tally, ...]:
        return tuple(tally for tally in self.tallies if tally.outcome.is_left_out)

    @property
    def summary(self) -> str:
        """All of it in one sentence."""
        counts = self.counts
        parts = [f"{counts.get(Outcome.READ, 0):,} read"]
        if Outcome.UNREADABLE in counts:
            parts.append(f"{counts[Outcome.UNREADABLE]:,} unreadable")
        left_out = {o: n for o, n in counts.items() if o.is_left_out and o.is_of_files}
        if left_out:
            reasons = "; ".join(
                f"{n:,} {o}: {self._kinds_in_words(o)}" for o, n in left_out.items()
            )
            parts.append(f"{sum(left_out.values()):,} left out ({reasons})")
        others = [f"{count(n, 'other')} {o}" for o, n in counts.items() if not o.is_of_files]
        return "; ".join([f"{count(self.n_files, 'file')}: {', '.join(parts)}", *others])

    def _kinds_in_words(self, outcome: Outcome) -> str:
        kinds = [tally for tally in self.tallies if tally.outcome is outcome]
        named = [f"{tally.n_files:,} {tally.kind}" for tally in kinds[:_MAX_NAMED_KINDS]]
        n_others = sum(tally.n_files for tally in kinds[_MAX_NAMED_KINDS:])
        return ", ".join([*named, f"{n_others:,} others"] if n_others else named)

    def as_json(self) -> str:
        return json.dumps([asdict(tally) for tally in self.tallies])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError if it is no census, or one of a later version."""
        return cls(tallies=tuple(map(_tally, json.loads(text))))


class Enumeration:
    """A census that is being taken."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Outcome, str]] = Counter()
        self._n_kinds: Counter[Outcome] = Counter()
        self._samples: defaultdict[tuple[Outcome, str], list[str]] = defaultdict(list)

    def add(self, uri: str, outcome: Outcome) -> None:
        """Count one file."""
        key = (outcome, PurePosixPath(uri).suffix.lower() or NO_SUFFIX)
        if key not in self._counts:
            if self._n_kinds[outcome] == MAX_KINDS:
                key = (outcome, OTHER_SUFFIXES)
            else:
                self._n_kinds[outcome] += 1
        self._counts[key] += 1
        if len(self._samples[key]) < MAX_SAMPLES:
            self._samples[key].append(uri)

    def leave_out(self, file: LeftOut) -> None:
        """Count one file that is no document."""
        self.add(file.uri, file.outcome)

    @property
    def census(self) -> Census:
        """Of all that was added so far."""
        order = list(Outcome)
        keys = sorted(self._counts, key=lambda key: (order.index(key[0]), -self._counts[key], key))
        return Census(
            tallies=tuple(
                Tally(
                    outcome=outcome,
                    kind=kind,
                    n_files=self._counts[outcome, kind],
                    samples=tuple(self._samples[outcome, kind]),
                )
                for outcome, kind in keys
            )
        )


def _tally(fields: dict[str, object]) -> Tally:
    try:
        outcome, samples = Outcome(str(fields["outcome"])), fields["samples"]
        kind, n_files = str(fields["kind"]), int(str(fields["n_files"]))
    except (KeyError, TypeError) as exc:
        raise ValueError(f"this is no tally: {fields!r}") from exc
    assert isinstance(samples, list)
    return Tally(outcome=outcome, kind=kind, n_files=n_files, samples=tuple(samples))
