"""Results: whatever a result file holds, every request gets exactly one outcome."""

import itertools
import json
import math
import struct
from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
import simdjson
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding_assets.model.results import (
    BAD_VECTOR,
    MALFORMED_LINE,
    MISSING_LINE,
    ParsedResults,
    RequestOutcome,
    _LineParser,
    parse_results,
)

DIMENSIONS = 4
ESTIMATE = 7
VALUES = [3.0, -4.0, 0.0, 12.0]  # of length 13
UNIT = struct.pack("<4f", 3 / 13, -4 / 13, 0.0, 12 / 13)


def result(key: object, values: object = VALUES, **response: object) -> dict[str, object]:
    """A result line as Gemini writes it, before it becomes text."""
    embedding = {"embedding": {"values": values}}
    return {"response": {"tokenCount": "5", **embedding, **response}, "key": key}


def line(document: object) -> bytes:
    """A line of a result file."""
    return json.dumps(document).encode() + b"\n"


def good(chunk_id: int, **response: object) -> bytes:
    """A line with a vector."""
    return line(result(f"chunk_{chunk_id}", **response))


def parse(*lines: bytes, requested: Iterable[int] = (1,)) -> ParsedResults:
    """The results of these lines; each text is taken for one of 7 tokens."""
    return parse_results(
        lines, requested=requested, dimensions=DIMENSIONS, estimate=lambda _: ESTIMATE
    )


def results(
    *outcomes: RequestOutcome, n_lines: int, odd_line: bytes = b"", **changes: int
) -> ParsedResults:
    """What comes of lines that are all objects with 5 tokens, unless something else is said."""
    counts = {"n_objects": n_lines, "n_unknown": 0, "n_duplicate": 0, "stated_tokens": 5 * n_lines}
    return ParsedResults(
        outcomes=outcomes, n_lines=n_lines, is_whole=True, odd_line=odd_line, **counts | changes
    )


def only(*lines: bytes) -> RequestOutcome:
    """The outcome of the one request, chunk 1."""
    (outcome,) = parse(*lines).outcomes
    assert outcome.chunk_id == 1
    return outcome


def embedded(chunk_id: int, billed_tokens: int = 5) -> RequestOutcome:
    """The outcome of a good line."""
    return RequestOutcome(chunk_id=chunk_id, vector=UNIT, billed_tokens=billed_tokens)


def uncounted(outcome: RequestOutcome) -> RequestOutcome:
    """The same, of a line that does not say how many tokens it took."""
    return replace(outcome, billed_tokens=ESTIMATE, is_estimated=True)


USAGE = {"promptTokenCount": 5, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}]}


# --- matching lines to requests -------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 10))))
def test_any_order(order: tuple[int, ...]) -> None:
    """Lines in any order give outcomes in chunk_id order."""
    assert parse(*map(good, order), requested=[10, 1, 2]) == results(
        embedded(1), embedded(2), embedded(10), n_lines=3
    )


def test_a_missing_line() -> None:
    """A request without a line is a failure with a message, not a silence."""
    assert parse(good(2), requested=[1, 2]).outcomes == (
        RequestOutcome(
            chunk_id=1,
            error_code=MISSING_LINE,
            error_message="the result file has no line for this request",
        ),
        embedded(2),
    )


def test_an_empty_file() -> None:
    """Of a file without lines every request is missing."""
    results = parse(requested=[1, 2])
    assert [outcome.error_code for outcome in results.outcomes] == [MISSING_LINE, MISSING_LINE]
    assert (results.n_lines, results.n_unknown, results.n_duplicate) == (0, 0, 0)


def test_nothing_requested() -> None:
    """Without requests there are no outcomes, whatever the file holds."""
    assert parse(good(1), requested=[]) == results(n_lines=1, n_unknown=1, odd_line=good(1))


