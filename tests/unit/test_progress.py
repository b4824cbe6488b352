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


def test_what_a_note_has_just_said_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    """A run that ends with the reason for which is waited from then on has said it already."""
    building = GenerationStatus(generation=a_generation(), progress=PROGRESS, bill=BILL)
    status = replace(NOTHING, building=building)
    with ReindexProgress() as progress:
        progress.note("1 shard not submitted; the first: no credits")
        for waits in (("no credits", "a job"), ("no credits",)):
            progress.show(replace(status, waits=waits))
    lines = [line for line in capsys.readouterr().out.splitlines() if "waiting" in line]
    assert lines == ["waiting: a job"]


def test_one_job_is_no_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts agree with their nouns, as everywhere."""
    building = GenerationStatus(generation=a_generation(), progress=PROGRESS, bill=BILL)
    with ReindexProgress() as progress:
        for n in (1, 2):
            progress.show(replace(NOTHING, building=building, n_live_jobs=n))
    shown = capsys.readouterr().out
    assert "; 1 job at Gemini," in shown
    assert "; 2 jobs at Gemini," in shown
