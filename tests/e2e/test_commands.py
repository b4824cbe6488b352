"""Commands that cannot do what they were asked to: one clear line, exit code 2, no traceback."""

import resource
import socket
import subprocess
from collections.abc import Iterator

import pytest

from embedding_assets.cli.processes import check_port
from embedding_assets.defs.instance import INSTANCE_SETTINGS
from embedding_assets.emulator.server import running
from embedding_assets.emulator.settings import EmulatorSettings
from tests.e2e.command_line import BIN, REPOSITORY, CommandLine, free_port, write_settings
from tests.factories import write_corpus


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def _error_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed command has to say."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize("command", [("search", "anything"), ("status",), ("failures",)])
def test_no_index(command_line: CommandLine, command: tuple[str, ...]) -> None:
    """Reading an index that does not exist says where it was sought and how to make one."""
    line = _error_line(command_line.run(*command))

    assert line == (
        f"there is no index at '{command_line.index_path}'; run `embedding-assets reindex` first"
    )
    assert not command_line.data.exists()


@pytest.mark.parametrize("command", [("search", "anything"), ("status",), ("failures",)])
def test_index_that_is_not_sqlite(command_line: CommandLine, command: tuple[str, ...]) -> None:
    """A file that is no database is named, and left as it is."""
    command_line.data.mkdir()
    command_line.index_path.write_bytes(b"this is no database, it only has its name" * 50)

    line = _error_line(command_line.run(*command))

    assert str(command_line.index_path) in line
    assert "not a database" in line
    assert command_line.index_path.read_bytes().startswith(b"this is no database")


def test_reindex_into_a_file_that_is_not_sqlite(command_line: CommandLine) -> None:
    """A reindex does not write into a file that is something else."""
    command_line.data.mkdir()
    command_line.index_path.write_bytes(b"this is no database, it only has its name" * 50)

    done = command_line.run("reindex")

    assert done.returncode == 2
    assert "not a database" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert command_line.index_path.read_bytes().startswith(b"this is no database")


def test_data_directory_that_cannot_be_made(command_line: CommandLine) -> None:
    """What the operating system has to say about a file or a directory is one line, too."""
    command_line.data.write_text("a file, where the data directory should be")

    line = _error_line(command_line.run("reindex"))

    assert "Not a directory" in line
    assert str(command_line.data) in line


def test_corpus_path_that_does_not_exist(command_line: CommandLine) -> None:
    """A reindex of a corpus that is not there names the path."""
    nowhere = str(command_line.docs / "nowhere")
    write_settings(command_line, corpus={"paths": [nowhere]})

    done = command_line.run("reindex")

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert line.startswith("error: ")
    assert f"'{nowhere}' does not exist" in line


def test_settings_file_that_does_not_exist(command_line: CommandLine) -> None:
    """A settings file that is not there is named."""
    command_line.config.unlink()

    line = _error_line(command_line.run("status"))

    assert f"'{command_line.config}' does not exist" in line


def test_malformed_toml(command_line: CommandLine) -> None:
    """A settings file that is no TOML is named, with the line of the mistake."""
    command_line.config.write_text("data_dir = 'data'\n[corpus\n")

    line = _error_line(command_line.run("status"))

    assert str(command_line.config) in line
    assert "not valid TOML" in line
    assert "line 2" in line


def test_unknown_setting(command_line: CommandLine) -> None:
    """A misspelt setting is named, instead of being ignored."""
    write_settings(command_line, limits={"max_request_per_job": 7})

    line = _error_line(command_line.run("status"))

    assert "limits.max_request_per_job" in line
    assert "is not a setting" in line


def test_bad_setting_from_the_environment(command_line: CommandLine) -> None:
    """A value out of range is named with what was found, wherever it comes from."""
    done = command_line.run("status", EMBEDDING_ASSETS_LIMITS__MAX_REQUESTS_PER_JOB="20000")

    line = _error_line(done)
    assert "limits.max_requests_per_job" in line
    assert "'20000'" in line


@pytest.mark.parametrize("month", ["2026-13", "1999-01", "november", "", "2026-11-0001"])
def test_bad_month(command_line: CommandLine, month: str) -> None:
    """A month that is no partition is refused before anything is started."""
    line = _error_line(command_line.run("reindex", "--month", month))

    assert f"--month {month!r} is not a partition" in line
    assert "2026-11" in line
    assert not command_line.data.exists()


@pytest.mark.parametrize("query", ["", " \t\n"])
def test_empty_query(command_line: CommandLine, query: str) -> None:
    """A query without words is refused."""
    assert "the query is empty" in _error_line(command_line.run("search", query))


def test_a_filter_that_is_none(command_line: CommandLine) -> None:
    """It is refused in one line that says where, and how one is written."""
    line = _error_line(command_line.run("search", "lanterns", "--where", "title ~ lamp*"))

    assert line.startswith("the filter is not understood at character 7: expected '=' or '!='")
    assert line.endswith("""it is written like uri = "guide/*" and language != en""")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("retry", "--shard", "2026-11-0001", "--code", "INTERNAL"), "--shard stands alone"),
        (("retry", "--shard", "2026-11-0001", "--document", "*.md"), "--shard stands alone"),
        (("ui", "--allow-host", "https://index.test/"), "'https://index.test/' is no host name"),
        (("ui", "--allow-host", "index.test:443"), "'index.test:443' is no host name"),
        (("ui", "--allow-host", "*"), "'*' is no host name"),
        (("ui", "--allow-host", ""), "'' is no host name"),
    ],
)
def test_options_that_would_do_nothing(
    command_line: CommandLine, command: tuple[str, ...], sentence: str
) -> None:
    """An option that could not have the effect that was meant is refused, not passed over."""
    assert _error_line(command_line.run(*command)).startswith(sentence)


