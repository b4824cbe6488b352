"""The canary's judgement: result lines as they are assumed, and as they might come instead."""

from typing import Any

import orjson
import pytest

from embedding_assets.doctor.canary import Comparison, canary_lines, observe_results
from embedding_assets.model.spec import EmbeddingSpec
from tests.factories import SPEC

VALUES = [0.5, 0.1, 0.2, 0.3, 0.4, 0.1, 0.2, 0.3]
UNIT = [1.0] + [0.0] * 7
PROMPTED = EmbeddingSpec(
    provider="gemini", model="gemini-embedding-2", dimensions=8, task_type="RETRIEVAL_DOCUMENT"
)


def good(chunk_id: int, **changes: Any) -> bytes:
    """A result line with a vector."""
    response = {"tokenCount": "4", "embedding": {"values": VALUES}, **changes}
    return orjson.dumps({"response": response, "key": f"chunk_{chunk_id}"})


BAD = b'{"key":"chunk_3","error":{"code":3,"message":"The content contains an empty Part."}}'


def different(lines: list[bytes], spec: EmbeddingSpec = SPEC) -> list[int]:
    """The numbers of the assumptions that did not hold."""
    seen = list(observe_results(lines, spec))
    assert len(seen) == 6
    return [
        n for n, observation in enumerate(seen) if observation.verdict is not Comparison.AS_ASSUMED
    ]


def test_requests_are_those_of_the_pipeline_and_a_bad_one() -> None:
    """Two lines are as request files have them, the third has no text."""
    first, _, bad = map(orjson.loads, canary_lines(SPEC))
    assert first == {
        "key": "chunk_1",
        "request": {
            "content": {"parts": [{"text": "A canary sings."}]},
            "outputDimensionality": 8,
            "taskType": "RETRIEVAL_DOCUMENT",
        },
    }
    assert bad == {
        "key": "chunk_3",
        "request": {"content": {"parts": [{"text": ""}]}, "outputDimensionality": 8},
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([good(2), BAD, good(1)], [], id="as assumed, in any order"),
        pytest.param([good(1), good(2)], [0, 4], id="no line for the bad request"),
        pytest.param([good(1), good(2), good(3)], [4, 5], id="the bad request is embedded"),
        pytest.param([good(1), good(1), BAD], [0, 1, 2, 3, 5], id="a key twice"),
        pytest.param([good(1), b"{", BAD], [0, 1, 2, 3, 5], id="no JSON"),
        pytest.param([good(1), b"[]", BAD], [0, 1, 2, 3, 5], id="no object"),
        pytest.param([good(n, tokenCount=4) for n in (1, 2)] + [BAD], [3], id="tokens as a number"),
        pytest.param(
            [good(n, embedding={"values": VALUES[:-1]}) for n in (1, 2)] + [BAD],
            [1, 5],
            id="other dimensions",
        ),
        pytest.param(
            [good(n, embedding={"values": UNIT}) for n in (1, 2)] + [BAD], [2], id="unit length"
        ),
        pytest.param(
            [good(n, embedding=VALUES) for n in (1, 2)] + [BAD], [1, 2, 5], id="a flat vector"
        ),
        pytest.param(
            [good(1), good(2), BAD.replace(b'"code":3', b'"code":13')], [4], id="another code"
        ),
        pytest.param(
            [good(1), good(2), b'{"key":"chunk_3","status":"INVALID_ARGUMENT"}'],
            [4],
            id="another shape of error",
        ),
        pytest.param([], [0, 1, 2, 3, 4, 5], id="an empty file"),
    ],
)
def test_what_differs_is_said(lines: list[bytes], expected: list[int]) -> None:
    """Each assumption is judged by itself; nothing that comes is an error."""
    assert different(lines) == expected


def test_a_model_that_normalises_is_expected_to() -> None:
    """gemini-embedding-2 gives vectors of length 1, whatever their dimensions."""
    units = [good(n, embedding={"values": UNIT}) for n in (1, 2)]
    assert different([*units, BAD], PROMPTED) == []
    assert different([good(1), good(2), BAD], PROMPTED) == [2]
