"""What a chunk is to a generation, and a shard to the next build, as SQL conditions.

Belongs here: conditions and expressions that several queries share. Does not belong here: queries
(the other modules of store/).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from embedding_assets.model.batch_jobs import OWED_STATES, JobState
from embedding_assets.model.filters import OWN_NAMES, Condition, Filter
from embedding_assets.model.generations import GenerationState, Part
from embedding_assets.model.results import PERMANENT_CODES
from embedding_assets.model.shards import Route, ShardState
from embedding_assets.model.spec import EmbeddingSpec
from embedding_assets.store import schema as t

# Of 2**32: multiples of it, taken modulo that, spread consecutive numbers evenly (Knuth, 6.4).
_GOLDEN_RATIO = 2_654_435_761

# SQLite allows 32,766 variables a statement; this many also keeps the statement cache small.
_IN_LIST = 500
_T = TypeVar("_T")


def in_lists(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """As many as go into one statement at a time."""
    for start in range(0, len(values), _IN_LIST):
        yield values[start : start + _IN_LIST]


def spread(number: Any) -> sa.ColumnElement[int]:
    """What to order by for a sample that is spread evenly, and the same whenever it is taken."""
    spread_out: sa.ColumnElement[int] = number * _GOLDEN_RATIO % 2**32
    return spread_out


def is_for(provider: str) -> sa.ColumnElement[bool]:
    """Of a shard: it was planned for this provider, and nobody else's vectors may answer it."""
    return t.shards.c.generation_id.in_(generations_at(provider))


def generations_at(provider: str) -> sa.Select[tuple[int]]:
    """The ids of the generations whose vectors are one provider's."""
    return (
        sa.select(t.generations.c.generation_id)
        .join(t.specs, t.specs.c.spec_id == t.generations.c.spec_id)
        .where(t.specs.c.provider == provider)
    )


def has_model(spec: EmbeddingSpec) -> sa.ColumnElement[bool]:
    """Of a spec: what it says about tokens is true of this one, whatever its dimensions."""
    return sa.and_(t.specs.c.provider == spec.provider, t.specs.c.model == spec.model)


def members_of(generation_id: int) -> sa.CTE:
    """The generation's distinct chunk ids."""
    gd, dc = t.generation_documents.c, t.document_chunks.c
    return (
        sa.select(dc.chunk_id)
        .join(t.generation_documents, gd.document_id == dc.document_id)
        .where(gd.generation_id == generation_id)
        .distinct()
        .cte("members")
    )


def is_member(generation_id: int, chunk_id: Any) -> sa.Exists:
    """Of a chunk, one of a few: it is the generation's. To join all members is to read them all."""
    gd, dc = t.generation_documents.c, t.document_chunks.c
    return sa.exists().where(
        dc.chunk_id == chunk_id,
        gd.document_id == dc.document_id,
        gd.generation_id == generation_id,
    )


def has_vector(spec_id: Any, chunk_id: Any = t.chunks.c.chunk_id) -> sa.Exists:
    """Of a chunk: it is embedded under this spec."""
    return sa.exists().where(t.vectors.c.spec_id == spec_id, t.vectors.c.chunk_id == chunk_id)


def has_failed(spec_id: int, chunk_id: Any) -> sa.ColumnElement[bool]:
    """A failure on the chunk, or on a request: another spec's may have replaced the chunk's."""
    has_failed_request = sa.exists().where(
        t.requests.c.chunk_id == chunk_id,
        t.requests.c.outcome == "failed",
        t.shards.c.shard_id == t.requests.c.shard_id,
        t.generations.c.generation_id == t.shards.c.generation_id,
        t.generations.c.spec_id == spec_id,
    )
    failed = t.chunks.alias("failed")
    is_failed_chunk = sa.exists().where(
        failed.c.chunk_id == chunk_id, failed.c.error_spec_id == spec_id
    )
    return sa.or_(has_failed_request, is_failed_chunk)


def part_of(
    spec_id: int, max_chunk_attempts: int, *, pending: sa.ColumnElement[bool]
) -> sa.Label[str]:
    """Of a chunk: its ``Part``."""
    return sa.case(
        (has_vector(spec_id), Part.EMBEDDED),
        (pending, Part.PENDING),
        (is_given_up(spec_id, max_chunk_attempts), Part.FAILED),
        else_=Part.UNPLANNED,
    ).label("part")


