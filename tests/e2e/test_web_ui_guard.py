"""The web UI belongs to the person at this machine: what a page elsewhere tries on a real one."""

from urllib.parse import quote

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.e2e.command_line import MONTH, CommandLine, GraphQL, free_port, wait_until
from tests.factories import write_corpus

EVIL = "https://evil.example"
LAUNCH = """mutation { launchRun(executionParams: {
  mode: "default", runConfigData: {}
  selector: {
    repositoryName: "__repository__", repositoryLocationName: "embedding_assets.definitions"
    jobName: "reindex"
  }
  executionMetadata: {tags: [{key: "dagster/partition", value: "MONTH"}]}
}) { __typename } }""".replace("MONTH", MONTH)
ASSETS = "{ assetRecordsOrError { ... on AssetRecordConnection { assets { id } } } }"
RUNS = "{ runsOrError { ... on Runs { results { runId } } } }"


def test_a_page_elsewhere_starts_nothing(command_line: CommandLine) -> None:
    """Image, form, rebinding, websocket and report are refused; the person's own click is not.

    A web UI for other machines says what that means, and answers to the names that it was told.
    """
    write_corpus(command_line.docs, {"lantern.txt": "A lantern."})
    port, log = free_port(), command_line.directory / "ui.log"
    arguments = ("--port", str(port), "--host", "0.0.0.0", "--allow-host", "index.test")
    command_line.start("ui", *arguments, log=log)
    here = f"http://localhost:{port}"
    web = GraphQL(url=here)
    wait_until(web.is_up, timeout_s=90, what="the web UI is up")
    assert f"note: whoever reaches 0.0.0.0:{port} can read the documents" in log.read_text()

    graphql, body = f"{here}/graphql", {"query": LAUNCH}
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    report = f"{here}/report_asset_materialization/documents?partition={MONTH}"
    for host, status in (("index.test", 200), ("evil.example", 403), (f"evil.example:{port}", 403)):
        assert httpx2.get(f"{here}/runs", headers={"Host": host}).status_code == status
    refused = [
        httpx2.get(f"{graphql}?query={quote(LAUNCH)}", headers=image),
        httpx2.get(f"{graphql}?query={quote(LAUNCH)}"),
        httpx2.post(graphql, json=body, headers={"Host": "evil.example"}),
        httpx2.post(graphql, json=body, headers={"Origin": EVIL, "Content-Type": "text/plain"}),
        httpx2.post(report, json={}, headers={"Origin": EVIL}),
    ]
    assert [answer.status_code for answer in refused] == [403, 405, 403, 403, 403]
    with pytest.raises(InvalidStatus, match="403"):
        _subscribe(port, EVIL)
    assert web.ask(RUNS)["runsOrError"]["results"] == []
    assert web.ask(ASSETS)["assetRecordsOrError"]["assets"] == []

    assert _subscribe(port, here) == "graphql-ws"
    answer = httpx2.post(graphql, json=body, headers={"Origin": here}, timeout=60)
    assert answer.json() == {"data": {"launchRun": {"__typename": "LaunchRunSuccess"}}}


def _subscribe(port: int, origin: str) -> str | None:
    """Open the websocket of the web UI's pages; the protocol that was agreed on."""
    with connect(
        f"ws://localhost:{port}/graphql",
        origin=Origin(origin),
        subprotocols=[Subprotocol("graphql-ws")],
    ) as opened:
        return opened.subprotocol
