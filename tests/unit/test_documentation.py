"""The documentation and the files beside the package say what the code does."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from embedding_assets.cli.app import app
from embedding_assets.corpus.kinds import KINDS
from embedding_assets.defs.instance import INSTANCE_SETTINGS
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.settings.reading import load_settings
from embedding_assets.settings.values import KindGroup, Settings, Table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS_FILE = ROOT / "embedding_assets.toml"
DOCS = ROOT / "docs"
ARCHITECTURE = DOCS / "architecture.md"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
MODULES = sorted((ROOT / "embedding_assets").rglob("*.py"))
OTHER_PYTHON = [
    path for name in ("tests", "benchmarks", "examples") for path in ROOT.glob(f"{name}/**/*.py")
]
NOT_OURS = {"_api_client.py"}  # google-genai's


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


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


def test_every_column_of_a_table_is_described() -> None:
    """The settings of [[corpus.tables]] are no defaults of anything, but a table of their own."""
    rows = _text(DOCS / "documents.md").partition("## Rows of tables")[2].partition("\n## ")[0]
    assert {name for name in Table.model_fields if f"`{name}`" not in rows} == set()


def test_every_suffix_is_listed() -> None:
    """But for those of source code, which are many."""
    listed = _text(DOCS / "documents.md").partition("## Files")[2].partition("\n### ")[0]
    kinds = [kind for kind in KINDS if kind.group is not KindGroup.CODE]
    suffixes = {suffix for kind in kinds for suffix in kind.suffixes}
    assert {suffix for suffix in suffixes if f"`{suffix}`" not in listed} == set()


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
    """Relative links in Markdown files point to files that exist, and to headings in them."""
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", _text(page)):
            if "://" not in target:
                there = page.parent / target if target else page
                assert there.exists(), f"{page.name}: {target}"
                assert not anchor or anchor in _anchors(there), f"{page.name}: {target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """The headings of a Markdown page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_decision_has_a_number_of_its_own() -> None:
    """Decisions are numbered without a gap, in their names as in their titles."""
    pages = sorted((DOCS / "decisions").glob("*.md"))
    numbers = range(1, len(pages) + 1)
    assert [page.name[:5] for page in pages] == [f"{n:04}-" for n in numbers]
    assert [_text(page).partition(" ")[2].partition(" ")[0] for page in pages] == [
        f"{n}." for n in numbers
    ]


def test_every_python_file_that_is_named_exists() -> None:
    """Pages, docstrings and comments call modules by the end of their path, as it is now."""
    paths = [path.relative_to(ROOT).parts for path in (*MODULES, *OTHER_PYTHON)]
    ends = {"/".join(parts[start:]) for parts in paths for start in range(len(parts))}
    for text in (*PAGES, *MODULES):
        named = re.findall(r"(?<![\w/])(?:\.\./)*((?:\w+/)*\w+\.py)\b", _text(text))
        assert set(named) - ends <= NOT_OURS, text.relative_to(ROOT)


def test_every_test_that_is_named_exists() -> None:
    """What a page gives as ``tests/a/test_b.py::test_c`` is a test in that file."""
    for page in PAGES:
        for file, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", _text(page)):
            assert (ROOT / file).exists(), f"{page.name}: {file}"
            assert f"\ndef {name}(" in _text(ROOT / file), f"{page.name}: {file}::{name}"


def test_every_fault_to_try_is_one_that_the_emulator_knows() -> None:
    """What docs/reliability.md tells the emulator makes sense to it."""
    rules = re.findall(r"['`](\{\"kind\".*?\})['`]", _text(DOCS / "reliability.md"))
    assert len(rules) > 5
    for rule in rules:
        Fault.from_json(json.loads(rule))


def test_every_promise_has_its_tests() -> None:
    """docs/promises.md has a section for each promise, and a test beside each of its dangers."""
    promised = re.findall(r"^\d\. \*\*(.+?)\.\*\*", _text(ARCHITECTURE), re.MULTILINE)
    page = _text(DOCS / "promises.md")
    assert re.findall(r"^## \d\. (.+)$", page, re.MULTILINE) == promised
    rows = [row for row in re.findall(r"^\|(.+)\|$", page, re.MULTILINE) if "---" not in row]
    headings = [row for row in rows if "::test_" not in row]
    assert headings == [" what could break it | held by "] * page.count("\n## ")


def test_every_step_of_a_walk_is_a_function_of_its_file() -> None:
    """The walks through the code in docs/architecture.md name functions where they are."""
    step = re.compile(r"^\|[^|]*\| `([\w/]+\.py)` \| `(?:(\w+)\.)?(\w+)` \|", re.MULTILINE)
    steps = step.findall(_text(ARCHITECTURE))
    assert len(steps) > 40
    for file, owner, function in steps:
        code = _text(ROOT / "embedding_assets" / file)
        assert re.search(rf"^ *def {function}\b", code, re.MULTILINE), f"{file}: {function}"
        assert not owner or f"\nclass {owner}" in code, f"{file}: {owner}"


def test_bare_dagster_dev_and_the_command_line_share_their_settings() -> None:
    """dagster.yaml is what the command line writes for a data directory, plus where that is."""
    repository = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    places = {"storage", "local_artifact_storage", "compute_logs"}
    assert yaml.safe_load(INSTANCE_SETTINGS) == {
        name: value for name, value in repository.items() if name not in places
    }
