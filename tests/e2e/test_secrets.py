"""What must not leak: the API key, and files to other users of the machine."""

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import build_app, running, serve
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.emulator.state import State
from tests.e2e.command_line import CommandLine, write_settings
from tests.factories import write_corpus

KEY = "AIza-made-up-key-4711"
WEBHOOK_PATH = "/services/T0001/B0001/made-up-secret-4713"
MARK = "{key}"
GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_THEM = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Observed:
    """A command that ended, and what anybody could see of its processes while they lived."""

    exit_code: int
    output: str
    command_lines: set[str]
    addresses: set[str]


def observed_reindex(command_line: CommandLine, *, umask: int) -> Observed:
    """A reindex of two documents, one of them empty, with a key in the environment."""
    write_corpus(command_line.docs, {"lantern.txt": "A lantern.", "empty.txt": ""})
    log = command_line.directory / "reindex.log"
    before = os.umask(umask)
    try:
        process = command_line.start("reindex", log=log, GEMINI_API_KEY=KEY)
    finally:
        os.umask(before)
    command_lines: set[str] = set()
    addresses: set[str] = set()
    while process.poll() is None:
        command_lines.update(command_line.processes().values())
        addresses.update(command_line.listening())
        threading.Event().wait(0.2)
    return Observed(process.returncode, log.read_text(), command_lines, addresses)


def modes(directory: Path, mask: int) -> set[str]:
    """Files and directories with any of these permissions."""
    found = (path for path in (directory, *directory.rglob("*")) if not path.is_symlink())
    return {f"{path} {stat.filemode(m)}" for path in found if (m := path.stat().st_mode) & mask}


def test_a_key_that_is_not_needed(command_line: CommandLine) -> None:
    """It is in no file, output or command line; all files are ours alone, as the umask asks."""
    observed = observed_reindex(command_line, umask=0o077)

    assert observed.exit_code == 0, observed.output
    assert KEY not in observed.output
    assert [line for line in observed.command_lines if KEY in line] == []
    assert any("embedding_assets.emulator" in line for line in observed.command_lines)
    assert [address.rpartition(":")[0] for address in observed.addresses] == ["127.0.0.1"]
    assert command_line.files_that_have(KEY) == []
    assert modes(command_line.data, GROUP_AND_OTHERS) == set()


def test_a_key_that_is_sent(command_line: CommandLine) -> None:
    """Though it is sent, and refused, it is in no file, output, error or command line."""
    state_dir = command_line.directory / "gemini"
    # By its usual address it would be an emulator, which gets no key.
    settings = EmulatorSettings(latency_s=0)
    with running(state_dir, settings=settings, host="0.0.0.0") as emulator:
        write_settings(
            command_line, gemini={"base_url": emulator.base_url}, limits={"min_batch_requests": 0}
        )
        refusal = Fault(kind=FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=403)
        emulator.state.faults.add(refusal)
        observed = observed_reindex(command_line, umask=0o022)

    assert observed.exit_code == 1, observed.output
    assert "answered 403" in observed.output
    assert "A fault was asked for" in observed.output
    assert command_line.rows("SELECT provider, state FROM specs, batch_jobs") == [
        ("gemini", "refused")
    ]
    assert KEY not in observed.output
    assert [line for line in observed.command_lines if KEY in line] == []
    assert observed.addresses == set()
    assert command_line.files_that_have(KEY) == []
    assert modes(command_line.data, WRITABLE_BY_THEM) == set()


N_SHARDS = 3


@dataclass(slots=True)
class Echo:
    """An emulator that quotes the key of its caller wherever an answer has the mark.

    Once a job was asked for each shard, the next questions are answered by ``shapes``: what may
    stand between us and Gemini.
    """

    app: ASGIApp
    shapes: list[Response]
    key: str = MARK
    n_creations: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.key = Headers(scope=scope).get("x-goog-api-key", self.key)
        sent: list[Message] = []

        async def collect(message: Message) -> None:
            sent.append(message)

        self.n_creations += scope["path"].endswith(":asyncBatchEmbedContent")
        has_all = self.n_creations >= N_SHARDS
        is_spoilt = has_all and scope["method"] == "GET" and self.shapes
        await (self.shapes.pop(0) if is_spoilt else self.app)(scope, receive, collect)
        start, *rest = sent
        body = b"".join(part.get("body", b"") for part in rest)
        body = body.replace(MARK.encode(), self.key.encode())
        headers = MutableHeaders(raw=start["headers"])
        headers["content-length"] = str(len(body))
        headers["x-echo"] = self.key
        if "location" in headers:
            headers["location"] = headers["location"].replace(MARK, self.key)
        await send(start)
        await send({"type": "http.response.body", "body": body})


def shapes() -> list[Response]:
    """Answers of which none is Gemini's usual, each with the mark."""
    error = {"code": 401, "message": MARK, "status": MARK, "details": [{"reason": MARK}]}
    return [
        JSONResponse({"error": error}, 401),
        JSONResponse({"message": {"why": [MARK] * 100}}, 400),
        JSONResponse([{"error": MARK}], 403),
        HTMLResponse(f"<h1>Forbidden: {MARK}</h1>" * 50, 403),
        HTMLResponse(f"<title>Sign in, {MARK}</title>"),
        JSONResponse({"nextPageToken": MARK}),
        Response(status_code=302, headers={"Location": f"http://example.invalid/?key={MARK}"}),
        Response(MARK, 418),
    ]


