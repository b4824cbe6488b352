"""What people see on the terminal: tables, progress, one-line notes and errors.

Belongs here: words and layout. Does not belong here: options and exit codes (cli.py).
On a terminal there are progress bars; elsewhere plain lines, one for every change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from embedding_assets.costs import format_usd

if TYPE_CHECKING:
    from embedding_assets.canary import CanaryReport
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
        if status.n_given_up_shards:
            console.print(
                f"{status.n_given_up_shards} of {status.n_open_shards} open shards are given up; "
                "materialize the failed partitions of batch_jobs in the UI"
            )
    console.print(_bill_line(current))
    if current.progress.n_failed:
        console.print(f"{current.progress.n_failed} chunks failed: see `embedding-assets failures`")


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
    if current.backing_off_until:
        console.print(f"backing off until {current.backing_off_until:%Y-%m-%d %H:%M:%S %Z}")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else str(value)


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
