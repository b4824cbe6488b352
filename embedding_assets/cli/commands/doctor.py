"""The command that checks what is promised, on the live files and at Gemini.

Belongs here: options, exit codes. Does not belong here: the checks (embedding_assets/doctor/) and
how findings look (cli/show/doctor.py).
Imports are in the command: ``--help`` needs none of them.
"""

import sys
import time
from functools import partial
from typing import Annotated

import typer

from embedding_assets.cli import console
from embedding_assets.cli.console import AsJson, answer
from embedding_assets.cli.service import gemini
from embedding_assets.clock import utc_now
from embedding_assets.errors import SettingsError
from embedding_assets.settings.reading import load_settings
from embedding_assets.settings.values import Settings


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
    from embedding_assets.cli.show import doctor as display
    from embedding_assets.doctor.examine import examine
    from embedding_assets.store.index import open_index

    settings = load_settings()
    if live:
        if repair or offline:
            raise SettingsError("--live looks at the service alone: leave --repair, --offline out")
        raise typer.Exit(_send_canary(settings, is_agreed=yes, as_json=as_json))
    connect = None if offline else partial(gemini, settings)
    with open_index(settings.index_path) as index:
        report = examine(index, settings, connect=connect, repair=repair, now=utc_now())
    answer(report, display.report, as_json=as_json)
    if report.n_wrong:
        raise typer.Exit(1)


def _send_canary(settings: Settings, *, is_agreed: bool, as_json: bool) -> int:
    """Ask first if Google would be paid, then show what was seen; the exit code."""
    from embedding_assets.cli.show import doctor as display
    from embedding_assets.doctor.canary import send_canary

    with gemini(settings) as client:
        if client.provider == "gemini" and not is_agreed:
            if not sys.stdin.isatty():
                raise SettingsError("--live sends three requests to Gemini: agree with --yes")
            console.note("three tiny requests, a fraction of a cent; it may take half an hour")
            if not typer.confirm("send them to Gemini?", err=True):
                return 2
        report = send_canary(client, settings, sleep=time.sleep)
    answer(report, display.canary, as_json=as_json)
    return 1 if report.n_unexpected else 0
