"""The commands that run until Ctrl-C: the web UI with its daemon, and the emulator.

Does not belong here: the processes themselves (cli/processes.py).
"""

import re
from typing import Annotated

import typer

from embedding_assets.cli import console
from embedding_assets.cli.processes import LOOPBACK, check_port, place_of, run_emulator, run_web_ui
from embedding_assets.cli.service import check_index, emulator_if_needed
from embedding_assets.errors import SettingsError
from embedding_assets.loopback import is_loopback
from embedding_assets.settings.reading import load_settings

# Without scheme, port or path.
_HOST_NAME = re.compile(r"[\w.-]*\w")


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web UI.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to bind; loopback by default.")] = LOOPBACK,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another host name to answer to; can be repeated."),
    ] = None,
) -> None:
    """Run the Dagster web UI and daemon, and the emulator if there is no key, until Ctrl-C."""
    settings = load_settings()
    for name in allow_host or ():
        if not _HOST_NAME.fullmatch(name):
            raise SettingsError(f"{name!r} is no host name; expected one like 'index.example.org'")
    check_port(host, port)
    if not is_loopback(host):
        console.note(
            f"whoever reaches {place_of(host, port)} can read the documents and start runs that "
            "cost money: put a proxy with a log-in before it"
        )
    check_index(settings)
    from embedding_assets.defs.instance import create_instance

    home = create_instance(settings)
    if not settings.index_path.exists():
        where = str(settings.index_path.absolute())
        console.note(f"there is no index at {where!r} yet; the first reindex makes one there")
    with emulator_if_needed(settings):
        run_web_ui(host=host, port=port, names=allow_host or (), home=home, on_start=console.note)


def emulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8765,
    latency: Annotated[float, typer.Option(min=0, help="Seconds a batch job takes.")] = 2.0,
) -> None:
    """Run the local stand-in for Gemini in the foreground; commands without a key find it."""
    settings = load_settings()
    raise typer.Exit(run_emulator(settings, port=port, latency_s=latency))