@pytest.mark.parametrize(
    "unknown",
    [
        good(2),
        line(result("request_1")),
        line(result(1)),
        line(result(None)),
        line(result(["chunk_1"])),
        line(result({"chunk_1": 1})),
        line(result("chunk_01")),
        line({"response": result("chunk_1")["response"]}),
        line({"key": "request_1", "error": {"code": 3}}),
        line([result("chunk_1")]),
        line("chunk_1"),
        line(None),
        line(7),
        b"nonsense\n",
        b"\x00\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"key":' * 100_000 + b"\n",
    ],
    ids=lambda unknown: repr(unknown[:40]),
)
def test_a_line_that_is_nobodys(unknown: bytes) -> None:
    """A line that names no request of ours is counted and changes nothing else."""
    before = parse(unknown, good(1))
    assert before.outcomes == (embedded(1),)
    assert (before.n_lines, before.n_unknown, before.n_duplicate) == (2, 1, 0)
    assert before.is_whole
    assert before.odd_line == unknown
    assert replace(parse(good(1), unknown), is_whole=True) == before


def test_blank_lines() -> None:
    """Blank lines are not lines; a carriage return or a byte order mark does no harm."""
    lines = (b"\n", b" \t\r\n", b"\xef\xbb\xbf" + good(1).replace(b"\n", b"\r\n"), b"")
    assert parse(*lines) == results(embedded(1), n_lines=1)


def test_a_duplicate_line() -> None:
    """Of two good lines for a request the first counts."""
    assert parse(good(1, tokenCount="3"), good(1, tokenCount="4")) == results(
        embedded(1, billed_tokens=3), n_lines=2, n_duplicate=1, stated_tokens=7
    )


@pytest.mark.parametrize("further", [[], [good(1)], [good(1), good(1, tokenCount="9")]])
def test_two_vectors_that_differ(further: list[bytes]) -> None:
    """Nobody could say which of them is the text's, however often one of them comes."""
    other = good(1, embedding={"values": VALUES[::-1]})
    found = parse(good(1), other, *further)
    assert found.outcomes == (
        RequestOutcome(
            chunk_id=1,
            billed_tokens=5,
            error_code=BAD_VECTOR,
            error_message="the result file has two vectors for this request that differ",
        ),
    )
    assert found.odd_line == other


@pytest.mark.parametrize(
    "bad",
    [line({"key": "chunk_1", "error": {"code": 13}}), good(1, embedding={}), b'{"key": "chunk_1"'],
)
def test_a_good_line_wins(bad: bytes) -> None:
    """Of a good and a bad line for one request the good one counts, whichever came first."""
    for lines in ((bad, good(1)), (good(1), bad), (bad, bad, good(1))):
        results = parse(*lines)
        assert results.outcomes == (embedded(1),)
        assert results.n_duplicate == len(lines) - 1


def test_of_bad_lines_the_first_counts() -> None:
    """Of two bad lines the first says why."""
    first = line({"key": "chunk_1", "error": {"code": 3, "message": "first"}})
    second = line({"key": "chunk_1", "error": {"code": 13, "message": "second"}})
    assert only(first, second).error_message == "first"


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"code": 3, "message": "too long"}, "INVALID_ARGUMENT", "too long"),
        ({"code": 8, "message": "busy"}, "RESOURCE_EXHAUSTED", "busy"),
        ({"code": 13}, "INTERNAL", "Gemini gave no reason"),
        ({"code": 400, "status": "INVALID_ARGUMENT", "message": "x"}, "INVALID_ARGUMENT", "x"),
        ({"code": 99, "message": "x"}, "UNKNOWN", "x"),
        ({"code": "3", "message": "x"}, "UNKNOWN", "x"),
        ({"code": True, "message": "x"}, "UNKNOWN", "x"),
        ({"code": [3], "status": ["x"], "message": "x"}, "UNKNOWN", "x"),
        ({"code": 10**30, "message": "x"}, "UNKNOWN", "x"),
        ({"message": {"text": "x"}}, "UNKNOWN", "{'text': 'x'}"),
        ({}, "UNKNOWN", "Gemini gave no reason"),
        ("out of order", "UNKNOWN", "out of order"),
        (["out", "of", "order"], "UNKNOWN", "['out', 'of', 'order']"),
        (False, "UNKNOWN", "Gemini gave no reason"),
    ],
)
@pytest.mark.parametrize("is_inside", [False, True])
def test_an_error_line(error: object, code: str, message: str, is_inside: bool) -> None:
    """An error, beside the response or inside it, gives a code by name and a message."""
    found = {"response": {"error": error}} if is_inside else {"error": error}
    assert only(line({"key": "chunk_1", **found})) == RequestOutcome(
        chunk_id=1, error_code=code, error_message=message
    )


