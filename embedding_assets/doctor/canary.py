"""Canary: what gemini/client.py takes for granted, beside what the service answers.

Belongs here: the three requests, and the judgement on their result lines.
Does not belong here: sending them and waiting (live.py).

It exists because the live service could not be reached where this was written: everything known
of it is from documentation, issues and the SDK's source.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import orjson

from embedding_assets.model.request_file import chunk_id_of, custom_id, request_line
from embedding_assets.model.results import PERMANENT_CODES, parse_results
from embedding_assets.model.spec import EmbeddingSpec

_TEXTS = {1: "A canary sings.", 2: "The mine is quiet, and the lamp burns on."}
_BAD_ID = 3
_IDS = (*_TEXTS, _BAD_ID)
_FULL_DIMENSIONS = 3072  # of gemini-embedding-001; only these come with length 1
_MAX_NORM_ERROR = 1e-2


class Verdict(StrEnum):
    """How an answer compares with what was assumed."""

    AS_ASSUMED = "as assumed"
    DIFFERENT = "different"  # gemini/client.py is to be changed, or looked at
    NOT_SEEN = "not seen"  # the answer did not come


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One assumption, what was answered, and what that says."""

    assumption: str
    answer: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryReport:
    """What one canary saw."""

    provider: str
    observations: tuple[Observation, ...]

    @property
    def is_live(self) -> bool:
        """It was Google that answered."""
        return self.provider == "gemini"

    @property
    def n_unexpected(self) -> int:
        return sum(o.verdict is not Verdict.AS_ASSUMED for o in self.observations)


def compared(assumption: str, answer: object, *, is_so: bool) -> Observation:
    """What came, against what was assumed."""
    verdict = Verdict.AS_ASSUMED if is_so else Verdict.DIFFERENT
    return Observation(assumption=assumption, answer=str(answer), verdict=verdict)


def canary_lines(spec: EmbeddingSpec) -> list[bytes]:
    """The JSONL lines of three requests: two as the pipeline writes them, one with empty text."""
    bad = {
        "key": custom_id(_BAD_ID),
        "request": {
            "content": {"parts": [{"text": ""}]},
            "outputDimensionality": spec.dimensions,
        },
    }
    good = [request_line(spec, chunk_id, text) for chunk_id, text in _TEXTS.items()]
    return [*good, orjson.dumps(bad, option=orjson.OPT_APPEND_NEWLINE)]


def observe_results(lines: Sequence[bytes], spec: EmbeddingSpec) -> Iterator[Observation]:
    """Compare a result file with what model/results.py reads."""
    parsed = [line for line in map(_parsed, lines) if line is not None]
    keys = [chunk_id_of(line.get("key")) for line in parsed]
    yield compared(
        "a result file is JSONL with one line a request, each with the request's key",
        f"{len(lines)} lines, {len(parsed)} of them objects, with the keys "
        f"{[line.get('key') for line in parsed]}",
        is_so=len(lines) == len(parsed) and sorted(k or 0 for k in keys) == sorted(_IDS),
    )
    by_id = dict(zip(keys, parsed, strict=True))
    good = [_response(by_id.get(chunk_id)) for chunk_id in _TEXTS]
    yield from _observe_vectors([_values(response) for response in good], spec)
    yield _observe_tokens([response.get("tokenCount") for response in good])
    yield _observe_error(by_id.get(_BAD_ID))
    results = parse_results(lines, requested=_IDS, dimensions=spec.dimensions)
    n_vectors = sum(outcome.vector is not None for outcome in results.outcomes)
    yield compared(
        "collection makes two vectors and one failure of it",
        f"{n_vectors} vectors, {len(results.outcomes) - n_vectors} failures: "
        f"{[outcome.error_code for outcome in results.outcomes if outcome.error_code]}",
        is_so=n_vectors == len(_TEXTS),
    )


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _response(line: dict[str, Any] | None) -> dict[str, Any]:
    response = (line or {}).get("response")
    return response if isinstance(response, dict) else {}


def _values(response: dict[str, Any]) -> list[float]:
    embedding = response.get("embedding")
    values = embedding.get("values") if isinstance(embedding, dict) else None
    if isinstance(values, list) and all(isinstance(value, int | float) for value in values):
        return values
    return []


def _observe_vectors(
    vectors: Sequence[Sequence[float]], spec: EmbeddingSpec
) -> Iterator[Observation]:
    lengths = [len(vector) for vector in vectors]
    yield compared(
        f"a vector is at response.embedding.values and has the {spec.dimensions} values asked for "
        "as outputDimensionality",
        f"{lengths} values",
        is_so=all(length == spec.dimensions for length in lengths),
    )
    norms = [float(np.linalg.norm(vector)) for vector in vectors]
    are_units = all(abs(norm - 1) <= _MAX_NORM_ERROR for norm in norms)
    comes_normalised = spec.is_prompted or spec.dimensions == _FULL_DIMENSIONS
    yield compared(
        f"{spec.model} gives vectors of {spec.dimensions} values "
        f"{'with' if comes_normalised else 'without'} length 1 (they are scaled in any case)",
        f"lengths {[round(norm, 4) for norm in norms]}",
        is_so=all(norms) and are_units == comes_normalised,
    )


def _observe_tokens(counts: Sequence[object]) -> Observation:
    return compared(
        "response.tokenCount has the tokens billed, as digits in a text",
        counts,
        is_so=all(isinstance(count, str) and count.isdecimal() for count in counts),
    )


def _observe_error(line: dict[str, Any] | None) -> Observation:
    error = (line or {}).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return compared(
        "a request with an empty text is answered by a line with error.code 3, INVALID_ARGUMENT "
        f"(not tried again, like {', '.join(sorted(PERMANENT_CODES))}), and error.message",
        json.dumps(line)[:200],
        is_so=isinstance(error, dict) and code == 3 and isinstance(error.get("message"), str),
    )
