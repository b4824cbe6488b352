"""What people see of money: the estimate, the calculator's table, the bill.

Belongs here: words and layout. Does not belong here: arithmetic (money/).
"""

from collections.abc import Iterator
from decimal import Decimal

from rich.table import Table
from rich.text import Text

from embedding_assets.cli.console import out, shown
from embedding_assets.money.bill import Grouping, Line, Statement
from embedding_assets.money.calculator import Calculation
from embedding_assets.money.estimate import Costs, Duration, Estimate
from embedding_assets.wording import count, format_usd

_UNCOUNTED = "*"  # beside tokens that are billed by estimate


def estimate(found: Estimate) -> None:
    """What would be sent and what it would cost, then why, how long, and what else to know."""
    console = out()
    console.print(shown(found.files))
    table = Table(show_header=False)
    for name, cell in _estimate_rows(found):
        table.add_row(name, cell)
    console.print(table)
    for line in _estimate_lines(found) if found.packed.n_requests else ("nothing to send",):
        console.print(line)
    if found.last_bill is not None:
        console.print(
            f"the last estimate was off by {found.last_bill.estimate_error:+.1%}: "
            f"{found.last_bill.estimated_tokens:,} tokens estimated, "
            f"{found.last_bill.billed_tokens:,} billed"
        )
    if found.agreement.n_texts:
        console.print(
            f"before publishing at most {count(found.agreement.n_texts, 'text')} more are "
            f"embedded again to compare: about {format_usd(found.agreement.cost_usd)}"
        )
    for line in found.notes:
        console.print(Text.assemble(("note:", "bold"), " ", shown(line)))
    for document in found.unreadable:
        left_out = shown(f"{document.uri}: {document.error_message}", "dim")
        console.print(Text.assemble(("left out:", "bold red"), " ", left_out))
    if found.n_unreadable > len(found.unreadable):
        console.print(f"and {found.n_unreadable - len(found.unreadable):,} more left out")


def _estimate_rows(found: Estimate) -> Iterator[tuple[str, str]]:
    progress, costs = found.progress, found.costs
    yield "documents", f"{progress.n_documents:,}"
    yield "chunks", f"{progress.n_chunks:,}"
    yield "reused", f"{progress.n_embedded:,}"
    yield "under way", f"{progress.n_pending:,}"
    yield "given up", f"{progress.n_failed:,}"
    yield "requests", f"{found.packed.n_requests:,}"
    yield "tokens", f"{found.packed.n_tokens:,}"
    yield "batch jobs", f"{found.n_jobs:,}"
    yield "synchronous", format_usd(costs.sync_usd)
    yield "batch", format_usd(costs.batch_usd)
    yield "saving by batch", format_usd(costs.saving_usd)


def _estimate_lines(found: Estimate) -> Iterator[str]:
    yield f"route: {found.route.value}, because {found.route_reason}"
    yield _duration(found.duration)
    if found.over_budget:
        yield f"[bold red]over the budget[/]: {found.over_budget}"
    else:
        yield f"{format_usd(found.costs.by(found.route))} is within the budget"
    yield f"tokens: {found.token_basis}"


def _duration(duration: Duration) -> str:
    if duration.n_waves:
        return (
            f"time: {count(duration.n_waves, 'wave')} of jobs with at most "
            f"{duration.max_enqueued_tokens:,} tokens at once, "
            f"usually {duration.minutes_from:,} to {duration.minutes_to:,} minutes"
        )
    return f"time: up to {duration.minutes_to:,} min at the synchronous rate limit"


