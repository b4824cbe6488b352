"""How the emulator hangs up on a client: nothing is answered, the connection just ends.

ASGI has no word for that, so the HTTP protocol class passes the means to the application.
"""

import asyncio
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_EXTENSION = "emulator.hang_up"


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
        scope[_EXTENSION]()
        await receive()  # the disconnection; leaving earlier would be answered with a 500
