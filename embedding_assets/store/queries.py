"""Queries to databases that are not ours, whose rows are documents.

Belongs here: the connection, and that no driver holds all rows in memory. Does not belong here:
what becomes of a row (corpus/tables.py), the index (the other modules).
"""

import os
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from embedding_assets.corpus.tables import BATCH_ROWS, Batch
from embedding_assets.errors import CorpusError
from embedding_assets.settings.values import Table, keep_database_secret


def read_query(table: Table, folder: Path) -> Generator[Batch]:
    """Yield what the query of a table finds, first the columns alone.

    Cells are as the driver has them: what is made of one does not depend on the rows beside it.
    The path of an SQLite file starts at ``folder``. Raises CorpusError if the environment lacks the
    address, and whatever SQLAlchemy and the driver do.
    """
    engine = sa.create_engine(_url_of(table, folder), poolclass=sa.NullPool)
    # Most drivers fetch everything at once unless they are told otherwise.
    with engine.connect().execution_options(
        stream_results=True, max_row_buffer=BATCH_ROWS
    ) as connection:
        result = connection.exec_driver_sql(table.query)
        columns = list(result.keys())
        yield Batch(columns=columns, rows=[])
        for rows in result.partitions(BATCH_ROWS):
            yield Batch(
                columns=columns, rows=[dict(zip(columns, row, strict=True)) for row in rows]
            )


def _url_of(table: Table, folder: Path) -> sa.URL:
    """Where the database is. A file is opened for reading only, and is not made."""
    url = sa.make_url(_address_of(table))
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return url
    path = str(folder / f"{url.database}".removeprefix("file:"))
    options = {**url.query, "mode": "ro", "uri": "true"}
    return url.set(database=f"file:{quote(os.path.abspath(path))}", query=options)


def _address_of(table: Table) -> str:
    if not table.database_env:
        return table.database.get_secret_value()
    address = os.environ.get(table.database_env, "").strip()
    keep_database_secret(address)
    if not address:
        raise CorpusError(
            f"corpus table {table.name!r}: the environment has no {table.database_env}"
        )
    return address
