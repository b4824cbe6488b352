"""Inserting vectors into SQLite: page sizes and key orders, as ratios to the best of one run.

    python benchmarks/vector_upsert.py [--vectors 30000] [--dimensions 768]

Each case inserts the same blobs in transactions of 10,000 rows, as collection does, into a table
like ``vectors``. The times are those of this machine now; only the ratios mean something.
"""

import argparse
import random
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

_ROWS_PER_TRANSACTION = 10_000
_BYTES_PER_VALUE = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--vectors", type=int, default=30_000)
    parser.add_argument("--dimensions", type=int, default=768)
    arguments = parser.parse_args()

    blob = random.Random(1).randbytes(arguments.dimensions * _BYTES_PER_VALUE)
    ordered = list(range(arguments.vectors))
    shuffled = random.Random(2).sample(ordered, len(ordered))
    orders = {"in chunk_id order": ordered, "in random order": shuffled}
    times = {
        (page_size, name): insert(orders[name], blob, page_size=page_size)
        for page_size, name in product((16_384, 4_096), orders)
    }
    best = min(times.values())
    for (page_size, name), seconds in times.items():
        print(f"pages of {page_size:>6} bytes, {name:<18} {seconds / best:5.1f}  ({seconds:.2f} s)")


def insert(chunk_ids: Sequence[int], blob: bytes, *, page_size: int) -> float:
    """Seconds to insert one blob a chunk, in this order, fsync included."""
    with tempfile.TemporaryDirectory() as directory:
        connection = sqlite3.connect(Path(directory) / "index.db", isolation_level=None)
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE vectors (spec_id INTEGER, chunk_id INTEGER, vector BLOB, "
            "PRIMARY KEY (spec_id, chunk_id))"
        )
        started = time.perf_counter()
        for start in range(0, len(chunk_ids), _ROWS_PER_TRANSACTION):
            rows = ((1, chunk_id, blob) for chunk_id in chunk_ids[start:][:_ROWS_PER_TRANSACTION])
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO vectors VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        elapsed = time.perf_counter() - started
        connection.close()
    return elapsed


if __name__ == "__main__":
    main()
