"""The door for applications: searches in one index file, while others write to it.

Belongs here: what is kept between searches (connections, the client, the published vectors).
Does not belong here: the arithmetic (search.py) and SQL (store/published.py).
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from embedding_assets.errors import SettingsError
from embedding_assets.gemini.connection import (
    Connection,
    address_for,
    connect,
    running_emulator,
)
from embedding_assets.model.filters import Filter
from embedding_assets.model.generations import Generation
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.vectors import unit_vector
from embedding_assets.reader.search import Hit, embed_query, nearest
from embedding_assets.settings.values import EMULATOR_BASE_URL, Gemini
from embedding_assets.store.database import Database
from embedding_assets.store.published import (
    Published,
    PublishedView,
    VectorBlock,
    VectorSet,
)

if TYPE_CHECKING:
    from embedding_assets.gemini.client import GeminiClient

_BY_ENVIRONMENT = Gemini()


def open_index(
    path: str | Path, *, gemini: Gemini = _BY_ENVIRONMENT, resident: bool = True
) -> "IndexReader":
    """Open an index to search in it; the file is never written to, nor made.

    ``resident`` keeps the published vectors in memory: dimensions x 4 bytes a chunk, 300 MB for
    100,000 chunks of 768 dimensions, and twice that while another generation is being loaded.
    Without it every search reads the file. A reader belongs to the process that opened it, and
    to all threads of that.

    Raises IndexMissingError if there is no index, IndexSchemaError if another version of this
    package wrote it, StorageError if it cannot be read, DatabaseDamagedError if it is damaged.
    """
    return IndexReader(Path(path), gemini=gemini, resident=resident)


class IndexReader:
    """What is published in one index file. Use it as a context manager, or close it.

    All its methods may be called from any thread, and look at what is published at that moment:
    they raise IndexMissingError as long as that is nothing. A file that takes the place of the one
    that was opened is opened instead, with the errors that this may have.
    """

    def __init__(self, path: Path, *, gemini: Gemini, resident: bool) -> None:
        self._path = path
        self._file = _File(path, resident=resident)
        self._reopening = threading.Lock()
        self._embedder = _Embedder(gemini, path.parent / "emulator" / "address.json")
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, the memory and the connection to Gemini."""
        self._is_closed = True
        self._embedder.close()
        self._file.close()

    @property
    def generation(self) -> Generation:
        """The published generation."""
        with self._view() as (view, _):
            return view.generation

    @property
    def spec(self) -> EmbeddingSpec:
        """How the published vectors were made, and so how a query's vector must be made."""
        return self.generation.spec

    @property
    def count(self) -> int:
        """Distinct published chunks that have a vector."""
        with self._view() as (view, _):
            return view.vector_set().n_vectors

    def search(
        self,
        query: str | Sequence[float] | np.ndarray,
        k: int = 5,
        where: str | Mapping[str, str] | None = None,
    ) -> list[Hit]:
        """The ``k`` chunks nearest to a query, the nearest first, all of one generation.

        ``query`` is a text, which is embedded as the published vectors were, or a vector of as
        many numbers as ``spec.dimensions``, of any length but zero. ``where`` narrows the search
        down, as in ``'uri = "guide/*" and language != en'``: GLOB patterns for ``uri``, ``url``,
        ``title``, ``section``, ``text`` and metadata. ``{"uri": "guide/*"}`` means the same.

        Raises SettingsError for a query or a filter that makes no sense and if whoever made the
        published vectors cannot be asked, GeminiError if the text cannot be embedded.
        """
        if k < 1:
            raise SettingsError(f"k is {k!r}, expected 1 or more: it is how many chunks to return")
        meant = Filter.of(where)
        while True:
            spec = self.spec
            # Nobody waits for Gemini with a transaction open: the file could not be tidied up.
            vector = self._vector(query, spec)
            with self._view() as (view, matrix):
                if view.spec == spec:
                    return _nearest(view, vector, matrix, k=k, where=meant)
            # Another spec was published in between: the query needs another vector.

    @contextmanager
    def _view(self) -> Iterator[tuple[PublishedView, "_Matrix | None"]]:
        """What is published now, and the vectors of this very file that are in memory."""
        if self._is_closed:
            raise ValueError("this reader is closed; open the index again")
        while True:
            file = self._current_file()
            with file.published.view() as view:
                if file.database.is_current:  # still, or another one may have been opened
                    yield view, file.matrix
                    return

    def _current_file(self) -> "_File":
        """The file as it was opened, or what has taken its place since."""
        if self._file.database.is_current:
            return self._file
        with self._reopening:
            if not self._file.database.is_current:
                before = self._file
                before.database.check_log()
                self._file = _File(self._path, resident=before.is_resident)
                before.close()  # whoever is reading in it goes on to the end of that
        return self._file

    def _vector(self, query: str | Sequence[float] | np.ndarray, spec: EmbeddingSpec) -> np.ndarray:
        if isinstance(query, str):
            if not query.strip():
                raise SettingsError("the query is empty; say what to look for")
            return self._embedder.embed(query, spec)
        try:
            values = np.asarray(query, dtype=np.float64)
            return np.frombuffer(unit_vector(values, dimensions=spec.dimensions), dtype="<f4")
        except (TypeError, ValueError) as exc:
            raise SettingsError(
                f"the query cannot be used: {exc}; expected a text, or {spec.dimensions} finite "
                f"numbers, not all zero, as {spec.model!r} makes them"
            ) from exc


