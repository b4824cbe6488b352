"""What people see of a search's answer."""

from dataclasses import replace

import pytest

from embedding_assets.cli.show.index import hits
from embedding_assets.reader.search import Hit

HIT = Hit(
    rank=1,
    score=0.5,
    uri="docs/a.md",
    title="A",
    position=2,
    section="B",
    anchor="b",
    page=None,
    url="",
    metadata={"author": "Ada"},
    text="text",
)


@pytest.mark.parametrize(
    ("hit", "place"),
    [
        (HIT, "docs/a.md#b  score 0.500"),
        (replace(HIT, anchor=""), "docs/a.md  score 0.500"),
        (replace(HIT, anchor="", page=12), "docs/a.md  page 12  score 0.500"),
        (replace(HIT, url="https://a.example/#b"), "https://a.example/#b  score 0.500"),
        (
            replace(HIT, url="https://a.example/a.pdf#page=3", page=3),
            "https://a.example/a.pdf#page=3  page 3  score 0.500",
        ),
    ],
)
def test_a_hit_has_the_link_that_leads_there(
    hit: Hit, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The document's uri if nobody knows where people find it, and the page if there is one."""
    hits([hit])
    assert "".join(capsys.readouterr().out.split("\n")).startswith(f"1. A › B  {place}")
