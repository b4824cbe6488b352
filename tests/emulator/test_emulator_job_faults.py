"""Faults of jobs and of keys: output that is late, in part, under an error, or for nobody."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from google import genai
from google.genai import errors, types

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import Emulator
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State

MODEL = "gemini-embedding-001"
TEXTS = [f"text {number}" for number in range(10)]


def test_an_answer_under_an_unknown_key(
    state: State, submit_locally: Callable[..., str], result_lines: Callable[[str], list[bytes]]
) -> None:
    """It takes the place of the answer, under a key nobody asked for, always the same."""
    state.faults.add(Fault(kind=FaultKind.UNKNOWN_KEY, match="text 3"))
    first, again = ({*_keys(result_lines(submit_locally(TEXTS)))} for _ in range(2))
    asked_for = {f"key_{number}" for number in range(10)}
    assert asked_for - first == {"key_3"}
    [unknown] = first - asked_for
    assert unknown.startswith("chunk_999999999")
    assert int(unknown.removeprefix("chunk_")) < 2**63
    assert first == again


def test_a_poison_text_fails_its_whole_job(
    emulator: Emulator, http: httpx2.Client, submit: Callable[..., Any]
) -> None:
    """The operation ends with INVALID_ARGUMENT and has no output; jobs without the text succeed."""
    _strike(emulator, FaultKind.POISON_TEXT, match="text 3", message="Not edible.")
    operations = []
    for texts in (TEXTS, TEXTS[4:]):
        name = submit(texts).name
        emulator.state.wait_idle()
        operations.append(http.get(f"/v1beta/{name}").json())
    poisoned, food = operations
    assert poisoned["error"] == {"code": 3, "message": "Not edible."}
    assert poisoned["metadata"]["state"] == "BATCH_STATE_FAILED"
    assert "output" not in poisoned["metadata"]
    assert food["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    assert emulator.state.bill().requests == 6


def test_a_poison_text_refuses_the_creation_of_its_job(
    client: genai.Client, emulator: Emulator, submit: Callable[..., Any]
) -> None:
    """By the rule's parameter there is no job at all, so many times."""
    _strike(emulator, FaultKind.POISON_TEXT, match="text 3", is_refused=True, times=2)
    for _ in range(2):
        with pytest.raises(errors.ClientError, match="400 INVALID_ARGUMENT"):
            submit(TEXTS)
    submit(TEXTS)
    assert emulator.state.bill().jobs_created == 1


def test_a_job_fails_with_the_code_of_the_rule(
    emulator: Emulator, http: httpx2.Client, submit: Callable[..., Any]
) -> None:
    """INTERNAL, unless the rule says otherwise; what it answered before is there."""
    _strike(emulator, FaultKind.JOB_FAILED, code=3, answered=0.5, times=1)
    _strike(emulator, FaultKind.JOB_FAILED, times=1)
    names = [submit(TEXTS).name for _ in range(2)]
    emulator.state.wait_idle()
    operations = [http.get(f"/v1beta/{name}").json() for name in names]
    assert [operation["error"]["code"] for operation in operations] == [3, 13]
    assert ["output" in operation["metadata"] for operation in operations] == [True, False]


