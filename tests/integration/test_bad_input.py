"""What comes from outside and cannot be is said in one sentence, wherever it comes in."""

import json
import re
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import dagster as dg
import pytest
from typer.main import get_command

from embedding_assets.cli.app import app, main
from embedding_assets.defs.failures import TickFailedError
from tests.integration.dagster_support import (
    ANIMALS,
    MONTH,
    SENSORS,
    Pipeline,
    Result,
    a_pipeline,
    failure_of,
)

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
CHECKS = ("coverage", "published_vectors_are_sound", "cost_against_estimate")
NEWER = 99
PAGE_BYTES = 16_384


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline with a published month; whoever spoils its index puts it back."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        a_pipeline(tmp_path_factory.mktemp("published"), monkeypatch) as pipeline,
    ):
        pipeline.write(ANIMALS[:8])
        pipeline.reindex()
        yield pipeline


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """The console script answers SIGTERM in its own way."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


# --- run tags ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "tag", "text"),
    [
        ("reindex", "approve_cost_usd", "much"),
        ("reindex", "send_now", "ture"),
        ("reindex", "approve_cost", "40"),
        ("submit_shards", "resubmit", "please"),
        ("submit_shards", "report_failures", "2"),
        ("collect_embeddings", "pid", "mine"),
        ("publish_index", "allow", "shrinkag"),
        ("publish_index", "generation", "first"),
        ("publish_index", "generation", "99999999999999999999"),
    ],
)
def test_a_mistyped_tag_is_refused_before_anything_is_done(
    published: Pipeline, job: str, tag: str, text: str
) -> None:
    """The run ends with the sentence that names the tag, at its first step, and changes nothing."""
    before = sorted(published.settings.data_dir.rglob("*.*")), published.values("search_index")
    is_monthly = job in ("reindex", "publish_index")

    result = published.run(
        job,
        month=MONTH if is_monthly else None,
        shards=[] if is_monthly else published.shard_keys(),
        tags={f"embedding_assets/{tag}": text},
    )

    assert failure_of(result).startswith(f"run tag 'embedding_assets/{tag}'")
    assert result.get_asset_materialization_events() == []
    after = sorted(published.settings.data_dir.rglob("*.*")), published.values("search_index")
    assert after == before


def test_a_generation_that_is_not_there_is_named(published: Pipeline) -> None:
    """A tag may be a number, and still none of a generation."""
    tags = {"embedding_assets/generation": "4711"}
    assert "4711" in failure_of(published.run("publish_index", month=MONTH, tags=tags))


# --- an index that cannot be used -------------------------------------------------------------


def of_a_newer_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {NEWER}")


def of_another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name)")


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database, it only has its name" * 50)


def encrypted(path: Path) -> None:
    """As such files are: nothing in it can be told from chance."""
    path.write_bytes(Random(0).randbytes(path.stat().st_size))


def without_header(path: Path) -> None:
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


def damaged(path: Path) -> None:
    """All but its first pages is something else."""
    whole = path.read_bytes()
    path.write_bytes(whole[:49_152] + b"\xff" * (len(whole) - 49_152))


def truncated(path: Path) -> None:
    """Only the first of its pages is left."""
    path.write_bytes(path.read_bytes()[:16_384])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def with_a_log_of_garbage(path: Path) -> None:
    path.with_name("index.db-wal").write_bytes(b"garbage" * 1000)


FROM_A_BACKUP = "put a backup of it in its place"
SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "newer": (of_a_newer_version, rf"' has schema version {NEWER}, this version of"),
    "another program's": (of_another_program, "' has schema version 0, .* or another data_dir"),
    "no database": (no_database, rf"' cannot be used: file is not a database; {FROM_A_BACKUP}"),
    "encrypted": (encrypted, rf"' cannot be used: file is not a database; {FROM_A_BACKUP}"),
    "no header": (without_header, rf"' cannot be used: file is not a database; {FROM_A_BACKUP}"),
    "damaged": (damaged, rf"' is damaged: database disk image is malformed; {FROM_A_BACKUP}"),
    "truncated": (truncated, rf"' is damaged: database disk image is malformed; {FROM_A_BACKUP}"),
    "emptied": (emptied, rf"' holds no index; {FROM_A_BACKUP}"),
    "a directory": (a_directory, rf"' is no file; {FROM_A_BACKUP}"),
    "its log": (with_a_log_of_garbage, r"-wal' is damaged: it is no write-ahead log; put copies"),
}


@pytest.fixture(params=SPOILT)
def spoilt(published: Pipeline, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What is to be said of the index of the pipeline, which cannot be used during the test."""
    spoil, sentence = SPOILT[request.param]
    path = published.settings.index_path
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(path, tmp_path / "good")
    spoil(path)
    before = None if path.is_dir() else path.read_bytes()
    yield rf"'{re.escape(str(path))}{sentence}"
    assert before is None or path.read_bytes() == before  # nothing was repaired in silence
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    if path.is_dir():
        path.rmdir()
    shutil.copy(tmp_path / "good", path)


