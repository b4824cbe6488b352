"""From an index and Gemini's side of it to a report, and the repairs that are safe.

Belongs here: what is looked at in which order, and doing what a repair says.
Does not belong here: judging (index_side.py, gemini_side.py).
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from embedding_assets.doctor import index_side
from embedding_assets.doctor.findings import (
    CancelJob,
    ClearFailures,
    CountByEstimate,
    DeleteRemoteFiles,
    Finding,
    RemoveFiles,
    RemoveVectors,
    Repair,
    Report,
    SettleShard,
)
from embedding_assets.doctor.gemini_side import RemoteSide, judge_access, judge_remote
from embedding_assets.doctor.index_side import RequestFile
from embedding_assets.errors import EmbeddingAssetsError, GeminiError
from embedding_assets.files import writer_of
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.gemini.connection import is_alive
from embedding_assets.model.batch_jobs import LIVE_STATES, JobState, is_under
from embedding_assets.pipeline.adoption import evidence, take_sight
from embedding_assets.pipeline.plan import estimate_tokens
from embedding_assets.pipeline.publish import look_at_gates
from embedding_assets.settings.values import Settings
from embedding_assets.store.checkup import ShardRecord
from embedding_assets.store.index import Index
from embedding_assets.wording import count

Connect = Callable[[], AbstractContextManager[GeminiClient]]

OFFLINE = "--offline was asked for"

# Its writer may be on another machine, or in another container, where ids mean other processes.
_ABANDONED_AFTER = timedelta(hours=1)


def examine(
    index: Index, settings: Settings, *, connect: Connect | None, repair: bool, now: datetime
) -> Report:
    """Check every promise, here and at Gemini, and repair what is safe if asked to.

    Without ``connect``, or if nobody can be reached by it, Gemini's side is not looked at and
    the report says why.
    """
    broken = list(index_side.judge_integrity(index.checkup.integrity_problems()))
    if broken:
        why = "the ledger cannot be trusted while the index file is broken"
        return Report(findings=tuple(broken), not_looked_at=why)
    findings = list(_examine_index(index, settings))
    findings += _examine_gates(index, settings, now)
    findings += _examine_files(index, settings, now)
    if repair:
        findings = [_repaired(finding, lambda r: _repair_here(index, r)) for finding in findings]
    if connect is None:
        return Report(findings=tuple(findings), not_looked_at=OFFLINE)
    try:
        with connect() as gemini:
            findings += _examine_gemini(index, gemini, repair=repair)
    except EmbeddingAssetsError as exc:
        findings += judge_access(exc)
        return Report(findings=tuple(findings), not_looked_at=str(exc))
    return Report(findings=tuple(findings))


def _examine_index(index: Index, settings: Settings) -> Iterator[Finding]:
    checkup = index.checkup
    yield from index_side.judge_identity(index.identity.doubt)
    yield from index_side.judge_references(checkup.broken_references())
    yield from index_side.judge_states(checkup.unknown_states())
    for shard in checkup.shards():
        yield from index_side.judge_shard(shard)
    yield from index_side.judge_standstill(
        index.jobs.ledger().statuses, max_job_attempts=settings.limits.max_job_attempts
    )
    yield from index_side.judge_failed_chunks(checkup.count_embedded_failures())
    yield from index_side.judge_vectors(checkup.bad_vectors())
    yield from index_side.judge_cut_texts(checkup.cut_texts())
    yield from index_side.judge_published(checkup.published())


def _examine_gates(index: Index, settings: Settings, now: datetime) -> Iterator[Finding]:
    building = index.generations.building()
    if building is None or building.planned_at is None:
        return
    progress = index.generations.progress(building, limits=settings.limits)
    if not progress.n_pending and not progress.n_unplanned:
        gates = look_at_gates(index, building, progress, settings, now=now)
        yield from index_side.judge_gates_of(building.month, gates)


def _examine_files(index: Index, settings: Settings, now: datetime) -> Iterator[Finding]:
    files = _request_files(index.checkup.shards(), settings.shards_dir)
    yield from index_side.judge_request_files(files)
    yield from index_side.judge_partial_files(sorted(_left_partial_files(settings, now)))


def _request_files(shards: list[ShardRecord], shards_dir: Path) -> Iterator[RequestFile]:
    """The JSONL files that a reserved or live attempt has on disk; one that is not is no harm."""
    for shard in shards:
        path = shards_dir / f"{shard.key}.jsonl"
        newest = shard.jobs[-1] if shard.jobs else None
        if newest is None or newest.state not in LIVE_STATES | {JobState.RESERVED}:
            continue
        if path.exists():
            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            yield RequestFile(path=path, sha256=sha256, job=newest)


def _left_partial_files(settings: Settings, now: datetime) -> Iterator[Path]:
    for directory in (settings.snapshots_dir, settings.shards_dir, settings.results_dir):
        for path in directory.glob(".*.partial"):
            writer = writer_of(path)
            with suppress(FileNotFoundError):  # its writer has finished meanwhile
                is_old = now.timestamp() - path.stat().st_mtime >= _ABANDONED_AFTER.total_seconds()
                if writer is not None and is_old and not is_alive(writer):
                    yield path


def _examine_gemini(index: Index, gemini: GeminiClient, *, repair: bool) -> list[Finding]:
    """Gemini's side; raises GeminiError if it cannot be listed."""
    index_id = index.identity.index_id
    job_list, file_list = gemini.list_jobs(), gemini.list_files()
    listed = list(job_list)
    jobs = tuple(job for job in listed if is_under(job, index_id))
    files = tuple(file for file in file_list if is_under(file, index_id))
    # After the lists: what they have is on record by now.
    shards = index.checkup.shards()
    awaited = {
        job.job_name
        for shard in shards
        for job in shard.jobs
        if job.job_name and job.state in LIVE_STATES
    }
    unlisted = awaited - {job.name for job in listed}
    unknown = frozenset(name for name in unlisted if gemini.get_job(name) is None)
    sight = take_sight(index, jobs)
    remote = RemoteSide(
        sight=sight,
        evidence=evidence(index, sight, provider=gemini.provider),
        is_in_doubt=index.identity.doubt is not None,
        files=files,
        unknown_names=unknown,
        is_elsewhere=bool(awaited) and awaited == unknown and not jobs,
        problems=(*job_list.problems, *file_list.problems),
    )
    findings = list(judge_remote(shards, remote))
    if repair:
        return [_repaired(finding, lambda r: _repair_there(gemini, r)) for finding in findings]
    return findings


