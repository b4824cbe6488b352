"""What a user may choose, read from ``embedding_assets.toml`` and the environment.

Belongs here: names, defaults, bounds, and the paths that follow from ``data_dir``.
Does not belong here: the API key (connection.py reads it from the environment only) and anything
that acts on a setting.
"""

import os
import tomllib
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SettingsSourceError

from embedding_assets.errors import SettingsError

DEFAULT_SETTINGS_FILE = Path("embedding_assets.toml")
SETTINGS_FILE_VARIABLE = "EMBEDDING_ASSETS_CONFIG"
EMULATOR_BASE_URL = "emulator"

# Tokens that may wait in all live embedding jobs together, by billing tier
# (Gemini API rate limits page, batch table, row "Gemini Embedding", mid-2026).
ENQUEUED_TOKENS_BY_TIER = {1: 500_000, 2: 5_000_000, 3: 10_000_000}

Count = Annotated[int, Field(gt=0)]


class RouteChoice(StrEnum):
    """Which of Gemini's two doors requests take."""

    AUTO = "auto"  # by number of requests: see Limits.min_batch_requests
    BATCH = "batch"  # half the price, minutes to hours
    SYNC = "sync"  # full price, at once


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Corpus(_Section):
    """Where the documents are: files, directories (searched recursively) and globs."""

    paths: tuple[str, ...] = ("data/documents",)


class Chunking(_Section):
    """How documents are cut. 2,000 characters stay well under the model's 2,048 tokens."""

    max_chars: Annotated[int, Field(ge=100, le=8000)] = 2000


class Embedding(_Section):
    """The embedding spec: a change builds a new generation beside the published one."""

    model: str = "gemini-embedding-001"
    dimensions: Annotated[int, Field(ge=1, le=3072)] = 768
    task_type: str = "RETRIEVAL_DOCUMENT"


class Gemini(_Section):
    """The service: empty ``base_url`` means Google with a key, the emulator without."""

    base_url: str = ""
    api_version: str = "v1beta"
    tier: Literal[1, 2, 3] = 1
    timeout_s: Annotated[float, Field(gt=0)] = 120.0


class Limits(_Section):
    """How work is split. None stands for what follows from the tier."""

    route: RouteChoice = RouteChoice.AUTO
    max_requests_per_job: Annotated[int, Field(gt=0, le=10_000)] = 10_000
    max_bytes_per_job: Count = 100_000_000
    max_concurrent_jobs: Count = 50
    max_enqueued_tokens: Count | None = None
    max_tokens_per_job: Count | None = None
    min_batch_requests: Annotated[int, Field(ge=0)] = 100
    sync_requests_per_minute: Count = 1500
    max_job_attempts: Count = 3
    max_chunk_attempts: Count = 3
    unconfirmed_grace_s: Annotated[float, Field(ge=0)] = 600.0
    run_retry_s: Annotated[float, Field(ge=0)] = 900.0


class Budget(_Section):
    """What one reindex may cost at the most, in US dollars."""

    max_cost_usd: Annotated[Decimal, Field(ge=0)] = Decimal("25.0")


class Publishing(_Section):
    """When a finished generation is good enough to be served."""

    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.95


class Schedule(_Section):
    """When things happen without anyone asking."""

    cron: str = "0 3 1 * *"
    timezone: str = "UTC"
    first_month: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] = "2026-11"
    poll_interval_s: Count = 60


class Settings(BaseSettings):
    """All settings. Every one is overridable by ``EMBEDDING_ASSETS_<SECTION>__<NAME>``."""

    model_config = SettingsConfigDict(
        env_prefix="EMBEDDING_ASSETS_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    data_dir: Path = Path("data")
    corpus: Corpus = Corpus()
    chunking: Chunking = Chunking()
    embedding: Embedding = Embedding()
    gemini: Gemini = Gemini()
    limits: Limits = Limits()
    budget: Budget = Budget()
    publishing: Publishing = Publishing()
    schedule: Schedule = Schedule()

    @property
    def index_path(self) -> Path:
        return self.data_dir / "index.db"

    @property
    def snapshots_dir(self) -> Path:
        return self.data_dir / "snapshots"

    @property
    def shards_dir(self) -> Path:
        return self.data_dir / "shards"

    @property
    def results_dir(self) -> Path:
        return self.data_dir / "results"

    @property
    def dagster_dir(self) -> Path:
        return self.data_dir / "dagster"

    @property
    def emulator_dir(self) -> Path:
        return self.data_dir / "emulator"

    @property
    def emulator_address_file(self) -> Path:
        return self.emulator_dir / "address.json"

    @property
    def max_enqueued_tokens(self) -> int:
        return self.limits.max_enqueued_tokens or ENQUEUED_TOKENS_BY_TIER[self.gemini.tier]

    @property
    def max_tokens_per_job(self) -> int:
        return self.limits.max_tokens_per_job or max(1, self.max_enqueued_tokens // 2)


def load_settings(file: Path | None = None) -> Settings:
    """Read the settings: environment first, then the TOML file, then the defaults.

    Without ``file`` it is the one that ``EMBEDDING_ASSETS_CONFIG`` names, else
    ``embedding_assets.toml`` in the working directory if there is one.
    Raises SettingsError, in one line, for a missing or malformed file and for any bad value.
    """
    path = file or _file_from_environment()
    if path is None:
        return _validated(Settings, origin="the environment")
    return _validated(_settings_from(path), origin=f"{path} and the environment")


def _file_from_environment() -> Path | None:
    named = os.environ.get(SETTINGS_FILE_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_SETTINGS_FILE if DEFAULT_SETTINGS_FILE.exists() else None


def _settings_from(path: Path) -> type[Settings]:
    if not path.is_file():
        raise SettingsError(f"settings file {str(path)!r} does not exist; name another one")

    class FileSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            toml = TomlConfigSettingsSource(settings_cls, toml_file=path)
            return init_settings, env_settings, toml

    return FileSettings


def _validated(settings_class: type[Settings], *, origin: str) -> Settings:
    try:
        return settings_class()
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"bad settings in {origin}: not valid TOML: {exc}") from exc
    except (UnicodeDecodeError, SettingsSourceError) as exc:
        raise SettingsError(f"bad settings in {origin}: {exc}") from exc
    except ValidationError as exc:
        problems = "; ".join(_problem(error) for error in exc.errors())
        raise SettingsError(f"bad settings in {origin}: {problems}") from exc


def _problem(error: ErrorDetails) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{name} is not a setting"
    return f"{name}: {error['msg']} (found {error['input']!r})"
