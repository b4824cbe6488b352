"""Where settings, documents and the index may be: anywhere, under any name, and only to be read."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from embedding_assets.emulator.server import running
from embedding_assets.emulator.settings import EmulatorSettings
from tests.e2e.command_line import CommandLine, a_command_line, write_settings
from tests.factories import write_corpus

LANTERNS = {f"{n}.txt": f"Lantern {n} is lit at dusk." for n in range(3)}
READING = (
    *(("status",), ("costs",), ("failures",), ("generations",), ("search", "lantern", "-k", "1")),
    *(("estimate",), ("doctor",)),
)
WRITING = (("retry",), ("reindex",), ("publish", "1"))


@pytest.fixture(scope="module")
def read_only(one_certificate: None) -> Iterator[CommandLine]:
    """A published index in a directory that nobody but root may write to."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        made = a_command_line(Path(directory), os.environ)
        made.environ["SSL_CERT_FILE"] = shutil.copy(os.environ["SSL_CERT_FILE"], directory)
        with running(made.directory / "gemini", settings=EmulatorSettings()) as emulator:
            write_settings(made, gemini={"base_url": emulator.base_url})
            write_corpus(made.docs, LANTERNS)
            assert made.run("reindex").returncode == 0
            directories = [path for path, _, _ in os.walk(made.data)]
            for path in directories:
                os.chmod(path, 0o555)
            try:
                yield made
            finally:
                for path in directories:
                    os.chmod(path, 0o755)
                made.end_everything()


def test_reading_commands_work_where_nothing_can_be_written(read_only: CommandLine) -> None:
    """They say the same as where one may write, and leave nothing behind."""
    expected = {words: read_only.run(*words).stdout for words in READING}
    before = sorted(read_only.data.rglob("*"))

    done = {words: read_only.run(*words, is_unprivileged=True) for words in READING}

    ends = {words: (each.returncode, each.stderr) for words, each in done.items()}
    assert ends == dict.fromkeys(READING, (0, ""))
    assert {words: each.stdout for words, each in done.items()} == expected
    assert sorted(read_only.data.rglob("*")) == before


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_other_commands_say_that_nothing_can_be_written(
    read_only: CommandLine, words: tuple[str, ...]
) -> None:
    """One line that names what is to be made writable."""
    done = read_only.run(*words, is_unprivileged=True)

    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(read_only.data) in line
    assert "readonly database; make the file and its directory" in line or "Permission" in line


ODD = ("what? 50%25 [a]*", "#1 'ü' \"x\" & 日本")


@pytest.mark.parametrize("name", ODD)
def test_a_reindex_in_a_directory_of_any_name(tmp_path: Path, name: str) -> None:
    """No character of a path means anything, and it means the same from any directory."""
    (tmp_path / name).mkdir()
    made = a_command_line(tmp_path / name, os.environ)
    made.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    # What is embedded again to compare would be bought twice.
    made.config.write_text(
        'corpus.paths = ["docs"]\nlimits.min_batch_requests = 0\npublishing.agreement_samples = 0\n'
    )
    write_corpus(made.docs, LANTERNS)
    try:
        done = made.run("reindex", from_directory=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"there is no index at {str(made.index_path)!r} yet; a new one is" in done.stderr
        again = made.run("reindex")
        assert again.returncode == 0, again.stderr
        assert "3 documents: 0 added, 0 changed, 0 moved, 3 unchanged" in again.stderr
        assert "there is no index" not in again.stderr
        hits = made.json("search", "lantern 2", "-k", "3")
        assert {hit["uri"] for hit in hits} == {f"docs/{name}" for name in LANTERNS}
        with_a_key = made.run("search", "dusk", GEMINI_API_KEY="made-up")
        assert with_a_key.returncode == 0, with_a_key.stderr  # Google is not asked for it
        assert "(which made the published vectors)" in with_a_key.stderr
        assert made.run("doctor").returncode == 0
        assert made.bill().bought_twice == ()
        assert {path.name for path in tmp_path.iterdir()} <= {name, "cache"}
    finally:
        made.end_everything()


def test_published_chunks_of_a_copy_that_nobody_writes_to(read_only: CommandLine) -> None:
    """What the README says of immutable=1 holds: any SQLite client can read it then."""
    uri = f"{read_only.index_path.as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM published_chunks").fetchone() == (3,)
