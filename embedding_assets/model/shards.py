"""Shards: the requests of one JSONL file, cut to what one batch job may hold.

Belongs here: the shard's value, its route, packing. Does not belong here: the file
(request_file.py), what becomes of a shard at Gemini (batch_jobs.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.settings.values import Limits, RouteChoice
from embedding_assets.wording import count


class Route(StrEnum):
    """The door a shard's requests take."""

    BATCH = "batch"
    SYNC = "sync"


class ShardState(StrEnum):
    """Whether a shard still has something to do."""

    OPEN = "open"  # at least one request has no outcome yet
    SETTLED = "settled"  # every request is embedded or failed
    ABANDONED = "abandoned"  # its generation was superseded before anything was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One planned shard. Tokens and dollars are estimates; the bill is kept by request."""

    shard_id: int
    key: str
    generation_id: int
    spec: EmbeddingSpec  # what its requests were planned for
    route: Route
    n_requests: int
    n_bytes: int
    estimated_tokens: int
    usd_per_million: Decimal
    state: ShardState

    @property
    def month(self) -> str:
        """The month whose plan it belongs to, from its key."""
        return self.key.rpartition("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedRequest:
    """A request as packing sees it: which chunk, the length of its line, its tokens."""

    chunk_id: int
    n_bytes: int
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedShard:
    """The requests of one shard-to-be, in chunk_id order."""

    chunk_ids: tuple[int, ...]
    n_bytes: int
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """All that is to be sent, as shards-to-be, and its sums."""

    shards: tuple[PackedShard, ...]

    @property
    def n_requests(self) -> int:
        return sum(len(shard.chunk_ids) for shard in self.shards)

    @property
    def n_bytes(self) -> int:
        return sum(shard.n_bytes for shard in self.shards)

    @property
    def n_tokens(self) -> int:
        return sum(shard.n_tokens for shard in self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackingLimits:
    """What one job may hold at the most."""

    max_requests: int
    max_bytes: int
    max_tokens: int


def shard_key(month: str, number: int) -> str:
    """The partition key of a month's n-th shard: ``2026-11-0003``."""
    return f"{month}-{number:04d}"


def enough_for_batch(limits: Limits) -> int:
    """From how many requests on they are not few: fewer go synchronously, or wait for more."""
    if limits.route is RouteChoice.AUTO:
        return min(limits.min_batch_requests, limits.max_sync_requests + 1)
    return limits.min_batch_requests


def choose_route(limits: Limits, n_requests: int) -> tuple[Route, str]:
    """The route of so many requests, and what decided on it, with numbers."""
    requests = count(n_requests, "request is", "requests are")
    is_few = n_requests < enough_for_batch(limits)
    route = Route.SYNC if is_few else Route.BATCH
    if limits.route is not RouteChoice.AUTO:
        route, reason = Route(limits.route), f'limits.route is "{limits.route.value}"'
    elif n_requests > limits.max_sync_requests:
        reason = (
            f"{requests} more than {limits.max_sync_requests:,}, from where on the "
            "synchronous route is slow at its rate limit"
        )
    else:
        reason = (
            f"{requests} {'' if is_few else 'not '}fewer than "
            f"limits.min_batch_requests, {limits.min_batch_requests:,}"
        )
    return route, reason if n_requests else "there is nothing to send"


def pack(requests: Iterable[SizedRequest], limits: PackingLimits) -> Iterator[PackedShard]:
    """Fill shards in the order given; a request bigger than a limit travels alone."""
    packed: list[SizedRequest] = []
    n_bytes = n_tokens = 0
    for request in requests:
        n_bytes += request.n_bytes
        n_tokens += request.n_tokens
        is_too_much = (
            len(packed) >= limits.max_requests
            or n_bytes > limits.max_bytes
            or n_tokens > limits.max_tokens
        )
        if packed and is_too_much:
            yield _packed(packed)
            packed, n_bytes, n_tokens = [], request.n_bytes, request.n_tokens
        packed.append(request)
    if packed:
        yield _packed(packed)


def halve(requests: Sequence[SizedRequest]) -> tuple[PackedShard, ...]:
    """Two shards of about as many tokens each; one request cannot be made smaller."""
    if len(requests) == 1:
        return (_packed(requests),)
    middle, n_tokens = 1, requests[0].n_tokens
    total = sum(request.n_tokens for request in requests)
    while middle < len(requests) - 1 and 2 * n_tokens < total:
        n_tokens += requests[middle].n_tokens
        middle += 1
    return _packed(requests[:middle]), _packed(requests[middle:])


def _packed(requests: Sequence[SizedRequest]) -> PackedShard:
    return PackedShard(
        chunk_ids=tuple(request.chunk_id for request in requests),
        n_bytes=sum(request.n_bytes for request in requests),
        n_tokens=sum(request.n_tokens for request in requests),
    )