def test_tokens_of_an_error() -> None:
    """What was billed for a request that failed is on the bill, too."""
    error = {"code": 3, "message": "no"}
    assert only(
        line({"key": "chunk_1", "error": error, "response": {"tokenCount": "2"}})
    ) == RequestOutcome(
        chunk_id=1, billed_tokens=2, error_code="INVALID_ARGUMENT", error_message="no"
    )


def test_an_error_beside_a_vector() -> None:
    """A vector that comes with an error is not trusted."""
    for found in ({"error": {"code": 13}, **result("chunk_1")}, result("chunk_1", error="broken")):
        assert only(line(found)).vector is None


@pytest.mark.parametrize("is_inside", [False, True])
def test_an_error_that_is_null(is_inside: bool) -> None:
    """A null error is none."""
    document = result("chunk_1", error=None) if is_inside else {"error": None, **result("chunk_1")}
    assert only(line(document)) == embedded(1)


@pytest.mark.parametrize("blank", [{}, {"code": 0}, {"code": 0, "message": "OK"}, "", False, []])
@pytest.mark.parametrize("is_inside", [False, True])
def test_an_error_that_says_nothing(blank: object, is_inside: bool) -> None:
    """Beside a vector it is none: the vector was paid for."""
    document = (
        result("chunk_1", error=blank) if is_inside else {"error": blank, **result("chunk_1")}
    )
    assert only(line(document)) == embedded(1)


def test_an_error_for_what_gemini_counts_as_answered() -> None:
    """It was paid for and is not understood, like a missing line; a known code is believed."""
    errors = [
        line({"key": "chunk_1", "error": "out of order"}),
        line({"key": "chunk_2", "error": {"code": 3, "message": "no"}}),
        good(3),
    ]
    found = parse_results(
        errors,
        requested=range(1, 5),
        dimensions=DIMENSIONS,
        n_answered=3,
        estimate=lambda _: ESTIMATE,
    )
    said = [(each.error_code, each.billed_tokens) for each in found.outcomes]
    assert said == [
        (MALFORMED_LINE, ESTIMATE),
        ("INVALID_ARGUMENT", 0),
        (None, 5),
        (MISSING_LINE, ESTIMATE),
    ]
    assert found.outcomes[0].error_message == (
        "an error came for what Gemini counts as answered: out of order"
    )


def test_a_long_message_is_cut() -> None:
    """A message that quotes a whole text does not bring it into the index."""
    message = only(line({"key": "chunk_1", "error": {"message": "x" * 10_000}})).error_message
    assert message == "x" * 500


def test_a_message_can_be_stored() -> None:
    """A lone surrogate, valid in JSON and nowhere else, does not reach the database."""
    error = b'{"key": "chunk_1", "error": {"code": 3, "message": "bad \\ud800 text"}}'
    assert only(error).error_message == "bad ? text"


@pytest.mark.parametrize(
    "document",
    [
        {"key": "chunk_1"},
        {"key": "chunk_1", "response": None},
        {"key": "chunk_1", "response": None, "error": None},
        {"key": "chunk_1", "response": []},
        {"key": "chunk_1", "response": ["error"]},
        {"key": "chunk_1", "response": "embedding"},
        {"key": "chunk_1", "response": 7},
        {"key": "chunk_1", "response": {}},
        {"key": "chunk_1", "response": {"embedding": None}},
        {"key": "chunk_1", "response": {"embedding": VALUES}},
        {"key": "chunk_1", "response": {"embedding": "values"}},
        {"key": "chunk_1", "response": {"embedding": {}}},
        result("chunk_1", {"0": 1.0, "1": 2.0, "2": 3.0, "3": 4.0}),
        result("chunk_1", None),
        result("chunk_1", "1234"),
        result("chunk_1", 4.0),
        result("chunk_1", True),
    ],
    ids=json.dumps,
)
def test_a_line_with_neither_vector_nor_error(document: dict[str, Any]) -> None:
    """A line of ours that has nothing we can use is malformed, not missing, and not free."""
    message = "the result line has neither a vector nor an error"
    failed = RequestOutcome(chunk_id=1, error_code=MALFORMED_LINE, error_message=message)
    is_counted = "tokenCount" in json.dumps(document)
    assert only(line(document)) == (
        replace(failed, billed_tokens=5) if is_counted else uncounted(failed)
    )


