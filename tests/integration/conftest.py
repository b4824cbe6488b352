"""A real index file, an emulator over HTTP on a clock that stands still, the real SDK."""

import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.emulator.server import build_app, serve
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State
from embedding_assets.gemini.client import GeminiClient, RetryPolicy
from embedding_assets.gemini.connection import Connection
from embedding_assets.settings.values import (
    Chunking,
    Embedding,
    Limits,
    Publishing,
    RouteChoice,
    Settings,
)
from embedding_assets.store.index import Index, open_index
from tests.factories import SPEC
from tests.integration.world import StandingClock, Switchboard, World

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def clock() -> StandingClock:
    """The emulator's clock."""
    return StandingClock()


@pytest.fixture
def emulator_state(tmp_path: Path, clock: StandingClock) -> Iterator[State]:
    """An emulator whose jobs take no time, without HTTP."""
    settings = EmulatorSettings(latency_s=0)
    with State(tmp_path / "emulator", settings=settings, clock=clock) as state:
        yield state


@pytest.fixture(scope="session")
def switchboard() -> Iterator[Switchboard]:
    """A server that has nothing to serve yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connected = Switchboard(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with serve(connected, listener):
            yield connected


def a_client(base_url: str, *, attempts: int, **options: Any) -> GeminiClient:
    """A client that does not wait between its attempts."""
    connection = Connection(
        provider="emulator", base_url=base_url, api_key=options.get("api_key", "secret-key")
    )
    return GeminiClient(
        connection,
        api_version="v1beta",
        timeout_s=options.get("timeout_s", 10.0),
        download_timeout_s=options.get("download_timeout_s", 10.0),
        retries=RetryPolicy(attempts=attempts, initial_delay_s=0.001, max_delay_s=0.002),
    )


@pytest.fixture(scope="session")
def shared_client(switchboard: Switchboard) -> Iterator[GeminiClient]:
    """A client that tries everything once."""
    client = a_client(switchboard.base_url, attempts=1)
    yield client
    client.close()


@pytest.fixture(scope="session")
def shared_patient_client(switchboard: Switchboard) -> Iterator[GeminiClient]:
    """A client that tries what is harmless three times."""
    client = a_client(switchboard.base_url, attempts=3)
    yield client
    client.close()


@pytest.fixture
def base_url(switchboard: Switchboard, emulator_state: State) -> str:
    """The running emulator's address."""
    switchboard.app = build_app(emulator_state)
    return switchboard.base_url


@pytest.fixture
def gemini(shared_client: GeminiClient, base_url: str) -> GeminiClient:
    """A client that tries everything once, with the emulator behind it."""
    return shared_client


@pytest.fixture
def patient_gemini(shared_patient_client: GeminiClient, base_url: str) -> GeminiClient:
    """A client that tries what is harmless three times, with the emulator behind it."""
    return shared_patient_client


@pytest.fixture(scope="session")
def connect() -> Iterator[Callable[..., GeminiClient]]:
    """A client for a base URL, with other options than usual; made once, for all tests."""
    made: dict[tuple[str, str, float], GeminiClient] = {}

    def connected(
        base_url: str, *, api_key: str = "secret-key", timeout_s: float = 10.0
    ) -> GeminiClient:
        wanted = (base_url, api_key, timeout_s)
        if wanted not in made:
            made[wanted] = a_client(base_url, attempts=1, api_key=api_key, timeout_s=timeout_s)
        return made[wanted]

    yield connected
    for client in made.values():
        client.close()


@pytest.fixture
def index_path(tmp_path: Path) -> Path:
    """Where the index is."""
    return tmp_path / "data" / "index.db"


@pytest.fixture(scope="session")
def empty_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index file without anything in it."""
    path = tmp_path_factory.mktemp("empty") / "index.db"
    with open_index(path, create=True):
        return path


@pytest.fixture
def index(index_path: Path, empty_index: Path) -> Iterator[Index]:
    """A new index: copied, because to create one for each test would take longer than they."""
    index_path.parent.mkdir()
    shutil.copyfile(empty_index, index_path)
    with open_index(index_path) as opened:
        yield opened


@pytest.fixture
def rows(index_path: Path) -> Rows:
    """Ask the index file something with the plain sqlite3 module."""

    def asked(query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(index_path)) as connection:
            return connection.execute(query, parameters).fetchall()

    return asked


@pytest.fixture
def world(index: Index, index_path: Path, gemini: GeminiClient, emulator_state: State) -> World:
    """An index and an emulator, the batch route for any number of requests."""
    settings = Settings(
        data_dir=index_path.parent,
        embedding=Embedding(dimensions=SPEC.dimensions),
        limits=Limits(route=RouteChoice.BATCH),
        # What it costs to compare some texts would be in every number of every test.
        publishing=Publishing(agreement_samples=0),
        chunking=Chunking(path=False),  # what is sent is the text that a test has written
    )
    return World(index=index, gemini=gemini, emulator=emulator_state, settings=settings)
