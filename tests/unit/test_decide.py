"""Decisions: what the sensors submit, collect and report, and what they say."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.model.batch_jobs import (
    DEAD_STATES,
    LIVE_STATES,
    JobState,
    ShardStatus,
    is_given_up,
)
from embedding_assets.model.room import (
    Ledger,
    SubmissionLimits,
    Throttle,
    Verdict,
)
from embedding_assets.model.shards import Route
from embedding_assets.money.budget import Purse
from embedding_assets.pipeline.decide import (
    Decision,
    decide_collections,
    decide_failure_reports,
    decide_submissions,
)
from embedding_assets.settings.values import Limits
from tests.factories import LIMITS, NOW, SPEC, a_purse, a_room, a_status

JUST_NOW = NOW - timedelta(minutes=14)
LONG_AGO = NOW - timedelta(minutes=15)
ONE_UNDER_WAY = (
    "1 job is under way (the first since 2026-11-23 03:00:00 UTC, until 2026-11-24 09:00:00 UTC at "
    "the latest)"
)

states = st.sampled_from(JobState)


def decide(
    *statuses: ShardStatus,
    limits: SubmissionLimits = LIMITS,
    throttle: Throttle | None = None,
    purse: Purse | None = None,
) -> Decision:
    """What to submit now."""
    return decide_submissions(
        statuses,
        room=a_room(*statuses, limits=limits, throttle=throttle),
        purse=purse or a_purse(),
        now=NOW,
    )


def keys(*numbers: int) -> tuple[str, ...]:
    """The month's shards of these numbers."""
    return tuple(f"2026-11-{number:04d}" for number in numbers)


# --- what to submit -------------------------------------------------------------------------


def test_nothing_waits() -> None:
    """Without a waiting shard the reason says how many are open and under way."""
    assert decide(a_status(1, JobState.PENDING), a_status(2, JobState.SUCCEEDED)) == Decision(
        shard_keys=(),
        reason="no shard waits to be submitted; "
        "1 of 4 jobs and 20,000 of 100,000 tokens are under way",
    )


def test_waiting_shards_are_submitted_in_order() -> None:
    """As many shards as fit are submitted, and the reason has the numbers."""
    assert decide(a_status(1), a_status(2), a_status(3, JobState.RUNNING)) == Decision(
        shard_keys=keys(1, 2),
        reason="submitting 2 of 2 waiting shards; then "
        "3 of 4 jobs and 60,000 of 100,000 tokens are under way",
    )


def test_the_job_limit() -> None:
    """No more jobs are under way than the limit allows, whatever tokens are left."""
    waiting = [a_status(number, estimated_tokens=1) for number in range(1, 8)]
    live = a_status(8, JobState.UNCONFIRMED, estimated_tokens=1)
    assert decide(*waiting, live) == Decision(
        shard_keys=keys(1, 2, 3),
        reason="submitting 3 of 7 waiting shards; then "
        "4 of 4 jobs and 4 of 100,000 tokens are under way; 4 shards wait until jobs have ended",
    )


def test_the_token_limit() -> None:
    """The tokens of all jobs together stay within the limit, to the last token."""
    live = a_status(1, JobState.PENDING, estimated_tokens=60_000)
    fitting = a_status(2, estimated_tokens=40_000)
    over = a_status(3, estimated_tokens=1)
    assert decide(live, fitting, over).shard_keys == keys(2)


def test_no_shard_overtakes() -> None:
    """A shard that does not fit holds back the smaller ones behind it, so that its turn comes."""
    live = a_status(1, JobState.PENDING, estimated_tokens=60_000)
    assert decide(live, a_status(2, estimated_tokens=50_000), a_status(3)) == Decision(
        shard_keys=(),
        reason="1 of 4 jobs and 60,000 of 100,000 tokens are under way; "
        "2 shards wait until jobs have ended",
    )


