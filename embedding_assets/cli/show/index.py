"""What people see of an index: progress, the result of a reindex, status, hits, failures.

Belongs here: words and layout. Does not belong here: options and exit codes (commands/), money and
the doctor (money.py, doctor.py).
On a terminal there are progress bars; elsewhere plain lines, one for every change.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from embedding_assets.cli.console import note as print_note
from embedding_assets.cli.console import one_line, out, shown
from embedding_assets.cli.encode import encode
from embedding_assets.model.generations import Generation, GenerationState
from embedding_assets.model.passages import PATH_SEPARATOR
from embedding_assets.wording import count, format_usd

if TYPE_CHECKING:
    from embedding_assets.corpus.census import Census
    from embedding_assets.pipeline.retry import RetrySummary
    from embedding_assets.pipeline.status import GenerationStatus, ListedGeneration, Status
    from embedding_assets.reader.search import Hit
    from embedding_assets.store.published import Failure

_PART_CHARS = 80  # of a title, a heading or a signature
_EXCERPT_CHARS = 300
_SAMPLES = 3  # of left-out files of one kind


class ReindexProgress:
    """Progress of a reindex: bars on a terminal, lines elsewhere; the plan as soon as it is known.

    Usable as a context manager; ``show`` and ``note`` are the callbacks of a headless reindex.
    """

    def __init__(self) -> None:
        self._console = out()
        self._planned: tuple[int, int] | None = None
        self._last_line = ""
        self._last_note = ""
        self._last_waits: tuple[str, ...] = ()
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
            print_note(message)

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
            f"{count(status.n_live_jobs, 'job')} at Gemini, {status.n_finished_jobs} to collect"
        )
        if not self._console.is_terminal and line != self._last_line:
            self._last_line = line
            self._console.print(line)
        for wait in status.waits:
            if wait not in self._last_waits and wait not in self._last_note:
                self._console.print(shown(f"waiting: {wait}"))
        self._last_waits = status.waits

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
        if progress.n_embedded == progress.n_chunks:
            return (
                f"plan for {current.generation.month}: nothing to send, all "
                f"{progress.n_chunks:,} chunks of {progress.n_documents:,} documents have their "
                "vector"
            )
        return (
            f"plan for {current.generation.month}: nothing to send now; {progress.n_embedded:,} of "
            f"{progress.n_chunks:,} chunks have their vector, {progress.n_pending:,} are under "
            f"way, {progress.n_failed:,} failed, {progress.n_unplanned:,} wait"
        )
    return (
        f"plan for {current.generation.month}: {progress.n_documents:,} documents, "
        f"{progress.n_chunks:,} chunks, {count(bill.n_requests, 'request')} in "
        f"{count(bill.n_shards, 'shard')}, "
        f"about {bill.estimated_tokens:,} tokens, {format_usd(bill.estimated_usd)}"
    )


def reindex_result(status: Status, month: str) -> None:
    """How a reindex ended, with the bill and what is left to do."""
    console = out()
    current = status.building or status.published
    if current is None:
        console.print(f"{month}: nothing was built")
        return
    if status.building is None:
        console.print(f"[bold green]published[/] {_summary(current)}")
    else:
        console.print(f"[bold red]not published[/] {_summary(current)}")
        for wait in status.waits:
            console.print(shown(wait))
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
    if not bill.n_requests and not bill.n_compared:
        return "nothing was sent and nothing was billed"
    at_gemini = "" if current.generation.spec.provider == "gemini" else " at Gemini's prices"
    verb = "planned" if current.progress.n_pending else "sent"
    return (
        f"{count(bill.n_requests, 'request')} {verb} in {count(bill.n_shards, 'shard')}; "
        f"{bill.billed_tokens:,} tokens billed ({bill.estimated_tokens:,} estimated), "
        f"{format_usd(bill.billed_usd)} ({format_usd(bill.estimated_usd)} estimated){at_gemini}"
    )


def status(current: Status) -> None:
    """Both generations side by side, then what is under way."""
    console = out()
    table = Table(title=None)
    for heading in ("", "published", "building"):
        table.add_column(heading)
    published = encode(current.published) if current.published else {}
    building = encode(current.building) if current.building else {}
    for name in published or building:
        row = (published.get(name, ""), building.get(name, ""))
        table.add_row(name.replace("_", " "), *(_cell(value) for value in row))
    if published or building:
        console.print(table)
    else:
        console.print("no generation is published or being built")
    console.print(
        f"{count(current.n_open_shards, 'open shard')} ({current.n_given_up_shards} given up, "
        f"{len(current.held_answers)} held), "
        f"{count(current.n_live_jobs, 'job')} at Gemini, {current.n_finished_jobs} to collect"
    )
    for wait in current.waits:
        console.print(shown(wait))


def generations(listed: Sequence[ListedGeneration]) -> None:
    """Every generation, oldest first; the published one stands out."""
    console = out()
    if not listed:
        console.print("no generation was ever listed")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("id", "month", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("spec", no_wrap=True)
    for heading in ("documents", "chunks", "cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in listed:
        generation = each.generation
        is_published = generation.state is GenerationState.PUBLISHED
        table.add_row(
            str(generation.generation_id),
            generation.month,
            generation.state.value,
            f"{generation.spec.model}\n{generation.spec.dimensions} {generation.spec.provider}",
            f"{generation.n_documents:,}",
            f"{generation.n_chunks:,}{_embedded(each)}",
            format_usd(each.bill.billed_usd),
            style="bold" if is_published else None,
        )
    console.print(table)


def _embedded(each: ListedGeneration) -> str:
    """Only if it is not all of them."""
    if each.n_embedded in (None, each.generation.n_chunks):
        return ""
    return f"\n{each.n_embedded:,} embedded"


def served(generation: Generation) -> None:
    """What readers see from now on."""
    out().print(
        f"[bold green]published[/] generation {generation.generation_id} of {generation.month}: "
        f"{generation.n_chunks:,} chunks of {generation.n_documents:,} documents"
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def hits(found: Sequence[Hit]) -> None:
    """A search's answer: where, how near, and the beginning of the text."""
    console = out()
    if not found:
        console.print("nothing was found")
    for hit in found:
        place = hit.url or f"{hit.uri}{'#' * bool(hit.anchor)}{hit.anchor}"
        place += f"  page {hit.page}" * bool(hit.page) + f"  score {hit.score:.3f}"
        parts = [hit.title, *filter(None, hit.section.split(PATH_SEPARATOR))]
        name = PATH_SEPARATOR.join(_cut(part, _PART_CHARS) for part in parts)
        title = shown(f"{hit.rank}. {name}", "bold")
        console.print(Text.assemble(title, "  ", shown(place, "dim")))
        console.print(Text.assemble("   ", shown(_cut(one_line(hit.text), _EXCERPT_CHARS))))


