"""Bills: what was expected, what was billed, and what the same work would have cost otherwise.

Belongs here: the bill, adding bills up, the statement by month, generation or model.
Does not belong here: prices (prices.py), where the numbers are found (store/bills.py), how a
statement is shown (cli/show/money.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from embedding_assets.model.generations import Generation
from embedding_assets.wording import count, format_usd

# A bill is worth a word if it is off by more than this share of the estimate, and by so much money.
MAX_ESTIMATE_ERROR = 0.25
MAX_TRIFLE_USD = Decimal("0.10")

_TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What some shards were expected to cost and what they did cost. Bills can be added."""

    n_shards: int = 0
    n_requests: int = 0
    n_embedded: int = 0
    n_failed: int = 0
    n_compared: int = 0  # sampled texts that were embedded again, beside the requests
    estimated_tokens: int = 0
    billed_tokens: int = 0
    uncounted_tokens: int = 0  # of those: by our estimate, because Gemini did not say how many
    # Of the shards that can be compared: only there do both mean the same texts.
    comparable_estimated_tokens: int = 0
    comparable_billed_tokens: int = 0
    estimated_usd: Decimal = Decimal(0)
    billed_usd: Decimal = Decimal(0)
    # What else it might have cost; None: nobody knows, or nobody asked.
    sync_usd: Decimal | None = None
    without_reuse_usd: Decimal | None = None  # for every chunk, whoever bought it
    n_not_bought: int = 0  # chunks that are missing there, because they have no vector yet

    def __add__(self, other: "Bill") -> "Bill":
        return Bill(
            **{
                field.name: _sum(getattr(self, field.name), getattr(other, field.name))
                for field in fields(self)
            }
        )

    @property
    def is_comparable(self) -> bool:
        """Every request was embedded, and Gemini said how many tokens it took."""
        return self.n_embedded == self.n_requests and not self.uncounted_tokens

    @property
    def estimate_error(self) -> float | None:
        """By how much of what was billed the estimate was too high: 0.1 is 10 % too high.

        None before anything was billed. Requests that failed were estimated and not billed.
        """
        return _error(self.estimated_tokens, self.billed_tokens)

    @property
    def comparable_error(self) -> float | None:
        """The same where it can be compared; None if nothing can be yet."""
        return _error(self.comparable_estimated_tokens, self.comparable_billed_tokens)

    @property
    def saved_usd(self) -> Decimal | None:
        """Saved by the Batch API plus saved by not buying twice."""
        if self.sync_usd is None or self.without_reuse_usd is None:
            return None
        return (self.sync_usd - self.billed_usd) + (self.without_reuse_usd - self.billed_usd)


def total(bills: Iterable[Bill]) -> Bill:
    """All of them in one."""
    first, *others = (*bills,) or (Bill(),)
    return sum(others, first)


