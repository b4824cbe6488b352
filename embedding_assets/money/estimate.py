"""Estimates: what a reindex would send and cost, and how long it would take.

Belongs here: the values, the waves that jobs go in.
Does not belong here: looking at corpus and index (pipeline/estimate.py), prices (prices.py), how
it is shown (cli/show/money.py).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from embedding_assets.model.agreement import OLD_ONE_IN
from embedding_assets.model.generations import Progress
from embedding_assets.model.shards import Packed, Route
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.model.tokens import DEFAULT
from embedding_assets.money.bill import Bill
from embedding_assets.money.prices import Price, cost_usd
from embedding_assets.settings.values import Settings

# Users see most jobs end within this; Google aims at 24 hours (Gemini Batch API guide, 2026).
USUAL_JOB_MINUTES = (10, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The same tokens by both routes, in exact dollars."""

    sync_usd: Decimal
    batch_usd: Decimal

    @classmethod
    def of(cls, n_tokens: int, price: Price) -> Self:
        """What this many tokens cost at a price."""
        return cls(
            sync_usd=cost_usd(n_tokens, price.sync_usd),
            batch_usd=cost_usd(n_tokens, price.batch_usd),
        )

    @property
    def saving_usd(self) -> Decimal:
        """What the Batch API saves; negative at a price that makes it the dearer one."""
        return self.sync_usd - self.batch_usd

    def by(self, route: Route) -> Decimal:
        return self.batch_usd if route is Route.BATCH else self.sync_usd

    def times(self, n: int) -> Self:
        """The same n times."""
        return type(self)(sync_usd=self.sync_usd * n, batch_usd=self.batch_usd * n)


def count_waves(
    job_tokens: Iterable[int], *, max_enqueued_tokens: int, max_concurrent_jobs: int
) -> int:
    """How many times jobs are sent, in their order, if each time all that fits is sent at once.

    A job that alone exceeds ``max_enqueued_tokens`` is split on the way; its parts go one by one.
    """
    n_waves = n_jobs = n_tokens = 0
    for tokens in job_tokens:
        n_jobs += 1
        n_tokens += tokens
        if n_waves == 0 or n_jobs > max_concurrent_jobs or n_tokens > max_enqueued_tokens:
            n_waves += max(1, math.ceil(tokens / max_enqueued_tokens))
            n_jobs, n_tokens = 1, tokens
    return n_waves


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementCost:
    """What is embedded again at the most before publishing, by the synchronous route."""

    n_texts: int
    n_tokens: int
    cost_usd: Decimal


def estimate_agreement(
    route: Route, packed: Packed, progress: Progress, price: Price, settings: Settings
) -> AgreementCost:
    """Of the new texts, if batch jobs bring them, and of those that have a vector already."""
    n_samples = settings.publishing.agreement_samples
    n_old = n_samples // OLD_ONE_IN
    n_new = min(n_samples - n_old, packed.n_requests) if route is Route.BATCH else 0
    n_texts = n_new + min(n_old, progress.n_embedded)
    if packed.n_requests:
        tokens_each = math.ceil(packed.n_tokens / packed.n_requests)
    else:
        tokens_each = DEFAULT.estimate("x" * settings.chunking.max_chars)
    n_tokens = n_texts * tokens_each
    return AgreementCost(
        n_texts=n_texts, n_tokens=n_tokens, cost_usd=cost_usd(n_tokens, price.sync_usd)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How long it usually takes until all is answered."""

    n_waves: int  # of batch jobs; none by the synchronous route
    max_enqueued_tokens: int  # in the jobs of one wave
    minutes_from: int
    minutes_to: int


def estimate_duration(route: Route, packed: Packed, settings: Settings) -> Duration:
    """Waves of usual jobs, or synchronous calls at their pace. Jobs under way do not count."""
    max_tokens = settings.max_enqueued_tokens
    if route is Route.SYNC:
        most = math.ceil(packed.n_requests / settings.limits.sync_requests_per_minute)
        least = packed.n_requests // settings.limits.sync_requests_per_minute
        return Duration(
            n_waves=0, max_enqueued_tokens=max_tokens, minutes_from=least, minutes_to=most
        )
    n_waves = count_waves(
        (shard.n_tokens for shard in packed.shards),
        max_enqueued_tokens=max_tokens,
        max_concurrent_jobs=settings.limits.max_concurrent_jobs,
    )
    least, most = USUAL_JOB_MINUTES
    return Duration(
        n_waves=n_waves,
        max_enqueued_tokens=max_tokens,
        minutes_from=n_waves * least,
        minutes_to=n_waves * most,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A document that would be left out, and why."""

    uri: str
    error_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the next reindex would send and cost if it began now."""

    spec: EmbeddingSpec
    files: str  # what becomes of the files of the corpus, in a sentence
    progress: Progress  # of its generation just before it is planned
    n_unreadable: int
    unreadable: tuple[Unreadable, ...]  # the first few
    packed: Packed
    route: Route
    route_reason: str
    price: Price
    costs: Costs
    token_basis: str  # what the number of tokens rests on
    duration: Duration
    agreement: AgreementCost
    over_budget: str | None  # why it would not be sent; None if the budget is enough
    notes: tuple[str, ...]
    last_bill: Bill | None  # of the newest generation that got all of its answers

    @property
    def n_jobs(self) -> int:
        """Batch jobs; none by the synchronous route."""
        return len(self.packed.shards) if self.route is Route.BATCH else 0

    @property
    def cost_usd(self) -> Decimal:
        """By the route it will take."""
        return self.costs.by(self.route)
