"""What the newest build needs next: the decision of the publishing sensor, and its run keys."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from embedding_assets.model.agreement import Silence
from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.generations import Progress
from embedding_assets.pipeline.decide import (
    Done,
    Idle,
    Listed,
    MonthlyDecision,
    MonthlyJob,
    Stage,
    UnderWay,
    decide_publication,
    era_of,
    next_era,
)
from embedding_assets.settings.values import Limits, Settings
from tests.factories import NOW, a_generation, a_status

BUILDING = a_generation(generation_id=7)
LIMITS = Limits(max_wait_h=10, max_job_attempts=2)


def decide(stage: Stage) -> MonthlyDecision:
    return decide_publication(stage, LIMITS, now=NOW)


def done(*, n_embedded: int = 190, n_failed: int = 10, n_unplanned: int = 0) -> Done:
    """A generation without an open shard, the last of which was the twelfth."""
    progress = Progress(
        n_documents=70,
        n_chunks=n_embedded + n_failed + n_unplanned,
        n_embedded=n_embedded,
        n_pending=0,
        n_failed=n_failed,
        n_unplanned=n_unplanned,
    )
    return Done(generation=BUILDING, progress=progress, last_shard_id=12, silence=None)


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        (
            Idle(published=None, lacks_record=False),
            "no generation is being built; nothing is published yet",
        ),
        (
            Idle(published=BUILDING, lacks_record=False),
            "no generation is being built; readers see 2026-11",
        ),
        (
            Listed(generation=BUILDING, waiting_since=None),
            "2026-11 waits for its run of shard_plan",
        ),
        (
            Listed(generation=BUILDING, waiting_since=NOW - timedelta(hours=9)),
            "the few requests of 2026-11 wait for more until 2026-11-23 04:00:00 UTC",
        ),
        (
            UnderWay(generation=BUILDING, statuses=[a_status(1)]),
            "2026-11 has 1 open shard",
        ),
        (
            UnderWay(
                generation=BUILDING,
                statuses=[a_status(1), a_status(2, JobState.EXPIRED, n_attempts=2)],
            ),
            "2026-11 has 2 open shards, 1 given up: materialize the failed partitions of "
            "batch_jobs",
        ),
    ],
)
def test_nothing_to_do_for_a_month(stage: Stage, reason: str) -> None:
    """No run is asked for, and the reason says what the month waits for."""
    assert decide(stage) == MonthlyDecision(reason=reason)


def test_a_publication_without_a_record_is_made_up_for() -> None:
    """Readers see the month, its run was killed: another one records it."""
    assert decide(Idle(published=BUILDING, lacks_record=True)) == MonthlyDecision(
        reason="readers see 2026-11, but the run that published it ended before it was recorded",
        job=MonthlyJob.PUBLISH,
        month="2026-11",
        key="record:7",
    )


def test_requests_that_waited_long_enough_are_planned() -> None:
    """To the second when their time has come, under a key of this wait."""
    since = NOW - timedelta(hours=10)
    assert decide(Listed(generation=BUILDING, waiting_since=since)) == MonthlyDecision(
        reason="the requests of 2026-11 have waited since 2026-11-22 17:00:00 UTC: they are sent "
        "now",
        job=MonthlyJob.PLAN,
        month="2026-11",
        key="flush:7:2026-11-22T17:00:00+00:00",
    )


def test_chunks_that_get_another_try_are_planned_before_a_publication() -> None:
    """What failed for now is planned again; the next plan has another key."""
    assert decide(done(n_unplanned=1)) == MonthlyDecision(
        reason="1 chunk of 2026-11 gets another try",
        job=MonthlyJob.PLAN,
        month="2026-11",
        key="plan:7:12",
    )
    assert decide(done(n_unplanned=2)).reason == "2 chunks of 2026-11 get another try"


def test_a_finished_month_is_published() -> None:
    """With nothing left to plan its publication is asked for, whatever its gates will say."""
    assert decide(done()) == MonthlyDecision(
        reason="2026-11 is finished: 190 of 200 chunks have a vector, 10 failed; it is published "
        "if its gates are open",
        job=MonthlyJob.PUBLISH,
        month="2026-11",
        key="publish:7:190",
    )


def test_a_silence_puts_the_publication_off() -> None:
    """Until it is over; then it is another run that is asked for."""
    silence = Silence(n_calls=2, last_at=NOW - timedelta(minutes=29))
    assert decide(replace(done(), silence=silence)) == MonthlyDecision(
        reason="2026-11 is finished, but Gemini could not be asked whether its vectors agree; it "
        "is asked again from 2026-11-23 03:01:00 UTC"
    )
    over = replace(silence, last_at=NOW - timedelta(minutes=30))
    assert decide(replace(done(), silence=over)).key == "publish:7:190:2"


# --- asking again -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"budget": {"max_cost_usd": 1}},
        {"budget": {"max_cost_per_month_usd": 1}},
        {"limits": {"route": "batch"}},
        {"limits": {"max_requests_per_job": 5}},
        {"limits": {"max_sync_requests": 5}},
        {"limits": {"max_chunk_attempts": 5}},
        {"limits": {"max_wait_h": 1}},
        {"prices": {"gemini-embedding-001": {"sync": 1, "batch": 1}}},
        {"publishing": {"min_coverage": 0.5}},
        {"gemini": {"tier": 2}},
        {"gemini": {"base_url": "emulator"}},
        {"embedding": {"dimensions": 16}},
        {"chunking": {"max_chars": 500}},
        {"corpus": {"paths": ["elsewhere"]}},
        {"retention": {"keep_generations": 1}},
        {"schedule": {"first_month": "2026-01"}},
    ],
    ids=str,
)
def test_under_other_settings_it_is_asked_for_again(change: dict[str, Any]) -> None:
    """A run that was refused has another key as soon as a setting changes, whichever it is."""
    assert era_of(Settings.model_validate(change), NOW) != era_of(Settings(), NOW)


@pytest.mark.parametrize(
    ("hour", "next_hour"), [(0, 6), (3, 6), (5.99, 6), (6, 12), (18, 24), (23, 24)]
)
def test_hours_later_it_is_asked_for_again(hour: float, next_hour: int) -> None:
    """Four times a day a run that came to nothing has another key, and until then the same."""
    midnight = NOW.replace(hour=0)
    now, later = midnight + timedelta(hours=hour), midnight + timedelta(hours=next_hour)
    assert next_era(now) == later
    settings = Settings()
    assert era_of(settings, now) == era_of(settings, later - timedelta(seconds=1))
    assert era_of(settings, now) != era_of(settings, later)
