"""Settings: what may be chosen, where it is read from, and how a bad choice is refused."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from embedding_assets.errors import SettingsError
from embedding_assets.settings.reading import load_settings, setting_names
from embedding_assets.settings.values import RouteChoice, Settings, Table


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in, so that no settings file is found by chance."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file that is not there yet."""
    return tmp_path / "chosen.toml"


def refusal(file: Path | None = None) -> str:
    """What is said when the settings are refused: always one line."""
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults() -> None:
    """Without a file and an environment there are defaults: no service, the smallest tier."""
    settings = load_settings()
    assert settings == Settings()
    assert settings.gemini.base_url == ""
    assert settings.gemini.tier == 1
    assert settings.limits.route is RouteChoice.AUTO
    assert settings.limits.max_requests_per_job == 10_000
    assert settings.limits.min_batch_requests == 100
    assert settings.budget.max_cost_usd == Decimal("25.0")


def test_everything_lives_under_the_data_directory() -> None:
    """All paths follow from data_dir."""
    settings = Settings(data_dir=Path("/srv/index"))
    assert [
        settings.index_path,
        settings.snapshots_dir,
        settings.shards_dir,
        settings.results_dir,
        settings.dagster_dir,
        settings.emulator_dir,
        settings.emulator_address_file,
    ] == [
        Path("/srv/index/index.db"),
        Path("/srv/index/snapshots"),
        Path("/srv/index/shards"),
        Path("/srv/index/results"),
        Path("/srv/index/dagster"),
        Path("/srv/index/emulator"),
        Path("/srv/index/emulator/address.json"),
    ]


def test_a_file_overrides_defaults(file: Path) -> None:
    """What the file says holds; what it does not mention keeps its default."""
    file.write_text(
        'data_dir = "elsewhere"\n'
        '[corpus]\npaths = ["a", "b/*.md"]\n'
        '[limits]\nroute = "sync"\n'
        "[budget]\nmax_cost_usd = 0.1\n"
    )
    settings = load_settings(file)
    assert settings.data_dir == Path("elsewhere")
    assert settings.corpus.paths == ("a", "b/*.md")
    assert settings.limits.route is RouteChoice.SYNC
    assert settings.limits.max_concurrent_jobs == 50
    assert settings.budget.max_cost_usd == Decimal("0.1")


def test_the_environment_overrides_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable wins over the file, name by name and not section by section."""
    file.write_text("[limits]\nmax_concurrent_jobs = 7\nmax_job_attempts = 5\n")
    monkeypatch.setenv("EMBEDDING_ASSETS_LIMITS__MAX_CONCURRENT_JOBS", "9")
    limits = load_settings(file).limits
    assert (limits.max_concurrent_jobs, limits.max_job_attempts) == (9, 5)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("data_dir", "/srv/index", Path("/srv/index")),
        ("corpus.paths", '["a", "b c"]', ("a", "b c")),
        ("chunking.max_chars", "500", 500),
        ("embedding.dimensions", "1536", 1536),
        ("embedding.task_type", "", ""),
        ("gemini.base_url", "emulator", "emulator"),
        ("gemini.tier", "2", 2),
        ("gemini.timeout_s", "1.5", 1.5),
        ("limits.route", "batch", RouteChoice.BATCH),
        ("limits.max_enqueued_tokens", "1000", 1000),
        ("budget.max_cost_usd", "0.30", Decimal("0.30")),
        ("schedule.cron", "30 4 * * mon#1", "30 4 * * mon#1"),
        ("schedule.cron", "@monthly", "@monthly"),
        ("schedule.timezone", "Europe/Berlin", "Europe/Berlin"),
        ("corpus.source", "our.wiki:pages", "our.wiki:pages"),
    ],
)
def test_variables_are_read_as_the_setting_s_type(
    name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of setting can be given as a text in the environment, a list as JSON."""
    monkeypatch.setenv(variable(name), text)
    found: object = load_settings()
    for part in name.split("."):
        found = getattr(found, part)
    assert found == value


