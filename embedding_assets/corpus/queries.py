"""Queries to databases that are not ours, some rows at a time.

Belongs here: the connection, and that no driver holds all rows in memory. Does not belong here:
what becomes of a row (tables.py), the index (store/).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa


def batches_of(
    query: str, address: str, *, batch_rows: int
) -> Iterator[tuple[list[str], Sequence[Sequence[Any]]]]:
    """The columns, and ``batch_rows`` rows of what the query finds; first the columns alone.

    Cells are as the driver has them: what is made of one does not depend on the rows beside it.
    ``address`` is SQLAlchemy's URL of the database. Raises whatever its driver does.
    """
    engine = sa.create_engine(address, poolclass=sa.NullPool)
    # Most drivers fetch everything at once unless they are told otherwise.
    with engine.connect().execution_options(
        stream_results=True, max_row_buffer=batch_rows
    ) as connection:
        result = connection.exec_driver_sql(query)
        columns = list(result.keys())
        yield columns, []
        for rows in result.partitions(batch_rows):
            yield columns, rows
