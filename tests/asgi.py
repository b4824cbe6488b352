"""An ASGI application, asked without a server in between.

Belongs here: requests with exactly the headers that a test names. Does not belong here: what an
answer should be.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Scope

SERVER = ("127.0.0.1", 3000)


def status_of(
    app: ASGIApp,
    address: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    server: tuple[str, int] | None = SERVER,
) -> int:
    """The status of an answer. The Host header is the address's, unless another one is given."""
    scope = {**_scope("http", address, headers, server), "method": method}
    first, *_ = asyncio.run(_messages(app, scope, {"type": "http.request", "body": body}))
    return int(first["status"])


def text_of(app: ASGIApp, address: str, *, headers: Mapping[str, str]) -> str:
    """What a GET is answered with."""
    scope = {**_scope("http", address, headers, SERVER), "method": "GET"}
    _, second, *_ = asyncio.run(_messages(app, scope, {"type": "http.request", "body": b""}))
    return str(second["body"].decode())


def is_opened(app: ASGIApp, address: str, *, headers: Mapping[str, str] | None = None) -> bool:
    """Whether a websocket is accepted."""
    scope = {**_scope("websocket", address, headers, SERVER), "subprotocols": ["graphql-ws"]}
    first, *_ = asyncio.run(_messages(app, scope, {"type": "websocket.connect"}))
    return bool(first["type"] == "websocket.accept")


def _scope(
    kind: str, address: str, headers: Mapping[str, str] | None, server: tuple[str, int] | None
) -> Scope:
    parts = urlsplit(address)
    named = {"host": parts.netloc, **{k.lower(): v for k, v in (headers or {}).items()}}
    return {
        "type": kind,
        "path": parts.path,
        "query_string": parts.query.encode(),
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in named.items() if v],
        "server": server,
        "root_path": "",
    }


async def _messages(app: ASGIApp, scope: Scope, opening: Message) -> list[Message]:
    """What the application sends; the client hangs up after its opening."""
    left: list[Message] = [opening]
    sent: list[Message] = []

    async def receive() -> Message:
        return left.pop() if left else {"type": f"{scope['type']}.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent
