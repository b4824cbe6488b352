"""What the emulator leaves on disk: nothing that has expired, and nothing it cannot read."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from google import genai

from embedding_assets.emulator.batches import BatchState
from embedding_assets.emulator.database import OtherSchemaVersion
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State

MODEL = "gemini-embedding-001"
LIFETIME_S = 48 * 3600


def test_a_new_upload_removes_what_has_expired(
    http: httpx2.Client,
    state: State,
    state_dir: Path,
    submit_locally: Callable[..., str],
    advance: Callable[[float], None],
) -> None:
    """Old files, results and unfinished uploads make room; younger ones stay."""
    submit_locally(["old"])
    old_upload = _begin_upload(state)
    state.wait_idle()
    advance(LIFETIME_S - 1)
    young_job = submit_locally(["young"])
    young_upload = _begin_upload(state)
    state.wait_idle()
    _start_upload(http)
    assert len(_names(state_dir / "files")) == len(_names(state_dir / "results")) == 2
    assert _names(state_dir / "uploads") > {old_upload, young_upload}
    advance(1)
    _start_upload(http)
    assert len(_names(state_dir / "files")) == 1
    assert _names(state_dir / "results") == {f"{young_job}.jsonl"}
    assert old_upload not in _names(state_dir / "uploads")
    assert young_upload in _names(state_dir / "uploads")


def test_the_start_removes_what_has_expired(
    open_state: Callable[..., State],
    state: State,
    state_dir: Path,
    submit_locally: Callable[..., str],
    advance: Callable[[float], None],
) -> None:
    """An emulator that was away for two days begins with a tidy disk, and the bill as it was."""
    submit_locally(["text"])
    _begin_upload(state)
    state.wait_idle()
    state.close()
    advance(LIFETIME_S)
    with open_state() as after:
        kept = [_names(state_dir / name) for name in ("files", "results", "uploads", "inputs")]
        assert kept == [set(), set(), set(), set()]
        assert after.bill().requests == 1


def test_results_of_a_job_cancelled_before_its_end_are_removed(
    http: httpx2.Client, state: State, state_dir: Path, submit_locally: Callable[..., str]
) -> None:
    """They were computed ahead of time, and nobody will ever see them."""
    state.settings = EmulatorSettings(latency_s=10)
    cancelled, kept = submit_locally(["cancelled"]), submit_locally(["kept"])
    state.wait_idle()
    state.batches.cancel(cancelled, now=state.clock())
    _start_upload(http)
    assert _names(state_dir / "results") == {f"{kept}.jsonl"}


def test_an_inlined_job_outlives_its_answers(
    client: genai.Client, state: State, http: httpx2.Client, advance: Callable[[float], None]
) -> None:
    """After two days it is still described as succeeded, without output."""
    created = client.batches.create_embeddings(
        model=MODEL, src={"inlined_requests": {"contents": ["text"]}}
    )
    state.wait_idle()
    advance(LIFETIME_S)
    operation = http.get(f"/v1beta/{created.name}").json()
    assert operation["metadata"]["state"] == BatchState.SUCCEEDED
    assert operation.keys() == {"name", "metadata", "done"}


@pytest.mark.parametrize("version", [0, 99])
def test_a_directory_of_another_version_is_refused(
    open_state: Callable[..., State], state_dir: Path, version: int
) -> None:
    """The refusal says which directory to remove; the directory is let go of."""
    state_dir.mkdir()
    with sqlite3.connect(state_dir / "state.db") as other:
        other.execute("CREATE TABLE uploads (upload_id TEXT)")
        other.execute(f"PRAGMA user_version = {version}")
    other.close()
    for _ in range(2):
        with pytest.raises(OtherSchemaVersion, match=f"schema is {version}.*remove {state_dir}"):
            open_state()


def _begin_upload(state: State) -> str:
    return state.files.begin_upload(
        file_id=None, display_name=None, mime_type="jsonl", declared_bytes=None
    )


def _start_upload(http: httpx2.Client) -> None:
    headers = {"X-Goog-Upload-Command": "start"}
    http.post("/upload/v1beta/files", json={}, headers=headers).raise_for_status()


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}
