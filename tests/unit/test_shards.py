"""Shards: packing, routes, the key on a line, the line, the file."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.model.passages import Passage
from embedding_assets.model.request_file import (
    ShardFile,
    chunk_id_of,
    custom_id,
    request_line,
    write_shard_file,
)
from embedding_assets.model.shards import (
    Packed,
    PackedShard,
    PackingLimits,
    Route,
    SizedRequest,
    choose_route,
    halve,
    pack,
    shard_key,
)
from embedding_assets.settings.values import Limits, RouteChoice
from tests.factories import SPEC

MAX_CHUNK_ID = 2**63 - 1


@st.composite
def request_lists(draw: st.DrawFn) -> list[SizedRequest]:
    """Requests in chunk_id order, some of them bigger than any limit drawn below."""
    sizes = draw(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=60))
    return [
        SizedRequest(chunk_id=number, n_bytes=n_bytes, n_tokens=n_tokens)
        for number, (n_bytes, n_tokens) in enumerate(sizes, start=1)
    ]


packing_limits = st.builds(
    PackingLimits,
    max_requests=st.integers(1, 8),
    max_bytes=st.integers(1, 100),
    max_tokens=st.integers(1, 100),
)


def is_within(
    shard: PackedShard, limits: PackingLimits, *, extra: SizedRequest | None = None
) -> bool:
    """Whether a shard, with one more request if given, keeps all limits."""
    n_requests = len(shard.chunk_ids) + (extra is not None)
    n_bytes = shard.n_bytes + (extra.n_bytes if extra else 0)
    n_tokens = shard.n_tokens + (extra.n_tokens if extra else 0)
    return (
        n_requests <= limits.max_requests
        and n_bytes <= limits.max_bytes
        and n_tokens <= limits.max_tokens
    )


@given(request_lists(), packing_limits)
def test_every_request_is_packed_once_and_in_order(
    requests: list[SizedRequest], limits: PackingLimits
) -> None:
    """The shards in a row are the requests: none lost, none doubled, none moved."""
    packed = [chunk_id for shard in pack(requests, limits) for chunk_id in shard.chunk_ids]
    assert packed == [request.chunk_id for request in requests]


@given(request_lists(), packing_limits)
def test_no_shard_is_over_a_limit(requests: list[SizedRequest], limits: PackingLimits) -> None:
    """A shard keeps every limit, or it holds the one request that cannot."""
    for shard in pack(requests, limits):
        assert shard.chunk_ids
        assert is_within(shard, limits) or len(shard.chunk_ids) == 1


@given(request_lists(), packing_limits)
def test_a_shard_s_sums_are_its_requests_sums(
    requests: list[SizedRequest], limits: PackingLimits
) -> None:
    """Bytes and tokens of a shard are those of its requests."""
    by_id = {request.chunk_id: request for request in requests}
    for shard in pack(requests, limits):
        members = [by_id[chunk_id] for chunk_id in shard.chunk_ids]
        assert shard.n_bytes == sum(request.n_bytes for request in members)
        assert shard.n_tokens == sum(request.n_tokens for request in members)


@given(request_lists(), packing_limits)
def test_shards_are_filled_up(requests: list[SizedRequest], limits: PackingLimits) -> None:
    """The first request of a shard did not fit into the shard before it."""
    by_id = {request.chunk_id: request for request in requests}
    shards = list(pack(requests, limits))
    for shard, following in pairwise(shards):
        assert not is_within(shard, limits, extra=by_id[following.chunk_ids[0]])


@given(request_lists().filter(lambda requests: len(requests) > 1))
def test_halves_are_of_about_the_same_tokens(requests: list[SizedRequest]) -> None:
    """Both halves have requests, in order; moving one from the larger would make it worse."""
    first, second = halve(requests)
    assert [*first.chunk_ids, *second.chunk_ids] == [request.chunk_id for request in requests]
    assert first.chunk_ids
    assert second.chunk_ids
    assert first.n_bytes + second.n_bytes == sum(request.n_bytes for request in requests)
    total = sum(request.n_tokens for request in requests)
    assert first.n_tokens + second.n_tokens == total
    heaviest = max(request.n_tokens for request in requests)
    assert abs(first.n_tokens - second.n_tokens) <= 2 * heaviest


def test_packing_reads_no_further_than_it_must() -> None:
    """A shard is there before the requests after it are read: a plan need not fit in memory."""

    def endless() -> Iterator[SizedRequest]:
        number = 0
        while True:
            number += 1
            yield SizedRequest(chunk_id=number, n_bytes=10, n_tokens=5)

    limits = PackingLimits(max_requests=2, max_bytes=100, max_tokens=100)
    assert next(pack(endless(), limits)) == PackedShard(chunk_ids=(1, 2), n_bytes=20, n_tokens=10)


def test_the_sums_of_what_is_packed() -> None:
    """Requests, bytes and tokens of all shards together; nothing packed is nothing."""
    one = PackedShard(chunk_ids=(1, 2), n_bytes=700, n_tokens=250_000)
    other = PackedShard(chunk_ids=(3, 4, 5), n_bytes=900, n_tokens=3)
    packed = Packed(shards=(one, other))
    assert (packed.n_requests, packed.n_bytes, packed.n_tokens) == (5, 1_600, 250_003)
    assert Packed(shards=()).n_requests == 0


FEW = "fewer than limits.min_batch_requests, 100"
MANY = "more than 10,000, from where on the synchronous route is slow at its rate limit"


@pytest.mark.parametrize(
    ("choice", "n_requests", "route", "reason"),
    [
        (RouteChoice.AUTO, 0, Route.SYNC, "there is nothing to send"),
        (RouteChoice.AUTO, 1, Route.SYNC, f"1 request is {FEW}"),
        (RouteChoice.AUTO, 99, Route.SYNC, f"99 requests are {FEW}"),
        (RouteChoice.AUTO, 100, Route.BATCH, f"100 requests are not {FEW}"),
        (RouteChoice.AUTO, 10_000, Route.BATCH, f"10,000 requests are not {FEW}"),
        (RouteChoice.AUTO, 10_001, Route.BATCH, f"10,001 requests are {MANY}"),
        (RouteChoice.BATCH, 5, Route.BATCH, 'limits.route is "batch"'),
        (RouteChoice.SYNC, 10_001, Route.SYNC, 'limits.route is "sync"'),
    ],
)
def test_the_route(choice: RouteChoice, n_requests: int, route: Route, reason: str) -> None:
    """Under a hundred requests go at once, a hundred and more as a batch, unless told."""
    assert choose_route(Limits(route=choice), n_requests) == (route, reason)


def test_the_limit_that_decided_is_the_reason() -> None:
    """More than the synchronous route may take are a batch, however few a batch may be."""
    limits = Limits(min_batch_requests=20_000)
    assert choose_route(limits, 15_000) == (Route.BATCH, f"15,000 requests are {MANY}")
    few = "10,000 requests are fewer than limits.min_batch_requests, 20,000"
    assert choose_route(limits, 10_000) == (Route.SYNC, few)


@given(n_requests=st.integers(1, 20_000), least=st.integers(0, 20_000))
def test_the_reason_is_that_of_the_choice(n_requests: int, least: int) -> None:
    """It says fewer exactly if the synchronous route is chosen for being few."""
    route, reason = choose_route(Limits(min_batch_requests=least), n_requests)
    says_few = " fewer than " in reason.replace("not fewer than", "")
    assert says_few == (route is Route.SYNC)


@pytest.mark.parametrize(
    ("number", "key"), [(1, "2026-11-0001"), (9999, "2026-11-9999"), (12345, "2026-11-12345")]
)
def test_shard_keys(number: int, key: str) -> None:
    """A shard's key is its month and its number, four digits or more."""
    assert shard_key("2026-11", number) == key


