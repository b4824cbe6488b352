"""Specs: what a model is sent for a text and for a query."""

from dataclasses import replace

import pytest

from embedding_assets.model.passages import Passage
from tests.factories import SPEC

PLAIN = replace(SPEC, model="gemini-embedding-001")
PROMPTED = replace(SPEC, model="gemini-embedding-2")


def test_a_plain_model_gets_text_and_task_type() -> None:
    """gemini-embedding-001 gets texts behind their path and the task beside them."""
    assert PLAIN.document_text(Passage(text="gzip")) == "gzip"
    assert PLAIN.document_text(Passage(text="gzip", path="A › B")) == "A › B\n\ngzip"
    assert PLAIN.query_text("gzip") == "gzip"
    assert PLAIN.document_task_type == "RETRIEVAL_DOCUMENT"
    assert PLAIN.query_task_type == "RETRIEVAL_QUERY"


def test_a_prompted_model_gets_the_task_in_the_text() -> None:
    """gemini-embedding-2 gets the task in the text and no task type, which it would ignore."""
    assert PROMPTED.document_text(Passage(text="gzip")) == "title: none | text: gzip"
    in_its_place = Passage(text="gzip", path="A › B")
    assert PROMPTED.document_text(in_its_place) == "title: A › B | text: gzip"
    assert PROMPTED.query_text("gzip") == "task: search result | query: gzip"
    assert PROMPTED.document_task_type is None
    assert PROMPTED.query_task_type is None


@pytest.mark.parametrize("task_type", ["SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING"])
def test_a_symmetric_task_is_the_query_s_too(task_type: str) -> None:
    """Only RETRIEVAL_DOCUMENT has a counterpart; other tasks are the same on both sides."""
    spec = replace(PLAIN, task_type=task_type)
    assert (spec.document_task_type, spec.query_task_type) == (task_type, task_type)


def test_no_task_type() -> None:
    """With an empty task type none is sent, for documents or queries."""
    spec = replace(PLAIN, task_type="")
    assert (spec.document_task_type, spec.query_task_type) == (None, None)


@pytest.mark.parametrize(
    ("model", "max_tokens"),
    [
        ("gemini-embedding-001", 2048),
        ("gemini-embedding-2", 8192 - 6),
        ("gemini-embedding-3", 2048),
    ],
)
def test_a_text_may_have_what_the_prompt_leaves(model: str, max_tokens: int) -> None:
    """Each model has its limit, the prompt counts, and an unknown model has the smallest."""
    assert replace(SPEC, model=model).max_text_tokens == max_tokens


@pytest.mark.parametrize("dimensions", [0, -1])
def test_dimensions_must_be_positive(dimensions: int) -> None:
    """A spec without dimensions cannot be made."""
    with pytest.raises(ValueError, match=f"must be positive, found {dimensions}"):
        replace(SPEC, dimensions=dimensions)


@pytest.mark.parametrize(
    "change",
    [{"provider": "gemini"}, {"model": "gemini-embedding-2"}, {"dimensions": 9}, {"task_type": ""}],
)
def test_specs_differ_in_every_field(change: dict[str, str | int]) -> None:
    """Whatever decides about a vector makes another spec; the emulator is never Google."""
    assert replace(SPEC, **change) != SPEC  # type: ignore[arg-type]
