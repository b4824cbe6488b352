"""Bills: what was expected, what was billed, and what the same work would have cost otherwise.

Belongs here: the bill, adding bills up, the statement by month, generation or model.
Does not belong here: prices (prices.py), where the numbers are found (store/bills.py), how a
statement is shown (cli/show/money.py).
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any

from embedding_assets.model.generations import Generation
from embedding_assets.wording import count, exact_usd, format_usd

# A bill is worth a word if it is off by more than this share of the estimate, and by so much money.
MAX_ESTIMATE_ERROR = 0.25
MAX_TRIFLE_USD = Decimal("0.10")

_TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a generation's shards were expected to cost and what was billed so far."""

    n_shards: int
    n_requests: int
    estimated_tokens: int
    billed_tokens: int
    estimated_usd: Decimal
    billed_usd: Decimal

    @property
    def estimate_error(self) -> float | None:
        """By how much of what was billed the estimate was too high: 0.1 is 10 % too high.

        None before anything was billed. Requests that failed were estimated and not billed.
        """
        if not self.billed_tokens:
            return None
        return self.estimated_tokens / self.billed_tokens - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """The chunks of a generation that were bought, for it or before, each counted once."""

    n_chunks: int
    usd: Decimal  # at the prices they were bought at


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What some generations' shards cost. Accounts can be added."""

    n_shards: int
    n_requests: int
    n_embedded: int
    n_failed: int
    estimated_tokens: int
    billed_tokens: int
    # Of the shards of which every request was embedded: only there do both mean the same texts.
    comparable_estimated_tokens: int
    comparable_billed_tokens: int
    estimated_usd: Decimal
    billed_usd: Decimal
    sync_usd: Decimal | None  # None: nobody knows the price of a model
    without_reuse_usd: Decimal  # for every chunk of the generations, whoever bought it
    n_not_bought: int  # chunks that are missing there, because they have no vector yet

    def __add__(self, other: "Account") -> "Account":
        return Account(
            **{
                field.name: _sum(getattr(self, field.name), getattr(other, field.name))
                for field in fields(self)
            }
        )

    @property
    def estimate_error_percent(self) -> float | None:
        """How much more was estimated than billed; None if nothing can be compared yet."""
        if not self.comparable_billed_tokens:
            return None
        excess = self.comparable_estimated_tokens - self.comparable_billed_tokens
        return 100 * excess / self.comparable_billed_tokens

    @property
    def saved_usd(self) -> Decimal | None:
        """Saved by the Batch API plus saved by not buying twice."""
        if self.sync_usd is None:
            return None
        return (self.sync_usd - self.billed_usd) + (self.without_reuse_usd - self.billed_usd)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; dollars as exact decimal text."""
        error_percent = self.estimate_error_percent
        return {
            "shards": self.n_shards,
            "requests": self.n_requests,
            "embedded": self.n_embedded,
            "failed": self.n_failed,
            "estimated_tokens": self.estimated_tokens,
            "billed_tokens": self.billed_tokens,
            "estimated_usd": exact_usd(self.estimated_usd),
            "billed_usd": exact_usd(self.billed_usd),
            "estimate_error_percent": None if error_percent is None else round(error_percent, 2),
            "sync_usd": None if self.sync_usd is None else exact_usd(self.sync_usd),
            "without_reuse_usd": exact_usd(self.without_reuse_usd),
            "chunks_not_bought": self.n_not_bought,
            "saved_usd": None if self.saved_usd is None else exact_usd(self.saved_usd),
        }


def _sum(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one + other


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthBill:
    """What a month's index held, and what was sent and billed for it, by all of its builds."""

    month: str
    n_documents: int  # of the build that readers saw last; 0 if they saw none
    n_chunks: int
    n_requests: int
    estimated_usd: Decimal
    billed_usd: Decimal


def describe_bill(bill: Bill) -> str:
    """What was sent, billed and estimated, in one clause."""
    if not bill.n_requests:
        return "nothing was sent, so nothing was billed"
    return f"{count(bill.n_requests, 'request')} sent; {_dollars(bill)}"


def _dollars(bill: Bill) -> str:
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
    off = f"{answered}; {_dollars(bill)}: {share}{more} than was expected, beyond the "
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
    """One line of a statement: what it is about, by column, and its account."""

    labels: Mapping[str, str]
    account: Account

    def as_dict(self) -> dict[str, Any]:
        return {**self.labels, **self.account.as_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Lines with a total for each provider: the emulator's dollars are nobody's."""

    by: Grouping
    lines: tuple[Line, ...]
    totals: tuple[Line, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; dollars as exact decimal text."""
        return {
            "by": self.by.value,
            "rows": [line.as_dict() for line in self.lines],
            "totals": [line.as_dict() for line in self.totals],
        }

    def as_csv(self) -> str:
        """A heading, the lines, and the totals, by the word in their first column."""
        rows = [line.as_dict() for line in (*self.lines, *self.totals)]
        if not rows:
            return ""
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=rows[0], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()


def make_statement(accounts: Iterable[tuple[Generation, Account]], *, by: Grouping) -> Statement:
    """Add accounts up, month after month."""
    in_order = sorted(accounts, key=lambda item: (item[0].month, item[0].generation_id))
    return Statement(
        by=by,
        lines=_grouped((_labels(generation, by), account) for generation, account in in_order),
        totals=_grouped(
            (_total_labels(generation, by), account) for generation, account in in_order
        ),
    )


def _grouped(items: Iterable[tuple[dict[str, str], Account]]) -> tuple[Line, ...]:
    sums: dict[tuple[tuple[str, str], ...], Account] = {}
    for labels, account in items:
        key = tuple(labels.items())
        sums[key] = sums[key] + account if key in sums else account
    return tuple(Line(labels=dict(key), account=account) for key, account in sums.items())


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
