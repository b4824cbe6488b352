"""Queries to databases that are not ours, some rows at a time.

Belongs here: the connection, and that no driver holds all rows in memory. Does not belong here:
what becomes of a row (tables.py), the index (store/).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    import pandas as pd


def frames_of(query: str, address: str, *, batch_rows: int) -> Iterator["pd.DataFrame"]:
    """What the query finds, ``batch_rows`` rows a frame; at least one frame, with the columns.

    ``address`` is SQLAlchemy's URL of the database. Raises whatever its driver does.
    """
    import pandas as pd

    engine = sa.create_engine(address, poolclass=sa.NullPool)
    # Most drivers fetch everything at once unless they are told otherwise.
    with engine.connect().execution_options(
        stream_results=True, max_row_buffer=batch_rows
    ) as connection:
        yield from pd.read_sql_query(
            query,
            connection,
            chunksize=batch_rows,
            coerce_float=False,
            dtype_backend="numpy_nullable",  # else whole numbers beside empty cells are floats
        )
