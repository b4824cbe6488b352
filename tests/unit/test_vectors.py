"""Vectors: what is stored may be served, and what may not be served is found."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from embedding_assets.model.vectors import BadVector, find_bad_vectors, unit_vector


def test_unit_vector_checks_the_shape() -> None:
    """A matrix of the right number of values is no vector."""
    with pytest.raises(ValueError, match="were asked for"):
        unit_vector(np.ones((2, 2)), dimensions=4)


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_a_vector_that_was_stored_is_a_good_one(values: list[float]) -> None:
    """What collection scales and stores is never found to be bad."""
    assume(max(map(abs, values)) > 1e-9)
    vector = unit_vector(np.array(values), dimensions=4)
    assert list(find_bad_vectors([(7, vector)], spec_id=1, dimensions=4)) == []


@given(st.lists(st.floats(), min_size=4, max_size=4))
def test_what_cannot_be_made_a_good_one_is_refused(values: list[float]) -> None:
    """Not finite, too long to be measured or too short: nothing that is found to be bad is made."""
    try:
        vector = unit_vector(np.array(values), dimensions=4)
    except ValueError:
        assert not 1e-37 < math.hypot(*values) < 1e150
    else:
        assert list(find_bad_vectors([(7, vector)], spec_id=1, dimensions=4)) == []


@pytest.mark.parametrize(
    ("vector", "flaw"),
    [
        (b"", "0 bytes, not 16"),
        (bytes(12), "12 bytes, not 16"),
        (bytes(16), "length 0, not 1"),
        (np.array([1, 1, 1, 1], "<f4").tobytes(), "length 2, not 1"),
        (np.array([0, 0, 0, 1.002], "<f4").tobytes(), "length 1.002, not 1"),
        (np.array([0, 0, 0, np.nan], "<f4").tobytes(), "a value that is not finite"),
        (np.array([0, 0, 0, np.inf], "<f4").tobytes(), "a value that is not finite"),
        (np.array([0, 0, 0, 3e38], "<f4").tobytes(), "length inf, not 1"),
    ],
)
def test_a_bad_vector_is_found_among_good_ones(vector: bytes, flaw: str) -> None:
    """Wrong length in bytes, not finite, or not of length 1: each is said as what it is."""
    good = np.array([0, 0, 0, 1.0005], "<f4").tobytes()
    rows = [(1, good), (2, vector), (3, good)]
    expected = [BadVector(spec_id=4, chunk_id=2, flaw=flaw)]
    assert list(find_bad_vectors(rows, spec_id=4, dimensions=4)) == expected
