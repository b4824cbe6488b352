"""Google's endpoints: from a call to an answer, over the state.

A handler is a function of a `Call`; it returns JSON or a response, or raises ApiError.
Routing, API keys, faults and the counting of calls surround every handler and are in `server`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import FileResponse, Response

from embedding_assets.emulator.batches import Batch
from embedding_assets.emulator.embed_requests import (
    EmbedRequest,
    content_text,
    field,
    find_model,
    parse_embed_request,
)
from embedding_assets.emulator.errors import ApiError, invalid_argument
from embedding_assets.emulator.faults.kinds import Endpoint
from embedding_assets.emulator.settings import MAX_SYNC_REQUESTS_PER_CALL
from embedding_assets.emulator.state import RESULT_ID_PREFIX, State
from embedding_assets.emulator.vectors import count_tokens
from embedding_assets.emulator.wire import file_json, operation_json

_DEFAULT_PAGE_SIZE = 50
_MAX_PAGE_SIZE = 1_000


@dataclass(frozen=True, kw_only=True)
class Call:
    """One HTTP request, read to its end."""

    state: State
    version: str
    base_url: str
    """This server as the client sees it, without a trailing slash."""
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    url_path: str
    raw_body: bytes

    @cached_property
    def body(self) -> dict[str, Any]:
        """The body as a JSON object, {} if there is none. Raises ApiError 400 otherwise."""
        try:
            body = orjson.loads(self.raw_body or b"{}")
        except orjson.JSONDecodeError as exc:
            raise invalid_argument(f"The body is not JSON: {exc}.") from exc
        if not isinstance(body, dict):
            raise invalid_argument("The body is not a JSON object.")
        return body

    @property
    def versioned_url(self) -> str:
        """The base of resource addresses."""
        return f"{self.base_url}/{self.version}"

    @property
    def api_key(self) -> str | None:
        """The caller's key, if there is one."""
        return self.headers.get("x-goog-api-key") or self.query.get("key")

    def page(self) -> tuple[int | None, int]:
        """The position to go on before, and the page size."""
        token = self.query.get("pageToken")
        size = _natural(self.query.get("pageSize") or "0", "pageSize") or _DEFAULT_PAGE_SIZE
        return _natural(token, "pageToken") if token else None, min(size, _MAX_PAGE_SIZE)


Handler = Callable[[Call], dict[str, Any] | Response]


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """An endpoint of the API: under which name it is known, where it is, and what answers."""

    endpoint: Endpoint
    method: str
    path: str
    """Below the version, such as "/batches/{batch_id}"."""
    handler: Handler
    below_upload: bool = False


def start_upload(call: Call) -> Response:
    """Begin a resumable upload, and make room for it."""
    call.state.remove_expired()
    if call.headers.get("x-goog-upload-command") != "start":
        raise invalid_argument("The X-Goog-Upload-Command of a new upload must be 'start'.")
    file = _object(call.body.get("file"), "file")
    name = field(file, "name")
    length = call.headers.get("x-goog-upload-header-content-length")
    upload_id = call.state.files.begin_upload(
        file_id=name.removeprefix("files/") if name else None,
        display_name=field(file, "displayName"),
        mime_type=call.headers.get("x-goog-upload-header-content-type")
        or field(file, "mimeType")
        or "application/octet-stream",
        declared_bytes=_natural(length, "content length") if length else None,
    )
    url = f"{call.base_url}/upload/{call.version}/files/{upload_id}"
    return Response(headers={"X-Goog-Upload-URL": url, "X-Goog-Upload-Status": "active"})


def upload_offset(call: Call) -> int:
    """Where in the file the bytes of an upload call belong."""
    return _natural(call.headers.get("x-goog-upload-offset", ""), "X-Goog-Upload-Offset")


def get_file(call: Call) -> dict[str, Any]:
    """Describe an uploaded file."""
    file = call.state.files.get(call.path["file_id"])
    return file_json(file, base_url=call.versioned_url)


def list_files(call: Call) -> dict[str, Any]:
    """Describe the uploaded files, newest first."""
    before, size = call.page()
    files, more = call.state.files.page(before=before, size=size)
    return _page("files", [file_json(f, base_url=call.versioned_url) for f in files], more)


def delete_file(call: Call) -> dict[str, Any]:
    """Delete an uploaded file."""
    call.state.files.delete(call.path["file_id"])
    return {}


def download_file(call: Call) -> Response:
    """Stream a file's bytes."""
    path = call.state.download_path(call.path["file_id"])
    return FileResponse(path, media_type="application/octet-stream")


def create_batch(call: Call) -> dict[str, Any]:
    """Create a batch job on a file or on inlined requests."""
    batch = _create_batch(call, _object(call.body.get("batch"), "batch"))
    return operation_json(batch, now=batch.created_at, output=None)


def _create_batch(call: Call, wanted: Mapping[str, Any]) -> Batch:
    model, display_name = call.path["model"], field(wanted, "displayName") or ""
    source = _object(field(wanted, "inputConfig"), "inputConfig")
    file_name = field(source, "fileName")
    if file_name:
        file_id = file_name.removeprefix("files/")
        return call.state.create_batch_from_file(model, display_name, file_id)
    inlined = _object(source.get("requests"), "requests")
    requests = [_object(item, "requests").get("request") for item in _items(inlined, "requests")]
    return call.state.create_batch_inlined(model, display_name, requests)


def get_batch(call: Call) -> dict[str, Any]:
    """Describe a batch job."""
    return _operation(call, _visible_batch(call))


