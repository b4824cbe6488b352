"""The doctor on Gemini's side: what it finds there, what it cancels and deletes, what it leaves."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as HttpRoute

from embedding_assets.doctor.examine import examine
from embedding_assets.doctor.findings import Check, Report, Severity
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.errors import (
    KeyUnusableError,
    OutcomeUnknownError,
    RateLimitedError,
    SettingsError,
)
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.model.batch_jobs import BatchJob, JobState, RemoteFile
from embedding_assets.model.shards import Shard
from tests.factories import NOW, SPEC
from tests.integration.world import GRACE, Switchboard, World, notes

REQUESTS = [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": SPEC.dimensions}]
SLOW = EmulatorSettings(latency_s=100)


def report_on(world: World, *, repair: bool = False) -> Report:
    """The doctor's report with Gemini asked."""

    def connect() -> AbstractContextManager[GeminiClient]:
        return nullcontext(world.gemini)

    return examine(world.index, world.settings, connect=connect, repair=repair, now=NOW)


def said(report: Report) -> list[tuple[Check, str]]:
    """Each finding's check and words."""
    return [(finding.check, finding.message) for finding in report.findings]


def put_job(world: World, display_name: str) -> str:
    """A job at Gemini that nobody here has created; its name."""
    batch = world.emulator.create_batch_inlined(SPEC.model, display_name, REQUESTS)
    return f"batches/{batch.batch_id}"


def states(world: World) -> dict[str, JobState]:
    """Gemini's jobs by name."""
    return {job.name: job.state for job in world.gemini.list_jobs()}


@pytest.fixture
def shard(world: World) -> Shard:
    """A shard of five requests, planned and not submitted."""
    [planned] = world.plan(world.build(notes(range(5))))
    return planned


@pytest.fixture
def prefix(world: World) -> str:
    """How the display names of this index begin."""
    return f"embedding-assets/{world.index.identity.index_id}"


def test_a_reindex_leaves_nothing_at_gemini(world: World) -> None:
    """After a whole reindex there is nothing to say, and Gemini was asked."""
    world.reindex(notes(range(6)))
    assert report_on(world) == Report(findings=())


def test_a_job_under_way_is_in_order(world: World, shard: Shard) -> None:
    """A live job, its file, and its answer before collection are as they should be."""
    world.emulator.settings = SLOW
    world.submit(shard)
    assert report_on(world) == Report(findings=())


def test_jobs_and_files_of_others_are_left_alone(world: World, tmp_path: Path) -> None:
    """Another index's or another program's jobs and files are not ours to judge."""
    world.emulator.settings = SLOW
    (tmp_path / "theirs.jsonl").write_bytes(b"{}\n")
    for name in ("embedding-assets/00000000/2026-11-0001/1/ab", "somebody else's", ""):
        put_job(world, name)
        world.gemini.upload(tmp_path / "theirs.jsonl", display_name=name or "none")
    assert report_on(world, repair=True) == Report(findings=())
    assert set(states(world).values()) == {JobState.PENDING}
    assert len(list(world.gemini.list_files())) == 3


def test_an_orphan_is_left_alone(world: World, prefix: str) -> None:
    """A live job that the ledger does not know may be another index's: that is said, no more."""
    world.emulator.settings = SLOW
    job_name = put_job(world, f"{prefix}/2026-11-0099/1/abcdef")
    expected = [
        (
            Check.ORPHANED_JOBS,
            f"{job_name} is under way at Gemini, and the ledger does not know "
            f"'{prefix}/2026-11-0099/1/abcdef'",
        )
    ]
    report = report_on(world, repair=True)
    assert (said(report), report.n_wrong) == (expected, 1)
    assert states(world) == {job_name: JobState.PENDING}
    assert "adopt-index" in report.findings[0].next_step
    world.index.identity.take_over(now=NOW)
    assert (said(report_on(world, repair=True)), report_on(world).n_wrong) == (expected, 0)
    assert states(world) == {job_name: JobState.PENDING}


def put_aside(world: World, shard: Shard) -> BatchJob:
    """An attempt of which Gemini refused a create call and took the next one."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=429, times=1)
    with pytest.raises(RateLimitedError):
        world.submit(shard)
    return world.submit(shard, now=NOW + GRACE)


def test_a_second_job_of_an_attempt_is_cancelled(world: World, shard: Shard) -> None:
    """The ledger's own job goes on."""
    world.emulator.settings = SLOW
    job = put_aside(world, shard)
    second = put_job(world, job.display_name)
    report = report_on(world, repair=True)
    assert said(report) == [
        (
            Check.DUPLICATE_JOBS,
            f"{second} is under way at Gemini for attempt 1 of shard 2026-11-0001, which is "
            f"pending in the ledger, with another job, {job.job_name}",
        )
    ]
    assert states(world) == {second: JobState.CANCELLED, job.job_name: JobState.PENDING}
    assert report_on(world) == Report(findings=())