def test_every_setting_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each default, written into its variable, is accepted and changes nothing."""
    defaults = Settings().model_dump(mode="json")
    for name in setting_names():
        section, _, key = name.rpartition(".")
        value = defaults[section][key] if section else defaults[key]
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            monkeypatch.setenv(variable(name), text)
    assert load_settings() == Settings()


def test_a_whole_section_may_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """A section's variable holds a JSON object."""
    monkeypatch.setenv("EMBEDDING_ASSETS_GEMINI", '{"tier": 3}')
    assert load_settings().gemini.tier == 3


@pytest.mark.parametrize(
    ("name", "text", "expectation"),
    [
        ("data_dir", "", "expected a directory; '.' is the working directory (found '')"),
        ("corpus", "abc", "valid dictionary or instance of Corpus (found 'abc')"),
        ("corpus.paths", "docs", "expected a list, in the environment as JSON"),
        ("corpus.paths", "[]", "at least 1 item"),
        ("corpus.source", "wiki", "expected '' or 'package.module:function' (found 'wiki')"),
        ("corpus.source", "my wiki:pages", "'package.module:function'"),
        ("corpus.source", "wiki:pages()", "'package.module:function'"),
        ("corpus.exclude", '["a/", "!"]', "'!' is no pattern as in .gitignore"),
        ("chunking.max_chars", "99", "greater than or equal to 100 (found '99')"),
        ("embedding.model", "", "at least 1 character (found '')"),
        ("embedding.dimensions", "3073", "less than or equal to 3072 (found '3073')"),
        ("embedding.task_type", "retrieval_document", "'RETRIEVAL_DOCUMENT'"),
        ("gemini.base_url", "localhost:8080", "'http(s)://host[:port]' (found 'localhost:8080')"),
        ("gemini.base_url", "http://[::1", "(found 'http://[::1')"),
        ("gemini.base_url", "https://", "'http(s)://host[:port]' (found 'https://')"),
        ("gemini.tier", "4", "less than or equal to 3 (found '4')"),
        ("gemini.timeout_s", "inf", "finite number (found 'inf')"),
        ("gemini.timeout_s", "0", "greater than 0 (found '0')"),
        ("limits.route", "fast", "'auto', 'batch' or 'sync' (found 'fast')"),
        ("limits.max_requests_per_job", "10001", "less than or equal to 10000"),
        ("limits.max_concurrent_jobs", "many", "valid integer"),
        ("limits.max_concurrent_jobs", "0", "greater than 0"),
        ("limits.max_enqueued_tokens", "", "valid integer"),
        ("limits.unconfirmed_grace_s", "-1", "greater than or equal to 0"),
        ("budget.max_cost_per_month_usd", "-0.01", "greater than or equal to 0"),
        ("limits.run_retry_s", "1e300", "less than or equal to"),
        ("budget.max_cost_usd", "nan", "finite number (found 'nan')"),
        ("budget.max_cost_usd", "-0.01", "greater than or equal to 0"),
        ("publishing.min_coverage", "95", "less than or equal to 1"),
        ("schedule.cron", "monthly", "like '0 3 1 * *', in numbers that exist (found 'monthly')"),
        ("schedule.cron", "0 25 1 * *", "in numbers that exist (found '0 25 1 * *')"),
        ("schedule.cron", "0 3 1 * * *", "minute, hour, day, month and weekday"),
        ("schedule.cron", "0 3 1 * moon", "minute, hour, day, month and weekday"),
        ("schedule.cron", "", "(found '')"),
        ("schedule.timezone", "Mars/Olympus", "'Europe/Berlin' (found 'Mars/Olympus')"),
        ("schedule.timezone", "../etc/passwd", "'Europe/Berlin' (found '../etc/passwd')"),
        ("schedule.timezone", "Europe", "'Europe/Berlin' (found 'Europe')"),
        ("schedule.first_month", "2026-13", "a month, like '2026-01' (found '2026-13')"),
        ("schedule.first_month", "0000-01", "a month, like '2026-01' (found '0000-01')"),
        ("schedule.first_month", "2099-12", "a month that has begun, and it is 20"),
        ("schedule.poll_interval_s", "0.5", "valid integer"),
    ],
)
def test_a_bad_value_is_named(
    name: str, text: str, expectation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one line says which setting, what was expected and what was found."""
    monkeypatch.setenv(variable(name), text)
    message = refusal()
    assert message.startswith(f"bad settings in the environment: {name}: ")
    assert expectation in message
    assert "(found " in message


TABLE = {"name": "tickets", "path": "tickets.csv", "id": "id", "text": "body"}
PASSWORD = "made-up-password-4711"
DATABASE = f"postgresql://me:{PASSWORD}@db.example/tickets"


def test_tables_in_a_file(file: Path) -> None:
    """One section a table; a column of text may be one or several."""
    file.write_text(
        "[corpus]\npaths = []\n"
        "[[corpus.tables]]\n"
        'name = "tickets"\npath = "tickets.csv"\nid = "id"\ntext = "body"\n'
        "[[corpus.tables]]\n"
        f'name = "faq"\ndatabase = "{DATABASE}"\nquery = "SELECT 1"\n'
        'id = "id"\ntext = ["question", "answer"]\ntitle = "id"\nversion = "at"\n'
        'url = "https://faq.example/{id}/{lang}"\nmetadata = ["lang"]\n'
    )
    tickets, faq = load_settings(file).corpus.tables
    assert tickets == Table.model_validate(TABLE)
    assert tickets.columns == ("id", "body")
    assert faq.columns == ("id", "question", "answer", "lang", "at")
    assert faq.database.get_secret_value() == DATABASE
    assert PASSWORD not in repr(faq)


@pytest.mark.parametrize(
    ("changes", "expectation"),
    [
        ({"path": ""}, "corpus.tables.0: expected one of path, database and database_env"),
        ({"database": DATABASE}, "corpus.tables.0: expected one of path, database and data"),
        ({"query": "SELECT 1"}, "corpus.tables.0: expected a query with a database, and none with"),
        ({"path": "", "database": DATABASE}, "corpus.tables.0: expected a query with a database"),
        ({"name": "a/b"}, "corpus.tables.0.name: String should match pattern"),
        ({"name": ""}, "corpus.tables.0.name: String should match pattern"),
        ({"id": ""}, "corpus.tables.0.id: String should have at least 1 character"),
        ({"text": []}, "corpus.tables.0.text: Value should have at least 1 item"),
        ({"text": ["a", ""]}, "corpus.tables.0.text.1: String should have at least 1 character"),
        ({"media_type": "application/pdf"}, "corpus.tables.0.media_type: Input should be 'text/pl"),
        ({"colour": DATABASE}, "'corpus.tables.0.colour' is not a setting"),
        ({"database": [DATABASE]}, "corpus.tables.0.database: Input should be a valid string"),
    ],
)
def test_a_bad_table_is_named_without_what_is_in_it(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], expectation: str
) -> None:
    """There may be a password in it."""
    monkeypatch.setenv(variable("corpus.tables"), json.dumps([{**TABLE, **changes}]))
    message = refusal()
    assert expectation in message
    assert PASSWORD not in message


@pytest.mark.parametrize("corpus", ['{"tables": [{"database": "%s"', '["%s"]', '"%s"'])
def test_a_corpus_that_is_none_does_not_show_its_passwords(
    monkeypatch: pytest.MonkeyPatch, corpus: str
) -> None:
    """One bracket is forgotten soon."""
    monkeypatch.setenv(variable("corpus"), corpus % DATABASE)
    message = refusal()
    assert "corpus: Input should be a valid dictionary" in message
    assert PASSWORD not in message


def test_two_tables_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rows would have the same uris."""
    monkeypatch.setenv(variable("corpus.tables"), json.dumps([TABLE, TABLE]))
    assert "corpus.tables: two tables are called 'tickets'" in refusal()


@pytest.mark.parametrize("other", [{"tables": [TABLE]}, {"source": "wiki:pages"}])
def test_there_need_be_no_paths_beside_a_table_or_a_source(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, object]
) -> None:
    """Only a corpus of nothing is refused."""
    monkeypatch.setenv(variable("corpus"), json.dumps({"paths": [], **other}))
    assert load_settings().corpus.paths == ()