def test_port_in_use_for_ui(command_line: CommandLine, taken_port: int) -> None:
    """A web UI whose port is taken says so and starts nothing."""
    line = _error_line(command_line.run("ui", "--port", str(taken_port)))

    assert f"port {taken_port} on 127.0.0.1 cannot be used" in line
    assert command_line.processes() == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_a_port_of_any_of_this_machine_s_addresses(host: str) -> None:
    """A free port can be used by whichever name, and of whichever family."""
    check_port(host, free_port())


def test_a_host_that_is_not_this_machine(command_line: CommandLine) -> None:
    """It is not the port that is blamed alone."""
    line = _error_line(command_line.run("ui", "--host", "192.0.2.77"))

    assert line.startswith("port 3000 on 192.0.2.77 cannot be used (")
    assert line.endswith("; choose another one with --port, or --host")


def test_port_in_use_for_emulator(command_line: CommandLine, taken_port: int) -> None:
    """An emulator whose port is taken says so in one line."""
    done = command_line.run("emulator", "--port", str(taken_port))

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(taken_port) in line
    assert "already in use" in line
    assert done.stdout == ""


def test_an_emulator_that_can_keep_nothing_does_not_blame_the_port(
    command_line: CommandLine,
) -> None:
    """The directory is named, not the address that could be had."""
    emulator_dir = command_line.data / "emulator"
    (emulator_dir / "lock").mkdir(parents=True)

    done = command_line.run("emulator", "--port", "0")

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"emulator: cannot keep anything in {emulator_dir}: ")
    assert "Is a directory" in line


def test_nothing_published_yet(command_line: CommandLine) -> None:
    """Searching an index that was only created says that nothing is published."""
    write_settings(command_line, budget={"max_cost_usd": 0})
    write_corpus(command_line.docs, {"one.txt": "One document, too dear."})
    done = command_line.run("reindex")
    assert done.returncode == 2
    assert "budget.max_cost_usd" in done.stderr
    assert "Traceback" not in done.stderr

    done = command_line.run("search", "anything")

    assert done.returncode == 2
    assert "nothing is published" in done.stderr.splitlines()[-1]


def test_definitions_are_valid(command_line: CommandLine) -> None:
    """``dagster definitions validate`` is content with the repository's workspace.yaml."""
    done = command_line.run_program(
        [str(BIN / "dagster"), "definitions", "validate", "-w", "workspace.yaml"],
        REPOSITORY,
        DAGSTER_HOME=str(command_line.directory),
        EMBEDDING_ASSETS_DATA_DIR=str(command_line.data),
    )

    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert "All code locations passed validation." in output
    assert "Traceback" not in output
    assert "embedding_assets/" not in output  # no warning from our code


def test_a_first_month_that_has_not_begun_is_said_by_the_code_location(
    command_line: CommandLine,
) -> None:
    """What Dagster shows of a code location that cannot be loaded ends with the setting's name."""
    done = command_line.run_program(
        [str(BIN / "dagster"), "definitions", "validate", "-w", "workspace.yaml"],
        REPOSITORY,
        DAGSTER_HOME=str(command_line.directory),
        EMBEDDING_ASSETS_DATA_DIR=str(command_line.data),
        EMBEDDING_ASSETS_SCHEDULE__FIRST_MONTH="2099-12",
    )

    assert done.returncode != 0
    sentence = "schedule.first_month: expected a month that has begun"
    assert sentence in done.stdout + done.stderr


def test_dg_checks_definitions(command_line: CommandLine) -> None:
    """``dg check defs`` is content with the repository as a project."""
    done = command_line.run_program(
        [str(BIN / "dg"), "check", "defs"],
        REPOSITORY,
        DAGSTER_HOME=str(command_line.directory),
        EMBEDDING_ASSETS_DATA_DIR=str(command_line.data),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "All definitions loaded successfully." in done.stdout + done.stderr


@pytest.mark.parametrize("has_home", [False, True])
def test_full_disk(command_line: CommandLine, has_home: bool) -> None:
    """A reindex that cannot write a byte says so in one line and leaves nothing half written."""
    write_corpus(command_line.docs, {"lantern.txt": "A lantern."})
    config = command_line.data / "dagster" / "dagster.yaml"
    if has_home:
        config.parent.mkdir(parents=True)
        config.write_text(INSTANCE_SETTINGS)
    with running(command_line.directory / "gemini", settings=EmulatorSettings()) as emulator:
        write_settings(command_line, gemini={"base_url": emulator.base_url})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        words = [*command_line.program, "reindex"]
        done = command_line.run_program(words, command_line.directory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ("disk I/O error" if has_home else "File too large") in _error_line(done)
    assert config.exists() == has_home
