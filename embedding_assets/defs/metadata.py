"""How a materialization presents itself: tables in its metadata, and links to other partitions.

Belongs here: what more than one module of assets shows. Does not belong here: which numbers a
materialization reports (the modules of assets), what an asset is (catalog.py).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg
import numpy as np

from embedding_assets.wording import count

PREVIEW_ROWS = 20

_T = TypeVar("_T")
# Of a table about things of one kind: a column's title, its type, and what it shows of a thing.
Columns = Mapping[str, tuple[str, Callable[[_T], object]]]

_CELL_CHARS = 120
_EXCERPT_CHARS = 60


def table(rows: Sequence[Mapping[Any, Any]], **types: str) -> dg.MetadataValue[Any]:
    """Rows as a table in the UI; cells are plain text there, whatever they contain.

    ``types`` are the columns with their types.
    """
    if not rows:
        return dg.MetadataValue.text("none")
    records = [dg.TableRecord({str(k): _cell(v) for k, v in row.items()}) for row in rows]
    schema = dg.TableSchema([dg.TableColumn(name, type_) for name, type_ in types.items()])
    return dg.MetadataValue.table(records=records, schema=schema)


def preview(
    name: str, things: Sequence[_T], columns: Columns[_T], *, n_rows: int
) -> dict[str, dg.MetadataValue[Any]]:
    """Some of ``n_rows`` things as the table ``name``, and beside it how many it leaves out."""
    rows = [{title: read(thing) for title, (_, read) in columns.items()} for thing in things]
    types = {title: type_ for title, (type_, _) in columns.items()}
    n_left_out = n_rows - len(rows)
    left_out = {f"{name}_left_out": dg.MetadataValue.text(count(n_left_out, "more row"))}
    return {name: table(rows, **types), **(left_out if n_left_out else {})}


def excerpt(text: str) -> str:
    """The beginning of a text on one line: the UI makes cells narrow, and so rows high."""
    return " ".join(text[: 2 * _EXCERPT_CHARS].split())[:_EXCERPT_CHARS]


def partition_link(asset: str, partition: str) -> dg.MetadataValue[Any]:
    """Where the webserver that shows this shows another asset's partition."""
    return dg.MetadataValue.url(f"/assets/{asset}?view=partitions&partition={partition}")


def _cell(value: object) -> str | int | float | bool:
    # The browser reads the record as JSON, which has numbers only of Python's own, and no NaN or
    # infinity; pandas makes a NaN of every None.
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, (bool, int, float)):
        return value
    return str(value)[:_CELL_CHARS]
