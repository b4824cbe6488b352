"""Faults of transport: creations answered too early, uploads and downloads that break off."""

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from embedding_assets.emulator.errors import ApiError
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import Emulator
from embedding_assets.emulator.state import State

MODEL = "gemini-embedding-001"


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> Any:
    """Whatever is done to a client, the server itself has nothing to complain about."""
    caplog.set_level(logging.ERROR)
    yield
    assert caplog.records == []


def test_a_job_created_late_is_seen_late(
    client: genai.Client,
    emulator: Emulator,
    submit: Callable[..., types.BatchJob],
    advance: Callable[[float], None],
) -> None:
    """Its creator is told of a timeout; it runs, and is in the list when the delay has passed."""
    _strike(emulator, FaultKind.CREATE_LATE, match="late", times=1, delay_s=20)
    with pytest.raises(errors.ServerError) as refusal:
        submit(["text"], display_name="late shard")
    assert (refusal.value.code, refusal.value.status) == (504, "DEADLINE_EXCEEDED")
    emulator.state.wait_idle()
    assert emulator.state.bill().jobs_created == emulator.state.bill().batch_requests == 1
    advance(19)
    assert list(client.batches.list()) == []
    advance(1)
    [job] = client.batches.list()
    assert (job.display_name, job.state) == ("late shard", types.JobState.JOB_STATE_SUCCEEDED)
    assert client.batches.get(name=job.name or "") == job


@pytest.mark.parametrize("path", ["", ":cancel"])
def test_a_job_not_yet_seen_is_not_found(
    emulator: Emulator, http: httpx2.Client, submit_locally: Callable[..., str], path: str
) -> None:
    """Who guesses its name gets a 404, whatever is asked of it."""
    batch_id = submit_locally(["text"])
    emulator.state.batches.hide(batch_id, for_s=30)
    methods = ["POST"] if path else ["GET", "DELETE"]
    answers = [http.request(method, f"/v1beta/batches/{batch_id}{path}") for method in methods]
    assert {answer.status_code for answer in answers} == {404}


def test_a_job_not_yet_seen_is_hidden_after_a_restart(
    open_state: Callable[..., State],
    submit_locally: Callable[..., str],
    state: State,
    advance: Callable[[float], None],
) -> None:
    """When it can be seen is kept on disk."""
    batch_id = submit_locally(["text"])
    state.batches.hide(batch_id, for_s=30)
    state.close()
    with open_state() as after:
        with pytest.raises(ApiError, match="not found"):
            after.batches.get(batch_id, now=after.clock())
        advance(30)
        assert after.batches.get(batch_id, now=after.clock()).batch_id == batch_id


def test_a_creation_that_is_refused_is_not_struck(emulator: Emulator, http: httpx2.Client) -> None:
    """The rule waits for a job that is created."""
    _strike(emulator, FaultKind.CREATE_LATE, times=1)
    body = {"batch": {"inputConfig": {"fileName": "files/none"}}}
    refused = http.post(f"/v1beta/models/{MODEL}:asyncBatchEmbedContent", json=body)
    assert refused.status_code == 403
    assert _n_struck(emulator) == [0]


@pytest.mark.parametrize("n_bytes", [1, 1_000, 5_000_000])
def test_a_broken_upload_leaves_half_of_a_chunk(
    client: genai.Client, emulator: Emulator, state_dir: Path, n_bytes: int
) -> None:
    """The connection ends, there is no file, and a new upload succeeds."""
    _strike(emulator, FaultKind.UPLOAD_BROKEN, times=1)
    with pytest.raises(httpx2.TransportError):
        _upload(client, bytes(n_bytes))
    [unfinished] = (state_dir / "uploads").iterdir()
    assert unfinished.stat().st_size == n_bytes // 2
    assert list(client.files.list()) == []
    assert _upload(client, bytes(n_bytes)).size_bytes == n_bytes
    assert _n_struck(emulator) == [1]


def test_a_truncated_download_looks_whole(
    client: genai.Client, emulator: Emulator, http: httpx2.Client
) -> None:
    """Each time another beginning of the file comes without a length and without an error."""
    content = bytes(range(256)) * 12_000
    address = f"/v1beta/{_upload(client, content).name}:download?alt=media"
    _strike(emulator, FaultKind.DOWNLOAD_TRUNCATED, match=":download", times=4)
    struck = [http.get(address) for _ in range(4)]
    assert all(answer.status_code == 200 for answer in struck)
    assert all("content-length" not in answer.headers for answer in struck)
    assert all(content.startswith(answer.content) for answer in struck)
    lengths = {len(answer.content) for answer in struck}
    assert len(lengths) == 4
    assert max(lengths) < len(content)
    assert http.get(address).content == content
    assert _n_struck(emulator) == [4]


def test_a_broken_download_is_shorter_than_announced(
    client: genai.Client, emulator: Emulator, tmp_path: Path
) -> None:
    """The client notices, with a beginning of the file in its hands."""
    content = bytes(range(256)) * 12_000
    name = _upload(client, content).name or ""
    _strike(emulator, FaultKind.DOWNLOAD_BROKEN, times=1)
    target = tmp_path / "target"
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending complete message body"):
        client.files.download(file=name, destination=target)
    assert content.startswith(target.read_bytes())
    assert client.files.download(file=name) == content


def test_a_broken_download_announces_the_whole_length(
    client: genai.Client, emulator: Emulator, http: httpx2.Client
) -> None:
    """Its headers are those of an intact one."""
    name = _upload(client, b"abc" * 1_000).name
    _strike(emulator, FaultKind.DOWNLOAD_BROKEN)
    with http.stream("GET", f"/v1beta/{name}:download?alt=media") as answer:
        assert answer.headers["content-length"] == "3000"


def test_a_download_that_trickles_is_whole_in_the_end(
    client: genai.Client, emulator: Emulator, http: httpx2.Client
) -> None:
    """Its bytes come one by one, and none of them is missing."""
    name = _upload(client, b"abc").name
    _strike(emulator, FaultKind.DOWNLOAD_TRICKLES)
    with http.stream("GET", f"/v1beta/{name}:download?alt=media") as answer:
        assert answer.headers["content-length"] == "3"
        assert list(answer.iter_raw()) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("kind", [FaultKind.DOWNLOAD_TRUNCATED, FaultKind.DOWNLOAD_BROKEN])
def test_an_empty_file_cannot_be_cut(
    client: genai.Client, emulator: Emulator, kind: FaultKind
) -> None:
    """It arrives as it is."""
    name = _upload(client, b"").name or ""
    _strike(emulator, kind)
    assert client.files.download(file=name) == b""


def _strike(emulator: Emulator, kind: FaultKind, **rule: Any) -> None:
    emulator.state.faults.add(Fault(kind=kind, **rule))


def _n_struck(emulator: Emulator) -> list[int]:
    return [record.n_struck for record in emulator.state.faults.records()]


def _upload(client: genai.Client, content: bytes) -> types.File:
    return client.files.upload(file=io.BytesIO(content), config={"mime_type": "jsonl"})
