"""An emulator on a clock that stands still, and the unmodified SDK to talk to it."""

import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from google import genai
from google.genai import types
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from embedding_assets.emulator.server import Emulator, build_app, serve
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State

MODEL = "gemini-embedding-001"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK announces at every call that embedding batches are experimental."""
    here = Path(__file__).parent
    quiet = pytest.mark.filterwarnings(
        "ignore::google.genai._common.ExperimentalWarning"  # its text changes, its class does not
    )
    for item in items:
        if here in item.path.parents:
            item.add_marker(quiet)


class StandingClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> StandingClock:
    """The emulator's clock."""
    return StandingClock()


@pytest.fixture
def advance(clock: StandingClock) -> Callable[[float], None]:
    """Move the emulator's clock on by some seconds."""
    return clock.advance


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where the emulator keeps its state."""
    return tmp_path / "emulator"


@pytest.fixture
def open_state(state_dir: Path, clock: StandingClock) -> Callable[..., State]:
    """Open the state directory, with some settings changed; close what is opened."""

    def opened(**changes: Any) -> State:
        settings = EmulatorSettings(latency_s=0).changed(changes)
        return State(state_dir, settings=settings, clock=clock)

    return opened


@pytest.fixture
def state(open_state: Callable[..., State]) -> Iterator[State]:
    """An emulator without HTTP."""
    with open_state() as opened:
        yield opened


class Switchboard:
    """One server for all tests: starting and stopping one for each would take longer than they."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.app: ASGIApp = Starlette()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def switchboard() -> Iterator[Switchboard]:
    """A server that has nothing to serve yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connected = Switchboard(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with serve(connected, listener):
            yield connected


@pytest.fixture
def emulator(switchboard: Switchboard, state: State) -> Emulator:
    """A running emulator whose jobs take no time."""
    switchboard.app = build_app(state)
    return Emulator(base_url=switchboard.base_url, state=state)


@pytest.fixture(scope="session")
def shared_client(switchboard: Switchboard) -> Iterator[genai.Client]:
    """The SDK, pointed at the one server."""
    with sdk_client(switchboard.base_url) as opened:
        yield opened


@pytest.fixture
def client(shared_client: genai.Client, emulator: Emulator) -> genai.Client:
    """The SDK, with an emulator behind it."""
    return shared_client


@pytest.fixture
def connect() -> Callable[..., genai.Client]:
    """Make an SDK client for a base URL, with other options than usual."""
    return sdk_client


@pytest.fixture
def http(emulator: Emulator) -> Iterator[httpx2.Client]:
    """Plain HTTP with an API key, for what the SDK does not do."""
    with httpx2.Client(base_url=emulator.base_url, headers={"x-goog-api-key": "test"}) as opened:
        yield opened


@pytest.fixture
def submit(client: genai.Client) -> Callable[..., types.BatchJob]:
    """Upload texts, keyed key_0, key_1 and so on, and create a job on them."""

    def submitted(
        texts: list[str], *, display_name: str = "shard", dimensions: int = 8
    ) -> types.BatchJob:
        uploaded = client.files.upload(
            file=io.BytesIO(jsonl(texts, dimensions)), config={"mime_type": "jsonl"}
        )
        return client.batches.create_embeddings(
            model=MODEL,
            src={"file_name": uploaded.name},
            config={"display_name": display_name},
        )

    return submitted


@pytest.fixture
def submit_locally(state: State) -> Callable[..., str]:
    """As `submit`, without HTTP; returns the batch id."""

    def submitted(texts: list[str], *, display_name: str = "shard", dimensions: int = 8) -> str:
        file_id = store(state, jsonl(texts, dimensions))
        return state.create_batch_from_file(MODEL, display_name, file_id).batch_id

    return submitted


@pytest.fixture
def upload_locally(state: State) -> Callable[[bytes], str]:
    """Put bytes among the uploaded files, without HTTP; returns the file id."""
    return lambda content: store(state, content)


@pytest.fixture
def result_lines(state: State) -> Callable[[str], list[bytes]]:
    """Wait for a job's results and return the raw lines."""

    def lines(batch_id: str) -> list[bytes]:
        state.wait_idle()
        return state.result_path(batch_id).read_bytes().splitlines()

    return lines


def sdk_client(
    base_url: str, *, api_version: str = "v1beta", api_key: str = "test"
) -> genai.Client:
    """The SDK as a user of the Developer API sets it up."""
    options = types.HttpOptions(base_url=base_url, api_version=api_version)
    return genai.Client(vertexai=False, api_key=api_key, http_options=options)


def store(state: State, content: bytes) -> str:
    """Upload bytes the way the server does."""
    upload_id = state.files.begin_upload(
        file_id=None, display_name=None, mime_type="jsonl", declared_bytes=len(content)
    )
    state.files.upload_path(upload_id, offset=0).write_bytes(content)
    return state.files.finish_upload(upload_id).file_id


def jsonl(texts: list[str], dimensions: int) -> bytes:
    """Requests as a file."""
    lines = [
        {
            "key": f"key_{number}",
            "request": {
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": dimensions,
            },
        }
        for number, text in enumerate(texts)
    ]
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)
