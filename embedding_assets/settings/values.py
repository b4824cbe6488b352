"""What a user may choose: names, defaults, bounds, and the paths that follow from ``data_dir``.

Belongs here: the values. Does not belong here: where they are read from (reading.py), the API key
(gemini/connection.py has it from the environment alone) and anything that acts on a setting.
"""

import re
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from embedding_assets.redaction import keep_secret

EMULATOR_BASE_URL = "emulator"

# Tokens that may wait in all live embedding jobs together, by billing tier
# (Gemini API rate limits page, batch table, row "Gemini Embedding", mid-2026).
ENQUEUED_TOKENS_BY_TIER = {1: 500_000, 2: 5_000_000, 3: 10_000_000}

_YEAR_S = 366 * 86_400

# Of minute, hour, day, month and weekday; "l" is the last, "r" any.
_CRON_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_WORD = re.compile(
    "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat|l|r"
)
_CRON_ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")

# In the addresses of databases.
_PASSWORD = re.compile(r"://[^:/@]*:([^@]*)@")
_PASSWORD_PARAMETER = re.compile(r"(?i)(?:password|passwd|pwd|token|secret)=([^&;\s]+)")


def _check_base_url(value: str) -> str:
    if value not in ("", EMULATOR_BASE_URL):
        address = urlsplit(value)
        keep_secret(address.password or "")
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"expected '', {EMULATOR_BASE_URL!r} or 'http(s)://host[:port]'")
    return value


def _check_timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("expected the name of a time zone, like 'Europe/Berlin'") from None
    return value


def _check_cron(value: str) -> str:
    """What cannot be one; the whole grammar is Dagster's, who has the last word."""
    fields = value.lower().split()
    is_one = len(fields) == len(_CRON_BOUNDS) and all(map(_may_be_cron, fields, _CRON_BOUNDS))
    if not is_one and value.lower() not in _CRON_ALIASES:
        raise ValueError(
            "expected minute, hour, day, month and weekday, like '0 3 1 * *', in numbers that exist"
        )
    return value


def _may_be_cron(field: str, bounds: tuple[int, int]) -> bool:
    low, high = bounds
    numbers = re.findall(r"(?<![/#0-9])[0-9]+", field)  # no steps, and not "the first Monday"
    return (
        re.fullmatch(r"[a-z0-9*?,/#-]+", field) is not None
        and all(low <= int(number) <= high for number in numbers)
        and all(map(_CRON_WORD.fullmatch, re.findall("[a-z]+", field)))
    )


def _check_month(value: str) -> str:
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", value):
        raise ValueError("expected a month, like '2026-01'")
    return value


