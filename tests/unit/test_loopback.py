"""The guard of a server without a log-in: whose requests it lets through."""

from collections.abc import Mapping

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from embedding_assets.loopback import OwnHostOnly, is_loopback
from tests.asgi import is_opened, status_of, text_of

URL = "http://127.0.0.1:3000/runs"
FOLLOWED = {
    "sec-fetch-site": "cross-site",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
}


async def _open_door(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers everything."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        await PlainTextResponse("come in")(scope, receive, send)


@pytest.fixture
def app() -> ASGIApp:
    """A server that answers to two names beside its own."""
    return OwnHostOnly(_open_door, ["Index.Example.org", "0.0.0.0"])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:3000",
        "127.0.0.1",
        "127.9.9.9:3000",
        "localhost:3000",
        "LocalHost:3000",
        "localhost.:3000",
        "localhost:8080",  # a tunnel, or a container's published port
        "[::1]:3000",
        "[0:0:0:0:0:0:0:1]",
        "index.example.org",
        "INDEX.example.org.:443",
        "0.0.0.0:3000",
    ],
)
def test_its_own_names(app: ASGIApp, host: str) -> None:
    """Loopback by any of its names and with any port, and the names that it was given."""
    assert status_of(app, URL, headers={"host": host}) == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1.evil.example:3000",
        "index.example.org.evil.example",
        "192.168.1.9:3000",
        "[::1",
        "[evil]:3000",
        "evil.example#localhost",
        "evil.example?@",
        "löcalhost",
    ],
)
def test_a_name_that_is_not_its_own(app: ASGIApp, host: str) -> None:
    """A page that made its own name mean this machine is refused by that name."""
    assert status_of(app, URL, headers={"host": host}) == 403
    assert not is_opened(app, URL, headers={"host": host})


def test_no_name_at_all(app: ASGIApp) -> None:
    """Where a server has no address, as at a socket of the file system, silence is no name."""
    assert status_of(app, URL, headers={"host": ""}, server=None) == 403


def test_the_address_that_was_reached_is_its_own(app: ASGIApp) -> None:
    """Bound to every address, it answers to the one by which it was reached, and to no other."""
    for server, status in ((("192.168.1.9", 3000), 200), (("192.168.1.10", 3000), 403)):
        headers = {"host": "192.168.1.9:3000"}
        assert status_of(app, URL, headers=headers, server=server) == status


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"},
        {"host": "LOCALHOST:3000", "origin": "http://localhost:3000"},
        {"host": "index.example.org", "origin": "https://index.example.org"},  # behind a proxy
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        FOLLOWED,
        {**FOLLOWED, "sec-fetch-site": "same-site"},
    ],
)
def test_what_a_person_does(app: ASGIApp, headers: Mapping[str, str]) -> None:
    """curl, the server's own pages, an address that was typed, a link followed from elsewhere."""
    assert status_of(app, URL, headers=headers) == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8000"},  # another server on this machine
        {"origin": "http://localhost:3000"},  # this one by another name: its pages use one
        {"origin": "https://127.0.0.1:3000.evil.example"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        {**FOLLOWED, "sec-fetch-dest": "iframe"},
        {"sec-fetch-site": "a new word"},
    ],
)
def test_what_a_page_elsewhere_does(app: ASGIApp, method: str, headers: Mapping[str, str]) -> None:
    """Images, forms, scripts, frames: nothing that no person has asked for, by any method."""
    assert status_of(app, URL, method=method, headers=headers) == 403


def test_a_proxy_that_changes_the_host(app: ASGIApp) -> None:
    """Whoever sits behind one is told what it has to do."""
    headers = {"host": "127.0.0.1:3000", "origin": "https://index.example.org"}
    assert text_of(app, URL, headers=headers) == (
        "a page of 'https://index.example.org' may not do that at '127.0.0.1:3000'; "
        "a proxy has to pass on Host unchanged\n"
    )


def test_a_form_is_no_link(app: ASGIApp) -> None:
    """A form of a page elsewhere is sent by a navigation, too."""
    assert status_of(app, URL, method="POST", headers=FOLLOWED) == 403


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:3000"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://127.0.0.1:8000"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "websocket"}, False),
        (FOLLOWED, False),
    ],
)
def test_websockets(app: ASGIApp, headers: Mapping[str, str], expected: bool) -> None:
    """Browsers let any page open one, and say which page it is."""
    assert is_opened(app, "ws://127.0.0.1:3000/graphql", headers=headers) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "127.255.0.9", "::1")),
        *((host, False) for host in (None, "", "0.0.0.0", "::", "example.org", "10.0.0.1")),
    ],
)
def test_loopback(host: str | None, expected: bool) -> None:
    """All of 127.0.0.0/8, ::1 and the name that stands for them."""
    assert is_loopback(host) is expected
