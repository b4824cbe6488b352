"""The command line: every command is a few lines around a verb of the package.

Belongs here: options, exit codes, starting what a command needs. Does not belong here: how things
look (display.py) and any work.
Exit codes: 0 done; 1 done, but something is left failed or unpublished; 2 it could not be done.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from embedding_assets.cli import console
from embedding_assets.cli.processes import check_port, emulator, run_emulator, run_web_ui
from embedding_assets.cli.show import index as display
from embedding_assets.clock import utc_now
from embedding_assets.errors import (
    EmbeddingAssetsError,
    IndexMissingError,
    PublishingError,
    SettingsError,
)
from embedding_assets.gemini.connection import connect, provider_of
from embedding_assets.model.gates import GateName
from embedding_assets.money.bill import Grouping, make_statement
from embedding_assets.settings.reading import SETTINGS_FILE_VARIABLE, load_settings
from embedding_assets.settings.values import EMULATOR_BASE_URL, Settings

if TYPE_CHECKING:
    from embedding_assets.gemini.client import GeminiClient
    from embedding_assets.model.generations import Generation
    from embedding_assets.money.estimate import Estimate

app = typer.Typer(
    name="embedding-assets",
    help="Keep a SQLite vector index of your documents up to date through the Gemini Batch API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_INTERRUPTED = 130  # what shells report for Ctrl-C

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def main() -> None:
    """The console script: our errors, and the system's on files, are one line and exit code 2."""
    # SIGTERM ends a command as Ctrl-C does: children are stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # An interrupt that hits a connection being closed is raised; SQLAlchemy would print it, too.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        app()
    except (EmbeddingAssetsError, OSError) as exc:
        console.error(str(exc))
        sys.exit(2)


@app.callback()
def _choose_settings(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings file; default embedding_assets.toml."),
    ] = None,
) -> None:
    if config is not None:
        # In the environment, so that child processes read the same file.
        os.environ[SETTINGS_FILE_VARIABLE] = str(config)


@app.command()
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
    from embedding_assets.definitions import build_definitions
    from embedding_assets.defs.headless import HeadlessReindex
    from embedding_assets.defs.tags import RunTags
    from embedding_assets.money.prices import parse_usd, price_of

    settings = load_settings()
    partition = _month(month, settings)
    price_of(settings.embedding.model, settings.prices)  # before anything is read or superseded
    approved_usd = None if approve_cost is None else parse_usd(approve_cost)
    try:
        with _emulator_if_needed(settings), display.ReindexProgress() as progress:
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


