"""Another try: for chunks that were given up, shards out of attempts, and wrong answers.

Belongs here: choosing them and queueing them again. Does not belong here: sending them; that is
what the next plan is for.
"""

from dataclasses import dataclass

from embedding_assets.errors import LedgerError
from embedding_assets.model.batch_jobs import is_given_up
from embedding_assets.model.filters import Filter
from embedding_assets.settings.values import Settings
from embedding_assets.store.index import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySummary:
    """What is queued again, and for whom: the month whose index it is missing in."""

    month: str | None
    is_building: bool
    n_chunks: int
    n_shards: int = 0


def retry_failures(
    index: Index, settings: Settings, *, document: str | None, code: str | None
) -> RetrySummary:
    """Queue failed chunks again, as if they had never been tried.

    Of the generation that is being built, or else of the published one. ``document`` is a uri or
    a filter, ``code`` an error code; without either, shards whose jobs are given up are queued,
    too. What is under way is left alone. Raises SettingsError for a filter that is none.
    """
    meant = Filter.of(document)
    building = index.generations.building()
    generation = building or index.generations.published()
    n_shards = 0
    if document is None and code is None:
        given_up = [
            status.shard.key
            for status in index.jobs.ledger().statuses
            if is_given_up(status, max_job_attempts=settings.limits.max_job_attempts)
        ]
        n_shards = index.shards.abandon_given_up(given_up)
    if generation is None:
        return RetrySummary(month=None, is_building=False, n_chunks=0, n_shards=n_shards)
    chunk_ids = {
        failure.chunk_id
        for failure in index.published.failures(generation, meant)
        if failure.chunk_id is not None and code in (None, failure.error_code)
    }
    index.results.forget_failures(sorted(chunk_ids), spec_id=generation.spec_id)
    return RetrySummary(
        month=generation.month,
        is_building=building is not None,
        n_chunks=len(chunk_ids),
        n_shards=n_shards,
    )


def buy_again(index: Index, shard_key: str) -> RetrySummary:
    """Forget what a shard of the generation that is being built was answered.

    Raises LedgerError for a shard of another one: readers may see its vectors.
    """
    shard, building = index.shards.get(shard_key), index.generations.building()
    if building is None or shard.generation_id not in index.generations.builds_of(building):
        raise LedgerError(
            f"shard {shard_key} is not of a generation that is being built, and what readers see "
            "is not taken from them; with another embedding.model or embedding.dimensions "
            "everything is bought again"
        )
    n_chunks = index.results.forget_vectors(shard)
    return RetrySummary(month=building.month, is_building=True, n_chunks=n_chunks)
