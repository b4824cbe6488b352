"""A passage: what is embedded as one, and what makes it the same as another.

Belongs here: the value and its content hash. Does not belong here: how it is put to a model
(spec.py), how a document is cut into such (corpus/chunks.py).
"""

import hashlib
from dataclasses import dataclass

# Between the parts of a path, and of a section.
PATH_SEPARATOR = " › "

_SEPARATOR = "\0"  # which no text has


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text, and the path that says what it is about: title › headings › term; or none."""

    text: str
    path: str = ""

    @property
    def sha256(self) -> bytes:
        """The 32 bytes that identify the content: equal ones are bought once.

        Without a path it is the SHA-256 of the text's UTF-8.
        """
        content = f"{self.path}{_SEPARATOR}{self.text}" if self.path else self.text
        return hashlib.sha256(content.encode()).digest()
