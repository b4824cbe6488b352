"""Tables: what a month sends of one that changed a little, and what reading a large one takes.

    python benchmarks/tables.py month --rows 100000 --changed 100
    python benchmarks/tables.py read --gb 0.25 2

``month`` reindexes a CSV file by the console command against an emulator that answers at once,
changes some of its rows, and estimates and reindexes it again. ``read`` writes JSON lines of that
many gigabytes, reads them in a process of their own, first as documents, then into a snapshot as
well, and deletes them. CPU and memory are those of the command with all its children.
"""

import argparse
import csv
import json
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from embedding_assets.cli.processes import child
from embedding_assets.clock import utc_now
from embedding_assets.corpus.snapshots import Previous, write_snapshot
from embedding_assets.pipeline.read import read_documents
from embedding_assets.settings.reading import load_settings

COMMAND = Path(sys.executable).with_name("embedding-assets")
MONTHS = ("2026-10", "2026-11")
WORDS = ("amber", "basin", "cedar", "delta", "ember", "fjord", "gravel", "harbour", "island")

_DOCUMENTS = re.compile(r"[\d,]+ documents?: .* removed")
_SETTINGS = """
data_dir = "data"
[corpus]
paths = []
[[corpus.tables]]
name = "tickets"
path = {path}
id = "id"
title = "subject"
text = "body"
metadata = ["team"]
[embedding]
dimensions = 128
[gemini]
base_url = {base_url}
[limits]
max_enqueued_tokens = 1000000000
[budget]
max_cost_usd = 10000
max_cost_per_month_usd = 10000
[publishing]
agreement_samples = 0
[schedule]
first_month = "2026-10"
poll_interval_s = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that ended well: what it said and what it took."""

    said: str
    noted: str
    used: resource.struct_rusage

    def __str__(self) -> str:
        cpu_s = self.used.ru_utime + self.used.ru_stime
        return f"{cpu_s:.1f} s of CPU, at most {self.used.ru_maxrss / 1000:,.0f} MB of memory"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parts = parser.add_subparsers(dest="part", required=True)
    month = parts.add_parser("month")
    month.add_argument("--rows", type=int, default=100_000)
    month.add_argument("--changed", type=int, default=100)
    read = parts.add_parser("read")
    read.add_argument("--gb", type=float, nargs="+", default=[0.25, 2.0])
    read.add_argument("--chars", type=int, default=2_000, help="of a row's text")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tables-") as name:
        if arguments.part == "month":
            compare_months(Path(name), arguments.rows, arguments.changed)
        else:
            compare_sizes(Path(name), arguments.gb, arguments.chars)


# --- the month ------------------------------------------------------------------------------------


def compare_months(directory: Path, n_rows: int, n_changed: int) -> None:
    edited = frozenset(range(0, n_rows, n_rows // n_changed)[:n_changed] if n_changed else ())
    with emulator(directory):
        for month, edits in zip(MONTHS, (frozenset[int](), edited), strict=True):
            write_csv(directory / "tickets.csv", n_rows, edits)
            estimated = run(directory, "estimate", "--json")
            reindexed = run(directory, "reindex", "--month", month)
            published = json.loads(run(directory, "status", "--json").said)["published"]
            documents = _DOCUMENTS.search(reindexed.noted)
            print(f"{month}  {documents[0] if documents else '?'}")
            n_estimated = json.loads(estimated.said)["requests"]
            print(
                f"         {len(edits):,} rows edited, {n_estimated:,} texts to send by the ",
                end="",
            )
            print(f"estimate, {published['requests']:,} sent")
            for name, done in (("estimate", estimated), ("reindex", reindexed)):
                print(f"         {name}: {done}", flush=True)


def write_csv(path: Path, n_rows: int, edits: frozenset[int]) -> None:
    """Write rows that differ; the same ones every time, but for those that are edited."""
    random = Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "subject", "body", "team"))
        for n in range(n_rows):
            body = " ".join(random.choices(WORDS, k=60)) + " edited" * (n in edits)
            writer.writerow((f"{n:07}", f"Ticket {n}", body, f"Team {n % 7}"))


@contextmanager
def emulator(directory: Path) -> Iterator[None]:
    """Run an emulator, and write settings with its address."""
    arguments = [
        "embedding_assets.emulator",
        f"--state-dir={directory / 'emulator'}",
        "--latency=0",
        "--max-enqueued-tokens=1000000000",
    ]
    with child(arguments, is_piped=True) as process:
        ready = process.stdout.readline() if process.stdout else ""
        write_settings(directory, "tickets.csv", base_url=ready.strip().rpartition(" ")[2])
        yield


def write_settings(directory: Path, path: str, *, base_url: str = "") -> Path:
    file = directory / "settings.toml"
    file.write_text(_SETTINGS.format(path=json.dumps(path), base_url=json.dumps(base_url)))
    return file


def run(directory: Path, *arguments: str) -> Done:
    """Run the console command to its end, away from the settings and keys of whoever calls.

    Raises RuntimeError if it fails.
    """
    chosen = ("EMBEDDING_ASSETS_", "DAGSTER_", "GEMINI_", "GOOGLE_")
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as noted:
        process = subprocess.Popen(
            [COMMAND, "-c", "settings.toml", *arguments],
            cwd=directory,
            env={name: value for name, value in os.environ.items() if not name.startswith(chosen)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=noted,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        noted.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)} failed: {noted.read()[-2000:]}")
        return Done(said=said.read(), noted=noted.read(), used=used)


# --- a large one ----------------------------------------------------------------------------------


def compare_sizes(directory: Path, gigabytes: list[float], n_chars: int) -> None:
    context = multiprocessing.get_context("spawn")
    for size in gigabytes:
        path = directory / "tickets.jsonl"
        n_rows = write_json_lines(path, int(size * 1e9), n_chars)
        for work in (read, take_snapshot):
            process = context.Process(target=measured, args=(work, directory, n_rows))
            process.start()
            process.join()
        path.unlink()


def write_json_lines(path: Path, n_bytes: int, n_chars: int) -> int:
    """Write rows that differ until there are so many bytes; the number of rows."""
    random = Random(0)
    text = " ".join(random.choices(WORDS, k=n_chars // 3))
    n_rows = n_written = 0
    with path.open("w", encoding="utf-8") as file:
        while n_written < n_bytes:
            start = random.randrange(len(text) - n_chars)
            row = {"id": n_rows, "subject": f"Ticket {n_rows}", "body": text[start:][:n_chars]}
            n_written += file.write(json.dumps({**row, "team": "IT"}) + "\n")
            n_rows += 1
    return n_rows


def measured(work: Callable[[Path], int], directory: Path, n_rows: int) -> None:
    """Runs in a process of its own."""
    file = write_settings(directory, "tickets.jsonl")
    n_bytes = (directory / "tickets.jsonl").stat().st_size
    n_documents = work(file)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{n_bytes / 1e9:.2f} GB, {n_rows:,} rows, {work.__name__}: ", end="")
    print(f"{n_documents:,} documents, {Done(said='', noted='', used=used)}", flush=True)


def read(file: Path) -> int:
    """The documents, one after the other."""
    documents = read_documents(load_settings(file), Previous(), now=utc_now())
    return sum(document.is_usable for document in documents)


def take_snapshot(file: Path) -> int:
    """All that the asset ``documents`` does."""
    now = utc_now()
    documents = read_documents(load_settings(file), Previous(), now=now)
    return write_snapshot(file.parent / "2026-11.parquet", documents, now=now).readable


if __name__ == "__main__":
    main()
