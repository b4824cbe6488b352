"""A result file full of nonsense, on the whole way from disk to the index."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from embedding_assets.model.batch_jobs import BatchJob
from embedding_assets.model.results import parse_results
from embedding_assets.model.shards import Shard
from embedding_assets.pipeline.collect import result_path
from tests.factories import SPEC
from tests.integration.world import World, a_book

SEED = 20261123
N_LINES = 10_000
N_REQUESTS = 2_500
N_DIMENSIONS = SPEC.dimensions
MAX_MESSAGE_BYTES = 2_000

Make = Callable[[Random, str], bytes]
Rows = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Line:
    """A line about a chunk; ``is_good`` is None if either outcome will do."""

    chunk_id: int
    content: bytes
    is_good: bool | None


def values(random: Random) -> list[float]:
    """A vector that is not of length 1, and nearly the same for whatever line of a chunk."""
    return [random.gauss(3, 0.01) for _ in range(N_DIMENSIONS)]


def result(key: object, values: object, **response: object) -> dict[str, object]:
    """A line as Gemini writes it."""
    return {
        "response": {"tokenCount": "7", "embedding": {"values": values}, **response},
        "key": key,
    }


def encoded(document: object) -> bytes:
    """Its JSON."""
    return json.dumps(document).encode()


def intact(random: Random, key: str) -> bytes:
    """A line with nothing wrong."""
    return encoded(result(key, values(random)))


def with_values(change: Callable[[Random, list[float]], object]) -> Make:
    """Lines that are good but for what is changed about the values."""
    return lambda random, key: encoded(result(key, change(random, values(random))))


def with_one_value(token: bytes) -> Make:
    """Lines in which one value is written like this."""

    def make(random: Random, key: str) -> bytes:
        found = [repr(value).encode() for value in values(random)]
        found[random.randrange(N_DIMENSIONS)] = token
        return encoded(result(key, "here")).replace(b'"here"', b"[" + b",".join(found) + b"]")

    return make


def with_message(message: str) -> Make:
    """Error lines with a message written like this in JSON."""
    return lambda _random, key: (
        b'{"key": "%s", "error": {"code": 3, "message": "%s"}}' % (key.encode(), message.encode())
    )


def mutated(random: Random, key: str) -> bytes:
    """Some bytes anywhere are others."""
    line = bytearray(intact(random, key))
    for _ in range(random.randint(1, 6)):
        line[random.randrange(len(line))] = random.randrange(256)
    return bytes(line)


def truncated(random: Random, key: str) -> bytes:
    """The end is missing."""
    line = intact(random, key)
    return line[: random.randrange(len(line) - 1)]


def deranged(random: Random, key: str) -> bytes:
    """A piece is missing, doubled or elsewhere."""
    line = intact(random, key)
    start, end = sorted(random.sample(range(len(line)), 2))
    pieces = [line[:start], line[start:end], line[end:], line[start:end]]
    random.shuffle(pieces)
    return b"".join(pieces[: random.randint(1, 4)])


def doubled_names(random: Random, key: str) -> bytes:
    """Every name is there twice, with another meaning the second time."""
    first, second = intact(random, key), intact(random, "chunk_1")
    return first[:-1] + b", " + second[1:]


def key_by_escapes(random: Random, key: str) -> bytes:
    """The key's letters are written as escapes, which is the same key."""
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in key)
    return intact(random, "here").replace(b"here", escaped.encode())


NAMED = re.compile(rb"chunk_([0-9]+)")
COUNTS: tuple[Any, ...] = (
    7,
    "7",
    -7,
    "x",
    None,
    10**30,
    "9" * 6_000,
    [7],
    {"n": 7},
    True,
    7.5,
    "\ud800",
)
KEYS: tuple[Any, ...] = (None, 7, [], {}, "", "chunk_", "chunk_-1", "chunk_٣", "chunk_" + "9" * 40)

GOOD: tuple[Make, ...] = (
    intact,
    key_by_escapes,
    lambda random, key: b" \t" + intact(random, key) + b" \r",
    lambda random, key: b"\xef\xbb\xbf" + intact(random, key),
    lambda random, key: encoded(
        {"further": [[1], {"key": "chunk_1"}], **result(key, values(random))}
    ),
    lambda random, key: encoded(result(key, values(random), tokenCount=random.choice(COUNTS))),
    lambda random, key: encoded(result(key, [random.randint(1, 9)] * N_DIMENSIONS)),
    lambda random, key: encoded(
        result(key, values(random), note="\0\x1b[31m\ud800\U0001f600\u2028")
    ),
)
BAD: tuple[Make, ...] = (
    *map(with_one_value, (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"null")),
    *map(with_one_value, (b'"1"', b"[1]", b"{}", b"", b"0x1", b"1.", b"--1", b"1e", b"true")),
    with_one_value(b"9" * 5_000),
    with_values(lambda _, found: found[:-1]),
    with_values(lambda _, found: found + found),
    with_values(lambda _, found: [found]),
    with_values(lambda _, found: [[value] for value in found]),
    with_values(lambda _, found: []),
    with_values(lambda _, found: dict(enumerate(found))),
    with_values(lambda _, found: str(found)),
    with_values(lambda _, found: [0.0 * value for value in found]),
    with_values(lambda _, found: [math.copysign(5e-324, value) for value in found]),
    lambda random, key: encoded(result(key, values(random), error={"code": 13})),
    lambda random, key: intact(random, key).replace(b'"response"', b'"error"'),
    lambda random, key: intact(random, key) + intact(random, key),
    lambda random, key: intact(random, key).replace(b"response", b"response\xff\xfe"),
    lambda _, key: encoded({"key": key}),
    lambda _, key: encoded({"key": key, "response": None}),
    with_message("a lone surrogate: \\ud83d, a NUL: \\u0000, a bell: \\u0007"),
    with_message("<script>alert(1)</script>'; DROP TABLE vectors; -- [red] {{ 7 * 7 }}"),
    with_message("long " * 500),
)  # fmt: skip
NOBODYS: tuple[Make, ...] = (
    lambda random, _: random.randbytes(random.randint(1, 200)).replace(b"\n", b" "),
    lambda random, key: intact(random, key).replace(b"chunk_", b"chunk_0"),
    lambda random, key: intact(random, key).replace(b'"chunk_', b'"\\ud800chunk_'),
    lambda random, key: intact(random, key + " "),
    lambda random, _: encoded(result(random.choice(KEYS), values(random))),
    lambda random, key: encoded([result(key, values(random))]),
)
EITHER: tuple[Make, ...] = (mutated, truncated, deranged, doubled_names)

