"""Rulers: how large a part of a text is, against what a chunk may have.

Belongs here: characters and tokens as one size. Does not belong here: who asks (packing.py).
"""

from dataclasses import dataclass

from embedding_assets.model.tokens import DEFAULT, DEFAULT_CHARS_PER_TOKEN

MAX_TOKENS_PER_CHAR = 1 / min(DEFAULT_CHARS_PER_TOKEN)

_TOKENS_PER_ASCII_CHAR = 1 / DEFAULT_CHARS_PER_TOKEN[0]
_ABOVE_ROUNDING = 1 + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """Sizes of parts of ``text``: characters, or more where tokens are dearer than that.

    What has at most the size ``max_chars`` has no more characters than that and no more than
    ``max_tokens`` tokens. Sizes add up: that of a text is at most the sum of its parts'.
    """

    text: str
    max_chars: int
    max_tokens: int
    is_in_chars: bool  # tokens cannot matter, even if all that are dear were in one part

    @classmethod
    def of(cls, text: str, *, max_chars: int, max_tokens: int) -> "Ruler":
        n_extra = DEFAULT.weigh(text) - len(text) * _TOKENS_PER_ASCII_CHAR
        is_in_chars = max_chars * _TOKENS_PER_ASCII_CHAR + n_extra <= max_tokens
        return cls(text=text, max_chars=max_chars, max_tokens=max_tokens, is_in_chars=is_in_chars)

    def size(self, start: int, end: int) -> float:
        return end - start if self.is_in_chars else self.size_of(self.text[start:end])

    def size_of(self, text: str) -> float:
        if self.is_in_chars:
            return len(text)
        share = DEFAULT.weigh(text) / self.max_tokens
        return max(len(text), share * self.max_chars * _ABOVE_ROUNDING)
