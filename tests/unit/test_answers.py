"""Whether an answer is understood as a whole: what is about us, and what about a few texts."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from embedding_assets.model.answers import Evidence, is_result_file, outline, reason_to_hold
from embedding_assets.model.results import ParsedResults, parse_results

GOOD = [1.0, 0.0]
SHORT = [1.0]
KNOWN = Evidence(is_known_shape=True)


def lines(*vectors: Sequence[float] | None, first: int = 1) -> list[bytes]:
    """A line for each vector, chunk_1 and so on; None is a line that Gemini refused."""
    return [
        json.dumps(
            {"key": f"chunk_{n}", "response": {"tokenCount": "5", "embedding": {"values": vector}}}
            if vector
            else {"key": f"chunk_{n}", "error": {"code": 3, "message": "no"}}
        ).encode()
        for n, vector in enumerate(vectors, start=first)
    ]


def read(found: Sequence[bytes], n_requests: int) -> ParsedResults:
    return parse_results(found, requested=range(1, n_requests + 1), dimensions=2)


def reason(found: Sequence[bytes], n_requests: int, **evidence: Any) -> str | None:
    return reason_to_hold(read(found, n_requests), Evidence(**evidence))


@pytest.mark.parametrize(
    ("n_bad", "n_good", "is_held"), [(5, 5, False), (6, 4, True), (0, 10, False), (10, 0, True)]
)
def test_most_of_an_answer(n_bad: int, n_good: int, is_held: bool) -> None:
    """More that cannot be used than can be is about us."""
    found = lines(*[SHORT] * n_bad, *[GOOD] * n_good)
    why = reason(found, 10, is_known_shape=True)
    assert (why is not None) is is_held
    if why:
        assert why.startswith(f"{n_bad} of 10 answers cannot be used: a vector of 1 values came")


def test_refusals_are_understood() -> None:
    """Gemini's word on a text is an answer, however many there are."""
    assert reason(lines(*[None] * 10), 10) is None


@pytest.mark.parametrize(("n_lost", "is_held"), [(2, False), (3, True), (10, True)])
def test_a_part_of_the_file(n_lost: int, is_held: bool) -> None:
    """What Gemini counts as answered and has no line lies at Gemini still: it is not sent again."""
    found = lines(*[GOOD] * (20 - n_lost))
    why = reason(found, 20, n_answered=20, is_known_shape=True)
    assert (why is not None) is is_held
    if why:
        assert why.startswith(f"{n_lost} of 20 answers cannot be used: the result file has no line")
    assert reason([*found, *lines(*[None] * n_lost, first=21 - n_lost)], 20, n_answered=20) is None


@pytest.mark.parametrize(("n_bad", "is_held"), [(1, False), (2, False), (3, True)])
def test_very_few_are_the_texts_own_fault(n_bad: int, is_held: bool) -> None:
    """If answers of their kind were understood before; if none ever was, it is about us."""
    found = lines(*[SHORT] * n_bad)
    assert (reason(found, n_bad, is_known_shape=True) is not None) is is_held
    assert reason(found, n_bad) is not None


@pytest.mark.parametrize(("n_bad", "is_held"), [(20, False), (21, True)])
def test_texts_that_failed_before_fail_again(n_bad: int, is_held: bool) -> None:
    """A shard of what could not be used before does not hold everybody up, unless it is large."""
    found = lines(*[SHORT] * n_bad)
    before = range(1, n_bad + 1)
    assert (reason(found, n_bad, failed_before=before) is not None) is is_held


def test_what_gemini_did_not_get_to_is_not_missing() -> None:
    """A job that ended early says so, or its count does; more lines lost than that are lost."""
    found = lines(GOOD, GOOD, GOOD)
    assert reason(found, 10) is not None
    assert reason(found, 10, job_error="expired") is None
    assert reason(found, 10, n_answered=3) is None
    assert reason(found, 10, n_answered=5) is None
    why = reason(found, 10, n_answered=10, job_error="expired")
    assert why is not None
    assert "Gemini counts 10 as answered" in why


def test_lines_that_are_nobodys_were_answered() -> None:
    """Also by a job that ended early: what is missing may be what they were for."""
    nobodys = [b'{"id": "chunk_%d"}' % n for n in range(4)]
    assert reason(nobodys, 10, job_error="expired") is not None
    assert reason([*nobodys, *lines(*[GOOD] * 4)], 10, job_error="expired") is None


def test_refusals_are_not_among_what_gemini_counts_as_answered() -> None:
    """Answers that are lost do not hide behind lines that say no."""
    refused = lines(*[None] * 4, GOOD)
    assert reason(refused, 10, n_answered=1) is None
    assert reason(refused, 12, n_answered=8) is not None


@pytest.mark.parametrize(
    ("found", "is_one"),
    [
        ([], False),
        ([b"<html>", b"<title>Sign in</title>"], False),
        ([b'{"error": {"code": 503, "message": "later"}}'], False),
        ([b"{", b'"error": {"code": 503}', b"}"], False),
        ([b"[1, 2]"], False),
        ([b"null"], False),
        ([b'{"id": "chunk_1"}'], True),
        ([b'{"id": "chunk_1"}', b'{"id": "chu'], True),
        (lines(GOOD), True),
        (lines(None), True),
    ],
)
def test_what_is_a_result_file(found: list[bytes], is_one: bool) -> None:
    """Lines of JSON objects, but for Google's own error in their place."""
    assert is_result_file(read(found, 2)) is is_one
    assert ("is no result file" in str(reason_to_hold(read(found, 2), KNOWN))) is not is_one


def test_an_outline_shows_the_shape_and_no_text() -> None:
    """Names, and the beginnings of what is short."""
    text = "The quick brown fox jumps over the lazy dog. " * 3
    shown = outline(json.dumps({"id": "chunk_1", "echo": text, "v": [0.1] * 768}).encode())
    assert shown.startswith("{'echo': 'The qu")
    assert "'id': 'chunk_1'" in shown
    assert "brown" not in shown
    assert outline(b"<html>" * 1000).startswith("'<html>")
    assert len(outline(b'{"a":' * 100_000)) < 200
    assert outline(b"\xff\xfe\x00") == "'\ufffd\ufffd\\x00'"


def test_nothing_is_an_answer_if_gemini_counts_none() -> None:
    """File and count agree: the requests fail for want of a line, and are free."""
    assert reason([], 2, n_answered=0) is None
    assert reason([], 2, n_answered=1) is not None
    assert reason([], 2) is not None
