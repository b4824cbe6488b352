"""The command line as a whole: its commands, the option they share, the console script.

Belongs here: which commands there are, exit codes. Does not belong here: a command (commands/),
how things look (show/) and any work.
Exit codes: 0 done; 1 done, but something is left failed or unpublished; 2 it could not be done.
"""

import io
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from embedding_assets.cli import console
from embedding_assets.cli.commands.doctor import doctor
from embedding_assets.cli.commands.identity import adopt_index
from embedding_assets.cli.commands.look import costs, failures, generations, search, status
from embedding_assets.cli.commands.processes import emulator, ui
from embedding_assets.cli.commands.publish import collect, publish, retry, rollback
from embedding_assets.cli.commands.reindex import calculate, estimate, reindex
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.redaction import redacted
from embedding_assets.settings.reading import SETTINGS_FILE_VARIABLE

app = typer.Typer(
    name="embedding-assets",
    help="Keep a SQLite vector index of your documents up to date through the Gemini Batch API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(reindex)
# What estimate does not know it answers itself: whoever seeks the calculator there is told of it.
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(estimate)
for command in (
    *(calculate, status, costs, search, failures, retry, collect),
    *(generations, publish, rollback, doctor, adopt_index, ui, emulator),
):
    app.command()(command)


@app.callback()
def choose_settings(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings file; default embedding_assets.toml."),
    ] = None,
) -> None:
    if config is not None:
        # In the environment, so that child processes read the same file, wherever they work.
        os.environ[SETTINGS_FILE_VARIABLE] = str(config.absolute())


def main() -> None:
    """The console script: our errors, and the system's on files, are one line and exit code 2.

    Whatever else goes wrong ends with its traceback, which may quote anybody, but no secret.
    """
    # Names may have letters that the locale's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # SIGTERM ends a command as Ctrl-C does: children are stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # An interrupt that hits a connection being closed is raised; SQLAlchemy would print it, too.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        app()
    except (EmbeddingAssetsError, OSError) as exc:
        console.error(str(exc))
        sys.exit(2)
    except Exception:
        sys.stderr.write(redacted(traceback.format_exc()))
        sys.exit(1)
