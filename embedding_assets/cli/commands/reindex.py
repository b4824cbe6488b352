"""The commands about the next reindex: doing it, estimating it, and sums about any.

Belongs here: options, exit codes. Does not belong here: the runs (defs/headless.py), arithmetic
(money/) and how results look (cli/show/).
Imports are in the commands: ``--help`` needs none of them.
"""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from embedding_assets.cli import console
from embedding_assets.cli.console import AsJson, answer
from embedding_assets.cli.encode import plain_usd
from embedding_assets.cli.service import check_index, emulator_if_needed
from embedding_assets.clock import utc_now
from embedding_assets.errors import SettingsError
from embedding_assets.gemini.connection import provider_of
from embedding_assets.money import calculator
from embedding_assets.settings.reading import load_settings
from embedding_assets.settings.values import Settings

if TYPE_CHECKING:
    from embedding_assets.money.estimate import Estimate

_INTERRUPTED = 130  # what shells report for Ctrl-C


def reindex(
    month: Annotated[
        str | None, typer.Option(help="Partition to reindex, as 2026-11; default: this month.")
    ] = None,
    approve_cost: Annotated[
        str | None,
        typer.Option(metavar="USD", help="This reindex may cost that much, whatever the budget."),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Send few requests at once: do not wait for more.")
    ] = False,
) -> None:
    """Run a whole reindex here: snapshot, split, plan, submit, poll, collect, publish."""
    from embedding_assets.cli.show import index as display
    from embedding_assets.definitions import build_definitions
    from embedding_assets.defs.headless import HeadlessReindex
    from embedding_assets.defs.partitions import check_month
    from embedding_assets.defs.tags import RunTags
    from embedding_assets.money.prices import parse_usd, price_of

    settings = load_settings()
    partition = settings.schedule.month_of(utc_now()) if month is None else month
    check_month(partition, settings, what="--month")
    price_of(settings.embedding.model, settings.prices)  # before anything is read or superseded
    approved_usd = None if approve_cost is None else parse_usd(approve_cost)
    check_index(settings)
    try:
        with emulator_if_needed(settings), display.ReindexProgress() as progress:
            status = HeadlessReindex(
                definitions=build_definitions(settings),
                settings=settings,
                month=partition,
                on_status=progress.show,
                on_note=progress.note,
                tags=RunTags(approve_cost_usd=approved_usd, send_now=now),
            ).run()
    except KeyboardInterrupt:
        console.note("interrupted; nothing is lost, the same command goes on from here")
        raise typer.Exit(_INTERRUPTED) from None
    display.reindex_result(status, partition)
    published = status.published
    is_done = status.building is None and published is not None
    if status.held_since is not None:
        return
    if not is_done or published is None or published.progress.n_failed:
        raise typer.Exit(1)


def estimate(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what the next reindex would send and cost; nothing is sent or written."""
    from embedding_assets.cli.show import money as display

    if context.args:
        raise SettingsError(
            f"estimate is of your corpus and has no {context.args[0]!r}; for sums about so many "
            "documents: `embedding-assets calculate --documents N`"
        )
    found = _estimate_corpus(load_settings())
    answer(found, display.estimate, as_json=as_json, usd=plain_usd)


def _estimate_corpus(settings: Settings) -> "Estimate":
    from embedding_assets.pipeline.estimate import estimate_reindex
    from embedding_assets.store.index import open_index_or_empty

    provider = provider_of(settings.gemini.base_url, os.environ)
    with open_index_or_empty(settings.index_path) as index:
        return estimate_reindex(index, settings, provider=provider, now=utc_now())


def calculate(
    documents: Annotated[int, typer.Option(help="Number of documents, all new.")] = 10_000,
    tokens_per_document: Annotated[
        int, typer.Option(help="Tokens in an average document.")
    ] = calculator.DEFAULT_TOKENS_PER_DOCUMENT,
    reindexes_per_year: Annotated[
        int, typer.Option(help="Reindexes a year, for the yearly total.")
    ] = calculator.DEFAULT_REINDEXES_PER_YEAR,
    sync_price: Annotated[
        str | None,
        typer.Option(metavar="USD", help="A million tokens, synchronously; with --batch-price."),
    ] = None,
    batch_price: Annotated[
        str | None,
        typer.Option(metavar="USD", help="A million tokens, by batch job; with --sync-price."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Calculate what so many documents would cost, by route and by year; no corpus is read."""
    from embedding_assets.cli.show import money as display

    settings = load_settings()
    assumptions = calculator.assume(
        settings,
        n_documents=documents,
        tokens_per_document=tokens_per_document,
        sync_price=sync_price,
        batch_price=batch_price,
        reindexes_per_year=reindexes_per_year,
    )
    calculation = calculator.calculate(assumptions, settings)
    answer(calculation, display.calculation, as_json=as_json, usd=plain_usd)
