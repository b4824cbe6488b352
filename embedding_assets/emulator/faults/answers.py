"""What a fault makes of a call and of its answer: a function an effect.

Belongs here: effects on HTTP. Does not belong here: result lines (`lines`) and which effect belongs
to which kind (`kinds`).
"""

from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from embedding_assets.emulator.connection import (
    BrokenDownload,
    DroppedConnection,
    TricklingDownload,
    TruncatedDownload,
)
from embedding_assets.emulator.embed_requests import (
    CHANGED_REVISION,
    find_model,
    parse_embed_request,
)
from embedding_assets.emulator.errors import ApiError, Redirection, refused_for
from embedding_assets.emulator.wire import error_json

if TYPE_CHECKING:
    from embedding_assets.emulator.endpoints import Call
    from embedding_assets.emulator.faults.book import Strike
    from embedding_assets.emulator.faults.rules import Fault


def as_told(call: "Call", fault: "Fault") -> ApiError:
    """The refusal for the rule's quota, or its HTTP status and message."""
    if fault.quota is not None:
        return refused_for(fault.quota)
    return ApiError(fault.status, fault.message)


def with_key(call: "Call", fault: "Fault") -> ApiError:
    """The same, with the caller's API key at its end; only a chunk of an upload has none."""
    return ApiError(fault.status, f"{fault.message} It was sent by {call.api_key!r}.")


def led_elsewhere(call: "Call", fault: "Fault") -> ApiError:
    """The same path at the address of the rule."""
    return Redirection(f"{fault.location}{call.url_path}")


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


def sign_in_page(call: "Call", answer: object, strike: "Strike") -> Response:
    """What a proxy says in place of the answer, with status 200."""
    return HTMLResponse("<!DOCTYPE html>\n<title>Sign in</title>\n<p>Please sign in to go on.\n")


def nothing(call: "Call", answer: FileResponse, strike: "Strike") -> Response:
    """An empty file, with status 200."""
    return Response(media_type="application/octet-stream")


def error_document(call: "Call", answer: FileResponse, strike: "Strike") -> Response:
    """An error as Google writes it, with status 200."""
    error = ApiError(strike.fault.status, strike.fault.message)
    return Response(orjson.dumps(error_json(error)), media_type="application/json")


def inlined(call: "Call", answer: dict[str, Any], strike: "Strike") -> dict[str, Any]:
    """The results in the operation, each with its key beside it, and no file of them."""
    jobs = [answer] if "name" in answer else answer.get("operations", [])  # a list may be empty
    for operation in jobs:
        batch_id = operation["name"].removeprefix("batches/")
        for place in (operation.get("response", {}), operation["metadata"].get("output", {})):
            if place.pop("responsesFile", None) is not None:
                place["inlinedResponses"] = {"inlinedResponses": _responses(call, batch_id)}
    return answer


def _responses(call: "Call", batch_id: str) -> list[dict[str, Any]]:
    with call.state.result_path(batch_id).open("rb") as lines:
        return [_inlined_answer(line) for line in lines]


def _inlined_answer(line: bytes) -> dict[str, Any]:
    """An answer with its key beside it; of a line that another fault has cut nothing is left."""
    try:
        answer: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return {"metadata": {"key": answer.pop("key", None)}, **answer}


def too_few_vectors(call: "Call", answer: dict[str, Any], strike: "Strike") -> dict[str, Any]:
    """One vector for all texts of a synchronous call, which are billed."""
    return {**answer, "embeddings": answer["embeddings"][:1]}


def uncounted(call: "Call", answer: dict[str, Any], strike: "Strike") -> dict[str, Any]:
    """No word on the tokens of a synchronous call, which are billed."""
    return {name: value for name, value in answer.items() if name != "usageMetadata"}


def trickling(call: "Call", answer: FileResponse, strike: "Strike") -> Response:
    """The whole file, a byte at a time: no pause is long, and there is no end to them."""
    return TricklingDownload(Path(answer.path))


def of_a_changed_model(call: "Call", answer: dict[str, Any], strike: "Strike") -> dict[str, Any]:
    """Vectors that compare with none of those before."""
    model = find_model(call.path["model"])
    bodies = call.body.get("requests") or [call.body]
    requests = [parse_embed_request(body, model) for body in bodies]
    vectors = [{"values": request.vector(revision=CHANGED_REVISION)} for request in requests]
    changed = {"embeddings": vectors} if "embeddings" in answer else {"embedding": vectors[0]}
    return {**answer, **changed}


def _cut(answer: FileResponse, strike: "Strike") -> int:
    """How many bytes of a file are sent: fewer than it has, unless it has none."""
    size_bytes = Path(answer.path).stat().st_size
    return Random(strike.seed).randrange(max(1, size_bytes))
