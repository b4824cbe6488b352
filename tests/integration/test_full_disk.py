"""A disk that fills up: readers go on, nothing is left half written, the next run finishes.

No write is faked. The kernel refuses them: a soft limit of no bytes for any file of this process
stands in for a full disk (EFBIG for ENOSPC), and ``/dev/full`` in a file's place gives ENOSPC. The
emulator, which has a disk of its own as Gemini has, runs as a child.
"""

import hashlib
import json
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import sqlalchemy as sa

from embedding_assets.cli.processes import child
from embedding_assets.clock import utc_now
from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.snapshots import read_snapshot, write_snapshot
from embedding_assets.errors import EmbeddingAssetsError, ResultFileError, StorageError
from embedding_assets.files import replacing
from embedding_assets.gemini.client import GeminiClient
from embedding_assets.gemini.connection import Connection
from embedding_assets.model.batch_jobs import needs_job
from embedding_assets.pipeline.adoption import Lookout
from embedding_assets.pipeline.build import build_generation
from embedding_assets.pipeline.collect import collect_shard, result_path
from embedding_assets.pipeline.plan import make_plan, write_plan
from embedding_assets.pipeline.poll import jobs_to_look_at, poll_jobs
from embedding_assets.pipeline.publish import look_at_gates, publish_generation
from embedding_assets.pipeline.submit import submit_shard, write_requests
from embedding_assets.reader.search import search
from embedding_assets.settings.values import Corpus, Embedding, Limits, RouteChoice, Settings
from embedding_assets.store.database import Database, storage_errors
from embedding_assets.store.index import Index, open_index
from embedding_assets.store.schema import throttles
from tests.factories import NOW, SPEC, a_document, a_reading, write_corpus
from tests.integration.world import World, a_pacer, notes

MONTH = "2026-11"
N_OLD, N_NEW = 3, 2
_POLLS = 1000


# --- the disk -------------------------------------------------------------------------------


@dataclass(slots=True)
class Disk:
    """Full from the n-th moment on: just before or just after a transaction that writes.

    At moment 0 it is full from the beginning.
    """

    full_at: int
    moments: int = 0
    _before: tuple[int, int] = field(default=(0, 0), init=False)
    _is_writing: bool = field(default=False, init=False)

    @property
    def is_full(self) -> bool:
        return self.moments >= self.full_at

    def __enter__(self) -> "Disk":
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        sa.event.listen(sa.Engine, "begin", self._begin)
        sa.event.listen(sa.Pool, "checkin", self._checkin)
        if self.is_full:
            fill_up()
        return self

    def __exit__(self, *_: object) -> None:
        sa.event.remove(sa.Engine, "begin", self._begin)
        sa.event.remove(sa.Pool, "checkin", self._checkin)
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)

    def _begin(self, connection: sa.Connection) -> None:
        if connection.get_execution_options().get("is_writer"):
            self._is_writing = True
            self._pass()

    def _checkin(self, *_: object) -> None:
        if self._is_writing:
            self._is_writing = False
            self._pass()

    def _pass(self) -> None:
        self.moments += 1
        if self.is_full:
            fill_up()


def fill_up() -> None:
    """From here on no file of this process can be written to."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))


@contextmanager
def a_full_disk() -> Iterator[None]:
    """A disk that is full for as long as the block lasts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    fill_up()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- a whole reindex, and what readers see of it --------------------------------------------


