"""Status: where the index stands, in one value.

Belongs here: what the command line and the headless run show of a reindex.
Does not belong here: how it is shown (cli/show/).
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from embedding_assets.clock import utc_now
from embedding_assets.gemini.connection import provider_of
from embedding_assets.model.batch_jobs import (
    LIVE_STATES,
    JobState,
    ShardStatus,
    is_given_up,
    needs_job,
)
from embedding_assets.model.generations import Generation, GenerationState, Progress
from embedding_assets.model.room import Throttle
from embedding_assets.money.bill import Bill
from embedding_assets.money.prices import estimated_usd, sync_cost_usd
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.pipeline.collect import held_error
from embedding_assets.pipeline.submit import submission_limits
from embedding_assets.pipeline.waiting import (
    few_requests,
    jobs_under_way,
    late_results,
    results_due_at,
    spoilt_downloads,
    unconfirmed_jobs,
)
from embedding_assets.settings.values import Limits, Settings
from embedding_assets.store.index import Index
from embedding_assets.wording import utc


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationStatus:
    """One generation with its progress and its bill."""

    generation: Generation
    progress: Progress
    bill: Bill


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedGeneration:
    """A generation as it is remembered."""

    generation: Generation
    n_embedded: int | None  # None: its members were removed, or it was superseded
    bill: Bill


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The published and the building generation, and what is under way for them."""

    published: GenerationStatus | None
    building: GenerationStatus | None
    n_open_shards: int
    n_live_jobs: int
    n_unconfirmed_jobs: int  # of the live ones, those that may not exist; see model/batch_jobs.py
    n_finished_jobs: int  # answered by Gemini, not in the index yet
    n_given_up_shards: int
    held_answers: tuple[str, ...]  # what is not understood, and what a person can do
    refusals: tuple[Throttle, ...]  # what Gemini refused, and has not accepted since
    held_since: datetime | None  # a few requests wait for more of them
    over_budget: str | None  # why nothing more is sent, if that is why
    n_elsewhere: int  # shards under way at another provider than the one that answers now
    results_due_at: datetime | None  # results that are late are waited for until then
    publication_due_at: datetime | None  # Gemini is asked again then whether vectors agree
    doubt: str | None  # why this may be a copy, and what to say about it
    waits: tuple[str, ...]  # for what it waits, and until when

    @property
    def backing_off_until(self) -> datetime | None:
        """When the last refusal is over, or was; None if there is none to speak of."""
        untils = (refusal.not_before for refusal in self.refusals)
        return max(filter(None, untils), default=None)

    def is_waiting(self, now: datetime, *, has_daemon: bool) -> bool:
        """Whether something happens without us: at Gemini, after a back-off, in the daemon.

        ``now`` is when the sensors looked: a back-off that has ended since was not seen to.
        """
        if self.n_live_jobs:
            return True
        if self.n_open_shards and self.n_open_shards == self.n_given_up_shards:
            return False
        if self.held_answers and not self.n_finished_jobs:
            return False  # and whatever is like them waits with them
        if self.doubt or self.over_budget or (self.held_since and not self.n_open_shards):
            return False  # for hours, or until a person says more
        untils = (self.backing_off_until, self.results_due_at, self.publication_due_at)
        return has_daemon or any(until is not None and until > now for until in untils)


