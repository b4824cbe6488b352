"""The index file as one object: the door to everything in store/.

Belongs here: opening and closing, and nothing else.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from embedding_assets.errors import IndexMissingError
from embedding_assets.store.agreement import Agreements
from embedding_assets.store.bills import Bills
from embedding_assets.store.checkup import Checkup
from embedding_assets.store.database import Database
from embedding_assets.store.documents import Documents
from embedding_assets.store.generations import Generations
from embedding_assets.store.identity import Identity
from embedding_assets.store.jobs import Jobs
from embedding_assets.store.published import Published
from embedding_assets.store.results import Results
from embedding_assets.store.retention import Retention
from embedding_assets.store.shards import Shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Everything that can be asked of, or told to, one ``index.db``."""

    database: Database
    identity: Identity
    documents: Documents
    generations: Generations
    shards: Shards
    jobs: Jobs
    results: Results
    published: Published
    agreements: Agreements
    bills: Bills
    checkup: Checkup
    retention: Retention

    def one_look(self) -> AbstractContextManager[None]:
        """A block in which everything is read from one state of the file."""
        return self.database.one_look()


@contextmanager
def open_index(path: Path, *, create: bool = False) -> Iterator[Index]:
    """Open an index file for as long as the block lasts.

    Raises IndexMissingError if there is none and ``create`` is false.
    """
    database = Database(path, create=create)
    try:
        yield Index(
            database=database,
            identity=Identity(database),
            documents=Documents(database),
            generations=Generations(database),
            shards=Shards(database),
            jobs=Jobs(database),
            results=Results(database),
            published=Published(database),
            agreements=Agreements(database),
            bills=Bills(database),
            checkup=Checkup(database),
            retention=Retention(database),
        )
    finally:
        database.close()


@contextmanager
def open_index_or_empty(path: Path) -> Iterator[Index]:
    """As ``open_index``; where there is none yet, an empty one that leaves nothing behind."""
    with ExitStack() as stack:
        try:
            index = stack.enter_context(open_index(path))
        except IndexMissingError:
            directory = Path(stack.enter_context(TemporaryDirectory()))
            index = stack.enter_context(open_index(directory / path.name, create=True))
        yield index