@pytest.mark.parametrize(
    ("prices", "expectation"),
    [
        ('{"m": {"sync": 0, "batch": 0.1}}', "prices.m.sync: Input should be greater than 0"),
        ('{"m": {"sync": 1, "batch": -0.1}}', "prices.m.batch: Input should be greater than 0"),
        ('{"m": {"sync": 0.2}}', "prices.m.batch: Field required"),
        ('{"m": {"sync": 1, "batch": 1, "bach": 1}}', "'prices.m.bach' is not a setting"),
        ('{"": {"sync": 1, "batch": 1}}', "at least 1 character"),
        ("cheap", "prices: Input should be a valid dictionary"),
    ],
)
def test_a_price_is_never_nothing(
    prices: str, expectation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zero, a missing route or a misspelt one is refused: no bill is small by mistake."""
    monkeypatch.setenv("EMBEDDING_ASSETS_PRICES", prices)
    assert expectation in refusal()


@pytest.mark.parametrize(
    "address",
    [
        "https://docs.example",
        "http://127.0.0.1:8000/docs/",
        "https://docs.example/{stem}/",
        "https://docs.example/view?page={path}#top",
    ],
)
def test_documents_may_be_found_at_any_address_of_the_web(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rest of the uri at its end, or where it says."""
    monkeypatch.setenv("EMBEDDING_ASSETS_CORPUS__URLS", json.dumps({"docs/": address}))
    assert load_settings().corpus.urls == {"docs/": address}


@pytest.mark.parametrize(
    "address",
    [
        "",
        "docs.example",
        "ftp://docs.example/",
        "https://",
        "https:///a",
        "https://{path}",
        "https://docs.example/{name}",
        "https://docs.example/{path",
        "https://docs.example/a b",
    ],
)
def test_an_address_that_is_none_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows a link would be the first to see it otherwise."""
    monkeypatch.setenv("EMBEDDING_ASSETS_CORPUS__URLS", json.dumps({"docs/": address}))
    assert f"corpus.urls: {address!r} is no address like 'https://host/docs/'" in refusal()


def test_all_bad_values_are_named_at_once(file: Path) -> None:
    """Two mistakes are told in one go."""
    file.write_text("[limits]\nmax_concurrent_jobs = 0\n[gemini]\ntier = 9\n")
    message = refusal(file)
    assert "limits.max_concurrent_jobs: " in message
    assert "gemini.tier: " in message


def test_a_long_value_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of thousands of characters does not fill the screen."""
    monkeypatch.setenv("EMBEDDING_ASSETS_GEMINI__BASE_URL", "x" * 10_000)
    assert len(refusal()) < 300


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[limits]\nrout = 1", "'limits.rout' is not a setting; did you mean 'limits.route'?"),
        ("[limit]\nroute = 1", "'limit' is not a setting; did you mean 'limits'?"),
        ("wibble = 1", "'wibble' is not a setting"),
        ('[gemini]\napi_key = "secret-key"', "'gemini.api_key' is not a setting"),
        ('[limits]\n"a\\nb" = 1', r"'limits.a\nb' is not a setting"),
    ],
)
def test_a_misspelt_setting_in_the_file(text: str, complaint: str, file: Path) -> None:
    """A name that is no setting is refused, never ignored, and its value is not shown."""
    file.write_text(text)
    message = refusal(file)
    assert complaint in message
    assert "secret-key" not in message


