"""The emulator without HTTP: jobs by the clock, result lines, limits, expiry and restarts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from embedding_assets.emulator.batches import Batch, BatchState
from embedding_assets.emulator.embed_requests import find_model, parse_embed_request
from embedding_assets.emulator.errors import ApiError
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State, StateDirectoryInUse

MODEL = "gemini-embedding-001"


def test_a_job_passes_through_its_states_by_the_clock(
    state: State, submit_locally: Callable[..., str], advance: Callable[[float], None]
) -> None:
    """Pending in the first half of the latency, then running, then succeeded."""
    state.settings = EmulatorSettings(latency_s=10)
    batch_id = submit_locally(["text"])
    state.wait_idle()
    seen = [_state(state, batch_id)]
    for seconds in (4, 2, 3, 1):
        advance(seconds)
        seen.append(_state(state, batch_id))
    pending, running = BatchState.PENDING, BatchState.RUNNING
    assert seen == [pending, pending, running, running, BatchState.SUCCEEDED]


def test_results_are_not_there_before_the_job_has_succeeded(
    state: State, submit_locally: Callable[..., str], advance: Callable[[float], None]
) -> None:
    """Computed early, the results are still withheld until the latency has passed."""
    state.settings = EmulatorSettings(latency_s=10)
    batch_id = submit_locally(["text"])
    state.wait_idle()
    with pytest.raises(ApiError, match="may not exist") as refusal:
        state.download_path(f"batch-{batch_id}")
    assert refusal.value.code == 403
    advance(10)
    assert state.download_path(f"batch-{batch_id}").stat().st_size > 0


def test_a_result_line_looks_as_googles_does(
    submit_locally: Callable[..., str], result_lines: Callable[[str], list[bytes]]
) -> None:
    """The token count is a string, the vector a list of numbers, the key comes back."""
    [line] = result_lines(submit_locally(["abcdefgh"], dimensions=4))
    parsed = orjson.loads(line)
    assert parsed.keys() == {"key", "response"}
    assert parsed["key"] == "key_0"
    assert parsed["response"]["tokenCount"] == "2"
    assert len(parsed["response"]["embedding"]["values"]) == 4


def test_result_lines_are_shuffled_the_same_way_every_time(
    submit_locally: Callable[..., str], result_lines: Callable[[str], list[bytes]]
) -> None:
    """The order of the results is not that of the requests, and does not change."""
    texts = [f"text {n}" for n in range(50)]
    first = result_lines(submit_locally(texts))
    again = result_lines(submit_locally(texts))
    other = result_lines(submit_locally(texts, display_name="another shard"))
    keys = [orjson.loads(line)["key"] for line in first]
    assert keys != sorted(keys, key=lambda key: int(key.removeprefix("key_")))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


@pytest.mark.parametrize(
    ("request_body", "message"),
    [
        ({"content": {"parts": [{"text": " \n"}]}}, "empty Part"),
        ({"content": {"parts": []}}, "at least one part"),
        ({"content": {"parts": [{"inlineData": {}}]}}, "empty Part"),
        ({}, "at least one part"),
        ("text", "must be an object"),
        ({"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 3073}, "between 1 and"),
        ({"content": {"parts": [{"text": "x"}]}, "taskType": "SEARCH"}, "Invalid value"),
        ({"content": {"parts": [{"text": "x"}]}, "model": "models/other"}, "names the model"),
        ({"content": {"parts": [{"text": "x"}]}, "title": 1}, "title must be a string"),
        ({"content": {"parts": [{"text": "x"}]}, "embedContentConfig": 1}, "must be an object"),
    ],
)
def test_a_bad_request_is_an_error_on_its_own_line(
    state: State,
    upload_locally: Callable[[bytes], str],
    result_lines: Callable[[str], list[bytes]],
    request_body: Any,
    message: str,
) -> None:
    """The job goes on; the line that cannot be embedded says why."""
    good = {"content": {"parts": [{"text": "good"}]}}
    lines = [{"key": "bad", "request": request_body}, {"key": "good", "request": good}]
    file_id = upload_locally(b"\n\n".join(map(orjson.dumps, lines)))
    batch = state.create_batch_from_file(MODEL, "shard", file_id)
    by_key = {line["key"]: line for line in map(orjson.loads, result_lines(batch.batch_id))}
    assert by_key["bad"]["error"]["code"] == 3
    assert message in by_key["bad"]["error"]["message"]
    assert "response" in by_key["good"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no requests"),
        (b'{"key": "a", "request": {}}\n{"key": ', "Line 2 is not JSON"),
        (b"[]\n", "Line 1 is not a JSON object"),
        (b'{"request": {}}\n', "Line 1 has no key"),
        (b'{"key": "a"}\n{"key": "a"}\n', "Line 2: the key 'a' was used before"),
    ],
)
def test_a_malformed_file_is_refused_with_the_line(
    state: State, upload_locally: Callable[[bytes], str], content: bytes, message: str
) -> None:
    """A file that is not what it should be never becomes a job."""
    with pytest.raises(ApiError, match=message) as refusal:
        state.create_batch_from_file(MODEL, "shard", upload_locally(content))
    assert refusal.value.code == 400
    assert state.bill().jobs_created == 0


@pytest.mark.parametrize(
    "body",
    [
        {"taskType": "RETRIEVAL_DOCUMENT", "title": "T", "outputDimensionality": 12},
        {"task_type": "RETRIEVAL_DOCUMENT", "title": "T", "output_dimensionality": 12},
        {"embedContentConfig": {"title": "T", "outputDimensionality": 12}},
        {"embed_content_config": {"title": "T", "output_dimensionality": 12}},
    ],
)
def test_options_are_read_in_every_spelling(body: dict[str, Any]) -> None:
    """Camel case, snake case and the nested configuration mean the same."""
    content = {"parts": [{"text": "one"}, {"text": "two"}]}
    request = parse_embed_request({"content": content, **body}, find_model(MODEL))
    assert (request.text, request.title, request.dimensions) == ("one\ntwo", "T", 12)


def test_what_exceeds_the_input_limit_is_not_read_and_not_billed() -> None:
    """Over-long texts are cut at the model's limit without a word, as Gemini does."""
    model = find_model(MODEL)
    long = parse_embed_request({"content": {"parts": [{"text": "word " * 4_000}]}}, model)
    longer = parse_embed_request({"content": {"parts": [{"text": "word " * 9_000}]}}, model)
    assert long.tokens == longer.tokens == 2_048
    assert (long.vector() == longer.vector()).all()


