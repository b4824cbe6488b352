"""Clients that die in the middle of a request."""

import logging
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from embedding_assets.emulator.server import running


def test_client_that_dies_while_it_uploads_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a request and a closed connection leave no stack trace in the emulator's log."""
    caplog.set_level(logging.ERROR)
    with running(tmp_path) as emulator:
        address = urlsplit(emulator.base_url)
        assert address.hostname is not None
        assert address.port is not None
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(
                b"POST /upload/v1beta/files HTTP/1.1\r\nHost: emulator\r\nx-goog-api-key: test\r\n"
                b"X-Goog-Upload-Protocol: resumable\r\nX-Goog-Upload-Command: start\r\n"
                b'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"file":'
            )

    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []
