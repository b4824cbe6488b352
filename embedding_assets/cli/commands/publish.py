"""The commands that change what readers see, or give failed work another try.

Belongs here: options, which generation is meant. Does not belong here: publishing (pipeline/) and
the runs that do it (defs/headless.py).
Imports are in the commands: ``--help`` needs none of them.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from embedding_assets.cli import console
from embedding_assets.errors import PublishingError, SettingsError
from embedding_assets.model.gates import GateName
from embedding_assets.model.reading import Reading
from embedding_assets.settings.reading import load_settings
from embedding_assets.settings.values import Settings
from embedding_assets.wording import count

if TYPE_CHECKING:
    from embedding_assets.model.generations import Generation

_MAX_ID = 2**63 - 1  # what SQLite takes


def publish(
    generation: Annotated[
        int | None,
        typer.Argument(
            min=1,
            max=_MAX_ID,
            help="Its id, to serve it again; default: the one that is being built.",
        ),
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
    from embedding_assets.cli.show import index as display
    from embedding_assets.definitions import build_definitions
    from embedding_assets.defs.headless import serve_generation

    definitions = build_definitions(settings)
    serve_generation(definitions, settings, generation, allow=allow, on_note=console.note)
    display.served(generation)


def collect(
    shards: Annotated[list[str], typer.Argument(help="Their keys, like 2026-11-0003.")],
    again: Annotated[
        bool, typer.Option("--again", help="Download and judge what was answered once more.")
    ] = False,
    as_is: Annotated[
        bool,
        typer.Option("--as-is", help="Take what is usable; the rest is sent and paid for again."),
    ] = False,
) -> None:
    """Read the answers to shards once more, whether they are held or were collected."""
    from embedding_assets.cli.service import emulator_if_needed
    from embedding_assets.definitions import build_definitions
    from embedding_assets.defs.headless import read_answers
    from embedding_assets.store.index import open_index

    if again == as_is:
        raise SettingsError("how are they to be read? Say either --again or --as-is")
    settings = load_settings()
    with open_index(settings.index_path) as index:
        for key in shards:
            index.shards.get(key)  # or else nobody is asked
    with emulator_if_needed(settings):
        read_answers(
            build_definitions(settings),
            settings,
            shards,
            reading=Reading.AGAIN if again else Reading.AS_IS,
            on_note=console.note,
        )
    console.out().print(
        f"read: {count(len(shards), 'answer')}; `embedding-assets reindex`, or the running "
        "daemon, goes on from here"
    )


def retry(
    document: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER", help="Only chunks of these documents: a uri, a pattern, or a filter."
        ),
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="Only chunks that failed with this code.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="Only this shard: its answers are forgotten, and bought again."),
    ] = None,
) -> None:
    """Queue failed chunks, and shards whose jobs were given up, for another try."""
    from embedding_assets.cli.show import index as display
    from embedding_assets.pipeline.retry import buy_again, retry_failures
    from embedding_assets.store.index import open_index

    if shard is not None and (document is not None or code is not None):
        raise SettingsError("--shard stands alone: all of its answers are bought again")
    settings = load_settings()
    with open_index(settings.index_path) as index:
        if shard is not None:
            summary = buy_again(index, shard)
        else:
            summary = retry_failures(index, settings, document=document, code=code)
    display.retry_result(summary)
