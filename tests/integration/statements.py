"""What is asked of SQLite while something is done, and which of it reads a whole generation.

Belongs here: listening. No expectation.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class Statements:
    """Statements with their parameters, in their order."""

    executed: list[tuple[str, Any]] = field(default_factory=list)

    def scans_of_members(self, index_path: Path) -> list[str]:
        """Those that read all chunks of a generation, by SQLite's own account of its plan."""
        with closing(sqlite3.connect(index_path)) as connection:
            return [
                statement
                for statement, parameters in self.executed
                if "document_chunks" in statement
                for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                if step[3] == "SEARCH generation_documents USING PRIMARY KEY (generation_id=?)"
            ]


@contextmanager
def listening() -> Iterator[Statements]:
    """Everything that is executed inside the block, in whatever database."""
    heard = Statements()

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        heard.executed.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield heard
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