@given(st.integers(0, MAX_CHUNK_ID))
def test_a_chunk_is_found_again_by_its_key(chunk_id: int) -> None:
    """Every chunk_id a database can hold survives the way to Gemini and back."""
    assert chunk_id_of(custom_id(chunk_id)) == chunk_id


@pytest.mark.parametrize(
    "key",
    [
        "",
        "chunk_",
        "chunk_-1",
        "chunk_+1",
        "chunk_007",
        "chunk_1.0",
        "chunk_1e3",
        "chunk_1_000",
        " chunk_1",
        "chunk_1 ",
        "chunk_1\n",
        "chunk_\u0663",
        "chunk_\u00b2",
        "chunk_" + "9" * 5000,
        "Chunk_1",
        "request_1",
        "1",
        1,
        1.0,
        True,
        None,
        b"chunk_1",
        ["chunk_1"],
        {"chunk_1": 1},
    ],
)
def test_a_key_that_is_not_ours(key: object) -> None:
    """What `custom_id` cannot have written names no chunk, and is no reason to fail."""
    assert chunk_id_of(key) is None


@given(st.text())
def test_a_key_is_ours_only_if_we_wrote_it(key: str) -> None:
    """Two different keys never mean the same chunk."""
    chunk_id = chunk_id_of(key)
    assert chunk_id is None or custom_id(chunk_id) == key