@pytest.mark.parametrize(
    "broken",
    [
        b'{"key": "chunk_1", "response": {"tokenCount": "5", "embedding": {"values": [0.1, 0.',
        b'{"key":"chunk_1","response":{"text":"\xff"}}',
        b'{"response": {"embedding": {"values": [0.1,, 2]}}, "key" : "chunk_1"}',
        b'{"key": "chunk_1", "x": ' + b"[" * 100_000,
        b'{"key": "chunk_1", "x": ' + b"9" * 10_000 + b"}",
        b'{"key": "chunk_1"} {"key": "chunk_1"}',
        b'{"key": "chunk_1", "error": {"message": "\\"key\\": \\"chunk_2\\""',
    ],
    ids=lambda broken: repr(broken[:60]),
)
def test_broken_json_with_our_key(broken: bytes) -> None:
    """A cut or garbled line whose key can still be read is malformed, not missing."""
    message = "the result line is not valid JSON"
    failed = RequestOutcome(chunk_id=1, error_code=MALFORMED_LINE, error_message=message)
    assert only(broken) == uncounted(failed)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"response": {"embedding": {"values": [0.1, 0.2, 0.3, 0.4]}}, "key": "chunk_1',
        b'{"key": "chunk_1", "response": {"emb{"key": "chunk_2", "response": {}}',
        b'{"error": {"message": "\\"key\\": \\"chunk_1\\""',
    ],
)
def test_broken_json_without_a_sure_key(broken: bytes) -> None:
    """A broken line whose key is cut, or that names two, is nobody's: no guess is made."""
    results = parse(broken)
    assert results.outcomes[0].error_code == MISSING_LINE
    assert results.n_unknown == 1


@pytest.mark.parametrize(
    "text",
    [
        b'{"key": "chunk_1", "key": "chunk_2", "response": {"embedding": {"values": %s}}%s}',
        b'{"key": "chunk_1", "response": {"embedding": {"values": %s, "values": 1}}, "key": 2%s}',
    ],
)
@pytest.mark.parametrize("further", [b"", b', "x": []', b', "x": NaN'])
def test_a_repeated_name(text: bytes, further: bytes) -> None:
    """Of a name that a line has twice the first counts, whoever reads the line."""
    results = parse(text % (json.dumps(VALUES).encode(), further), requested=[1, 2])
    assert [outcome.vector for outcome in results.outcomes] == [UNIT, None]


@pytest.mark.parametrize("further", [b"", b', "x": []', b', "x": NaN'])
def test_a_repeated_name_in_an_error(further: bytes) -> None:
    """The same holds within an error."""
    error = b'{"code": 3, "code": 13, "message": "first", "message": "second"}'
    assert only(b'{"key": "chunk_1", "error": %s%s}' % (error, further)) == RequestOutcome(
        chunk_id=1, error_code="INVALID_ARGUMENT", error_message="first"
    )


@pytest.mark.parametrize(
    "odd",
    [
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"9" * 400,
        b'"\\ud800"',
        b"[[1, 2], []]",
        b'{"key": "chunk_2"}',
    ],
)
def test_what_is_odd_elsewhere_does_no_harm(odd: bytes) -> None:
    """A value that nobody asks for may be what it likes, before the key or behind the vector."""
    whole = good(1).rstrip()
    for text in (b'{"odd": %s, %s' % (odd, whole[1:]), b'%s, "odd": %s}' % (whole[:-1], odd)):
        assert parse(text) == parse(whole)


