"""Output for programs: the option that asks for it, and how it is printed.

Does not belong here: what people see (show/).
"""

import json
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_json(value: object) -> None:
    """Plain values as one document on the standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
