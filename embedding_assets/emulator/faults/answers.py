"""What a fault makes of the answer to a call that has had its effect."""

from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

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


def none(call: "Call", answer: Any, strike: "Strike") -> Response:
    """The connection is closed."""
    return DroppedConnection()


def created_late(call: "Call", answer: dict[str, Any], strike: "Strike") -> Response:
    """A time-out, and a job that is not to be seen for a while."""
    batch_id = answer["name"].removeprefix("batches/")
    call.state.batches.hide(batch_id, for_s=strike.fault.delay_s)
    raise ApiError(HTTPStatus.GATEWAY_TIMEOUT, strike.fault.message)


def truncated(call: "Call", answer: FileResponse, strike: "Strike") -> Response:
    """A part of the file, as if it were the whole."""
    return TruncatedDownload(Path(answer.path), n_bytes=_cut(answer, strike))


def broken(call: "Call", answer: FileResponse, strike: "Strike") -> Response:
    """A part of the file, and then no connection."""
    return BrokenDownload(Path(answer.path), n_bytes=_cut(answer, strike))


def _cut(answer: FileResponse, strike: "Strike") -> int:
    """How many bytes of a file are sent: fewer than it has, unless it has none."""
    size_bytes = Path(answer.path).stat().st_size
    return Random(strike.seed).randrange(max(1, size_bytes))