# --- vectors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("[]", "a vector of 0 values came, 4 were asked for"),
        ("[1, 2, 3]", "a vector of 3 values came, 4 were asked for"),
        ("[1, 2, 3, 4, 5]", "a vector of 5 values came, 4 were asked for"),
        ("[0, 0.0, -0.0, 0]", "the vector is zero"),
        ("[1e-320, 0, 0, 0]", "the vector is zero"),
        ("[1, NaN, 3, 4]", "finite"),
        ("[1, Infinity, 3, 4]", "finite"),
        ("[1, -Infinity, 3, 4]", "finite"),
        ("[1, 1e400, 3, 4]", "finite"),
        ("[1e308, 1e308, 1e308, 1e308]", "finite"),
        ("[1, " + "9" * 400 + ", 3, 4]", "the vector has an integer beyond all floats"),
        ("[[1, 2], [3, 4]]", "not a number"),
        ("[[1], [2], [3], [4]]", "not a number"),
        ("[1, 2, 3, [4]]", "not a number"),
        ("[[1, 2, 3, 4], [], [], []]", "not a number"),
        ('["1", "2", "3", "4"]', "not a number"),
        ('[1, 2, 3, "NaN"]', "not a number"),
        ("[1, 2, 3, null]", "not a number"),
        ("[1, 2, 3, true]", "not a number"),
        ("[1, 2, 3, {}]", "not a number"),
    ],
)
def test_a_bad_vector(values: str, message: str) -> None:
    """A vector that must not be stored fails with the reason, and its tokens were billed."""
    text = '{"key": "chunk_1", "response": {"embedding": {"values": %s}, "tokenCount": "5"}}'
    outcome = only((text % values).encode())
    assert outcome.error_code == BAD_VECTOR
    assert message in str(outcome.error_message)
    assert (outcome.vector, outcome.billed_tokens) == (None, 5)


@pytest.mark.parametrize(
    "values", ["[3, -4.0, 0, 12.0]", "[3, -4, 0, 12]", "[3e0, -0.4E+1, -0.0, 12]"]
)
def test_integers_among_the_values(values: str) -> None:
    """Whole numbers may be written without a point."""
    text = '{"key": "chunk_1", "response": {"embedding": {"values": %s}}}'
    vector = only((text % values).encode()).vector
    assert vector is not None
    assert np.frombuffer(vector, "<f4").tolist() == np.frombuffer(UNIT, "<f4").tolist()


@pytest.mark.parametrize(
    ("count", "tokens"),
    [
        ("5", 5),
        (5, 5),
        ("0", None),
        ("-5", None),
        (-5, None),
        ("", None),
        ("many", None),
        ("5.0", None),
        (True, None),
        (5.5, None),
        (None, None),
        ({"n": 5}, None),
        ([5], None),
        (10**30, None),
        ("9" * 400, None),
        ("9" * 10_000, None),
    ],
)
def test_billed_tokens(count: object, tokens: int | None) -> None:
    """Tokens come as a text or a number; for what is neither, none, or absurd: the estimate."""
    expected = uncounted(embedded(1)) if tokens is None else embedded(1, billed_tokens=tokens)
    assert only(good(1, tokenCount=count)) == expected


def test_no_token_count() -> None:
    """A response without a count was paid for as likely as not: the estimate is on the bill."""
    document = {"key": "chunk_1", "response": {"embedding": {"values": VALUES}}}
    assert only(line(document)) == uncounted(embedded(1))


@pytest.mark.parametrize(
    "document",
    [
        {"key": "chunk_1", "response": {"usageMetadata": USAGE, "embedding": {"values": VALUES}}},
        {"key": "chunk_1", "usageMetadata": USAGE, "response": {"embedding": {"values": VALUES}}},
        {"metadata": {"key": "chunk_1"}, **result(None)},
        {"key": "chunk_1", "response": {"tokenCount": "5", "embeddings": [{"values": VALUES}]}},
        {"key": "chunk_1", "embedding": {"values": VALUES}, "usageMetadata": USAGE},
        {"status": {}, **result("chunk_1")},
        {"status": {"code": 0}, **result("chunk_1")},
        {"status": "SUCCEEDED", **result("chunk_1")},
    ],
)
def test_other_shapes_of_a_good_line(document: dict[str, object]) -> None:
    """Key, vector and tokens are found wherever somebody has seen them."""
    assert only(line({k: v for k, v in document.items() if v is not None})) == embedded(1)


def test_two_vectors_for_one_text() -> None:
    """Nobody could say which of them is meant."""
    two = [{"values": VALUES}, {"values": VALUES}]
    document = {"key": "chunk_1", "response": {"embeddings": two, "usageMetadata": USAGE}}
    assert only(line(document)) == RequestOutcome(
        chunk_id=1,
        billed_tokens=5,
        error_code=MALFORMED_LINE,
        error_message="the result line has neither a vector nor an error",
    )