def _check_webhook(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()  # files with secrets often end in a newline
    keep_secret(text)
    address = urlsplit(text)
    if text and not (address.scheme in ("http", "https") and address.hostname):
        raise ValueError("expected '' or 'https://host/path'")
    return SecretStr(text)


def _keep_database_secret(value: SecretStr) -> SecretStr:
    keep_database_secret(value.get_secret_value())
    return value


def keep_database_secret(address: str) -> None:
    """An address is a secret as a whole, unless it is a file's, and so are the passwords in it."""
    if not address.startswith("sqlite"):
        keep_secret(address)
    for password in _PASSWORD.findall(address):
        keep_secret(password)
        keep_secret(unquote(password))
    for password in _PASSWORD_PARAMETER.findall(unquote(address)):
        keep_secret(password)


def _check_source(value: str) -> str:
    if value and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", value):
        raise ValueError("expected '' or 'package.module:function'")
    return value


def _check_patterns(values: tuple[str, ...]) -> tuple[str, ...]:
    from pathspec import GitIgnoreSpec

    for value in values:
        try:
            GitIgnoreSpec.from_lines([value])
        except ValueError:
            raise ValueError(f"{value!r} is no pattern as in .gitignore") from None
    return values


def _check_urls(values: dict[str, str]) -> dict[str, str]:
    for value in values.values():
        bare = value.replace("{path}", "").replace("{stem}", "")
        if not re.fullmatch(r"https?://[^\s{}/?#][^\s{}]*", bare):
            raise ValueError(
                f"{value!r} is no address like 'https://host/docs/', possibly with {{path}} or "
                "{stem} in it"
            )
    return values


Text = Annotated[str, Field(min_length=1)]
TextOrTexts = Annotated[
    tuple[Text, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
PathPatterns = Annotated[tuple[Text, ...], AfterValidator(_check_patterns)]
# As Dagster has it: an e-mail address, or a team.
Owner = Annotated[str, Field(pattern=r"^(team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")]
Count = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(ge=0, le=_YEAR_S)]

# The task types of gemini-embedding-001 (Gemini embeddings guide, 2026); with "" none is sent.
TaskType = Literal[
    "",
    "CLASSIFICATION",
    "CLUSTERING",
    "CODE_RETRIEVAL_QUERY",
    "FACT_VERIFICATION",
    "QUESTION_ANSWERING",
    "RETRIEVAL_DOCUMENT",
    "RETRIEVAL_QUERY",
    "SEMANTIC_SIMILARITY",
]


class RouteChoice(StrEnum):
    """Which of Gemini's two doors requests take."""

    AUTO = "auto"  # by number of requests: see Limits.min_batch_requests
    BATCH = "batch"  # half the price, minutes to hours
    SYNC = "sync"  # full price, at once


class AfterDeadline(StrEnum):
    """What becomes of a shard whose job took longer than Limits.job_deadline_h."""

    RESUBMIT = "resubmit"  # another batch job
    SYNC = "sync"  # the synchronous route, if the budget allows it


class KindGroup(StrEnum):
    """Kinds of files that are wanted together, or not."""

    TEXT = "text"  # Markdown, reStructuredText, HTML and other text with or without markup
    OFFICE = "office"  # PDF, word processors, presentations, books
    MAIL = "mail"  # messages and mailboxes, with their attachments
    DATA = "data"  # spreadsheets, tables, JSON
    CODE = "code"  # source code


class Section(BaseModel):
    """Some settings that go together: fixed once they are read, and nothing in them unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Table(Section):
    """A table whose rows are documents: where it is, and which of its columns is what.

    A file (``path``), or what a ``query`` finds in a database.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]  # the uri of a row is "name/id"
    path: str = ""
    # SQLAlchemy's URL, which is a secret; or the variable of the environment that has it.
    database: Annotated[SecretStr, AfterValidator(_keep_database_secret)] = SecretStr("")
    database_env: str = ""
    query: str = ""
    # Columns. Of several with text each value stands behind its column's name.
    id: Text
    title: str = ""
    text: Annotated[TextOrTexts, Field(min_length=1)]
    url: str = ""  # or an address with columns in it: "https://tickets.example/{id}"
    metadata: tuple[Text, ...] = ()
    version: str = ""  # a row with the same value is taken for unchanged
    media_type: Literal["text/plain", "text/markdown", "text/html"] = "text/plain"

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        places = (self.path, self.database.get_secret_value(), self.database_env)
        if sum(map(bool, places)) != 1:
            raise ValueError("expected one of path, database and database_env")
        if bool(self.path) == bool(self.query):
            raise ValueError("expected a query with a database, and none with a path")
        return self

    @property
    def url_columns(self) -> tuple[str, ...]:
        """Those in the address, if ``url`` is one."""
        return tuple(re.findall(r"\{([^{}]+)\}", self.url))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is needed, once."""
        urls = self.url_columns or (self.url,)
        named = (self.id, self.title, *self.text, *urls, *self.metadata, self.version)
        return tuple(dict.fromkeys(filter(None, named)))


class Corpus(Section):
    """Where the documents are: in files, tables, or what a function yields."""

    tables: tuple[Table, ...] = ()
    # A function that yields documents, as "package.module:function".
    source: Annotated[str, AfterValidator(_check_source)] = ""
    # Files, directories (searched recursively) and globs. None, only if there is one of the above.
    paths: tuple[Text, ...] = ("data/documents",)
    # How long a file that cannot be read keeps its last good version; 0: not at all.
    keep_unreadable_days: Annotated[int, Field(ge=0, le=36_500)] = 90
    # Patterns as in .gitignore, on paths below each of the corpus paths: of what is read if it is
    # not everything, and of what is left out: Sphinx keeps a copy of every page's source, and
    # generators and package managers leave files that nobody has written.
    include: PathPatterns = ()
    # fmt: off
    exclude: PathPatterns = (
        "_sources/", "node_modules/", "genindex*.html", "index-all.html", "searchindex.*",
        "search_index.json", "search-index.json", "package.json", "package-lock.json",
        "npm-shrinkwrap.json", "composer.json", "tsconfig*.json", "*.min.js",
    )
    # fmt: on
    # Which kinds of files are read. Source code is not, unless it is asked for.
    kinds: Annotated[tuple[KindGroup, ...], Field(min_length=1)] = (
        KindGroup.TEXT,
        KindGroup.OFFICE,
        KindGroup.MAIL,
        KindGroup.DATA,
    )
    # CSS selectors: of the parts that make up a page's text, and of what is no part of it.
    html_keep: tuple[Text, ...] = ()
    html_drop: tuple[Text, ...] = ()
    # Where people find documents: addresses by the beginning of uris, the longest one first. The
    # rest of the uri is appended, or takes the place of {path}, or of {stem} without its suffix.
    urls: Annotated[dict[str, str], AfterValidator(_check_urls)] = {}
    notebook_outputs: bool = False  # whether what came of a notebook's code is text, too
    # A file is read and split in memory; a text that is longer is a dump, not a document.
    max_file_mb: Annotated[int, Field(gt=0, le=1000)] = 100
    # Whether a document that says of itself that it is a draft (``draft: true``) is left out.
    skip_drafts: bool = False
    # How many processes read PDFs, office files and pages; None: as many as there are processors.
    processes: Annotated[int, Field(gt=0, le=1000)] | None = None

    @field_validator("tables")
    @classmethod
    def _check_names(cls, tables: tuple[Table, ...]) -> tuple[Table, ...]:
        names = [table.name for table in tables]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two tables are called {name!r}")
        return tables

    @field_validator("paths")
    @classmethod
    def _check_not_empty(cls, paths: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not (paths or info.data.get("tables") or info.data.get("source")):
            raise ValueError("expected at least 1 item, if there are no tables and no source")
        return paths

    @property
    def max_file_bytes(self) -> int:
        return self.max_file_mb * 1_000_000


class Chunking(Section):
    """How documents are cut. 2,000 characters stay well under the model's 2,048 tokens."""

    max_chars: Annotated[int, Field(ge=100, le=8000)] = 2000
    # Whether Gemini gets the path of a chunk, title and headings, before its text.
    path: bool = True


class Embedding(Section):
    """The embedding spec: a change builds a new generation beside the published one."""

    model: Text = "gemini-embedding-001"
    dimensions: Annotated[int, Field(ge=1, le=3072)] = 768
    task_type: TaskType = "RETRIEVAL_DOCUMENT"


class Gemini(Section):
    """The service: empty ``base_url`` means Google with a key, the emulator without."""

    base_url: Annotated[str, AfterValidator(_check_base_url)] = ""
    api_version: Text = "v1beta"
    # Not Literal[1, 2, 3]: that refuses the text "2", and the environment has only texts.
    tier: Annotated[int, Field(ge=1, le=3)] = 1
    # Of a call: how long to wait for each piece of its answer, and for the whole of one that is
    # no file.
    timeout_s: Annotated[float, Field(gt=0, le=_YEAR_S)] = 120.0
    # Of a result file, as a whole.
    download_timeout_s: Annotated[float, Field(gt=0, le=_YEAR_S)] = 1800.0


class Limits(Section):
    """How work is split. None stands for what follows from the tier."""

    route: RouteChoice = RouteChoice.AUTO
    max_requests_per_job: Annotated[int, Field(gt=0, le=10_000)] = 10_000
    max_bytes_per_job: Count = 100_000_000
    max_concurrent_jobs: Count = 50
    max_enqueued_tokens: Count | None = None
    max_tokens_per_job: Count | None = None
    min_batch_requests: Annotated[int, Field(ge=0)] = 100
    sync_requests_per_minute: Count = 1500
    # Above it route = "sync" is refused: rate limits would make it slow, and it costs double.
    max_sync_requests: Count = 10_000
    max_wait_h: Annotated[float, Field(ge=0, le=1000)] = 0.0
    max_job_attempts: Count = 3
    max_chunk_attempts: Count = 3
    # Google aims at 24 hours and gives a job up after 48 (Gemini Batch API guide, 2026).
    job_deadline_h: Annotated[float, Field(gt=0, le=1000)] = 30.0
    after_deadline: AfterDeadline = AfterDeadline.RESUBMIT
    backoff_s: Seconds = 120.0
    unconfirmed_grace_s: Seconds = 600.0
    output_grace_s: Seconds = 3600.0
    run_retry_s: Seconds = 900.0


class Budget(Section):
    """What may be spent at the most, in US dollars: by one reindex, and in a calendar month."""

    max_cost_usd: Annotated[Decimal, Field(ge=0)] = Decimal("25.0")
    max_cost_per_month_usd: Annotated[Decimal, Field(ge=0)] = Decimal("100.0")


class ModelPrice(Section):
    """US dollars per million tokens of one model, by both routes. Nothing is free by mistake."""

    sync: Annotated[Decimal, Field(gt=0, le=1000)]
    batch: Annotated[Decimal, Field(gt=0, le=1000)]


class Publishing(Section):
    """When a finished generation is good enough to be served."""

    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.95
    max_shrinkage: Annotated[float, Field(ge=0, le=1)] = 0.2
    min_self_retrieval: Annotated[float, Field(ge=0, le=1)] = 0.9
    # Two vectors of one text agree from this cosine on; one sample below it shuts the gate.
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.99
    # Texts embedded again, in one synchronous call; 0: none, and nothing is compared.
    agreement_samples: Annotated[int, Field(ge=0, le=100)] = 50
    # The published index is stale from this age on: a month, and some days to notice.
    max_age_days: Annotated[int, Field(ge=1, le=36_500)] = 38


class Retention(Section):
    """What is kept after a generation was published."""

    keep_generations: Count = 3
    unused_vectors_days: Annotated[int, Field(ge=0, le=36_500)] = 90


class Schedule(Section):
    """When things happen without anyone asking."""

    cron: Annotated[str, AfterValidator(_check_cron)] = "0 3 1 * *"
    timezone: Annotated[str, AfterValidator(_check_timezone)] = "UTC"
    first_month: Annotated[str, AfterValidator(_check_month)] = "2026-11"
    poll_interval_s: Count = 60

    def month_of(self, moment: datetime) -> str:
        """The month of a moment in the schedule's time zone, as ``2026-11``."""
        return f"{moment.astimezone(ZoneInfo(self.timezone)):%Y-%m}"


class Alerts(Section):
    """Who is told of a failed run and of a finished reindex; empty: only the log."""

    # A secret: whoever knows a Slack webhook can post there.
    webhook_url: Annotated[SecretStr, AfterValidator(_check_webhook)] = SecretStr("")


class Catalog(Section):
    """What Dagster's catalog says beside what is true for everyone."""

    owners: tuple[Owner, ...] = ("team:knowledge-base",)


class Settings(Section):
    """All settings. Every one is overridable by ``EMBEDDING_ASSETS_<SECTION>__<NAME>``."""

    data_dir: Path = Path("data")
    corpus: Corpus = Corpus()
    chunking: Chunking = Chunking()
    embedding: Embedding = Embedding()
    gemini: Gemini = Gemini()
    limits: Limits = Limits()
    budget: Budget = Budget()
    prices: dict[Text, ModelPrice] = {}
    publishing: Publishing = Publishing()
    retention: Retention = Retention()
    schedule: Schedule = Schedule()
    alerts: Alerts = Alerts()
    catalog: Catalog = Catalog()

    _corpus_folder: Path = PrivateAttr(default=Path())
    _tables_folder: Path = PrivateAttr(default=Path())
    _source_folder: Path = PrivateAttr(default=Path())

    @field_validator("data_dir", mode="before")
    @classmethod
    def _check_data_dir(cls, value: object) -> object:
        if value == "":  # Path("") would quietly be the working directory
            raise ValueError("expected a directory; '.' is the working directory")
        return value

    @model_validator(mode="after")
    def _check_grace(self) -> Self:
        """A create call may take that long, and its job must not be given up on its way."""
        grace_s, timeout_s = self.limits.unconfirmed_grace_s, self.gemini.timeout_s
        if grace_s < timeout_s:
            raise ValueError(
                f"limits.unconfirmed_grace_s is {grace_s:g}, but a create call may take "
                f"gemini.timeout_s, {timeout_s:g}; less would create jobs twice"
            )
        return self

    @property
    def corpus_folder(self) -> Path:
        """Where relative paths of ``corpus.paths`` start; by itself the working directory."""
        return self._corpus_folder

    @property
    def tables_folder(self) -> Path:
        """Where relative paths of ``corpus.tables`` start."""
        return self._tables_folder

    @property
    def source_folder(self) -> Path:
        """Where ``corpus.source`` is looked for, beside what is installed."""
        return self._source_folder

    def placed(self, *, data_dir: Path, corpus: Path, tables: Path, source: Path) -> Self:
        """The same, with relative paths that start at these folders."""
        placed = self.model_copy(update={"data_dir": data_dir / self.data_dir})
        placed._corpus_folder = corpus
        placed._tables_folder = tables
        placed._source_folder = source
        return placed

    def asking(self, base_url: str) -> Self:
        """The same, with another ``gemini.base_url``."""
        gemini = self.gemini.model_copy(update={"base_url": base_url})
        return self.model_copy(update={"gemini": gemini})

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
