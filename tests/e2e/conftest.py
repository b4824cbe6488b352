"""Every test here has real processes, a data directory of its own, and leaves nothing running."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import CommandLine, a_command_line


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory is end to end."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def command_line(tmp_path: Path) -> Iterator[CommandLine]:
    """The console script with an empty corpus and no data directory yet."""
    made = a_command_line(tmp_path, os.environ)
    try:
        yield made
    finally:
        made.end_everything()
