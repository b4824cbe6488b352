"""Searching an index: resident vectors, scanning the file, and sqlite-vec, as ratios of one run.

    python benchmarks/reader.py [--chunks 100000] [--dimensions 768]

Searches for random vectors in a published generation of random ones. The times are those of this
machine now; only the ratios, and the memory that holding the vectors takes, mean something.
"""

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw
import numpy as np
import sqlite_vec

from embedding_assets import open_index
from embedding_assets.store.database import Database

_K = 5
_CHUNKS_PER_DOCUMENT = 20
_CHARS_PER_CHUNK = 1_500
_NOW = datetime(2026, 11, 23, tzinfo=UTC)
_SQLITE_VEC = """
    SELECT chunk_id, vec_distance_cosine(vector, ?) AS distance
    FROM published_chunks ORDER BY distance LIMIT ?
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=768)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "index.db"
        write_index(path, n_chunks=arguments.chunks, dimensions=arguments.dimensions)
        compare(path, dimensions=arguments.dimensions)


def compare(path: Path, *, dimensions: int) -> None:
    """Print what a search takes by each of the three ways, the quickest one being 1."""
    queries = list(unit_vectors(12, dimensions=dimensions, seed=2))
    with open_index(path) as resident, open_index(path, resident=False) as scanning:
        before = resident_bytes()
        started = time.perf_counter()
        resident.search(queries[0], k=_K)
        first = time.perf_counter() - started
        held = resident_bytes() - before
        times = {
            "resident": seconds(lambda query: resident.search(query, k=_K), queries),
            "block by block": seconds(lambda query: scanning.search(query, k=_K), queries[:4]),
            "sqlite-vec": seconds(sqlite_vec_search(path), queries[:4]),
        }
    for name, taken in times.items():
        print(f"{name:<15} {taken / times['resident']:6.1f}  ({taken * 1000:.0f} ms)")
    print(f"the first resident search took {first / times['resident']:.0f} of the others")
    print(f"and {held / 1e6:.0f} MB stay in memory for it")


def seconds(search: Callable[[np.ndarray], object], queries: list[np.ndarray]) -> float:
    """The median of one search; the first query is only to warm up."""
    taken = []
    for query in queries:
        started = time.perf_counter()
        search(query)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def sqlite_vec_search(path: Path) -> Callable[[np.ndarray], object]:
    """A full scan of the view, as the README shows it."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    return lambda query: connection.execute(_SQLITE_VEC, (query.tobytes(), _K)).fetchall()


def resident_bytes() -> int:
    """Memory of this process that is in use, without pages of files (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")]
    return int(kilobytes) * 1024


def unit_vectors(n: int, *, dimensions: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for _ in range(n):
        vector = generator.standard_normal(dimensions, dtype=np.float32)
        yield vector / np.linalg.norm(vector)


def write_index(path: Path, *, n_chunks: int, dimensions: int) -> None:
    """A file with one published generation, of texts of a usual length."""
    Database(path, create=True).close()
    texts = random.Random(3)
    vectors = unit_vectors(n_chunks, dimensions=dimensions, seed=1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO specs VALUES (1, 'emulator', 'random', ?, '')", (dimensions,)
        )
        connection.execute(
            "INSERT INTO generations (generation_id, month, spec_id, chunker, state, created_at, "
            "published_at) VALUES (1, '2026-11', 1, 'none', 'published', ?1, ?1)",
            (_NOW.isoformat(),),
        )
        for number in range(1, n_chunks + 1):
            write_chunk(
                connection, number, texts.randbytes(_CHARS_PER_CHUNK // 2).hex(), next(vectors)
            )
        connection.commit()


def write_chunk(connection: sqlite3.Connection, number: int, text: str, vector: np.ndarray) -> None:
    """The chunk, its vector and its place, in a new document if it is the first of one."""
    document_id, position = divmod(number - 1, _CHUNKS_PER_DOCUMENT)
    if position == 0:
        connection.execute(
            "INSERT INTO documents (document_id, uri, sha256, chunker, title, media_type, n_bytes) "
            "VALUES (?1, 'documents/' || ?1, '', 'none', ?1, 'text/plain', 0)",
            (document_id,),
        )
        connection.execute(
            "INSERT INTO generation_documents (generation_id, document_id) VALUES (1, ?)",
            (document_id,),
        )
    connection.execute(
        "INSERT INTO chunks (chunk_id, sha256, text, n_chars) VALUES (?, ?, ?, ?)",
        (number, number.to_bytes(32, "big"), text, len(text)),
    )
    connection.execute(
        "INSERT INTO document_chunks VALUES (?, ?, ?)", (document_id, position, number)
    )
    connection.execute("INSERT INTO vectors VALUES (1, ?, ?)", (number, vector.tobytes()))


if __name__ == "__main__":
    main()
