"""Vectors: scaled, encoded, and what is wrong with a bad one.

Belongs here: the arithmetic on one vector. Does not belong here: where vectors come from
(results.py) and where they are kept (store/).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

_MIN_LENGTH = float(np.finfo(np.float32).tiny)  # what is shorter is no direction but noise
_MAX_LENGTH_ERROR = 1e-3
_BYTES_PER_VALUE = 4


@np.errstate(over="ignore", invalid="ignore")
def unit_vector(values: FloatArray, *, dimensions: int) -> bytes:
    """Scale to length 1 and encode. Raises ValueError for what is still a bad vector then.

    Only 3,072-dimensional vectors come normalised from gemini-embedding-001 (Gemini embeddings
    guide); normalising again does no harm.
    """
    if values.shape != (dimensions,):
        raise ValueError(f"a vector of {values.size} values came, {dimensions} were asked for")
    values = values.astype(np.float64, copy=False)
    length = np.linalg.norm(values)
    unit: FloatArray = (values / np.maximum(length, _MIN_LENGTH)).astype("<f4")
    if not _are_good(np.linalg.norm(unit)):
        is_zero = np.isfinite(length)
        flaw = "is zero" if is_zero else "has a value that is not a finite number"
        raise ValueError(f"the vector {flaw}")
    return unit.tobytes()


def _are_good(lengths: Any) -> Any:
    """Whether stored vectors of these lengths may be served."""
    # Not the other way round: a comparison with NaN is false.
    return np.abs(lengths - 1) <= _MAX_LENGTH_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class BadVector:
    """A stored vector that must not be served, and why."""

    spec_id: int
    chunk_id: int
    flaw: str


def find_bad_vectors(
    rows: Sequence[tuple[int, bytes]], *, spec_id: int, dimensions: int
) -> Iterator[BadVector]:
    """Of (chunk_id, vector), those of a wrong length in bytes, not finite, or not of length 1."""
    n_bytes = dimensions * _BYTES_PER_VALUE
    for chunk_id, vector in rows:
        if len(vector) != n_bytes:
            flaw = f"{len(vector):,} bytes, not {n_bytes:,}"
            yield BadVector(spec_id=spec_id, chunk_id=chunk_id, flaw=flaw)
    whole = [row for row in rows if len(row[1]) == n_bytes]
    values = np.frombuffer(b"".join(vector for _, vector in whole), dtype="<f4")
    matrix = values.reshape(len(whole), dimensions)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(matrix, axis=1)
        are_good = _are_good(lengths)
    for row in np.flatnonzero(~are_good):
        is_finite = bool(np.isfinite(matrix[row]).all())
        flaw = f"length {lengths[row]:.4g}, not 1" if is_finite else "a value that is not finite"
        yield BadVector(spec_id=spec_id, chunk_id=whole[row][0], flaw=flaw)