@pytest.mark.parametrize(
    "name",
    [
        "EMBEDDING_ASSETS_LIMITS__ROUT",
        "EMBEDDING_ASSETS_LIMIT__ROUTE",
        "EMBEDDING_ASSETS_LIMITS_ROUTE",
        "EMBEDDING_ASSETS_LIMITS__ROUTE__X",
        "embedding_assets_limits__rout",
    ],
)
def test_a_misspelt_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable with our prefix that is no setting is refused, whatever part is misspelt."""
    monkeypatch.setenv(name, "sync")
    message = refusal()
    assert f"{name!r} is not a setting" in message
    assert "did you mean 'EMBEDDING_ASSETS_LIMITS__ROUTE'?" in message


def test_a_variable_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of variables are read in any case."""
    monkeypatch.setenv("embedding_assets_limits__route", "sync")
    assert load_settings().limits.route is RouteChoice.SYNC


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"a = [", "not valid TOML"), (b"\xff = 1", "cannot be read: 'utf-8'")],
)
def test_a_file_that_is_no_toml(content: bytes, complaint: str, file: Path) -> None:
    """A malformed file is refused in one line that names it."""
    file.write_bytes(content)
    message = refusal(file)
    assert str(file) in message
    assert complaint in message


def test_a_section_that_is_no_table(file: Path) -> None:
    """A number where a section belongs is refused by the section's name."""
    file.write_text("limits = 5")
    assert "limits: " in refusal(file)