def _cut(text: str, n_chars: int) -> str:
    return text if len(text) <= n_chars else f"{text[: n_chars - 1]}…"


def failures(found: Sequence[Failure]) -> None:
    """What is not in the index, and why."""
    console = out()
    if not found:
        console.print("nothing failed")
        return
    for failure in found:
        console.print(
            Text.assemble(shown(_place(failure), "bold"), ": ", shown(failure.error_message))
        )


def _place(failure: Failure) -> str:
    if failure.position is None:
        return failure.uri
    tried = f", tried {count(failure.attempts, 'time')}" * bool(failure.attempts)
    code = f", {failure.error_code}" * bool(failure.error_code)
    return f"{failure.uri}, chunk {failure.position}{code}{tried}"


def census(found: Census) -> None:
    """What became of the files of the corpus: of those left out a few of each kind, by reason."""
    console = out()
    console.print(shown(found.summary))
    outcome = None
    for tally in found.left_out:
        if tally.outcome is not outcome:
            outcome = tally.outcome
            console.print()
            what = "file" if outcome.is_of_files else "other"
            console.print(shown(f"{count(found.counts[outcome], what)} {outcome}", "bold"))
        start = f"{tally.n_files:>8,} {tally.kind:<10} "
        for uri in tally.samples[:_SAMPLES]:
            console.print(shown(start + _cut_front(uri, console.width - len(start))))
            start = " " * len(start)


def _cut_front(text: str, n_chars: int) -> str:
    """On a terminal the end of a path says what it is; elsewhere all of it does."""
    if not out().is_terminal or len(text) <= n_chars:
        return text
    return f"…{text[len(text) - n_chars + 1 :]}"


def adopted_index(*, new_id: str | None) -> None:
    """What a person has decided, and what follows from it."""
    if new_id is None:
        out().print(
            "this index goes on under its id; jobs at Gemini that answer requests of it are "
            "adopted when they are submitted, what else is there is left alone"
        )
    else:
        out().print(
            f"this index goes on under the new id {new_id}; jobs under the id so far are collected "
            "if they are on record here, and none of them is cancelled"
        )


def retry_result(summary: RetrySummary) -> None:
    """What is queued again and who sends it."""
    console = out()
    if not summary.n_chunks and not summary.n_shards:
        console.print("nothing to retry")
        return
    console.print(
        f"queued again: {summary.n_chunks:,} chunks, and the requests of "
        f"{summary.n_shards:,} shards whose jobs were given up"
    )
    sender = "the running daemon, or `embedding-assets reindex`,"
    if not summary.is_building:
        sender = "`embedding-assets reindex --now`"
    console.print(f"{sender} sends them")