@dataclass(slots=True)
class Webhook:
    """Who is told, and what arrived."""

    url: str = ""
    bodies: list[str] = field(default_factory=list)


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Take every post."""
    taken = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not to standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        taken.url = f"http://127.0.0.1:{server.server_address[1]}{WEBHOOK_PATH}"
        yield taken
        server.shutdown()
        thread.join()


@contextmanager
def echoing(directory: Path) -> Iterator[str]:
    """The address of a server that quotes the key in every error that it can give."""
    with (
        State(directory, settings=EmulatorSettings(latency_s=0), clock=time.time) as state,
        socket.create_server(("0.0.0.0", 0)) as listener,
    ):
        for rule in (
            Fault(kind=FaultKind.JOB_FAILED, times=1, message=f"The key {MARK} is suspended."),
            Fault(kind=FaultKind.ERROR_LINE, match="badger", message=f"Who is {MARK}?"),
            Fault(
                kind=FaultKind.CALL_ERROR,
                endpoint=Endpoint.CREATE,
                times=1,
                status=400,
                message=f"Bad key: {MARK}",
            ),
        ):
            state.faults.add(rule)
        echo = Echo(build_app(state, names=["0.0.0.0"]), shapes())
        with serve(echo, listener):
            yield f"http://0.0.0.0:{listener.getsockname()[1]}"


def test_a_key_that_is_quoted_back(command_line: CommandLine) -> None:
    """Gemini may name the key in any error: terminal, JSON, webhook, index, Dagster have it not.

    The webhook's address is treated alike.
    """
    animals = ("aardvark", "badger", "capybara", "dolphin", "echidna", "flamingo")
    write_corpus(command_line.docs, {f"{name}.txt": f"A {name}." for name in animals})
    with echoing(command_line.directory / "gemini") as base_url, webhook() as told:
        write_settings(
            command_line,
            gemini={"base_url": base_url},
            limits={
                "min_batch_requests": 0,
                "max_requests_per_job": 2,
                "max_chunk_attempts": 1,
                "unconfirmed_grace_s": 120,
            },
            alerts={"webhook_url": told.url},
        )
        commands = (("reindex",), ("retry",), ("reindex",), ("status",), ("failures",))
        output = ""
        for command in (*commands, ("failures", "--json"), ("doctor",), ("doctor", "--json")):
            done = command_line.run(*command, GEMINI_API_KEY=f" {KEY}\n")
            output += done.stdout + done.stderr

    errors = command_line.rows(
        "SELECT error_message FROM batch_jobs WHERE error_message IS NOT NULL "
        "UNION ALL SELECT error_message FROM requests WHERE error_message IS NOT NULL"
    )
    assert {"Who is …?", "Who is *********************?"} & {str(row[0]) for row in errors}
    assert any("suspended" in str(row[0]) for row in errors), errors
    assert "…" in output
    assert "Traceback" not in output, output
    assert told.bodies
    for secret in (KEY, WEBHOOK_PATH):
        assert secret not in output
        assert secret not in json.dumps(errors) + "".join(told.bodies)
        assert command_line.files_that_have(secret) == []


ODD_KEYS = {
    "an accent": "AIza-mad\N{LATIN SMALL LETTER E WITH ACUTE}-up-key-4714",
    "a line break": "AIza-made-up\nkey-4714",
    "a control character": "AIza-made-up\x1bkey-4714",
}


@pytest.mark.parametrize("key", ODD_KEYS.values(), ids=list(ODD_KEYS))
def test_a_key_that_cannot_be_one(command_line: CommandLine, key: str) -> None:
    """Who is about to talk to Gemini says so at once, in one line; the others need no key."""
    write_corpus(command_line.docs, {"lantern.txt": "A lantern.", "lamp.txt": "A lamp."})
    assert command_line.run("reindex").returncode == 0
    write_settings(command_line, gemini={"base_url": ""})
    runs = {
        words: command_line.run(*words, GEMINI_API_KEY=key)
        for words in (("reindex",), ("ui",), ("status",), ("estimate",), ("doctor",))
    }

    for words in (("reindex",), ("ui",)):
        assert runs[words].returncode == 2, runs[words].stderr
        assert runs[words].stderr.startswith("error: GEMINI_API_KEY cannot be an API key: ")
        assert runs[words].stderr.count("\n") == 1
    assert runs["status",].returncode == 0
    assert runs["estimate",].returncode == 0
    assert runs["doctor",].returncode == 1
    assert "nothing is wrong" not in runs["doctor",].stdout
    assert "wrong: [gemini_access] " in runs["doctor",].stdout
    said = "".join(done.stdout + done.stderr for done in runs.values())
    for part in (key, ascii(key)[1:-1], "key-4714"):
        assert part not in said
        assert command_line.files_that_have(part) == []
