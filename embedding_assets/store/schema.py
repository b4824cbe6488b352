"""The tables of ``index.db`` and the view that readers use.

Belongs here: columns and what they mean, keys, constraints, indexes, and how our values look as
column values. The catalog shows the comments; SQLite has no place for them.
Does not belong here: connections and pragmas (database.py), queries (the other modules).
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.types import TypeDecorator

from embedding_assets.model.columns import Column

SCHEMA_VERSION = 8

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
    5: (
        "ALTER TABLE requests ADD COLUMN is_estimated BOOLEAN NOT NULL DEFAULT '0'",
        "ALTER TABLE batch_jobs ADD COLUMN n_answered INTEGER",
        "ALTER TABLE batch_jobs ADD COLUMN unmatched_tokens INTEGER NOT NULL DEFAULT '0'",
        "ALTER TABLE batch_jobs ADD COLUMN n_bad_downloads INTEGER NOT NULL DEFAULT '0'",
        "ALTER TABLE batch_jobs ADD COLUMN collect_not_before TEXT",
        "CREATE TABLE agreement_calls (call_id INTEGER NOT NULL PRIMARY KEY, generation_id INTEGER "
        "NOT NULL REFERENCES generations (generation_id) ON DELETE RESTRICT, asked_at TEXT NOT "
        "NULL, n_texts INTEGER NOT NULL, estimated_tokens INTEGER NOT NULL, usd_per_million TEXT "
        "NOT NULL, billed_tokens INTEGER NOT NULL, is_estimated BOOLEAN NOT NULL, error_message "
        "TEXT)",
        "CREATE TABLE agreement_samples (spec_id INTEGER NOT NULL REFERENCES specs (spec_id) ON "
        "DELETE RESTRICT, chunk_id INTEGER NOT NULL REFERENCES chunks (chunk_id) ON DELETE "
        "RESTRICT, call_id INTEGER NOT NULL REFERENCES agreement_calls (call_id) ON DELETE "
        "RESTRICT, vector BLOB NOT NULL, PRIMARY KEY (spec_id, chunk_id))",
        "ALTER TABLE batch_jobs ADD COLUMN error_code TEXT",
        "ALTER TABLE batch_jobs ADD COLUMN hold_reason TEXT",
        "ALTER TABLE throttles ADD COLUMN quota TEXT NOT NULL DEFAULT 'tokens'",
        "ALTER TABLE throttles ADD COLUMN message TEXT NOT NULL DEFAULT ''",
    ),
    6: (
        "ALTER TABLE chunks ADD COLUMN path TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE document_chunks ADD COLUMN section TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE document_chunks ADD COLUMN anchor TEXT NOT NULL DEFAULT ''",
    ),
    7: (
        "ALTER TABLE documents ADD COLUMN url TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE documents ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE document_chunks ADD COLUMN page INTEGER",
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


def _column(name: str, type_: Any, comment: str = "", **options: Any) -> "sa.Column[Any]":
    return sa.Column(name, type_, comment=comment, **{"nullable": False} | options)


def _optional(name: str, type_: Any, comment: str = "", **options: Any) -> "sa.Column[Any]":
    return _column(name, type_, comment, nullable=True, **options)


def _reference(name: str, to: str, comment: str = "", **options: Any) -> "sa.Column[Any]":
    key = sa.ForeignKey(to, ondelete="RESTRICT")
    return sa.Column(name, sa.Integer, key, comment=comment, **{"nullable": False} | options)


# Facts about this file: the random id that display names carry, whether it may be a copy, and since
# when requests have been waiting for more of them.
WAITING_SINCE = "waiting_since"
meta = sa.Table(
    "meta",
    metadata,
    _column("name", sa.Text, primary_key=True),
    _column("value", sa.Text),
)

specs = sa.Table(
    "specs",
    metadata,
    _column("spec_id", sa.Integer, primary_key=True),
    _column("provider", sa.Text),
    _column("model", sa.Text),
    _column("dimensions", sa.Integer),
    _column("task_type", sa.Text),
    sa.UniqueConstraint("provider", "model", "dimensions", "task_type"),
)

_METADATA = "What it says about itself: a JSON object of texts and lists of texts."
documents = sa.Table(
    "documents",
    metadata,
    _column("document_id", sa.Integer, primary_key=True),
    _column("uri", sa.Text),
    _column("sha256", sa.Text, "Hex; empty if the file could not be read."),
    _column("chunker", sa.Text, "Empty for one that cannot be used."),
    _column("title", sa.Text),
    _column("media_type", sa.Text),
    _column("n_bytes", sa.Integer),
    _optional("error_message", sa.Text),
    _column("url", sa.Text, "Where people find it; empty if nobody says.", server_default=""),
    _column("metadata", sa.Text, _METADATA, server_default="{}"),
    sa.UniqueConstraint("uri", "sha256", "chunker"),
)

chunks = sa.Table(
    "chunks",
    metadata,
    _column(
        "chunk_id",
        sa.Integer,
        "The chunk's number: what a request and its result are keyed by.",
        primary_key=True,
    ),
    _column(
        "sha256",
        sa.LargeBinary,
        "32 bytes: the SHA-256 of path and text. What is sent alike is one chunk.",
        unique=True,
    ),
    # When the text goes the row stays, and with it what it cost.
    _column("text", sa.Text, "The text; empty once nothing kept has needed it for long enough."),
    _column(
        "path",
        sa.Text,
        "What Gemini gets before the text, to say what it is about; empty if nothing.",
        server_default="",
    ),
    _column("n_chars", sa.Integer, "Characters of the text."),
    # The newest failure, and under which spec; all four are cleared by a vector for that spec.
    _reference(
        "error_spec_id",
        "specs.spec_id",
        "The spec under which the newest failure happened.",
        nullable=True,
    ),
    _optional("error_code", sa.Text, "Gemini's code of that failure, like INVALID_ARGUMENT."),
    _optional(
        "error_message", sa.Text, "What was said about it; gone as soon as there is a vector."
    ),
    _column(
        "attempts", sa.Integer, "How often the text was tried under that spec.", server_default="0"
    ),
)
sa.Index("chunks_failed", chunks.c.chunk_id, sqlite_where=chunks.c.error_message.is_not(None))

_SECTION = "The headings above it, and its term, as the document has them."
_ANCHOR = "The fragment of the document at which it stands, without #; empty if there is none."
_PAGE = "The page or slide on which it begins, from 1; none if the file has none."
document_chunks = sa.Table(
    "document_chunks",
    metadata,
    _reference("document_id", "documents.document_id", primary_key=True),
    _column("position", sa.Integer, primary_key=True),
    _reference("chunk_id", "chunks.chunk_id", index=True),
    _column("section", sa.Text, _SECTION, server_default=""),
    _column("anchor", sa.Text, _ANCHOR, server_default=""),
    _optional("page", sa.Integer, _PAGE),
    sqlite_with_rowid=False,
)

generations = sa.Table(
    "generations",
    metadata,
    _column("generation_id", sa.Integer, primary_key=True),
    _column("month", sa.Text),
    _reference("spec_id", "specs.spec_id"),
    _column("chunker", sa.Text),
    _column("state", sa.Text),
    _column("created_at", UtcDateTime),
    _optional("planned_at", UtcDateTime, "When shard_plan last looked at it."),
    _optional("published_at", UtcDateTime),
    _column("n_documents", sa.Integer, server_default="0"),
    _column("n_chunks", sa.Integer, server_default="0"),
    _optional("approved_usd", ExactDecimal, "By a person, beyond the budget."),
    # When its members were removed: what its chunks had cost, and how many had been bought.
    _optional("bought_usd", ExactDecimal),
    _optional("n_bought", sa.Integer),
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
    _reference("generation_id", "generations.generation_id", primary_key=True),
    _reference("document_id", "documents.document_id", primary_key=True, index=True),
    _optional("error_message", sa.Text, "Why it stands in for the newest version."),
    sqlite_with_rowid=False,
)

shards = sa.Table(
    "shards",
    metadata,
    _column("shard_id", sa.Integer, "The shard's number in this file.", primary_key=True),
    _column("key", sa.Text, "Month and number: the partition key, like 2026-11-0003.", unique=True),
    _reference("generation_id", "generations.generation_id", "The generation it was planned for."),
    _column("route", sa.Text, "batch or sync."),
    _column("n_requests", sa.Integer, "Requests, one a chunk."),
    _column("n_bytes", sa.Integer, "Size of the JSONL file."),
    _column("estimated_tokens", sa.Integer, "Tokens, by estimate."),
    _column(
        "usd_per_million", ExactDecimal, "Dollars for a million tokens when it was planned, exact."
    ),
    _column("state", sa.Text, "open, settled or abandoned."),
    _column("planned_at", UtcDateTime, "When it was planned, UTC."),
    _optional(
        "submit_requested_at", UtcDateTime, "When a sensor asked for the run that submits it, UTC."
    ),
)
sa.Index("shards_open", shards.c.shard_id, sqlite_where=shards.c.state == "open")

requests = sa.Table(
    "requests",
    metadata,
    _reference("shard_id", "shards.shard_id", "The shard.", primary_key=True),
    _reference(
        "chunk_id",
        "chunks.chunk_id",
        "The chunk: one line of the shard's JSONL file.",
        primary_key=True,
        index=True,
    ),
    _column("outcome", sa.Text, "pending, embedded or failed."),
    _optional("error_code", sa.Text, "Gemini's code of a failure, or MISSING_LINE and the like."),
    _optional("error_message", sa.Text, "What was said about it."),
    _column("billed_tokens", sa.Integer, "Tokens that were paid for it.", server_default="0"),
    _column(
        "is_estimated",
        sa.Boolean,
        "Whether Gemini did not say how many, and they are an estimate.",
        server_default="0",
    ),
    sa.CheckConstraint("outcome IN ('pending', 'embedded', 'failed')"),
    sa.CheckConstraint("(outcome = 'failed') = (error_message IS NOT NULL)"),
    sqlite_with_rowid=False,
)

batch_jobs = sa.Table(
    "batch_jobs",
    metadata,
    _reference(
        "shard_id",
        "shards.shard_id",
        "The shard that was, or will be, submitted.",
        primary_key=True,
    ),
    _column("attempt", sa.Integer, "1 for the first submission of the shard.", primary_key=True),
    _column(
        "display_name",
        sa.Text,
        "The name by which the job is found again in Gemini's list.",
        unique=True,
    ),
    _column("requests_sha256", sa.Text, "Hex, of the JSONL file that was sent."),
    _column("state", sa.Text, "From reserved to collected, or how it ended otherwise."),
    _optional("input_file_name", sa.Text, "Gemini's name of the uploaded requests."),
    _optional(
        "job_name", sa.Text, "Gemini's name of the job; none by the synchronous route.", unique=True
    ),
    _optional(
        "result_file_name",
        sa.Text,
        "Gemini's name of the results; the job's own if they lie in its operation.",
    ),
    _optional("error_code", sa.Text, "Gemini's code of that, like INVALID_ARGUMENT."),
    _optional("error_message", sa.Text, "Why the attempt came to nothing, or ended early."),
    _optional("hold_reason", sa.Text, "Why its answer is held."),
    _optional("n_answered", sa.Integer, "Requests that Gemini says it answered."),
    _column(
        "unmatched_tokens",
        sa.Integer,
        "Tokens paid for answers that no request has: held, or lost. An estimate if Gemini did "
        "not say.",
        server_default="0",
    ),
    _column(
        "n_bad_downloads",
        sa.Integer,
        "How often in a row what was downloaded was no result file.",
        server_default="0",
    ),
    _column("reserved_at", UtcDateTime, "When the intent was recorded, UTC."),
    _optional(
        "unconfirmed_at", UtcDateTime, "When the call that creates the job was about to be made."
    ),
    _optional("submitted_at", UtcDateTime, "When Gemini had the job."),
    _optional("ended_at", UtcDateTime, "When the job was over."),
    _optional(
        "collect_requested_at", UtcDateTime, "When a sensor asked for the run that collects it."
    ),
    _optional("collect_not_before", UtcDateTime, "When the results may be downloaded again."),
    _optional(
        "failure_reported_at", UtcDateTime, "When a sensor asked for the run that turns it red."
    ),
    _optional(
        "released_at",
        UtcDateTime,
        "When a create call was put aside: refused for now, or its job absent for too long. It may "
        "still appear.",
    ),
    _optional(
        "cancel_requested_at", UtcDateTime, "When it had taken longer than limits.job_deadline_h."
    ),
)

# What 429s taught us of a provider's model.
throttles = sa.Table(
    "throttles",
    metadata,
    _column("provider", sa.Text, "Who answers: gemini, or emulator.", primary_key=True),
    _column("model", sa.Text, "The model whose limit was met.", primary_key=True),
    _optional("not_before", UtcDateTime, "When a call may be tried again."),
    _column("n_refusals", sa.Integer, "How many there were in a row, for the same quota."),
    _optional("max_enqueued_tokens", sa.Integer, "What may be under way until it recovers."),
    _column(
        "quota", sa.Text, "What there was too little of: tokens, credits …", server_default="tokens"
    ),
    _column("message", sa.Text, "What Gemini said; empty after a success.", server_default=""),
)

# A rowid table on purpose: rows of 3 KB are appended in order, only the small key index is sought.
vectors = sa.Table(
    "vectors",
    metadata,
    _reference(
        "spec_id", "specs.spec_id", "The embedding spec; vectors of two specs are never compared."
    ),
    _reference("chunk_id", "chunks.chunk_id", "The chunk whose text it is of."),
    _column("vector", sa.LargeBinary, "Little-endian float32, 4 bytes a dimension, of length 1."),
    sa.PrimaryKeyConstraint("spec_id", "chunk_id"),
)

# Synchronous calls that embedded sampled texts again, before a generation was published.
agreement_calls = sa.Table(
    "agreement_calls",
    metadata,
    _column("call_id", sa.Integer, primary_key=True),
    _reference("generation_id", "generations.generation_id", "What was to be published."),
    _column("asked_at", UtcDateTime, "When the call was about to be made."),
    _column("n_texts", sa.Integer),
    _column("estimated_tokens", sa.Integer),
    _column("usd_per_million", ExactDecimal),
    _column("billed_tokens", sa.Integer, "The estimate until there is an answer."),
    _column("is_estimated", sa.Boolean, "Whether nobody has said how many were billed."),
    _optional("error_message", sa.Text, "Why no vectors came of it."),
)

# The vectors that came of them; how far they agree with the stored ones is seen when it is asked.
agreement_samples = sa.Table(
    "agreement_samples",
    metadata,
    _reference("spec_id", "specs.spec_id"),
    _reference("chunk_id", "chunks.chunk_id"),
    _reference("call_id", "agreement_calls.call_id"),
    _column("vector", sa.LargeBinary, "As in vectors."),
    sa.PrimaryKeyConstraint("spec_id", "chunk_id"),
)

# Chunks that stand in no document of any generation, and since when.
unused_chunks = sa.Table(
    "unused_chunks",
    metadata,
    _reference("chunk_id", "chunks.chunk_id", primary_key=True),
    _column("since", UtcDateTime),
)

PUBLISHED_CHUNKS_VIEW = """
CREATE VIEW published_chunks AS
SELECT dc.chunk_id, d.uri, d.title, dc.position, dc.section, dc.anchor, dc.page,
CASE
    WHEN d.url = '' OR instr(d.url, '#') > 0 THEN d.url
    WHEN dc.anchor <> '' THEN d.url || '#' || dc.anchor
    WHEN dc.page > 0 AND d.media_type = 'application/pdf' THEN d.url || '#page=' || dc.page
    ELSE d.url
