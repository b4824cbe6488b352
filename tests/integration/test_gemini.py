"""The client: domain verbs over the real SDK, every foreign error in our own words."""

import asyncio
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import serve as serve_app
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State
from embedding_assets.errors import (
    EmbeddingAssetsError,
    FileGoneError,
    GeminiError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import JobState, RemoteJob
from embedding_assets.model.passages import Passage
from embedding_assets.model.request_file import request_line
from tests.factories import SPEC
from tests.integration.world import Switchboard

Verb = Callable[[GeminiClient, Path], object]
Operation = dict[str, Any]


@pytest.fixture
def requests_file(tmp_path: Path) -> Path:
    """A JSONL file of three requests."""
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"".join(request_line(SPEC, n, Passage(text=f"Text {n}.")) for n in range(3)))
    return path


def create(gemini: GeminiClient, path: Path, *, display_name: str = "ours") -> RemoteJob:
    """Upload a file and create a job on it."""
    name = gemini.upload(path, display_name=display_name)
    return gemini.create_embeddings_job(
        model=SPEC.model, input_file_name=name, display_name=display_name
    )


def embed(gemini: GeminiClient, *texts: str) -> tuple[tuple[float, ...], ...]:
    answer = gemini.embed(texts, model=SPEC.model, dimensions=8, task_type="RETRIEVAL_DOCUMENT")
    return answer.vectors


# --- files ------------------------------------------------------------------------------------


def test_a_file_is_there_until_it_is_gone(
    gemini: GeminiClient, emulator_state: State, requests_file: Path
) -> None:
    """An upload can be found until it expires or somebody deletes it."""
    name = gemini.upload(requests_file, display_name="ours")
    assert name.startswith("files/")
    assert gemini.has_file(name)
    emulator_state.files.delete(name.removeprefix("files/"))
    assert not gemini.has_file(name)


def test_a_file_of_several_upload_chunks_arrives_whole(
    gemini: GeminiClient, emulator_state: State, tmp_path: Path
) -> None:
    """A file beyond 8 MiB goes in chunks, and is the same at the other end."""
    path = tmp_path / "large.jsonl"
    path.write_bytes(bytes(range(256)) * 40_000)
    name = gemini.upload(path, display_name="large")
    stored = emulator_state.files.path(name.removeprefix("files/"))
    assert stored.read_bytes() == path.read_bytes()
    assert emulator_state.bill().calls["upload_chunk"] == 2


@pytest.mark.parametrize(
    ("described", "wanted"),
    [
        ({"sizeBytes": "3"}, "3 bytes arrived of"),
        ({"sha256Hash": "bm90IHRoZSBkaWdlc3Q="}, "the digest differs on arrival"),
        ({"name": ""}, "Gemini gave the file no name"),
    ],
)
def test_an_upload_that_did_not_arrive_whole_is_noticed(
    gemini: GeminiClient,
    serve_answers: Callable[..., None],
    base_url: str,
    requests_file: Path,
    described: Operation,
    wanted: str,
) -> None:
    """Size, digest and name are compared with what was sent."""
    start = Response(headers={"X-Goog-Upload-URL": f"{base_url}/upload/here"})
    end = JSONResponse(
        {"file": {"name": "files/x", **described}}, headers={"X-Goog-Upload-Status": "final"}
    )
    serve_answers({"/upload/v1beta/files": start, "/upload/here": end})
    with pytest.raises(OutcomeUnknownError, match=wanted):
        gemini.upload(requests_file, display_name="ours")


def test_an_answer_that_is_not_the_protocols_is_an_unknown_outcome(
    gemini: GeminiClient, serve_answers: Callable[..., None], requests_file: Path
) -> None:
    """What the SDK stumbles over is reported as an answer that was not expected."""
    page = PlainTextResponse("<html>Welcome to the hotel's network</html>")
    serve_answers({"/upload/v1beta/files": page, "/v1beta/batches": page})
    with pytest.raises(OutcomeUnknownError, match=r"upload of requests.jsonl: unexpected answer"):
        gemini.upload(requests_file, display_name="ours")
    with pytest.raises(OutcomeUnknownError, match="GET batches: unexpected answer"):
        list(gemini.list_jobs())