def _repaired(finding: Finding, perform: Callable[[Repair], str]) -> Finding:
    """The finding after its repair, if it has one; one that fails leaves it as wrong as it is."""
    if finding.repair is None:
        return finding
    try:
        return replace(finding, repaired=perform(finding.repair))
    except (GeminiError, OSError) as exc:
        return replace(finding, next_step=f"it could not be repaired ({exc}); try again later")


def _repair_here(index: Index, repair: Repair) -> str:
    """Do it, once or again; what was done, in words."""
    match repair:
        case SettleShard(shard_key=key):
            is_done = index.checkup.settle(key)
            return "it is settled" if is_done else "it changed meanwhile and was left alone"
        case ClearFailures():
            n_cleared = index.checkup.clear_embedded_failures()
            return f"the failures of {count(n_cleared, 'chunk')} are cleared"
        case CountByEstimate(shard_key=key):
            n_counted = _count_by_estimate(index, key)
            return count(n_counted, "request is counted", "requests are counted") + " by estimate"
        case RemoveVectors(vectors=vectors):
            return count(
                index.checkup.remove_vectors(vectors),
                "vector is removed; the next reindex buys its text again",
                "vectors are removed; the next reindex buys their texts again",
            )
        case RemoveFiles(paths=paths):
            for path in paths:
                path.unlink(missing_ok=True)
            return "deleted"
    raise ValueError(f"{repair!r} is not a repair of the index")


def _count_by_estimate(index: Index, shard_key: str) -> int:
    spec = index.shards.get(shard_key).spec
    tokens = estimate_tokens(index, spec, index.checkup.unbilled(shard_key))
    return index.checkup.count_by_estimate(shard_key, tokens)


def _repair_there(gemini: GeminiClient, repair: Repair) -> str:
    """Ask Gemini for it, once or again; what was asked, in words."""
    match repair:
        case CancelJob(job_name=name):
            gemini.cancel_job(name)
            return f"the cancellation of {name} was asked for"
        case DeleteRemoteFiles(names=names):
            for name in names:
                gemini.delete_file(name)
            return f"{count(len(names), 'file is', 'files are')} deleted at Gemini"
    raise ValueError(f"{repair!r} is not a repair at Gemini")