END AS url,
d.metadata, c.text, v.vector
FROM generations AS g
JOIN generation_documents AS gd ON gd.generation_id = g.generation_id
JOIN documents AS d ON d.document_id = gd.document_id
JOIN document_chunks AS dc ON dc.document_id = d.document_id
JOIN chunks AS c ON c.chunk_id = dc.chunk_id
JOIN vectors AS v ON v.spec_id = g.spec_id AND v.chunk_id = dc.chunk_id
WHERE g.state = 'published'
"""

# For its columns only, and so apart from the tables that are made.
_published_chunks = sa.Table(
    "published_chunks",
    sa.MetaData(),
    _column("chunk_id", sa.Integer, "The chunk; one that stands in two documents has two rows."),
    _column("uri", sa.Text, "The document."),
    _column("title", sa.Text, "The document's title."),
    _column("position", sa.Integer, "The chunk's place in the document, from 0."),
    _column("section", sa.Text, _SECTION),
    _column("anchor", sa.Text, _ANCHOR),
    _optional("page", sa.Integer, _PAGE),
    _column("url", sa.Text, "Where people find it, at its anchor or page; empty if nobody says."),
    _column("metadata", sa.Text, _METADATA),
    _column("text", sa.Text, "The chunk's text."),
    _column("vector", sa.LargeBinary, vectors.c.vector.comment or ""),
)


def columns_of(name: str) -> list[Column]:
    """The columns of a table or of the view, as SQLite has them and people read of them."""
    table = {**metadata.tables, _published_chunks.name: _published_chunks}[name]
    return [
        Column(c.name, c.type.compile(dialect()), c.comment or "", is_nullable=bool(c.nullable))
        for c in table.columns
    ]