@pytest.mark.parametrize(
    ("limit", "code", "message"),
    [
        ({"max_requests_per_job": 2}, 400, "3 requests, the limit is 2"),
        ({"max_bytes_per_job": 100}, 400, "the limit is 100"),
        ({"max_enqueued_tokens": 5}, 429, "6 enqueued tokens, the limit is 5"),
        ({"max_concurrent_jobs": 0}, 429, "1 concurrent jobs, the limit is 0"),
    ],
)
def test_a_job_over_a_limit_is_refused(
    state: State,
    submit_locally: Callable[..., str],
    limit: dict[str, int],
    code: int,
    message: str,
) -> None:
    """Sizes are invalid arguments, quotas are exhausted resources; nothing is left behind."""
    state.settings = state.settings.changed(limit)
    with pytest.raises(ApiError, match=message) as refusal:
        submit_locally(["abcdefgh"] * 3)
    assert refusal.value.code == code
    assert state.bill().jobs_created == 0


def test_quotas_are_free_again_when_jobs_end(
    state: State, submit_locally: Callable[..., str], advance: Callable[[float], None]
) -> None:
    """Live jobs count together; ended and cancelled ones no longer count."""
    state.settings = EmulatorSettings(latency_s=10, max_enqueued_tokens=4)
    first = submit_locally(["abcdefgh"])
    submit_locally(["abcdefgh"])
    with pytest.raises(ApiError, match="6 enqueued tokens"):
        submit_locally(["abcdefgh"])
    state.batches.cancel(first, now=state.clock())
    submit_locally(["abcdefgh"])
    state.wait_idle()
    advance(10)
    submit_locally(["abcdefgh"] * 2)


