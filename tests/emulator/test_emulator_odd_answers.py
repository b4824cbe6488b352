"""Answers in other shapes: what each fault makes of a result file, an operation, a call."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import types

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import Emulator
from embedding_assets.emulator.state import State

MODEL = "gemini-embedding-001"
Submit = Callable[..., str]
Lines = Callable[[str], list[bytes]]


def the_line(submit: Submit, lines: Lines) -> dict[str, Any]:
    """The only line of a job of one text."""
    [line] = lines(submit(["text"], dimensions=2))
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.parametrize(
    ("kind", "names", "names_of_response"),
    [
        (FaultKind.KEY_IN_METADATA, {"metadata", "response"}, {"tokenCount", "embedding"}),
        (FaultKind.KEY_RENAMED, {"custom_id", "response"}, {"tokenCount", "embedding"}),
        (FaultKind.USAGE_METADATA, {"key", "response"}, {"usageMetadata", "embedding"}),
        (FaultKind.UNCOUNTED, {"key", "response"}, {"embedding"}),
        (FaultKind.EMBEDDINGS_LIST, {"key", "response"}, {"tokenCount", "embeddings"}),
        (FaultKind.TEXT_VALUES, {"key", "response"}, {"tokenCount", "embedding"}),
    ],
)
def test_a_line_of_another_shape_is_paid_for(
    state: State,
    submit_locally: Submit,
    result_lines: Lines,
    kind: FaultKind,
    names: set[str],
    names_of_response: set[str],
) -> None:
    """It has the vector, in some way or other."""
    state.faults.add(Fault(kind=kind))
    line = the_line(submit_locally, result_lines)
    assert (set(line), set(line["response"])) == (names, names_of_response)
    assert state.bill().requests == 1


def test_an_error_as_a_status(state: State, submit_locally: Submit, result_lines: Lines) -> None:
    """Code and message are those of the rule, and nothing is billed."""
    state.faults.add(Fault(kind=FaultKind.STATUS_LINE, code=3, message="no"))
    line = the_line(submit_locally, result_lines)
    assert line == {"key": "key_0", "status": {"code": 3, "message": "no"}}
    assert state.bill().requests == 0


@pytest.mark.parametrize("is_billed", [False, True])
def test_a_spoilt_line_is_billed_if_the_rule_says_so(
    state: State, submit_locally: Submit, result_lines: Lines, is_billed: bool
) -> None:
    """Google would bill it; a second purchase is on the bill only by the client's doing."""
    state.faults.add(Fault(kind=FaultKind.MISSING_LINE, is_billed=is_billed))
    assert result_lines(submit_locally(["text"])) == []
    assert state.bill().requests == int(is_billed)


@pytest.mark.parametrize(
    ("kind", "beginning"),
    [
        (FaultKind.SIGN_IN_PAGE, b"<!DOCTYPE html>"),
        (FaultKind.EMPTY_DOWNLOAD, b""),
        (FaultKind.ERROR_DOCUMENT, b'{"error":{"code":503,'),
    ],
)
def test_something_else_is_downloaded(
    client: genai.Client, emulator: Emulator, kind: FaultKind, beginning: bytes
) -> None:
    """With status 200, once; then the file."""
    file = client.files.upload(file=__file__, config={"mime_type": "jsonl"})
    emulator.state.faults.add(Fault(kind=kind, times=1))
    assert file.name is not None
    first, second = (client.files.download(file=file.name) for _ in range(2))
    assert first.startswith(beginning)
    assert len(first) < 200 < len(second)


def test_results_lie_in_the_operation(
    emulator: Emulator, http: httpx2.Client, submit: Callable[..., types.BatchJob]
) -> None:
    """Looked up or listed: each answer with its key beside it, and no file is named."""
    emulator.state.faults.add(Fault(kind=FaultKind.INLINED_RESULTS))
    name = submit(["a", "b"]).name
    emulator.state.wait_idle()
    [listed] = http.get("/v1beta/batches").json()["operations"]
    for operation in (listed, http.get(f"/v1beta/{name}").json()):
        for output in (operation["response"], operation["metadata"]["output"]):
            assert "responsesFile" not in output
            answers = output["inlinedResponses"]["inlinedResponses"]
            assert sorted(answer["metadata"]["key"] for answer in answers) == ["key_0", "key_1"]
            assert all("embedding" in answer["response"] for answer in answers)


def test_a_line_that_is_cut_leaves_nothing_in_the_operation(
    emulator: Emulator, http: httpx2.Client, submit: Callable[..., types.BatchJob]
) -> None:
    """Two faults at once are two faults, and no error of the emulator's."""
    emulator.state.faults.add(Fault(kind=FaultKind.INLINED_RESULTS))
    emulator.state.faults.add(Fault(kind=FaultKind.MALFORMED_LINE, match="key_0"))
    name = submit(["a", "b"]).name
    emulator.state.wait_idle()
    answers = http.get(f"/v1beta/{name}").json()["response"]["inlinedResponses"]
    keys = [answer.get("metadata", {}).get("key") for answer in answers["inlinedResponses"]]
    assert sorted(map(str, keys)) == ["None", "key_1"]


@pytest.mark.parametrize(
    ("kind", "n_vectors", "is_counted"),
    [(FaultKind.TOO_FEW_VECTORS, 1, True), (FaultKind.UNCOUNTED_ANSWER, 2, False)],
)
def test_a_synchronous_call_that_lacks_something(
    client: genai.Client, emulator: Emulator, kind: FaultKind, n_vectors: int, is_counted: bool
) -> None:
    """Vectors, or the word on the tokens; it is billed all the same."""
    emulator.state.faults.add(Fault(kind=kind))
    contents: list[Any] = [types.Content(parts=[types.Part(text=text)]) for text in ("a", "b")]
    answer = client.models.embed_content(model=MODEL, contents=contents)
    assert len(answer.embeddings or ()) == n_vectors
    assert (answer.usage_metadata is not None) is is_counted
    assert emulator.state.bill().sync_requests == 2
