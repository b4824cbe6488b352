"""Doctor: what is wrong with an index, judged from what was read of it.

Belongs here: what the checks are given, and the judgement, in plain words with numbers.
Does not belong here: SQL (store/checkup.py), Gemini's side (gemini_side.py), repairing
(examine.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedding_assets.doctor.findings import (
    Check,
    ClearFailures,
    CountByEstimate,
    Finding,
    RemoveFiles,
    RemoveVectors,
    Repair,
    SettleShard,
    Severity,
)
from embedding_assets.model.answers import FEW_AGAIN
from embedding_assets.model.batch_jobs import (
    DEAD_STATES,
    LIVE_STATES,
    BatchJob,
    JobState,
    ShardStatus,
    is_given_up,
)
from embedding_assets.model.gates import Gate, shut_gates
from embedding_assets.model.shards import ShardState
from embedding_assets.model.vectors import BadVector
from embedding_assets.pipeline.collect import way_out_of_hold
from embedding_assets.store.checkup import (
    BrokenReferences,
    CutTexts,
    PublishedRecord,
    ShardRecord,
    UnknownState,
)
from embedding_assets.wording import count, some

_REINDEX = "run `embedding-assets reindex`: it buys the texts that have no vector, and only those"
_REPAIR = "`embedding-assets doctor --repair`"
# An attempt that another one may follow.
_ENDED_STATES = DEAD_STATES | {JobState.REFUSED, JobState.COLLECTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFile:
    """A shard's JSONL file beside the attempt that should have been made from it."""

    path: Path
    sha256: str
    job: BatchJob


def wrong(check: Check, message: str, next_step: str, repair: Repair | None = None) -> Finding:
    """A finding that makes the exit code 1."""
    return Finding(
        check=check,
        severity=Severity.WRONG,
        message=message,
        next_step=next_step,
        repair=repair,
    )


def note(check: Check, message: str, next_step: str, repair: Repair | None = None) -> Finding:
    """A finding that breaks nothing."""
    return replace(wrong(check, message, next_step, repair), severity=Severity.NOTE)


def judge_integrity(problems: Sequence[str]) -> Iterator[Finding]:
    """What SQLite itself says of the file; it speaks of one thing a line."""
    if problems:
        yield wrong(
            Check.INTEGRITY,
            f"SQLite finds {count(len(problems), 'problem')} in the index file: {some(problems)}",
            "nothing else was checked; restore index.db from a backup, or save what can be "
            "read with `sqlite3 index.db .recover`",
        )


def judge_identity(doubt: str | None) -> Iterator[Finding]:
    """Whether a person has yet to say which of two indexes this is."""
    if doubt is not None:
        yield wrong(
            Check.IDENTITY,
            doubt,
            "`embedding-assets adopt-index`, with --new-id if it is another one that goes on",
        )


def judge_references(references: Iterable[BrokenReferences]) -> Iterator[Finding]:
    """Rows that refer to nothing; our own connections refuse to write them."""
    for broken in references:
        is_vector = (broken.table, broken.parent) == ("vectors", "chunks")
        table = broken.table
        rows = count(broken.n_rows, f"row of {table} refers", f"rows of {table} refer")
        yield wrong(
            Check.VECTORS_WITHOUT_CHUNK if is_vector else Check.FOREIGN_KEYS,
            f"{rows} to rows of {broken.parent} that do not exist",
            "somebody wrote to the file with foreign keys off; restore index.db from a backup, "
            "or delete the rows that `PRAGMA foreign_key_check` lists",
        )


def judge_states(states: Iterable[UnknownState]) -> Iterator[Finding]:
    """States that nobody would know what to do with."""
    for unknown in states:
        table = unknown.table
        rows = count(unknown.n_rows, f"row of {table} is", f"rows of {table} are")
        yield wrong(
            Check.STATES,
            f"{rows} in state {unknown.state!r}, which this version does not know",
            "use the version of embedding-assets that wrote it, or restore index.db from a backup",
        )


