"""What people see on the terminal: tables, progress, one-line notes and errors.

Belongs here: words and layout. Does not belong here: options and exit codes (cli.py).
On a terminal there are progress bars; elsewhere plain lines, one for every change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from embedding_assets.bills import Grouping
from embedding_assets.costs import format_usd

if TYPE_CHECKING:
    from decimal import Decimal

    from embedding_assets.bills import Line, Statement
    from embedding_assets.canary import CanaryReport
    from embedding_assets.estimates import Calculation, Duration, Estimate
    from embedding_assets.findings import Finding, Report
    from embedding_assets.pipeline.retry import RetrySummary
    from embedding_assets.search import Hit
    from embedding_assets.status import GenerationStatus, Status
    from embedding_assets.store.published import Failure

_EXCERPT_CHARS = 300

# A terminal obeys these instead of showing them: control characters, and those that break a line
# or turn its direction.
_COMMANDS = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def _out() -> Console:
    return Console(soft_wrap=True, highlight=False)


def _err() -> Console:
    return Console(stderr=True, soft_wrap=True, highlight=False)


def _shown(text: str, style: str = "") -> Text:
    """A text from elsewhere to the letter: no markup, no emoji, nothing that a terminal obeys."""
    return Text(_COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text), style)


def error(message: str) -> None:
    """Why a command could not do what it was asked to, in one line."""
    _err().print(Text.assemble(("error:", "bold red"), " ", _shown(_one_line(message))))


def note(message: str) -> None:
    """Something worth knowing, in one line."""
    _err().print(Text.assemble(("note:", "dim"), " ", _shown(_one_line(message))))


def _one_line(text: str) -> str:
    return " ".join(text.split())


class ReindexProgress:
    """Progress of a reindex: bars on a terminal, lines elsewhere; the plan as soon as it is known.

    Usable as a context manager; ``show`` and ``note`` are the callbacks of a headless reindex.
    """

    def __init__(self) -> None:
        self._console = _out()
        self._planned: tuple[int, int] | None = None
        self._last_line = ""
        self._last_note = ""
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._chunks = self._bars.add_task("chunks embedded", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def note(self, message: str) -> None:
        """Said once, not at every poll."""
        if message != self._last_note:
            self._last_note = message
            note(message)

    def show(self, status: Status) -> None:
        """The newest look at the ledger."""
        current = status.building or status.published
        if current is None:
            return
        self._show_plan(current)
        progress = current.progress
        self._bars.update(self._chunks, total=progress.n_chunks, completed=progress.n_embedded)
        line = (
            f"{progress.n_embedded:,} of {progress.n_chunks:,} chunks embedded, "
            f"{progress.n_pending:,} pending, {progress.n_failed:,} failed; "
            f"{status.n_live_jobs} jobs at Gemini, {status.n_finished_jobs} to collect"
        )
        if not self._console.is_terminal and line != self._last_line:
            self._last_line = line
            self._console.print(line)

    def _show_plan(self, current: GenerationStatus) -> None:
        bill = current.bill
        key = (current.generation.generation_id, bill.n_shards)
        if key == self._planned:
            return
        self._planned = key
        self._console.print(_plan_line(current))


def _plan_line(current: GenerationStatus) -> str:
    bill, progress = current.bill, current.progress
    if not bill.n_requests:
        return (
            f"plan for {current.generation.month}: nothing to send, all "
            f"{progress.n_chunks:,} chunks of {progress.n_documents:,} documents have their vector"
        )
    return (
        f"plan for {current.generation.month}: {progress.n_documents:,} documents, "
        f"{progress.n_chunks:,} chunks, {bill.n_requests:,} requests in {bill.n_shards} shards, "
        f"about {bill.estimated_tokens:,} tokens, {format_usd(bill.estimated_usd)}"
    )


def reindex_result(status: Status, month: str) -> None:
    """How a reindex ended, with the bill and what is left to do."""
    console = _out()
    current = status.building or status.published
    if current is None:
        console.print(f"{month}: nothing was built")
        return
    if status.building is None:
        console.print(f"[bold green]published[/] {_summary(current)}")
    else:
        console.print(f"[bold red]not published[/] {_summary(current)}")
        for line in _why_not(status):
            console.print(line)
        if status.n_given_up_shards:
            console.print(
                f"{status.n_given_up_shards} of {status.n_open_shards} open shards are given up; "
                "materialize the failed partitions of batch_jobs in the UI"
            )
    console.print(_bill_line(current))
    if current.progress.n_failed:
        console.print(f"{current.progress.n_failed} chunks failed: see `embedding-assets failures`")


def _why_not(status: Status) -> Iterator[str]:
    """What keeps a generation from being finished, for now."""
    if status.held_since:
        yield (
            f"few requests wait for more since {status.held_since:%Y-%m-%d %H:%M %Z}; "
            "`embedding-assets reindex --now` sends them"
        )
    if status.over_budget:
        yield (
            f"nothing more is sent: {status.over_budget}; raise the limit, or approve more with "
            "`embedding-assets reindex --approve-cost USD`"
        )


def _summary(current: GenerationStatus) -> str:
    progress = current.progress
    return (
        f"{current.generation.month}: {progress.n_embedded:,} of {progress.n_chunks:,} chunks "
        f"of {progress.n_documents:,} documents"
    )


def _bill_line(current: GenerationStatus) -> str:
    bill = current.bill
    if not bill.n_requests:
        return "nothing was sent and nothing was billed"
    at_gemini = "" if current.generation.spec.provider == "gemini" else " at Gemini's prices"
    return (
        f"{bill.n_requests:,} requests sent in {bill.n_shards} shards; "
        f"{bill.billed_tokens:,} tokens billed ({bill.estimated_tokens:,} estimated), "
        f"{format_usd(bill.billed_usd)} ({format_usd(bill.estimated_usd)} estimated){at_gemini}"
    )


def status(current: Status) -> None:
    """Both generations side by side, then what is under way."""
    console = _out()
    table = Table(title=None)
    for heading in ("", "published", "building"):
        table.add_column(heading)
    published = current.published.as_dict() if current.published else {}
    building = current.building.as_dict() if current.building else {}
    for name in published or building:
        row = (published.get(name, ""), building.get(name, ""))
        table.add_row(name.replace("_", " "), *(_cell(value) for value in row))
    if published or building:
        console.print(table)
    else:
        console.print("no generation is published or being built")
    console.print(
        f"{current.n_open_shards} open shards ({current.n_given_up_shards} given up), "
        f"{current.n_live_jobs} jobs at Gemini, {current.n_finished_jobs} to collect"
    )
    for line in _why_not(current):
        console.print(line)
    if current.backing_off_until:
        console.print(f"backing off until {current.backing_off_until:%Y-%m-%d %H:%M:%S %Z}")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def estimate(found: Estimate) -> None:
    """What would be sent and what it would cost, then why, how long, and what else to know."""
    console = _out()
    table = Table(show_header=False)
    for name, cell in _estimate_rows(found):
        table.add_row(name, cell)
    console.print(table)
    for line in _estimate_lines(found) if found.n_requests else ("nothing to send",):
        console.print(line)
    if found.last_bill and found.last_bill.estimate_error is not None:
        console.print(
            f"the last estimate was off by {found.last_bill.estimate_error:+.1%}: "
            f"{found.last_bill.estimated_tokens:,} tokens estimated, "
            f"{found.last_bill.billed_tokens:,} billed"
        )
    for line in found.notes:
        console.print(Text.assemble(("note:", "bold"), " ", _shown(line)))
    for document in found.unreadable:
        left_out = _shown(f"{document.uri}: {document.error_message}", "dim")
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
    yield "requests", f"{found.n_requests:,}"
    yield "tokens", f"{found.n_tokens:,}"
    yield "batch jobs", f"{found.n_jobs:,}"
    yield "synchronous", format_usd(costs.sync_usd)
    yield "batch", format_usd(costs.batch_usd)
    yield "saving by batch", _signed_usd(costs.saving_usd)


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
        waves = "1 wave" if duration.n_waves == 1 else f"{duration.n_waves:,} waves"
        return (
            f"time: {waves} of jobs with at most {duration.max_enqueued_tokens:,} tokens at once, "
            f"usually {duration.minutes_from:,} to {duration.minutes_to:,} minutes"
        )
    return f"time: up to {duration.minutes_to:,} min at the synchronous rate limit"


def _signed_usd(amount: Decimal) -> str:
    return f"-{format_usd(-amount)}" if amount < 0 else format_usd(amount)


def _exact_usd(amount: Decimal) -> str:
    """To the last digit, and cents at the least."""
    short = amount.normalize()
    is_whole_cents = short == round(short, 2)
    shown = f"{abs(short):,.2f}" if is_whole_cents else f"{abs(short):,f}"
    return f"-${shown}" if amount < 0 else f"${shown}"


def calculation(found: Calculation) -> None:
    """The scenarios in a table, then a year of the one that was asked for."""
    console = _out()
    table = Table()
    for heading in ("documents", "tokens", "synchronous", "batch", "saving", "route"):
        table.add_column(heading, justify="left" if heading == "route" else "right")
    for scenario in found.scenarios:
        costs, is_asked = scenario.costs, scenario == found.asked
        table.add_row(
            f"{scenario.n_documents:,}",
            f"{scenario.n_tokens:,}",
            _exact_usd(costs.sync_usd),
            _exact_usd(costs.batch_usd),
            _exact_usd(costs.saving_usd),
            scenario.route.value,
            style="bold" if is_asked else "",
        )
    console.print(table)
    assumed, yearly = found.assumptions, found.yearly
    console.print(
        f"{assumed.reindexes_per_year:,} reindexes a year of {assumed.n_documents:,} documents: "
        f"{_exact_usd(yearly.sync_usd)} synchronous, {_exact_usd(yearly.batch_usd)} batch, "
        f"{_exact_usd(yearly.saving_usd)} saved"
    )
    console.print(
        f"assumed: {assumed.tokens_per_document:,} tokens a document, all of them new; a million "
        f"tokens {_exact_usd(assumed.price.sync_usd)} synchronous, "
        f"{_exact_usd(assumed.price.batch_usd)} batch"
    )
    if assumed.is_batch_dearer:
        console.print("[bold]note:[/] at these prices batch jobs are the dearer route")


def costs(statement: Statement) -> None:
    """Two lines of a table for each of the statement, then what its dollars are and are not."""
    console = _out()
    if not statement.lines:
        console.print("nothing was reindexed yet")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(statement.by.value, overflow="fold", min_width=12)
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
    account = line.account
    label, *more = line.labels.items()
    shown = {"month", "state", "dimensions"} | ({"provider"} if with_provider else set())
    yield (
        _shown(label[1])
        .append("\n")
        .append(_shown(" ".join(value for name, value in more if name in shown)))
    )
    error_percent = account.estimate_error_percent
    for cell in (
        f"{account.n_requests:,}" + (f"\n{account.n_failed:,} failed" if account.n_failed else ""),
        f"{account.estimated_tokens:,}\n{_short_usd(account.estimated_usd)}",
        f"{account.billed_tokens:,}\n{_short_usd(account.billed_usd)}",
        "" if error_percent is None else f"{error_percent:+.1f} %",
        *map(_usd_below, (account.sync_usd, account.without_reuse_usd, account.saved_usd)),
    ):
        yield Text(cell)


def _usd_below(amount: Decimal | None) -> str:
    """On the second line, in one row with the other dollars."""
    return "" if amount is None else f"\n{_short_usd(amount)}"


def _short_usd(amount: Decimal) -> str:
    return format_usd(amount).replace("under ", "<")


def _cost_notes(statement: Statement) -> Iterator[str]:
    if statement.by is Grouping.MONTH:
        yield "a month is the partition that was reindexed, whenever it was billed"
    n_not_bought = sum(line.account.n_not_bought for line in statement.totals)
    if n_not_bought:
        yield f"without reuse: {n_not_bought:,} chunks are left out, they have no vector yet"
    if any(line.account.sync_usd is None for line in statement.totals):
        yield "synchronously: the price of a model is not known; `prices` in the settings adds it"
    if any(line.labels["provider"] != "gemini" for line in statement.totals):
        yield "the emulator's dollars are at Gemini's prices; nobody pays them"


def hits(found: Sequence[Hit]) -> None:
    """A search's answer: where, how near, and the beginning of the text."""
    console = _out()
    for hit in found:
        place = f"{hit.uri} #{hit.position}  score {hit.score:.3f}"
        title = _shown(f"{hit.rank}. {hit.title}", "bold")
        console.print(Text.assemble(title, "  ", _shown(place, "dim")))
        excerpt = _one_line(hit.text)
        cut = excerpt[:_EXCERPT_CHARS] + ("…" if len(excerpt) > _EXCERPT_CHARS else "")
        console.print(Text.assemble("   ", _shown(cut)))


