"""How the emulator hangs up on a client, and sends it less than a file.

Belongs here: how it is done. Does not belong here: when, which is up to a fault (`faults`).
ASGI has no word for hanging up, so the HTTP protocol class passes the means to the application.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_EXTENSION = "emulator.hang_up"
_PIECE_BYTES = 1 << 20
_PAUSE_S = 0.05


class DroppableProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with connections that the application can close."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give every request on this connection the means to end it."""
        super().connection_made(transport)
        app = self.app

        async def app_that_can_hang_up(scope: Any, receive: Any, send: Any) -> None:
            scope[_EXTENSION] = transport.close
            await app(scope, receive, send)

        self.app = app_that_can_hang_up


class DroppedConnection(Response):
    """Not an answer: the client finds the connection closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the connection and wait until it is closed."""
        await _hang_up(scope, receive)


class TruncatedDownload(StreamingResponse):
    """The first bytes of a file, as if there were no more: the client cannot tell."""

    def __init__(self, path: Path, *, n_bytes: int) -> None:
        super().__init__(
            _head(path, n_bytes),
            headers={"Connection": "close"},
            media_type="application/octet-stream",
        )


class BrokenDownload(StreamingResponse):
    """The first bytes of a file that was announced whole; then the connection ends."""

    def __init__(self, path: Path, *, n_bytes: int) -> None:
        super().__init__(
            _head(path, n_bytes),
            headers={"Content-Length": str(path.stat().st_size)},
            media_type="application/octet-stream",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all but the end of the body, then close the connection."""

        async def send_without_end(message: Message) -> None:
            if message.get("more_body", True):
                await send(message)

        await super().__call__(scope, receive, send_without_end)
        await _hang_up(scope, receive)


class TricklingDownload(StreamingResponse):
    """A file whose bytes come one by one, each after a pause."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _drops(path),
            headers={"Content-Length": str(path.stat().st_size)},
            media_type="application/octet-stream",
        )


async def _hang_up(scope: Scope, receive: Receive) -> None:
    scope[_EXTENSION]()
    # Until the connection has ended, leaving would be taken for a failure, and answered as one.
    while (await receive())["type"] != "http.disconnect":
        pass


async def _drops(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while byte := file.read(1):
            yield byte
            await asyncio.sleep(_PAUSE_S)


def _head(path: Path, n_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while n_bytes and (piece := file.read(min(n_bytes, _PIECE_BYTES))):
            n_bytes -= len(piece)
            yield piece
