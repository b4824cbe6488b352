"""Gates: what a generation must show before readers may see it.

Belongs here: the gates, their numbers and sentences, which of them a person may open.
Does not belong here: counting (store/, pipeline/self_retrieval.py, pipeline/agreement.py) and the
flip (pipeline/publish.py).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from embedding_assets.model.agreement import (
    Agreement,
    describe_samples,
    explain_disagreement,
)
from embedding_assets.model.generations import Generation, Progress
from embedding_assets.settings.values import Publishing


class GateName(StrEnum):
    """What is asked of a generation; each can be waived by name."""

    FINISHED = "finished"  # nothing of it is under way or unplanned
    COVERAGE = "coverage"  # enough of its chunks have a vector
    SHRINKAGE = "shrinkage"  # it has not lost too much of what is published
    SELF_RETRIEVAL = "self_retrieval"  # the vectors that were bought find their own texts
    AGREEMENT = "agreement"  # sampled texts, embedded again, get the vectors that are stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate: shut if there is a problem, which is a sentence with numbers and a next step."""

    name: GateName
    problem: str | None
    seen: str  # what was looked at, in numbers: the verdict if there is no problem
    numbers: Mapping[str, int | float]

    @property
    def is_open(self) -> bool:
        return self.problem is None

    @property
    def verdict(self) -> str:
        """Why it is shut, or what was seen."""
        return self.problem or self.seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """How many of some chunks were found by a search for their own vector."""

    n_sought: int
    n_found: int

    @property
    def share(self) -> float:
        """Of the chunks that were sought; 1.0 if there were none."""
        return self.n_found / self.n_sought if self.n_sought else 1.0


def judge_gates(
    generation: Generation,
    progress: Progress,
    published: Generation | None,
    retrieval: Retrieval,
    agreement: Agreement,
    limits: Publishing,
) -> tuple[Gate, ...]:
    """Every gate, in the order of GateName; ``published`` is what readers see now, if anything."""
    return (
        _judge_finished(progress),
        _judge_coverage(progress, limits.min_coverage),
        _judge_shrinkage(generation, progress, published, limits.max_shrinkage),
        _judge_retrieval(retrieval, limits.min_self_retrieval),
        _judge_agreement(agreement, limits.min_agreement),
    )


def shut_gates(gates: Iterable[Gate], *, allow: Collection[GateName]) -> list[Gate]:
    """The gates that keep a generation from its readers, those aside that a person waived."""
    return [gate for gate in gates if not gate.is_open and gate.name not in allow]


def _judge_finished(progress: Progress) -> Gate:
    problem = None
    if progress.n_pending:
        problem = (
            f"{progress.n_pending:,} of {progress.n_chunks:,} chunks are still in open shards; the "
            "sensors submit and collect them, but shards whose jobs were given up wait until the "
            "failed partitions of batch_jobs are materialized"
        )
    elif progress.n_unplanned:
        problem = (
            f"{progress.n_unplanned:,} of {progress.n_chunks:,} chunks are not planned yet; "
            "materialize shard_plan, or run `embedding-assets reindex --now`"
        )
    return Gate(
        name=GateName.FINISHED,
        problem=problem,
        seen=(
            f"nothing is under way: {progress.n_embedded:,} chunks have a vector, "
            f"{progress.n_failed:,} have failed for good"
        ),
        numbers={"pending": progress.n_pending, "unplanned": progress.n_unplanned},
    )


def _judge_coverage(progress: Progress, min_coverage: float) -> Gate:
    problem = None
    seen = (
        f"{progress.n_embedded:,} of {progress.n_chunks:,} chunks are embedded "
        f"({progress.coverage:.1%}), publishing.min_coverage is {min_coverage:.1%}"
    )
    if progress.coverage < min_coverage:
        problem = f"only {seen}; see `embedding-assets failures`"
    return Gate(
        name=GateName.COVERAGE,
        problem=problem,
        seen=seen,
        numbers={
            "chunks": progress.n_chunks,
            "embedded": progress.n_embedded,
            "failed": progress.n_failed,
            "coverage": progress.coverage,
            "min_coverage": min_coverage,
        },
    )