def calculation(found: Calculation) -> None:
    """The scenarios in a table, then a year of the one that was asked for; every dollar exact."""
    console = out()
    table = Table()
    for heading in ("documents", "tokens", "synchronous", "batch", "saving", "route"):
        table.add_column(heading, justify="left" if heading == "route" else "right")
    for scenario in found.scenarios:
        table.add_row(
            f"{scenario.n_documents:,}",
            f"{scenario.n_tokens:,}",
            *_exact_costs(scenario.costs),
            scenario.route.value,
            style="bold" if scenario == found.asked else "",
        )
    console.print(table)
    assumed, price = found.assumptions, found.assumptions.price
    sync, batch, saving = _exact_costs(found.yearly)
    console.print(
        f"{assumed.reindexes_per_year:,} reindexes a year of {assumed.n_documents:,} documents: "
        f"{sync} synchronous, {batch} batch, {saving} saved"
    )
    console.print(
        f"assumed: {assumed.tokens_per_document:,} tokens a document, all of them new; a million "
        f"tokens {format_usd(price.sync_usd, exact=True)} synchronous, "
        f"{format_usd(price.batch_usd, exact=True)} batch"
    )
    if assumed.is_batch_dearer:
        console.print("[bold]note:[/] at these prices batch jobs are the dearer route")


def _exact_costs(costs: Costs) -> Iterator[str]:
    for amount in (costs.sync_usd, costs.batch_usd, costs.saving_usd):
        yield format_usd(amount, exact=True)


def costs(statement: Statement) -> None:
    """Two lines of a table for each of the statement, then what its dollars are and are not."""
    console = out()
    if not statement.lines:
        console.print("nothing was reindexed yet")
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(statement.by.value, overflow="fold", min_width=10)
    for heading in (
        *("requests", "estimated", "billed", "error"),
        *("synchro-\nnously", "without\nreuse", "saved"),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    with_provider = len(statement.totals) > 1
    for line in statement.lines:
        table.add_row(*_cost_cells(line, with_provider=with_provider))
    for line in statement.totals:
        table.add_row(*_cost_cells(line, with_provider=with_provider), style="bold")
    console.print(table)
    for words in _cost_notes(statement):
        console.print(words)


def _cost_cells(line: Line, *, with_provider: bool) -> Iterator[Text]:
    bill = line.bill
    label, *more = line.labels.items()
    names = {"month", "state", "dimensions"} | ({"provider"} if with_provider else set())
    yield (
        shown(label[1])
        .append("\n")
        .append(shown(" ".join(value for name, value in more if name in names)))
    )
    error = bill.comparable_error
    for cell in (
        f"{bill.n_requests:,}" + (f"\n{bill.n_failed:,} failed" if bill.n_failed else ""),
        f"{bill.estimated_tokens:,}\n{format_usd(bill.estimated_usd)}",
        f"{bill.billed_tokens:,}{_UNCOUNTED * bool(bill.uncounted_tokens)}\n"
        f"{format_usd(bill.billed_usd)}",
        "" if error is None else f"{100 * error:+.1f} %",
        *map(_usd_below, (bill.sync_usd, bill.without_reuse_usd, bill.saved_usd)),
    ):
        yield Text(cell)


def _usd_below(amount: Decimal | None) -> str:
    """On the second line, in one row with the other dollars."""
    return "" if amount is None else f"\n{format_usd(amount)}"


def _cost_notes(statement: Statement) -> Iterator[str]:
    n_uncounted = sum(line.bill.uncounted_tokens for line in statement.totals)
    if n_uncounted:
        yield (
            f"{_UNCOUNTED} {n_uncounted:,} tokens by estimate: they were paid for, and Gemini did "
            "not say how many"
        )
    if statement.by is Grouping.MONTH:
        yield "a month is the partition that was reindexed, whenever it was billed"
    n_not_bought = sum(line.bill.n_not_bought for line in statement.totals)
    if n_not_bought:
        yield f"without reuse: {n_not_bought:,} chunks are left out, they have no vector yet"
    n_compared = sum(line.bill.n_compared for line in statement.totals)
    if n_compared:
        yield (
            f"billed: with {count(n_compared, 'sampled text')} that were embedded again before "
            "publishing (publishing.agreement_samples)"
        )
    if any(line.bill.sync_usd is None for line in statement.totals):
        yield "synchronously: the price of a model is not known; `prices` in the settings adds it"
    if any(line.labels["provider"] != "gemini" for line in statement.totals):
        yield "the emulator's dollars are at Gemini's prices; nobody pays them"