def test_a_result_is_downloaded_to_a_file(
    gemini: GeminiClient, emulator_state: State, requests_file: Path, tmp_path: Path
) -> None:
    """A finished job's results are streamed to disk, one line a request."""
    job = create(gemini, requests_file)
    emulator_state.wait_idle()
    done = gemini.get_job(job.name)
    assert done is not None
    assert done.result_file_name is not None
    gemini.download(done.result_file_name, tmp_path / "results.jsonl")
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 3


def test_a_file_that_is_gone_is_told_from_other_refusals(
    gemini: GeminiClient, tmp_path: Path
) -> None:
    """Downloading what Gemini does not have (any more) is an error of its own."""
    with pytest.raises(FileGoneError, match="download of files/batch-gone: Gemini answered 403"):
        gemini.download("files/batch-gone", tmp_path / "results.jsonl")
    assert not (tmp_path / "results.jsonl").exists()


# --- batch jobs -------------------------------------------------------------------------------


def test_a_job_can_be_created_found_listed_and_cancelled(
    gemini: GeminiClient, emulator_state: State, requests_file: Path
) -> None:
    """A job is the same by whatever way it is looked at."""
    emulator_state.faults.add(Fault(kind=FaultKind.JOB_STUCK))
    job = create(gemini, requests_file)
    assert (job.display_name, job.state) == ("ours", JobState.PENDING)
    found = gemini.get_job(job.name)
    assert found == replace(job, state_name="BATCH_STATE_PENDING", n_answered=0)
    assert list(gemini.list_jobs()) == [found]
    gemini._client.batches.cancel(name=job.name)
    cancelled = gemini.get_job(job.name)
    assert cancelled is not None
    assert cancelled.state is JobState.CANCELLED
    assert cancelled.error_message == "The batch job was cancelled."


def test_a_job_that_gemini_does_not_know_is_none(gemini: GeminiClient) -> None:
    """An unknown name is an answer, not an error."""
    assert gemini.get_job("batches/never-was") is None


def test_jobs_are_listed_page_by_page(gemini: GeminiClient, emulator_state: State) -> None:
    """All jobs are listed, newest first, with one call for a hundred."""
    emulator_state.settings = EmulatorSettings(max_concurrent_jobs=1000, latency_s=0)
    requests = [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8}]
    for number in range(230):
        emulator_state.create_batch_inlined(SPEC.model, f"job {number}", requests)
    names = [job.display_name for job in gemini.list_jobs()]
    assert names == [f"job {number}" for number in reversed(range(230))]
    assert emulator_state.bill().calls["list"] == 3


def test_an_empty_page_is_not_the_end(
    gemini: GeminiClient, serve: Callable[[list[Route]], None]
) -> None:
    """A page without jobs but with a token is followed; tokens are sent back as they came."""
    pages: dict[str, Operation] = {
        "": {"nextPageToken": "a+b/c=&pageSize=1"},
        "a+b/c=&pageSize=1": {"operations": [{"name": "batches/1"}], "nextPageToken": "last"},
        "last": {},
    }

    async def page(request: Request) -> Response:
        assert request.query_params["pageSize"] == "100"
        return JSONResponse(pages[request.query_params["pageToken"]])

    serve([Route("/v1beta/batches", page)])
    assert [job.name for job in gemini.list_jobs()] == ["batches/1"]


RESULT = "files/batch-abc"


