"""Whether a search finds the chunks by the vectors that were bought for them.

Belongs here: choosing a sample, and one scan of the generation's vectors.
Does not belong here: what share must be found (model/gates.py).

For what this generation bought, the vectors sought are read from Gemini's answers once more: so a
mix-up anywhere between an answer and the index shows. Asking Gemini for the texts again would
show it as well, at a price. If it bought nothing, stored vectors are sought. A chunk among ten
others that are as near counts as found: near duplicates are no mistake, an index of one and the
same vector is.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from embedding_assets.model.batch_jobs import JobState
from embedding_assets.model.gates import Retrieval
from embedding_assets.model.generations import Generation
from embedding_assets.model.results import parse_results
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.pipeline.collect import result_path
from embedding_assets.store.index import Index
from embedding_assets.store.published import PublishedView

SAMPLED_CHUNKS = 20
SAMPLED_SHARDS = 3  # reading an answer of 10,000 lines takes some tenths of a second
MAX_RANK = 10
_TOLERANCE = 1e-6  # of a cosine in float32


def retrieve_sample(index: Index, generation: Generation, results_dir: Path) -> Retrieval:
    """Seek some chunks of a generation by their vectors; all of its vectors are read once."""
    sought = _answered(index, generation, results_dir)
    with index.published.view_of(generation) as view:
        sought = sought or view.sample(SAMPLED_CHUNKS).by_chunk()
        return Retrieval(n_sought=len(sought), n_found=_count_found(view, sought))


def _answered(index: Index, generation: Generation, results_dir: Path) -> dict[int, np.ndarray]:
    """Vectors by chunk_id, as Gemini answered them."""
    answers = list(_answer_files(index, generation, results_dir))
    step = max(1, len(answers) // SAMPLED_SHARDS)
    found: dict[int, np.ndarray] = {}
    for shard, path in answers[::step][:SAMPLED_SHARDS]:
        chunk_ids = index.shards.embedded_sample(shard, limit=SAMPLED_CHUNKS // SAMPLED_SHARDS + 1)
        with path.open("rb") as lines:
            results = parse_results(
                lines, requested=chunk_ids, dimensions=generation.spec.dimensions
            )
        for outcome in results.outcomes:
            if outcome.vector is not None:
                found[outcome.chunk_id] = np.frombuffer(outcome.vector, dtype="<f4")
    return found


def _answer_files(
    index: Index, generation: Generation, results_dir: Path
) -> Iterator[tuple[Shard, Path]]:
    for shard in index.shards.of(generation):
        job = index.jobs.newest_job(shard) if shard.state is ShardState.SETTLED else None
        if job is not None and job.state is JobState.COLLECTED:
            path = result_path(results_dir, job)
            if path.exists():
                yield shard, path


def _count_found(view: PublishedView, sought: Mapping[int, np.ndarray]) -> int:
    """How many of these chunks are among the MAX_RANK nearest to their vector."""
    stored = view.vectors_of(list(sought)).by_chunk()
    chunk_ids = np.array(sorted(stored), np.int64)
    if len(chunk_ids) == 0:
        return 0
    queries = np.stack([sought[chunk_id] for chunk_id in chunk_ids.tolist()])
    own = np.stack([stored[chunk_id] for chunk_id in chunk_ids.tolist()])
    own_scores = np.einsum("ij,ij->i", queries, own)
    n_as_near = np.zeros(len(chunk_ids), np.int64)
    for block in view.vector_blocks():
        is_as_near = block.matrix @ queries.T >= own_scores - _TOLERANCE
        n_as_near += is_as_near.sum(axis=0)
    return int(np.count_nonzero(n_as_near <= MAX_RANK))
