"""Vectors made from words: deterministic, fast, with real lexical signal. They are not semantic.

Two texts are close when they share words (folded: "compressing" is "compression") and,
a little, when their words share letters. Synonyms are strangers to each other.
Nothing about models, requests or HTTP belongs here.
"""

import hashlib
import re
from collections import Counter
from functools import lru_cache
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt

FULL_DIMENSIONS = 3072

_WORD_SLOTS = 8
_NGRAM_SLOTS = 12
_NGRAM_CHARACTERS = 3
_NGRAM_SHARE = 0.25
_HASH_BYTES = 4
_SLOT_WEIGHTS = np.concatenate(
    [
        np.full(_WORD_SLOTS, (1 / _WORD_SLOTS) ** 0.5),
        np.full(_NGRAM_SLOTS, _NGRAM_SHARE * (1 / _NGRAM_SLOTS) ** 0.5),
    ]
)

# Camel case is taken apart, so that "GzipFile" is found by "gzip" and by "file".
_ASCII_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_ANY_WORD = re.compile(r"[^\W\d_]*[^\W\d_a-zA-Z][^\W\d_]*|" + _ASCII_WORD.pattern)
_FIRST_UNSPACED_SCRIPT = "\u2e80"  # Chinese, Japanese and Korean begin here
_SUFFIXES = ("ations", "ation", "ings", "ing", "ions", "ion", "ers", "er", "ors", "or", "ed", "e")
_SHORTEST_STEM = 4

_STOP_WORD_WEIGHT = 0.03
_COMMON_WORD_WEIGHT = 0.4
_STOP_WORD_LIST = """
    a about after all also an and any are as at be been before being between both but by can
    could did do does doing down each either else even every few for from further had has have
    having he her here him his how i if in into is isn it its itself just may me might more most
    must my neither no nor not now of off on once one only or other our out over own s same shall
    she should so some such t than that the their them then there these they this those through
    to too under until up upon us very was we were what when where whether which while who whom
    why will with within without would you your
"""
_COMMON_WORD_LIST = """
    argument attribute builtin call class code data def default define example exception false
    function get give given help instance int kind kwarg len like list make method module name
    new none note number object optional package parameter path python raise return self set str
    string true tuple two type use used using value version way work
"""
_STOP_WORDS = frozenset(_STOP_WORD_LIST.split())


def embed(
    text: str, dimensions: int, *, space: str = "", unit_length: bool = False
) -> npt.NDArray[np.float32]:
    """The vector of a text: float32, shape (dimensions,), never zero, always the same.

    Its length is 1 at 3,072 dimensions or when `unit_length` is asked for. Below that it is
    between 0.6 and 0.8 depending on the text, as gemini-embedding-001 leaves truncated vectors
    unnormalised. Vectors of different `space`s have nothing in common.
    """
    counts = Counter(_stems(text)) or Counter([text])
    hashes = _hashes(counts, space)
    weights = _importance(counts)[:, None] * _SLOT_WEIGHTS
    signed = np.where(hashes & 1, weights, -weights)
    positions = (hashes >> 1) % dimensions
    vector = np.bincount(positions.ravel(), weights=signed.ravel(), minlength=dimensions)
    length = float(np.sqrt(vector @ vector))
    if length == 0.0:  # every feature met its opposite: possible in a handful of dimensions
        vector[0] = length = 1.0
    wanted = 1.0 if unit_length or dimensions == FULL_DIMENSIONS else _raw_length(hashes)
    return (vector * (wanted / length)).astype(np.float32)


def count_tokens(text: str) -> int:
    """About as many tokens as Gemini would count: 4 ASCII or 1.5 other characters each, min 1."""
    n_ascii = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    n_other = len(text) - n_ascii
    return max(1, -(-(3 * n_ascii + 8 * n_other) // 12))


def _stems(text: str) -> list[str]:
    stems: list[str] = []
    for word in (_ASCII_WORD if text.isascii() else _ANY_WORD).findall(text):
        stems += _fold(word)
    return stems


@lru_cache(maxsize=1 << 17)
def _fold(word: str) -> tuple[str, ...]:
    """The stem of a word; scripts written without spaces are cut into pairs of characters."""
    lowered = word.lower()
    if max(lowered) >= _FIRST_UNSPACED_SCRIPT:
        return tuple(lowered[i : i + 2] for i in range(max(1, len(lowered) - 1)))
    if lowered in _STOP_WORDS:
        return (lowered,)
    return (_without_suffix(_singular(lowered)),)


def _singular(word: str) -> str:
    if len(word) <= _SHORTEST_STEM - 1 or not word.endswith("s") or word.endswith(("ss", "us")):
        return word
    return word[:-3] + "y" if word.endswith("ies") else word[:-1]


def _without_suffix(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM:
            return word[: -len(suffix)]
    return word


def _hashes(stems: Counter[str], space: str) -> npt.NDArray[np.uint32]:
    """One row a stem, one column a slot: whole-word slots first, letter n-grams after them."""
    joined = b"".join([_features(stem, space) for stem in stems])
    return np.frombuffer(joined, dtype="<u4").reshape(len(stems), -1)


@lru_cache(maxsize=1 << 17)
def _features(stem: str, space: str) -> bytes:
    digest = hashlib.blake2b(f"{space}|{stem}".encode(), digest_size=_WORD_SLOTS * _HASH_BYTES)
    marked = f"<{stem}>"
    ngrams = (marked[i : i + _NGRAM_CHARACTERS] for i in range(len(marked) - 2))
    # Short words repeat their n-grams, so that letters weigh the same in every word.
    filled = islice(cycle(list(ngrams)), _NGRAM_SLOTS)
    return digest.digest() + b"".join(_ngram_hash(ngram, space) for ngram in filled)


@lru_cache(maxsize=1 << 16)
def _ngram_hash(ngram: str, space: str) -> bytes:
    return hashlib.blake2b(f"{space}#{ngram}".encode(), digest_size=_HASH_BYTES).digest()


def _importance(counts: Counter[str]) -> npt.NDArray[np.float64]:
    frequencies = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
    rarity = np.fromiter(map(_rarity, counts), dtype=np.float64, count=len(counts))
    return (1 + np.log(frequencies)) * rarity


@lru_cache(maxsize=1 << 17)
def _rarity(stem: str) -> float:
    """How much a word is likely to tell about its text, guessed without a corpus."""
    if stem in _STOP_WORDS or len(stem) == 1:
        return _STOP_WORD_WEIGHT
    if stem in _COMMON_STEMS or stem.isdigit():
        return _COMMON_WORD_WEIGHT
    return 1.0


def _raw_length(hashes: npt.NDArray[np.uint32]) -> float:
    return 0.6 + 0.2 * float(hashes.sum(dtype=np.uint64) % np.uint64(1000)) / 1000


_COMMON_STEMS = frozenset(stem for word in _COMMON_WORD_LIST.split() for stem in _fold(word))
