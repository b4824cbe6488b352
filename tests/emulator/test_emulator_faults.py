"""Faults: each kind does what it says, as often as it was told, to whom it was told."""

import json
import math
from collections.abc import Callable
from typing import Any

import httpx2
import orjson
import pytest
from google import genai
from google.genai import errors, types

from embedding_assets.emulator.batches import BatchState
from embedding_assets.emulator.errors import Quota
from embedding_assets.emulator.faults.book import FaultRecord, Strikes
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import Emulator
from embedding_assets.emulator.state import State

MODEL = "gemini-embedding-001"


def test_an_error_line_says_what_it_was_told_to(
    state: State,
    submit_locally: Callable[..., str],
    result_lines: Callable[[str], list[bytes]],
) -> None:
    """The text that matches gets the error, the others their vectors."""
    state.faults.add(
        Fault(kind=FaultKind.ERROR_LINE, match="zebra", code=8, message="Too many stripes")
    )
    by_key = _by_key(result_lines(submit_locally(["a zebra", "a horse"])))
    assert by_key["key_0"] == {
        "key": "key_0",
        "error": {"code": 8, "message": "Too many stripes"},
    }
    assert "response" in by_key["key_1"]


def test_a_missing_line_is_missing(
    state: State,
    submit_locally: Callable[..., str],
    result_lines: Callable[[str], list[bytes]],
) -> None:
    """Nothing at all is said about the request, here found by its key."""
    state.faults.add(Fault(kind=FaultKind.MISSING_LINE, match="key_1"))
    assert _by_key(result_lines(submit_locally(["a", "b", "c"]))).keys() == {"key_0", "key_2"}


def test_a_vector_of_wrong_dimension_is_one_short(
    state: State,
    submit_locally: Callable[..., str],
    result_lines: Callable[[str], list[bytes]],
) -> None:
    """The line is well-formed, the vector is not what was ordered."""
    state.faults.add(Fault(kind=FaultKind.WRONG_DIMENSION))
    [line] = result_lines(submit_locally(["text"], dimensions=8))
    assert len(orjson.loads(line)["response"]["embedding"]["values"]) == 7


def test_swapped_vectors_are_the_next_request_s(
    state: State,
    submit_locally: Callable[..., str],
    result_lines: Callable[[str], list[bytes]],
) -> None:
    """Every key is right, every vector is of the text after it, and all of it is billed."""
    texts = ["a zebra", "the horse", "some donkeys"]
    intact = _vectors(result_lines(submit_locally(texts)))
    state.faults.add(Fault(kind=FaultKind.SWAPPED_VECTORS, match="other"))
    assert _vectors(result_lines(submit_locally(texts))) == intact
    swapped = _vectors(result_lines(submit_locally(texts, display_name="another")))
    assert swapped == {
        "key_0": intact["key_1"],
        "key_1": intact["key_2"],
        "key_2": intact["key_0"],
    }
    assert [record.n_struck for record in state.faults.records()] == [1]
    assert [text.times for text in state.bill().texts] == [3, 3, 3]


def test_both_doors_answer_a_text_alike_until_one_of_them_changes(
    client: genai.Client,
    state: State,
    submit_locally: Callable[..., str],
    result_lines: Callable[[str], list[bytes]],
) -> None:
    """A changed model answers other vectors, by jobs, by the synchronous route, or by both."""

    def by_job() -> list[float]:
        [line] = result_lines(submit_locally(["a zebra"]))
        return list(orjson.loads(line)["response"]["embedding"]["values"])

    def at_once() -> list[float]:
        config = types.EmbedContentConfig(output_dimensionality=8)
        answer = client.models.embed_content(model=MODEL, contents=["a zebra"], config=config)
        assert answer.embeddings is not None
        return list(answer.embeddings[0].values or ())

    before = by_job()
    assert at_once() == before
    state.faults.add(Fault(kind=FaultKind.CHANGED_MODEL))
    assert by_job() != before
    assert at_once() == before
    state.faults.add(Fault(kind=FaultKind.CHANGED_SYNC_MODEL))
    assert at_once() == by_job() != before
    bill = state.bill()
    assert (bill.batch_requests, bill.sync_requests) == (3, 3)


@pytest.mark.parametrize("dimensions", [1, 8])
def test_a_vector_with_a_value_that_is_no_number(
    state: State,
    submit_locally: Callable[..., str],
    result_lines: Callable[[str], list[bytes]],
    dimensions: int,
) -> None:
    """The first value is a bare NaN, which strict JSON parsers refuse."""
    state.faults.add(Fault(kind=FaultKind.NAN_VALUE))
    [line] = result_lines(submit_locally(["text"], dimensions=dimensions))
    values = json.loads(line)["response"]["embedding"]["values"]
    assert [math.isnan(value) for value in values] == [True] + [False] * (dimensions - 1)