@pytest.mark.parametrize(
    ("operation", "state", "result", "error"),
    [
        pytest.param(
            {"metadata": {"state": "BATCH_STATE_RUNNING", "batchStats": {"requestCount": "3"}}},
            JobState.RUNNING,
            None,
            None,
            id="running, with counts as text",
        ),
        pytest.param({}, JobState.PENDING, None, None, id="nothing but a name"),
        pytest.param({"state": "JOB_STATE_QUEUED"}, JobState.PENDING, None, None, id="old form"),
        pytest.param(
            {
                "metadata": {
                    "state": "BATCH_STATE_SUCCEEDED",
                    "output": {"responsesFile": "files/elsewhere"},
                },
                "done": True,
            },
            JobState.SUCCEEDED,
            "files/elsewhere",
            None,
            id="output in the metadata",
        ),
        pytest.param(
            {
                "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
                "response": {"responsesFile": "files/elsewhere"},
                "done": True,
            },
            JobState.SUCCEEDED,
            "files/elsewhere",
            None,
            id="output in the response",
        ),
        pytest.param(
            {"metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "done": True},
            JobState.SUCCEEDED,
            RESULT,
            None,
            id="output nowhere",
        ),
        pytest.param(
            {
                "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
                "done": True,
                "error": {"code": 13, "message": "it broke"},
            },
            JobState.FAILED,
            None,
            "it broke",
            id="an error wins over success",
        ),
        pytest.param(
            {
                "metadata": {"state": "BATCH_STATE_RUNNING"},
                "done": True,
                "error": {"code": 13, "message": "it broke"},
            },
            JobState.FAILED,
            None,
            "it broke",
            id="an error wins over a stale state",
        ),
        pytest.param(
            {
                "metadata": {"state": "BATCH_STATE_EXPIRED"},
                "done": True,
                "error": {"code": 4, "message": "too late"},
            },
            JobState.EXPIRED,
            None,
            "too late",
            id="an error does not hide how it ended",
        ),
        pytest.param(
            {
                "metadata": {"state": "BATCH_STATE_RUNNING"},
                "done": True,
                "response": {"responsesFile": RESULT},
            },
            JobState.SUCCEEDED,
            RESULT,
            None,
            id="a response wins over a stale state",
        ),
    ],
)
def test_a_job_is_read_whatever_form_it_comes_in(
    gemini: GeminiClient,
    serve_answers: Callable[..., None],
    operation: Operation,
    state: JobState,
    result: str | None,
    error: str | None,
) -> None:
    """State, result file and error are found wherever Gemini has been seen to put them."""
    serve_answers({"/v1beta/batches/abc": JSONResponse({"name": "batches/abc", **operation})})
    job = gemini.get_job("batches/abc")
    assert job is not None
    assert (job.state, job.result_file_name, job.error_message) == (state, result, error)


def test_times_are_aware(gemini: GeminiClient, serve_answers: Callable[..., None]) -> None:
    """Google's nanoseconds are read as UTC."""
    metadata = {"createTime": "2026-11-23T03:00:00.123456789Z", "endTime": "2026-11-23T04:00:00Z"}
    serve_answers({"/v1beta/batches/abc": JSONResponse({"metadata": metadata})})
    job = gemini.get_job("batches/abc")
    assert job is not None
    assert job.created_at == datetime(2026, 11, 23, 3, 0, 0, 123456, tzinfo=UTC)
    assert job.ended_at == datetime(2026, 11, 23, 4, tzinfo=UTC)


# --- synchronous embedding --------------------------------------------------------------------


def test_every_text_has_its_own_vector(gemini: GeminiClient, emulator_state: State) -> None:
    """Vectors come in the order of the texts, and the tokens of all of them."""
    texts = ["one thing", "another thing", "one thing"]
    answer = gemini.embed(texts, model=SPEC.model, dimensions=8, task_type=None)
    assert [len(vector) for vector in answer.vectors] == [8, 8, 8]
    assert answer.vectors[0] == answer.vectors[2] != answer.vectors[1]
    assert answer.billed_tokens == emulator_state.bill().tokens


def test_a_missing_vector_is_noticed(
    gemini: GeminiClient, serve_answers: Callable[..., None]
) -> None:
    """Fewer vectors than texts are an error: none can be told whose it is."""
    answer = JSONResponse({"embeddings": [{"values": [1.0]}]})
    serve_answers({"/v1beta/models/gemini-embedding-001:batchEmbedContents": answer})
    with pytest.raises(GeminiError, match="2 texts were sent, 1 vectors came back"):
        embed(gemini, "a", "b")


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RefusedError),
        (401, RefusedError),
        (403, RefusedError),
        (404, RefusedError),
        (408, OutcomeUnknownError),
        (429, RateLimitedError),
        (500, OutcomeUnknownError),
        (503, UnavailableError),
        (504, OutcomeUnknownError),
    ],
)
def test_every_status_has_its_meaning(
    gemini: GeminiClient,
    emulator_state: State,
    requests_file: Path,
    status: int,
    error: type[EmbeddingAssetsError],
) -> None:
    """A no is told from a not now and from a perhaps, whatever was called."""
    name = gemini.upload(requests_file, display_name="ours")
    for endpoint in (Endpoint.CREATE, Endpoint.LIST, Endpoint.EMBED, Endpoint.UPLOAD):
        fault = Fault(
            kind=FaultKind.CALL_ERROR, endpoint=endpoint, status=status, message="so there"
        )
        emulator_state.faults.add(fault)
    calls: list[Callable[[], object]] = [
        lambda: list(gemini.list_jobs()),
        lambda: embed(gemini, "a"),
        lambda: gemini.upload(requests_file, display_name="ours"),
    ]
    for call in calls:
        with pytest.raises(error, match=f"Gemini answered {status} .*so there") as caught:
            call()
        assert type(caught.value) is error
    with pytest.raises(error, match=f"Gemini answered {status} .*so there") as caught:
        gemini.create_embeddings_job(model=SPEC.model, input_file_name=name, display_name="ours")
    # Of a create call both may be about the file that it names.
    assert type(caught.value) is (FileGoneError if status in (403, 404) else error)