def test_a_late_output_is_not_there_when_the_job_ends(
    client: genai.Client,
    emulator: Emulator,
    http: httpx2.Client,
    submit: Callable[..., Any],
    advance: Callable[[float], None],
) -> None:
    """The job has succeeded, the file comes later, and only then it is paid."""
    _strike(emulator, FaultKind.LATE_OUTPUT, delay_s=60, times=1)
    name = submit(["text"]).name
    emulator.state.wait_idle()
    advance(59)
    operation = http.get(f"/v1beta/{name}").json()
    assert operation["done"] is True
    assert operation["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    assert operation["metadata"]["batchStats"]["successfulRequestCount"] == "1"
    assert "output" not in operation["metadata"]
    assert operation.keys() == {"name", "metadata", "done"}
    job = client.batches.get(name=name)
    assert (job.state, job.dest) == (types.JobState.JOB_STATE_SUCCEEDED, None)
    with pytest.raises(errors.ClientError) as refusal:
        client.files.download(file=_result_name(name))
    assert refusal.value.code == 403
    assert emulator.state.bill().requests == 0
    advance(1)
    assert http.get(f"/v1beta/{name}").json()["response"]["responsesFile"] == _result_name(name)
    assert client.files.download(file=_result_name(name))
    assert emulator.state.bill().requests == 1


def test_a_late_output_stays_late_after_a_restart(
    state: State,
    open_state: Callable[..., State],
    submit_locally: Callable[..., str],
    advance: Callable[[float], None],
) -> None:
    """The delay is kept on disk, and the file lives its two days from then on."""
    state.faults.add(Fault(kind=FaultKind.LATE_OUTPUT, delay_s=60))
    batch_id = submit_locally(["text"])
    state.wait_idle()
    state.close()
    with open_state() as after:
        batch = after.batches.get(batch_id, now=after.clock())
        there = []
        for seconds in (0, 59, 1, 48 * 3600 - 1, 1):
            advance(seconds)
            there.append(
                after.batches.result_is_available(batch_id, now=after.clock(), lifetime_s=48 * 3600)
            )
        assert there == [False, False, True, True, False]
        assert batch.has_output_at(after.clock())


def test_cancelling_a_job_whose_output_is_late_changes_nothing(
    state: State, submit_locally: Callable[..., str], advance: Callable[[float], None]
) -> None:
    """It has ended already."""
    state.faults.add(Fault(kind=FaultKind.LATE_OUTPUT, delay_s=60))
    batch_id = submit_locally(["text"])
    state.wait_idle()
    state.batches.cancel(batch_id, now=state.clock())
    advance(60)
    assert state.download_path(f"batch-{batch_id}").stat().st_size > 0


@pytest.mark.parametrize(("answered", "n_answered"), [(None, 5), (0.3, 3), (0.99, 9), (0.01, 0)])
def test_a_partial_job_answers_some_of_its_requests(
    client: genai.Client,
    emulator: Emulator,
    http: httpx2.Client,
    submit: Callable[..., Any],
    answered: float | None,
    n_answered: int,
) -> None:
    """Its state says so; the others have no line and cost nothing, and never are all answered."""
    _strike(emulator, FaultKind.JOB_PARTIAL, answered=answered)
    name = submit(TEXTS).name
    emulator.state.wait_idle()
    operation = http.get(f"/v1beta/{name}").json()  # the SDK does not know the state
    assert operation["metadata"]["state"] == "BATCH_STATE_PARTIALLY_SUCCEEDED"
    assert operation["done"] is True
    assert operation["response"]["responsesFile"] == _result_name(name)
    assert "error" not in operation
    assert _stats(operation) == (10, n_answered, 0, 10 - n_answered)
    keys = _keys(client.files.download(file=_result_name(name)).splitlines())
    assert len({*keys}) == len(keys) == n_answered
    assert emulator.state.bill().batch_requests == n_answered


def test_a_partial_job_of_one_request_answers_none(
    state: State, submit_locally: Callable[..., str], result_lines: Callable[[str], list[bytes]]
) -> None:
    """Its result file is empty."""
    state.faults.add(Fault(kind=FaultKind.JOB_PARTIAL, answered=0.9))
    assert result_lines(submit_locally(["text"])) == []


def test_which_requests_are_answered_is_decided_by_the_seed(
    clock: Callable[[], float], tmp_path: Path
) -> None:
    """The same jobs in the same order fare the same; another job or seed fares differently."""
    fates = [_answered_keys(tmp_path / str(run), clock, seed) for run, seed in enumerate((1, 1, 2))]
    assert fates[0] == fates[1] != fates[2]
    assert fates[0][0] != fates[0][1]


@pytest.mark.parametrize(
    ("kind", "ended", "rpc_code"),
    [
        (FaultKind.JOB_FAILED, types.JobState.JOB_STATE_FAILED, 13),
        (FaultKind.JOB_EXPIRED, types.JobState.JOB_STATE_EXPIRED, 4),
        (FaultKind.JOB_CANCELLED, types.JobState.JOB_STATE_CANCELLED, 1),
    ],
)
def test_a_job_that_ends_badly_may_have_answers(
    client: genai.Client,
    emulator: Emulator,
    http: httpx2.Client,
    submit: Callable[..., Any],
    kind: FaultKind,
    ended: types.JobState,
    rpc_code: int,
) -> None:
    """There is an error and an output at once, and what is in the output has to be paid."""
    _strike(emulator, kind, answered=0.4, message="Bad luck.")
    name = submit([*TEXTS[:9], " "]).name
    emulator.state.wait_idle()
    job = client.batches.get(name=name)
    assert job.dest is not None
    assert (job.state, job.dest.file_name) == (ended, _result_name(name))
    operation = http.get(f"/v1beta/{name}").json()
    assert operation["error"] == {"code": rpc_code, "message": "Bad luck."}
    assert "response" not in operation
    lines = [*map(orjson.loads, client.files.download(file=_result_name(name)).splitlines())]
    n_refused = sum("error" in line for line in lines)
    assert len(lines) == 4
    assert _stats(operation) == (10, 4 - n_refused, n_refused, 6)
    assert emulator.state.bill().batch_requests == 4 - n_refused


def test_a_job_that_ends_badly_may_have_all_answers(
    state: State, submit_locally: Callable[..., str], result_lines: Callable[[str], list[bytes]]
) -> None:
    """An expired job can have been finished, but for the word of it."""
    state.faults.add(Fault(kind=FaultKind.JOB_EXPIRED, answered=1))
    assert len(result_lines(submit_locally(TEXTS))) == 10


def test_a_partial_job_that_is_cancelled_has_no_output(
    client: genai.Client,
    emulator: Emulator,
    http: httpx2.Client,
    submit: Callable[..., Any],
    advance: Callable[[float], None],
) -> None:
    """Cancelling before the end takes away what was computed, and nothing is paid."""
    emulator.state.settings = EmulatorSettings(latency_s=10)
    _strike(emulator, FaultKind.JOB_PARTIAL)
    name = submit(TEXTS).name
    emulator.state.wait_idle()
    client.batches.cancel(name=name)
    advance(10)
    operation = http.get(f"/v1beta/{name}").json()
    assert operation["metadata"]["state"] == "BATCH_STATE_CANCELLED"
    assert _stats(operation) == (10, 0, 0, 10)
    assert "output" not in operation["metadata"]
    assert operation["error"]["code"] == 1
    assert http.get(f"/v1beta/{_result_name(name)}:download").status_code == 403
    assert emulator.state.bill().requests == 0


def test_a_partial_job_on_inlined_requests_has_fewer_answers(
    client: genai.Client, emulator: Emulator, http: httpx2.Client
) -> None:
    """The answers inside the job are as many as there are."""
    _strike(emulator, FaultKind.JOB_PARTIAL, answered=0.3)
    created = client.batches.create_embeddings(
        model=MODEL, src={"inlined_requests": {"contents": TEXTS}}
    )
    emulator.state.wait_idle()
    output = http.get(f"/v1beta/{created.name}").json()["response"]
    assert len(output["inlinedResponses"]["inlinedResponses"]) == 3


def _strike(emulator: Emulator, kind: FaultKind, **rule: Any) -> None:
    emulator.state.faults.add(Fault(kind=kind, **rule))


def _result_name(batch_name: str) -> str:
    return f"files/batch-{batch_name.removeprefix('batches/')}"


def _keys(lines: list[bytes]) -> list[str]:
    return [orjson.loads(line)["key"] for line in lines]


def _stats(operation: dict[str, Any]) -> tuple[int, ...]:
    stats = operation["metadata"]["batchStats"]
    kinds = ("request", "successfulRequest", "failedRequest", "pendingRequest")
    return tuple(int(stats[f"{kind}Count"]) for kind in kinds)


def _answered_keys(directory: Path, clock: Callable[[], float], seed: int) -> list[list[str]]:
    """The keys answered of each of two equal jobs that are struck in a new emulator."""
    settings = EmulatorSettings(latency_s=0, seed=seed)
    requests = [{"content": {"parts": [{"text": text}]}} for text in TEXTS]
    with State(directory, settings=settings, clock=clock) as state:
        state.faults.add(Fault(kind=FaultKind.JOB_PARTIAL))
        batches = [state.create_batch_inlined(MODEL, "shard", requests) for _ in range(2)]
        state.wait_idle()
        paths = [state.result_path(batch.batch_id) for batch in batches]
        return [_keys(path.read_bytes().splitlines()) for path in paths]
