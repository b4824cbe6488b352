"""Faults of the jobs' list: pages that overlap, repeat, are no pages, or have odd entries."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from embedding_assets.emulator.faults.kinds import FaultKind
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.server import Emulator

Page = dict[str, Any]


@pytest.fixture
def jobs(submit_locally: Callable[..., str]) -> list[str]:
    """Names of five jobs, newest first."""
    return [f"batches/{submit_locally([f'text {n}'])}" for n in range(5)][::-1]


@pytest.fixture
def struck(emulator: Emulator, http: httpx2.Client) -> Callable[[FaultKind], list[Page]]:
    """The pages of a list under a fault, ten at the most."""

    def pages(kind: FaultKind) -> list[Page]:
        emulator.state.faults.add(Fault(kind=kind))
        found: list[Page] = []
        token: str | None = ""
        while token is not None and len(found) < 10:
            found.append(http.get("/v1beta/batches", params={"pageToken": token}).json())
            token = found[-1].get("nextPageToken")
        return found

    return pages


def names(page: Page) -> list[str]:
    return [job["name"] for job in page["operations"]]


def test_pages_that_overlap(jobs: list[str], struck: Callable[[FaultKind], list[Page]]) -> None:
    """Each page begins with the last job of the one before; together they have all."""
    pages = [names(page) for page in struck(FaultKind.LIST_OVERLAP)]
    assert pages == [jobs[0:2], jobs[1:3], jobs[2:4], jobs[3:5]]


def test_every_job_twice(jobs: list[str], struck: Callable[[FaultKind], list[Page]]) -> None:
    """One page has each of them two times."""
    [page] = struck(FaultKind.LIST_DOUBLED)
    assert names(page) == [name for name in jobs for _ in range(2)]


def test_a_page_that_repeats(jobs: list[str], struck: Callable[[FaultKind], list[Page]]) -> None:
    """However often it is asked for, the next page is the same, and so is its token."""
    pages = struck(FaultKind.LIST_REPEATS)
    assert [names(page) for page in pages] == [jobs] * 10
    assert len({page["nextPageToken"] for page in pages}) == 1


def test_null_instead_of_jobs(jobs: list[str], struck: Callable[[FaultKind], list[Page]]) -> None:
    """The page has its field, and nothing in it."""
    assert struck(FaultKind.LIST_NULL) == [{"operations": None}]


def test_odd_entries(jobs: list[str], struck: Callable[[FaultKind], list[Page]]) -> None:
    """They come before ours, which are as ever."""
    [page] = struck(FaultKind.LIST_FOREIGN)
    assert names({"operations": page["operations"][-5:]}) == jobs
    assert None in page["operations"]


def test_a_creation_that_is_refused_and_carried_out(
    client: genai.Client, emulator: Emulator, submit: Callable[..., types.BatchJob]
) -> None:
    """Its creator gets a 429, and the list has the job."""
    emulator.state.faults.add(Fault(kind=FaultKind.CREATE_REFUSED_LATE, times=1))
    with pytest.raises(errors.ClientError) as refusal:
        submit(["text"], display_name="refused")
    assert refusal.value.code == 429
    assert [job.display_name for job in client.batches.list()] == ["refused"]