@pytest.fixture(scope="module")
def child_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An emulator in a process of its own."""
    directory = tmp_path_factory.mktemp("gemini")
    arguments = ["embedding_assets.emulator", f"--state-dir={directory}", "--latency=0"]
    with child(arguments, is_piped=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip().rpartition(" ")[2]


@pytest.fixture(scope="module")
def client(child_url: str) -> Iterator[GeminiClient]:
    """A client of that emulator."""
    connection = Connection(provider="emulator", base_url=child_url, api_key="secret-key")
    with closing(GeminiClient(connection, api_version="v1beta", timeout_s=10)) as made:
        yield made


def digest(text: str) -> str:
    """By which the emulator's bill names a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def what(kind: str, number: int) -> str:
    """A document's text."""
    return f"What the {kind} has to say in part {number}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reindex:
    """A data directory, and what assets and sensors do in it, without Dagster."""

    settings: Settings
    gemini: GeminiClient

    def write(self, kind: str, n_documents: int) -> None:
        """Documents of a kind, one chunk each, unlike those of any other kind."""
        texts = {f"{kind} {number}.txt": what(kind, number) for number in range(n_documents)}
        write_corpus(Path(self.settings.corpus.paths[0]), texts)

    def run(self) -> None:
        """All of it, from wherever an earlier run got to."""
        snapshot = self.settings.snapshots_dir / f"{MONTH}.parquet"
        write_snapshot(snapshot, a_reading(*self.settings.corpus.paths), now=NOW)
        with open_index(self.settings.index_path, create=True) as index:
            generation = build_generation(
                index,
                read_snapshot(snapshot),
                month=MONTH,
                spec=SPEC,
                chunker=Chunker(max_chars=2000, max_tokens=SPEC.max_text_tokens, has_path=False),
                now=utc_now(),
            ).generation
            write_plan(index, make_plan(index, generation, self.settings), now=utc_now())
            self._submit(index)
            self._collect(index)
            progress = index.generations.progress(generation, limits=self.settings.limits)
            gates = look_at_gates(index, generation, progress, self.settings, now=utc_now())
            publish_generation(index, generation, gates, now=utc_now())

    def _submit(self, index: Index) -> None:
        lookout = Lookout(index=index, gemini=self.gemini, clock=utc_now)
        for status in index.jobs.ledger().statuses:
            shard = status.shard
            if needs_job(status.job):
                submit_shard(
                    index,
                    self.gemini,
                    shard,
                    write_requests(index, shard, shards_dir=self.settings.shards_dir),
                    self.settings,
                    a_pacer(),
                    lookout=lookout,
                    clock=utc_now,
                )

    def _collect(self, index: Index) -> None:
        for _ in range(_POLLS):
            now = utc_now()
            jobs = jobs_to_look_at(index, provider=self.gemini.provider, now=now)
            poll_jobs(index, self.gemini, jobs, limits=self.settings.limits, now=now)
            if not any(status.is_live for status in index.jobs.ledger().statuses):
                break
            threading.Event().wait(0.005)
        for status in index.jobs.ledger().statuses:
            collect_shard(index, self.gemini, status.shard, self.settings, now=utc_now())

    def seen_by_readers(self) -> list[tuple[str, str, bytes]]:
        """Uri, text and vector of everything published."""
        with closing(Database(self.settings.index_path)) as database, database.read() as reader:
            query = "SELECT uri, text, vector FROM published_chunks ORDER BY uri"
            return [tuple(row) for row in reader.exec_driver_sql(query)]

    def found(self, query: str) -> str:
        """The text of the first hit."""
        with open_index(self.settings.index_path) as index:
            return search(index, self.gemini, query, k=1)[0].text

    def left_beside(self) -> list[Path]:
        """Files in the making, but for answers of the synchronous route that are kept."""
        return list(self.settings.data_dir.rglob(".*.partial"))

    def bought(self) -> dict[str, int]:
        """How often each text was bought, by its digest; queries included."""
        with urlopen(f"{self.settings.gemini.base_url}/emulator/bill?texts=true") as answer:
            return {text["sha256"]: text["times"] for text in json.load(answer)["texts"]}


@pytest.fixture(scope="module", params=["batch", "sync"])
def published(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    child_url: str,
    client: GeminiClient,
) -> Reindex:
    """A data directory with an index that readers use."""
    directory = tmp_path_factory.mktemp(request.param)
    settings = Settings.model_validate(
        {
            "data_dir": directory / "data",
            "corpus": Corpus(paths=(str(directory / "docs"),)),
            "embedding": Embedding(dimensions=SPEC.dimensions),
            "gemini": {"base_url": child_url},
            "limits": Limits(route=RouteChoice(request.param), max_requests_per_job=3),
        }
    )
    made = Reindex(settings=settings, gemini=client)
    made.write("old tale", N_OLD)
    made.run()
    return made


def a_copy(published: Reindex, directory: Path) -> Reindex:
    """The same index and documents elsewhere, under an id of its own."""
    shutil.copytree(published.settings.data_dir.parent, directory)
    paths = (str(directory / "docs"),)
    changes = {"data_dir": directory / "data", "corpus": Corpus(paths=paths)}
    copy = replace(published, settings=published.settings.model_copy(update=changes))
    with open_index(copy.settings.index_path) as index:
        index.identity.begin_anew()
    return copy


def test_disk_full_at_any_moment(published: Reindex, tmp_path: Path) -> None:
    """Wherever a reindex runs out of room it says so, and started again with room it finishes.

    Meanwhile readers have the old index, and no text is ever bought twice.
    """
    before = published.seen_by_readers()
    moment, is_full = -1, True
    while is_full:
        moment += 1
        kind = f"{published.settings.limits.route} tale of moment {moment}"
        reindex = a_copy(published, tmp_path / str(moment))
        reindex.write(kind, N_NEW)
        with Disk(full_at=moment) as disk:
            if is_full := fails_for_want_of_room(reindex.run):
                assert disk.is_full
                assert reindex.seen_by_readers() == before, moment
                assert reindex.found("old tale 2") == what("old tale", 2), moment
                assert reindex.left_beside() == []
        reindex.run()
        assert len(reindex.seen_by_readers()) == N_OLD + N_NEW
        bought = published.bought()
        assert [bought[digest(what(kind, n))] for n in range(N_NEW)] == [1] * N_NEW, moment
    assert moment > 12


