"""The whole conversation of the unmodified SDK with the emulator, in both API versions."""

import base64
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from google import genai
from google.genai import errors, types

from embedding_assets.emulator.server import Emulator

MODEL = "gemini-embedding-001"


@pytest.mark.parametrize("api_version", ["v1beta", "v1"])
def test_a_batch_job_from_upload_to_deletion(
    emulator: Emulator,
    connect: Callable[..., genai.Client],
    tmp_path: Path,
    api_version: str,
) -> None:
    """Upload, create, get, list, download and delete all work with the SDK as it is."""
    lines = [
        {"key": "a", "request": {"content": {"parts": [{"text": "one text"}]}}},
        {
            "key": "b",
            "request": {"output_dimensionality": 4, "content": {"parts": [{"text": "x"}]}},
        },
    ]
    shard = tmp_path / "shard.jsonl"
    shard.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    with connect(emulator.base_url, api_version=api_version) as client:
        uploaded = client.files.upload(file=shard, config={"mime_type": "jsonl"})
        created = client.batches.create_embeddings(
            model=MODEL, src={"file_name": uploaded.name}, config={"display_name": "my shard"}
        )
        assert created.state is types.JobState.JOB_STATE_PENDING
        emulator.state.wait_idle()
        job = client.batches.get(name=created.name or "")
        assert job.state is types.JobState.JOB_STATE_SUCCEEDED
        assert (job.display_name, job.model) == ("my shard", f"models/{MODEL}")
        assert [listed.name for listed in client.batches.list()] == [job.name]
        results = _download(client, job, tmp_path / "results.jsonl")
        assert {key: len(vector) for key, vector in results.items()} == {"a": 3072, "b": 4}
        client.batches.delete(name=job.name or "")
        client.files.delete(name=uploaded.name or "")
        assert list(client.batches.list()) == []
        assert list(client.files.list()) == []


def test_an_upload_of_many_chunks_arrives_whole(client: genai.Client) -> None:
    """A file of more than one 8 MiB chunk is stored byte by byte, with Google's checksum."""
    content = bytes(range(256)) * 4 * 9_000
    uploaded = client.files.upload(
        file=io.BytesIO(content), config={"mime_type": "jsonl", "display_name": "big"}
    )
    digest = base64.b64encode(hashlib.sha256(content).hexdigest().encode()).decode()
    assert (uploaded.size_bytes, uploaded.sha256_hash) == (len(content), digest)
    assert (uploaded.display_name, uploaded.mime_type) == ("big", "jsonl")
    assert client.files.download(file=uploaded.name or "") == content


def test_batch_jobs_are_listed_newest_first_page_by_page(
    client: genai.Client, submit: Callable[..., types.BatchJob]
) -> None:
    """Pages follow each other without gap or repetition."""
    for number in range(5):
        submit(["text"], display_name=f"job {number}")
    pager = client.batches.list(config={"page_size": 2})
    assert len(pager.page) == 2
    assert [job.display_name for job in pager] == [f"job {n}" for n in (4, 3, 2, 1, 0)]


def test_files_are_listed_newest_first_page_by_page(client: genai.Client) -> None:
    """Pages follow each other without gap or repetition."""
    for number in range(3):
        client.files.upload(
            file=io.BytesIO(b"x"), config={"mime_type": "jsonl", "name": f"file-{number}"}
        )
    listed = client.files.list(config={"page_size": 1})
    assert [file.name for file in listed] == ["files/file-2", "files/file-1", "files/file-0"]


def test_inlined_requests_are_answered_in_their_order(
    client: genai.Client, emulator: Emulator
) -> None:
    """Without a file the answers come inside the job, in the order of the requests."""
    created = client.batches.create_embeddings(
        model=MODEL,
        src={
            "inlined_requests": {
                "contents": ["first", " ", "third"],
                "config": {"output_dimensionality": 16, "task_type": "RETRIEVAL_DOCUMENT"},
            }
        },
        config={"display_name": "inlined"},
    )
    emulator.state.wait_idle()
    job = client.batches.get(name=created.name or "")
    assert job.dest is not None
    responses = job.dest.inlined_embed_content_responses or []
    vectors = [
        r.response and r.response.embedding and r.response.embedding.values for r in responses
    ]
    synchronous = client.models.embed_content(
        model=MODEL, contents=["first", "third"], config={"output_dimensionality": 16}
    )
    first, third = (embedding.values for embedding in synchronous.embeddings or [])
    assert vectors == [first, None, third]


