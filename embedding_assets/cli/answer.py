"""What a command answers: JSON for programs that ask for it, else something for people.

Does not belong here: how either looks (encode.py, show/).
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, TypeVar

import typer

from embedding_assets.cli.encode import exact_usd, json_of

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def answer(
    found: T,
    show: Callable[[T], None],
    *,
    as_json: bool,
    usd: Callable[[Decimal], str] = exact_usd,
) -> None:
    """Print a value in one of the two ways; ``usd`` is how dollars are written in JSON."""
    if as_json:
        typer.echo(json_of(found, usd=usd))
    else:
        show(found)