def test_an_oversized_shard_goes_alone() -> None:
    """A shard over the token limit is submitted when nothing is under way, and nothing with it."""
    oversized = a_status(1, estimated_tokens=200_000)
    assert decide(oversized, a_status(2)).shard_keys == keys(1)
    assert decide(oversized, a_status(2, JobState.RUNNING)).shard_keys == ()


def test_synchronous_shards_do_not_count() -> None:
    """The synchronous route occupies no job and no tokens, and waits for none."""
    sync = [a_status(number, route=Route.SYNC, estimated_tokens=90_000) for number in range(1, 7)]
    full = a_status(7, JobState.PENDING, estimated_tokens=100_000)
    blocked = a_status(8)
    behind = a_status(9, route=Route.SYNC)
    assert decide(*sync, full, blocked, behind) == Decision(
        shard_keys=keys(1, 2, 3, 4, 5, 6, 9),
        reason="submitting 7 of 8 waiting shards; then "
        "1 of 4 jobs and 100,000 of 100,000 tokens are under way; "
        "1 shard waits until jobs have ended",
    )


@pytest.mark.parametrize("state", [None, JobState.RESERVED, *sorted(DEAD_STATES)])
def test_a_requested_shard_is_not_requested_twice(state: JobState | None) -> None:
    """While its run may still be coming a shard is not asked for again and counts as under way."""
    requested = a_status(1, state, submit_requested_at=JUST_NOW, estimated_tokens=90_000)
    assert decide(requested, a_status(2)) == Decision(
        shard_keys=(),
        reason="1 of 4 jobs and 90,000 of 100,000 tokens are under way; "
        "1 shard waits until jobs have ended",
    )
    assert decide(requested).reason == (
        "no shard waits to be submitted; 1 of 4 jobs and 90,000 of 100,000 tokens are under way; "
        "1 shard has its run requested, and again from 2026-11-23 03:01:00 UTC"
    )


def test_a_run_that_changed_nothing_is_requested_again() -> None:
    """After the time for a run has passed, the shard waits again."""
    assert decide(a_status(1, submit_requested_at=LONG_AGO)).shard_keys == keys(1)


def test_a_live_job_counts_once() -> None:
    """A shard that was asked for and has its job is one job, not two."""
    live = a_status(1, JobState.PENDING, submit_requested_at=JUST_NOW, estimated_tokens=90_000)
    assert decide(live, a_status(2, estimated_tokens=10_000)).shard_keys == keys(2)


@pytest.mark.parametrize("state", sorted(DEAD_STATES))
def test_a_dead_job_is_replaced_while_attempts_are_left(state: JobState) -> None:
    """A failed, expired or cancelled job is submitted again until its attempts are used up."""
    assert decide(a_status(1, state, n_attempts=2)).shard_keys == keys(1)
    assert decide(a_status(1, state, n_attempts=3)).shard_keys == ()


@pytest.mark.parametrize("state", [JobState.REFUSED, JobState.SUCCEEDED, *sorted(LIVE_STATES)])
def test_states_that_do_not_wait(state: JobState) -> None:
    """A refused shard needs a person, an answered or live one needs no second job."""
    assert decide(a_status(1, state)).shard_keys == ()


def test_an_unused_reservation_is_submitted() -> None:
    """A shard whose submission was interrupted before the create call is submitted again."""
    assert decide(a_status(1, JobState.RESERVED)).shard_keys == keys(1)


def test_backing_off() -> None:
    """While Gemini refuses nothing is submitted, and the reason says until when."""
    throttle = Throttle(not_before=NOW + timedelta(minutes=2), n_refusals=1)
    assert decide(a_status(1), a_status(2), throttle=throttle) == Decision(
        shard_keys=(),
        reason="2 shards wait: Gemini has as many tokens enqueued as it takes; Gemini is asked "
        "again from 2026-11-23 03:02:00 UTC; 0 of 4 jobs and 0 of 100,000 tokens are under way",
    )
    assert decide(a_status(1), throttle=Throttle(not_before=NOW)).shard_keys == keys(1)


