"""Room at Gemini: what is under way at a provider, what a refusal teaches, what may be sent now.

Belongs here: the one account of that, for sensors and runs alike, and the limits.
Does not belong here: deciding on shards (pipeline/decide.py), reading the ledger (store/jobs.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from embedding_assets.model.batch_jobs import OWED_STATES, ShardStatus
from embedding_assets.model.shards import Route, Shard
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.wording import utc

# Users saw the limit ease after 15 to 20 minutes, and no Retry-After (AI developers forum, 2026).
_LONGEST_BACKOFF = 15  # times the first
_MAX_JITTER = 0.25  # of the back-off: workers that were refused together do not return together
_MAX_DOUBLINGS = 10  # far beyond the longest back-off; a timedelta overflows at some 40
# A first refusal may be about anything; a second one in a row is about the size.
_REFUSALS_BEFORE_SPLIT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """What a provider's refusals taught us about a model; kept across restarts."""

    not_before: datetime | None = None
    n_refusals: int = 0
    max_enqueued_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionLimits:
    """What may be under way at Gemini at the same time."""

    max_concurrent_jobs: int
    max_enqueued_tokens: int
    max_job_attempts: int
    first_backoff: timedelta  # after a 429; it doubles with each one in a row
    retry_after: timedelta  # when a requested run that changed nothing may be requested again


