"""The web UI belongs to the person at this machine: Dagster's own application behind the guard."""

import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from starlette.types import ASGIApp

from embedding_assets.defs.webserver import build_app
from tests.asgi import is_opened, status_of

HERE = "http://localhost:3000"
LAUNCH = "mutation { reloadWorkspace { __typename } }"
LAUNCH_BY_ADDRESS = f"{HERE}/graphql?query={quote(LAUNCH)}"
QUERY_BY_ADDRESS = f"{HERE}/graphql?query=%7Bversion%7D"
REPORT = f"{HERE}/report_asset_materialization/documents"
JSON = {"content-type": "application/json"}
FOREIGN = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
IMAGE = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
OWN = {"origin": HERE, "sec-fetch-site": "same-origin"}


@pytest.fixture(scope="module")
def web_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ASGIApp]:
    """Dagster's application with an instance, and without a code location."""
    home = str(tmp_path_factory.mktemp("dagster"))
    with (
        dg.DagsterInstance.local_temp(home) as instance,
        WorkspaceProcessContext(instance, None) as context,
    ):
        yield build_app(context, names=["index.example.org"])


def test_an_image_launches_nothing(web_ui: ASGIApp) -> None:
    """Neither by what the browser says of it nor, where it says nothing, by what is asked for."""
    assert status_of(web_ui, LAUNCH_BY_ADDRESS, headers=IMAGE) == 403
    assert status_of(web_ui, QUERY_BY_ADDRESS, headers=IMAGE) == 403
    assert status_of(web_ui, LAUNCH_BY_ADDRESS) == 405


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_form_launches_nothing(web_ui: ASGIApp, content_type: str) -> None:
    """A browser sends these to anybody without asking; Dagster reads the address then."""
    headers = {**FOREIGN, "content-type": content_type}
    body = json.dumps({"query": LAUNCH}).encode()
    for address in (f"{HERE}/graphql", LAUNCH_BY_ADDRESS):
        assert status_of(web_ui, address, method="POST", headers=headers, body=body) == 403
    bare = {"content-type": content_type}
    assert status_of(web_ui, LAUNCH_BY_ADDRESS, method="POST", headers=bare) == 405


def test_another_name_is_not_answered(web_ui: ASGIApp) -> None:
    """Neither a page nor the API, by whichever method."""
    for path in ("/", "/graphql", "/server_info"):
        for method in ("GET", "POST"):
            assert status_of(web_ui, f"http://evil.example:3000{path}", method=method) == 403


def test_a_page_elsewhere_opens_no_websocket(web_ui: ASGIApp) -> None:
    """Subscriptions are for the web UI's own pages, and for what is no browser."""
    address = "ws://localhost:3000/graphql"
    assert not is_opened(web_ui, address, headers={"origin": "https://evil.example"})
    assert is_opened(web_ui, address, headers=OWN)
    assert is_opened(web_ui, address)


def test_a_page_elsewhere_reports_nothing(web_ui: ASGIApp) -> None:
    """An asset is not materialized by a form of somebody else's page."""
    for address in (REPORT, f"{REPORT}?partition=2026-11"):
        assert status_of(web_ui, address, method="POST", headers=FOREIGN) == 403
    assert status_of(web_ui, REPORT, method="POST", headers={"origin": "null"}) == 403


@pytest.mark.parametrize("headers", [{}, OWN, {"host": "127.0.0.1:3000"}, {"host": "[::1]:3000"}])
def test_the_person_at_this_machine(web_ui: ASGIApp, headers: Mapping[str, str]) -> None:
    """Browser and curl have pages, queries, mutations and reports as before."""
    if "origin" not in headers:
        assert status_of(web_ui, QUERY_BY_ADDRESS, headers=headers) == 200
    assert status_of(web_ui, f"{HERE}/runs", headers=headers) == 200
    body = json.dumps({"query": LAUNCH}).encode()
    as_json = {**headers, **JSON}
    for text in (body, json.dumps({"query": "{ version }"}).encode()):
        address = f"{HERE}/graphql"
        assert status_of(web_ui, address, method="POST", headers=as_json, body=text) == 200
    assert status_of(web_ui, REPORT, method="POST", headers=as_json, body=b"{}") == 200


def test_a_followed_link_opens_its_page(web_ui: ASGIApp) -> None:
    """From a mail or a chat to a run; but not in a frame, where a person could be made to click."""
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    document = {**followed, "sec-fetch-dest": "document", "accept": "text/html"}
    assert status_of(web_ui, f"{HERE}/runs", headers=document) == 200
    assert status_of(web_ui, LAUNCH_BY_ADDRESS, headers=document) == 405
    assert (
        status_of(web_ui, f"{HERE}/runs", headers={**followed, "sec-fetch-dest": "iframe"}) == 403
    )


def test_behind_a_proxy(web_ui: ASGIApp) -> None:
    """A proxy that passes the name on which it is known is answered, its pages too."""
    headers = {"host": "index.example.org", "origin": "https://index.example.org"}
    assert status_of(web_ui, f"{HERE}/runs", headers=headers) == 200