def test_a_duplicate_line_comes_twice(
    state: State,
    submit_locally: Callable[..., str],
    result_lines: Callable[[str], list[bytes]],
) -> None:
    """The same line is there two times."""
    state.faults.add(Fault(kind=FaultKind.DUPLICATE_LINE))
    first, second = result_lines(submit_locally(["text"]))
    assert first == second


def test_a_malformed_line_spoils_only_itself(
    state: State,
    submit_locally: Callable[..., str],
    result_lines: Callable[[str], list[bytes]],
) -> None:
    """A line that ends in the middle is still followed by whole ones."""
    state.faults.add(Fault(kind=FaultKind.MALFORMED_LINE, match="key_0"))
    lines = result_lines(submit_locally(["a", "b", "c"]))
    whole = [line for line in lines if line.endswith(b"}")]
    assert len(lines) == 3
    assert _by_key(whole).keys() == {"key_1", "key_2"}


def test_a_fault_strikes_as_often_as_it_was_told(
    state: State,
    submit_locally: Callable[..., str],
    result_lines: Callable[[str], list[bytes]],
) -> None:
    """Once its times are used up, a rule is spent; the count is shown."""
    state.faults.add(Fault(kind=FaultKind.ERROR_LINE, match="text", times=2))
    n_errors = [
        sum(b'"error"' in line for line in result_lines(submit_locally(["text"] * n)))
        for n in (1, 3, 2)
    ]
    assert n_errors == [1, 1, 0]
    assert [record.n_struck for record in state.faults.records()] == [2]