SUSPENDED = "Permission denied: Consumer 'api_key:AIzaSyD-secret_key' has been suspended."


def test_a_key_that_google_names_is_not_passed_on(
    gemini: GeminiClient, emulator_state: State
) -> None:
    """What Google says goes into logs, red partitions and alerts; the words stay, the key goes."""
    fault = Fault(kind=FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=403, message=SUSPENDED)
    emulator_state.faults.add(fault)
    with pytest.raises(RefusedError, match=r"refuses the API key.*has been suspended") as caught:
        list(gemini.list_jobs())
    assert "secret" not in str(caught.value)


VERBS: dict[str, Verb] = {
    "upload": lambda gemini, path: gemini.upload(path, display_name="ours"),
    "has_file": lambda gemini, path: gemini.has_file("files/x"),
    "download": lambda gemini, path: gemini.download("files/x", path.with_suffix(".out")),
    "create": lambda gemini, path: gemini.create_embeddings_job(
        model=SPEC.model, input_file_name="files/x", display_name="ours"
    ),
    "list": lambda gemini, path: list(gemini.list_jobs()),
    "get": lambda gemini, path: gemini.get_job("batches/x"),
    "embed": lambda gemini, path: embed(gemini, "a"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_refused_connection_is_an_unknown_outcome(
    connect: Callable[..., GeminiClient], nobody: str, requests_file: Path, verb: str
) -> None:
    """When nobody listens, every verb says so in our words."""
    with pytest.raises(OutcomeUnknownError, match="ConnectError"):
        VERBS[verb](connect(nobody), requests_file)


@pytest.mark.parametrize("verb", VERBS)
def test_silence_is_an_unknown_outcome(
    connect: Callable[..., GeminiClient], silence: str, requests_file: Path, verb: str
) -> None:
    """When nobody answers in time, every verb says so in our words."""
    with pytest.raises(OutcomeUnknownError, match="ReadTimeout"):
        VERBS[verb](connect(silence, timeout_s=0.05), requests_file)


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - {"upload", "download"}))
def test_an_answer_that_trickles_is_an_unknown_outcome(
    connect: Callable[..., GeminiClient],
    serve: Callable[[list[Route]], None],
    base_url: str,
    requests_file: Path,
    verb: str,
) -> None:
    """Each of its bytes is in time, and they have no end: no tick of a sensor waits for them."""

    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.02)

    async def trickle(request: Request) -> Response:
        await request.body()
        return StreamingResponse(drops(), media_type="application/json")

    serve([Route("/{path:path}", trickle, methods=["GET", "POST"])])
    with pytest.raises(OutcomeUnknownError, match=r"ReadTimeout: .* not all there after 0\.15 s"):
        VERBS[verb](connect(base_url, timeout_s=0.15), requests_file)


@pytest.mark.parametrize("verb", VERBS)
def test_a_bad_key_is_a_refusal_that_does_not_show_it(
    connect: Callable[..., GeminiClient], base_url: str, requests_file: Path, verb: str
) -> None:
    """Gemini's words about a key are passed on, the key is not."""
    with pytest.raises(RefusedError, match="API key not valid") as caught:
        VERBS[verb](connect(base_url, api_key="invalid"), requests_file)
    assert not isinstance(caught.value, FileGoneError)
    assert "'invalid'" not in repr(caught.value)