def test_an_error_as_a_status() -> None:
    """A google.rpc.Status in place of an error keeps its code and its message, and is free."""
    document = {"key": "chunk_1", "status": {"code": 3, "message": "too long"}}
    assert only(line(document)) == RequestOutcome(
        chunk_id=1, error_code="INVALID_ARGUMENT", error_message="too long"
    )


def test_further_lists_in_a_line() -> None:
    """Usage metadata with lists of its own, as newer models send it, does no harm."""
    usage = {"promptTokenCount": 5, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}]}
    assert only(good(1, usageMetadata=usage)) == embedded(1)


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 100_000,
        b"\xff\xfe",
        good(2)[:-9],
        line(result({"a": {"b": 1}}, tokenCount={"n": {"m": 1}})),
        line(result("chunk_2", {"a": 1})),
        line(result("chunk_2", [[1], [2], [3], [4]])),
        line(result("chunk_2", [{"a": 1}])),
        line(result("chunk_2", tokenCount={"n": {"m": 1}})),
        line({"key": "chunk_2", "error": {"code": {"a": 1}}}),
        line({"key": "chunk_2", "response": [{"a": 1}]}),
        good(2),
    ],
    ids=lambda hostile: repr(hostile[:60]),
)
def test_one_line_does_not_slow_the_next(hostile: bytes) -> None:
    """Nothing of a line is kept: simdjson would refuse the next one, and leave it to Python's."""
    parser = _LineParser((1, 2), DIMENSIONS, lambda _: ESTIMATE)
    parser.parse(hostile)
    assert isinstance(parser.read(good(1)), simdjson.Object)


components = st.floats(-1e30, 1e30) | st.integers(-(10**20), 10**20) | st.floats(-1, 1)


@given(st.lists(components, min_size=DIMENSIONS, max_size=DIMENSIONS))
def test_directions_are_kept(values: list[float]) -> None:
    """A stored vector has length one and points where Gemini's did."""
    outcome = only(good(1, embedding={"values": values}))
    length = math.hypot(*values)
    if outcome.vector is None:
        assert length < 1e-37
    else:
        expected = [value / length for value in values]
        assert np.frombuffer(outcome.vector, "<f4").tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("fields", [{}, {"vector": UNIT, "error_message": "both"}])
def test_an_outcome_is_a_vector_or_an_error(fields: dict[str, Any]) -> None:
    """An outcome with both or with neither cannot be made."""
    with pytest.raises(ValueError, match="chunk 1 needs either a vector or an error"):
        RequestOutcome(chunk_id=1, **fields)


# --- anything at all ------------------------------------------------------------------------


def assert_sound(results: ParsedResults, requested: Iterable[int]) -> None:
    """What holds for every file: one outcome a request, and only good vectors."""
    assert [outcome.chunk_id for outcome in results.outcomes] == sorted(set(requested))
    n_answered = sum(outcome.error_code != MISSING_LINE for outcome in results.outcomes)
    assert results.n_lines == n_answered + results.n_unknown + results.n_duplicate
    for outcome in results.outcomes:
        assert 0 <= outcome.billed_tokens < 2**31
        if outcome.vector is None:
            assert outcome.error_code
            assert outcome.error_message
            assert len(outcome.error_message.encode()) <= 2000
        else:
            assert outcome.error_code is None
            values = np.frombuffer(outcome.vector, "<f4").astype(np.float64)
            assert values.shape == (DIMENSIONS,)
            assert np.isfinite(values).all()
            assert abs(np.linalg.norm(values) - 1) <= 1e-6


