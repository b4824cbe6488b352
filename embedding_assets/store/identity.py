"""Which index this file is: its random id, and whether another file may have the same.

Belongs here: the id, the doubt about it, a person's word on it. Does not belong here: what gives
rise to a doubt (model/strangers.py) and what a doubt forbids (pipeline/).
"""

import secrets
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from embedding_assets.store import schema as t
from embedding_assets.store.database import Database

_INDEX_ID = "index_id"
_DOUBT = "doubt"
_TAKEN_OVER_AT = "taken_over_at"


class Identity:
    """Who one index file is to Gemini."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def index_id(self) -> str:
        """What the display names of this index's remote jobs and files carry."""
        return self._db.index_id

    @property
    def doubt(self) -> str | None:
        """Why this may be a copy, in a sentence, until a person has said what it is."""
        with self._db.read() as connection:
            return _fact(connection, _DOUBT)

    @property
    def taken_over_at(self) -> datetime | None:
        """When a person said that it goes on under its id, whatever else is there."""
        with self._db.read() as connection:
            found = _fact(connection, _TAKEN_OVER_AT)
        return None if found is None else datetime.fromisoformat(found)

    def record_doubt(self, sentence: str) -> None:
        """From now on nothing is submitted and nothing cancelled."""
        with self._db.write() as connection:
            _set_fact(connection, _DOUBT, sentence)

    def take_over(self, *, now: datetime) -> None:
        """This one goes on: what is at Gemini by now says nothing against it."""
        with self._db.write() as connection:
            _forget_fact(connection, _DOUBT)
            _set_fact(connection, _TAKEN_OVER_AT, now.astimezone(UTC).isoformat())

    def begin_anew(self) -> str:
        """Another one goes on under the id so far: a new id, which is returned.

        Attempts keep their display names, and with them their jobs. The uploaded files are the
        other one's to delete.
        """
        index_id = secrets.token_hex(4)
        with self._db.write() as connection:
            _forget_fact(connection, _DOUBT)
            _forget_fact(connection, _TAKEN_OVER_AT)
            _set_fact(connection, _INDEX_ID, index_id)
            connection.execute(t.batch_jobs.update().values(input_file_name=None))
        return index_id


def _fact(connection: sa.Connection, name: str) -> str | None:
    found: str | None = connection.scalar(sa.select(t.meta.c.value).where(t.meta.c.name == name))
    return found


def _set_fact(connection: sa.Connection, name: str, value: str) -> None:
    statement = insert(t.meta).values(name=name, value=value)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"value": value})
    )


def _forget_fact(connection: sa.Connection, name: str) -> None:
    connection.execute(t.meta.delete().where(t.meta.c.name == name))
