"""Batch jobs: one submission attempt of one shard, and its states.

Belongs here: the ledger's value, the transition table, Gemini's words for states.
Does not belong here: limits (room.py), what to do next (pipeline/decide.py).
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from embedding_assets.errors import LedgerError
from embedding_assets.model.results import INVALID_ARGUMENT
from embedding_assets.model.shards import Shard

# Of whatever we leave at Gemini, whichever index it is of.
NAME_PREFIX = "embedding-assets/"


class JobState(StrEnum):
    """An attempt's life, from the intent to the vectors."""

    RESERVED = "reserved"  # the intent is recorded; nothing that costs money was asked for
    UNCONFIRMED = "unconfirmed"  # a create call was made, or is about to be: a job may exist
    PENDING = "pending"  # Gemini has the job and has not begun
    RUNNING = "running"  # Gemini is working on it
    SUCCEEDED = "succeeded"  # answered; the results are not in the index yet
    HELD = "held"  # answered and paid for, and not understood: nothing like it is sent meanwhile
    COLLECTED = "collected"  # the results are in the index
    FAILED = "failed"  # Gemini gave up on the job, or its results are gone
    EXPIRED = "expired"  # Gemini did not get to it in 48 hours
    CANCELLED = "cancelled"  # somebody cancelled it
    REFUSED = "refused"  # a definite no to the create call: nothing is owed, not an attempt


LIVE_STATES = frozenset({JobState.UNCONFIRMED, JobState.PENDING, JobState.RUNNING})
DEAD_STATES = frozenset({JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED})
# A job that failed may have answered a part, which is collected.
_REFUSED_WHOLE_STATES = frozenset({JobState.REFUSED, JobState.FAILED, JobState.COLLECTED})
# It is paid for, or may be, and is not in the index.
OWED_STATES = LIVE_STATES | {JobState.SUCCEEDED, JobState.HELD}

_FROM_REMOTE = {JobState.PENDING, JobState.RUNNING, JobState.SUCCEEDED} | DEAD_STATES

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # SUCCEEDED directly: the synchronous route has its answer in one step.
    JobState.RESERVED: frozenset({JobState.UNCONFIRMED, JobState.REFUSED, JobState.SUCCEEDED}),
    # Back to RESERVED: refused for now, or absent from Gemini's list for long enough.
    JobState.UNCONFIRMED: frozenset({JobState.RESERVED, JobState.REFUSED} | _FROM_REMOTE),
    JobState.PENDING: frozenset(_FROM_REMOTE - {JobState.PENDING}),
    JobState.RUNNING: frozenset(_FROM_REMOTE - {JobState.RUNNING}),
    JobState.SUCCEEDED: frozenset({JobState.COLLECTED, JobState.HELD, JobState.FAILED}),
    # By a person, who has it read once more or gives it up.
    JobState.HELD: frozenset({JobState.COLLECTED, JobState.FAILED}),
    JobState.COLLECTED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.EXPIRED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.REFUSED: frozenset(),
}

# So many more than it takes to halve a shard until a text is alone, twice.
_SPARE_REFUSALS = 8
# How the name of a remote state ends if the job is dead, whatever stands before it.
DEAD_ENDINGS = tuple(state.value.upper() for state in sorted(DEAD_STATES))