def _judge_shrinkage(
    generation: Generation, new: Progress, old: Generation | None, max_shrinkage: float
) -> Gate:
    numbers: dict[str, int | float] = {"documents": new.n_documents, "chunks": new.n_chunks}
    problem = None
    seen = f"it has {new.n_chunks:,} chunks of {new.n_documents:,} documents; none were published"
    if new.n_chunks == 0:
        problem = (
            "it has no chunks at all; an empty corpus does not replace the published index: see "
            "that corpus.paths names the documents, and reindex"
        )
    if old is not None:
        numbers |= {"published_documents": old.n_documents, "published_chunks": old.n_chunks}
        fallen = {"documents": _fallen(new.n_documents, old.n_documents)}
        # Cut in another way the same documents are another number of chunks.
        if generation.chunker == old.chunker:
            fallen["chunks"] = _fallen(new.n_chunks, old.n_chunks)
        numbers |= {f"{what}_fallen": share for what, share in fallen.items()}
        numbers["max_shrinkage"] = max_shrinkage
        what = max(fallen, key=fallen.__getitem__)
        seen = (
            f"it has {new.n_chunks:,} chunks of {new.n_documents:,} documents, published are "
            f"{old.n_chunks:,} of {old.n_documents:,}; publishing.max_shrinkage is "
            f"{max_shrinkage:.1%}"
        )
        if problem is None and fallen[what] > max_shrinkage:
            problem = (
                f"it has {numbers[what]:,} {what}, {fallen[what]:.1%} fewer than the "
                f"{numbers[f'published_{what}']:,} that are published; publishing.max_shrinkage "
                f"is {max_shrinkage:.1%}: if documents are missing, bring them back and reindex"
            )
    return Gate(name=GateName.SHRINKAGE, problem=problem, seen=seen, numbers=numbers)


def _fallen(new: int, old: int) -> float:
    return max(0.0, 1 - new / old) if old else 0.0


def _judge_retrieval(retrieval: Retrieval, min_self_retrieval: float) -> Gate:
    problem = None
    seen = (
        f"{retrieval.n_found} of {retrieval.n_sought} sampled chunks are found by a search for "
        f"their own vector ({retrieval.share:.1%}), publishing.min_self_retrieval is "
        f"{min_self_retrieval:.1%}"
    )
    if not retrieval.n_sought:
        seen = "no vector of this generation can be looked for"
    if retrieval.share < min_self_retrieval:
        problem = (
            f"only {seen}: the vectors are not what was bought, or all alike; run "
            "`embedding-assets doctor`"
        )
    return Gate(
        name=GateName.SELF_RETRIEVAL,
        problem=problem,
        seen=seen,
        numbers={
            "sought": retrieval.n_sought,
            "found": retrieval.n_found,
            "min_self_retrieval": min_self_retrieval,
        },
    )


def _judge_agreement(agreement: Agreement, min_agreement: float) -> Gate:
    """One sample that disagrees is enough: of so few none would be met if it were the only one."""
    disagreeing = agreement.below(min_agreement)
    n_new = sum(sample.is_new for sample in disagreeing)
    n_old = len(disagreeing) - n_new
    limit = f"publishing.min_agreement is {min_agreement:g}"
    lowest = f"{agreement.min_cosine:.3f}"
    problem = agreement.trouble
    seen = (
        f"{describe_samples(agreement)} agree with what Gemini answers for them now: their cosine "
        f"is {lowest} or more, {limit}"
    )
    if not agreement.samples:
        seen = "no text was embedded again to be compared with what is stored"
    if disagreeing:
        problem = (
            f"of {describe_samples(agreement)}, {n_new:,} and {n_old:,} disagree with "
            f"what Gemini answers for them now (cosine down to {lowest}, {limit}): "
            f"{explain_disagreement(disagreeing)}"
        )
    return Gate(
        name=GateName.AGREEMENT,
        problem=problem,
        seen=seen,
        numbers={
            "compared": len(agreement.samples),
            "disagreeing_new": n_new,
            "disagreeing_old": n_old,
            "stored_elsewhere": sum(sample.is_elsewhere for sample in disagreeing),
            "min_cosine": round(agreement.min_cosine, 4),
            "min_agreement": min_agreement,
        },
    )
