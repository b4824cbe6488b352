"""Embeddings: result lines in, vectors and outcomes out.

Belongs here: parsing one line of a result file, what counts as a good vector, which failures are
worth another try. Does not belong here: files (pipeline/collect.py) and tables (store/).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import simdjson

from embedding_assets.shards import chunk_id_of

_MAX_MESSAGE_CHARS = 500

MISSING_LINE = "MISSING_LINE"
MALFORMED_LINE = "MALFORMED_LINE"
BAD_VECTOR = "BAD_VECTOR"

# google.rpc.Code, the numbers of a result line's error object.
_RPC_CODES = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
}

# The same text will fail the same way again; everything else is worth another try.
PERMANENT_CODES = frozenset(
    {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOutcome:
    """What became of one request: a vector, or a code and a message.

    ``vector`` is the unit-length vector as little-endian float32, 4 bytes a dimension.
    """

    chunk_id: int
    vector: bytes | None = None
    billed_tokens: int = 0
    error_code: str | None = None
    error_message: str | None = None

    def __post_init__(self) -> None:
        if (self.vector is None) == (self.error_message is None):
            raise ValueError(f"chunk {self.chunk_id} needs either a vector or an error")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedResults:
    """A result file, matched to the requests of its shard by ``custom_id``."""

    outcomes: tuple[RequestOutcome, ...]  # exactly one a request, in chunk_id order
    n_lines: int
    n_unknown: int  # lines whose key is none of the shard's, or that have none
    n_duplicate: int  # further lines for a request that was answered already


def parse_results(
    lines: Iterable[bytes], *, requested: Iterable[int], dimensions: int
) -> ParsedResults:
    """Match result lines to requests, whatever their order. Never raises for a bad line.

    A request without a line fails as MISSING_LINE. Of two lines for one request a good one wins
    over a bad one, else the first.
    """
    expected = set(requested)
    found: dict[int, RequestOutcome] = {}
    n_lines = n_unknown = n_duplicate = 0
    parser = _LineParser(dimensions)
    for line in lines:
        if not line.strip():
            continue
        n_lines += 1
        outcome = parser.parse(line)
        if outcome is None or outcome.chunk_id not in expected:
            n_unknown += 1
            continue
        earlier = found.get(outcome.chunk_id)
        n_duplicate += earlier is not None
        if earlier is None or (earlier.vector is None and outcome.vector is not None):
            found[outcome.chunk_id] = outcome
    return ParsedResults(
        outcomes=tuple(found.get(chunk_id) or _missing(chunk_id) for chunk_id in sorted(expected)),
        n_lines=n_lines,
        n_unknown=n_unknown,
        n_duplicate=n_duplicate,
    )


def _missing(chunk_id: int) -> RequestOutcome:
    return RequestOutcome(
        chunk_id=chunk_id,
        error_code=MISSING_LINE,
        error_message="the result file has no line for this request",
    )


def unit_vector(values: np.ndarray, *, dimensions: int) -> bytes:
    """Scale to length 1 and encode. Raises ValueError for a vector that must not be stored.

    Only 3,072-dimensional vectors come normalised from gemini-embedding-001 (Gemini embeddings
    guide); normalising again does no harm.
    """
    if values.shape != (dimensions,):
        raise ValueError(f"a vector of {values.size} values came, {dimensions} were asked for")
    norm = float(np.linalg.norm(values.astype(np.float64)))
    if not np.isfinite(norm):
        raise ValueError("the vector has a value that is not a finite number")
    if norm < np.finfo(np.float32).tiny:
        raise ValueError("the vector is zero")
    return (values / norm).astype("<f4").tobytes()


class _LineParser:
    """Parses one line at a time, fast where the line is as it should be."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._simdjson = simdjson.Parser()

    def parse(self, line: bytes) -> RequestOutcome | None:
        """The line's outcome, or None if it names no request of ours."""
        try:
            key, values, tokens = self._fast(line)
        except (ValueError, KeyError, TypeError, RuntimeError, OverflowError):
            return self._careful(line)
        chunk_id = chunk_id_of(key)
        return None if chunk_id is None else self._outcome(chunk_id, values, tokens)

    def _fast(self, line: bytes) -> tuple[object, np.ndarray, object]:
        # simdjson reuses its memory: no reference to the document may outlive this call.
        document: Any = self._simdjson.parse(line)
        response = document["response"]
        numbers = response["embedding"]["values"]
        values = np.frombuffer(numbers.as_buffer(of_type="d"), dtype=np.float64)
        if len(numbers) != len(values):
            raise ValueError("nested values")
        return document["key"], values, response.get("tokenCount", 0)

    def _careful(self, line: bytes) -> RequestOutcome | None:
        try:
            document = json.loads(line)
            chunk_id = chunk_id_of(document["key"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        if chunk_id is None:
            return None
        try:
            if (error := _error_of(document)) is not None:
                return _failure(chunk_id, error)
            response = document["response"]
            values = np.array(response["embedding"]["values"], dtype=np.float64)
            return self._outcome(chunk_id, values, response.get("tokenCount", 0))
        except (ValueError, KeyError, TypeError, OverflowError, AttributeError):
            return RequestOutcome(
                chunk_id=chunk_id,
                error_code=MALFORMED_LINE,
                error_message="the result line has neither a vector nor an error",
            )

    def _outcome(self, chunk_id: int, values: np.ndarray, tokens: object) -> RequestOutcome:
        billed_tokens = _token_count(tokens)
        try:
            vector = unit_vector(values, dimensions=self._dimensions)
        except ValueError as exc:
            return RequestOutcome(
                chunk_id=chunk_id,
                billed_tokens=billed_tokens,
                error_code=BAD_VECTOR,
                error_message=str(exc),
            )
        return RequestOutcome(chunk_id=chunk_id, vector=vector, billed_tokens=billed_tokens)


def _error_of(document: dict[str, Any]) -> object | None:
    """The status object, at the top level as documented or inside the response as seen."""
    if (error := document.get("error")) is not None:
        return error
    response = document.get("response")
    inner: object | None = response.get("error") if isinstance(response, dict) else None
    return inner


def _failure(chunk_id: int, error: object) -> RequestOutcome:
    status = error if isinstance(error, dict) else {"message": error}
    number = status.get("code")
    code = _RPC_CODES.get(number, "UNKNOWN") if isinstance(number, int) else "UNKNOWN"
    message = str(status.get("message") or "Gemini gave no reason")
    return RequestOutcome(
        chunk_id=chunk_id, error_code=code, error_message=message[:_MAX_MESSAGE_CHARS]
    )


def _token_count(value: object) -> int:
    """Tokens billed; the wire has int64 as a string."""
    try:
        return max(0, int(str(value)))
    except ValueError:
        return 0
