"""The canary: three requests, what it says of the answers, and that it leaves nothing behind."""

from collections.abc import Callable, Iterator

import pytest

from embedding_assets.doctor.canary import CanaryReport, Comparison, send_canary
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.settings import EmulatorSettings
from embedding_assets.model.batch_jobs import JobState
from tests.integration.world import StandingClock, World


@pytest.fixture
def sing(world: World, clock: StandingClock) -> Callable[..., CanaryReport]:
    """Send a canary; while it waits, the emulator's time goes by and nobody else's."""

    def sleep(seconds: float) -> None:
        world.emulator.wait_idle()
        clock.advance(seconds)

    def sung(max_wait_s: float = 60.0) -> CanaryReport:
        return send_canary(world.gemini, world.settings, sleep=sleep, max_wait_s=max_wait_s)

    return sung


@pytest.fixture(autouse=True)
def leaves_nothing(world: World) -> Iterator[None]:
    """Whatever a canary met: no file and no living job is left, and no name looks like ours."""
    yield
    world.emulator.faults.clear()
    assert list(world.gemini.list_files()) == []
    for job in world.gemini.list_jobs():
        assert job.state not in (JobState.PENDING, JobState.RUNNING)
        assert job.display_name.startswith("embedding-assets-canary/")


def unexpected(report: CanaryReport) -> list[tuple[Comparison, str]]:
    """What was not as assumed."""
    return [
        (o.verdict, o.answer) for o in report.observations if o.verdict is not Comparison.AS_ASSUMED
    ]


def test_the_emulator_is_as_assumed(world: World, sing: Callable[..., CanaryReport]) -> None:
    """Every assumption is looked at; it says that it was the emulator's answer."""
    world.emulator.settings = EmulatorSettings(latency_s=10)
    report = sing()
    assert unexpected(report) == []
    assert [o.assumption.partition(",")[0] for o in report.observations] == [
        "v1beta takes a JSONL file and makes a batch job of it",
        "a new job is in the list at once",
        "the list begins with the newest job",
        "a job with a bad request among good ones succeeds",
        "a job that succeeded names its result file",
        "a result file is JSONL with one line a request",
        "a vector is at response.embedding.values and has the 8 values asked for as "
        "outputDimensionality",
        "gemini-embedding-001 gives vectors of 8 values without length 1 (they are scaled in any "
        "case)",
        "response.tokenCount has the tokens billed",
        "a request with an empty text is answered by a line with error.code 3",
        "collection makes two vectors and one failure of it",
        "an uploaded file can be deleted",
    ]
    assert (report.is_live, report.n_unexpected) == (False, 0)
    assert world.emulator.bill().requests == 2


def test_a_stuck_job_is_a_verdict(world: World, sing: Callable[..., CanaryReport]) -> None:
    """After a bounded time the job is named and its cancellation asked for."""
    world.strike(FaultKind.JOB_STUCK)
    report = sing(max_wait_s=300)
    [job] = world.gemini.list_jobs()
    assert unexpected(report) == [
        (
            Comparison.NOT_SEEN,
            f"{job.name} is still BATCH_STATE_RUNNING; its cancellation is asked for",
        )
    ]
    assert job.state is JobState.CANCELLED


def test_a_refusal_is_a_verdict(world: World, sing: Callable[..., CanaryReport]) -> None:
    """A service that does not take the file says so in the report."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.CREATE, status=400, message="no such API")
    [(verdict, answer)] = unexpected(sing())
    assert verdict is Comparison.DIFFERENT
    assert answer.startswith("creation of batch job embedding-assets-canary/")
    assert answer.endswith("Gemini answered 400 INVALID_ARGUMENT: no such API")


def test_a_job_of_unknown_outcome_is_cancelled(
    world: World, sing: Callable[..., CanaryReport]
) -> None:
    """A creation that was not answered leaves no job behind, either."""
    world.emulator.settings = EmulatorSettings(latency_s=100)
    world.strike(FaultKind.CREATE_THEN_DROP, times=1)
    [(verdict, answer)] = unexpected(sing())
    assert verdict is Comparison.NOT_SEEN
    assert answer.startswith("creation of batch job embedding-assets-canary/")


def test_a_failed_job_is_a_verdict(world: World, sing: Callable[..., CanaryReport]) -> None:
    """Without results there is nothing more to compare."""
    world.strike(FaultKind.JOB_FAILED, message="the mine caved in")
    assert unexpected(sing()) == [
        (Comparison.DIFFERENT, "BATCH_STATE_FAILED after 0 s: the mine caved in")
    ]


def test_other_result_lines_are_a_verdict(world: World, sing: Callable[..., CanaryReport]) -> None:
    """A vector of another length is said where it was assumed otherwise."""
    world.strike(FaultKind.WRONG_DIMENSION, match="A canary sings", times=1)
    assert unexpected(sing()) == [
        (Comparison.DIFFERENT, "[7, 8] values"),
        (Comparison.DIFFERENT, "1 vector, 2 failures: ['BAD_VECTOR', 'INVALID_ARGUMENT']"),
    ]


def test_a_download_that_fails_is_a_verdict(
    world: World, sing: Callable[..., CanaryReport]
) -> None:
    """A result that cannot be had is not seen, and everything else is cleaned up."""
    world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.DOWNLOAD, status=503, message="later")
    [(verdict, answer)] = unexpected(sing())
    assert verdict is Comparison.NOT_SEEN
    assert "later" in answer
