"""The command that says which of two indexes this one is.

Belongs here: options. Does not belong here: how a copy is noticed (pipeline/adoption.py) and what
is kept of it (store/identity.py).
Imports are in the command: ``--help`` needs none of them.
"""

from typing import Annotated

import typer

from embedding_assets.clock import utc_now
from embedding_assets.settings.reading import load_settings


def adopt_index(
    new_id: Annotated[
        bool, typer.Option("--new-id", help="Another copy goes on: this one begins a new id.")
    ] = False,
) -> None:
    """Say that this index goes on under its id, after a restore; or as a copy, under a new one."""
    from embedding_assets.cli.show import index as display
    from embedding_assets.store.index import open_index

    settings = load_settings()
    with open_index(settings.index_path) as index:
        if new_id:
            display.adopted_index(new_id=index.identity.begin_anew())
        else:
            index.identity.take_over(now=utc_now())
            display.adopted_index(new_id=None)
