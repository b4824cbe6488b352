"""The terminal: where to write, and how to show what is not ours.

Belongs here: consoles, escaping, notes and errors, answers as JSON or for people. Does not belong
here: how an answer looks (encode.py, show/).
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from embedding_assets.cli.encode import exact_usd, json_of
from embedding_assets.redaction import redacted

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

# A terminal obeys these instead of showing them: control characters, and those that break a line
# or turn its direction.
_COMMANDS = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def out() -> Console:
    """The standard output."""
    return Console(soft_wrap=True, highlight=False)


def err() -> Console:
    """The standard error."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def shown(text: str, style: str = "") -> Text:
    """A text from elsewhere to the letter: no markup, emoji, secret, nothing a terminal obeys."""
    return Text(_COMMANDS.sub(lambda found: ascii(found[0])[1:-1], redacted(text)), style)


def answer(
    found: T,
    show: Callable[[T], None],
    *,
    as_json: bool,
    usd: Callable[[Decimal], str] = exact_usd,
) -> None:
    """Print a value in one of the two ways; ``usd`` is how dollars are written in JSON."""
    if as_json:
        typer.echo(redacted(json_of(found, usd=usd)))
    else:
        show(found)


def error(message: str) -> None:
    """Why a command could not do what it was asked to, in one line."""
    err().print(Text.assemble(("error:", "bold red"), " ", shown(one_line(message))))


def note(message: str) -> None:
    """Something worth knowing, in one line."""
    err().print(Text.assemble(("note:", "dim"), " ", shown(one_line(message))))


def one_line(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())
