"""Room at Gemini: what is under way at a provider, what a refusal teaches, what may be sent now.

Belongs here: the one account of that, for sensors and runs alike, and the limits.
Does not belong here: deciding on shards (pipeline/decide.py), reading the ledger (store/jobs.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from embedding_assets.errors import Quota, RateLimitedError
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

# Other models of the project meet them, too.
_OF_THE_PROJECT = frozenset({Quota.STORAGE, Quota.SPEND, Quota.CREDITS})
# The synchronous route does not.
_OF_BATCH_JOBS = frozenset({Quota.TOKENS, Quota.STORAGE})

_WORDS = {
    Quota.TOKENS: "Gemini has as many tokens enqueued as it takes",
    Quota.REQUESTS: "Gemini takes no more calls for now",
    Quota.STORAGE: "the file storage of the Google project is full",
    Quota.SPEND: "the Google project may not spend more for now",
    Quota.CREDITS: "the Google project has no credits or no billing",
    Quota.UNKNOWN: "Gemini refuses for now",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """What a provider's refusals taught us about a model; kept across restarts."""

    not_before: datetime | None = None
    n_refusals: int = 0  # in a row, for the same quota
    max_enqueued_tokens: int | None = None
    quota: Quota = Quota.TOKENS
    message: str = ""  # Gemini's

    @property
    def sentence(self) -> str:
        """What there is too little of, when Gemini is asked again, and what it said."""
        said = f": {self.message}" if self.message else ""
        again = f"; Gemini is asked again from {utc(self.not_before)}" if self.not_before else ""
        return f"{_WORDS[self.quota]}{again}{said}"

    def hinders(self, route: Route) -> bool:
        """Whether what was refused takes this route."""
        return route is Route.BATCH or self.quota not in _OF_BATCH_JOBS


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
    REFUSED = "refused"  # Gemini wants nothing of its model, or of the project, for now
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

    Shards of the synchronous route take no room and wait for none, only for a refusal to be over.
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
    def refusals(self) -> tuple[Throttle, ...]:
        """What Gemini refused, and has not accepted since."""
        return tuple(t for t in self.throttles.values() if t.not_before is not None)

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
        refusal = self._refusal(shard, now)
        if refusal is not None:
            reason, until = refusal.sentence, refusal.not_before
            return judged(verdict=Verdict.REFUSED, reason=reason, until=until)
        if shard.route is Route.SYNC:
            return judged(verdict=Verdict.SUBMIT)
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
        is_in_a_row = throttle.n_refusals >= _REFUSALS_BEFORE_SPLIT
        is_about_size = is_in_a_row and throttle.quota is Quota.TOKENS
        return is_about_size and shard.estimated_tokens > token_limit(self.limits, throttle)

    def _refusal(self, shard: Shard, now: datetime) -> Throttle | None:
        """What keeps a shard from being sent for now: the last of it to be over."""
        lasting = [
            (throttle.not_before, model)
            for model, throttle in self.throttles.items()
            if throttle.not_before is not None
            and now < throttle.not_before
            and throttle.hinders(shard.route)
            and (model == shard.spec.model or throttle.quota in _OF_THE_PROJECT)
        ]
        return self.throttles[max(lasting)[1]] if lasting else None

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

    def is_poisoned(self, shard: Shard) -> bool:
        """Whether Gemini refuses this shard for one of its texts."""
        return any(s.is_poisoned for s in self.statuses if s.shard.shard_id == shard.shard_id)

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
    throttle: Throttle,
    refusal: RateLimitedError,
    *,
    limits: SubmissionLimits,
    jitter: float,
    now: datetime,
) -> Throttle:
    """Wait as long as Gemini says, or longer each time.

    If it is about enqueued tokens, offer half as many until Gemini accepts again. ``jitter``,
    from 0 to 1, lengthens the wait by up to a quarter.
    """
    n_before = throttle.n_refusals if throttle.quota is refusal.quota else 0
    n_doublings = min(n_before, _MAX_DOUBLINGS)
    wait = refusal.retry_after or limits.first_backoff * min(2**n_doublings, _LONGEST_BACKOFF)
    offered = throttle.max_enqueued_tokens
    if refusal.quota is Quota.TOKENS:
        offered = max(1, token_limit(limits, throttle) // 2)
    return Throttle(
        not_before=now + wait * (1 + _MAX_JITTER * jitter),
        n_refusals=n_before + 1,
        max_enqueued_tokens=offered,
        quota=refusal.quota,
        message=str(refusal),
    )


def throttle_after_acceptance(throttle: Throttle, *, limits: SubmissionLimits) -> Throttle:
    """A job was created: no need to wait, and the token limit doubles back to the setting."""
    if throttle.max_enqueued_tokens is None:
        return Throttle()
    recovered = throttle.max_enqueued_tokens * 2
    is_throttled = recovered < limits.max_enqueued_tokens
    return Throttle(max_enqueued_tokens=recovered if is_throttled else None)


def throttle_after_answer(throttle: Throttle) -> Throttle:
    """A synchronous call was answered: that says nothing of what only batch jobs meet."""
    if not throttle.hinders(Route.SYNC):
        return throttle
    return Throttle(max_enqueued_tokens=throttle.max_enqueued_tokens)


def token_limit(limits: SubmissionLimits, throttle: Throttle) -> int:
    """What may be enqueued by setting and by what refusals have left of it."""
    return min(
        limits.max_enqueued_tokens, throttle.max_enqueued_tokens or limits.max_enqueued_tokens
    )