def test_a_missing_file() -> None:
    """A file that was asked for and is not there is an error, not a default."""
    named = Path("absent.toml")
    assert refusal(named) == "settings file 'absent.toml' does not exist; name another one"


@pytest.mark.parametrize("name", [".", "embedding_assets.toml"])
def test_a_directory_in_place_of_a_file(working_directory: Path, name: str) -> None:
    """A directory is there, so it is not said that it is not."""
    (working_directory / "embedding_assets.toml").mkdir()
    assert refusal(Path(name)) == f"settings file {name!r} is a directory; name a file in it"


# --- where relative paths start ---------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A settings file in a folder that is not the working directory; it says nothing yet."""
    path = tmp_path / "et c" / "our.toml"
    path.parent.mkdir()
    path.touch()
    return path


def test_relative_paths_of_a_file_start_at_its_folder(elsewhere: Path) -> None:
    """One settings file means one index and one corpus, from wherever it is named."""
    elsewhere.write_text('data_dir = "../index"\ncorpus.paths = ["docs", "/srv/more"]\n')
    settings = load_settings(elsewhere)
    assert settings.data_dir == elsewhere.parent / "../index"
    assert (settings.corpus_folder, settings.corpus.paths) == (
        elsewhere.parent,
        ("docs", "/srv/more"),
    )
    assert (settings.tables_folder, settings.source_folder) == (elsewhere.parent, elsewhere.parent)
    assert load_settings(Path("et c/our.toml")) == settings


def test_relative_defaults_start_at_the_file_s_folder(elsewhere: Path) -> None:
    """What the file leaves out stands in it as the default."""
    settings = load_settings(elsewhere)
    assert (settings.data_dir, settings.corpus_folder) == (
        elsewhere.parent / "data",
        elsewhere.parent,
    )


