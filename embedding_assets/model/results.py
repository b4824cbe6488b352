"""Results: the lines of a result file in, vectors and outcomes out.

Belongs here: what a line may look like, its outcome, which failures are worth another try. Does not
belong here: whether the whole makes sense (answers.py), what a bad vector is (vectors.py), files
(pipeline/collect.py), tables (store/).
"""

import json
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import simdjson

from embedding_assets.model.request_file import chunk_id_of
from embedding_assets.model.vectors import FloatArray, unit_vector
from embedding_assets.redaction import redacted

_MAX_MESSAGE_CHARS = 500
_MAX_BILLED_TOKENS = 20_000  # a model reads some thousand; beyond this the count is garbage
_SAME_COSINE = 0.999  # of one text's vectors, computed twice

Place = tuple[str | int, ...]  # names on the way to it; 0 is the only item of a list

# Where a line has what, as documented and as seen; of several places the first that has something
# counts.
_KEY: tuple[Place, ...] = (("key",), ("metadata", "key"))
_ERROR: tuple[Place, ...] = (("error",), ("response", "error"))
_STATUS: tuple[Place, ...] = (("status",),)  # a google.rpc.Status; it may say that all is well
VALUES: tuple[Place, ...] = (
    ("response", "embedding", "values"),
    ("response", "embeddings", 0, "values"),
    ("embedding", "values"),
)
TOKENS: tuple[Place, ...] = (
    ("response", "tokenCount"),
    ("response", "usageMetadata", "promptTokenCount"),
    ("usageMetadata", "promptTokenCount"),
)

_OBJECTS = (dict, simdjson.Object)
_LISTS = (list, simdjson.Array)

# In a line that is no JSON. A quote inside a JSON string is escaped, so a text that quotes a key
# does not look like one.
_RAW_KEY = re.compile(rb'"key"\s*:\s*"(\w+)"')

MISSING_LINE = "MISSING_LINE"
MALFORMED_LINE = "MALFORMED_LINE"
BAD_VECTOR = "BAD_VECTOR"
DATA_LOSS = "DATA_LOSS"
UNKNOWN = "UNKNOWN"

# Something was answered, or should have been, and it is of no use: this may be about us. Any other
# failure is Gemini's word on one text.
UNUSABLE_CODES = frozenset({MISSING_LINE, MALFORMED_LINE, BAD_VECTOR, DATA_LOSS})
INVALID_ARGUMENT = "INVALID_ARGUMENT"

# google.rpc.Code, the numbers of a result line's error object.
_RPC_CODES = {
    1: "CANCELLED",
    2: UNKNOWN,
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
    15: DATA_LOSS,
    16: "UNAUTHENTICATED",
}

