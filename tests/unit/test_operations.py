"""What Gemini's JSON says of a job: read in any shape, and never a reason to stop."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.gemini.listing import Listing
from embedding_assets.gemini.operations import UnreadableError, read_file, read_job
from embedding_assets.model.batch_jobs import RemoteJob
from tests.factories import NOW

OURS = "embedding-assets/1a2b3c4d/2026-11-0003/1/0011223344556677"


def an_operation(**metadata: Any) -> dict[str, Any]:
    return {"name": "batches/abc", "metadata": {"displayName": OURS, **metadata}}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2026-11-23T03:00:00Z", NOW),
        ("2026-11-23T03:00:00", NOW),  # without a zone
        ("2026-11-23T05:00:00+02:00", NOW),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),  # before all time, in UTC
        (1_790_000_000, None),
        ({"seconds": 12}, None),
        (None, None),
    ],
)
def test_a_time_is_aware_or_none(said: object, expected: datetime | None) -> None:
    """What has no zone is UTC; what is no time leaves the rest of the job as it is."""
    job = read_job(an_operation(createTime=said, endTime=said, state="BATCH_STATE_RUNNING"))
    assert job is not None
    assert (job.created_at, job.ended_at, job.state.value) == (expected, expected, "running")
    assert expected is None or (job.created_at is not None and job.created_at.tzinfo is UTC)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("7", 7),
        (7, 7),
        ("0", 0),
        (None, None),
        ("many", None),
        (-1, None),
        (True, None),
        ([], None),
    ],
)
def test_how_many_requests_were_answered(said: object, expected: int | None) -> None:
    """A number or its digits; anything else says nothing."""
    job = read_job(an_operation(batchStats={"successfulRequestCount": said}))
    assert job is not None
    assert job.n_answered == expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": 3, "message": "no"}, "INVALID_ARGUMENT"),
        ({"code": 400, "status": "INVALID_ARGUMENT", "message": "no"}, "INVALID_ARGUMENT"),
        ({"code": 999}, "UNKNOWN"),
        ("no", "UNKNOWN"),
        (None, None),
    ],
)
def test_why_a_job_failed(error: object, code: str | None) -> None:
    """The code by its number or its name, as google.rpc has them."""
    job = read_job({**an_operation(state="BATCH_STATE_FAILED"), "error": error, "done": True})
    assert job is not None
    assert (job.error_code, job.error_message is None) == (code, error is None)


ANSWERS = [{"response": {"embedding": {"values": [1.0]}}}]


@pytest.mark.parametrize(
    "operation",
    [
        {"response": {"inlinedResponses": {"inlinedResponses": ANSWERS}}},
        {"response": {"inlinedEmbedContentResponses": {"inlinedResponses": ANSWERS}}},
        {"response": {"output": {"inlinedResponses": ANSWERS}}},
        {"metadata": {"output": {"inlinedEmbedContentResponses": ANSWERS}}},
    ],
)
def test_answers_in_the_operation_have_the_jobs_name(operation: dict[str, Any]) -> None:
    """Where there is no file, the job itself is where the results are."""
    metadata = an_operation(state="BATCH_STATE_SUCCEEDED")["metadata"]
    metadata |= operation.get("metadata", {})
    job = read_job({"name": "batches/abc", **operation, "metadata": metadata, "done": True})
    assert job is not None
    assert (job.result_file_name, job.has_output) == ("batches/abc", True)


def test_a_result_file_counts_before_answers_in_the_operation() -> None:
    """One that is named has all of them."""
    output = {"responsesFile": "files/batch-abc", "inlinedResponses": ANSWERS}
    job = read_job({**an_operation(state="BATCH_STATE_SUCCEEDED"), "response": output})
    assert job is not None
    assert (job.result_file_name, job.has_output) == ("files/batch-abc", True)


@pytest.mark.parametrize("read", [read_job, read_file])
@pytest.mark.parametrize(
    "entry", [None, 7, "batches/abc", [], {}, {"name": None}, {"name": ["a"], "metadata": "odd"}]
)
def test_what_cannot_be_read_and_is_not_ours_is_nothing(read: Any, entry: object) -> None:
    """It is left out, without a word."""
    assert read(entry) is None


def test_one_of_ours_that_cannot_be_read_is_an_error() -> None:
    """It may be the one that is looked for."""
    with pytest.raises(UnreadableError, match=r"batch job 'embedding-assets/.*' without a name"):
        read_job({"metadata": {"displayName": OURS}})
    with pytest.raises(UnreadableError, match="file"):
        read_file({"displayName": OURS, "name": 7})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = ("name", "metadata", "error", "response", "done", "state")
INNER = ("displayName", "state", "output", "createTime", "endTime", "batchStats", "model", "name")


@given(
    st.dictionaries(st.sampled_from(FIELDS), anything),
    st.dictionaries(st.sampled_from(INNER), anything),
)
def test_no_operation_is_a_reason_to_stop(
    operation: dict[str, object], metadata: dict[str, object]
) -> None:
    """Whatever stands in it, it is a job, or nothing, or one of ours that cannot be read."""
    try:
        job = read_job(
            {**operation, "name": operation.get("name", "batches/a"), "metadata": metadata}
        )
    except UnreadableError:
        return
    assert job is None or (isinstance(job, RemoteJob) and job.name)


# --- pages ------------------------------------------------------------------------------------


def a_listing(*pages: dict[str, Any]) -> Listing[RemoteJob]:
    """A list of these pages, the last of which comes again and again."""
    asked: list[str] = []

    def fetch(token: str) -> dict[str, Any]:
        asked.append(token)
        return pages[min(len(asked), len(pages)) - 1]

    return Listing("operations", fetch, read_job)


def a_page(*names: str, token: object = None) -> dict[str, Any]:
    return {"operations": [{"name": name} for name in names], "nextPageToken": token}


def test_each_entry_comes_once() -> None:
    """Pages that overlap, and entries that are listed twice, are one job each, by its name."""
    listing = a_listing(a_page("a", "b", "b", token="1"), a_page("b", "c"))
    assert ([job.name for job in listing], listing.problems) == (["a", "b", "c"], [])


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        ([a_page("a", token="1"), a_page("b", token="1")], "was read already after 2 entries"),
        ([a_page("a", token=7)], "names a next page by int"),
        ([{"operations": None}], "has NoneType for entries"),
        ([{"operations": {"name": "a"}}], "has dict for entries"),
        ([{"operations": [None, "a"]}], "none of the 2 entries of a page can be read"),
    ],
)
def test_a_list_that_cannot_be_read_to_its_end(pages: list[dict[str, Any]], why: str) -> None:
    """Reading stops, and there is one problem that says why."""
    listing = a_listing(*pages)
    list(listing)
    [problem] = listing.problems
    assert why in problem


def test_a_list_without_end() -> None:
    """Always another token, and nothing new: it is left after a number of pages."""
    n_pages = 0

    def fetch(token: str) -> dict[str, Any]:
        nonlocal n_pages
        n_pages += 1
        return a_page("a", token=f"{token}+")

    listing = Listing("operations", fetch, read_job)
    assert [job.name for job in listing] == ["a"]
    assert ("nothing new on 20 pages" in listing.problems[0], n_pages) == (True, 21)
