"""Agreement: the vectors stored for some texts against those that the model answers for them now.

Belongs here: a sample, what all of them tell, and the words for it. Does not belong here: choosing
and embedding them (pipeline/agreement.py), and what follows for readers (gates.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from embedding_assets.wording import some

# Of the sampled texts, one in so many was bought in an earlier month.
OLD_ONE_IN = 4

_MAX_SILENCE = timedelta(hours=6)
_MAX_DOUBLINGS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A text that was embedded again, and how near that vector is to the stored one."""

    chunk_id: int
    shard_key: str  # where the stored vector was bought
    is_new: bool  # for this generation, not in an earlier month
    cosine: float
    is_elsewhere: bool  # its vector is stored with another text


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """All samples of a generation, and why there are not more of them if there should be."""

    samples: tuple[Sample, ...] = ()
    trouble: str | None = None

    @property
    def min_cosine(self) -> float:
        """Of the sample that agrees least; 1.0 if there is none."""
        return min((sample.cosine for sample in self.samples), default=1.0)

    def below(self, min_agreement: float) -> tuple[Sample, ...]:
        """The samples that disagree."""
        return tuple(sample for sample in self.samples if sample.cosine < min_agreement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """The calls for a generation to which Gemini gave no answer, or none that can be used."""

    n_calls: int
    last_at: datetime

    def ends_at(self, first: timedelta) -> datetime:
        """When the next call is due: after so long, and twice as long after each call."""
        n_doublings = min(self.n_calls - 1, _MAX_DOUBLINGS)
        return self.last_at + min(first * (1 << n_doublings), _MAX_SILENCE)


def describe_samples(agreement: Agreement) -> str:
    """How many were compared, and whose they are."""
    n_new = sum(sample.is_new for sample in agreement.samples)
    n_old = len(agreement.samples) - n_new
    return f"{n_new:,} sampled texts that were bought for it and {n_old:,} that were bought before"


def explain_disagreement(samples: Collection[Sample]) -> str:
    """What is probably wrong with stored vectors that disagree, and what to do."""
    keys = sorted({sample.shard_key for sample in samples})
    n_elsewhere = sum(sample.is_elsewhere for sample in samples)
    are_new = all(sample.is_new for sample in samples)
    # Nobody serves what is new yet; what is old cannot be taken from readers.
    next_step = f"`embedding-assets retry --shard {keys[0]}` buys it again" if are_new else _BUY_ALL
    if 2 * n_elsewhere > len(samples):
        return (
            f"the vectors of {n_elsewhere:,} of them are stored with other texts, so the answers "
            f"of {some(keys)} are mixed up; {next_step}"
        )
    if are_new:
        return f"the answers of {some(keys)} are not of these texts; {next_step}"
    return (
        "the model has changed behind its name, and what it answers from now on, queries too, "
        f"cannot be compared with what was bought before; {next_step}"
    )


_BUY_ALL = (
    "with another embedding.model or embedding.dimensions everything is bought again "
    "(`embedding-assets estimate` says for how much)"
)