def test_a_hundred_texts_are_embedded_at_once(client: genai.Client) -> None:
    """The synchronous call answers every text, in order, and differently."""
    answer = client.models.embed_content(
        model=MODEL,
        contents=[f"text {n}" for n in range(100)],
        config={"output_dimensionality": 8, "task_type": "RETRIEVAL_QUERY"},
    )
    vectors = [tuple(embedding.values or []) for embedding in answer.embeddings or []]
    assert {len(vector) for vector in vectors} == {8}
    assert len(set(vectors)) == 100


def test_texts_over_a_hundred_are_refused(client: genai.Client) -> None:
    """One hundred and one texts in a call are too many."""
    with pytest.raises(errors.ClientError, match="at most 100 requests") as refusal:
        client.models.embed_content(model=MODEL, contents=["text"] * 101)
    assert (refusal.value.code, refusal.value.status) == (400, "INVALID_ARGUMENT")


def test_the_tokens_of_a_synchronous_call_are_told(http: httpx2.Client) -> None:
    """The answer carries the total of the call, by either endpoint."""
    one = {"content": {"parts": [{"text": "abcdefgh"}]}}
    single = http.post(f"/v1beta/models/{MODEL}:embedContent", json=one).json()
    many = http.post(
        f"/v1beta/models/{MODEL}:batchEmbedContents", json={"requests": [one, one, one]}
    ).json()
    assert single["usageMetadata"] == {"promptTokenCount": 2}
    assert many["usageMetadata"] == {"promptTokenCount": 6}
    assert many["embeddings"][0] == single["embedding"]


def test_tokens_are_counted_on_request(client: genai.Client) -> None:
    """The counting endpoint agrees with the bill."""
    assert client.models.count_tokens(model=MODEL, contents=["abcdefgh"]).total_tokens == 2


def test_models_have_spaces_and_lengths_of_their_own(client: genai.Client) -> None:
    """The second model normalises short vectors, the first does not."""
    lengths = {}
    for model in ("gemini-embedding-001", "gemini-embedding-2"):
        answer = client.models.embed_content(
            model=model,
            contents=[types.Content(parts=[types.Part(text="the same text")])],
            config={"output_dimensionality": 256},
        )
        values = (answer.embeddings or [])[0].values or []
        lengths[model] = sum(value * value for value in values) ** 0.5
    assert lengths["gemini-embedding-001"] < 0.9
    assert lengths["gemini-embedding-2"] == pytest.approx(1, abs=1e-4)


def test_a_job_can_be_cancelled(
    client: genai.Client, emulator: Emulator, http: httpx2.Client, submit: Callable[..., Any]
) -> None:
    """A cancelled job ends at once with the RPC code of a cancellation, and without results."""
    emulator.state.settings = emulator.state.settings.changed({"latency_s": 60})
    job = submit(["text"])
    client.batches.cancel(name=job.name)
    cancelled = client.batches.get(name=job.name)
    assert cancelled.state is types.JobState.JOB_STATE_CANCELLED
    assert cancelled.done
    operation = http.get(f"/v1beta/{job.name}").json()
    assert operation["error"]["code"] == 1
    assert "response" not in operation


def test_an_operation_tells_how_its_requests_fared(
    emulator: Emulator, http: httpx2.Client, submit: Callable[..., Any]
) -> None:
    """A finished job has counts as strings, and its output in both places."""
    job = submit(["good", "  ", "good too"])
    emulator.state.wait_idle()
    operation = http.get(f"/v1beta/{job.name}").json()
    output = f"files/batch-{job.name.removeprefix('batches/')}"
    assert operation["metadata"]["batchStats"] == {
        "requestCount": "3",
        "successfulRequestCount": "2",
        "failedRequestCount": "1",
        "pendingRequestCount": "0",
    }
    assert operation["metadata"]["output"] == {"responsesFile": output}
    assert operation["response"]["responsesFile"] == output
    assert operation["done"] is True


def test_a_result_can_be_downloaded_but_not_described(
    client: genai.Client, emulator: Emulator, submit: Callable[..., Any]
) -> None:
    """The id of a result file is too long for the endpoint that describes files."""
    job = submit(["text"])
    emulator.state.wait_idle()
    name = f"files/batch-{job.name.removeprefix('batches/')}"
    assert client.files.download(file=name)
    with pytest.raises(errors.ClientError, match="cannot be more than 40 characters") as refusal:
        client.files.get(name=name)
    assert refusal.value.code == 400