def test_a_fault_by_chance_is_the_same_chance_for_the_same_seed() -> None:
    """Some calls are struck and some are not, and the seed decides which."""
    drawn = [_draws(seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 20 < sum(drawn[0]) < 80


def test_what_else_is_left_to_chance_differs_from_strike_to_strike() -> None:
    """Every strike has a seed of its own, and the same one for the same seed of the emulator."""
    fault = Fault(kind=FaultKind.DOWNLOAD_TRUNCATED)
    record = FaultRecord(fault_id=1, fault=fault, n_considered=7, n_struck=7)
    first, again, other = (
        [strike.seed for strike in (strikes.strike(""), strikes.strike("")) if strike]
        for strikes in (Strikes([record], seed) for seed in (1, 1, 2))
    )
    assert first == again
    assert len({*first, *other}) == 4


@pytest.mark.parametrize(
    ("kind", "ended", "rpc_code"),
    [
        (FaultKind.JOB_FAILED, types.JobState.JOB_STATE_FAILED, 13),
        (FaultKind.JOB_EXPIRED, types.JobState.JOB_STATE_EXPIRED, 4),
        (FaultKind.JOB_CANCELLED, types.JobState.JOB_STATE_CANCELLED, 1),
    ],
)
def test_a_job_ends_badly(
    client: genai.Client,
    emulator: Emulator,
    http: httpx2.Client,
    submit: Callable[..., Any],
    kind: FaultKind,
    ended: types.JobState,
    rpc_code: int,
) -> None:
    """The job whose display name matches ends without results, the next one well."""
    emulator.state.faults.add(Fault(kind=kind, match="shard-1", times=1, message="Bad luck."))
    doomed, fine = submit(["text"], display_name="shard-1"), submit(["text"])
    emulator.state.wait_idle()
    job = client.batches.get(name=doomed.name)
    assert (job.state, job.dest) == (ended, None)
    assert http.get(f"/v1beta/{doomed.name}").json()["error"] == {
        "code": rpc_code,
        "message": "Bad luck.",
    }
    assert client.batches.get(name=fine.name).state is types.JobState.JOB_STATE_SUCCEEDED


def test_a_stuck_job_runs_until_it_is_cancelled(
    state: State, submit_locally: Callable[..., str], advance: Callable[[float], None]
) -> None:
    """Days later it is still running; cancelling ends it."""
    state.faults.add(Fault(kind=FaultKind.JOB_STUCK))
    batch_id = submit_locally(["text"])
    state.wait_idle()
    advance(5 * 24 * 3600)
    assert (
        state.batches.get(batch_id, now=state.clock()).state_at(state.clock()) is BatchState.RUNNING
    )
    state.batches.cancel(batch_id, now=state.clock())
    assert (
        state.batches.get(batch_id, now=state.clock()).state_at(state.clock())
        is BatchState.CANCELLED
    )


@pytest.mark.parametrize(
    ("endpoint", "status", "error"),
    [
        (Endpoint.CREATE, 429, errors.ClientError),
        (Endpoint.UPLOAD, 503, errors.ServerError),
        (Endpoint.UPLOAD_CHUNK, 400, errors.ClientError),
        (Endpoint.GET, 404, errors.ClientError),
        (Endpoint.LIST, 500, errors.ServerError),
        (Endpoint.DOWNLOAD, 403, errors.ClientError),
        (Endpoint.EMBED, 429, errors.ClientError),
        (Endpoint.CANCEL, 503, errors.ServerError),
    ],
)
def test_a_call_is_answered_with_an_error(
    client: genai.Client,
    emulator: Emulator,
    submit: Callable[..., Any],
    endpoint: Endpoint,
    status: int,
    error: type[errors.APIError],
) -> None:
    """The endpoint fails once with the status asked for; the same call then succeeds."""
    emulator.state.faults.add(
        Fault(kind=FaultKind.CALL_ERROR, endpoint=endpoint, status=status, times=1)
    )
    with pytest.raises(error, match="A fault was asked for") as refusal:
        _every_call(client, emulator, submit)
    assert refusal.value.code == status
    _every_call(client, emulator, submit)


def test_a_call_error_without_an_endpoint_strikes_any(
    client: genai.Client, emulator: Emulator, submit: Callable[..., Any]
) -> None:
    """Whichever call comes next fails, until the times are used up."""
    n_calls = 8  # upload, its chunk, create, get, list, download, embed, cancel
    emulator.state.faults.add(Fault(kind=FaultKind.CALL_ERROR, times=1, match="never"))
    emulator.state.faults.add(Fault(kind=FaultKind.CALL_ERROR, times=n_calls))
    for call in (client.files.list, client.batches.list):
        with pytest.raises(errors.ServerError, match="503"):
            call()
    for _ in range(n_calls - 2):
        with pytest.raises(errors.ServerError, match="503"):
            _every_call(client, emulator, submit)
    _every_call(client, emulator, submit)
    assert [record.n_struck for record in emulator.state.faults.records()] == [0, n_calls]


def test_a_call_error_can_be_aimed_at_a_text(client: genai.Client, emulator: Emulator) -> None:
    """Only the call that carries the text is refused."""
    emulator.state.faults.add(
        Fault(kind=FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, match="poison", status=400)
    )
    client.models.embed_content(model=MODEL, contents=["food"])
    with pytest.raises(errors.ClientError):
        client.models.embed_content(model=MODEL, contents=["food", "poison"])
    assert emulator.state.bill().requests == 1


@pytest.mark.parametrize(
    ("quota", "named", "delay"),
    [
        (Quota.TOKENS, None, None),
        (Quota.REQUESTS, "EmbedContentRequestsPerMinutePerProjectPerModel", "7s"),
        (Quota.STORAGE, "FileStorageBytesPerProject", "9223372036854775807s"),
        (Quota.SPEND, None, None),
        (Quota.CREDITS, None, None),
    ],
)
def test_a_call_error_can_be_about_a_quota(
    client: genai.Client, emulator: Emulator, quota: Quota, named: str | None, delay: str | None
) -> None:
    """429 with Gemini's words for it, and with its details where Gemini gives some."""
    emulator.state.faults.add(Fault(kind=FaultKind.CALL_ERROR, quota=quota))
    with pytest.raises(errors.ClientError) as refusal:
        client.batches.list()
    assert (refusal.value.code, refusal.value.status) == (429, "RESOURCE_EXHAUSTED")
    details = refusal.value.details["error"].get("details")
    if named is None:
        assert details is None
    else:
        failure, retry = details
        assert failure["violations"][0]["quotaId"] == named
        assert retry["retryDelay"] == delay


def test_a_job_whose_creator_never_hears_of_it(
    client: genai.Client, emulator: Emulator, submit: Callable[..., Any]
) -> None:
    """The connection is closed without an answer, the job is there, and the server lives on."""
    emulator.state.faults.add(Fault(kind=FaultKind.CREATE_THEN_DROP, match="lost", times=1))
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        submit(["text"], display_name="lost shard")
    assert [job.display_name for job in client.batches.list()] == ["lost shard"]
    assert emulator.state.bill().jobs_created == 1


def test_inlined_answers_can_be_struck(client: genai.Client, emulator: Emulator) -> None:
    """An error takes the place of a vector among the inlined answers."""
    emulator.state.faults.add(Fault(kind=FaultKind.MALFORMED_LINE))  # impossible inside JSON
    emulator.state.faults.add(Fault(kind=FaultKind.ERROR_LINE, match="second", code=8))
    created = client.batches.create_embeddings(
        model=MODEL, src={"inlined_requests": {"contents": ["first", "second"]}}
    )
    emulator.state.wait_idle()
    dest = client.batches.get(name=created.name or "").dest
    assert dest is not None
    first, second = dest.inlined_embed_content_responses or []
    assert first.response is not None
    assert second.error is not None
    assert second.error.code == 8


def test_faults_survive_a_restart(open_state: Callable[..., State]) -> None:
    """Rules and how often they have struck are kept on disk."""
    fault = Fault(kind=FaultKind.CALL_ERROR, endpoint=Endpoint.GET, times=3)
    with open_state() as before:
        before.faults.add(fault)
        before.faults.strike({FaultKind.CALL_ERROR}, "", endpoint=Endpoint.GET)
    with open_state() as after:
        [record] = after.faults.records()
    assert (record.fault, record.n_struck) == (fault, 1)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "JSON object"),
        ({"kind": "meteor"}, "meteor"),
        ({}, "'' is none of error_line, missing_line, "),
        ({"kind": "error_line", "endpoint": "get"}, "names an endpoint"),
        ({"kind": "call_error", "endpoint": "lunch"}, "'lunch' is none of upload, "),
        ({"kind": "error_line", "quota": "tokens"}, "names a quota"),
        ({"kind": "call_error", "quota": "patience"}, "'patience' is none of tokens, "),
        ({"kind": "job_failed", "is_refused": True}, "only the job of a poison_text is refused"),
        ({"kind": "poison_text", "is_refused": 1}, "is_refused must be true or false, not 1"),
        ({"kind": "call_error", "endpoint": "get", "status": 200}, "status"),
        ({"kind": "error_line", "times": 0}, "times"),
        ({"kind": "error_line", "probability": 2}, "probability"),
        ({"kind": "error_line", "colour": "red"}, "colour"),
        ({"kind": "error_line", "match": 7}, "match must be a text, not 7"),
        ({"kind": "error_line", "times": True}, "times must be a whole number"),
        ({"kind": "create_late", "delay_s": -1}, "delay_s"),
        ({"kind": "late_output", "delay_s": "soon"}, "delay_s must be a number"),
        ({"kind": "job_partial", "answered": 0}, "between 0 and 1"),
        ({"kind": "job_partial", "answered": 1}, "between 0 and 1"),
        ({"kind": "job_failed", "answered": 1.5}, "from 0 to 1"),
        ({"kind": "job_stuck", "answered": 0.5}, "not for job_stuck"),
        ({"kind": "late_output", "answered": 0.5}, "not for late_output"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(body: object, message: str) -> None:
    """A rule that could never strike as meant is an error that says why."""
    with pytest.raises(ValueError, match=message):
        Fault.from_json(body)


def _by_key(lines: list[bytes]) -> dict[str, Any]:
    return {parsed["key"]: parsed for parsed in map(orjson.loads, lines)}


def _vectors(lines: list[bytes]) -> dict[str, Any]:
    return {key: line["response"]["embedding"] for key, line in _by_key(lines).items()}


def _draws(seed: int) -> list[bool]:
    fault = Fault(kind=FaultKind.ERROR_LINE, probability=0.5)
    record = FaultRecord(fault_id=1, fault=fault, n_considered=0, n_struck=0)
    strikes = Strikes([record], seed)
    return [strikes.strike("text") is not None for _ in range(100)]


def _every_call(client: genai.Client, emulator: Emulator, submit: Callable[..., Any]) -> None:
    job = submit(["text"])
    emulator.state.wait_idle()
    client.batches.get(name=job.name)
    assert list(client.batches.list())
    client.files.download(file=f"files/batch-{job.name.removeprefix('batches/')}")
    client.models.embed_content(model=MODEL, contents=["text"])
    client.batches.cancel(name=job.name)


def test_the_key_is_quoted(state: State, http: httpx2.Client) -> None:
    """The refusal has the caller's key in its message."""
    state.faults.add(Fault(kind=FaultKind.KEY_QUOTED, endpoint=Endpoint.LIST, status=403))
    answer = http.get("/v1beta/batches")
    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == "A fault was asked for. It was sent by 'test'."
    assert http.get("/v1beta/files").status_code == 200


def test_a_call_is_led_elsewhere(state: State, http: httpx2.Client) -> None:
    """The answer names the same path at another server, and nothing was done."""
    rule = Fault(kind=FaultKind.REDIRECTED, endpoint=Endpoint.EMBED, location="https://other.test")
    state.faults.add(rule)
    path = "/v1beta/models/gemini-embedding-001:embedContent"
    answer = http.post(path, json={"content": {"parts": [{"text": "a"}]}})
    assert (answer.status_code, answer.headers["Location"]) == (307, f"https://other.test{path}")
    assert state.bill().requests == 0