@app.command()
def estimate(
    documents: Annotated[
        int | None, typer.Option(help="Calculate for so many new documents; no corpus is read.")
    ] = None,
    tokens_per_document: Annotated[
        int | None, typer.Option(help="With --documents; default: 500.")
    ] = None,
    sync_price: Annotated[
        str | None,
        typer.Option(metavar="USD", help="With --documents: of a million tokens, synchronous."),
    ] = None,
    batch_price: Annotated[
        str | None,
        typer.Option(metavar="USD", help="With --documents: of a million tokens, by batch job."),
    ] = None,
    reindexes_per_year: Annotated[
        int | None, typer.Option(help="With --documents; default: 12.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the next reindex would send and cost; nothing is sent or written."""
    from embedding_assets.cli.show import money as display_money
    from embedding_assets.money.calculator import assume, calculate

    settings = load_settings()
    if documents is not None:
        assumptions = assume(
            settings,
            n_documents=documents,
            tokens_per_document=tokens_per_document,
            sync_price=sync_price,
            batch_price=batch_price,
            reindexes_per_year=reindexes_per_year,
        )
        calculation = calculate(assumptions, settings)
        if as_json:
            typer.echo(json.dumps(calculation.as_dict(), indent=2))
        else:
            display_money.calculation(calculation)
        return
    if (tokens_per_document, sync_price, batch_price, reindexes_per_year) != (None,) * 4:
        raise SettingsError(
            "--tokens-per-document, --sync-price, --batch-price and --reindexes-per-year go with "
            "--documents; without it the corpus and the settings say all that"
        )
    found = _estimate_corpus(settings)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=2))
    else:
        display_money.estimate(found)


def _estimate_corpus(settings: Settings) -> "Estimate":
    from embedding_assets.pipeline.estimate import estimate_reindex
    from embedding_assets.store.index import open_index

    provider = provider_of(settings.gemini.base_url, os.environ)
    with ExitStack() as stack:
        index = None
        with suppress(IndexMissingError):  # before the first reindex
            index = stack.enter_context(open_index(settings.index_path))
        return estimate_reindex(index, settings, provider=provider, now=utc_now())


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the published and the building generation, open shards, jobs and the bill."""
    from embedding_assets.pipeline.status import read_status
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        current = read_status(index, settings, with_reuse=True)
    if as_json:
        typer.echo(json.dumps(current.as_dict(), indent=2))
    else:
        display.status(current)


@app.command()
def costs(
    by: Annotated[Grouping, typer.Option(help="A row for each of these.")] = Grouping.MONTH,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what was estimated and billed, and what it would have cost otherwise."""
    from embedding_assets.cli.show import money as display_money
    from embedding_assets.store.index import open_index

    if as_csv and as_json:
        raise SettingsError("--csv and --json exclude each other: choose one")
    settings = load_settings()
    with open_index(settings.index_path) as index:
        statement = make_statement(index.bills.accounts(settings.prices), by=by)
    if as_csv:
        typer.echo(statement.as_csv(), nl=False)
    elif as_json:
        typer.echo(json.dumps(statement.as_dict(), ensure_ascii=False, indent=2))
    else:
        display_money.costs(statement)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for, in plain words.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many chunks.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Find the published chunks nearest to a query."""
    from embedding_assets.reader.search import search as search_index
    from embedding_assets.store.index import open_index

    settings = load_settings()
    if not query.strip():
        raise SettingsError("the query is empty; say what to look for")
    with open_index(settings.index_path) as index, _gemini(settings) as client:
        hits = search_index(index, client, query, k=k)
    if as_json:
        typer.echo(json.dumps([asdict(hit) for hit in hits], ensure_ascii=False, indent=2))
    else:
        display.hits(hits)


@app.command()
def failures(as_json: AsJson = False) -> None:
    """List documents that could not be used and chunks without a vector, and why."""
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        generation = index.generations.building() or index.generations.published()
        found = index.published.failures(generation) if generation else []
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in found], ensure_ascii=False, indent=2))
    else:
        display.failures(found)


@app.command()
def retry(
    document: Annotated[
        str | None, typer.Option(help="Only chunks of this document: a uri, or a pattern with *.")
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="Only chunks that failed with this code.")
    ] = None,
) -> None:
    """Queue failed chunks, and shards whose jobs were given up, for another try."""
    from embedding_assets.pipeline.retry import retry_failures
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        summary = retry_failures(index, settings, document=document, code=code)
    display.retry_result(summary)


@app.command()
def generations(as_json: AsJson = False) -> None:
    """List every generation with its state, its spec, its counts and what it cost."""
    from embedding_assets.pipeline.status import list_generations
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        listed = list_generations(index, settings)
    if as_json:
        typer.echo(json.dumps([each.as_dict() for each in listed], indent=2))
    else:
        display.generations(listed)


@app.command()
def publish(
    generation: Annotated[
        int | None,
        typer.Argument(help="Its id, to serve it again; default: the one that is being built."),
    ] = None,
    allow: Annotated[
        list[GateName] | None, typer.Option(help="Publish although this gate is shut; repeatable.")
    ] = None,
) -> None:
    """Serve a generation: the one being built if its gates are open, or an earlier one."""
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        if generation is not None:
            chosen = index.generations.get(generation)
        else:
            building = index.generations.building()
            if building is None:
                raise PublishingError(
                    "no generation is being built; name one of `embedding-assets generations`, or "
                    "run `embedding-assets reindex`"
                )
            chosen = building
    _serve(settings, chosen, allow=allow or ())


@app.command()
def rollback() -> None:
    """Serve the generation before the published one again."""
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        published = index.generations.published()
        before = index.generations.before(published) if published else None
        building = index.generations.building()
    if before is None:
        raise PublishingError(
            "there is no earlier generation to go back to; retention.keep_generations says how "
            "many are kept, `embedding-assets generations` which there are"
        )
    _serve(settings, before, allow=())
    if building is not None:
        console.note(
            f"generation {building.generation_id} is being built and is published when it is "
            "complete"
        )


def _serve(settings: Settings, generation: "Generation", *, allow: Iterable[GateName]) -> None:
    from embedding_assets.definitions import build_definitions
    from embedding_assets.defs.headless import serve_generation

    definitions = build_definitions(settings)
    serve_generation(definitions, settings, generation, allow=allow, on_note=console.note)
    display.served(generation)


@app.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what is safe.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask Gemini.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Compare the service with what is assumed of it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send --live without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every promise on the live files and at Gemini; exit code 1 if anything is wrong."""
    from embedding_assets.cli.show import doctor as display_doctor
    from embedding_assets.doctor.examine import examine
    from embedding_assets.store.index import open_index

    settings = load_settings()
    if live:
        if repair or offline:
            raise SettingsError("--live looks at the service alone: leave --repair, --offline out")
        raise typer.Exit(_send_canary(settings, is_agreed=yes, as_json=as_json))
    connect = None if offline else partial(_gemini, settings)
    with open_index(settings.index_path) as index:
        report = examine(index, settings, connect=connect, repair=repair, now=utc_now())
    if as_json:
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=2))
    else:
        display_doctor.report(report)
    if report.n_wrong:
        raise typer.Exit(1)


