"""The commands that only look: status, costs, search, failures, generations.

Belongs here: options, and where an answer is found. Does not belong here: how it looks (cli/show/).
Imports are in the commands: ``--help`` needs none of them.
"""

import os
from typing import Annotated

import typer

from embedding_assets.cli.console import AsJson, answer
from embedding_assets.cli.encode import csv_of
from embedding_assets.cli.service import gemini
from embedding_assets.errors import SettingsError
from embedding_assets.gemini.connection import address_for
from embedding_assets.model.filters import Filter
from embedding_assets.money.bill import Grouping, make_statement
from embedding_assets.settings.reading import load_settings


def status(as_json: AsJson = False) -> None:
    """Show the published and the building generation, open shards, jobs and the bill."""
    from embedding_assets.cli.show import index as display
    from embedding_assets.pipeline.status import read_status
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        current = read_status(index, settings, with_reuse=True)
    answer(current, display.status, as_json=as_json)


def costs(
    by: Annotated[Grouping, typer.Option(help="A row for each of these.")] = Grouping.MONTH,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what was estimated and billed, and what it would have cost otherwise."""
    from embedding_assets.cli.show import money as display
    from embedding_assets.store.index import open_index

    if as_csv and as_json:
        raise SettingsError("--csv and --json exclude each other: choose one")
    settings = load_settings()
    with open_index(settings.index_path) as index:
        statement = make_statement(index.bills.all(settings.prices), by=by)
    if as_csv:
        typer.echo(csv_of((*statement.lines, *statement.totals)), nl=False)
    else:
        answer(statement, display.costs, as_json=as_json)


def search(
    query: Annotated[str, typer.Argument(help="What to look for, in plain words.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many chunks.")] = 5,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER", help='Only among these, as in: uri = "guide/*" and language != en'
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the published chunks nearest to a query."""
    from embedding_assets.cli.show import index as display
    from embedding_assets.reader import search as reader
    from embedding_assets.store.index import open_index

    settings = load_settings()
    if not query.strip():
        raise SettingsError("the query is empty; say what to look for")
    meant = Filter.of(where)
    with open_index(settings.index_path) as index:
        with index.published.view() as view:
            address = address_for(view.spec.provider, settings.gemini.base_url, os.environ)
        is_chosen = address == settings.gemini.base_url
        why = "" if is_chosen else "which made the published vectors"
        with gemini(settings.asking(address), why=why) as client:
            hits = reader.search(index, client, query, k=k, where=meant)
    answer(hits, display.hits, as_json=as_json)


def failures(
    skipped: Annotated[
        bool, typer.Option("--skipped", help="Files that are no documents, by reason and kind.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List documents that could not be used and chunks without a vector, and why."""
    from embedding_assets.cli.show import index as display
    from embedding_assets.corpus.census import Census
    from embedding_assets.corpus.snapshots import read_census
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        generation = index.generations.building() or index.generations.published()
        found = index.published.failures(generation) if generation and not skipped else []
    if skipped:
        census = Census()
        if generation is not None:
            census = read_census(settings.snapshots_dir / f"{generation.month}.parquet")
        answer(census, display.census, as_json=as_json)
    else:
        answer(found, display.failures, as_json=as_json)


def generations(as_json: AsJson = False) -> None:
    """List every generation with its state, its spec, its counts and what it cost."""
    from embedding_assets.cli.show import index as display
    from embedding_assets.pipeline.status import list_generations
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        listed = list_generations(index, settings)
    answer(listed, display.generations, as_json=as_json)