SCALARS: st.SearchStrategy[object] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["chunk_1", "chunk_2", "5", "error", 10**400, 1e308])
)
NAMES = st.sampled_from(
    ["key", "response", "error", "embedding", "values", "tokenCount", "code", "message", "x"]
)
DOCUMENTS = st.recursive(
    SCALARS | st.lists(st.floats(), min_size=DIMENSIONS, max_size=DIMENSIONS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
SHAPED = st.builds(
    result,
    st.sampled_from(["chunk_1", "chunk_2", "chunk_3", "chunk_9"]) | SCALARS,
    st.lists(st.floats() | st.integers(), min_size=DIMENSIONS, max_size=DIMENSIONS) | DOCUMENTS,
    tokenCount=SCALARS,
)
INSERTS = (
    b"",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b":",
    b"\\",
    b"\x00",
    b"\xff",
    b"9",
    b"e9",
    b"-",
)


@settings(deadline=None)
@given(st.lists((DOCUMENTS | SHAPED).map(line) | st.binary(max_size=40), max_size=15))
def test_anything_at_all(lines: list[bytes]) -> None:
    """No file makes parsing fail: one outcome a request, and only good vectors stored."""
    assert_sound(parse(*lines, requested=[3, 1, 2]), [1, 2, 3])


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=True))
def test_ten_thousand_mutilated_lines(random: Random) -> None:
    """Good lines with bytes cut out, put in or the end missing do no more harm than that."""
    lines = [mutilated(good(random.choice((1, 2, 3, 9))), random) for _ in range(100)]
    assert_sound(parse(*lines, requested=[3, 1, 2]), [1, 2, 3])


def mutilated(text: bytes, random: Random) -> bytes:
    """The text with up to three small wounds, or cut off."""
    for _ in range(random.randint(0, 3)):
        start = random.randrange(len(text))
        end = random.choice((start, start + random.randint(1, 4), len(text)))
        text = text[:start] + random.choice(INSERTS) + text[end:] + b" "
    return text.replace(b"\n", b"")


@pytest.mark.parametrize("document", [result("chunk_1"), {"key": "chunk_1", "error": {"code": 3}}])
def test_every_truncation(document: object) -> None:
    """However much of a line arrived, the request has an outcome; a whole vector or none."""
    text = line(document)
    for length in range(len(text) + 1):
        results = parse(text[:length])
        assert_sound(results, [1])
        assert (results.outcomes[0].vector is None) or length >= len(text) - 1


@pytest.mark.parametrize("further", [[], math.nan], ids=["a list", "no JSON"])
@settings(max_examples=200, deadline=None)
@given(document=SHAPED | st.dictionaries(NAMES, DOCUMENTS))
def test_all_ways_of_reading_agree(document: dict[str, object], further: object) -> None:
    """A further value that makes a line be read in another way does not change its meaning."""
    text = line({**document, "further": further})
    assert parse(line(document)).outcomes == parse(text).outcomes


# --- whole files ------------------------------------------------------------------------------


@pytest.mark.parametrize("requested", [(), (1,), (1, 2), (2, 1)])
def test_a_file_with_every_answer_is_whole(requested: tuple[int, ...]) -> None:
    """Whatever the order, and with more lines than were asked for."""
    assert parse(good(2), good(1), b"\n", requested=requested).is_whole


def test_a_last_line_without_its_newline_is_whole() -> None:
    """A file may end with its last bracket."""
    assert parse(good(1), good(2).rstrip(), requested=(1, 2)).is_whole


def test_a_file_that_lacks_an_answer_is_not_whole() -> None:
    """One line fewer than requests."""
    assert not parse(good(1), requested=(1, 2)).is_whole


def test_a_file_whose_last_line_has_no_number_for_a_value_is_whole() -> None:
    """What strict parsers refuse did arrive to its end."""
    bad = result("chunk_2", [math.nan, 1.0, 1.0, 1.0])
    assert parse(good(1), line(bad), requested=(1, 2)).is_whole


@pytest.mark.parametrize("n_lost", [3, 30, 60])
def test_a_file_that_ends_in_a_line_is_not_whole(n_lost: int) -> None:
    """A part of the last line is not enough, wherever its key stands."""
    key_first = line({"key": "chunk_2", "response": result("x")["response"]})
    for last in (key_first, good(2)):
        assert not parse(good(1), last[:-n_lost], requested=(1, 2)).is_whole


def test_a_missing_line_says_why_its_job_ended() -> None:
    """A request that a job did not get to has the job's own words."""
    results = parse_results([], requested=(1,), dimensions=DIMENSIONS, job_error="Out of time.")
    assert results.outcomes[0].error_message == (
        "the result file has no line for this request; the job ended early: Out of time."
    )
