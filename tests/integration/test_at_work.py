"""Who reindexes here: said as long as it is true, and not longer."""

import re
import subprocess
import sys
from pathlib import Path

from embedding_assets.defs.at_work import at_work
from tests.factories import NOW

HOLDER = """
import sys
from datetime import datetime
from pathlib import Path
from embedding_assets.defs.at_work import at_work

with at_work(Path(sys.argv[1]), now=datetime.fromisoformat(sys.argv[2])):
    print("at work", flush=True)
    sys.stdin.read()
"""


def test_a_second_one_hears_of_the_first(tmp_path: Path) -> None:
    """With its process and its time; the file of one that was killed says nothing any more."""
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path / "data"), NOW.isoformat()]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "at work\n"
        for _ in range(2):
            with at_work(tmp_path / "data", now=NOW) as sentence:
                wanted = rf"another reindex is at work here: process {first.pid}, since 2026-.* UTC"
                assert re.match(wanted, sentence or "")
        first.kill()
    assert (tmp_path / "data" / ".reindex.lock").stat().st_size > 0
    with at_work(tmp_path / "data", now=NOW) as sentence:
        assert sentence is None
    with at_work(tmp_path / "data", now=NOW) as sentence:
        assert sentence is None


def test_what_it_says_may_not_be_there_yet(tmp_path: Path) -> None:
    """Between the lock and the words somebody may look."""
    with at_work(tmp_path, now=NOW):
        (tmp_path / ".reindex.lock").write_text("")
        with at_work(tmp_path, now=NOW) as sentence:
            assert sentence == "another reindex is at work here; nothing is bought twice"