def checks_of(pipeline: Pipeline, name: str) -> Result:
    """As *Execute checks* in the UI does: no asset, no partition."""
    keys = {dg.AssetCheckKey(dg.AssetKey("search_index"), name)}
    job = pipeline.definitions.resolve_implicit_global_asset_job_def()
    return job.get_subset(asset_selection=set(), asset_check_selection=keys).execute_in_process(
        instance=pipeline.instance, run_config=QUIET, raise_on_error=False
    )


@pytest.mark.parametrize("spoilt", ["newer", "no database", "damaged", "emptied"], indirect=True)
def test_every_run_says_what_is_wrong_with_the_index(published: Pipeline, spoilt: str) -> None:
    """Assets and checks fail with the sentence alone, not with a library's error."""
    shards = published.shard_keys()
    ended = {
        "reindex": published.run("reindex", month=MONTH),
        "shard_plan": published.run("reindex", month=MONTH, only="shard_plan"),
        "submit_shards": published.run("submit_shards", shards=shards),
        "collect_embeddings": published.run("collect_embeddings", shards=shards),
        "publish_index": published.run("publish_index", month=MONTH),
        **{name: checks_of(published, name) for name in CHECKS},
    }

    said = {name: failure_of(result) for name, result in ended.items()}
    assert {name: words for name, words in said.items() if not re.search(spoilt, words)} == {}


@pytest.mark.parametrize("sensor", SENSORS)
def test_every_sensor_says_what_is_wrong_with_the_index(
    published: Pipeline, spoilt: str, sensor: str
) -> None:
    """A tick fails with the sentence, and so it is for the command line."""
    with pytest.raises(TickFailedError, match=spoilt):
        published.ask(sensor)


# --- the command line -------------------------------------------------------------------------


def _has_json(command: str) -> bool:
    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    return any("--json" in parameter.opts for parameter in parameters)


# Every command there is; what it is called with, if it needs to be told something.
ARGUMENTS = {
    "collect": ("2026-11-0001", "--again"),
    "doctor": ("--offline",),
    "emulator": ("--port", "0"),
    "search": ("anything",),
    "ui": ("--port", "39998"),
}
ALL = [(name, *ARGUMENTS.get(name, ())) for name in sorted(get_command(app).commands)]  # type: ignore[attr-defined]
WITHOUT_INDEX = ("calculate", "emulator")
WITH_INDEX = [
    (*words, *as_json)
    for words in (*ALL, ("publish", "1"))
    if words[0] not in WITHOUT_INDEX
    for as_json in ((), ("--json",))
    if not as_json or _has_json(words[0])
]