def failures(found: Sequence[Failure]) -> None:
    """What is not in the index, and why."""
    console = _out()
    if not found:
        console.print("nothing failed")
        return
    table = Table("what", "document", "position", "code", "attempts", "message")
    for failure in found:
        table.add_row(
            failure.kind,
            _shown(failure.uri),
            "" if failure.position is None else str(failure.position),
            failure.error_code or "",
            str(failure.attempts or ""),
            _shown(failure.error_message),
        )
    console.print(table)


def retry_result(summary: RetrySummary) -> None:
    """What is queued again and who sends it."""
    console = _out()
    if not summary.n_chunks and not summary.n_shards:
        console.print("nothing to retry")
        return
    console.print(
        f"queued again: {summary.n_chunks:,} failed chunks, and the requests of "
        f"{summary.n_shards:,} shards whose jobs were given up"
    )
    sender = "the running daemon, or `embedding-assets reindex`,"
    if not summary.is_building:
        sender = "`embedding-assets reindex`"
    console.print(f"{sender} sends them")


def report(found: Report) -> None:
    """What the doctor found, one thing a paragraph: what is wrong first, then what to know."""
    console = _out()
    for finding in sorted(found.findings, key=lambda finding: not finding.is_wrong):
        label, style = _label(finding)
        what = _shown(finding.message)
        console.print(Text.assemble((f"{label}:", style), f" [{finding.check.value}] ", what))
        console.print(Text.assemble("   ", _shown(finding.repaired or finding.next_step, "dim")))
    if found.not_looked_at is not None:
        console.print(
            Text.assemble("Gemini's side was not looked at: ", _shown(found.not_looked_at))
        )
    if found.n_wrong:
        console.print(f"[bold red]wrong: {found.n_wrong}[/]")
    else:
        console.print("[bold green]nothing is wrong[/]")


def _label(finding: Finding) -> tuple[str, str]:
    if finding.repaired is not None:
        return "repaired", "bold green"
    return ("wrong", "bold red") if finding.is_wrong else ("note", "bold")


def canary(found: CanaryReport) -> None:
    """What the service did, beside what was assumed of it."""
    console = _out()
    table = Table("assumption", "answer", "verdict")
    for observation in found.observations:
        table.add_row(
            _shown(observation.assumption), _shown(observation.answer), observation.verdict.value
        )
    console.print(table)
    if not found.is_live:
        console.print("this was the emulator: it proves nothing about the live service")
    n_expected = len(found.observations) - found.n_unexpected
    console.print(f"{n_expected} of {len(found.observations)} answers are as assumed")