def _nearest(
    view: PublishedView,
    vector: np.ndarray,
    matrix: "_Matrix | None",
    *,
    k: int,
    where: Filter,
) -> list[Hit]:
    if matrix is None:
        return nearest(view, vector, k=k, where=where)
    view, block = matrix.of(view)
    return nearest(view, vector, k=k, where=where, blocks=[block])


class _File:
    """An index file that is open, and what is kept of it in memory."""

    def __init__(self, path: Path, *, resident: bool) -> None:
        self.database = Database(path, read_only=True)
        self.published = Published(self.database)
        self.is_resident = resident
        self.matrix = _Matrix() if resident else None

    def close(self) -> None:
        self.matrix = None
        self.database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    generation: Generation
    vectors: VectorSet
    block: VectorBlock


class _Matrix:
    """The published vectors in memory, loaded anew when the file has others."""

    def __init__(self) -> None:
        self._loaded: _Loaded | None = None
        self._loading = threading.Lock()

    def of(self, view: PublishedView) -> tuple[PublishedView, VectorBlock]:
        """The view's vectors.

        While another thread loads them it is the generation before, and a view of that.
        """
        vectors = view.vector_set()
        loaded = self._loaded
        if loaded is not None and loaded.vectors == vectors:
            return view, loaded.block
        if loaded is not None and self._loading.locked():
            earlier = view.earlier(loaded.generation)
            if earlier is not None:
                return earlier, loaded.block
        with self._loading:
            if self._loaded is None or self._loaded.vectors != vectors:
                block = _load(view, vectors.n_vectors)
                self._loaded = _Loaded(generation=view.generation, vectors=vectors, block=block)
            return view, self._loaded.block


def _load(view: PublishedView, n_vectors: int) -> VectorBlock:
    """All vectors as one block, in memory that is allocated once."""
    chunk_ids = np.empty(n_vectors, np.int64)
    matrix = np.empty((n_vectors, view.spec.dimensions), np.float32)
    end = 0
    for block in view.vector_blocks():
        rows = slice(end, end := end + len(block.chunk_ids))
        chunk_ids[rows], matrix[rows] = block.chunk_ids, block.matrix
    return VectorBlock(chunk_ids=chunk_ids, matrix=matrix)


class _Embedder:
    """Whoever made the published vectors, asked for those of queries."""

    def __init__(self, gemini: Gemini, address_file: Path) -> None:
        self._gemini = gemini
        self._address_file = address_file
        self._clients: dict[Connection, GeminiClient] = {}
        self._connecting = threading.Lock()

    def embed(self, query: str, spec: EmbeddingSpec) -> np.ndarray:
        return embed_query(self._client(spec), query, spec)

    def close(self) -> None:
        while self._clients:
            self._clients.popitem()[1].close()

    def _client(self, spec: EmbeddingSpec) -> "GeminiClient":
        """One for each address and key: an emulator that is started again has another address."""
        from embedding_assets.gemini.client import GeminiClient

        base_url = address_for(spec.provider, self._gemini.base_url, os.environ)
        if base_url == EMULATOR_BASE_URL and running_emulator(self._address_file) is None:
            raise SettingsError(
                "no emulator is running beside the index, and its published vectors come from one; "
                "start it with `embedding-assets emulator`, or search with a vector"
            )
        connection = connect(base_url, address_file=self._address_file, environ=os.environ)
        with self._connecting:
            if connection not in self._clients:
                self._clients[connection] = GeminiClient(
                    connection,
                    api_version=self._gemini.api_version,
                    timeout_s=self._gemini.timeout_s,
                    download_timeout_s=self._gemini.download_timeout_s,
                )
            return self._clients[connection]