def test_a_throttled_token_limit() -> None:
    """After refusals fewer tokens are offered; the setting stays the upper bound."""
    statuses = [a_status(number) for number in (1, 2, 3)]
    assert decide(*statuses, throttle=Throttle(max_enqueued_tokens=50_000)) == Decision(
        shard_keys=keys(1, 2),
        reason="submitting 2 of 3 waiting shards; then "
        "2 of 4 jobs and 40,000 of 50,000 tokens (lowered from 100,000 after Gemini's refusals) "
        "are under way; 1 shard waits until jobs have ended",
    )
    lowered = replace(LIMITS, max_enqueued_tokens=20_000)
    throttle = Throttle(max_enqueued_tokens=50_000)
    assert decide(*statuses, limits=lowered, throttle=throttle).shard_keys == keys(1)


any_status = st.builds(
    lambda number, state, route, tokens, n_attempts, asked_at: a_status(
        number,
        state,
        route=route,
        estimated_tokens=tokens,
        n_attempts=n_attempts,
        submit_requested_at=asked_at,
    ),
    st.integers(1, 9999),
    st.none() | states,
    st.sampled_from(Route),
    st.integers(1, 150_000),
    st.integers(1, 4),
    st.sampled_from([None, JUST_NOW, LONG_AGO]),
)


@given(st.lists(any_status, max_size=12, unique_by=lambda status: status.shard.key))
def test_limits_hold_whatever_the_ledger_says(statuses: list[ShardStatus]) -> None:
    """What is chosen and what is alive together keep both limits, but for a lone oversized job."""
    chosen = set(decide(*statuses).shard_keys)
    batch = [status for status in statuses if status.shard.route is Route.BATCH]
    live = [status for status in batch if status.job and status.job.state in LIVE_STATES]
    new = [status for status in batch if status.shard.key in chosen]
    assert not set(map(id, live)) & set(map(id, new))
    if new:
        n_tokens = sum(status.shard.estimated_tokens for status in live + new)
        assert len(live + new) <= LIMITS.max_concurrent_jobs
        assert n_tokens <= LIMITS.max_enqueued_tokens or len(live + new) == 1


@given(st.lists(any_status, max_size=12, unique_by=lambda status: status.shard.key))
def test_submission_never_starves(statuses: list[ShardStatus]) -> None:
    """With a shard waiting and nothing under way or asked for, something is submitted."""
    idle = [replace(status, submit_requested_at=None) for status in statuses]
    idle = [s for s in idle if s.job is None or s.job.state not in LIVE_STATES | {JobState.HELD}]
    is_waiting = any(s.job is None or s.job.state is JobState.RESERVED for s in idle)
    assert decide(*idle).shard_keys or not is_waiting


throttles = st.builds(
    Throttle,
    not_before=st.sampled_from([None, NOW, NOW + timedelta(minutes=1)]),
    n_refusals=st.integers(0, 3),
    max_enqueued_tokens=st.none() | st.integers(1, 100_000),
)
providers = st.sampled_from(["gemini", "emulator"])


@given(
    st.lists(st.tuples(any_status, providers), max_size=12, unique_by=lambda it: it[0].shard.key),
    st.dictionaries(st.tuples(providers, st.just(SPEC.model)), throttles),
)
def test_what_a_sensor_asks_for_a_run_does(
    found: list[tuple[ShardStatus, str]], throttles: dict[tuple[str, str], Throttle]
) -> None:
    """Whatever is under way, here and elsewhere, no run finds that its shard has to wait.

    Otherwise it would be asked for again at once, and again.
    """
    ledger = Ledger(
        statuses=[planned_for(provider, status) for status, provider in found],
        throttles=throttles,
        abandoned_keys=(),
    )
    room = ledger.room_at("gemini", LIMITS)
    statuses = ledger.at("gemini")
    chosen = decide_submissions(statuses, room=room, purse=a_purse(), now=NOW).shard_keys
    shards = {status.shard.key: status.shard for status in statuses}
    for key in chosen:
        assert room.judge(shards[key], NOW).verdict in (Verdict.SUBMIT, Verdict.SPLIT)
        room = room.after([shards[key]])