@pytest.mark.parametrize("verb", VERBS)
def test_no_error_shows_the_key(
    connect: Callable[..., GeminiClient],
    base_url: str,
    emulator_state: State,
    requests_file: Path,
    verb: str,
) -> None:
    """Neither a refusal nor its cause has the key in its text."""
    for endpoint in Endpoint:
        fault = Fault(kind=FaultKind.CALL_ERROR, endpoint=endpoint, status=500)
        emulator_state.faults.add(fault)
    with pytest.raises(OutcomeUnknownError) as caught:
        VERBS[verb](connect(base_url, api_key="the-key-itself"), requests_file)
    error: BaseException | None = caught.value
    while error is not None:
        assert "the-key-itself" not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", [403, 500])
def test_a_key_that_is_quoted_is_not_passed_on(
    gemini: GeminiClient,
    emulator_state: State,
    requests_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    verb: str,
) -> None:
    """An answer may quote whatever it was sent: no message and no traceback has the key."""
    monkeypatch.setenv("GEMINI_API_KEY", "secret-key")  # the one that this client sends
    for endpoint in Endpoint:
        emulator_state.faults.add(
            Fault(kind=FaultKind.KEY_QUOTED, endpoint=endpoint, status=status, message="No. " * 60)
        )
    if (verb, status) == ("has_file", 403):
        assert not gemini.has_file("files/x")
        return
    with pytest.raises(GeminiError) as caught:
        VERBS[verb](gemini, requests_file)
    told = "".join(traceback.format_exception(caught.value))
    assert "secret-key" not in told
    assert "It was sent by '…'." in told


