"""The examples of sources, as they are: reindexed month after month, and searched."""

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.e2e.command_line import REPOSITORY, CommandLine, a_command_line

N_VECTORS = "SELECT count(*) FROM vectors"
PUBLISHED = "SELECT uri, title, url, metadata, text FROM published_chunks ORDER BY uri"

Example = Callable[[str], CommandLine]


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    """A copy of an example's folder, with its own settings."""
    made: list[CommandLine] = []

    def copied(name: str) -> CommandLine:
        folder = tmp_path / name
        folder.mkdir()
        command_line = a_command_line(folder, os.environ)
        command_line.config.unlink()
        shutil.copytree(REPOSITORY / "examples" / name, folder, dirs_exist_ok=True)
        (folder / "embedding_assets.toml").rename(command_line.config)
        made.append(command_line)
        return command_line

    yield copied
    for command_line in made:
        command_line.end_everything()


def reindexed(command_line: CommandLine) -> str:
    """Reindex from another directory than the settings'; what was said of the documents."""
    done = command_line.run("reindex", from_directory=command_line.directory.parent)
    assert done.returncode == 0, done.stderr
    return next(line for line in done.stderr.splitlines() if " removed" in line)


def test_rows_of_a_database(example: Example) -> None:
    """A row that did not change is not sent; one whose metadata changed is told, and not sent."""
    command_line = example("tickets")
    database = command_line.directory / "tickets.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript((command_line.directory / "tickets.sql").read_text())

    assert "3 documents: 3 added" in reindexed(command_line)

    first, _, last = command_line.rows(PUBLISHED)
    assert first == (
        "tickets/4711",
        "Printer on the third floor",
        "https://tickets.example.com/4711",
        '{"closed_on": "2026-10-02", "team": "Office"}',
        "description: A paper jam every morning, in tray 2.\n\n"
        "solution: The rollers were worn out and have been replaced.",
    )
    assert last[3:] == ('{"team": "Network"}', "description: Browsers warn of it since Monday.")
    (hit,) = command_line.json("search", "a paper jam every morning", "-k", "1")
    assert hit["uri"] == "tickets/4711"

    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE tickets SET team = 'Web', changed_at = 'x' WHERE number = 4713")
        connection.execute("UPDATE tickets SET solution = 'none yet' WHERE number = 4711")
    assert "0 added, 1 changed, 0 moved, 2 unchanged; 0 removed" in reindexed(command_line)
    assert command_line.rows(PUBLISHED)[2][3] == '{"team": "Web"}'
    assert command_line.rows(N_VECTORS) == [(3,)]

    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE tickets SET changed_at = 'y' WHERE number = 4711")
    assert "0 added, 1 changed, 0 moved, 2 unchanged; 0 removed" in reindexed(command_line)
    assert "none yet" in command_line.rows(PUBLISHED)[0][4]
    assert command_line.rows(N_VECTORS) == [(4,)]
    assert command_line.bill().bought_twice == ()


PAGES = [
    {"pageid": 1, "title": "Meeting rooms", "content": "Book a room by the screen at its door."},
    {"pageid": 7, "title": "Größe der Räume", "content": "Der große Raum hat zwölf Plätze."},
]


@contextmanager
def wiki(pages: list[dict[str, Any]]) -> Iterator[str]:
    """A MediaWiki that tells of one page at a time."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            number = int(asked.get("gapcontinue", ["0"])[0])
            page = pages[number]
            revision = {
                "revid": len(page["content"]),
                "user": "Ada",
                "timestamp": "2026-11-03T04:05:06Z",
                "slots": {"main": {"content": page["content"]}},
            }
            named = {"pageid": page["pageid"], "title": page["title"], "revisions": [revision]}
            answer: dict[str, Any] = {"query": {"pages": [named]}}
            if number + 1 < len(pages):
                answer["continue"] = {"gapcontinue": str(number + 1), "continue": "gapcontinue||"}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_pages_of_a_wiki(example: Example) -> None:
    """They come with author and address; if the wiki does not answer, no page is removed."""
    command_line = example("wiki")
    with wiki(PAGES) as address:
        command_line.environ["WIKI_URL"] = address
        assert "2 documents: 2 added" in reindexed(command_line)
        uri, title, url, metadata, text = command_line.rows(PUBLISHED)[0]
        assert (uri, title, text) == ("wiki/1", "Meeting rooms", PAGES[0]["content"])
        assert url == f"{address}/index.php/Meeting_rooms"
        assert json.loads(metadata) == {"author": "Ada", "modified": "2026-11-03T04:05:06Z"}
        (hit,) = command_line.json("search", "der große Raum", "-k", "1")
        assert hit["uri"] == "wiki/7"
        assert "2 unchanged; 0 removed" in reindexed(command_line)

    done = command_line.run("reindex")

    assert done.returncode != 0
    assert "corpus.source 'wiki_source:pages' failed after 0 documents (URLError" in done.stderr
    assert len(command_line.rows(PUBLISHED)) == 2
    estimate = command_line.run("estimate")
    assert estimate.returncode == 2
    (line,) = estimate.stderr.splitlines()
    assert line.startswith("error: corpus.source 'wiki_source:pages' failed")
    assert command_line.rows(N_VECTORS) == [(2,)]