def _send_canary(settings: Settings, *, is_agreed: bool, as_json: bool) -> int:
    """Ask first if Google would be paid, then show what was seen; the exit code."""
    from embedding_assets.cli.show import doctor as display_doctor
    from embedding_assets.doctor.live import send_canary

    with _gemini(settings) as client:
        if client.provider == "gemini" and not is_agreed:
            if not sys.stdin.isatty():
                raise SettingsError("--live sends three requests to Gemini: agree with --yes")
            console.note("three tiny requests, a fraction of a cent; it may take half an hour")
            if not typer.confirm("send them to Gemini?", err=True):
                return 2
        report = send_canary(client, settings, sleep=time.sleep)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=2))
    else:
        display_doctor.canary(report)
    return 1 if report.n_unexpected else 0


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the web UI.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to bind; loopback by default.")] = "127.0.0.1",
) -> None:
    """Run the Dagster web UI and daemon, and the emulator if there is no key, until Ctrl-C."""
    settings = load_settings()
    check_port(host, port)
    from embedding_assets.defs.instance import create_instance

    home = create_instance(settings)
    with _emulator_if_needed(settings):
        run_web_ui(host=host, port=port, home=home, on_start=console.note)


@app.command(name="emulator")
def emulator_command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8765,
    latency: Annotated[float, typer.Option(min=0, help="Seconds a batch job takes.")] = 2.0,
) -> None:
    """Run the local stand-in for Gemini in the foreground; commands without a key find it."""
    settings = load_settings()
    raise typer.Exit(run_emulator(settings, port=port, latency_s=latency))


def _month(month: str | None, settings: Settings) -> str:
    if month is None:
        return datetime.now(ZoneInfo(settings.schedule.timezone)).strftime("%Y-%m")
    from embedding_assets.defs.partitions import check_month

    check_month(month, settings, what="--month")
    return month


@contextmanager
def _gemini(settings: Settings) -> Iterator["GeminiClient"]:
    """Gemini, or the emulator in its place, for one command."""
    from embedding_assets.gemini.client import GeminiClient

    with _emulator_if_needed(settings):
        connection = connect(
            settings.gemini.base_url,
            address_file=settings.emulator_address_file,
            environ=os.environ,
        )
        client = GeminiClient(
            connection,
            api_version=settings.gemini.api_version,
            timeout_s=settings.gemini.timeout_s,
        )
        with closing(client):
            yield client


@contextmanager
def _emulator_if_needed(settings: Settings) -> Iterator[None]:
    """Start the built-in emulator for a command that would otherwise have nobody to talk to."""
    base_url = settings.gemini.base_url
    is_built_in = base_url in ("", EMULATOR_BASE_URL)
    if not is_built_in or provider_of(base_url, os.environ) != "emulator":
        yield
        return
    with emulator(settings) as address:
        why = "GEMINI_API_KEY is not set" if base_url == "" else "as the settings say"
        console.note(f"using the built-in emulator at {address} ({why}); nothing is charged")
        yield
