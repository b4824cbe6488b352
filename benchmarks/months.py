"""Month after month: what the second reindex of a corpus sends, costs and takes.

    python benchmarks/months.py OLD_DIR NEW_DIR     # two editions of the same documentation
    python benchmarks/months.py --no-change 100000  # so many chunks, twice the same

Both editions are copied to the same place, the old one as 2026-10, the new one as 2026-11, and
reindexed by the console command against an emulator that answers at once. Copies have times and
inodes of their own, so that every file of the new edition is read. Without a change no file is
touched.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from embedding_assets.cli.processes import child
from embedding_assets.wording import format_usd

COMMAND = Path(sys.executable).with_name("embedding-assets")
MONTHS = ("2026-10", "2026-11")
CHUNKS_PER_DOCUMENT = 20
WORDS = ("amber", "basin", "cedar", "delta", "ember", "fjord", "gravel", "harbour", "island")

_UNLIMITED = 1_000_000_000
_DOCUMENTS = re.compile(r"[\d,]+ documents?: .* removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One reindex: how long it took, what it said of the documents, what the index says of it."""

    seconds: float
    documents: str
    status: dict[str, Any]

    @property
    def n_chunks(self) -> int:
        return int(self.status["chunks"])

    @property
    def n_sent(self) -> int:
        return int(self.status["requests"])

    @property
    def n_tokens(self) -> int:
        return int(self.status["billed_tokens"])

    @property
    def usd(self) -> Decimal:
        return Decimal(self.status["billed_usd"])

    @property
    def without_reuse_usd(self) -> Decimal:
        return Decimal(self.status["without_reuse_usd"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("editions", nargs="*", type=Path, metavar="DIR", help="the old, the new")
    parser.add_argument("--no-change", type=int, metavar="CHUNKS", help="a made-up corpus, twice")
    parser.add_argument("--dimensions", type=int, default=768)
    arguments = parser.parse_args()
    if len(arguments.editions) != (0 if arguments.no_change else 2):
        parser.error("two directories or --no-change")
    with tempfile.TemporaryDirectory(prefix="months-") as name:
        directory = Path(name)
        docs = directory / "docs"
        with emulator(directory, dimensions=arguments.dimensions):
            if arguments.no_change:
                write_corpus(docs, arguments.no_change)
            months = []
            for month, edition in zip(MONTHS, arguments.editions or (None, None), strict=True):
                if edition is not None:
                    shutil.rmtree(docs, ignore_errors=True)
                    shutil.copytree(edition, docs, ignore_dangling_symlinks=True)
                months.append(reindex(directory, month))
                print_month(month, months[-1])
    first, second = months
    print(f"second / first: wall time {second.seconds / first.seconds:.3f}, ", end="")
    print(f"tokens {second.n_tokens / first.n_tokens:.4f}, ", end="")
    print(f"billed / full reindex {second.usd / second.without_reuse_usd:.4f}")


def print_month(month: str, seen: Month) -> None:
    """One reindex in a few lines."""
    n_reused = seen.n_chunks - seen.n_sent
    print(f"{month}  {seen.documents}")
    print(f"         {seen.n_chunks:,} chunks: {seen.n_sent:,} sent, {n_reused:,} reused")
    print(f"         {seen.n_tokens:,} tokens, {format_usd(seen.usd)}; ", end="")
    print(f"a full reindex {format_usd(seen.without_reuse_usd)}; {seen.seconds:.1f} s", flush=True)


def write_corpus(docs: Path, n_chunks: int) -> None:
    """Write documents of texts that differ, each long enough for a chunk of its own."""
    docs.mkdir()
    random = Random(0)
    for first in range(0, n_chunks, CHUNKS_PER_DOCUMENT):
        numbers = range(first, min(first + CHUNKS_PER_DOCUMENT, n_chunks))
        texts = (f"## Section {n}\n\n{' '.join(random.choices(WORDS, k=180))}" for n in numbers)
        (docs / f"{first:08}.md").write_text("\n\n".join(texts), encoding="utf-8")


@contextmanager
def emulator(directory: Path, *, dimensions: int) -> Iterator[None]:
    """Run an emulator, and write settings with its address and without limits that are met."""
    arguments = [
        "embedding_assets.emulator",
        f"--state-dir={directory / 'emulator'}",
        "--latency=0",
        f"--max-enqueued-tokens={_UNLIMITED}",
    ]
    with child(arguments, is_piped=True) as process:
        ready = process.stdout.readline() if process.stdout else ""
        sections: dict[str, dict[str, object]] = {
            "corpus": {"paths": ["docs"]},
            "embedding": {"dimensions": dimensions},
            "gemini": {"base_url": ready.strip().rpartition(" ")[2]},
            "limits": {"max_enqueued_tokens": _UNLIMITED},
            "budget": {"max_cost_usd": 10_000, "max_cost_per_month_usd": 10_000},
            "publishing": {"max_shrinkage": 1.0},
            "schedule": {"first_month": MONTHS[0], "poll_interval_s": 1},
        }
        lines = ['data_dir = "data"']
        for section, settings in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        (directory / "settings.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield


def reindex(directory: Path, month: str) -> Month:
    """Reindex a month and look at what is published then. Raises RuntimeError if it is not."""
    started = time.monotonic()
    done = run(directory, "reindex", "--month", month)
    seconds = time.monotonic() - started
    published = json.loads(run(directory, "status", "--json").stdout)["published"]
    if done.returncode != 0 or published["month"] != month:
        raise RuntimeError(f"{month} was not published: {done.stderr[-2000:]}")
    said = _DOCUMENTS.search(done.stderr + done.stdout)
    return Month(seconds=seconds, documents=said[0] if said else "?", status=published)


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the console command to its end, away from the settings and keys of whoever calls."""
    chosen = ("EMBEDDING_ASSETS_", "DAGSTER_", "GEMINI_", "GOOGLE_")
    return subprocess.run(
        [COMMAND, "-c", "settings.toml", *arguments],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.startswith(chosen)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
