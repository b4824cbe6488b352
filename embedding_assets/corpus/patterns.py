"""Patterns: which files of a corpus are left out on purpose, in the syntax of .gitignore.

Belongs here: the settings' patterns and those of files in the corpus, and which of them decides.
Does not belong here: searching (find.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from embedding_assets.corpus.census import Outcome
from embedding_assets.errors import CorpusError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

# Stands in a directory of the corpus, and holds for what is below it.
IGNORE_FILE = ".embeddingignore"


class _IgnoreFile(NamedTuple):
    directory: str  # below the root, with a slash at its end; empty for the root itself
    spec: "GitIgnoreSpec"


@dataclass(frozen=True, slots=True)
class Patterns:
    """What is left out of the files below a root; paths are relative to that, with slashes.

    A file in the corpus decides before the settings do, one further down before one further up,
    and of several patterns the last that matches, as git has it.
    """

    _include: "GitIgnoreSpec | None" = None
    _exclude: "GitIgnoreSpec | None" = None
    _ignore_files: tuple[_IgnoreFile, ...] = ()  # the innermost first

    @classmethod
    def of(cls, include: Sequence[str], exclude: Sequence[str]) -> Self:
        """With nothing in ``include`` everything is included. Raises ValueError for no pattern."""
        wanted = _spec_of(include) if include else None
        return cls(wanted, _spec_of(exclude) if exclude else None)

    def within(self, directory: str, read: Callable[[], bytes]) -> Self:
        """The same below a directory in which there is an IGNORE_FILE; ``read`` returns its bytes.

        Raises CorpusError if it cannot be read, or has a line that is no pattern.
        """
        try:
            spec = _spec_of(read().decode("utf-8-sig").splitlines())
        except (OSError, ValueError) as exc:
            raise CorpusError(
                f"{directory + IGNORE_FILE!r} cannot be used ({exc}); correct it or remove it"
            ) from exc
        ignore_files = (_IgnoreFile(directory, spec), *self._ignore_files)
        return type(self)(self._include, self._exclude, ignore_files)

    def reason_against(self, path: str) -> Outcome | None:
        """Why a file is not wanted, if it is not."""
        if self.exclude(path):
            return Outcome.EXCLUDED
        is_included = self._include is None or self._include.match_file(path)
        return None if is_included else Outcome.NOT_INCLUDED

    def exclude(self, path: str) -> bool:
        """Whether a file, or with a slash at its end a directory and all below it, is excluded."""
        for directory, spec in self._ignore_files:
            verdict = spec.check_file(path.removeprefix(directory)).include
            if verdict is not None:
                return verdict
        return self._exclude is not None and self._exclude.match_file(path)


def _spec_of(patterns: Sequence[str]) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(patterns)
