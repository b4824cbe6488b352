"""The documentation and the files beside the package say what the code does."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from embedding_assets.cli.app import app
from embedding_assets.defs.instance import INSTANCE_SETTINGS
from embedding_assets.settings.reading import load_settings
from embedding_assets.settings.values import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS_FILE = ROOT / "embedding_assets.toml"


def _names(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


SETTING_NAMES = list(_names(Settings().model_dump()))


def test_settings_file_holds_the_defaults() -> None:
    """Reading the settings file in the repository gives just the defaults."""
    assert load_settings(SETTINGS_FILE).model_dump() == Settings().model_dump()


@pytest.mark.parametrize("name", SETTING_NAMES)
def test_every_setting_stands_in_the_settings_file(name: str) -> None:
    """Every setting is in embedding_assets.toml, as a value or as a commented example."""
    section, _, key = name.rpartition(".")
    text = SETTINGS_FILE.read_text(encoding="utf-8")
    part = text.partition(f"[{section}]")[2].partition("\n[")[0] if section else text
    assert re.search(rf"^(# )?{key} = ", part, re.MULTILINE), name


@pytest.mark.parametrize("name", SETTING_NAMES)
def test_every_setting_stands_in_the_readme(name: str) -> None:
    """Every setting is named in the README's table of settings."""
    section, _, key = name.rpartition(".")
    rows = [row for row in README.splitlines() if row.startswith(f"| `{section or key}")]
    assert any(f"{key}`" in row for row in rows), name


def test_no_setting_in_the_file_is_unknown() -> None:
    """The settings file has no setting that the code does not have."""
    in_file = set(_names(tomllib.loads(SETTINGS_FILE.read_text(encoding="utf-8"))))
    assert in_file <= set(SETTING_NAMES)


@pytest.mark.parametrize("command", sorted(get_command(app).commands))  # type: ignore[attr-defined]
def test_every_command_and_option_stands_in_the_readme(command: str) -> None:
    """Every command has a row in the README that names each of its options."""
    row = next((row for row in README.splitlines() if row.startswith(f"| `{command}")), None)
    assert row is not None, f"{command} has no row"
    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    for parameter in parameters:
        option = parameter.opts[0]
        assert option == "--help" or option in row or option.upper() in row, option


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    """Relative links in Markdown files point to files that exist."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_bare_dagster_dev_and_the_command_line_share_their_settings() -> None:
    """dagster.yaml is what the command line writes for a data directory, plus where that is."""
    repository = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    places = {"storage", "local_artifact_storage", "compute_logs"}
    assert yaml.safe_load(INSTANCE_SETTINGS) == {
        name: value for name, value in repository.items() if name not in places
    }
