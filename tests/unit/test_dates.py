"""Dates as people and programs write them, in metadata."""

import pytest

from embedding_assets.corpus.formats.dates import iso_date, with_iso_dates


@pytest.mark.parametrize(
    "text",
    [
        "4 May 2026",
        "4th May 2026",
        "04-May-2026",
        "May 4, 2026",
        "may  4 2026",
        "Mon, 4 May 2026",
        "Monday, May 4, 2026",
        "4.5.2026",
        "04. 05. 2026",
        "2026/5/4",
        "2026-05-04 Mon",
        "2026-05-04 Mon 10:00-11:00",
    ],
)
def test_a_day_in_words_is_a_day(text: str) -> None:
    """In the forms that mean one day only."""
    assert iso_date(text) == "2026-05-04"


@pytest.mark.parametrize(
    "text",
    [
        "4/5/2026",
        "May 2026",
        "2026",
        "2026-05-04T10:00:00Z",
        "31.2.2026",
        "4 May 2026, Graz",
        "",
        "x",
    ],
)
def test_whatever_else_stays_as_it_is(text: str) -> None:
    """Also what could be two days."""
    assert iso_date(text) == text


def test_only_what_is_called_a_date_is_one() -> None:
    """Under the common names."""
    said = {"date": "4 May 2026", "modified": "5 May 2026", "version": "4.5.2026", "author": None}

    assert with_iso_dates(said) == said | {"date": "2026-05-04", "modified": "2026-05-05"}
