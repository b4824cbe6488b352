"""From a finished generation to what readers see.

Belongs here: looking at the gates, the flip, and what there is to tell of it. Does not belong
here: when a gate is shut (model/gates.py), what is removed afterwards (retention.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from embedding_assets.errors import PublishingError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.model.gates import Gate, GateName, judge_gates, shut_gates
from embedding_assets.model.generations import Generation, GenerationState, Progress
from embedding_assets.money.bill import Bill
from embedding_assets.pipeline.agreement import read_agreement
from embedding_assets.pipeline.self_retrieval import retrieve_sample
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index
from embedding_assets.store.jobs import JobWait

_SERVED_STATES = (GenerationState.PUBLISHED, GenerationState.RETIRED)


def generation_to_serve(index: Index, generation_id: int) -> Generation:
    """A generation by its id; raises PublishingError if it was not whole or is not any more."""
    generation = index.generations.get(generation_id)
    if generation.state not in (*_SERVED_STATES, GenerationState.BUILDING):
        raise PublishingError(
            f"generation {generation_id} of {generation.month} is {generation.state.value}: it "
            "cannot be served; see `embedding-assets generations`"
        )
    return generation


def look_at_gates(
    index: Index,
    generation: Generation,
    progress: Progress,
    settings: Settings,
    *,
    trouble: str | None = None,
    now: datetime,
) -> tuple[Gate, ...]:
    """Every gate between a generation and its readers, with its numbers. Nothing is changed.

    ``trouble`` is why texts that were to be compared could not be embedded again.
    """
    return judge_gates(
        generation,
        progress,
        index.generations.published(),
        retrieve_sample(index, generation, settings.results_dir),
        read_agreement(index, generation, settings, trouble=trouble, now=now),
        settings.publishing,
    )


def publish_generation(
    index: Index,
    generation: Generation,
    gates: Sequence[Gate],
    *,
    allow: Collection[GateName] = (),
    now: datetime,
) -> None:
    """Publish a generation whose gates are open, or waived by a person.

    Raises PublishingError with every reason against it.
    """
    shut = shut_gates(gates, allow=allow)
    if shut:
        reasons = "; ".join(gate.problem or "" for gate in shut)
        options = " ".join(f"--allow {gate.name}" for gate in shut)
        raise PublishingError(
            f"{generation.month} cannot be published: {reasons}. Readers see what they saw; to "
            f"publish it all the same: `embedding-assets publish {options}`"
        )
    pass_gap(Gap.COMPLETE)
    index.generations.publish(generation, now=now)
    pass_gap(Gap.PUBLISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What there is to tell of a generation that is published, read once."""

    generation: Generation
    progress: Progress
    bill: Bill  # of what was sent to publish it
    n_sent: int  # of its chunks
    without_reuse_usd: Decimal  # what all of its chunks cost when they were bought
    waits: tuple[JobWait, ...]  # for the batch jobs that it took
    earlier_waits: tuple[JobWait, ...]  # for those of publications before it


def read_publication(index: Index, generation: Generation, progress: Progress) -> Publication:
    """Look at what a publication has taken; ``progress`` is what its gates were judged by."""
    builds, waits = index.generations.builds_of(generation), index.jobs.waits(generation)
    return Publication(
        generation=generation,
        progress=progress,
        bill=index.bills.publication(generation),
        n_sent=index.bills.count_sent(generation),
        without_reuse_usd=index.bills.without_reuse_usd(generation),
        waits=tuple(wait for wait in waits if wait.generation_id in builds),
        earlier_waits=tuple(wait for wait in waits if wait.generation_id not in builds),
    )
