"""A copy of an index at the command line: what is said, and how to go on."""

import json
import shutil

from embedding_assets.store.index import open_index
from tests.e2e.command_line import CommandLine, write_settings
from tests.factories import write_corpus


def test_a_restored_index_says_what_it_is_and_goes_on(command_line: CommandLine) -> None:
    """Every command says the one line; after `adopt-index` the month is bought and published."""
    write_settings(command_line, limits={"min_batch_requests": 0})
    write_corpus(command_line.docs, {f"{n}.txt": f"The lantern {n} is lit." for n in range(3)})
    assert command_line.run("reindex").returncode == 0
    backup = command_line.data / "backup.db"
    shutil.copyfile(command_line.index_path, backup)
    write_corpus(command_line.docs, {f"{n}.txt": f"The river {n} is deep." for n in range(3)})
    assert command_line.run("reindex").returncode == 0
    for path in command_line.data.glob("index.db*"):
        path.unlink()
    backup.rename(command_line.index_path)
    write_corpus(command_line.docs, {f"{n}.txt": f"The island {n} is far." for n in range(3)})

    stopped = command_line.run("reindex")
    assert stopped.returncode == 1
    assert "it is a copy, or was restored from a backup" in stopped.stdout
    assert "adopt-index" in command_line.run("status").stdout
    doubt = command_line.json("status")["doubt"]
    doctor = command_line.run("doctor", "--json")
    assert doctor.returncode == 1
    assert doubt in [finding["message"] for finding in json.loads(doctor.stdout)["findings"]]

    assert "goes on under its id" in command_line.run("adopt-index").stdout
    assert command_line.run("reindex").returncode == 0
    assert command_line.json("status")["doubt"] is None
    assert command_line.run("doctor").returncode == 0


def test_a_new_id(command_line: CommandLine) -> None:
    """What is published stays; what is sent from now on carries the new id."""
    write_corpus(command_line.docs, {"note.txt": "The lantern is lit."})
    assert command_line.run("reindex").returncode == 0
    with open_index(command_line.index_path) as index:
        before = index.identity.index_id
    said = command_line.run("adopt-index", "--new-id").stdout
    with open_index(command_line.index_path) as index:
        after = index.identity.index_id
    assert f"under the new id {after};" in said
    assert before != after
    assert command_line.run("reindex").returncode == 0