@pytest.fixture
def said(
    published: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """The one line that a command has to say that cannot do what it was asked to."""
    config = tmp_path / "settings.toml"
    config.write_text(
        f"data_dir = {json.dumps(str(published.settings.data_dir))}\n"
        f"corpus.paths = [{json.dumps(str(published.docs))}]\n"
        'gemini.base_url = "http://127.0.0.1:1"\n'
    )
    monkeypatch.setenv("EMBEDDING_ASSETS_CONFIG", str(config))

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["embedding-assets", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert (ended.value.code, told.out) == (2, ""), told
        (line,) = told.err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return run


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
def test_a_first_month_that_has_not_begun_is_refused_by_every_command(
    said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Before it there is no partition: the setting is named, whatever was asked for."""
    monkeypatch.setenv("EMBEDDING_ASSETS_SCHEDULE__FIRST_MONTH", "2099-12")

    line = said(*arguments)

    assert line.startswith("bad settings in ")
    assert "schedule.first_month: expected a month that has begun" in line
    assert line.endswith("(found '2099-12')")


@pytest.mark.parametrize("arguments", WITH_INDEX, ids=" ".join)
def test_every_command_says_what_is_wrong_with_the_index(
    said: Callable[..., str], spoilt: str, arguments: tuple[str, ...]
) -> None:
    """One line, exit code 2, the name of the file and what to do; for programs, too."""
    if "malformed" in spoilt and "doctor" in arguments:
        pytest.skip("it opens: the doctor reports what is in it, see test_doctor_index.py")
    assert re.search(spoilt, said(*arguments))


LOOKING = ("status", "costs", "failures", "generations", "estimate")
FILLINGS = (b"\xff", b"\0", b"lorem ipsum ")


@pytest.mark.parametrize("command", LOOKING)
def test_a_page_of_garbage_is_said_by_whoever_meets_it(
    published: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """Wherever it is: the answer is one line and exit code 2, or has nothing to do with that page.

    The doctor, who reads all of them, finds it.
    """
    monkeypatch.setenv("EMBEDDING_ASSETS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("EMBEDDING_ASSETS_CORPUS__PATHS", json.dumps([str(published.docs)]))
    monkeypatch.setenv("EMBEDDING_ASSETS_GEMINI__BASE_URL", "emulator")
    monkeypatch.setattr(sys, "argv", ["embedding-assets", command])
    path = tmp_path / "index.db"
    with (
        closing(sqlite3.connect(published.settings.index_path)) as source,
        closing(sqlite3.connect(path)) as copy,
    ):
        source.backup(copy)
    whole, n_met = path.read_bytes(), 0
    for start in range(0, len(whole), PAGE_BYTES):
        for filling in FILLINGS:
            garbage = (filling * PAGE_BYTES)[:PAGE_BYTES]
            path.write_bytes(whole[:start] + garbage + whole[start + PAGE_BYTES :])
            with pytest.raises(SystemExit) as ended:
                main()
            told = capsys.readouterr()
            assert ended.value.code in (0, 2), (start, filling, told)
            if ended.value.code == 2:
                n_met += 1
                assert re.fullmatch(r"error: .*index\.db' .*in its place.*\n", told.err), told
    assert n_met > 3


@pytest.mark.parametrize("arguments", [("reindex",), ("publish", "1"), ("ui", "--port", "39998")])
@pytest.mark.parametrize(
    "content", ["[", "- a list", "colour: red", "run_queue: 3", "storage: {postgres: {}}"]
)
def test_a_bad_dagster_yaml_is_named(
    said: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    content: str,
) -> None:
    """A user may change the file: what Dagster cannot read is said with its path."""
    (tmp_path / "dagster.yaml").write_text(content)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    assert said(*arguments).startswith(f"'{tmp_path / 'dagster.yaml'}' cannot be used: ")


@pytest.mark.parametrize("home", ["relative", "nowhere", "a file"])
def test_a_dagster_home_that_cannot_be_is_named(
    said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    """Dagster wants the absolute path of a directory."""
    (tmp_path / "a file").touch()
    monkeypatch.setenv("DAGSTER_HOME", home if home == "relative" else str(tmp_path / home))
    assert "DAGSTER_HOME" in said("reindex")


# --- what people set in the web UI ------------------------------------------------------------


@pytest.mark.parametrize("cursor", ["first", "", "-"])
def test_a_cursor_that_is_no_number_begins_anew(published: Pipeline, cursor: str) -> None:
    """The web UI lets people set a sensor's cursor: what they cannot mean is as if it was new."""
    sensor = published.definitions.resolve_sensor_def("published_index_alert")
    context = dg.build_sensor_context(
        instance=published.instance,
        cursor=cursor,
        definitions=published.definitions,
        resources={"settings": published.settings},
    )

    tick = sensor.evaluate_tick(context)

    assert tick.skip_message == "tells of what is published from now on"
    assert (tick.cursor or "").isdecimal()