def list_batches(call: Call) -> dict[str, Any]:
    """Describe the batch jobs, newest first."""
    before, size = call.page()
    batches, more = call.state.batches.page(before=before, size=size, now=call.state.clock())
    return _page("operations", [_operation(call, batch) for batch in batches], more)


def cancel_batch(call: Call) -> dict[str, Any]:
    """End a batch job, if it has not ended."""
    call.state.batches.cancel(_visible_batch(call).batch_id, now=call.state.clock())
    return {}


def delete_batch(call: Call) -> dict[str, Any]:
    """Hide a batch job; it is not cancelled by that."""
    call.state.batches.delete(_visible_batch(call).batch_id)
    return {}


def _visible_batch(call: Call) -> Batch:
    return call.state.batches.get(call.path["batch_id"], now=call.state.clock())


def batch_embed(call: Call) -> dict[str, Any]:
    """Embed up to a hundred texts at once."""
    bodies = _items(call.body, "requests")
    if len(bodies) > MAX_SYNC_REQUESTS_PER_CALL:
        raise invalid_argument(
            "* BatchEmbedContentsRequest.requests: at most"
            f" {MAX_SYNC_REQUESTS_PER_CALL} requests can be in one batch"
        )
    model = find_model(call.path["model"])
    requests = [parse_embed_request(body, model) for body in bodies]
    tokens = call.state.embed_now(requests)
    return {"embeddings": [_embedding(r) for r in requests], **_usage(tokens)}


def embed_one(call: Call) -> dict[str, Any]:
    """Embed one text."""
    request = parse_embed_request(call.body, find_model(call.path["model"]))
    tokens = call.state.embed_now([request])
    return {"embedding": _embedding(request), **_usage(tokens)}


def count_content_tokens(call: Call) -> dict[str, Any]:
    """Count the tokens of some contents."""
    find_model(call.path["model"])
    total = sum(count_tokens(content_text(c)) for c in _items(call.body, "contents"))
    return {"totalTokens": total}


API_ROUTES = (
    ApiRoute(Endpoint.UPLOAD, "POST", "/files", start_upload, below_upload=True),
    ApiRoute(Endpoint.DOWNLOAD, "GET", "/files/{file_id}:download", download_file),
    ApiRoute(Endpoint.FILES_GET, "GET", "/files/{file_id}", get_file),
    ApiRoute(Endpoint.FILES_DELETE, "DELETE", "/files/{file_id}", delete_file),
    ApiRoute(Endpoint.FILES_LIST, "GET", "/files", list_files),
    ApiRoute(Endpoint.CREATE, "POST", "/models/{model}:asyncBatchEmbedContent", create_batch),
    ApiRoute(Endpoint.CANCEL, "POST", "/batches/{batch_id}:cancel", cancel_batch),
    ApiRoute(Endpoint.GET, "GET", "/batches/{batch_id}", get_batch),
    ApiRoute(Endpoint.DELETE, "DELETE", "/batches/{batch_id}", delete_batch),
    ApiRoute(Endpoint.LIST, "GET", "/batches", list_batches),
    ApiRoute(Endpoint.EMBED, "POST", "/models/{model}:batchEmbedContents", batch_embed),
    ApiRoute(Endpoint.EMBED, "POST", "/models/{model}:embedContent", embed_one),
    ApiRoute(Endpoint.COUNT_TOKENS, "POST", "/models/{model}:countTokens", count_content_tokens),
)


def check_key(call: Call) -> None:
    """Raise ApiError 403 without an API key, 400 with the one key that is known to be bad."""
    if not call.api_key:
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "Method doesn't allow unregistered callers (callers without established identity)."
            " Please use API Key or other form of API consumer identity to call this API.",
        )
    if call.api_key == "invalid":
        raise invalid_argument("API key not valid. Please pass a valid API key.")


def _object(value: object, name: str) -> Mapping[str, Any]:
    """A field that must be an object, {} if absent."""
    if value is not None and not isinstance(value, Mapping):
        raise invalid_argument(f"{name} must be an object.")
    return value or {}


def _items(body: Mapping[str, Any], name: str) -> list[Any]:
    """A field that must be a list, [] if absent."""
    value = body.get(name) or []
    if not isinstance(value, list):
        raise invalid_argument(f"{name} must be a list.")
    return value


def _natural(digits: str, name: str) -> int:
    if not digits.isdecimal():
        raise invalid_argument(f"Invalid {name}: {digits!r}.")
    return int(digits)


def _operation(call: Call, batch: Batch) -> dict[str, Any]:
    now = call.state.clock()
    output = _output(call.state, batch) if batch.has_output_at(now) else None
    return operation_json(batch, now=now, output=output)


def _output(state: State, batch: Batch) -> dict[str, Any] | None:
    if batch.input_file is not None:
        return {"responsesFile": f"files/{RESULT_ID_PREFIX}{batch.batch_id}"}
    responses = state.inlined_responses(batch)
    return None if responses is None else {"inlinedResponses": {"inlinedResponses": responses}}


def _page(name: str, items: list[dict[str, Any]], more: int | None) -> dict[str, Any]:
    page: dict[str, Any] = {name: items} if items else {}
    if more is not None:
        page["nextPageToken"] = str(more)
    return page


def _embedding(request: EmbedRequest) -> dict[str, Any]:
    return {"values": request.vector()}


def _usage(tokens: int) -> dict[str, Any]:
    return {"usageMetadata": {"promptTokenCount": tokens}}
