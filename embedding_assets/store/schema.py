"""The tables of ``index.db`` and the view that readers use.

Belongs here: columns, keys, constraints, indexes, and how our values look as column values.
Does not belong here: connections and pragmas (database.py), queries (the other modules).
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION = 5

# What takes a file of an earlier version to the next one; the vectors in it are paid for.
UPGRADES = {
    1: (
        "ALTER TABLE batch_jobs ADD COLUMN released_at TEXT",
        "ALTER TABLE batch_jobs ADD COLUMN cancel_requested_at TEXT",
        "UPDATE documents SET chunker = '' WHERE error_message IS NOT NULL",
    ),
    2: ("ALTER TABLE generations ADD COLUMN approved_usd TEXT",),
    3: (
        "ALTER TABLE generation_documents ADD COLUMN error_message TEXT",
        "ALTER TABLE generations ADD COLUMN bought_usd TEXT",
        "ALTER TABLE generations ADD COLUMN n_bought INTEGER",
        "CREATE TABLE unused_chunks (chunk_id INTEGER NOT NULL PRIMARY KEY "
        "REFERENCES chunks (chunk_id) ON DELETE RESTRICT, since TEXT NOT NULL)",
    ),
    # Whose refusals those were nobody wrote down: Google's, if its model was ever used here. Of a
    # model that no spec has, what was learnt is forgotten.
    4: (
        "ALTER TABLE throttles RENAME TO throttles_by_model",
        "CREATE TABLE throttles (provider TEXT NOT NULL, model TEXT NOT NULL, not_before TEXT, "
        "n_refusals INTEGER NOT NULL, max_enqueued_tokens INTEGER, PRIMARY KEY (provider, model))",
        "INSERT INTO throttles SELECT max(s.provider), m.model, m.not_before, m.n_refusals, "
        "m.max_enqueued_tokens FROM throttles_by_model AS m JOIN specs AS s ON s.model = m.model "
        "GROUP BY m.model",  # of "emulator" and "gemini" the greater
        "DROP TABLE throttles_by_model",
    ),
}

metadata = sa.MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept as ISO 8601 text in UTC: sorts right, reads well in any client."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Any) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal kept as text: money never passes through binary floating point."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Any) -> Decimal | None:
        return None if value is None else Decimal(value)


def _reference(column: str) -> sa.ForeignKey:
    return sa.ForeignKey(column, ondelete="RESTRICT")


# Facts about this file: the random id that display names carry, and since when requests have
# been waiting for more of them.
WAITING_SINCE = "waiting_since"
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

specs = sa.Table(
    "specs",
    metadata,
    sa.Column("spec_id", sa.Integer, primary_key=True),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("dimensions", sa.Integer, nullable=False),
    sa.Column("task_type", sa.Text, nullable=False),
    sa.UniqueConstraint("provider", "model", "dimensions", "task_type"),
)

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("document_id", sa.Integer, primary_key=True),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),  # hex; empty if the file could not be read
    sa.Column("chunker", sa.Text, nullable=False),  # empty for a document that cannot be used
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("n_bytes", sa.Integer, nullable=False),
    sa.Column("error_message", sa.Text),
    sa.UniqueConstraint("uri", "sha256", "chunker"),
)

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("chunk_id", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.LargeBinary, nullable=False, unique=True),  # 32 bytes
    # Empty once nobody needed it for long enough; the row stays, and with it what it cost.
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("n_chars", sa.Integer, nullable=False),
    # The newest failure, and under which spec; all four are cleared by a vector for that spec.
    sa.Column("error_spec_id", sa.Integer, _reference("specs.spec_id")),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
)
sa.Index("chunks_failed", chunks.c.chunk_id, sqlite_where=chunks.c.error_message.is_not(None))

document_chunks = sa.Table(
    "document_chunks",
    metadata,
    sa.Column("document_id", sa.Integer, _reference("documents.document_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("chunk_id", sa.Integer, _reference("chunks.chunk_id"), nullable=False, index=True),
    sqlite_with_rowid=False,
)

generations = sa.Table(
    "generations",
    metadata,
    sa.Column("generation_id", sa.Integer, primary_key=True),
    sa.Column("month", sa.Text, nullable=False),
    sa.Column("spec_id", sa.Integer, _reference("specs.spec_id"), nullable=False),
    sa.Column("chunker", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("planned_at", UtcDateTime),  # when shard_plan last looked at it
    sa.Column("published_at", UtcDateTime),
    sa.Column("n_documents", sa.Integer, nullable=False, server_default="0"),
    sa.Column("n_chunks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("approved_usd", ExactDecimal),  # by a person, beyond the budget
    # When its members were removed: what its chunks had cost, and how many had been bought.
    sa.Column("bought_usd", ExactDecimal),
    sa.Column("n_bought", sa.Integer),
)
for _state in ("building", "published"):
    sa.Index(
        f"generations_one_{_state}",
        generations.c.state,
        unique=True,
        sqlite_where=generations.c.state == _state,
    )

generation_documents = sa.Table(
    "generation_documents",
    metadata,
    sa.Column(
        "generation_id", sa.Integer, _reference("generations.generation_id"), primary_key=True
    ),
    sa.Column(
        "document_id", sa.Integer, _reference("documents.document_id"), primary_key=True, index=True
    ),
    sa.Column("error_message", sa.Text),  # why this earlier version stands in for the newest one
    sqlite_with_rowid=False,
)

shards = sa.Table(
    "shards",
    metadata,
    sa.Column("shard_id", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("generation_id", sa.Integer, _reference("generations.generation_id"), nullable=False),
    sa.Column("route", sa.Text, nullable=False),
    sa.Column("n_requests", sa.Integer, nullable=False),
    sa.Column("n_bytes", sa.Integer, nullable=False),
    sa.Column("estimated_tokens", sa.Integer, nullable=False),
    sa.Column("usd_per_million", ExactDecimal, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("planned_at", UtcDateTime, nullable=False),
    sa.Column("submit_requested_at", UtcDateTime),  # a sensor asked for a run; see batch_jobs.py
)
sa.Index("shards_open", shards.c.shard_id, sqlite_where=shards.c.state == "open")

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("shard_id", sa.Integer, _reference("shards.shard_id"), primary_key=True),
    sa.Column("chunk_id", sa.Integer, _reference("chunks.chunk_id"), primary_key=True, index=True),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("billed_tokens", sa.Integer, nullable=False, server_default="0"),
    sa.CheckConstraint("outcome IN ('pending', 'embedded', 'failed')"),
    sa.CheckConstraint("(outcome = 'failed') = (error_message IS NOT NULL)"),
    sqlite_with_rowid=False,
)

batch_jobs = sa.Table(
    "batch_jobs",
    metadata,
    sa.Column("shard_id", sa.Integer, _reference("shards.shard_id"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("display_name", sa.Text, nullable=False, unique=True),
    sa.Column("requests_sha256", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("input_file_name", sa.Text),
    sa.Column("job_name", sa.Text, unique=True),
    sa.Column("result_file_name", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("reserved_at", UtcDateTime, nullable=False),
    sa.Column("unconfirmed_at", UtcDateTime),
    sa.Column("submitted_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("collect_requested_at", UtcDateTime),
    sa.Column("failure_reported_at", UtcDateTime),
    sa.Column("released_at", UtcDateTime),  # its job stayed absent, but may still appear
    sa.Column("cancel_requested_at", UtcDateTime),  # it took longer than limits.job_deadline_h
)

# What 429s taught us of a provider's model.
throttles = sa.Table(
    "throttles",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("not_before", UtcDateTime),
    sa.Column("n_refusals", sa.Integer, nullable=False),
    sa.Column("max_enqueued_tokens", sa.Integer),
)

# A rowid table on purpose: rows of 3 KB are appended in order, only the small key index is sought.
vectors = sa.Table(
    "vectors",
    metadata,
    sa.Column("spec_id", sa.Integer, _reference("specs.spec_id"), nullable=False),
    sa.Column("chunk_id", sa.Integer, _reference("chunks.chunk_id"), nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),  # little-endian float32, length 1
    sa.PrimaryKeyConstraint("spec_id", "chunk_id"),
)

# Chunks that stand in no document of any generation, and since when.
unused_chunks = sa.Table(
    "unused_chunks",
    metadata,
    sa.Column("chunk_id", sa.Integer, _reference("chunks.chunk_id"), primary_key=True),
    sa.Column("since", UtcDateTime, nullable=False),
)

PUBLISHED_CHUNKS_VIEW = """
CREATE VIEW IF NOT EXISTS published_chunks AS
SELECT dc.chunk_id, d.uri, d.title, dc.position, c.text, v.vector
FROM generations AS g
JOIN generation_documents AS gd ON gd.generation_id = g.generation_id
JOIN documents AS d ON d.document_id = gd.document_id
JOIN document_chunks AS dc ON dc.document_id = d.document_id
JOIN chunks AS c ON c.chunk_id = dc.chunk_id
JOIN vectors AS v ON v.spec_id = g.spec_id AND v.chunk_id = dc.chunk_id
WHERE g.state = 'published'
"""
