"""Reading the settings: the environment first, then the TOML file, then the defaults.

Belongs here: where a value comes from, and the one line that says what is wrong with it.
Does not belong here: which values there are (values.py) and the API key (gemini/connection.py).
"""

import os
import reprlib
import tomllib
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from embedding_assets.clock import utc_now
from embedding_assets.errors import SettingsError
from embedding_assets.settings.values import Section, Settings

DEFAULT_SETTINGS_FILE = Path("embedding_assets.toml")
SETTINGS_FILE_VARIABLE = "EMBEDDING_ASSETS_CONFIG"

# SQLite's own limit is 512 for a whole path (os_unix.c, MAX_PATHNAME); Dagster's are the longest.
_MAX_DATA_DIR_BYTES = 400

_PREFIX = "EMBEDDING_ASSETS_"
_DELIMITER = "__"
_SHORT = reprlib.Repr()
_SHORT.maxstring = 100


def load_settings(file: Path | None = None) -> Settings:
    """Read the settings: environment first, then the TOML file, then the defaults.

    Without ``file`` it is the one that ``EMBEDDING_ASSETS_CONFIG`` names, else
    ``embedding_assets.toml`` in the working directory if there is one.
    Relative paths of the environment start at the working directory, all others at the file's
    folder: the same file means the same index from anywhere.
    Raises SettingsError, in one line, for a missing or malformed file and for any bad value.
    """
    path = file or _file_from_environment()
    if path is not None:
        _check_file(path)
    origin = "the environment" if path is None else f"{path} and the environment"
    try:
        problems = list(_unknown_variables())
        if not problems:
            sources = _sources(path)
            settings = _placed(Settings(**dict(sources())), path, _Environment(sources)())
            problems = [*_not_yet(settings), *_too_long(settings)]
            if not problems:
                return settings
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"bad settings in {origin}: not valid TOML: {exc}") from exc
    except (UnicodeDecodeError, OSError) as exc:
        raise SettingsError(f"bad settings in {origin}: cannot be read: {exc}") from exc
    except ValidationError as exc:
        problems = [_problem(error) for error in exc.errors()]
    raise SettingsError(f"bad settings in {origin}: {'; '.join(problems)}")


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise SettingsError(f"settings file {str(path)!r} is a directory; name a file in it")
    if not path.is_file():
        raise SettingsError(f"settings file {str(path)!r} does not exist; name another one")


def _placed(settings: Settings, path: Path | None, by_environment: dict[str, Any]) -> Settings:
    """Relative paths start where they were written; what is nowhere, beside the file."""
    folder = Path() if path is None else path.absolute().parent
    if folder == Path.cwd():
        folder = Path()  # the usual case: paths stay as short as they are
    of_corpus = by_environment.get("corpus", ())
    return settings.placed(
        data_dir=Path() if "data_dir" in by_environment else folder,
        corpus=Path() if "paths" in of_corpus else folder,
        tables=Path() if "tables" in of_corpus else folder,
        source=Path() if "source" in of_corpus else folder,
    )


def _not_yet(settings: Settings) -> Iterator[str]:
    """What may become right: without a month that has begun there is nothing to reindex."""
    first, current = settings.schedule.first_month, settings.schedule.month_of(utc_now())
    if first > current:
        yield (
            f"schedule.first_month: expected a month that has begun, and it is {current} now "
            f"(found {first!r})"
        )


def _too_long(settings: Settings) -> Iterator[str]:
    """What SQLite could not open: it is not lost room on a disk, as it would say."""
    n_bytes = len(os.fsencode(settings.data_dir.absolute()))
    if n_bytes > _MAX_DATA_DIR_BYTES:
        yield (
            f"data_dir: expected a path of at most {_MAX_DATA_DIR_BYTES} bytes, because SQLite "
            f"opens no longer ones (found {n_bytes})"
        )


def _file_from_environment() -> Path | None:
    named = os.environ.get(SETTINGS_FILE_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_SETTINGS_FILE if DEFAULT_SETTINGS_FILE.exists() else None


def _sources(path: Path | None) -> type[BaseSettings]:
    """The settings as they are read from the environment and a file; what they say, it has."""

    class Sources(BaseSettings, Settings):
        model_config = SettingsConfigDict(
            env_prefix=_PREFIX, env_nested_delimiter=_DELIMITER, extra="forbid"
        )

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: object, **__: object
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            environment = _Environment(settings_cls)
            if path is None:
                return (environment,)
            return environment, TomlConfigSettingsSource(settings_cls, toml_file=path)

    return Sources


class _Environment(EnvSettingsSource):
    """A list is JSON there; what is not JSON is left for validation, which names the setting."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _unknown_variables() -> Iterator[str]:
    """A complaint a misspelt variable; pydantic-settings ignores those without a section."""
    known = {_PREFIX + name.replace(".", _DELIMITER).upper() for name in setting_names()}
    sections = {_PREFIX + name.upper() for name in Settings.model_fields}
    for variable in sorted(os.environ):
        name = variable.upper()
        if name.startswith(_PREFIX) and name not in known | sections | {SETTINGS_FILE_VARIABLE}:
            yield f"{variable!r} is not a setting{_hint(name, known)}"


def setting_names() -> Iterator[str]:
    """Every setting's full name: ``data_dir``, ``corpus.paths`` and so on."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            yield from (f"{name}.{inner}" for inner in section.model_fields)
        else:
            yield name


def _hint(name: str, known: Iterable[str]) -> str:
    matches = get_close_matches(name, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _problem(error: ErrorDetails) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{name!r} is not a setting{_hint(name, (*Settings.model_fields, *setting_names()))}"
    expected = error["msg"].removeprefix("Value error, ")
    if not name:  # two settings that do not go together; the message names them
        return expected
    if error["type"] == "tuple_type":
        expected = 'expected a list, in the environment as JSON: ["one", "two"]'
    if _may_have_secrets(error):
        return f"{name}: {expected}"
    return f"{name}: {expected} (found {_SHORT.repr(error['input'])})"


def _may_have_secrets(error: ErrorDetails) -> bool:
    """Webhooks, and the addresses of databases, also where the whole section is no section."""
    is_corpus = error["loc"] == ("corpus",) and "://" in f"{error['input']}"
    return is_corpus or error["loc"][0] == "alerts" or error["loc"][:2] == ("corpus", "tables")