@pytest.mark.parametrize(
    ("api_key", "code", "status"),
    [("invalid", 400, "INVALID_ARGUMENT"), (None, 403, "PERMISSION_DENIED")],
)
def test_a_key_is_needed_and_one_is_bad(
    emulator: Emulator, api_key: str | None, code: int, status: str
) -> None:
    """A missing key is denied, a bad one is an invalid argument, as with Google."""
    headers = {"x-goog-api-key": api_key} if api_key else {}
    answer = httpx2.get(f"{emulator.base_url}/v1beta/batches", headers=headers)
    assert (answer.status_code, answer.json()["error"]["status"]) == (code, status)


def test_unknown_things_are_not_found(client: genai.Client) -> None:
    """A job or model that does not exist is a 404; a file is a 403."""
    with pytest.raises(errors.ClientError) as job:
        client.batches.get(name="batches/none")
    with pytest.raises(errors.ClientError) as model:
        client.models.embed_content(model="embedding-000", contents=["text"])
    with pytest.raises(errors.ClientError, match="may not exist") as file:
        client.files.get(name="files/none")
    with pytest.raises(errors.ClientError) as source:
        client.batches.create_embeddings(model=MODEL, src={"file_name": "files/none"})
    codes = [refusal.value.code for refusal in (job, model, file, source)]
    assert codes == [404, 404, 403, 403]


@pytest.mark.parametrize(
    ("method", "path", "content", "code"),
    [
        ("GET", "/v1beta/nothing", b"", 404),
        ("PUT", "/v1beta/batches", b"", 405),
        ("POST", f"/v1beta/models/{MODEL}:embedContent", b"{", 400),
        ("POST", f"/v1beta/models/{MODEL}:embedContent", b"[]", 400),
        ("POST", f"/v1beta/models/{MODEL}:batchEmbedContents", b'{"requests": 1}', 400),
        ("POST", f"/v1beta/models/{MODEL}:asyncBatchEmbedContent", b'{"batch": 1}', 400),
        ("POST", f"/v1beta/models/{MODEL}:asyncBatchEmbedContent", b"{}", 400),
        ("POST", "/upload/v1beta/files", b"{}", 400),
        ("POST", "/upload/v1beta/files/none", b"", 400),
        ("GET", "/v1beta/batches?pageSize=many", b"", 400),
        ("GET", "/v1beta/files?pageToken=soon", b"", 400),
    ],
)
def test_a_malformed_call_is_refused_in_googles_words(
    http: httpx2.Client, method: str, path: str, content: bytes, code: int
) -> None:
    """Whatever is wrong with a call, the answer has Google's error shape."""
    answer = http.request(method, path, content=content)
    assert answer.status_code == code
    assert answer.json()["error"]["code"] == code


def test_a_caller_may_name_a_file_once(client: genai.Client) -> None:
    """A name in use is a conflict; a name that breaks the rules is an invalid argument."""
    config = types.UploadFileConfig(mime_type="jsonl", name="shard-0001")
    bad_config = types.UploadFileConfig(mime_type="jsonl", name="Bad_")
    assert client.files.upload(file=io.BytesIO(b"x"), config=config).name == "files/shard-0001"
    with pytest.raises(errors.ClientError) as taken:
        client.files.upload(file=io.BytesIO(b"x"), config=config)
    with pytest.raises(errors.ClientError) as bad:
        client.files.upload(file=io.BytesIO(b"x"), config=bad_config)
    assert (taken.value.code, taken.value.status) == (409, "ALREADY_EXISTS")
    assert bad.value.code == 400


def test_an_upload_must_be_as_long_as_announced(http: httpx2.Client) -> None:
    """Bytes at the wrong offset, and too few of them, are refused and may be sent again."""
    started = http.post(
        "/upload/v1beta/files",
        json={},
        headers={
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": "6",
        },
    )
    url = started.headers["x-goog-upload-url"]
    assert url.startswith(str(http.base_url).rstrip("/"))
    assert _chunk(http, url, b"abc", offset=3).status_code == 400
    assert _chunk(http, url, b"abc", offset=0, finalize=True).status_code == 400
    finished = _chunk(http, url, b"def", offset=3, finalize=True)
    assert finished.json()["file"]["sizeBytes"] == "6"
    assert finished.headers["x-goog-upload-status"] == "final"


def _chunk(
    http: httpx2.Client, url: str, content: bytes, *, offset: int, finalize: bool = False
) -> httpx2.Response:
    headers = {
        "X-Goog-Upload-Command": "upload, finalize" if finalize else "upload",
        "X-Goog-Upload-Offset": str(offset),
    }
    return http.post(url, content=content, headers=headers)


def _download(client: genai.Client, job: types.BatchJob, path: Path) -> dict[str, list[float]]:
    assert job.dest is not None
    client.files.download(file=job.dest.file_name or "", destination=path)
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return {line["key"]: line["response"]["embedding"]["values"] for line in lines}