def read_status(index: Index, settings: Settings, *, with_reuse: bool = False) -> Status:
    """Look at the index once; ``with_reuse`` looks at every chunk's bill, too."""
    provider = provider_of(settings.gemini.base_url, os.environ)
    with index.one_look():
        ledger = index.jobs.ledger()
        statuses = ledger.at(provider)
        states = Counter(status.job.state for status in statuses if status.job is not None)
        building = index.generations.building()
        status = Status(
            published=_generation_status(
                index, index.generations.published(), settings, with_reuse
            ),
            building=_generation_status(index, building, settings, with_reuse),
            n_open_shards=len(statuses),
            n_live_jobs=sum(states[state] for state in LIVE_STATES),
            n_unconfirmed_jobs=states[JobState.UNCONFIRMED],
            n_finished_jobs=states[JobState.SUCCEEDED],
            n_given_up_shards=_count_given_up(statuses, settings),
            held_answers=tuple(
                str(held_error(status.job)) for status in statuses if status.job and status.is_held
            ),
            refusals=ledger.room_at(provider, submission_limits(settings)).refusals,
            held_since=index.generations.waiting_since(),
            over_budget=_over_budget(index, statuses, settings, provider),
            n_elsewhere=ledger.count_elsewhere(provider),
            results_due_at=results_due_at(statuses, settings.limits),
            doubt=index.identity.doubt,
            publication_due_at=_publication_due_at(index, settings),
            waits=(),
        )
    return replace(status, waits=_waits(status, statuses, settings.limits))


def _waits(status: Status, statuses: Sequence[ShardStatus], limits: Limits) -> tuple[str, ...]:
    """For what a reindex waits, and until when."""
    found = [
        status.doubt or "",
        *status.held_answers,
        jobs_under_way(statuses, limits) if status.n_live_jobs else "",
        unconfirmed_jobs(statuses, limits),
        late_results(statuses, limits),
        spoilt_downloads(statuses),
        *(refusal.sentence for refusal in status.refusals),
    ]
    if status.publication_due_at:
        found.append(
            "Gemini could not be asked whether the vectors agree; it is asked again from "
            f"{utc(status.publication_due_at)}"
        )
    if status.building and status.held_since:
        month = status.building.generation.month
        few = few_requests(month, status.held_since, limits)
        found.append(f"{few}; `embedding-assets reindex --now` sends them")
    if status.over_budget:
        found.append(
            f"nothing more is sent: {status.over_budget}; raise the limit, or approve more with "
            "`embedding-assets reindex --approve-cost USD`"
        )
    return tuple(filter(None, found))


def list_generations(index: Index, settings: Settings) -> list[ListedGeneration]:
    """Every generation that was listed to its end, oldest first."""
    return [
        ListedGeneration(
            generation=generation,
            n_embedded=_n_embedded(index, generation, settings),
            bill=index.bills.of(generation),
        )
        for generation in index.generations.all()
    ]


def _n_embedded(index: Index, generation: Generation, settings: Settings) -> int | None:
    if generation.state in (GenerationState.ABANDONED, GenerationState.REMOVED):
        return None
    return index.generations.progress(generation, limits=settings.limits).n_embedded


def _generation_status(
    index: Index, generation: Generation | None, settings: Settings, with_reuse: bool
) -> GenerationStatus | None:
    if generation is None:
        return None
    # While it is being built the plan counts; then what it took to publish it.
    is_published = generation.state is GenerationState.PUBLISHED
    bill = (index.bills.publication if is_published else index.bills.of)(generation)
    return GenerationStatus(
        generation=generation,
        progress=index.generations.progress(generation, limits=settings.limits),
        bill=replace(
            bill,
            sync_usd=sync_cost_usd(bill.billed_tokens, generation.spec.model, settings.prices),
            without_reuse_usd=index.bills.without_reuse_usd(generation) if with_reuse else None,
        ),
    )


def _over_budget(
    index: Index, statuses: list[ShardStatus], settings: Settings, provider: str
) -> str | None:
    """Why the budget keeps the next shard from being sent, if it does."""
    purse = look_into_purse(index, settings, provider=provider, now=utc_now())
    for status in statuses:
        if needs_job(status.job):
            shard = status.shard
            return purse.reason_against(shard.generation_id, estimated_usd(shard))
    return None


def _publication_due_at(index: Index, settings: Settings) -> datetime | None:
    building = index.generations.building()
    silence = index.agreements.silence(building) if building is not None else None
    return silence.ends_at(timedelta(seconds=settings.limits.run_retry_s)) if silence else None


def _count_given_up(statuses: list[ShardStatus], settings: Settings) -> int:
    max_job_attempts = settings.limits.max_job_attempts
    return sum(is_given_up(status, max_job_attempts=max_job_attempts) for status in statuses)