# These are few, because they are long.
GIANTS: tuple[tuple[Make, bool], ...] = (
    (lambda random, key: encoded(result(key, values(random), note="x" * 3_000_000)), True),
    (with_values(lambda _, found: found * 50_000), False),
    (with_message("x" * 3_000_000), False),
    (lambda _, key: b'{"key": "%s", "x": ' % key.encode() + b"[" * 200_000, False),
    (lambda _, key: b'{"key": "%s", "x": ' % key.encode() + b'{"x":' * 200_000, False),
)


def a_line(random: Random, chunk_id: int) -> Line:
    """Any line about a chunk."""
    makes, is_good = random.choice(((GOOD, True), (BAD, False), (NOBODYS, False), (EITHER, None)))
    content = random.choice(makes)(random, f"chunk_{chunk_id}").replace(b"\n", b" ")
    return Line(chunk_id, content, is_good)


def lines_about(chunk_ids: Sequence[int], random: Random) -> list[Line]:
    """So many lines, some about every chunk but the last ones, in any order."""
    about = [random.choice(chunk_ids[:-10]) for _ in range(N_LINES - len(GIANTS))]
    lines = [a_line(random, chunk_id) for chunk_id in about]
    for chunk_id, (make, is_good) in zip(chunk_ids[-10:], GIANTS, strict=False):
        lines.append(Line(chunk_id, make(random, f"chunk_{chunk_id}"), is_good))
    random.shuffle(lines)
    return lines


@pytest.fixture
def answered(world: World) -> tuple[Shard, BatchJob]:
    """A shard of many requests whose job has ended."""
    generation = world.build([a_book(N_REQUESTS)], max_chars=100)
    [shard] = world.plan(generation)
    world.submit(shard)
    world.poll()
    return shard, world.job(shard)


def written(path: Path, lines: Sequence[Line]) -> bytes:
    """The result file, as if it had been downloaded."""
    content = b"\n".join(line.content for line in lines)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return content


def test_ten_thousand_lines_of_nonsense(
    world: World, answered: tuple[Shard, BatchJob], rows: Rows
) -> None:
    """No line stops a collection, brings in a bad vector or hides a good one; all counts add up."""
    shard, job = answered
    chunk_ids = world.index.shards.unembedded_ids(shard)
    lines = lines_about(chunk_ids, Random(SEED))
    content = written(result_path(world.results_dir, job), lines)

    summary = world.collect(shard)

    counts = world.index.shards.counts(shard)
    assert (counts.adds_up, counts.n_pending, counts.n_requests) == (True, 0, len(chunk_ids))
    assert (counts.n_embedded, counts.n_failed) == (summary.n_embedded, summary.n_failed)
    missing = rows("SELECT count(*) FROM requests WHERE error_code = 'MISSING_LINE'")[0][0]
    n_lines = sum(not line.isspace() for line in content.split(b"\n") if line)
    n_matched = counts.n_requests - missing
    assert n_matched + summary.n_duplicate_lines + summary.n_unknown_lines == n_lines
    lines_again = content.split(b"\n")
    assert not parse_results(lines_again, requested=chunk_ids, dimensions=N_DIMENSIONS).is_whole

    embedded = {chunk_id for (chunk_id,) in rows("SELECT chunk_id FROM vectors")}
    assert len(embedded) == counts.n_embedded
    good = {line.chunk_id for line in lines if line.is_good}
    doubtful = b"".join(line.content for line in lines if line.is_good is None)
    doubted = {int(found) for found in NAMED.findall(doubtful)}
    contested = {
        chunk_id
        for (chunk_id,) in rows("SELECT chunk_id FROM requests WHERE error_message LIKE '%differ'")
    }
    assert contested <= doubted
    assert good - contested <= embedded <= (good | doubted) - contested
    assert len(good) > 1_000
    assert len(embedded) < 2_000

    blobs = [blob for (blob,) in rows("SELECT vector FROM vectors")]
    assert {len(blob) for blob in blobs} == {4 * N_DIMENSIONS}
    vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, N_DIMENSIONS)
    assert np.isfinite(vectors).all()
    assert np.abs(np.linalg.norm(vectors.astype(float), axis=1) - 1).max() <= 1e-3

    told = rows("SELECT error_code, error_message FROM requests WHERE outcome = 'failed'")
    assert len(told) == counts.n_failed
    assert all(code and 0 < len(message.encode()) <= MAX_MESSAGE_BYTES for code, message in told)
    assert rows("SELECT max(billed_tokens) FROM requests")[0][0] <= 1_000_000
