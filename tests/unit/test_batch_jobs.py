"""Batch jobs: the life of an attempt, from the intent to its end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from embedding_assets.errors import LedgerError
from embedding_assets.model.batch_jobs import (
    DEAD_STATES,
    TRANSITIONS,
    JobState,
    ShardStatus,
    blames_a_text,
    check_transition,
    display_name,
    is_given_up,
    is_submittable,
)
from tests.factories import a_remote_job, a_status

ENDS = DEAD_STATES | {JobState.COLLECTED, JobState.REFUSED}

states = st.sampled_from(JobState)


def test_every_state_has_its_transitions() -> None:
    """The table has a row for every state."""
    assert set(TRANSITIONS) == set(JobState)


def test_every_state_can_be_reached() -> None:
    """From the intent there is a way to every state."""
    reached, front = {JobState.RESERVED}, {JobState.RESERVED}
    while front:
        front = {new for old in front for new in TRANSITIONS[old]} - reached
        reached |= front
    assert reached == set(JobState)


def test_ends_are_ends() -> None:
    """What is collected, dead or refused stays so; from everything else it goes on."""
    assert {state for state in JobState if not TRANSITIONS[state]} == ENDS


def test_a_job_that_may_exist_is_never_forgotten() -> None:
    """Only from UNCONFIRMED, and before any answer, can a job go back to RESERVED."""
    assert {old for old in JobState if JobState.RESERVED in TRANSITIONS[old]} == {
        JobState.UNCONFIRMED
    }


@given(states, states)
def test_transitions_are_checked(old: JobState, new: JobState) -> None:
    """What is in the table may happen; everything else is refused with both names."""
    if new in TRANSITIONS[old]:
        check_transition(old, new)
    else:
        with pytest.raises(LedgerError, match=f"from '{old.value}' to '{new.value}'"):
            check_transition(old, new)


class JobWalk(RuleBasedStateMachine):
    """An attempt that goes wherever the table lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.path = [JobState.RESERVED]

    @rule(new=states)
    def move(self, new: JobState) -> None:
        try:
            check_transition(self.path[-1], new)
        except LedgerError:
            return
        self.path.append(new)

    @invariant()
    def collected_only_after_success(self) -> None:
        """Vectors come from an answer and nothing else."""
        if JobState.COLLECTED in self.path:
            assert self.path[-1] is JobState.COLLECTED
            assert JobState.SUCCEEDED in self.path

    @invariant()
    def money_is_spent_only_after_a_create(self) -> None:
        """Gemini's own states come after UNCONFIRMED: the ledger knew before the bill did."""
        remote = {JobState.PENDING, JobState.RUNNING, JobState.EXPIRED, JobState.CANCELLED}
        if remote & set(self.path):
            assert (
                JobState.UNCONFIRMED
                in self.path[: min(map(self.path.index, remote & set(self.path)))]
            )

    @invariant()
    def nothing_after_an_end(self) -> None:
        """An end is the last thing that happens."""
        assert not ENDS & set(self.path[:-1])

    @invariant()
    def an_answer_is_not_taken_back(self) -> None:
        """After SUCCEEDED a job is collected, held, or its results are gone; it is never alive."""
        if JobState.SUCCEEDED in self.path:
            after = self.path[self.path.index(JobState.SUCCEEDED) + 1 :]
            assert set(after) <= {JobState.HELD, JobState.COLLECTED, JobState.FAILED}


TestJobWalk = JobWalk.TestCase


@pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_", ""])
@pytest.mark.parametrize(
    ("bare", "state"),
    [
        ("UNSPECIFIED", JobState.PENDING),
        ("QUEUED", JobState.PENDING),
        ("PENDING", JobState.PENDING),
        ("RUNNING", JobState.RUNNING),
        ("CANCELLING", JobState.RUNNING),
        ("SUCCEEDED", JobState.SUCCEEDED),
        ("PARTIALLY_SUCCEEDED", JobState.SUCCEEDED),
        ("FAILED", JobState.FAILED),
        ("EXPIRED", JobState.EXPIRED),
        ("CANCELLED", JobState.CANCELLED),
    ],
)
def test_remote_states(prefix: str, bare: str, state: JobState) -> None:
    """Gemini's states have a word of ours, however they are prefixed."""
    assert a_remote_job(state_name=prefix + bare).state is state


@pytest.mark.parametrize("name", ["BATCH_STATE_PAUSED", "JOB_STATE_", "pending", "", "RESERVED"])
def test_an_unknown_remote_state(name: str) -> None:
    """A state that we do not know is an error with the job's name and the state's."""
    with pytest.raises(LedgerError) as caught:
        _ = a_remote_job(name="batches/job-3", state_name=name).state
    assert str(caught.value).startswith(f"job batches/job-3 is in state {name!r}, which")


def test_a_display_name_says_whose_and_what() -> None:
    """The name by which an attempt is found again: index, shard, attempt, digest of requests."""
    arguments = {"index_id": "1a2b3c4d", "shard_key": "2026-11-0003", "attempt": 2}
    name = display_name(**arguments, requests_sha256="0123456789abcdef" * 4)  # type: ignore[arg-type]
    assert name == "embedding-assets/1a2b3c4d/2026-11-0003/2/0123456789abcdef"
    assert name != display_name(**arguments, requests_sha256="f" * 64)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (a_status(1), False),
        (a_status(1, JobState.REFUSED, n_attempts=0), True),
        *((a_status(1, state, n_attempts=2), False) for state in sorted(DEAD_STATES)),
        *((a_status(1, state, n_attempts=3), True) for state in sorted(DEAD_STATES)),
        *((a_status(1, state, n_attempts=9), False) for state in sorted(set(JobState) - ENDS)),
    ],
)
def test_given_up(status: ShardStatus, expected: bool) -> None:
    """A shard is given up when it was refused, or died as often as it may."""
    assert is_given_up(status, max_job_attempts=3) is expected


@pytest.mark.parametrize("state", [JobState.REFUSED, JobState.FAILED, JobState.COLLECTED])
def test_a_poisoned_shard_is_neither_sent_again_nor_given_up(state: JobState) -> None:
    """It is halved first, whatever attempts it has or has not left."""
    for n_attempts in (0, 9):
        status = a_status(1, state, n_attempts=n_attempts, is_poisoned=True)
        assert not is_submittable(status, max_job_attempts=3)
        assert not is_given_up(status, max_job_attempts=3)


@pytest.mark.parametrize(
    ("n_requests", "most"), [(1, 8), (2, 10), (60, 19), (10_000, 34), (50_000, 39)]
)
def test_refusals_in_a_row_blame_a_text_for_so_long(n_requests: int, most: int) -> None:
    """Some more than it takes to be alone twice; beyond that it is about us."""
    assert blames_a_text(most, n_requests)
    assert not blames_a_text(most + 1, n_requests)
