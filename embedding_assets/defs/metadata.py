"""How a materialization presents itself: tables in its metadata, and links to other partitions.

Belongs here: what more than one module of assets shows. Does not belong here: which numbers a
materialization reports (monthly_assets.py, shard_assets.py), what an asset is (catalog.py).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np

from embedding_assets.wording import count

PREVIEW_ROWS = 20

_CELL_CHARS = 120
_EXCERPT_CHARS = 60


def table(rows: Sequence[Mapping[Any, Any]], **types: str) -> dg.MetadataValue[Any]:
    """Rows as a table in the UI; cells are plain text there, whatever they contain.

    ``types`` are the columns with their types; without them both are taken from the first row.
    """
    if not rows:
        return dg.MetadataValue.text("none")
    records = [dg.TableRecord({str(k): _cell(v) for k, v in row.items()}) for row in rows]
    columns = [dg.TableColumn(name, type_) for name, type_ in types.items()]
    schema = dg.TableSchema(columns=columns) if columns else None
    return dg.MetadataValue.table(records=records, schema=schema)


def preview(
    name: str, rows: Sequence[Mapping[Any, Any]], *, n_rows: int, **types: str
) -> dict[str, dg.MetadataValue[Any]]:
    """Some of ``n_rows`` rows as the table ``name``, and beside it how many it leaves out."""
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
    # The browser reads the record as JSON, which has no numbers of numpy's, no NaN and no infinity.
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, (bool, int, float)):
        return value
    return str(value)[:_CELL_CHARS]