def test_synchronous_requests_are_limited_in_any_minute(
    state: State, advance: Callable[[float], None]
) -> None:
    """Every text counts, the minute slides, and what was refused does not count."""
    state.settings = state.settings.changed({"max_sync_requests_per_minute": 5})
    request = parse_embed_request({"content": {"parts": [{"text": "x"}]}}, find_model(MODEL))
    state.embed_now([request] * 3)
    advance(30)
    state.embed_now([request] * 2)
    with pytest.raises(ApiError, match="You exceeded your current quota") as refusal:
        state.embed_now([request])
    assert (refusal.value.code, refusal.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert "PerMinute" in str(refusal.value.details)
    advance(30)
    state.embed_now([request] * 3)
    assert state.bill().sync_requests == 8


def test_a_file_is_gone_after_two_days(
    state: State, upload_locally: Callable[[bytes], str], advance: Callable[[float], None]
) -> None:
    """An expired file is denied like a missing one, and its name can be used again."""
    file_id = upload_locally(b"content")
    advance(48 * 3600 - 1)
    assert state.files.get(file_id).file_id == file_id
    advance(1)
    with pytest.raises(ApiError, match="may not exist") as refusal:
        state.files.get(file_id)
    assert refusal.value.code == 403
    assert state.files.page(before=None, size=10) == ([], None)
    state.files.begin_upload(
        file_id=file_id, display_name=None, mime_type="jsonl", declared_bytes=None
    )


def test_a_result_is_gone_two_days_after_the_job(
    state: State, submit_locally: Callable[..., str], advance: Callable[[float], None]
) -> None:
    """Result files expire as uploaded ones do."""
    batch_id = submit_locally(["text"])
    state.wait_idle()
    advance(48 * 3600)
    with pytest.raises(ApiError, match="may not exist"):
        state.download_path(f"batch-{batch_id}")


def test_a_job_keeps_its_input_when_the_file_is_deleted(
    state: State,
    upload_locally: Callable[[bytes], str],
    result_lines: Callable[[str], list[bytes]],
) -> None:
    """Deleting the uploaded file right after the creation of the job does no harm."""
    line = {"key": "a", "request": {"content": {"parts": [{"text": "x"}]}}}
    file_id = upload_locally(orjson.dumps(line))
    batch = state.create_batch_from_file(MODEL, "shard", file_id)
    state.files.delete(file_id)
    assert len(result_lines(batch.batch_id)) == 1


def test_a_deleted_job_is_not_cancelled_by_that(
    state: State, submit_locally: Callable[..., str], result_lines: Callable[[str], list[bytes]]
) -> None:
    """It can no longer be seen, but its results are computed and billed."""
    batch_id = submit_locally(["text"])
    state.batches.delete(batch_id)
    with pytest.raises(ApiError, match="not found"):
        state.batches.get(batch_id, now=state.clock())
    assert len(result_lines(batch_id)) == 1
    assert state.bill().batch_requests == 1


def test_cancelling_a_job_that_has_ended_changes_nothing(
    state: State, submit_locally: Callable[..., str]
) -> None:
    """Success is final."""
    batch_id = submit_locally(["text"])
    state.wait_idle()
    state.batches.cancel(batch_id, now=state.clock())
    assert _state(state, batch_id) is BatchState.SUCCEEDED


def test_everything_survives_a_restart(
    open_state: Callable[..., State], advance: Callable[[float], None]
) -> None:
    """Jobs, results, files and the bill are there again, with the clock deciding as before."""
    line = {"key": "a", "request": {"content": {"parts": [{"text": "abcdefgh"}]}}}
    with open_state(latency_s=10) as before:
        file_id = _store(before, orjson.dumps(line))
        batch = before.create_batch_from_file(MODEL, "shard", file_id)
        before.wait_idle()
    advance(10)
    with open_state() as after:
        assert _state(after, batch.batch_id) is BatchState.SUCCEEDED
        assert after.result_path(batch.batch_id).read_bytes().count(b"\n") == 1
        assert after.files.path(file_id).read_bytes() == orjson.dumps(line)
        bill = after.bill()
    assert (bill.jobs_created, bill.batch_requests, bill.batch_tokens) == (1, 1, 2)


def test_results_interrupted_by_a_stop_are_computed_after_the_restart(
    open_state: Callable[..., State],
) -> None:
    """A job whose results were not finished is taken up again, and billed once."""
    lines = [
        {"key": f"key_{n}", "request": {"content": {"parts": [{"text": f"text {n} " * 500}]}}}
        for n in range(1_000)
    ]
    with open_state(max_enqueued_tokens=10**9) as before:
        file_id = _store(before, b"\n".join(map(orjson.dumps, lines)))
        batch = before.create_batch_from_file(MODEL, "shard", file_id)
    with open_state() as after:
        after.wait_idle()
        assert after.result_path(batch.batch_id).read_bytes().count(b"\n") == 1_000
        bill = after.bill()
    assert (bill.batch_requests, bill.bought_twice) == (1_000, ())


def test_results_that_cannot_be_computed_fail_the_job(open_state: Callable[..., State]) -> None:
    """A job without its input fails with the reason, and the next job is not affected."""
    with open_state() as before:
        before.batches.insert(_job_without_input(before.clock()))
    with open_state() as after:
        after.wait_idle()
        failed = after.batches.get("inputless", now=after.clock())
        assert failed.state_at(after.clock()) is BatchState.FAILED
        assert "No such file" in (failed.error_message or "")
        line = {"key": "a", "request": {"content": {"parts": [{"text": "text"}]}}}
        file_id = _store(after, orjson.dumps(line))
        fine = after.create_batch_from_file(MODEL, "shard", file_id)
        after.wait_idle()
        assert _state(after, fine.batch_id) is BatchState.SUCCEEDED


def test_a_state_directory_has_one_emulator(
    state: State, open_state: Callable[..., State], state_dir: Path
) -> None:
    """A second emulator on the same directory is refused while the first is open."""
    with pytest.raises(StateDirectoryInUse, match=str(state_dir)):
        open_state()


@pytest.mark.parametrize(
    ("name", "value"), [("latency_s", -1), ("seed", 1.5), ("max_concurrent_jobs", True)]
)
def test_a_bad_setting_is_refused(name: str, value: Any) -> None:
    """Settings are numbers of 0 or more, and whole ones but for the latency."""
    with pytest.raises(ValueError, match=name):
        EmulatorSettings().changed({name: value})


def _state(state: State, batch_id: str) -> BatchState:
    return state.batches.get(batch_id, now=state.clock()).state_at(state.clock())


def _job_without_input(now: float) -> Batch:
    return Batch(
        batch_id="inputless",
        model=MODEL,
        display_name="shard",
        input_file="files/lost",
        n_requests=1,
        n_tokens=1,
        created_at=now,
        latency_s=0,
        planned_state=BatchState.SUCCEEDED,
    )


def _store(state: State, content: bytes) -> str:
    upload_id = state.files.begin_upload(
        file_id=None, display_name=None, mime_type="jsonl", declared_bytes=len(content)
    )
    state.files.upload_path(upload_id, offset=0).write_bytes(content)
    return state.files.finish_upload(upload_id).file_id