def is_pending(spec_id: int, *conditions: sa.ColumnElement[bool]) -> sa.Exists:
    """Of a chunk: bought under this spec and not answered yet, by whatever generation."""
    return sa.exists().where(
        t.requests.c.chunk_id == t.chunks.c.chunk_id,
        t.requests.c.outcome == "pending",
        t.shards.c.shard_id == t.requests.c.shard_id,
        t.shards.c.state == ShardState.OPEN,
        t.generations.c.generation_id == t.shards.c.generation_id,
        t.generations.c.spec_id == spec_id,
        *conditions,
    )


def is_given_up(spec_id: int, max_chunk_attempts: int) -> sa.ColumnElement[bool]:
    """Of a chunk: it failed for good under this spec, or as often as it may."""
    c = t.chunks.c
    return sa.and_(
        sa.func.coalesce(c.error_spec_id, 0) == spec_id,
        sa.or_(c.error_code.in_(sorted(PERMANENT_CODES)), c.attempts >= max_chunk_attempts),
    )


def is_cut(spec: EmbeddingSpec) -> sa.ColumnElement[bool]:
    """Of a request and its shard: Gemini billed all that the model reads of one text, or more.

    By the synchronous route only the sum of a call is billed.
    """
    r, limit = t.requests.c, spec.max_input_tokens
    if limit is None:
        return sa.false()
    is_counted = sa.and_(t.shards.c.route == Route.BATCH, ~r.is_estimated)
    return sa.and_(r.outcome == "embedded", is_counted, r.billed_tokens >= limit)


def is_owed() -> sa.Exists:
    """Of a shard: something is paid for, or may be, that is not in the index yet."""
    # The synchronous route pays call by call while its attempt is reserved.
    is_half_paid = sa.and_(
        t.shards.c.route == Route.SYNC, t.batch_jobs.c.state == JobState.RESERVED
    )
    return sa.exists().where(
        t.batch_jobs.c.shard_id == t.shards.c.shard_id,
        sa.or_(t.batch_jobs.c.state.in_(OWED_STATES), is_half_paid),
    )


def outlives_build() -> sa.ColumnElement[bool]:
    """Of an open shard: it stays open when a new generation is sealed."""
    superseded = (GenerationState.BUILDING, GenerationState.ABANDONED)
    return sa.or_(is_owed(), t.generations.c.state.not_in(superseded))


def meets(where: Filter, own: Mapping[str, sa.ColumnElement[str]]) -> sa.ColumnElement[bool]:
    """Of a document, or of a place in one: what the filter asks for.

    ``own`` is what it has under the filter's own names; a condition on another one is not met.
    """
    return sa.and_(sa.true(), *(_meets(condition, own) for condition in where.conditions))


def _meets(
    condition: Condition, own: Mapping[str, sa.ColumnElement[str]]
) -> sa.ColumnElement[bool]:
    # As uris are kept that are no UTF-8.
    name, pattern = (
        text.encode(errors="backslashreplace").decode()
        for text in (condition.name, condition.pattern)
    )
    if name in OWN_NAMES and name not in own:
        return sa.false()
    found = _matches(own[name], pattern) if name in own else _has_metadata(name, pattern)
    return ~found if condition.is_negated else found


def _matches(value: sa.ColumnElement[str], pattern: str) -> sa.ColumnElement[bool]:
    return sa.or_(value == pattern, value.op("GLOB", is_comparison=True)(pattern))


def _has_metadata(name: str, pattern: str) -> sa.ColumnElement[bool]:
    """Of a document: something of that name, or one of its list, matches."""
    entry = sa.func.json_each(t.documents.c.metadata).table_valued(
        "key", "value", "type", name="entry", joins_implicitly=True
    )
    texts = sa.case(
        (entry.c.type == "array", entry.c.value), else_=sa.func.json_array(entry.c.value)
    )
    text = sa.func.json_each(texts).table_valued("value", name="text", joins_implicitly=True)
    return sa.exists().where(entry.c.key == name, _matches(text.c.value, pattern))


def link() -> sa.ColumnElement[str]:
    """Of a place: its document's url, with its anchor or, in a PDF, its page. So has the view."""
    url, place = t.documents.c.url, t.document_chunks.c
    is_pdf = t.documents.c.media_type == "application/pdf"
    return sa.case(
        (sa.or_(url == "", sa.func.instr(url, "#") > 0), url),
        (place.anchor != "", url + "#" + place.anchor),
        (sa.and_(place.page > 0, is_pdf), url + "#page=" + sa.cast(place.page, sa.Text)),
        else_=url,
    )
