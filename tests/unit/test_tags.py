"""Run tags: what people type into the web UI, and what our own processes write."""

from decimal import Decimal

import pytest

from embedding_assets.defs.tags import RunTags, process_of
from embedding_assets.errors import SettingsError
from embedding_assets.model.gates import GateName


def test_tags_that_are_written_are_read_again() -> None:
    """Whatever a process of ours tells a run, the run understands."""
    told = RunTags(
        allow=frozenset({GateName.SHRINKAGE, GateName.COVERAGE}),
        generation=12,
        approve_cost_usd=Decimal("40.50"),
        send_now=True,
        resubmit=True,
        report_failures=True,
        pid=4711,
    )

    assert RunTags.parse(told.as_tags()) == told
    assert told.as_tags() == {
        "embedding_assets/allow": "coverage shrinkage",
        "embedding_assets/generation": "12",
        "embedding_assets/approve_cost_usd": "40.50",
        "embedding_assets/send_now": "true",
        "embedding_assets/resubmit": "true",
        "embedding_assets/report_failures": "true",
        "embedding_assets/pid": "4711",
    }


def test_what_is_as_usual_needs_no_tag() -> None:
    """A run without tags of ours is told nothing, whatever tags Dagster gives it."""
    assert RunTags().as_tags() == {}
    assert RunTags.parse({"dagster/partition": "2026-11", "team": "search"}) == RunTags()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("allow", "", frozenset()),
        ("allow", "shrinkage, coverage", {GateName.SHRINKAGE, GateName.COVERAGE}),
        ("send_now", "True", True),
        ("send_now", "no", False),
        ("resubmit", "0", False),
        ("report_failures", "yes", True),
        ("approve_cost_usd", "0", Decimal(0)),
    ],
)
def test_what_a_person_may_type(name: str, text: str, value: object) -> None:
    """A flag that is set to false is not set, and gates are parted as people part words."""
    assert getattr(RunTags.parse({f"embedding_assets/{name}": text}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        (
            *("allow", "shrinkag"),
            "'shrinkag' is no gate; expected some of finished, coverage, shrinkage, self_retrieval",
        ),
        ("allow", "coverage;shrinkage", "'coverage;shrinkage' is no gate"),
        ("generation", "first", "'first' is no number; expected one like '12'"),
        ("generation", "0", "'0' is no number"),
        ("generation", "-1", "'-1' is no number"),
        ("generation", "", "'' is no number"),
        ("generation", "٣", "'٣' is no number"),
        ("generation", str(2**63), f"'{2**63}' is no number"),
        ("approve_cost_usd", "much", "'much' is no amount of dollars; expected one like '40'"),
        ("approve_cost_usd", "-1", "'-1' is no amount of dollars"),
        ("send_now", "maybe", "'maybe' is neither 'true' nor 'false'"),
        ("send_now", "", "'' is neither 'true' nor 'false'"),
        ("resubmit", "ture", "'ture' is neither 'true' nor 'false'"),
        ("report_failures", "2", "'2' is neither 'true' nor 'false'"),
        ("pid", "mine", "'mine' is no number"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, text: str, complaint: str) -> None:
    """One sentence names the tag, what was found and what was expected."""
    with pytest.raises(SettingsError) as refused:
        RunTags.parse({f"embedding_assets/{name}": text})

    assert str(refused.value).startswith(f"run tag 'embedding_assets/{name}': {complaint}")


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("embedding_assets/alow", "did you mean 'embedding_assets/allow'?"),
        ("embedding_assets/approve_cost", "did you mean 'embedding_assets/approve_cost_usd'?"),
        ("embedding_assets/colour", "there are allow, generation, approve_cost_usd, "),
    ],
)
def test_a_tag_of_ours_that_is_unknown_is_refused(tag: str, hint: str) -> None:
    """A misspelt tag is named, instead of being ignored."""
    with pytest.raises(SettingsError) as refused:
        RunTags.parse({tag: "1"})

    assert str(refused.value).startswith(f"run tag '{tag}' is unknown; {hint}")


@pytest.mark.parametrize(
    ("tags", "process"),
    [
        ({"embedding_assets/pid": "12", "embedding_assets/allow": "shrinkag"}, 12),
        ({"embedding_assets/pid": "mine"}, None),
        ({}, None),
    ],
)
def test_whose_run_it_is_can_be_told_of_any_run(tags: dict[str, str], process: int | None) -> None:
    """Also of one that was refused for its tags."""
    assert process_of(tags) == process