def judge_shard(shard: ShardRecord) -> Iterator[Finding]:
    """A shard's counts, its state, its vectors, and its attempts."""
    if shard.n_rows != shard.n_requests:
        yield wrong(
            Check.REQUEST_COUNTS,
            f"shard {shard.key} was planned with {count(shard.n_requests, 'request')} and has "
            f"{shard.n_rows:,}",
            _REINDEX,
        )
    if shard.state is ShardState.SETTLED and shard.n_pending:
        yield wrong(
            Check.SHARD_STATES,
            f"shard {shard.key} is settled, but {_pending(shard)}",
            _REINDEX,
        )
    if shard.state is ShardState.OPEN and not shard.n_pending:
        yield _judge_idle(shard)
    if shard.n_without_vector:
        one = f"request of shard {shard.key} counts as embedded, but its vector is not there"
        many = f"requests of shard {shard.key} count as embedded, but their vectors are not there"
        message = count(shard.n_without_vector, one, many)
        yield wrong(Check.EMBEDDED_REQUESTS, message, _REINDEX)
    if shard.n_unbilled:
        yield wrong(
            Check.UNBILLED_REQUESTS,
            f"{shard.n_unbilled:,} of the {count(shard.n_rows, 'request')} of shard {shard.key} "
            "are embedded and count 0 tokens",
            f"they were paid for: {_REPAIR} counts them by estimate",
            CountByEstimate(shard_key=shard.key),
        )
    if shard.n_unusable > max(FEW_AGAIN, shard.n_rows // 2):
        yield wrong(
            Check.UNUSABLE_ANSWERS,
            f"of the answer to shard {shard.key} {shard.n_unusable:,} of {shard.n_rows:,} requests "
            "brought nothing usable, and their chunks have no vector",
            f"`embedding-assets collect {shard.key} --again` reads it once more, while Gemini has "
            "it; or else `embedding-assets retry`, which pays again",
        )
    yield from _judge_attempts(shard)


def judge_standstill(
    statuses: Iterable[ShardStatus], *, max_job_attempts: int
) -> Iterator[Finding]:
    """Open shards for which nothing happens until a person says something."""
    for status in statuses:
        if status.job is None:
            continue
        if status.is_held:
            yield wrong(
                Check.HELD_ANSWERS,
                f"the answer to shard {status.shard.key} is held: {status.job.hold_reason}",
                way_out_of_hold(status.job),
            )
        elif is_given_up(status, max_job_attempts=max_job_attempts):
            why = status.job.error_message or "Gemini gave no reason"
            yield wrong(
                Check.GIVEN_UP_SHARDS,
                f"shard {status.shard.key} is given up after "
                f"{count(status.n_attempts, 'attempt')}: {why}",
                "`embedding-assets retry` and `embedding-assets reindex` send its requests again, "
                "or materialize this partition of batch_jobs",
            )


def _pending(shard: ShardRecord) -> str:
    have = "has" if shard.n_pending == 1 else "have"
    return f"{shard.n_pending:,} of its {count(shard.n_rows, 'request')} {have} no outcome"


def _judge_idle(shard: ShardRecord) -> Finding:
    requests = "its only request" if shard.n_rows == 1 else f"each of its {shard.n_rows:,} requests"
    message = f"shard {shard.key} is open, but {requests} has an outcome"
    if shard.may_be_owed:
        return wrong(Check.SHARD_STATES, message, "it is settled when its job is collected")
    repair = SettleShard(shard_key=shard.key)
    return wrong(Check.SHARD_STATES, message, f"{_REPAIR} settles it", repair)


def _judge_attempts(shard: ShardRecord) -> Iterator[Finding]:
    live = [job for job in shard.jobs if job.state in LIVE_STATES]
    if len(live) > 1:
        yield wrong(
            Check.ATTEMPTS,
            f"shard {shard.key} has {len(live)} attempts under way, one is allowed: "
            f"{some([f'attempt {job.attempt} ({job.state.value})' for job in live])}",
            "each may be paid for: cancel the jobs of the older attempts at Gemini",
        )
    for job in shard.jobs[:-1]:
        if job.state not in _ENDED_STATES and not (len(live) > 1 and job in live):
            yield wrong(
                Check.ATTEMPTS,
                f"{_words(job)}, but attempt {shard.jobs[-1].attempt} came after it",
                "its answer would be paid for and not collected: cancel its job at Gemini, if any",
            )
    for job in live:
        yield from _judge_live(shard, job)
    newest = shard.jobs[-1] if shard.jobs else None
    is_collected = newest is not None and newest.state is JobState.COLLECTED
    # What Gemini did not get to because of one text is halved at the next tick.
    is_halved = newest is not None and newest.is_refused_whole
    if is_collected and not is_halved and shard.n_pending and shard.state is ShardState.OPEN:
        yield wrong(
            Check.ATTEMPTS,
            f"shard {shard.key} was collected, but {_pending(shard)}",
            "nothing will submit them; run `embedding-assets reindex`: it gives the shard up and "
            "buys the texts that have no vector",
        )


def _judge_live(shard: ShardRecord, job: BatchJob) -> Iterator[Finding]:
    if job.job_name is None and job.state is not JobState.UNCONFIRMED:
        yield wrong(
            Check.ATTEMPTS,
            f"{_words(job)}, but the ledger has no name of its job",
            f"the next poll looks for {job.display_name!r} in Gemini's list; if it stays, "
            "restore index.db from a backup",
        )
    if shard.state is not ShardState.OPEN:
        yield wrong(
            Check.ATTEMPTS,
            f"{_words(job)}, but the shard is {shard.state.value}",
            f"nobody will collect its answer: cancel {job.job_name or 'its job'} at Gemini",
        )


def _words(job: BatchJob) -> str:
    return f"attempt {job.attempt} of shard {job.shard_key} is {job.state.value}"


def judge_failed_chunks(n_chunks: int) -> Iterator[Finding]:
    """Chunks that count as failed for a spec although their vector for it is there."""
    if n_chunks:
        yield wrong(
            Check.FAILED_CHUNKS,
            count(
                n_chunks,
                "chunk counts as failed although its vector is there",
                "chunks count as failed although their vectors are there",
            ),
            f"{_REPAIR} clears their failures",
            ClearFailures(),
        )


def judge_vectors(bad: Sequence[BadVector]) -> Iterator[Finding]:
    """Vectors that would spoil a search."""
    if bad:
        examples = some([f"chunk {vector.chunk_id} ({vector.flaw})" for vector in bad])
        yield wrong(
            Check.VECTORS,
            f"{count(len(bad), 'vector')} must not be served: {examples}",
            f"{_REPAIR} removes them; the next `embedding-assets reindex` buys their texts again",
            RemoveVectors(vectors=tuple(bad)),
        )


def judge_cut_texts(cut: CutTexts | None) -> Iterator[Finding]:
    """Texts that are found by their beginnings only."""
    if cut is not None:
        reach = count(cut.n_chunks, "published text reaches", "published texts reach")
        yield note(
            Check.CUT_TEXTS,
            f"{reach} the {cut.max_tokens:,} tokens that {cut.model} reads of one, for example in "
            f"{cut.uri!r}: what stands after them is not in the vector",
            "lower chunking.max_chars and reindex; `embedding-assets estimate` says what it costs",
        )


def judge_published(record: PublishedRecord | None) -> Iterator[Finding]:
    """What readers see against what was published."""
    if record is None:
        return
    as_recorded = (record.n_documents_recorded, record.n_chunks_recorded)
    if (record.n_documents, record.n_chunks) != as_recorded:
        yield wrong(
            Check.PUBLISHED,
            f"the published generation of {record.month} was made of "
            f"{count(record.n_documents_recorded, 'document')} and "
            f"{count(record.n_chunks_recorded, 'chunk')}, "
            f"it has {record.n_documents:,} and {record.n_chunks:,}",
            "run `embedding-assets reindex` to publish a new one, or restore index.db from a "
            "backup",
        )
    if record.n_lost:
        have = "has" if record.n_lost == 1 else "have"
        yield wrong(
            Check.PUBLISHED,
            f"{record.n_lost:,} of {count(record.n_chunks, 'chunk')} of the published generation "
            f"of {record.month} {have} neither a vector nor a failure",
            _REINDEX,
        )


def judge_gates_of(month: str, gates: Iterable[Gate]) -> Iterator[Finding]:
    """What keeps a month that is finished from its readers."""
    for gate in shut_gates(gates, allow=()):
        yield note(
            Check.SHUT_GATES,
            f"{month} is finished and not published: {gate.verdict}",
            f"readers see what they saw; `embedding-assets publish --allow {gate.name}` publishes "
            "it all the same",
        )


def judge_request_files(files: Iterable[RequestFile]) -> Iterator[Finding]:
    """JSONL files that are not what was, or will be, sent."""
    for file in files:
        if file.sha256 != file.job.requests_sha256:
            yield wrong(
                Check.REQUEST_FILES,
                f"{str(file.path)!r} is not what attempt {file.job.attempt} of shard "
                f"{file.job.shard_key} was made from: its sha256 is {file.sha256[:16]}…, the "
                f"ledger has {file.job.requests_sha256[:16]}…",
                f"{_REPAIR} deletes it; it is written again when it is needed",
                RemoveFiles(paths=(file.path,)),
            )


def judge_partial_files(paths: Sequence[Path]) -> Iterator[Finding]:
    """Files that a killed process was writing."""
    if paths:
        yield note(
            Check.PARTIAL_FILES,
            f"{count(len(paths), 'unfinished file')} of processes that are gone: "
            f"{some([str(path) for path in paths])}",
            f"{_REPAIR} deletes them",
            RemoveFiles(paths=tuple(paths)),
        )