def test_a_key_that_is_quoted_among_inlined_answers(
    gemini: GeminiClient,
    emulator_state: State,
    requests_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What lies in an operation is kept on disk like a result file, and has no key either."""
    monkeypatch.setenv("GEMINI_API_KEY", "secret-key")
    emulator_state.faults.add(Fault(kind=FaultKind.ERROR_LINE, message="Sent by secret-key."))
    emulator_state.faults.add(Fault(kind=FaultKind.INLINED_RESULTS))
    created = create(gemini, requests_file)
    emulator_state.wait_idle()
    job = gemini.get_job(created.name)
    assert job is not None
    assert job.result_file_name == job.name
    path = requests_file.with_name("results.jsonl")
    gemini.download(job.name, path)
    assert b"Sent by " in path.read_bytes()
    assert b"secret-key" not in path.read_bytes()


def test_a_key_that_is_quoted_in_the_log(
    patient_gemini: GeminiClient,
    emulator_state: State,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The SDK logs the answers for which it tries again, whole."""
    monkeypatch.setenv("GEMINI_API_KEY", "secret-key")
    fault = Fault(kind=FaultKind.KEY_QUOTED, endpoint=Endpoint.LIST, status=503, times=1)
    emulator_state.faults.add(fault)
    with caplog.at_level(logging.DEBUG):
        assert list(patient_gemini.list_jobs()) == []
    assert "Retrying" in caplog.text
    assert "secret-key" not in caplog.text


def test_the_key_is_not_shown_by_the_client(connect: Callable[..., GeminiClient]) -> None:
    """A client that is printed does not show its key."""
    assert "the-key-itself" not in repr(connect("http://127.0.0.1:9", api_key="the-key-itself"))


# --- another host -----------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Another server's address, and the paths of what it was asked for."""
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        await JSONResponse({})(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener, serve_app(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked


@pytest.mark.parametrize("verb", VERBS)
def test_a_redirect_to_another_host_is_not_followed(
    gemini: GeminiClient,
    emulator_state: State,
    requests_file: Path,
    elsewhere: tuple[str, list[str]],
    verb: str,
) -> None:
    """Neither key nor texts go there; what became of the call is not known."""
    address, asked = elsewhere
    emulator_state.faults.add(Fault(kind=FaultKind.REDIRECTED, location=address))
    with pytest.raises(OutcomeUnknownError, match=f"leads to {address}, where nothing was sent"):
        VERBS[verb](gemini, requests_file)
    assert asked == []


def test_a_redirect_on_the_same_host_is_followed(
    gemini: GeminiClient, emulator_state: State, base_url: str
) -> None:
    """It is the same server to which the key is sent again."""
    emulator_state.faults.add(Fault(kind=FaultKind.REDIRECTED, location=base_url, times=1))
    assert list(gemini.list_jobs()) == []
    assert emulator_state.bill().calls["list"] == 2


def test_an_upload_goes_to_nobody_else(
    gemini: GeminiClient,
    serve_answers: Callable[..., None],
    requests_file: Path,
    elsewhere: tuple[str, list[str]],
) -> None:
    """The address of an upload comes from an answer; the texts go to the server that gave it."""
    address, asked = elsewhere
    start = Response(headers={"X-Goog-Upload-URL": f"{address}/upload/here"})
    serve_answers({"/upload/v1beta/files": start})
    with pytest.raises(OutcomeUnknownError, match=f"leads to {address}, where nothing was sent"):
        gemini.upload(requests_file, display_name="ours")
    assert asked == []


# --- retries ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "endpoint"),
    [
        ("upload", Endpoint.UPLOAD),
        ("list", Endpoint.LIST),
        ("embed", Endpoint.EMBED),
        ("download", Endpoint.DOWNLOAD),
        ("get", Endpoint.GET),
    ],
)
def test_what_is_harmless_is_tried_again(
    patient_gemini: GeminiClient,
    emulator_state: State,
    requests_file: Path,
    verb: str,
    endpoint: Endpoint,
) -> None:
    """Reads, uploads and embeddings survive two bad answers in a row."""
    fault = Fault(kind=FaultKind.CALL_ERROR, endpoint=endpoint, status=503, times=2)
    emulator_state.faults.add(fault)
    job = create(patient_gemini, requests_file) if verb in ("download", "get") else None
    emulator_state.wait_idle()
    match job, verb:
        case None, _:
            VERBS[verb](patient_gemini, requests_file)
        case RemoteJob(name=name), "get":
            assert patient_gemini.get_job(name) is not None
        case RemoteJob(name=name), _:
            result = f"files/batch-{name.removeprefix('batches/')}"
            patient_gemini.download(result, requests_file.with_suffix(".out"))
    assert emulator_state.bill().calls[endpoint] == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_creation_of_a_job_is_never_tried_again(
    patient_gemini: GeminiClient, emulator_state: State, requests_file: Path, status: int
) -> None:
    """One call, whatever comes back: a second one might be a second job."""
    emulator_state.faults.add(
        Fault(kind=FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=status, times=1)
    )
    with pytest.raises(GeminiError):
        create(patient_gemini, requests_file)
    assert emulator_state.bill().calls["create"] == 1


def test_a_dropped_creation_leaves_one_job(
    patient_gemini: GeminiClient, emulator_state: State, requests_file: Path
) -> None:
    """A connection dropped after the job was created does not lead to another one."""
    emulator_state.faults.add(Fault(kind=FaultKind.CREATE_THEN_DROP))
    with pytest.raises(OutcomeUnknownError):
        create(patient_gemini, requests_file)
    bill = emulator_state.bill()
    assert (bill.calls["create"], bill.jobs_created) == (1, 1)
    assert [job.display_name for job in patient_gemini.list_jobs()] == ["ours"]


def test_a_created_job_makes_no_noise(gemini: GeminiClient, requests_file: Path) -> None:
    """The SDK's warning that embedding jobs are experimental is for us, not for the user."""
    assert create(gemini, requests_file).name.startswith("batches/")  # warnings are errors here


# --- other servers ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def silence() -> Iterator[str]:
    """The address of a server that accepts calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="session")
def nobody() -> Iterator[str]:
    """An address that is taken, so that nobody else can have it, and does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def serve(switchboard: Switchboard, base_url: str) -> Callable[[list[Route]], None]:
    """Serve other routes than the emulator's."""

    def served(routes: list[Route]) -> None:
        switchboard.app = Starlette(routes=routes)

    return served


@pytest.fixture
def serve_answers(
    serve: Callable[[list[Route]], None],
) -> Callable[[dict[str, Response]], None]:
    """Serve fixed answers by path."""

    def route(path: str, answer: Response) -> Route:
        async def answered(request: Request) -> Response:
            await request.body()
            return answer

        return Route(path, answered, methods=["GET", "POST"])

    return lambda answers: serve([route(path, answer) for path, answer in answers.items()])
