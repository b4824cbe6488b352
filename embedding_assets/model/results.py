"""Embeddings: result lines in, vectors and outcomes out.

Belongs here: parsing one line of a result file, what counts as a good vector, which failures are
worth another try. Does not belong here: files (pipeline/collect.py) and tables (store/).
"""

import json
import re
import reprlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import simdjson

from embedding_assets.model.request_file import chunk_id_of
from embedding_assets.model.vectors import FloatArray, unit_vector

_MAX_MESSAGE_CHARS = 500
_MAX_BILLED_TOKENS = 1_000_000  # a model reads some thousand; beyond this the count is garbage

# In a line that is no JSON. A quote inside a JSON string is escaped, so a text that quotes a key
# does not look like one.
_RAW_KEY = re.compile(rb'"key"\s*:\s*"(\w+)"')

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


def is_whole(lines: Iterable[bytes], *, requested: Iterable[int]) -> bool:
    """Whether a result file has a line for every request and does not end in the middle of one.

    Looks at the keys only, so that it costs little beside parsing.
    """
    unanswered = set(requested)
    last = b"{}"
    for line in lines:
        unanswered.discard(_chunk_id_in(line))
        last = line.strip() or last
    return not unanswered and _is_json(last)


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def parse_results(
    lines: Iterable[bytes],
    *,
    requested: Iterable[int],
    dimensions: int,
    job_error: str | None = None,
) -> ParsedResults:
    """Match result lines to requests, whatever their order. Never raises for a bad line.

    A request without a line fails as MISSING_LINE, with the reason that the job gave when it
    ended early (``job_error``) if it did. Of two lines for one request a good one wins
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
        outcomes=tuple(
            found.get(chunk_id) or _missing(chunk_id, job_error) for chunk_id in sorted(expected)
        ),
        n_lines=n_lines,
        n_unknown=n_unknown,
        n_duplicate=n_duplicate,
    )


def _missing(chunk_id: int, job_error: str | None) -> RequestOutcome:
    message = "the result file has no line for this request"
    if job_error:
        message += f"; the job ended early: {job_error}"
    return RequestOutcome(chunk_id=chunk_id, error_code=MISSING_LINE, error_message=message)


class _LineParser:
    """Parses one line at a time, fast where the line is as it should be."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._simdjson = simdjson.Parser()

    def parse(self, line: bytes) -> RequestOutcome | None:
        """The line's outcome, or None if it names no request of ours."""
        with suppress(ValueError, KeyError, TypeError, AttributeError, RuntimeError):
            return self._fast(line)
        return self._careful(line)

    def _fast(self, line: bytes) -> RequestOutcome | None:
        """The outcome of a good vector's line; raises for every other line.

        simdjson reuses its memory: no reference to the document may outlive this call.
        """
        if line.find(b"[") != line.rfind(b"["):
            raise ValueError("more than one list: as_buffer would flatten nested ones")
        document: Any = self._simdjson.parse(line)
        response = document["response"]
        if "error" in document or "error" in response:
            raise ValueError("an error, or room for one")
        chunk_id = chunk_id_of(document["key"])
        if chunk_id is None:
            return None
        buffer = response["embedding"]["values"].as_buffer(of_type="d")
        vector = unit_vector(np.frombuffer(buffer), dimensions=self._dimensions)
        tokens = _token_count(response.get("tokenCount"))
        return RequestOutcome(chunk_id=chunk_id, vector=vector, billed_tokens=tokens)

    def _careful(self, line: bytes) -> RequestOutcome | None:
        try:
            document = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_first_wins)
        except (ValueError, RecursionError):
            return _malformed(_chunk_id_in(line), "the result line is not valid JSON")
        chunk_id = chunk_id_of(document.get("key")) if isinstance(document, dict) else None
        if chunk_id is None:
            return None
        if (error := _error_of(document)) is not None:
            return _failure(chunk_id, error, _tokens_of(document))
        try:
            response = document["response"]
            values = response["embedding"]["values"]
            tokens = _tokens_of(document)
        except (KeyError, TypeError):
            values = None
        if not isinstance(values, list):
            return _malformed(chunk_id, "the result line has neither a vector nor an error")
        return self._outcome(chunk_id, values, tokens)

    def _outcome(self, chunk_id: int, values: list[object], tokens: int) -> RequestOutcome:
        try:
            vector = unit_vector(_numbers(values), dimensions=self._dimensions)
        except ValueError as exc:
            return RequestOutcome(
                chunk_id=chunk_id,
                billed_tokens=tokens,
                error_code=BAD_VECTOR,
                error_message=str(exc),
            )
        return RequestOutcome(chunk_id=chunk_id, vector=vector, billed_tokens=tokens)


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A repeated name has its first value, as simdjson has it."""
    return dict(reversed(pairs))


def _chunk_id_in(line: bytes) -> int | None:
    """The chunk that a broken line is about, if it names exactly one."""
    keys = {key.decode("ascii") for key in _RAW_KEY.findall(line)}
    return chunk_id_of(keys.pop()) if len(keys) == 1 else None


def _malformed(chunk_id: int | None, message: str) -> RequestOutcome | None:
    if chunk_id is None:
        return None
    return RequestOutcome(chunk_id=chunk_id, error_code=MALFORMED_LINE, error_message=message)


def _numbers(values: list[object]) -> FloatArray:
    if not all(type(value) in (int, float) for value in values):
        raise ValueError("the vector has a value that is not a number")
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        raise ValueError("the vector has an integer beyond all floats") from None


def _error_of(document: dict[str, Any]) -> object | None:
    """The status object, at the top level as documented or inside the response as seen."""
    response = document.get("response")
    inner: object = response.get("error") if isinstance(response, dict) else None
    outer: object = document.get("error")
    return inner if outer is None else outer


def _tokens_of(document: dict[str, Any]) -> int:
    """What was billed for the request, whatever came of it."""
    response = document.get("response")
    return _token_count(response.get("tokenCount")) if isinstance(response, dict) else 0


def _failure(chunk_id: int, error: object, tokens: int) -> RequestOutcome:
    status = error if isinstance(error, dict) else {"message": error}
    message = status.get("message") or "Gemini gave no reason"
    if not isinstance(message, str):
        message = reprlib.repr(message)
    # A lone surrogate is valid JSON, but no UTF-8 and so nothing for a database.
    message = message[:_MAX_MESSAGE_CHARS].encode("utf-8", "replace").decode("utf-8")
    return RequestOutcome(
        chunk_id=chunk_id,
        billed_tokens=tokens,
        error_code=_code_of(status),
        error_message=message,
    )


def _code_of(status: dict[str, Any]) -> str:
    """The code's name: written out as REST errors have it, or by number as result lines do."""
    name, number = status.get("status"), status.get("code")
    if isinstance(name, str) and name in _RPC_CODES.values():
        return name
    return _RPC_CODES.get(number, "UNKNOWN") if type(number) is int else "UNKNOWN"


def _token_count(value: object) -> int:
    """Tokens billed; the wire has int64 as a string. What is no such number counts as none."""
    try:
        tokens = int(value) if isinstance(value, int | str) else 0
    except ValueError:
        return 0
    return tokens if 0 <= tokens <= _MAX_BILLED_TOKENS else 0
