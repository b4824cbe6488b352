"""Columns: what people are told about a column of a file or a table.

Belongs here: the value. Does not belong here: the columns themselves, which each file format and
table describes where it is defined, and how they are shown (defs/catalog.py).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type as its own file or database names it, and what is in it."""

    name: str
    type: str
    comment: str
    is_nullable: bool = False
