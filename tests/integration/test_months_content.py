"""What people do to files between two months, and what of it is bought."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.corpus.snapshots import read_snapshot
from embedding_assets.model.gates import GateName
from embedding_assets.model.generations import Generation
from tests.integration.world import World, a_text
from tests.months import Months

Rows = Callable[..., list[tuple[Any, ...]]]

NO_TEXT = "it is binary, not text: it contains NUL bytes; if it is UTF-16, save it as UTF-8"


@pytest.fixture
def months(world: World, tmp_path: Path) -> Months:
    """Four documents in two directories, two of them with the same text, indexed in a month."""
    months = Months(docs=tmp_path / "docs", snapshots=world.settings.snapshots_dir)
    months.write(a=a_text(1), b=a_text(2), dir__c=a_text(3), dir__d=a_text(3))
    reindexed(world, months)
    return months


def reindexed(world: World, months: Months) -> Generation:
    """The next month, from the files to what readers see, however little that is."""
    months.read()
    generation = world.embed_all(read_snapshot(months.newest), month=months.newest.stem)
    world.publish(generation, allow=[GateName.SHRINKAGE])
    return generation


def published(rows: Rows, months: Months) -> dict[str, str]:
    """The text of each document that readers see, by name."""
    found = rows("SELECT uri, text FROM published_chunks")
    return {str(Path(uri).relative_to(months.docs).with_suffix("")): text for uri, text in found}


def _move(months: Months) -> None:
    months.path("a").rename(months.path("moved"))


def _copy(months: Months) -> None:
    shutil.copy(months.path("a"), months.path("copy"))


def _rename_directory(months: Months) -> None:
    (months.docs / "dir").rename(months.docs / "renamed")


def _swap(months: Months) -> None:
    months.write(a=a_text(2), b=a_text(1))


def _remove_one_of_two(months: Months) -> None:
    months.path("dir/c").unlink()


def _spoil(months: Months) -> None:
    months.spoil("a")


def _remove_one_and_spoil_the_other(months: Months) -> None:
    months.path("dir/c").unlink()
    months.spoil("dir/d")


ONE, TWO, THREE = a_text(1), a_text(2), a_text(3)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_move, {"moved": ONE, "b": TWO, "dir/c": THREE, "dir/d": THREE}),
        (_copy, {"a": ONE, "copy": ONE, "b": TWO, "dir/c": THREE, "dir/d": THREE}),
        (_rename_directory, {"a": ONE, "b": TWO, "renamed/c": THREE, "renamed/d": THREE}),
        (_swap, {"a": TWO, "b": ONE, "dir/c": THREE, "dir/d": THREE}),
        (_remove_one_of_two, {"a": ONE, "b": TWO, "dir/d": THREE}),
        (_spoil, {"a": ONE, "b": TWO, "dir/c": THREE, "dir/d": THREE}),
        (_remove_one_and_spoil_the_other, {"a": ONE, "b": TWO, "dir/d": THREE}),
    ],
)
def test_texts_that_were_bought_cost_nothing(
    world: World,
    months: Months,
    rows: Rows,
    change: Callable[[Months], None],
    expected: dict[str, str],
) -> None:
    """Wherever a text went to, it is found there, and nobody pays for it again."""
    bill = world.emulator.bill()
    assert (bill.requests, published(rows, months)["a"]) == (3, ONE)

    change(months)
    reindexed(world, months)

    assert published(rows, months) == expected
    assert world.emulator.bill() == bill


def test_a_reverted_file_costs_nothing(world: World, months: Months, rows: Rows) -> None:
    """Changed in one month and changed back in the next, only the change is bought."""
    months.write(a=a_text(4))
    reindexed(world, months)
    bill = world.emulator.bill()
    assert (bill.requests, published(rows, months)["a"]) == (4, a_text(4))

    months.write(a=ONE)
    reindexed(world, months)

    assert published(rows, months)["a"] == ONE
    assert world.emulator.bill() == bill


def test_a_kept_document_is_a_failure_of_its_generation_only(
    world: World, months: Months, rows: Rows
) -> None:
    """It is listed with the reason; the version that an earlier generation shares has none."""
    [first] = world.index.generations.all()
    months.spoil("a")
    second = reindexed(world, months)

    [failure] = world.index.published.failures(second)
    assert (failure.kind, failure.uri) == ("document", str(months.path("a")))
    assert failure.error_message == months.documents()["a"].error_message
    assert failure.error_message.startswith(f"{NO_TEXT}; its version of ")
    assert world.index.published.failures(first) == []
    assert rows("SELECT count(*), count(error_message) FROM documents") == [(4, 0)]

    months.write(a=ONE)
    third = reindexed(world, months)
    assert world.index.published.failures(third) == []
    assert rows("SELECT count(*) FROM documents") == [(4,)]


def test_a_kept_document_leaves_when_its_time_is_over(
    world: World, months: Months, rows: Rows
) -> None:
    """Then it is a document that cannot be used, as one that never was any good."""
    months.spoil("a")
    reindexed(world, months)
    months.now += months.keep_for

    generation = reindexed(world, months)

    assert set(published(rows, months)) == {"b", "dir/c", "dir/d"}
    [failure] = world.index.published.failures(generation)
    assert failure.error_message == NO_TEXT