def planned_for(provider: str, status: ShardStatus) -> ShardStatus:
    spec = replace(SPEC, provider=provider)
    return replace(status, shard=replace(status.shard, spec=spec))


def test_a_full_provider_is_waited_for_and_another_one_is_not() -> None:
    """A job elsewhere takes no room here, and one here lets the sensor wait without a run."""
    limits = replace(LIMITS, max_concurrent_jobs=1)
    live, waiting = a_status(1, JobState.PENDING), planned_for("gemini", a_status(2))
    ledger = Ledger(statuses=[live, waiting], throttles={}, abandoned_keys=())
    room = ledger.room_at("gemini", limits)
    here = decide_submissions([waiting], room=room, purse=a_purse(), now=NOW)
    assert here.shard_keys == keys(2)
    full = decide_submissions([waiting], room=room.after([live.shard]), purse=a_purse(), now=NOW)
    assert full.shard_keys == ()


def test_a_refused_model_does_not_hold_another_one_back() -> None:
    """While Gemini refuses one model the shards of another go, and both are said."""
    other = a_status(2)
    other = replace(other, shard=replace(other.shard, spec=replace(SPEC, model="other")))
    throttle = Throttle(not_before=NOW + timedelta(minutes=2), n_refusals=1)
    assert decide(a_status(1), other, throttle=throttle) == Decision(
        shard_keys=keys(2),
        reason="1 shard waits: Gemini has as many tokens enqueued as it takes; Gemini is asked "
        "again from 2026-11-23 03:02:00 UTC; submitting 1 of 2 waiting shards; then "
        "1 of 4 jobs and 20,000 of 100,000 tokens are under way",
    )


# --- what to collect, what to report --------------------------------------------------------


def test_finished_jobs_are_collected() -> None:
    """Every answered job is collected, unless a run for it was asked for a moment ago."""
    statuses = [
        a_status(1, JobState.SUCCEEDED),
        a_status(2, JobState.RUNNING),
        a_status(3, JobState.SUCCEEDED, collect_requested_at=JUST_NOW),
        a_status(4, JobState.SUCCEEDED, collect_requested_at=LONG_AGO),
        a_status(5),
    ]
    assert decide_collections(statuses, limits=Limits(), now=NOW) == Decision(
        shard_keys=keys(1, 4), reason=f"collecting 2 finished jobs; {ONE_UNDER_WAY}"
    )


def test_nothing_to_collect() -> None:
    """Without a newly answered job the reason says how many are open and under way."""
    statuses = [a_status(1, JobState.RUNNING), a_status(2)]
    assert decide_collections(statuses, limits=Limits(), now=NOW) == Decision(
        shard_keys=(), reason=f"{ONE_UNDER_WAY}, none is newly finished"
    )


def test_a_collection_that_was_asked_for() -> None:
    """While the run of a finished job may be coming, the reason says when it is asked for again."""
    statuses = [a_status(n, JobState.SUCCEEDED, collect_requested_at=JUST_NOW) for n in (1, 2)]
    assert decide_collections(statuses, limits=Limits(), now=NOW) == Decision(
        shard_keys=(),
        reason="0 jobs are under way; 2 finished jobs have their run requested, and again from "
        "2026-11-23 03:01:00 UTC",
    )