@given(st.text(min_size=1), st.integers(1, MAX_CHUNK_ID))
def test_a_request_line(text: str, chunk_id: int) -> None:
    """Any text makes one line of JSON with our key and Gemini's request."""
    line = request_line(SPEC, chunk_id, Passage(text=text))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "key": f"chunk_{chunk_id}",
        "request": {
            "content": {"parts": [{"text": text}]},
            "outputDimensionality": 8,
            "taskType": "RETRIEVAL_DOCUMENT",
        },
    }


@pytest.mark.parametrize("text", ["a\nb\r\nc", "\u2028\u2029\x85\x0b\x0c", "😀", '"\\\x00\x7f'])
def test_line_breaks_of_a_text_stay_in_its_line(text: str) -> None:
    """Newlines, Unicode's line separators, emoji and quotes neither end a line nor change."""
    line = request_line(SPEC, 7, Passage(text=text))
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert json.loads(line)["request"]["content"]["parts"][0]["text"] == text


def test_a_prompted_model_s_line() -> None:
    """gemini-embedding-2 gets its task in the text, and no task type."""
    line = request_line(replace(SPEC, model="gemini-embedding-2"), 7, Passage(text="gzip"))
    assert json.loads(line)["request"] == {
        "content": {"parts": [{"text": "title: none | text: gzip"}]},
        "outputDimensionality": 8,
    }


def test_a_shard_file(tmp_path: Path) -> None:
    """The file holds the lines in order; directories are made; size and digest are the file's."""
    lines = [request_line(SPEC, number, Passage(text="text")) for number in (1, 2, 3)]
    path = tmp_path / "new" / "shards" / "2026-11-0001.jsonl"
    content = b"".join(lines)
    assert write_shard_file(path, iter(lines)) == ShardFile(
        path=path,
        n_requests=3,
        n_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_shard_file_is_written_anew(tmp_path: Path) -> None:
    """A file from an earlier try is replaced; the same lines have the same digest."""
    path = tmp_path / "shard.jsonl"
    first = write_shard_file(path, [b"a longer line than the next\n"])
    second = write_shard_file(path, [b"next\n"])
    assert path.read_bytes() == b"next\n"
    assert second == write_shard_file(path, [b"next\n"]) != first


@pytest.mark.parametrize("error", [RuntimeError("the index is gone"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [None, b"from an earlier try\n"])
def test_a_shard_file_is_whole_or_not_there(
    error: BaseException, before: bytes | None, tmp_path: Path
) -> None:
    """If the lines end in an error nothing changes at the path, and no partial is left."""
    path = tmp_path / "shard.jsonl"
    if before is not None:
        path.write_bytes(before)

    def lines() -> Iterator[bytes]:
        yield b"first\n"
        raise error

    with pytest.raises(type(error)):
        write_shard_file(path, lines())
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == (
        {} if before is None else {"shard.jsonl": before}
    )