def test_relative_paths_of_the_environment_start_at_the_working_directory(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever types them is there."""
    elsewhere.write_text('data_dir = "index"\ncorpus.paths = ["docs"]\n')
    monkeypatch.setenv(variable("data_dir"), "here")
    monkeypatch.setenv(variable("corpus"), '{"paths": ["notes"]}')
    settings = load_settings(elsewhere)
    assert (settings.data_dir, settings.corpus_folder) == (Path("here"), Path())
    assert (settings.tables_folder, settings.source_folder) == (elsewhere.parent, elsewhere.parent)
    monkeypatch.setenv(variable("corpus.tables"), json.dumps([TABLE]))
    monkeypatch.setenv(variable("corpus.source"), "wiki:pages")
    settings = load_settings(elsewhere)
    assert (settings.tables_folder, settings.source_folder) == (Path(), Path())


def test_a_path_that_sqlite_could_not_open_is_refused(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would speak of a full disk."""
    monkeypatch.setenv(variable("data_dir"), f"/srv/{'d' * 200}/{'d' * 200}")
    message = "data_dir: expected a path of at most 400 bytes, because SQLite opens no longer ones"
    assert f"{message} (found 406)" in refusal(elsewhere)
    monkeypatch.setenv(variable("data_dir"), f"/srv/{'d' * 195}/{'d' * 199}")
    assert load_settings(elsewhere)


def test_an_absolute_path_stays_as_it_is(elsewhere: Path) -> None:
    """It starts nowhere."""
    elsewhere.write_text('data_dir = "/srv/index"\n')
    assert load_settings(elsewhere).data_dir == Path("/srv/index")


@pytest.mark.parametrize("absolute", [False, True])
def test_beside_the_usual_file_paths_stay_as_short_as_they_are(
    working_directory: Path, absolute: bool
) -> None:
    """With the file in the working directory nothing is put before them."""
    named = Path("embedding_assets.toml")
    named.write_text('data_dir = "index"\n')
    settings = load_settings(working_directory / named if absolute else named)
    assert (settings.data_dir, settings.corpus_folder) == (Path("index"), Path())
    assert load_settings() == settings


def test_the_usual_file_is_found(working_directory: Path) -> None:
    """embedding_assets.toml of the working directory is read without being asked for."""
    (working_directory / "embedding_assets.toml").write_text("[gemini]\ntier = 2\n")
    assert load_settings().gemini.tier == 2


def test_the_environment_names_the_file(
    working_directory: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMBEDDING_ASSETS_CONFIG names the file that is read instead of the usual one."""
    (working_directory / "embedding_assets.toml").write_text("[gemini]\ntier = 2\n")
    file.write_text("[gemini]\ntier = 3\n")
    monkeypatch.setenv("EMBEDDING_ASSETS_CONFIG", str(file))
    assert load_settings().gemini.tier == 3


def test_an_argument_names_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file given as an argument wins over EMBEDDING_ASSETS_CONFIG."""
    file.write_text("[gemini]\ntier = 3\n")
    monkeypatch.setenv("EMBEDDING_ASSETS_CONFIG", "absent.toml")
    assert load_settings(file).gemini.tier == 3


def test_a_named_file_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file named by EMBEDDING_ASSETS_CONFIG is an error."""
    monkeypatch.setenv("EMBEDDING_ASSETS_CONFIG", "absent.toml")
    assert "'absent.toml' does not exist" in refusal()


def test_settings_do_not_change() -> None:
    """Settings are frozen, sections too."""
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.limits.max_concurrent_jobs = 1


@pytest.mark.parametrize(
    ("tier", "enqueued", "per_job"),
    [(1, 500_000, 250_000), (2, 5_000_000, 2_500_000), (3, 10_000_000, 5_000_000)],
)
def test_token_limits_follow_from_the_tier(
    tier: int, enqueued: int, per_job: int, file: Path
) -> None:
    """Tokens that may wait come from the tier's table, and one job may take half of them."""
    file.write_text(f"[gemini]\ntier = {tier}\n")
    settings = load_settings(file)
    assert (settings.max_enqueued_tokens, settings.max_tokens_per_job) == (enqueued, per_job)


@pytest.mark.parametrize(
    ("limits", "enqueued", "per_job"),
    [
        ({"max_enqueued_tokens": 3000}, 3000, 1500),
        ({"max_tokens_per_job": 70}, 500_000, 70),
        ({"max_enqueued_tokens": 3000, "max_tokens_per_job": 70}, 3000, 70),
        ({"max_enqueued_tokens": 1}, 1, 1),
    ],
)
def test_token_limits_can_be_set(
    limits: dict[str, int], enqueued: int, per_job: int, file: Path
) -> None:
    """A limit that is set wins over the tier; half of an odd one is never nothing."""
    file.write_text("[limits]\n" + "".join(f"{k} = {v}\n" for k, v in limits.items()))
    settings = load_settings(file)
    assert (settings.max_enqueued_tokens, settings.max_tokens_per_job) == (enqueued, per_job)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return "EMBEDDING_ASSETS_" + name.replace(".", "__").upper()


def test_the_grace_is_longer_than_a_create_call_may_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A job must not be given up while the call that creates it may be on its way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBEDDING_ASSETS_LIMITS__UNCONFIRMED_GRACE_S", "60")
    message = r"unconfirmed_grace_s is 60, but a create call may take gemini\.timeout_s, 120"
    with pytest.raises(SettingsError, match=f"^bad settings in the environment: limits.{message}"):
        load_settings()
    monkeypatch.setenv("EMBEDDING_ASSETS_GEMINI__TIMEOUT_S", "60")
    assert load_settings().limits.unconfirmed_grace_s == 60