def test_failures_are_reported_once() -> None:
    """A shard that is given up is reported, and then not again."""
    statuses = [
        a_status(1, JobState.FAILED, n_attempts=3),
        a_status(2, JobState.FAILED, n_attempts=2),
        a_status(3, JobState.EXPIRED, n_attempts=3, failure_reported_at=LONG_AGO),
        a_status(4, JobState.REFUSED, n_attempts=0),
        a_status(5),
    ]
    assert decide_failure_reports(statuses, max_job_attempts=3) == Decision(
        shard_keys=keys(1, 4), reason="2 shards are given up and turn red"
    )
    assert decide_failure_reports(statuses[2:3], max_job_attempts=3) == Decision(
        shard_keys=(),
        reason="1 shard is given up: materialize the failed partitions of batch_jobs",
    )
    assert decide_failure_reports(statuses[4:], max_job_attempts=3).reason == ""


@given(any_status)
def test_a_shard_is_given_up_or_not_but_never_both(status: ShardStatus) -> None:
    """What is given up is not submitted by itself."""
    if is_given_up(status, max_job_attempts=LIMITS.max_job_attempts):
        assert decide(status).shard_keys == ()


# --- splitting --------------------------------------------------------------------------------


def test_smaller_shards_are_tried_before_one_is_split() -> None:
    """After refusals in a row the halves of one shard go before the other whole ones."""
    whole = [a_status(n, estimated_tokens=60_000) for n in (1, 2)]
    half = a_status(3, estimated_tokens=30_000)
    once = Throttle(n_refusals=1, max_enqueued_tokens=40_000)
    twice = Throttle(n_refusals=2, max_enqueued_tokens=40_000)
    assert decide(*whole, half, throttle=once).shard_keys == keys(1)
    assert decide(*whole, half, throttle=twice).shard_keys == keys(3)
    assert decide(*whole, throttle=twice).shard_keys == keys(1)


# --- money ------------------------------------------------------------------------------------


def test_nothing_is_sent_beyond_the_budget() -> None:
    """Shards are submitted as long as the money lasts; the reason has the numbers."""
    # 20,000 tokens at 0.075 dollars a million are 0.0015 dollars a shard.
    purse = a_purse(limit_usd=Decimal("0.0040"), spent_usd={2: Decimal("0.0005")})
    decision = decide(*(a_status(n) for n in (1, 2, 3)), purse=purse)
    assert decision.shard_keys == keys(1, 2)
    assert decision.reason.endswith(
        "; 1 shard waits for money, no more is sent: $0.0015 on top of $0.0035 spent or under way "
        "is over budget.max_cost_usd, $0.004"
    )


def test_a_synchronous_shard_costs_money_too() -> None:
    """It waits for nobody, but not without a budget."""
    shard = a_status(1, route=Route.SYNC)
    assert decide(shard, purse=a_purse(limit_usd=Decimal(0))).shard_keys == ()


def test_one_generation_without_money_does_not_stop_another() -> None:
    """An approved reindex goes on behind a shard of an earlier one that nobody pays for."""
    early = a_status(1)
    early = replace(early, shard=replace(early.shard, generation_id=1))
    purse = a_purse(limit_usd=Decimal(0), approved_usd={2: Decimal(1)})
    decision = decide(early, a_status(2), purse=purse)
    assert decision.shard_keys == keys(2)
    assert "1 shard waits for money, no more is sent: $0.0015 on top of $0.00" in decision.reason


def test_nothing_like_a_held_answer_is_sent() -> None:
    """By neither route; another spec's shards go on, and the sentence says whose answer it is."""
    held = a_status(1, JobState.HELD)
    like = [a_status(2), a_status(3, route=Route.SYNC)]
    other = a_status(4)
    other = replace(other, shard=replace(other.shard, spec=replace(SPEC, dimensions=16)))
    decision = decide(held, *like, other)
    assert decision.shard_keys == keys(4)
    assert (
        "2 shards wait: the answer to 2026-11-0001 is held, and nothing like it is sent meanwhile"
    ) in decision.reason
