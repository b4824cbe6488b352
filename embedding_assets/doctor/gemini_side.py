"""Doctor, Gemini's side: its jobs and files against the ledger.

Belongs here: the judgement on what Gemini lists, in plain words with numbers.
Does not belong here: asking Gemini (gemini/client.py) and repairing (examine.py).

The list is read first and the ledger after it. An attempt is on record before its job is made, so
whatever is listed without one is not just being made.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from embedding_assets.doctor.findings import CancelJob, Check, DeleteRemoteFiles, Finding
from embedding_assets.doctor.index_side import note, wrong
from embedding_assets.errors import (
    EmbeddingAssetsError,
    KeyUnusableError,
    LedgerError,
    RateLimitedError,
    RefusedError,
)
from embedding_assets.model.batch_jobs import (
    DEAD_STATES,
    LIVE_STATES,
    BatchJob,
    JobState,
    RemoteFile,
    RemoteJob,
)
from embedding_assets.model.shards import ShardState
from embedding_assets.store.checkup import ShardRecord
from embedding_assets.wording import count, some

_REPAIR = "`embedding-assets doctor --repair`"
# Nothing is expected of such an attempt (any more); a reserved one is judged only if its shard is
# closed.
_UNANSWERED_STATES = DEAD_STATES | {JobState.REFUSED, JobState.RESERVED}
_NOTHING_TO_GET_BACK = (
    "find out who else submitted (another daemon, a restored backup?), then delete the job at "
    "Gemini, so that it is no longer reported"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSide:
    """What Gemini has of this index, newest first, and the job names that it does not know."""

    jobs: tuple[RemoteJob, ...]
    files: tuple[RemoteFile, ...]
    unknown_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """An attempt and the shard it is for."""

    shard: ShardRecord
    job: BatchJob

    @property
    def awaits_job(self) -> bool:
        """It may have a job, or may get one."""
        is_open = self.shard.state is ShardState.OPEN
        return self.job.state in LIVE_STATES or (self.job.state is JobState.RESERVED and is_open)

    @property
    def is_nameless(self) -> bool:
        """It awaits a job of which the ledger knows no name."""
        return self.awaits_job and self.job.job_name is None


def judge_access(trouble: EmbeddingAssetsError) -> Iterator[Finding]:
    """A key that is refused goes on being refused; everything else may be over in a minute."""
    is_refused = isinstance(trouble, RefusedError) and not isinstance(trouble, RateLimitedError)
    if is_refused or isinstance(trouble, KeyUnusableError):
        yield wrong(
            Check.ACCESS,
            f"Gemini's side could not be looked at: {trouble}",
            "correct that and ask again: what became of the jobs there is not known",
        )


def judge_remote(shards: Iterable[ShardRecord], remote: RemoteSide) -> Iterator[Finding]:
    """Jobs by display name against their attempt, attempts without their job, files."""
    attempts = [_Attempt(shard=shard, job=job) for shard in shards for job in shard.jobs]
    by_name = {attempt.job.display_name: attempt for attempt in attempts}
    namesakes: dict[str, list[RemoteJob]] = {}
    for job in remote.jobs:
        namesakes.setdefault(job.display_name, []).append(job)
    for name, jobs in namesakes.items():
        yield from _judge_namesakes(by_name.get(name), jobs)
    for attempt in attempts:
        if attempt.job.state in LIVE_STATES and attempt.job.job_name in remote.unknown_names:
            yield _lost(attempt.job)
    yield from _judge_files(attempts, remote.files)


def _judge_namesakes(attempt: _Attempt | None, jobs: Sequence[RemoteJob]) -> Iterator[Finding]:
    """All jobs of one display name; those that came to nothing cost nothing."""
    alive: list[RemoteJob] = []
    answered: list[RemoteJob] = []
    for job in jobs:
        try:
            state = job.state
        except LedgerError as exc:
            yield wrong(Check.STATES, str(exc), "the next poll will say so, too")
            continue
        if state is JobState.SUCCEEDED:
            answered.append(job)
        elif state not in DEAD_STATES:
            alive.append(job)
    if attempt is None:
        whose = f", and the ledger does not know {jobs[0].display_name!r}"
        yield from (_unwanted(Check.ORPHANED_JOBS, job, whose) for job in alive)
        yield from (_paid_in_vain(Check.ORPHANED_JOBS, job, whose) for job in answered)
    elif attempt.is_nameless:
        yield from _judge_nameless(attempt.job, alive, answered)
    else:
        yield from _judge_known(attempt.job, alive, answered)


def _judge_nameless(
    attempt: BatchJob, alive: Sequence[RemoteJob], answered: Sequence[RemoteJob]
) -> Iterator[Finding]:
    """The poll adopts a job for this attempt: which one is not for the doctor to choose."""
    found = [*alive, *answered]
    if len(found) == 1:
        yield note(
            Check.LATE_JOBS,
            f"attempt {attempt.attempt} of shard {attempt.shard_key} is {attempt.state.value}, "
            f"and Gemini has its job {found[0].name}",
            "the next poll adopts it",
        )
    elif found:
        yield wrong(
            Check.DUPLICATE_JOBS,
            f"Gemini has {len(found)} jobs for attempt {attempt.attempt} of shard "
            f"{attempt.shard_key}: {some([job.name for job in found])}",
            f"let the next poll adopt one of them, then {_REPAIR} cancels the others",
        )


def _judge_known(
    attempt: BatchJob, alive: Sequence[RemoteJob], answered: Sequence[RemoteJob]
) -> Iterator[Finding]:
    """The ledger knows which job, if any, is the attempt's."""
    has_ended = attempt.state in _UNANSWERED_STATES
    for job in alive:
        if has_ended or job.name != attempt.job_name:
            check = Check.ORPHANED_JOBS if has_ended else Check.DUPLICATE_JOBS
            yield _unwanted(check, job, f" for {_words(attempt, job)}")
    for job in answered:
        if job.name != attempt.job_name:
            yield _paid_in_vain(Check.DUPLICATE_JOBS, job, f", for {_words(attempt, job)}")
        # With a result file on record the answer was seen, and given up when it was gone.
        elif has_ended and attempt.result_file_name is None:
            yield _given_up_too_soon(attempt, job)


