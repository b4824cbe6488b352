"""Reading files of any kind: that every one is accounted for, how fast, in how much memory.

    python benchmarks/reading.py PATH [PATH ...] [--processes 1 2]

Each number of processes reads everything anew, in a program of its own. *Of n cores* is CPU time
of all processes for each second on the clock, divided by their number; only a machine that does
nothing else shows what there is to be seen. Memory is the most that the program had, and its
largest child.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta

from embedding_assets.clock import utc_now
from embedding_assets.corpus.census import Enumeration
from embedding_assets.corpus.files import read_files
from embedding_assets.corpus.find import find_documents
from embedding_assets.corpus.snapshots import Previous

MAX_BYTES = 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(read(arguments.paths, arguments.child)))
        return
    n_walked = sum(map(count_files, arguments.paths))
    print(f"{n_walked:,} files by a walk of the directories")
    for n in arguments.processes:
        command = [sys.executable, __file__, *arguments.paths, "--child", str(n)]
        figures = json.loads(subprocess.check_output(command))
        if n == arguments.processes[0]:
            print(figures["summary"])
            if figures["files"] != n_walked:
                sys.exit(f"{figures['files']:,} files are accounted for, which are not all")
            print(f"{figures['documents']:,} documents, {figures['mb']:,.1f} MB of files, ", end="")
            print(f"{figures['pages']:,} pages, {figures['chars'] / 1e6:,.1f} million characters")
        cpu_s, wall_s = figures["cpu_s"], figures["wall_s"]
        print(
            f"{n} processes: {cpu_s:.1f} s of CPU, {wall_s:.1f} s on the clock, "
            f"{cpu_s / wall_s / n:.0%} of {n} cores; {figures['mb'] / cpu_s:.1f} MB/s, "
            f"{figures['pages'] / cpu_s:,.0f} pages/s; memory {figures['own_mb']:,.0f} MB, "
            f"largest child {figures['child_mb']:,.0f} MB"
        )


def count_files(path: str) -> int:
    """Files and links to files, hidden ones, too."""
    if not os.path.isdir(path):
        return 1
    return sum(len(names) for _, _, names in os.walk(path))


def read(paths: Sequence[str], n_processes: int) -> dict[str, str | int | float]:
    """Read everything once, and forget it; the figures."""
    files, n_documents, n_bytes, n_pages, n_chars = Enumeration(), 0, 0, 0, 0
    started = time.perf_counter()
    for document in read_files(
        find_documents(paths, leave_out=files.leave_out),
        Previous(),
        now=utc_now(),
        keep_for=timedelta(0),
        max_bytes=MAX_BYTES,
        n_processes=n_processes,
        census=files,
    ):
        n_documents += 1
        n_bytes += document.n_bytes
        n_pages += max((block.page for block in document.blocks), default=0)
        n_chars += len(document.text)
    own, child = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "summary": files.census.summary,
        "files": files.census.n_files,
        "documents": n_documents,
        "mb": n_bytes / 1e6,
        "pages": n_pages,
        "chars": n_chars,
        "wall_s": time.perf_counter() - started,
        "cpu_s": own.ru_utime + own.ru_stime + child.ru_utime + child.ru_stime,
        "own_mb": own.ru_maxrss / 1000,
        "child_mb": child.ru_maxrss / 1000,
    }


if __name__ == "__main__":
    main()
