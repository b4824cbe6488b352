"""How assets present themselves: their group, and tables in their metadata.

Belongs here: what more than one module of assets shows. Does not belong here: which numbers a
materialization reports (monthly_assets.py, shard_assets.py).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

GROUP = "embedding_index"
PREVIEW_ROWS = 20

_CELL_CHARS = 120


def table(rows: Sequence[Mapping[Any, Any]]) -> dg.MetadataValue[Any]:
    """Rows as a table in the UI; cells are plain text there, whatever they contain."""
    if not rows:
        return dg.MetadataValue.text("none")
    records = [dg.TableRecord({str(k): _cell(v) for k, v in row.items()}) for row in rows]
    return dg.MetadataValue.table(records=records)


def _cell(value: object) -> str | int | float | bool:
    # The browser reads the record as JSON, which has no NaN; pandas makes one of every None.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, (bool, int, float)):
        return value
    return str(value)[:_CELL_CHARS]