class Verdict(StrEnum):
    """What becomes of a shard that is to be submitted."""

    SUBMIT = "submit"  # it is sent
    SPLIT = "split"  # two take its place: it is more than Gemini takes in one job
    NO_ROOM = "no room"  # jobs or tokens are in its way, or a shard before it that waits
    REFUSED = "refused"  # Gemini wants no job of its model for now
    NO_MONEY = "no money"  # it does not fit into the budget, or one of its generation did not
    ASKED_FOR = "asked for"  # its run may still be coming
    NOT_UNDERSTOOD = "not understood"  # what was answered to one like it is held


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on one shard; why it waits, and until when, if that is known."""

    shard: Shard
    verdict: Verdict
    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is under way at one provider, and what it takes at the most.

    Shards of the synchronous route take no room and wait for none.
    """

    limits: SubmissionLimits
    throttles: Mapping[str, Throttle]  # by model, of the open shards
    held: Mapping[EmbeddingSpec, str] = field(default_factory=dict)  # a shard, by its spec
    n_jobs: int = 0
    n_tokens: int = 0

    @property
    def offered_tokens(self) -> int:
        """What the setting allows, or what refusals have left of it."""
        offers = (token_limit(self.limits, throttle) for throttle in self.throttles.values())
        return min(offers, default=self.limits.max_enqueued_tokens)

    @property
    def backing_off_until(self) -> datetime | None:
        """When the newest refusal is over, or was; None if there is none to speak of."""
        untils = (throttle.not_before for throttle in self.throttles.values())
        return max(filter(None, untils), default=None)

    def after(self, shards: Iterable[Shard]) -> "Room":
        """The same with these shards under way as well."""
        tokens = [shard.estimated_tokens for shard in shards if shard.route is Route.BATCH]
        return replace(self, n_jobs=self.n_jobs + len(tokens), n_tokens=self.n_tokens + sum(tokens))

    def judge(self, shard: Shard, now: datetime) -> Judgement:
        """Whether a shard is sent now, is split, or has to wait.

        One that exceeds what is on offer has its turn when nothing else is under way, or it
        would wait for ever.
        """
        judged = partial(Judgement, shard=shard)
        if held := self.held.get(shard.spec):
            reason = f"the answer to {held} is held, and nothing like it is sent meanwhile"
            return judged(verdict=Verdict.NOT_UNDERSTOOD, reason=reason)
        if shard.route is Route.SYNC:
            return judged(verdict=Verdict.SUBMIT)
        until = self._throttle(shard).not_before
        if until is not None and now < until:
            reason = f"it refuses for now, backing off until {utc(until)}"
            return judged(verdict=Verdict.REFUSED, reason=reason, until=until)
        if self.n_jobs >= self.limits.max_concurrent_jobs:
            reason = f"{self.n_jobs} of {self.limits.max_concurrent_jobs} jobs are under way"
            return judged(verdict=Verdict.NO_ROOM, reason=reason)
        offered = token_limit(self.limits, self._throttle(shard))
        if self.n_jobs and self.n_tokens + shard.estimated_tokens > offered:
            reason = f"{self.n_tokens:,} of {offered:,} tokens are under way"
            return judged(verdict=Verdict.NO_ROOM, reason=reason)
        is_over_setting = shard.estimated_tokens > self.limits.max_enqueued_tokens
        is_too_big = shard.n_requests > 1 and (is_over_setting or self.was_too_big(shard))
        return judged(verdict=Verdict.SPLIT if is_too_big else Verdict.SUBMIT)

    def was_too_big(self, shard: Shard) -> bool:
        """Whether refusals in a row were about shards of this size."""
        throttle = self._throttle(shard)
        is_about_size = throttle.n_refusals >= _REFUSALS_BEFORE_SPLIT
        return is_about_size and shard.estimated_tokens > token_limit(self.limits, throttle)

    def _throttle(self, shard: Shard) -> Throttle:
        return self.throttles.get(shard.spec.model, Throttle())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One look at everything that is open, at whatever provider."""

    statuses: Sequence[ShardStatus]  # in the order of planning
    throttles: Mapping[tuple[str, str], Throttle]  # by provider and model
    abandoned_keys: Sequence[str] = ()  # of the shards that will never be sent

    def at(self, provider: str) -> list[ShardStatus]:
        """The open shards that were planned for a provider."""
        return [status for status in self.statuses if status.shard.spec.provider == provider]

    def count_elsewhere(self, provider: str) -> int:
        """How many shards are under way or answered at another provider than this one."""
        return sum(
            status.job is not None
            and status.job.state in OWED_STATES
            and status.shard.spec.provider != provider
            for status in self.statuses
        )

    def room_at(self, provider: str, limits: SubmissionLimits) -> Room:
        """The room at a provider: what is under way elsewhere takes none of it."""
        statuses = self.at(provider)
        models = {status.shard.spec.model for status in statuses}
        throttles = {
            model: throttle
            for (where, model), throttle in self.throttles.items()
            if where == provider and model in models
        }
        live = [status.shard for status in statuses if status.is_live]
        held = {each.shard.spec: each.shard.key for each in statuses if each.is_held}
        return Room(limits=limits, throttles=throttles, held=held).after(live)


def throttle_after_refusal(
    throttle: Throttle, *, limits: SubmissionLimits, jitter: float, now: datetime
) -> Throttle:
    """A 429: wait longer each time, and offer half as many tokens until Gemini accepts again.

    ``jitter``, from 0 to 1, lengthens the wait by up to a quarter.
    """
    n_doublings = min(throttle.n_refusals, _MAX_DOUBLINGS)
    wait = limits.first_backoff * min(2**n_doublings, _LONGEST_BACKOFF)
    return Throttle(
        not_before=now + wait * (1 + _MAX_JITTER * jitter),
        n_refusals=throttle.n_refusals + 1,
        max_enqueued_tokens=max(1, token_limit(limits, throttle) // 2),
    )


def throttle_after_acceptance(throttle: Throttle, *, limits: SubmissionLimits) -> Throttle:
    """A job was created: no need to wait, and the token limit doubles back to the setting."""
    if throttle.max_enqueued_tokens is None:
        return Throttle()
    recovered = throttle.max_enqueued_tokens * 2
    is_throttled = recovered < limits.max_enqueued_tokens
    return Throttle(max_enqueued_tokens=recovered if is_throttled else None)


def token_limit(limits: SubmissionLimits, throttle: Throttle) -> int:
    """What may be enqueued by setting and by what refusals have left of it."""
    return min(
        limits.max_enqueued_tokens, throttle.max_enqueued_tokens or limits.max_enqueued_tokens
    )
