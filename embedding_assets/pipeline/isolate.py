"""Shards that Gemini refuses for one of their texts: halved until that text is alone.

Belongs here: what takes the place of such a shard, and the end of a text that is alone. Does not
belong here: which refusal is about a text (model/batch_jobs.py), sending the halves (submit.py).

Each step is one transaction on the ledger: after a kill the next look finds what is left to do.
"""

from dataclasses import dataclass
from datetime import datetime

from embedding_assets.gaps import Gap, pass_gap
from embedding_assets.model.batch_jobs import BatchJob, ShardStatus
from embedding_assets.model.shards import Shard, halve
from embedding_assets.pipeline.plan import learned_estimator, sized_request
from embedding_assets.store.index import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What became of a shard that was refused for one of its texts."""

    shard: Shard
    sentence: str


def isolate_texts(index: Index, *, provider: str, now: datetime) -> list[Isolation]:
    """Halve every shard of the provider's that is refused for a text; one alone has failed."""
    return [
        Isolation(shard=status.shard, sentence=_isolate(index, status, status.job, now))
        for status in index.jobs.ledger().at(provider)
        if status.is_poisoned and status.job is not None
    ]


def halve_shard(index: Index, shard: Shard, now: datetime) -> list[Shard]:
    """The shards that take the place of one: two, unless one request is pending.

    Raises LedgerError if it is not open, or has an attempt that may have a job.
    """
    estimator = learned_estimator(index, shard.spec)
    pending = index.shards.pending_requests(shard)
    requests = [sized_request(shard.spec, chunk_id, text, estimator) for chunk_id, text in pending]
    return index.shards.split(shard, halve(requests), now=now)


def _isolate(index: Index, status: ShardStatus, job: BatchJob, now: datetime) -> str:
    pass_gap(Gap.REFUSED)
    shard = status.shard
    pending = [chunk_id for chunk_id, _ in index.shards.pending_requests(shard)]
    # One refusal may be about anything; two that have nothing but this text in common are about it.
    if len(pending) == 1 and index.jobs.count_refused_whole(shard, pending[0]) > 1:
        index.results.record_refusal(job)
        return f"the text that {shard.key} was refused for is found, and has failed"
    keys = " and ".join(half.key for half in halve_shard(index, shard, now))
    if len(pending) == 1:
        return f"{shard.key} was refused for its only text and is tried once more: {keys}"
    return f"{shard.key} was refused for one of its {len(pending):,} texts and is halved: {keys}"