def test_a_second_job_that_may_be_another_indexs_is_left_alone(world: World, shard: Shard) -> None:
    """One create call makes one job: a namesake of it says that somebody else made it."""
    world.emulator.settings = SLOW
    job = world.submit(shard)
    second = put_job(world, job.display_name)
    [finding] = report_on(world, repair=True).findings
    assert (finding.check, finding.is_wrong) == (Check.DUPLICATE_JOBS, True)
    assert "adopt-index" in finding.next_step
    assert states(world) == {second: JobState.PENDING, job.job_name: JobState.PENDING}


def test_a_second_answer_can_only_be_reported(world: World, shard: Shard) -> None:
    """What was paid for twice is said, with what to do so that it is not said for ever."""
    job = world.submit(shard)
    world.finish(shard)
    second = put_job(world, job.display_name)
    world.emulator.wait_idle()
    report = report_on(world, repair=True)
    assert (said(report), report.n_wrong) == (
        [
            (
                Check.DUPLICATE_JOBS,
                f"{second} was answered and paid for, for attempt 1 of shard 2026-11-0001, which "
                f"is collected in the ledger, with another job, {job.job_name}",
            )
        ],
        1,
    )


def unconfirmed(world: World, shard: Shard) -> BatchJob:
    """An attempt whose create call was carried out and not answered."""
    world.emulator.settings = SLOW
    world.strike(FaultKind.CREATE_THEN_DROP, times=1)
    with pytest.raises(OutcomeUnknownError):
        world.submit(shard)
    return world.job(shard)


def test_a_job_that_the_next_poll_adopts_is_a_note(world: World, shard: Shard) -> None:
    """An unconfirmed attempt whose job is there is neither wrong nor repaired."""
    unconfirmed(world, shard)
    [job_name] = states(world)
    report = report_on(world, repair=True)
    assert said(report) == [
        (
            Check.LATE_JOBS,
            f"attempt 1 of shard 2026-11-0001 is unconfirmed, and Gemini has its job {job_name}",
        )
    ]
    assert (report.n_wrong, report.findings[0].severity) == (0, Severity.NOTE)
    assert world.poll().adopted == [shard.key]
    assert report_on(world) == Report(findings=())


def test_two_jobs_of_an_unconfirmed_attempt(world: World, shard: Shard) -> None:
    """The poll adopts one of them first; only then the doctor cancels the other, if it is ours."""
    job = unconfirmed(world, shard)
    job = world.index.jobs.move(job, JobState.RESERVED, released_at=NOW)
    job = world.index.jobs.move(job, JobState.UNCONFIRMED, unconfirmed_at=NOW)
    second = put_job(world, job.display_name)
    [finding] = report_on(world, repair=True).findings
    assert (finding.check, finding.repaired) == (Check.DUPLICATE_JOBS, None)
    assert set(states(world).values()) == {JobState.PENDING}
    world.index.jobs.move(job, JobState.PENDING, job_name=second)
    report_on(world, repair=True)
    assert sorted(states(world).values()) == [JobState.CANCELLED, JobState.PENDING]
    assert states(world)[second] is JobState.PENDING


def test_a_job_that_gemini_lost(world: World, shard: Shard) -> None:
    """A job that the ledger waits for and Gemini does not know is said; the poll sees to it."""
    world.emulator.settings = SLOW
    job = world.submit(shard)
    assert job.job_name is not None
    dead = put_job(world, job.display_name)
    world.gemini.cancel_job(dead)
    world.emulator.batches.delete(job.job_name.removeprefix("batches/"))
    report = report_on(world, repair=True)
    assert said(report)[0] == (
        Check.LOST_JOBS,
        f"attempt 1 of shard 2026-11-0001 is pending, but Gemini does not know {job.job_name}",
    )
    world.poll(now=NOW + GRACE)
    assert world.state(shard) is JobState.FAILED


def test_an_answer_that_the_ledger_gave_up(world: World, shard: Shard) -> None:
    """A job that succeeded although its attempt counts as failed was paid for and is not lost."""
    job = world.submit(shard)
    world.emulator.wait_idle()
    world.index.jobs.move(job, JobState.FAILED, error_message="it seemed so")
    report = report_on(world)
    assert said(report)[0] == (
        Check.UNCOLLECTED_JOBS,
        f"attempt 1 of shard 2026-11-0001 is failed in the ledger, but {job.job_name} succeeded "
        "at Gemini",
    )
    assert report.n_wrong == 1


