"""What a fault makes of a call and of its answer: a function an effect.

Belongs here: effects on HTTP. Does not belong here: result lines (`lines`) and which effect belongs
to which kind (`kinds`).
"""

from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from embedding_assets.emulator.connection import (
    BrokenDownload,
    DroppedConnection,
    TruncatedDownload,
)
from embedding_assets.emulator.errors import ApiError

if TYPE_CHECKING:
    from embedding_assets.emulator.endpoints import Call
    from embedding_assets.emulator.faults.book import Strike
    from embedding_assets.emulator.faults.rules import Fault


def as_told(fault: "Fault") -> ApiError:
    """The HTTP status and the message of the rule."""
    return ApiError(fault.status, fault.message)


async def half_received(request: Request, path: Path) -> Response:
    """The first half of a chunk is appended, the rest is left unread."""
    n_left = int(request.headers.get("content-length", 0)) // 2
    with path.open("ab") as file:
        async for data in request.stream():
            file.write(data[:n_left])
            n_left -= len(data)
            if n_left <= 0:
                break
    return DroppedConnection()


def none(call: "Call", answer: Any, strike: "Strike") -> Response:
    """The connection is closed: the job exists, and its creator never hears of it."""
    return DroppedConnection()


def created_late(call: "Call", answer: dict[str, Any], strike: "Strike") -> Response:
    """A 504, and a job that is not to be seen for `delay_s`."""
    batch_id = answer["name"].removeprefix("batches/")
    call.state.batches.hide(batch_id, for_s=strike.fault.delay_s)
    raise ApiError(HTTPStatus.GATEWAY_TIMEOUT, strike.fault.message)


def refused_late(call: "Call", answer: dict[str, Any], strike: "Strike") -> Response:
    """A 429, and the job is there all the same."""
    raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, strike.fault.message)


def truncated(call: "Call", answer: FileResponse, strike: "Strike") -> Response:
    """A part of the file, as if it were the whole."""
    return TruncatedDownload(Path(answer.path), n_bytes=_cut(answer, strike))


def broken(call: "Call", answer: FileResponse, strike: "Strike") -> Response:
    """A part of the file that was announced whole, and then no connection."""
    return BrokenDownload(Path(answer.path), n_bytes=_cut(answer, strike))


def _cut(answer: FileResponse, strike: "Strike") -> int:
    """How many bytes of a file are sent: fewer than it has, unless it has none."""
    size_bytes = Path(answer.path).stat().st_size
    return Random(strike.seed).randrange(max(1, size_bytes))
