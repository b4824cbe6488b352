"""Token estimates: from the characters of a text, corrected by what Gemini billed for others.

Belongs here: the estimator and its calibration. Does not belong here: prices (money/prices.py)
and where billed texts are found (store/shards.py).
numpy is loaded when something is calibrated: ``--help`` needs none of it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedding_assets.model.vectors import FloatArray

# Characters per token, by the length of a character in UTF-8, which tells scripts apart cheaply.
# Rather too few, so that the first estimate is rather too high. They decide where chunks over the
# model's input limit are cut: whoever changes them raises CHUNKING_VERSION.
DEFAULT_CHARS_PER_TOKEN = (
    3.5,  # ASCII: measured on technical documentation in English; prose runs to four and more
    1.5,  # Latin with marks, Greek, Cyrillic, Hebrew, Arabic: prose has two to three
    1.0,  # Chinese, Japanese, Korean, Indic, Thai: prose has 1.3 to 2, rare scripts fewer
    0.5,  # emoji and rare characters: one token for a common emoji, up to a token a byte
)

# Where billed tokens are beyond this factor of the default, in either direction, they are not
# believed: a garbled count must not make a plan free.
MAX_CORRECTION = 4.0

# The weight of the default: it counts as much as this many billed tokens, in every class.
_PRIOR_TOKENS = 1000.0

_N_CLASSES = len(DEFAULT_CHARS_PER_TOKEN)
_NOT_ASCII = bytes(range(0x80, 0x100))
_MAX_SWEEPS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEstimator:
    """How many tokens a text will probably be billed for.

    A sum over its characters, so that a text never gets cheaper by growing and its parts never
    come to fewer tokens than the whole.
    """

    chars_per_token: tuple[float, ...] = DEFAULT_CHARS_PER_TOKEN
    n_samples: int = 0
    ratio: float = 1.0  # tokens billed for the samples, over the default estimate of them

    def __post_init__(self) -> None:
        if len(self.chars_per_token) != _N_CLASSES or min(self.chars_per_token) <= 0:
            raise ValueError(
                f"{_N_CLASSES} positive rates are needed, found {self.chars_per_token!r}"
            )

    @classmethod
    def calibrated(cls, samples: Iterable[tuple[str, int]]) -> "TokenEstimator":
        """Learn from texts as they were sent and the tokens billed for them.

        Classes of characters that the samples do not have keep their default rate. The result
        depends on the samples alone, not on their order but for the last digits.
        """
        import numpy as np

        counted = [(_count_characters(text), tokens) for text, tokens in samples]
        if not counted:
            return DEFAULT
        # Columns: how much each class adds to the default estimate of each text.
        parts = np.array([n_chars for n_chars, _ in counted]) / DEFAULT_CHARS_PER_TOKEN
        billed = np.array([tokens for _, tokens in counted], dtype=np.float64)
        estimated = np.maximum(parts.sum(axis=1), 1.0)
        billed = np.clip(billed, estimated / MAX_CORRECTION, estimated * MAX_CORRECTION)
        corrections = _fit(parts, billed - 0.5, estimated)  # estimate() adds it by rounding up
        return cls(
            chars_per_token=tuple((DEFAULT_CHARS_PER_TOKEN / corrections).tolist()),
            n_samples=len(counted),
            ratio=float(billed.sum() / estimated.sum()),
        )

    @property
    def basis(self) -> str:
        """What the estimate rests on, for people."""
        if not self.n_samples:
            return f"{self.chars_per_token[0]:g} bytes a token in English, nothing billed yet"
        return f"calibrated on {self.n_samples:,} billed requests, ratio {self.ratio:.2f}"

    def estimate(self, text: str) -> int:
        """Tokens of a text as it is sent, rounded up; at least one."""
        return max(1, math.ceil(self.weigh(text)))

    def weigh(self, text: str) -> float:
        """The same before it is rounded: a text weighs what its parts weigh."""
        rates = self.chars_per_token
        if text.isascii():
            return len(text) / rates[0]
        counts = _count_characters(text)
        return sum(n / rate for n, rate in zip(counts, rates, strict=True))


DEFAULT = TokenEstimator()


def _count_characters(text: str) -> tuple[int, int, int, int]:
    """How many characters take one, two, three and four bytes."""
    if text.isascii():
        return len(text), 0, 0, 0
    in_bytes = text.encode()
    n_one = len(in_bytes.translate(None, _NOT_ASCII))
    n_four = len(text.encode("utf-16-le")) // 2 - len(text)  # in UTF-16 they alone take two units
    n_others = len(text) - n_one - n_four
    n_three = len(in_bytes) - n_one - 4 * n_four - 2 * n_others
    return n_one, n_others - n_three, n_three, n_four


def _fit(parts: "FloatArray", billed: "FloatArray", estimated: "FloatArray") -> "FloatArray":
    """The factor for each class of characters that explains best what was billed.

    Least squares, each text weighed by one over its size: so the sum over all texts comes out
    right. The default pulls every factor towards one, and none leaves its bounds.
    """
    import numpy as np

    weighted = parts / estimated[:, None]
    matrix = weighted.T @ parts + _PRIOR_TOKENS * np.eye(_N_CLASSES)
    target = weighted.T @ billed + _PRIOR_TOKENS
    factors = np.ones(_N_CLASSES)
    for _ in range(_MAX_SWEEPS):  # coordinate descent: exact also where a bound holds
        before = factors.copy()
        for k in range(_N_CLASSES):
            others = matrix[k] @ factors - matrix[k, k] * factors[k]
            best = (target[k] - others) / matrix[k, k]
            factors[k] = np.clip(best, 1 / MAX_CORRECTION, MAX_CORRECTION)
        if np.allclose(factors, before, rtol=1e-9, atol=0.0):
            break
    return factors