def test_files_that_nobody_needs_are_deleted(
    world: World, shard: Shard, prefix: str, tmp_path: Path
) -> None:
    """A file of an attempt that is over goes; the one that a live attempt was made from stays."""
    world.emulator.settings = SLOW
    job = world.submit(shard)
    (tmp_path / "left.jsonl").write_bytes(b'{"key": "chunk_1"}\n')
    names = [
        world.gemini.upload(tmp_path / "left.jsonl", display_name=display_name)
        for display_name in (f"{prefix}/2026-10-0001/1/ab", job.display_name)
    ]
    report = report_on(world, repair=True)
    assert said(report) == [
        (
            Check.REMOTE_FILES,
            "2 uploaded files (38 bytes) are left at Gemini that nobody needs: "
            f"{names[1]}, {names[0]}",
        )
    ]
    assert (report.n_wrong, report.findings[0].repaired) == (0, "2 files are deleted at Gemini")
    assert [file.name for file in world.gemini.list_files()] == [job.input_file_name]
    assert report_on(world) == Report(findings=())


def test_a_repair_that_gemini_does_not_answer(world: World, shard: Shard) -> None:
    """A cancellation that fails leaves its finding as wrong as it was."""
    world.emulator.settings = SLOW
    put_job(world, put_aside(world, shard).display_name)
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CANCEL, status=403, message="not yours")
    report = report_on(world, repair=True)
    assert report.n_wrong == 1
    next_step = report.findings[0].next_step
    assert "could not be repaired (Gemini does not let this API key do that" in next_step
    assert "cancellation of batches/" in next_step
    assert "not yours" in next_step


@pytest.mark.parametrize("endpoint", [Endpoint.LIST, Endpoint.FILES_LIST])
def test_a_gemini_that_does_not_answer_is_not_looked_at(world: World, endpoint: Endpoint) -> None:
    """That is said with the reason, is not wrong, and what was found here is still reported."""
    world.reindex(notes(range(6)))
    world.strike(FaultKind.CALL_ERROR, endpoint=endpoint, status=503, message="on holiday")
    report = report_on(world)
    assert (report.findings, report.n_wrong) == ((), 0)
    assert report.not_looked_at is not None
    assert "on holiday" in report.not_looked_at


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_key_that_gemini_refuses_is_wrong(world: World, status: int) -> None:
    """What became of the jobs cannot be known until a person does something about it."""
    world.reindex(notes(range(6)))
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.LIST, status=status, message="no entry")
    report = report_on(world)
    assert [(finding.check, finding.is_wrong) for finding in report.findings] == [
        (Check.ACCESS, True)
    ]
    assert report.not_looked_at is not None
    assert report.not_looked_at in report.findings[0].message
    assert "no entry" in report.not_looked_at


def test_a_key_that_cannot_be_one_is_wrong(world: World) -> None:
    """It keeps us from asking, and goes on doing so."""

    def connect() -> AbstractContextManager[GeminiClient]:
        raise KeyUnusableError("GEMINI_API_KEY cannot be an API key")

    report = examine(world.index, world.settings, connect=connect, repair=True, now=NOW)
    assert [finding.check for finding in report.findings] == [Check.ACCESS]
    assert report.n_wrong == 1


def test_without_a_key_gemini_is_not_looked_at(world: World) -> None:
    """What keeps us from connecting is the reason that is given."""

    def connect() -> AbstractContextManager[GeminiClient]:
        raise SettingsError("GEMINI_API_KEY is not set")

    report = examine(world.index, world.settings, connect=connect, repair=True, now=NOW)
    assert report == Report(findings=(), not_looked_at="GEMINI_API_KEY is not set")


def test_files_are_listed_page_by_page(world: World, switchboard: Switchboard) -> None:
    """A page without files but with a token is not the end."""
    pages: dict[str, dict[str, object]] = {
        "": {"nextPageToken": "a+b"},
        "a+b": {
            "files": [{"name": "files/1", "displayName": "ours", "sizeBytes": "12"}],
            "nextPageToken": "last",
        },
        "last": {"files": [{"name": "files/2", "createTime": "2026-11-23T03:00:00Z"}]},
    }

    async def page(request: Request) -> Response:
        return JSONResponse(pages[request.query_params["pageToken"]])

    switchboard.app = Starlette(routes=[HttpRoute("/v1beta/files", page)])
    assert list(world.gemini.list_files()) == [
        RemoteFile(name="files/1", display_name="ours", n_bytes=12, created_at=None),
        RemoteFile(name="files/2", display_name="", n_bytes=0, created_at=NOW),
    ]
