"""Splitting one long line: the splitter alone against windows of it, as the line grows.

    python benchmarks/splitting.py [--kilobytes 100 200 400 800]

The ratio is between the two ways on the same text in one run.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

from semantic_text_splitter import TextSplitter

from embedding_assets.corpus.chunks import Chunker

MAX_CHARS = 2000
MAX_TOKENS = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kilobytes", type=int, nargs="+", default=[100, 200, 400, 800])
    arguments = parser.parse_args()

    splitter = TextSplitter(MAX_CHARS)
    chunker = Chunker(max_chars=MAX_CHARS, max_tokens=MAX_TOKENS)
    for kilobytes in arguments.kilobytes:
        text = "word " * (kilobytes * 1000 // 5)
        alone = seconds(partial(splitter.chunks, text))
        windowed = seconds(partial(chunker.split, "a title", text, ()))
        print(
            f"{kilobytes:>5} kB on one line: alone {alone:6.2f} s, "
            f"in windows {windowed:5.2f} s, ratio {alone / windowed:6.1f}"
        )


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes, on the wall clock."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
