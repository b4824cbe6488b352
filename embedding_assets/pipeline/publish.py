"""From a finished generation to what readers see.

Belongs here: the gate and the flip. Does not belong here: why a gate is shut (generations.py).
"""

from datetime import datetime

from embedding_assets.errors import PublishingError
from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.generations import Generation, Progress, reason_not_to_publish
from embedding_assets.settings import Settings
from embedding_assets.store.index import Index


def publish_generation(
    index: Index, generation: Generation, settings: Settings, *, now: datetime
) -> Progress:
    """Publish a generation that is complete enough; raises PublishingError with the reason."""
    progress = index.generations.progress(
        generation, max_chunk_attempts=settings.limits.max_chunk_attempts
    )
    reason = reason_not_to_publish(progress, min_coverage=settings.publishing.min_coverage)
    if reason is not None:
        raise PublishingError(f"{generation.month} cannot be published: {reason}")
    pass_gap(Gap.COMPLETE)
    index.generations.publish(generation, now=now)
    return progress