# Gemini writes BATCH_STATE_X on the wire, the SDK and older answers JOB_STATE_X.
_REMOTE_STATES = {
    "UNSPECIFIED": JobState.PENDING,
    "QUEUED": JobState.PENDING,
    "PENDING": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "CANCELLING": JobState.RUNNING,
    "SUCCEEDED": JobState.SUCCEEDED,
    "PARTIALLY_SUCCEEDED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
    "EXPIRED": JobState.EXPIRED,
    "CANCELLED": JobState.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """One attempt, as the ledger has it. Names are Gemini's, the rest is ours."""

    shard_id: int
    shard_key: str
    attempt: int
    display_name: str
    requests_sha256: str
    state: JobState
    input_file_name: str | None
    job_name: str | None
    result_file_name: str | None
    error_code: str | None  # Gemini's: INVALID_ARGUMENT and the like
    error_message: str | None
    hold_reason: str | None
    n_answered: int | None  # requests, as Gemini counts them
    unmatched_tokens: int  # paid for answers that no request has: it is held, or lost
    n_bad_downloads: int  # in a row, that were no result file
    reserved_at: datetime
    unconfirmed_at: datetime | None
    submitted_at: datetime | None
    ended_at: datetime | None
    released_at: datetime | None  # a create call was put aside; its job may still appear
    cancel_requested_at: datetime | None  # it took too long
    collect_not_before: datetime | None  # what came was no result file: a later try may get one

    @property
    def is_refused_whole(self) -> bool:
        """Gemini calls something of it an invalid argument, and does not say what."""
        return self.error_code == INVALID_ARGUMENT and self.state in _REFUSED_WHOLE_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob:
    """A batch job as Gemini reports it."""

    name: str
    display_name: str
    state_name: str  # BATCH_STATE_PENDING and the like, as it came
    model: str | None = None  # without "models/"
    # Where answers are, or will be if the job succeeded: a file, or the job itself if they are
    # in its operation.
    result_file_name: str | None = None
    has_output: bool = False  # there are results; a job that died may have some, too
    n_answered: int | None = None  # requests that succeeded, if it says how many
    error_code: str | None = None  # INVALID_ARGUMENT and the like
    error_message: str | None = None
    created_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def digest(self) -> str:
        """Of its requests, if we made it: the end of its display name."""
        return self.display_name.rpartition("/")[2]

    @property
    def may_be_owed(self) -> bool:
        """It is, or may still be, answered and paid for."""
        return self.has_output or not self.state_name.endswith(DEAD_ENDINGS)

    @property
    def state(self) -> JobState:
        """Our word for Gemini's state. Raises LedgerError for one that is not known."""
        bare = self.state_name.removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
        try:
            return _REMOTE_STATES[bare]
        except KeyError:
            raise LedgerError(
                f"job {self.name} is in state {self.state_name!r}, which this version does not "
                "know; look at it in Google's console and upgrade embedding-assets"
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """An uploaded file as Gemini lists it; result files are not among them."""

    name: str
    display_name: str
    n_bytes: int
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatus:
    """An open shard and its newest attempt: what the sensors decide on."""

    shard: Shard
    job: BatchJob | None
    n_attempts: int  # attempts that count: refusals do not
    is_poisoned: bool  # Gemini refuses it for one of its texts: it is halved until that is alone
    submit_requested_at: datetime | None
    collect_requested_at: datetime | None
    failure_reported_at: datetime | None

    @property
    def is_live(self) -> bool:
        """Whether there is a job at Gemini, or may be, that has not ended."""
        return self.job is not None and self.job.state in LIVE_STATES

    @property
    def is_held(self) -> bool:
        """Whether what was answered is not understood: a person decides."""
        return self.job is not None and self.job.state is JobState.HELD


def check_transition(old: JobState, new: JobState) -> None:
    """Raises LedgerError for a transition that the table does not have."""
    if new not in TRANSITIONS[old]:
        raise LedgerError(f"a batch job cannot go from {old.value!r} to {new.value!r}")


def name_prefix(index_id: str) -> str:
    """How the display names of an index's jobs and files begin."""
    return f"{NAME_PREFIX}{index_id}/"


def display_name(*, index_id: str, shard_key: str, attempt: int, requests_sha256: str) -> str:
    """The deterministic name by which an attempt is found again in Gemini's list."""
    return f"{name_prefix(index_id)}{shard_key}/{attempt}/{short_digest(requests_sha256)}"


def is_under(thing: BatchJob | RemoteJob | RemoteFile, index_id: str) -> bool:
    """Whether it was made, or is to be made, under this index's id."""
    return thing.display_name.startswith(name_prefix(index_id))


def short_digest(requests_sha256: str) -> str:
    """What a display name carries of the digest of its requests."""
    return requests_sha256[:16]


def needs_job(job: BatchJob | None) -> bool:
    """Whether a shard with this newest attempt may be submitted without paying twice."""
    if job is None:
        return True
    return job.state in DEAD_STATES | {JobState.RESERVED, JobState.REFUSED}


def absent_from(job: BatchJob, grace: timedelta) -> datetime | None:
    """From when on a job that is not there was never made; None if no create call was announced."""
    return None if job.unconfirmed_at is None else job.unconfirmed_at + grace


def blames_a_text(n_refusals: int, n_requests: int) -> bool:
    """Whether so many refusals in a row, of shards of up to so many requests, are about a text.

    Some texts among good ones are alone after a number of halvings. What goes on is about us: the
    model or the settings, for which every half is refused.
    """
    return n_refusals <= 2 * math.log2(max(n_requests, 1)) + _SPARE_REFUSALS


def is_submittable(status: ShardStatus, *, max_job_attempts: int) -> bool:
    """Whether a shard is to be submitted, for the first time or again, without anybody's word."""
    if status.is_poisoned:
        return False
    if status.job is None or status.job.state is JobState.RESERVED:
        return True
    return status.job.state in DEAD_STATES and status.n_attempts < max_job_attempts


def is_given_up(status: ShardStatus, *, max_job_attempts: int) -> bool:
    """No job is left and none will be created unless a person asks for it."""
    if status.job is None or status.is_poisoned:
        return False
    if status.job.state is JobState.REFUSED:
        return True
    return status.job.state in DEAD_STATES and status.n_attempts >= max_job_attempts
