"""Doctor, Gemini's side: its jobs and files against the ledger.

Belongs here: the judgement on what Gemini lists, in plain words with numbers.
Does not belong here: asking Gemini (gemini/client.py) and repairing (examine.py).

The list is read first and the ledger after it. An attempt is on record before its job is made, so
whatever is listed without one is not just being made.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

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
from embedding_assets.model.strangers import Sight
from embedding_assets.pipeline.poll import elsewhere
from embedding_assets.store.checkup import ShardRecord
from embedding_assets.wording import count, some

_REPAIR = "`embedding-assets doctor --repair`"
# Nothing is expected of such an attempt (any more); a reserved one is judged only if its shard is
# closed.
_UNANSWERED_STATES = DEAD_STATES | {JobState.REFUSED, JobState.RESERVED}
_NOTHING_TO_GET_BACK = "delete the job at Gemini, so that it is no longer reported"
_IS_IT_A_COPY = (
    "is this index a copy, or was it restored from a backup? Nothing is cancelled or deleted until "
    "you say so: `embedding-assets adopt-index` if it goes on, with --new-id if another one does"
)
_LEFT_ALONE = (
    "a shard with the same requests adopts it when it is submitted; otherwise it is left alone, "
    "until you delete it at Gemini"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSide:
    """What Gemini has of this index, newest first, and the job names that it does not know."""

    sight: Sight
    evidence: Sequence[RemoteJob] = ()  # that another index has the same id
    is_in_doubt: bool = False  # that was noticed, and no person has said which one it is
    files: tuple[RemoteFile, ...]
    unknown_names: frozenset[str] = frozenset()
    is_elsewhere: bool = False  # nothing of ours is known here
    problems: Sequence[str] = ()  # why the lists may lack something

    @property
    def may_be_shared(self) -> bool:
        """Whether what looks superfluous here may be needed by another index."""
        return self.is_in_doubt or bool(self.evidence)


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
    """Jobs by display name against their attempt, attempts without their job, files.

    While another index may have the same id nothing is there to be repaired.
    """
    for finding in _judge(shards, remote):
        if remote.may_be_shared and finding.repair is not None:
            yield replace(finding, repair=None, next_step=_IS_IT_A_COPY)
        else:
            yield finding


def _judge(shards: Iterable[ShardRecord], remote: RemoteSide) -> Iterator[Finding]:
    attempts = [_Attempt(shard=shard, job=job) for shard in shards for job in shard.jobs]
    by_name = {attempt.job.display_name: attempt for attempt in attempts}
    for problem in remote.problems:
        yield note(Check.REMOTE_LISTS, problem, "what it lacks is not judged; look again later")
    namesakes: dict[str, list[RemoteJob]] = {}
    # Whatever display name it was made under, an attempt's own job is judged with the attempt.
    own = {attempt.job.job_name: attempt.job.display_name for attempt in attempts}
    for job in remote.sight.jobs:
        namesakes.setdefault(own.get(job.name, job.display_name), []).append(job)
    for name, jobs in namesakes.items():
        yield from _judge_namesakes(by_name.get(name), jobs, remote)
    yield from _judge_lost(attempts, remote)
    yield from _judge_files(attempts, remote.files)


def _judge_namesakes(
    attempt: _Attempt | None, jobs: Sequence[RemoteJob], remote: RemoteSide
) -> Iterator[Finding]:
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
        yield from (_judge_stranger(job, "is under way at Gemini", remote) for job in alive)
        yield from (_judge_stranger(job, "was answered and paid for", remote) for job in answered)
    elif attempt.is_nameless:
        yield from _judge_nameless(attempt.job, alive, answered)
    else:
        yield from _judge_known(attempt.job, alive, answered, remote)


def _judge_stranger(job: RemoteJob, what: str, remote: RemoteSide) -> Finding:
    """A job that no attempt was announced for: whose it is cannot be seen, so it is let alone."""
    message = f"{job.name} {what}, and the ledger does not know {job.display_name!r}"
    return _not_proven(Check.ORPHANED_JOBS, job, message, remote)


def _not_proven(check: Check, job: RemoteJob, message: str, remote: RemoteSide) -> Finding:
    """Nothing says that we made it; a person may have said that this is no matter."""
    if job in remote.evidence:
        return wrong(check, message, _IS_IT_A_COPY)
    return note(check, message, _LEFT_ALONE)


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
            "the next poll adopts one of them; then look again",
        )


def _judge_known(
    attempt: BatchJob,
    alive: Sequence[RemoteJob],
    answered: Sequence[RemoteJob],
    remote: RemoteSide,
) -> Iterator[Finding]:
    """The ledger knows which job, if any, is the attempt's."""
    has_ended = attempt.state in _UNANSWERED_STATES
    for job in alive:
        if has_ended or job.name != attempt.job_name:
            check = Check.ORPHANED_JOBS if has_ended else Check.DUPLICATE_JOBS
            yield _unwanted(check, job, attempt, remote)
    for job in answered:
        if job.name != attempt.job_name:
            yield _paid_in_vain(job, attempt, remote)
        # With a result file on record the answer was seen, and given up when it was gone.
        elif has_ended and attempt.result_file_name is None:
            yield _given_up_too_soon(attempt, job)


def _unwanted(check: Check, job: RemoteJob, attempt: BatchJob, remote: RemoteSide) -> Finding:
    """It is cancelled if it is the attempt's by name, or of another create call of it."""
    message = f"{job.name} is under way at Gemini for {_words(attempt, job)}"
    if job.name != attempt.job_name and attempt.released_at is None:
        return _not_proven(check, job, message, remote)
    next_step = f"nobody will collect its answer: {_REPAIR} cancels it"
    return wrong(check, message, next_step, CancelJob(job_name=job.name))


def _paid_in_vain(job: RemoteJob, attempt: BatchJob, remote: RemoteSide) -> Finding:
    message = f"{job.name} was answered and paid for, for {_words(attempt, job)}"
    if attempt.released_at is None:
        return _not_proven(Check.DUPLICATE_JOBS, job, message, remote)
    return wrong(Check.DUPLICATE_JOBS, message, _NOTHING_TO_GET_BACK)


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


def _judge_lost(attempts: Iterable[_Attempt], remote: RemoteSide) -> Iterator[Finding]:
    if remote.is_elsewhere:
        yield wrong(
            Check.LOST_JOBS,
            elsewhere(len(remote.unknown_names)),
            "set the key with which they were submitted and restart",
        )
        return
    for attempt in attempts:
        if attempt.job.state in LIVE_STATES and attempt.job.job_name in remote.unknown_names:
            yield _lost(attempt.job)


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
