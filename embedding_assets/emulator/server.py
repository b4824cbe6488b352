"""The emulator over HTTP: the application, and a server for it in a thread.

What surrounds every endpoint is here (routing, API keys, counting, faults, errors as JSON);
what an endpoint does is in `endpoints` and `admin`.
"""

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from embedding_assets.emulator.admin import ADMIN_ROUTES, AdminHandler
from embedding_assets.emulator.connection import DroppableProtocol
from embedding_assets.emulator.endpoints import (
    API_ROUTES,
    ApiRoute,
    Call,
    check_key,
    upload_offset,
)
from embedding_assets.emulator.errors import ApiError
from embedding_assets.emulator.faults.book import Strike
from embedding_assets.emulator.faults.kinds import (
    ANSWER_FAULTS,
    CALL_FAULTS,
    UPLOAD_FAULTS,
    Endpoint,
    FaultKind,
)
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State
from embedding_assets.emulator.wire import error_json, file_json
from embedding_assets.loopback import OwnHostOnly

_CLIENT_CLOSED_REQUEST = 499  # nginx's number for it; HTTP has none
API_VERSIONS = ("v1beta", "v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """A running emulator: where it is, and its state for those in the same process."""

    base_url: str
    state: State


def build_app(state: State, *, names: Collection[str] = ()) -> ASGIApp:
    """The application over a state: Google's endpoints in both versions, and the admin's.

    ``names`` are host names to answer to, beside those of this machine.
    """
    routes = [_admin_route(state, *route) for route in ADMIN_ROUTES]
    for version in API_VERSIONS:
        routes += [_route(state, version, route) for route in API_ROUTES]
        routes.append(_upload_chunk_route(state, version))
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: _unknown_address,
            ClientDisconnect: _nobody_there,
            Exception: _internal_error,
        },
    )
    return OwnHostOnly(app, names)


@contextmanager
def running(
    state_dir: Path,
    *,
    settings: EmulatorSettings | None = None,
    faults: Iterable[Fault] = (),
    clock: Callable[[], float] = time.time,
    host: str = "127.0.0.1",
    port: int = 0,
    names: Iterable[str] = (),
) -> Iterator[Emulator]:
    """Serve a state directory from a thread until the block is left.

    `faults` are in force from the first call on; those that already were are not doubled.
    Raises OSError if the address cannot be had, StateDirectoryInUse and OtherSchemaVersion if the
    directory cannot.
    """
    listener = socket.create_server((host, port))
    try:
        with State(state_dir, settings=settings or EmulatorSettings(), clock=clock) as state:
            for fault in faults:
                state.faults.ensure(fault)
            bound_port = listener.getsockname()[1]
            with serve(build_app(state, names=[host, *names]), listener):
                yield Emulator(base_url=f"http://{host}:{bound_port}", state=state)
    finally:
        listener.close()


@contextmanager
def serve(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serve an application on a listening socket, which is closed when the block is left."""
    config = uvicorn.Config(
        app,
        http=DroppableProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        timeout_keep_alive=120,  # a client that polls must not meet a connection just closed
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="emulator-server")
    thread.start()
    server.ready.wait()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


class _Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()


def _route(state: State, version: str, route: ApiRoute) -> Route:
    async def answer(request: Request) -> Response:
        call = _call(request, state, version=version, raw_body=await request.body())
        return await run_in_threadpool(_answer, call, route)

    prefix = f"/upload/{version}" if route.below_upload else f"/{version}"
    return Route(prefix + route.path, answer, methods=[route.method])


def _answer(call: Call, route: ApiRoute) -> Response:
    try:
        call.state.cashier.count_call(route.endpoint)
        check_key(call)
        _raise_fault(call, route.endpoint)
        answer = route.handler(call)
        kinds = [
            kind for kind, on in ANSWER_FAULTS.items() if route.endpoint in (on.endpoint, on.also)
        ]
        if kinds and (strike := _strike(call, kinds)):
            answer = ANSWER_FAULTS[strike.fault.kind].spoil(call, answer, strike)
    except ApiError as error:
        return _error_response(error)
    return answer if isinstance(answer, Response) else _json_response(answer)


def _upload_chunk_route(state: State, version: str) -> Route:
    async def answer(request: Request) -> Response:
        call = _call(request, state, version=version, raw_body=b"")
        try:
            return await _receive_chunk(call, request)
        except ApiError as error:
            # Without a status header the SDK would send the chunk again and again.
            return _error_response(error, headers={"X-Goog-Upload-Status": "final"})

    return Route(f"/upload/{version}/files/{{upload_id}}", answer, methods=["POST", "PUT"])


async def _receive_chunk(call: Call, request: Request) -> Response:
    """Append the bytes as they come; the last chunk is answered with the file.

    There is no API key to check: the address is the secret.
    """
    call.state.cashier.count_call(Endpoint.UPLOAD_CHUNK)
    _raise_fault(call, Endpoint.UPLOAD_CHUNK)
    upload_id = call.path["upload_id"]
    path = call.state.files.upload_path(upload_id, offset=upload_offset(call))
    if strike := _strike(call, UPLOAD_FAULTS):
        return await UPLOAD_FAULTS[strike.fault.kind].receive(request, path)
    with path.open("ab") as file:
        async for data in request.stream():
            file.write(data)
    if "finalize" not in call.headers.get("x-goog-upload-command", ""):
        return Response(headers={"X-Goog-Upload-Status": "active"})
    stored = await run_in_threadpool(call.state.files.finish_upload, upload_id)
    shown = {"file": file_json(stored, base_url=call.versioned_url)}
    return _json_response(shown, headers={"X-Goog-Upload-Status": "final"})


def _admin_route(state: State, method: str, path: str, handler: AdminHandler) -> Route:
    async def answer(request: Request) -> Response:
        call = _call(request, state, version="emulator", raw_body=await request.body())
        try:
            return _json_response(await run_in_threadpool(handler, call))
        except ApiError as error:
            return _error_response(error)

    return Route(path, answer, methods=[method])


def _call(request: Request, state: State, *, version: str, raw_body: bytes) -> Call:
    return Call(
        state=state,
        version=version,
        base_url=str(request.base_url).rstrip("/"),
        path={name: str(value) for name, value in request.path_params.items()},
        query=request.query_params,
        headers=request.headers,
        url_path=request.url.path,
        raw_body=raw_body,
    )


def _raise_fault(call: Call, endpoint: Endpoint) -> None:
    if strike := _strike(call, CALL_FAULTS, endpoint):
        raise CALL_FAULTS[strike.fault.kind].error(call, strike.fault)


def _strike(
    call: Call, kinds: Iterable[FaultKind], endpoint: Endpoint | None = None
) -> Strike | None:
    body = call.raw_body.decode(errors="replace")
    return call.state.faults.strike(kinds, call.url_path, body, endpoint=endpoint)


def _json_response(
    body: dict[str, Any], *, status_code: int = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status_code, headers, media_type="application/json")


def _error_response(error: ApiError, *, headers: dict[str, str] | None = None) -> Response:
    shown = {**error.headers, **(headers or {})}
    return _json_response(error_json(error), status_code=error.code, headers=shown)


async def _nobody_there(_: Request, __: Exception) -> Response:
    """A client that was killed while it sent its request: nothing to answer, nothing to report."""
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _unknown_address(request: Request, exc: Exception) -> Response:
    code = exc.status_code if isinstance(exc, HTTPException) else HTTPStatus.NOT_FOUND
    return _error_response(ApiError(code, f"There is no {request.method} {request.url.path}."))


async def _internal_error(request: Request, exc: Exception) -> Response:
    message = f"The emulator failed: {exc!r}."  # the traceback goes to the log
    return _error_response(ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, message))