def fails_for_want_of_room(act: Callable[[], object]) -> bool:
    """Whether it raises an error of ours, which the command line shows as one line."""
    try:
        act()
    except EmbeddingAssetsError:
        return True
    return False


# --- one place at a time --------------------------------------------------------------------


def put_in_the_way(path: Path) -> None:
    """Where ``path`` is being written there is no space left: ENOSPC, from the kernel."""
    with suppress(FileNotFoundError), replacing(path) as beside:
        pass  # only to know where
    beside.symlink_to("/dev/full")


def contents(directory: Path) -> dict[str, bytes]:
    """Every file in a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_no_space_for_a_snapshot(tmp_path: Path) -> None:
    """The month's earlier snapshot stays to the byte, and nothing beside it."""
    path = tmp_path / "2026-11.parquet"
    write_snapshot(path, [a_document()], now=NOW)
    before = contents(tmp_path)
    put_in_the_way(path)

    with pytest.raises(
        StorageError, match=r"snapshot '.*11\.parquet' cannot be written: .*No space"
    ):
        write_snapshot(path, [a_document(text="changed")], now=NOW)

    assert contents(tmp_path) == before
    assert [document.text for document in read_snapshot(path)] == [a_document().text]


def test_no_space_for_requests(world: World) -> None:
    """The shard has no file, not half a one, and can be written when there is space."""
    [shard] = world.plan(world.build(notes(range(3))))
    put_in_the_way(world.settings.shards_dir / f"{shard.key}.jsonl")

    with pytest.raises(EmbeddingAssetsError, match=f"{shard.key} cannot be written to .*No space"):
        world.write(shard)

    assert contents(world.settings.shards_dir) == {}
    assert world.write(shard).n_requests == 3


def test_no_space_for_results(world: World) -> None:
    """What was paid for stays at Gemini, and is downloaded when there is space."""
    [shard] = world.plan(world.build(notes(range(3))))
    world.submit(shard)
    world.poll()
    put_in_the_way(result_path(world.results_dir, world.job(shard)))

    with pytest.raises(ResultFileError, match=f"{shard.key} cannot be kept in .*No space.*nothing"):
        world.collect(shard)

    assert contents(world.results_dir) == {}
    assert world.collect(shard).n_embedded == 3
    bill = world.emulator.bill()
    assert (bill.requests, bill.bought_twice) == (3, ())


def test_no_space_in_the_index(index_path: Path) -> None:
    """The error names the file and the remedy, quotes no text, and takes back what it did."""
    with closing(Database(index_path, create=True)):
        pass
    sa.event.listen(sa.Engine, "connect", let_no_file_grow)
    try:
        with closing(Database(index_path)) as database:
            with pytest.raises(StorageError) as raised:
                name_throttles(database, "small", "secret" * 10_000)
            with database.read() as connection:
                assert connection.execute(sa.select(throttles)).all() == []
    finally:
        sa.event.remove(sa.Engine, "connect", let_no_file_grow)
    assert str(raised.value) == (
        f"{str(index_path)!r} cannot be used: database or disk is full; "
        "nothing is lost: make room on its disk and try again"
    )
    assert "secret" not in str(raised.value.__cause__)


def name_throttles(database: Database, *names: str) -> None:
    """A row for each of these names, of whatever length, in one transaction."""
    with database.write() as connection:
        for name in names:
            connection.execute(
                throttles.insert(), {"provider": "p", "model": name, "n_refusals": 1}
            )


def let_no_file_grow(connection: Any, _record: Any) -> None:
    """Have SQLite itself find the disk full at the next page."""
    (n_pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {n_pages}")


def test_no_space_for_a_new_index(tmp_path: Path) -> None:
    """An index that could not be created can be created later."""
    path = tmp_path / "index.db"
    with a_full_disk(), pytest.raises(StorageError, match=r"index\.db' cannot be used: disk I/O"):
        Database(path, create=True)
    with closing(Database(path, create=True)) as database:
        assert database.index_id


def test_a_file_that_another_process_holds(tmp_path: Path) -> None:
    """A lock that outlasts the waiting is no fault of the disk, and the error says so."""
    path = tmp_path / "index.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as holder,
        closing(sqlite3.connect(path, timeout=0)) as other,
    ):
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="is locked; another process"), storage_errors(path):
            other.execute("CREATE TABLE recipes (name)")


def test_errors_in_sql_are_not_about_the_disk(index_path: Path) -> None:
    """Only what SQLite says about the disk, or about other processes, is translated."""
    with (
        closing(Database(index_path, create=True)) as database,
        pytest.raises(sa.exc.OperationalError, match="no such table"),
        database.read() as reader,
    ):
        reader.exec_driver_sql("SELECT * FROM nowhere")
