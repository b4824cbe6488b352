"""The emulator's own endpoints, and the server in a thread."""

import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google import genai

from embedding_assets.emulator.server import Emulator, running
from embedding_assets.emulator.settings import EmulatorSettings

MODEL = "gemini-embedding-001"


def test_health_needs_no_key(emulator: Emulator) -> None:
    """Anyone may ask what is running here and how it is set."""
    shown = httpx2.get(f"{emulator.base_url}/emulator/health").json()
    assert shown["name"] == "embedding-assets emulator"
    assert shown["settings"] == asdict(EmulatorSettings(latency_s=0))


def test_settings_are_changed_or_replaced(emulator: Emulator, http: httpx2.Client) -> None:
    """PATCH keeps what it is not told, PUT returns it to its default."""
    patched = http.patch("/emulator/settings", json={"max_concurrent_jobs": 3}).json()
    assert (patched["max_concurrent_jobs"], patched["latency_s"]) == (3, 0)
    replaced = http.put("/emulator/settings", json={"seed": 7}).json()
    assert replaced == asdict(EmulatorSettings(seed=7))
    assert emulator.state.settings == EmulatorSettings(seed=7)


@pytest.mark.parametrize("body", [{"lunch": 1}, {"latency_s": "soon"}, {"seed": -1}])
def test_settings_that_make_no_sense_are_refused(
    http: httpx2.Client, body: dict[str, object]
) -> None:
    """The refusal names the setting and nothing changes."""
    answer = http.patch("/emulator/settings", json=body)
    assert answer.status_code == 400
    assert next(iter(body)) in answer.json()["error"]["message"]


def test_the_bill_can_be_read(client: genai.Client, http: httpx2.Client) -> None:
    """Totals and repeated purchases always, every text only if asked for."""
    for text in ("twice", "twice", "once"):
        client.models.embed_content(model=MODEL, contents=[text])
    bill = http.get("/emulator/bill").json()
    assert (bill["requests"], bill["sync_requests"], bill["jobs_created"]) == (3, 3, 0)
    assert [text["times"] for text in bill["bought_twice"]] == [2]
    assert "texts" not in bill
    assert len(http.get("/emulator/bill?texts=true").json()["texts"]) == 2


def test_faults_come_and_go(http: httpx2.Client) -> None:
    """Rules are added, listed, removed one by one and all together."""
    rule = {"kind": "call_error", "endpoint": "list", "status": 503, "times": 1}
    first = http.post("/emulator/faults", json=rule).json()
    second = http.post("/emulator/faults", json={"kind": "error_line", "match": "x"}).json()
    assert http.get("/v1beta/batches").status_code == 503
    listed = http.get("/emulator/faults").json()["faults"]
    assert [(fault["id"], fault["struck"]) for fault in listed] == [
        (first["id"], 1),
        (second["id"], 0),
    ]
    assert listed[0].items() >= rule.items()
    assert http.delete(f"/emulator/faults/{first['id']}").status_code == 200
    assert http.delete(f"/emulator/faults/{first['id']}").status_code == 404
    assert http.delete("/emulator/faults").json() == {}
    assert http.get("/emulator/faults").json() == {"faults": []}


@pytest.mark.parametrize("body", [{"kind": "meteor"}, {"kind": "error_line", "times": "often"}])
def test_a_bad_rule_is_refused(http: httpx2.Client, body: dict[str, object]) -> None:
    """A rule that makes no sense is an invalid argument."""
    assert http.post("/emulator/faults", json=body).status_code == 400


def test_no_thread_is_left_behind(state_dir: Path) -> None:
    """Leaving the block stops the server and the worker, even under a connected client."""
    before = set(threading.enumerate())
    with (
        running(state_dir) as emulator,
        httpx2.Client(base_url=emulator.base_url) as http,
    ):
        assert http.get("/emulator/health").status_code == 200
    assert set(threading.enumerate()) == before


def test_a_failure_of_the_emulator_itself_is_an_internal_error(
    emulator: Emulator, http: httpx2.Client, state_dir: Path, submit: Callable[..., Any]
) -> None:
    """A lost file of ours is not blamed on the client."""
    job = submit(["text"])
    emulator.state.wait_idle()
    batch_id = job.name.removeprefix("batches/")
    (state_dir / "results" / f"{batch_id}.jsonl").unlink()
    assert http.get(f"/v1beta/files/batch-{batch_id}:download?alt=media").status_code == 500


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/emulator/bill"),
        ("POST", "/emulator/faults"),
        ("DELETE", "/emulator/faults"),
        ("PUT", "/emulator/settings"),
        ("GET", "/v1beta/batches"),
        ("POST", "/v1beta/models/gemini-embedding-001:embedContent"),
    ],
)
def test_a_page_elsewhere_gets_nothing(
    http: httpx2.Client, emulator: Emulator, method: str, path: str, headers: dict[str, str]
) -> None:
    """Whatever a browser sends for a foreign page is refused, and changes nothing."""
    before = emulator.state.settings
    answer = http.request(method, path, headers=headers, json={"kind": "job_failed"})
    assert answer.status_code == 403
    assert emulator.state.settings == before
    assert list(emulator.state.faults.records()) == []
    assert emulator.state.bill().calls == {}


def test_other_names_of_the_emulator(state_dir: Path) -> None:
    """In a container it is called by the name that it was told."""
    with running(state_dir, names=["gemini"]) as emulator:
        for host, status in (("gemini:8765", 200), ("other:8765", 403)):
            answer = httpx2.get(f"{emulator.base_url}/emulator/health", headers={"Host": host})
            assert answer.status_code == status
