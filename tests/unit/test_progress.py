"""Progress of a reindex in a terminal: the plan, the counts, and what it waits for."""

from dataclasses import replace

import pytest

from embedding_assets.cli.show.index import ReindexProgress
from embedding_assets.pipeline.status import GenerationStatus
from tests.factories import a_generation
from tests.unit.test_encode import BILL, PROGRESS
from tests.unit.test_status import NOTHING


def test_what_is_waited_for_is_said_at_once_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal is not silent while nothing moves: each wait is a line as soon as it is known."""
    building = GenerationStatus(generation=a_generation(), progress=PROGRESS, bill=BILL)
    status = replace(NOTHING, building=building)
    with ReindexProgress() as progress:
        for waits in (("a job",), ("a job", "credits"), ("credits",), ("credits",), ("a job",)):
            progress.show(replace(status, waits=waits))
    lines = [line for line in capsys.readouterr().out.splitlines() if "waiting" in line]
    assert lines == ["waiting: a job", "waiting: credits", "waiting: a job"]
