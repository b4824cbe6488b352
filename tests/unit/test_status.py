"""Status: when a reindex has something to wait for."""

from dataclasses import replace
from datetime import timedelta

import pytest

from embedding_assets.model.room import Throttle
from embedding_assets.pipeline.status import Status
from tests.factories import NOW

NOTHING = Status(
    published=None,
    building=None,
    n_open_shards=0,
    n_live_jobs=0,
    n_unconfirmed_jobs=0,
    n_finished_jobs=0,
    n_given_up_shards=0,
    held_answers=(),
    refusals=(),
    held_since=None,
    over_budget=None,
    n_elsewhere=0,
    results_due_at=None,
    publication_due_at=None,
    doubt=None,
    waits=(),
)
MOMENT = timedelta(microseconds=1)
LASTING = Throttle(not_before=NOW + MOMENT)


@pytest.mark.parametrize(
    ("status", "has_daemon", "expected"),
    [
        (NOTHING, False, False),
        (NOTHING, True, True),
        (replace(NOTHING, n_open_shards=2, n_live_jobs=1), False, True),
        (replace(NOTHING, n_open_shards=2, n_given_up_shards=2), True, False),
        (replace(NOTHING, n_open_shards=2, n_given_up_shards=1, n_live_jobs=1), False, True),
        (replace(NOTHING, n_open_shards=2, held_answers=("odd",)), True, False),
        (replace(NOTHING, n_open_shards=2, held_answers=("odd",), n_live_jobs=1), False, True),
        (replace(NOTHING, n_open_shards=1, refusals=(Throttle(not_before=NOW),)), False, False),
        (replace(NOTHING, n_open_shards=1, results_due_at=NOW + MOMENT), False, True),
        (replace(NOTHING, n_open_shards=1, results_due_at=NOW), False, False),
        (replace(NOTHING, publication_due_at=NOW + MOMENT), False, True),
        (replace(NOTHING, publication_due_at=NOW), False, False),
        # Somebody has to say more, or hours have to pass: not even a daemon is waited for.
        (replace(NOTHING, n_open_shards=1, over_budget="it is dear"), True, False),
        (replace(NOTHING, n_open_shards=1, over_budget="it is dear", n_live_jobs=1), True, True),
        (replace(NOTHING, held_since=NOW), True, False),
        # It ended after the sensors had looked: they must look once more.
        (
            replace(NOTHING, n_open_shards=1, refusals=(Throttle(not_before=NOW + MOMENT),)),
            False,
            True,
        ),
    ],
)
def test_waiting(status: Status, has_daemon: bool, expected: bool) -> None:
    """It waits for jobs, for a back-off and for a daemon, and for nothing that is given up."""
    assert status.is_waiting(NOW, has_daemon=has_daemon) is expected
