"""From a finished generation to what readers see.

Belongs here: looking at the gates, and the flip. Does not belong here: when a gate is shut
(model/gates.py), what is removed afterwards (retention.py).
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from embedding_assets.errors import PublishingError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.model.gates import Candidate, Gate, GateName, judge_gates, shut_gates
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.pipeline.self_retrieval import retrieve_sample
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index

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


def look_at_gates(index: Index, generation: Generation, settings: Settings) -> tuple[Gate, ...]:
    """Every gate between a generation and its readers, with its numbers. Nothing is changed."""
    published = index.generations.published()
    return judge_gates(
        _candidate(index, generation, settings),
        None if published is None else _candidate(index, published, settings),
        retrieve_sample(index, generation, settings.results_dir),
        settings.publishing,
    )


def _candidate(index: Index, generation: Generation, settings: Settings) -> Candidate:
    progress = index.generations.progress(
        generation, max_chunk_attempts=settings.limits.max_chunk_attempts
    )
    return Candidate(generation=generation, progress=progress)


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