def _unwanted(check: Check, job: RemoteJob, whose: str) -> Finding:
    return wrong(
        check,
        f"{job.name} is under way at Gemini{whose}",
        f"nobody will collect its answer: {_REPAIR} cancels it",
        CancelJob(job_name=job.name),
    )


def _paid_in_vain(check: Check, job: RemoteJob, whose: str) -> Finding:
    return wrong(check, f"{job.name} was answered and paid for{whose}", _NOTHING_TO_GET_BACK)


def _words(attempt: BatchJob, job: RemoteJob) -> str:
    is_its_own = attempt.job_name in (None, job.name)
    by_another = "" if is_its_own else f", with another job, {attempt.job_name}"
    return (
        f"attempt {attempt.attempt} of shard {attempt.shard_key}, which is "
        f"{attempt.state.value} in the ledger{by_another}"
    )


def _given_up_too_soon(attempt: BatchJob, job: RemoteJob) -> Finding:
    return wrong(
        Check.UNCOLLECTED_JOBS,
        f"attempt {attempt.attempt} of shard {attempt.shard_key} is {attempt.state.value} in the "
        f"ledger, but {job.name} succeeded at Gemini",
        "its answer was paid for: download "
        f"{job.result_file_name or 'its result file'} while Gemini has it, and report this",
    )


def _lost(job: BatchJob) -> Finding:
    return wrong(
        Check.LOST_JOBS,
        f"attempt {job.attempt} of shard {job.shard_key} is {job.state.value}, but Gemini does "
        f"not know {job.job_name}",
        "the next poll records it as failed, and the shard is submitted again",
    )


def _judge_files(attempts: Iterable[_Attempt], files: Sequence[RemoteFile]) -> Iterator[Finding]:
    needed = {a.job.display_name: a.job.input_file_name for a in attempts if a.awaits_job}
    # Without a name on record any file of that display name may just have been uploaded.
    left = [
        file
        for file in files
        if file.display_name not in needed or needed[file.display_name] not in (None, file.name)
    ]
    if left:
        n_bytes = sum(file.n_bytes for file in left)
        yield note(
            Check.REMOTE_FILES,
            f"{count(len(left), 'uploaded file')} ({count(n_bytes, 'byte')}) "
            f"{'is' if len(left) == 1 else 'are'} left at Gemini that nobody needs: "
            f"{some([file.name for file in left])}",
            f"Gemini deletes them 48 hours after the upload, {_REPAIR} now",
            DeleteRemoteFiles(names=tuple(file.name for file in left)),
        )