def _sum(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one + other


def _error(estimated_tokens: int, billed_tokens: int) -> float | None:
    return (estimated_tokens - billed_tokens) / billed_tokens if billed_tokens else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardBill:
    """The bill of one shard, whose it is and how far it got."""

    generation_id: int
    bill: Bill
    is_under_way: bool  # an attempt is, or its answer was not read yet
    is_unsent: bool  # it is to be sent, for the first time or again
    was_sent: bool  # Gemini has taken an attempt, whatever became of it
    sent_at: datetime | None  # when the newest attempt that may cost something was sent, if any

    @property
    def spent_usd(self) -> Decimal:
        """What was billed, whatever became of it, and what is under way, by estimate."""
        return self.bill.billed_usd + (self.bill.estimated_usd if self.is_under_way else 0)

    @property
    def unsent_usd(self) -> Decimal:
        """What is still to be sent, by estimate."""
        return self.bill.estimated_usd if self.is_unsent else Decimal(0)


def describe_bill(bill: Bill) -> str:
    """What was sent, billed and estimated, in one clause."""
    if not bill.n_requests and not bill.n_compared:
        return "nothing was sent, so nothing was billed"
    again = f", {count(bill.n_compared, 'sampled text')} embedded again" if bill.n_compared else ""
    return f"{count(bill.n_requests, 'request')} sent{again}; {describe_dollars(bill)}"


def describe_dollars(bill: Bill) -> str:
    """What was billed beside what was expected."""
    return f"{format_usd(bill.billed_usd)} billed, {format_usd(bill.estimated_usd)} estimated"


def estimate_problem(bill: Bill) -> str | None:
    """Why a bill is not what was expected, and what to do; None if it is, or it is a trifle.

    The bill is of shards that were answered in full: only there do both mean the same texts.
    """
    excess_usd = bill.billed_usd - bill.estimated_usd
    is_large = abs(excess_usd) > Decimal(str(MAX_ESTIMATE_ERROR)) * bill.estimated_usd
    if not is_large or abs(excess_usd) <= MAX_TRIFLE_USD:
        return None
    share = f"{abs(excess_usd) / bill.estimated_usd:.0%} " if bill.estimated_usd else ""
    more = "more" if excess_usd > 0 else "less"
    answered = f"{count(bill.n_requests, 'request')} of shards that were answered in full"
    off = f"{answered}; {describe_dollars(bill)}: {share}{more} than was expected, beyond the "
    allowed = f"{MAX_ESTIMATE_ERROR:.0%} and {format_usd(MAX_TRIFLE_USD)} that are no matter; "
    if excess_usd > 0:
        next_step = (
            "compare `embedding-assets costs` with Google's bill, and lower budget.max_cost_usd "
            "if it must not happen again; the next plan learns from what was billed"
        )
    else:
        next_step = "nothing is to be done: the next plan learns from what was billed"
    return off + allowed + next_step


class Grouping(StrEnum):
    """What a line of a statement is about."""

    MONTH = "month"  # the partition that it was bought for, not the month of the calendar
    GENERATION = "generation"
    MODEL = "model"  # with its dimensions: another index


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a statement: what it is about, by column, and its bill."""

    labels: Mapping[str, str]
    bill: Bill


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Lines with a total for each provider: the emulator's dollars are nobody's."""

    by: Grouping
    lines: tuple[Line, ...]
    totals: tuple[Line, ...]


def make_statement(bills: Iterable[tuple[Generation, Bill]], *, by: Grouping) -> Statement:
    """Add the bills of generations up, month after month."""
    in_order = sorted(bills, key=lambda item: (item[0].month, item[0].generation_id))
    return Statement(
        by=by,
        lines=_grouped((_labels(generation, by), bill) for generation, bill in in_order),
        totals=_grouped((_total_labels(generation, by), bill) for generation, bill in in_order),
    )


def _grouped(items: Iterable[tuple[dict[str, str], Bill]]) -> tuple[Line, ...]:
    grouped: defaultdict[tuple[tuple[str, str], ...], list[Bill]] = defaultdict(list)
    for labels, bill in items:
        grouped[tuple(labels.items())].append(bill)
    return tuple(Line(labels=dict(key), bill=total(bills)) for key, bills in grouped.items())


def _labels(generation: Generation, by: Grouping) -> dict[str, str]:
    spec = generation.spec
    model = {"model": spec.model, "dimensions": str(spec.dimensions)}
    match by:
        case Grouping.MONTH:
            labels = {"month": generation.month}
        case Grouping.GENERATION:
            labels = {
                "generation": str(generation.generation_id),
                "month": generation.month,
                "state": generation.state.value,
                **model,
            }
        case Grouping.MODEL:
            labels = model
    return {**labels, "provider": spec.provider}


def _total_labels(generation: Generation, by: Grouping) -> dict[str, str]:
    empty = dict.fromkeys(_labels(generation, by), "")
    return {**empty, by.value: _TOTAL, "provider": generation.spec.provider}
