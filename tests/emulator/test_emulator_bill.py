"""The bill: what is on it, when, and what never is."""

import hashlib
from collections.abc import Callable

import pytest
from google import genai

from embedding_assets.emulator.bill import BilledText
from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import Emulator
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State

MODEL = "gemini-embedding-001"


def test_every_purchase_is_on_the_bill(
    client: genai.Client, emulator: Emulator, submit: Callable[..., object]
) -> None:
    """Both routes are billed by text, model and dimensions, and every call is counted."""
    submit(["abcdefgh", "abcd"], dimensions=8)
    emulator.state.wait_idle()
    client.models.embed_content(
        model=MODEL, contents=["abcdefgh"], config={"output_dimensionality": 8}
    )
    bill = emulator.state.bill()
    assert (bill.jobs_created, bill.batch_requests, bill.batch_tokens) == (1, 2, 3)
    assert (bill.sync_requests, bill.sync_tokens) == (1, 2)
    assert (bill.requests, bill.tokens) == (3, 5)
    assert bill.calls == {"create": 1, "embed": 1, "upload": 1, "upload_chunk": 1}
    assert bill.bought_twice == (
        BilledText(sha256=_sha256("abcdefgh"), model=MODEL, dimensions=8, times=2, tokens=4),
    )


def test_other_dimensions_are_another_purchase(
    state: State, submit_locally: Callable[..., str]
) -> None:
    """The same text at two dimensions is not bought twice."""
    submit_locally(["text"], dimensions=8)
    submit_locally(["text"], dimensions=16)
    state.wait_idle()
    assert len(state.bill().texts) == 2
    assert state.bill().bought_twice == ()


def test_a_job_is_billed_when_it_succeeds(
    state: State, submit_locally: Callable[..., str], advance: Callable[[float], None]
) -> None:
    """Computed ahead of time, a job is not billed before its end, and not at all if cancelled."""
    state.settings = EmulatorSettings(latency_s=10)
    submit_locally(["kept"])
    cancelled = submit_locally(["cancelled"])
    state.wait_idle()
    assert state.bill().requests == 0
    state.batches.cancel(cancelled, now=state.clock())
    advance(10)
    assert [text.sha256 for text in state.bill().texts] == [_sha256("kept")]


@pytest.mark.parametrize(
    ("kind", "times_billed"),
    [
        (FaultKind.ERROR_LINE, 0),
        (FaultKind.MISSING_LINE, 0),
        (FaultKind.WRONG_DIMENSION, 0),
        (FaultKind.NAN_VALUE, 0),
        (FaultKind.MALFORMED_LINE, 0),
        (FaultKind.UNKNOWN_KEY, 0),
        (FaultKind.DUPLICATE_LINE, 1),
        (FaultKind.JOB_FAILED, 0),
    ],
)
def test_only_intact_vectors_are_billed(
    state: State, submit_locally: Callable[..., str], kind: FaultKind, times_billed: int
) -> None:
    """What a fault has spoilt is free, and a repeated line is paid once."""
    state.faults.add(Fault(kind=kind))
    submit_locally(["text"])
    state.wait_idle()
    assert state.bill().requests == times_billed


def test_blank_texts_are_not_billed(state: State, submit_locally: Callable[..., str]) -> None:
    """An error line costs nothing."""
    submit_locally(["  ", "text"])
    state.wait_idle()
    assert state.bill().requests == 1


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
