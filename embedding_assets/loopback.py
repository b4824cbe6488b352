"""This machine alone: which addresses are its own, and the guard of a server without a log-in.

Belongs here: what a server that trusts whoever sits at this machine answers, and what it refuses.
Does not belong here: the servers (defs/webserver.py, emulator/server.py).
It imports nothing, so that the emulator may use it, too.

A browser lets any page send requests to this machine. It says where they come from: in ``Origin``,
whenever something could be changed or a websocket is opened, and in ``Sec-Fetch-Site`` (W3C Fetch
Metadata). What is no browser sends neither, and is trusted. A page whose name suddenly means this
machine (DNS rebinding) is known by that name in ``Host``.
"""

import ipaddress
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_FORBIDDEN = 403
_POLICY_VIOLATION = 1008  # RFC 6455: what a websocket is closed with
_OWN_SITES = ("", "same-origin", "none")  # nothing is said, this server's pages, a person's typing
_FOLLOWED_LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def is_loopback(host: str | None) -> bool:
    """Whether what is sent there cannot leave this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class OwnHostOnly:
    """An ASGI app before another one: it lets through what no foreign page can have sent.

    The server's names are those of loopback, the address that a connection has reached, and
    ``names``.
    """

    def __init__(self, app: "ASGIApp", names: Collection[str] = ()) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        refusal = None if scope["type"] == "lifespan" else self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            start = {"type": "http.response.start", "status": _FORBIDDEN}
            await send({**start, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
            await send({"type": "http.response.body", "body": f"{refusal}\n".encode()})

    def _refusal(self, scope: "Scope") -> str | None:
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
        name = _name_in(host)
        reached, _ = scope.get("server") or (None, None)
        if not (is_loopback(name) or name in self._names or name == reached):
            return f"the host name {host!r} is not one of this server's; see --allow-host"
        if origin and origin.partition("://")[2] != host:
            return (
                f"a page of {origin!r} may not do that at {host!r}; "
                "a proxy has to pass on Host unchanged"
            )
        if headers.get("sec-fetch-site", "") not in _OWN_SITES and not _is_followed(scope, headers):
            return "a page from elsewhere may not do that here"
        return None


def _name_in(host: str) -> str:
    """A Host header without its port; "" for what makes no sense."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _is_followed(scope: "Scope", headers: dict[str, str]) -> bool:
    """A link that a person followed from elsewhere to a page, which then fills the tab."""
    is_look = scope.get("method") in ("GET", "HEAD")
    return is_look and _FOLLOWED_LINK.items() <= headers.items()