# The same text will fail the same way again; everything else is worth another try.
PERMANENT_CODES = frozenset(
    {INVALID_ARGUMENT, "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOutcome:
    """What became of one request: a vector, or a code and a message.

    ``vector`` is the unit-length vector as little-endian float32, 4 bytes a dimension.
    """

    chunk_id: int
    vector: bytes | None = None
    billed_tokens: int = 0
    is_estimated: bool = False  # Gemini did not say how many tokens it billed
    error_code: str | None = None
    error_message: str | None = None

    def __post_init__(self) -> None:
        if (self.vector is None) == (self.error_message is None):
            raise ValueError(f"chunk {self.chunk_id} needs either a vector or an error")

    @property
    def is_answer(self) -> bool:
        """Something was answered, and paid for, whether we have a use for it or not."""
        is_here = self.vector is not None or self.error_code in UNUSABLE_CODES
        return is_here and self.error_code != MISSING_LINE


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedResults:
    """A result file, matched to the requests of its shard by ``custom_id``."""

    outcomes: tuple[RequestOutcome, ...]  # exactly one a request, in chunk_id order
    n_lines: int
    n_objects: int  # lines that are JSON objects
    n_unknown: int  # lines whose key is none of the shard's, or that have none
    n_duplicate: int  # further lines for a request that was answered already
    stated_tokens: int  # on all lines together, whosever they are
    is_whole: bool  # no request lacks its line, and the last line does not end in the middle
    odd_line: bytes  # the first one that brought no vector and no error of Gemini's; or b""


def parse_results(
    lines: Iterable[bytes],
    *,
    requested: Iterable[int],
    dimensions: int,
    job_error: str | None = None,
    n_answered: int | None = None,
    estimate: Callable[[int], int] = lambda _: 0,
) -> ParsedResults:
    """Match result lines to requests, whatever their order. Never raises for a bad line.

    A request without a line fails as MISSING_LINE, with the reason that the job gave when it
    ended early (``job_error``) if it did. Of two lines for one request a good one wins
    over a bad one, else the first; two vectors that differ are a bad one. ``estimate`` says how
    many tokens a chunk may have: what was answered without a count was paid for all the same, and
    so are missing lines, and errors that say nothing known, as far as Gemini counts more requests
    as answered (``n_answered``) than are here.
    """
    expected = set(requested)
    found: dict[int, RequestOutcome] = {}
    contested: set[int] = set()
    n_lines = n_unknown = n_duplicate = 0
    parser = _LineParser(expected, dimensions, estimate)
    line = odd_line = b""
    for line in filter(bytes.strip, lines):
        n_lines += 1
        outcome = parser.parse(line)
        if not odd_line and (outcome is None or outcome.error_code in UNUSABLE_CODES):
            odd_line = line
        if outcome is None:
            n_unknown += 1
            continue
        earlier = found.get(outcome.chunk_id)
        n_duplicate += earlier is not None
        if earlier is not None and not _may_be_of_one_text(earlier, outcome):
            contested.add(outcome.chunk_id)
            odd_line = odd_line or line
        if earlier is None or (earlier.vector is None and outcome.vector is not None):
            found[outcome.chunk_id] = outcome
    n_found = len(found)
    found |= {chunk_id: _contested(found[chunk_id]) for chunk_id in contested}
    n_lost = (n_answered or 0) - sum(outcome.is_answer for outcome in found.values())
    for chunk_id in sorted(expected):
        outcome = found.get(chunk_id) or _missing(chunk_id, job_error)
        if n_lost > 0 and outcome.error_code in (MISSING_LINE, UNKNOWN):
            n_lost -= 1
            outcome = _by_estimate(_not_understood(outcome), estimate)
        found[chunk_id] = outcome
    return ParsedResults(
        outcomes=tuple(found[chunk_id] for chunk_id in sorted(expected)),
        n_lines=n_lines,
        n_objects=parser.n_objects,
        n_unknown=n_unknown,
        n_duplicate=n_duplicate,
        stated_tokens=parser.stated_tokens,
        is_whole=n_found == len(expected) and parser.read(line or b"{}") is not None,
        odd_line=odd_line,
    )


def _may_be_of_one_text(one: RequestOutcome, other: RequestOutcome) -> bool:
    if one.vector is None or other.vector is None:
        return True
    cosine = np.frombuffer(one.vector, "<f4") @ np.frombuffer(other.vector, "<f4")
    return bool(cosine >= _SAME_COSINE)


def _contested(outcome: RequestOutcome) -> RequestOutcome:
    message = "the result file has two vectors for this request that differ"
    return replace(outcome, vector=None, error_code=BAD_VECTOR, error_message=message)


def _not_understood(outcome: RequestOutcome) -> RequestOutcome:
    """An error with which Gemini cannot mean what it says, for it counts it as an answer."""
    if outcome.error_code != UNKNOWN:
        return outcome
    message = f"an error came for what Gemini counts as answered: {outcome.error_message}"
    return replace(outcome, error_code=MALFORMED_LINE, error_message=message)


def _missing(chunk_id: int, job_error: str | None) -> RequestOutcome:
    message = "the result file has no line for this request"
    if job_error:
        message += f"; the job ended early: {job_error}"
    return _failure(chunk_id, MISSING_LINE, message)


def _by_estimate(outcome: RequestOutcome, estimate: Callable[[int], int]) -> RequestOutcome:
    return replace(outcome, billed_tokens=estimate(outcome.chunk_id), is_estimated=True)


class _LineParser:
    """Parses one line at a time, keeping nothing of it: simdjson uses its memory again."""

    def __init__(
        self, requested: Collection[int], dimensions: int, estimate: Callable[[int], int]
    ) -> None:
        self._requested = requested
        self._dimensions = dimensions
        self._estimate = estimate
        self._simdjson = simdjson.Parser()
        self.n_objects = 0
        self.stated_tokens = 0

    def parse(self, line: bytes) -> RequestOutcome | None:
        """The line's outcome, or None if it names no request of ours."""
        document = self.read(line)
        self.n_objects += isinstance(document, _OBJECTS)
        tokens = _token_count(value_at(document, TOKENS))
        self.stated_tokens += tokens or 0
        chunk_id = _chunk_id_in(line) if document is None else chunk_id_of(value_at(document, _KEY))
        if chunk_id is None or chunk_id not in self._requested:
            return None
        if document is None:
            outcome = _failure(chunk_id, MALFORMED_LINE, "the result line is not valid JSON")
        else:
            has_one_list = line.find(b"[") == line.rfind(b"[")
            outcome = _outcome_of(
                document, chunk_id, dimensions=self._dimensions, has_one_list=has_one_list
            )
        return self._billed(outcome, tokens)

    def _billed(self, outcome: RequestOutcome, tokens: int | None) -> RequestOutcome:
        """With the tokens that were stated, or else are likely; an error is free."""
        if tokens is None and outcome.is_answer:
            return _by_estimate(outcome, self._estimate)
        return replace(outcome, billed_tokens=tokens or 0)

    def read(self, line: bytes) -> Any:
        """The JSON document, or None if it is none; a repeated name has its first value.

        What simdjson refuses and we have a use for (NaN, 1e400, half a surrogate pair) is read
        by Python's own parser, which takes ten times as long.
        """
        with suppress(ValueError, RuntimeError):
            return self._simdjson.parse(line)
        with suppress(ValueError, RecursionError):
            return json.loads(line.decode("utf-8-sig"), object_pairs_hook=_first_wins)
        return None


def is_error_document(line: bytes) -> bool:
    """Whether a line is Gemini's refusal of the download, not the answer to a request."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return value_at(document, _KEY) is None and value_at(document, _ERROR) is not None


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _chunk_id_in(line: bytes) -> int | None:
    """The chunk that a broken line is about, if it names exactly one."""
    keys = {key.decode("ascii") for key in _RAW_KEY.findall(line)}
    return chunk_id_of(keys.pop()) if len(keys) == 1 else None


def _outcome_of(
    document: Any, chunk_id: int, *, dimensions: int, has_one_list: bool
) -> RequestOutcome:
    """What a line says of its request; this is all that is known of how a line may look."""
    error, values = _error_in(document), value_at(document, VALUES)
    if error is not None and not (values is not None and _is_blank(error)):
        return _failure(chunk_id, code_of(error), _message_of(error))
    if not isinstance(values, _LISTS):
        message = "the result line has neither a vector nor an error"
        return _failure(chunk_id, MALFORMED_LINE, message)
    try:
        vector = unit_vector(_numbers(values, is_flat=has_one_list), dimensions=dimensions)
    except ValueError as exc:
        return _failure(chunk_id, BAD_VECTOR, str(exc))
    return RequestOutcome(chunk_id=chunk_id, vector=vector)


def _failure(chunk_id: int, code: str, message: str) -> RequestOutcome:
    return RequestOutcome(chunk_id=chunk_id, error_code=code, error_message=message)


def _error_in(document: Any) -> Any:
    error, status = value_at(document, _ERROR), value_at(document, _STATUS)
    if error is None and isinstance(status, _OBJECTS) and status.get("code"):
        return status
    return error


def _is_blank(error: Any) -> bool:
    """An error that is written out and says that there is none."""
    if not isinstance(error, _OBJECTS):
        return not _plain(error)
    return error.get("code") == 0 or not any(map(error.get, ("code", "status", "message")))


def value_at(document: Any, places: tuple[Place, ...]) -> Any:
    """The first value at one of these places that is there and not null."""
    for place in places:
        found = document
        for step in place:
            found = _step_into(found, step)
        if found is not None:
            return found
    return None


def _step_into(value: Any, step: str | int) -> Any:
    if isinstance(step, int):  # of two vectors nobody could say which is meant
        return value[0] if isinstance(value, _LISTS) and len(value) == 1 else None
    return value.get(step) if isinstance(value, _OBJECTS) else None


def _numbers(values: Any, *, is_flat: bool) -> FloatArray:
    """The vector's values. Raises ValueError if one of them is no number."""
    if is_flat and isinstance(values, simdjson.Array):  # as_buffer would flatten it
        with suppress(TypeError, ValueError):
            return np.frombuffer(values.as_buffer(of_type="d"))
    numbers = _plain(values)
    if not set(map(type, numbers)) <= {int, float}:
        raise ValueError("the vector has a value that is not a number")
    try:
        return np.array(numbers, dtype=np.float64)
    except OverflowError:
        raise ValueError("the vector has an integer beyond all floats") from None


def _plain(value: Any) -> Any:
    """The value as Python has it."""
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _message_of(error: Any) -> str:
    message = _plain(error.get("message") if isinstance(error, _OBJECTS) else error)
    if not isinstance(message, str):
        message = repr(message) if message else ""
    # A lone surrogate is valid JSON, but no UTF-8 and so nothing for a database.
    shown = redacted(message)[:_MAX_MESSAGE_CHARS].encode("utf-8", "replace").decode("utf-8")
    return shown or "Gemini gave no reason"


def code_of(error: Any) -> str:
    """The code's name: written out as REST errors have it, or by number as result lines do."""
    name, number = value_at(error, (("status",),)), value_at(error, (("code",),))
    if isinstance(name, str) and name in _RPC_CODES.values():
        return name
    return _RPC_CODES.get(number, UNKNOWN) if type(number) is int else UNKNOWN


def _token_count(value: object) -> int | None:
    """Tokens billed; the wire has int64 as a string. None if that is no count of anything."""
    try:
        tokens = int(value) if isinstance(value, int | str) and value is not True else 0
    except ValueError:
        return None
    return tokens if 0 < tokens <= _MAX_BILLED_TOKENS else None
