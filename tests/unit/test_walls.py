"""The walls of the house: who may import whom, as the table in pyproject.toml has it."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _lint(directory: Path) -> "subprocess.CompletedProcess[str]":
    """import-linter on the package in a directory."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    return subprocess.run(
        [*command, "--no-cache", "--no-logo"],
        cwd=directory,
        env={"PYTHONPATH": str(directory), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_import_keeps_to_the_walls() -> None:
    """Rooms use what stands below them; only one room knows Dagster, the SDK, SQL."""
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("errors", "import embedding_assets.model.shards"),
        ("model/shards", "from embedding_assets.store.index import Index"),
        ("money/prices", "from embedding_assets.corpus.chunks import Chunker"),
        ("store/index", "from embedding_assets.pipeline.plan import Plan"),
        ("pipeline/plan", "from embedding_assets.reader.search import Hit"),
        ("pipeline/publish", "def f() -> None:\n    import embedding_assets.doctor.examine"),
        ("defs/jobs", "from embedding_assets.doctor.findings import Finding"),
        ("doctor/examine", "from embedding_assets.cli.console import note"),
        ("emulator/wire", "from embedding_assets.errors import GeminiError"),
        ("defs/jobs", "from embedding_assets.emulator.server import main"),
        ("pipeline/plan", "import dagster"),
        ("pipeline/plan", "from google import genai"),
        ("reader/search", "import sqlalchemy as sa"),
        ("parlour", ""),  # a new room that nobody gave a place
    ],
)
def test_an_import_through_a_wall_is_found(tmp_path: Path, room: str, line: str) -> None:
    """Planted into a copy of the package, a forbidden import fails the check, and is named."""
    shutil.copytree(
        ROOT / "embedding_assets",
        tmp_path / "embedding_assets",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "embedding_assets" / f"{room}.py").open("a") as module:
        module.write(f"\n{line}\n")

    done = _lint(tmp_path)

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"embedding_assets.{room.replace('/', '.')}" in done.stdout.replace("\n", "")


def test_the_architecture_page_has_the_table() -> None:
    """docs/architecture.md quotes the layers as they are checked."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert "\n".join(layers) in page
