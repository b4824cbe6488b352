"""From a job's JSONL of requests to its JSONL of results, line by line.

Lines are read where they lie and written one at a time: memory does not grow with the file.
When and for whom this happens is decided in `state`; what goes wrong on purpose, in `faults`.
"""

from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import orjson

from embedding_assets.emulator.embed_requests import (
    Model,
    Purchase,
    parse_embed_request,
)
from embedding_assets.emulator.errors import (
    INVALID_ARGUMENT_RPC_CODE,
    ApiError,
    invalid_argument,
)
from embedding_assets.emulator.faults.book import Strikes
from embedding_assets.emulator.faults.kinds import LINE_FAULTS
from embedding_assets.emulator.result_lines import Answer, error_line, vector_line

_WRITE_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSummary:
    """What a file of requests weighs; requests that cannot be embedded have no tokens."""

    n_requests: int
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSummary:
    """How the requests of a job fared; bought are those answered with an intact vector."""

    n_succeeded: int
    n_failed: int
    bought: list[Purchase]


class ComputationStopped(Exception):
    """The emulator is shutting down; the results will be computed after the next start."""


def summarise_input(path: Path, model: Model) -> InputSummary:
    """Check and weigh a file of requests.

    Raises ApiError 400, naming the line, for one that is no JSON object, has no key or repeats
    one. A line whose *request* is wrong is only that line's trouble.
    """
    keys: set[str] = set()
    n_tokens = 0
    with path.open("rb") as file:
        for number, line in enumerate(filter(bytes.strip, file), start=1):
            key, body = _parse_line(line, number)
            if key in keys:
                raise invalid_argument(f"Line {number}: the key {key!r} was used before.")
            keys.add(key)
            n_tokens += _tokens(body, model)
    if not keys:
        raise invalid_argument("The input has no requests.")
    return InputSummary(n_requests=len(keys), n_tokens=n_tokens)


def choose_answered(n_requests: int, share: float, seed: str) -> Container[int]:
    """Which requests, counted from 0, are answered: all of them only if the share is 1."""
    if share == 1:
        return range(n_requests)
    n_answered = min(round(share * n_requests), n_requests - 1)
    return frozenset(Random(seed).sample(range(n_requests), n_answered))


def write_results(
    source: Path,
    target: Path,
    *,
    model: Model,
    answered: Container[int],
    shuffle_seed: str | None,
    strikes: Strikes,
    shifted_by: int,
    stopped: Callable[[], bool],
) -> ResultSummary:
    """Answer requests of `source` in `target`, in shuffled order if there is a seed.

    Each gets the vector of the request that stands `shifted_by` further on in the source. Raises
    ComputationStopped as soon as `stopped()`.
    """
    bought: list[Purchase] = []
    n_failed = n_succeeded = 0
    others = _shifted(source, shifted_by)
    with source.open("rb") as requests, target.open("wb", _WRITE_BUFFER_BYTES) as results:
        for number, line in _lines_in_order(requests, shuffle_seed):
            if stopped():
                raise ComputationStopped
            if number not in answered:
                continue
            answer = _answer(line, model, strikes, vector_of=others[number] if others else line)
            results.writelines(answer.lines)
            n_failed += answer.failed
            # Without a line it counts as pending, unless it is paid for.
            is_answered = bool(answer.lines or answer.bought)
            n_succeeded += is_answered and not answer.failed
            if answer.bought is not None:
                bought.append(answer.bought)
    return ResultSummary(n_succeeded=n_succeeded, n_failed=n_failed, bought=bought)


def _shifted(source: Path, by: int) -> list[bytes]:
    """The lines, each in the place of the one so far before it; none if it is not far at all."""
    if not by:
        return []
    with source.open("rb") as file:
        lines = list(filter(bytes.strip, file))
    return [lines[(number + by) % len(lines)] for number in range(len(lines))]


def _lines_in_order(file: BinaryIO, shuffle_seed: str | None) -> Iterator[tuple[int, bytes]]:
    """Every line with its number in the file, from 0; blank ones do not count."""
    if shuffle_seed is None:
        yield from enumerate(filter(bytes.strip, file))
        return
    offsets, offset = [], 0
    for line in file:
        if line.strip():
            offsets.append(offset)
        offset += len(line)
    places = list(enumerate(offsets))
    Random(shuffle_seed).shuffle(places)
    for number, offset in places:
        file.seek(offset)
        yield number, file.readline()


def _parse_line(line: bytes, number: int) -> tuple[str, object]:
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise invalid_argument(f"Line {number} is not JSON: {exc}.") from exc
    if not isinstance(parsed, dict):
        raise invalid_argument(f"Line {number} is not a JSON object.")
    key = parsed.get("key")
    if not isinstance(key, str) or not key:
        raise invalid_argument(f"Line {number} has no key.")
    return key, parsed.get("request")


def _tokens(body: object, model: Model) -> int:
    try:
        return parse_embed_request(body, model).tokens
    except ApiError:
        return 0


def _answer(line: bytes, model: Model, strikes: Strikes, *, vector_of: bytes) -> Answer:
    parsed: dict[str, Any] = orjson.loads(line)
    key = parsed["key"]
    try:
        request = parse_embed_request(parsed.get("request"), model)
    except ApiError as error:
        refused = error_line(key, INVALID_ARGUMENT_RPC_CODE, error.message)
        return Answer(lines=[refused], failed=True)
    strike = strikes.strike(key, request.text) if strikes else None
    if strike is not None:
        answer = LINE_FAULTS[strike.fault.kind].spoil(strike.fault, key, request)
        return replace(answer, bought=request.purchase()) if strike.fault.is_billed else answer
    answered = request
    if vector_of is not line:
        with suppress(ApiError):  # what cannot be embedded has no vector to give
            answered = parse_embed_request(orjson.loads(vector_of).get("request"), model)
    intact = vector_line(key, request, answered.vector())
    return Answer(lines=[intact], bought=request.purchase())
