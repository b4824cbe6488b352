"""Sources: a function of a person's own that yields documents, such as the pages of a wiki.

Belongs here: finding the function, calling it, and what is said if that fails. Does not belong
here: what it yields, and reading that (given.py).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from embedding_assets.corpus.given import SourceDocument
from embedding_assets.errors import CorpusError
from embedding_assets.redaction import redacted
from embedding_assets.wording import count

_MAX_REASON_CHARS = 500
_END = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A function without arguments, by its name in the settings."""

    name: str
    function: Callable[[], Any]

    @classmethod
    def load(cls, name: str, folder: Path) -> Self:
        """Import ``package.module:function``, which is installed or in ``folder``.

        Raises CorpusError if there is no such function.
        """
        module_name, _, function_name = name.partition(":")
        place = str(folder.absolute())
        if place not in sys.path:
            sys.path.append(place)  # last: no file of theirs takes the place of a library
        try:
            with redirect_stdout(sys.stderr):
                module = import_module(module_name)
        except (Exception, SystemExit) as exc:
            raise _error(name, f"cannot be imported, from {place!r} neither", exc) from exc
        function = getattr(module, function_name, None)
        if not callable(function):
            raise CorpusError(
                f"corpus.source {name!r}: {module.__file__} has no function {function_name!r}"
            )
        return cls(name=name, function=function)

    def documents(self) -> Iterator[SourceDocument]:
        """Call the function and yield what it yields.

        Raises CorpusError if it fails, or yields something else: to go on without the others would
        be to take them for removed.
        """
        n_yielded = 0
        try:
            for document in self._yielded():
                yield self._checked(document)
                n_yielded += 1
        except CorpusError:
            raise
        except (Exception, SystemExit) as exc:
            raise _error(self.name, f"failed after {count(n_yielded, 'document')}", exc) from exc

    def _yielded(self) -> Iterator[object]:
        """What it prints meanwhile is no answer of ours: it goes where notes go."""
        with redirect_stdout(sys.stderr):
            documents = iter(self.function())
        while True:
            with redirect_stdout(sys.stderr):
                document = next(documents, _END)
            if document is _END:
                return
            yield document

    def _checked(self, document: object) -> SourceDocument:
        if not isinstance(document, SourceDocument):
            raise CorpusError(
                f"corpus.source {self.name!r} must yield embedding_assets.SourceDocument, "
                f"not {type(document).__name__}"
            )
        return document


def _error(name: str, what: str, exc: BaseException) -> CorpusError:
    said = redacted(" ".join(str(exc).split()))[:_MAX_REASON_CHARS]
    return CorpusError(
        f"corpus.source {name!r} {what} ({type(exc).__name__}: {said}); nothing is read without "
        "it: correct it and try again"
    )
