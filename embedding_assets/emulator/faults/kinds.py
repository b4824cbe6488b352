"""Everything that can go wrong, a row a kind: its name, what it strikes and what comes of it.

A new kind is a new row, and its function goes to `lines`, `lists` or `answers` if there is none
yet. Rules that name a kind are in `rules`; which of them strikes is decided in `book`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from embedding_assets.emulator.batches import BatchState
from embedding_assets.emulator.embed_requests import EmbedRequest
from embedding_assets.emulator.errors import ApiError
from embedding_assets.emulator.faults import answers, lines, lists
from embedding_assets.emulator.result_lines import Answer

if TYPE_CHECKING:
    from embedding_assets.emulator.endpoints import Call
    from embedding_assets.emulator.faults.book import Strike
    from embedding_assets.emulator.faults.rules import Fault


class Endpoint(StrEnum):
    """Everything a client can call, by the name used in the bill and in call faults."""

    UPLOAD = "upload"  # the call that starts one
    UPLOAD_CHUNK = "upload_chunk"
    FILES_GET = "files_get"
    FILES_LIST = "files_list"
    FILES_DELETE = "files_delete"
    DOWNLOAD = "download"
    CREATE = "create"
    GET = "get"
    LIST = "list"
    CANCEL = "cancel"
    DELETE = "delete"
    EMBED = "embed"  # batchEmbedContents and embedContent
    COUNT_TOKENS = "count_tokens"


@dataclass(frozen=True, slots=True)
class LineEffect:
    """On a line of a result file. `match` is sought in the text and in the key."""

    spoil: Callable[["Fault", str, EmbedRequest], Answer]
    if_inlined: bool = True
    """An answer inside the operation has no key, and cannot be spoilt as JSON."""


@dataclass(frozen=True, slots=True)
class CallEffect:
    """On a call, which then does nothing. `match` is sought in the path and in the body."""

    error: Callable[["Call", "Fault"], ApiError]


@dataclass(frozen=True, slots=True)
class UploadEffect:
    """On a chunk of an upload. `match` is sought in the path."""

    receive: Callable[[Request, Path], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class AnswerEffect:
    """On the answer to a call that was done. `match` is sought in the path and in the body."""

    endpoint: Endpoint
    spoil: Callable[["Call", Any, "Strike"], Response | dict[str, Any]]
    also: Endpoint | None = None
    """Another that answers alike."""


@dataclass(frozen=True, slots=True)
class JobEffect:
    """On the fate of a job. `match` is sought in the display name, or in the texts, when the job is
    created."""

    state: BatchState
    """What it ends as, or stays."""
    answered: float = 0.0
    """The share of its requests that is answered; 0 is a job without output."""
    is_share_fixed: bool = False
    """A rule cannot have another share."""
    is_output_late: bool = False
    """By the rule's `delay_s`."""
    is_of_a_text: bool = False
    """`match` is sought in the texts; the job ends with INVALID_ARGUMENT."""


@dataclass(frozen=True, slots=True)
class ShiftEffect:
    """On whose vectors the requests of a job get. `match` is sought in the display name."""

    n_requests: int
    """How many requests further on it stands whose vector one gets; after the last the first."""


Effect = LineEffect | CallEffect | UploadEffect | AnswerEffect | JobEffect | ShiftEffect


class FaultKind(StrEnum):
    """What goes wrong."""

    effect: Effect

    def __new__(cls, name: str, effect: Effect) -> Self:
        """A name that knows its effect."""
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.effect = effect
        return kind

    ERROR_LINE = "error_line", LineEffect(lines.error)
    MISSING_LINE = "missing_line", LineEffect(lines.nothing)
    WRONG_DIMENSION = "wrong_dimension", LineEffect(lines.one_value_short)
    NAN_VALUE = "nan_value", LineEffect(lines.with_nan, if_inlined=False)
    DUPLICATE_LINE = "duplicate_line", LineEffect(lines.twice)
    MALFORMED_LINE = "malformed_line", LineEffect(lines.half, if_inlined=False)
    UNKNOWN_KEY = "unknown_key", LineEffect(lines.under_an_unknown_key, if_inlined=False)
    KEY_IN_METADATA = "key_in_metadata", LineEffect(lines.with_key_in_metadata, if_inlined=False)
    KEY_RENAMED = "key_renamed", LineEffect(lines.with_key_renamed, if_inlined=False)
    USAGE_METADATA = "usage_metadata", LineEffect(lines.with_usage)
    UNCOUNTED = "uncounted", LineEffect(lines.uncounted)
    EMBEDDINGS_LIST = "embeddings_list", LineEffect(lines.with_a_list_of_vectors)
    TEXT_VALUES = "text_values", LineEffect(lines.with_texts_for_values)
    STATUS_LINE = "status_line", LineEffect(lines.error_as_status)

    CHANGED_MODEL = "changed_model", LineEffect(lines.of_a_changed_model)

    CALL_ERROR = "call_error", CallEffect(answers.as_told)
    KEY_QUOTED = "key_quoted", CallEffect(answers.with_key)
    REDIRECTED = "redirected", CallEffect(answers.led_elsewhere)
    UPLOAD_BROKEN = "upload_broken", UploadEffect(answers.half_received)
    CREATE_THEN_DROP = "create_then_drop", AnswerEffect(Endpoint.CREATE, answers.none)
    CREATE_LATE = "create_late", AnswerEffect(Endpoint.CREATE, answers.created_late)
    CREATE_REFUSED_LATE = "create_refused_late", AnswerEffect(Endpoint.CREATE, answers.refused_late)
    LIST_OVERLAP = "list_overlap", AnswerEffect(Endpoint.LIST, lists.overlapping)
    LIST_DOUBLED = "list_doubled", AnswerEffect(Endpoint.LIST, lists.doubled)
    LIST_REPEATS = "list_repeats", AnswerEffect(Endpoint.LIST, lists.repeating)
    LIST_NULL = "list_null", AnswerEffect(Endpoint.LIST, lists.null)
    LIST_FOREIGN = "list_foreign", AnswerEffect(Endpoint.LIST, lists.among_foreign)
    DOWNLOAD_TRUNCATED = "download_truncated", AnswerEffect(Endpoint.DOWNLOAD, answers.truncated)
    DOWNLOAD_TRICKLES = "download_trickles", AnswerEffect(Endpoint.DOWNLOAD, answers.trickling)
    DOWNLOAD_BROKEN = "download_broken", AnswerEffect(Endpoint.DOWNLOAD, answers.broken)
    SIGN_IN_PAGE = "sign_in_page", AnswerEffect(Endpoint.DOWNLOAD, answers.sign_in_page)
    EMPTY_DOWNLOAD = "empty_download", AnswerEffect(Endpoint.DOWNLOAD, answers.nothing)
    ERROR_DOCUMENT = "error_document", AnswerEffect(Endpoint.DOWNLOAD, answers.error_document)
    INLINED_RESULTS = "inlined_results", AnswerEffect(Endpoint.GET, answers.inlined, Endpoint.LIST)
    TOO_FEW_VECTORS = "too_few_vectors", AnswerEffect(Endpoint.EMBED, answers.too_few_vectors)
    UNREADABLE_ANSWER = "unreadable_answer", AnswerEffect(Endpoint.EMBED, answers.sign_in_page)
    UNCOUNTED_ANSWER = "uncounted_answer", AnswerEffect(Endpoint.EMBED, answers.uncounted)

    CHANGED_SYNC_MODEL = (
        "changed_sync_model",
        AnswerEffect(Endpoint.EMBED, answers.of_a_changed_model),
    )

    JOB_FAILED = "job_failed", JobEffect(BatchState.FAILED)
    JOB_EXPIRED = "job_expired", JobEffect(BatchState.EXPIRED)
    JOB_CANCELLED = "job_cancelled", JobEffect(BatchState.CANCELLED)
    JOB_PARTIAL = "job_partial", JobEffect(BatchState.PARTIALLY_SUCCEEDED, answered=0.5)
    JOB_STUCK = "job_stuck", JobEffect(BatchState.RUNNING, is_share_fixed=True)
    POISON_TEXT = "poison_text", JobEffect(BatchState.FAILED, is_of_a_text=True)
    LATE_OUTPUT = (
        "late_output",
        JobEffect(BatchState.SUCCEEDED, answered=1.0, is_share_fixed=True, is_output_late=True),
    )
    SWAPPED_VECTORS = "swapped_vectors", ShiftEffect(n_requests=1)


_E = TypeVar("_E", LineEffect, CallEffect, UploadEffect, AnswerEffect, JobEffect, ShiftEffect)


def _kinds_with(effect: type[_E]) -> dict[FaultKind, _E]:
    return {kind: kind.effect for kind in FaultKind if isinstance(kind.effect, effect)}


LINE_FAULTS = _kinds_with(LineEffect)
INLINED_FAULTS = {kind: effect for kind, effect in LINE_FAULTS.items() if effect.if_inlined}
CALL_FAULTS = _kinds_with(CallEffect)
UPLOAD_FAULTS = _kinds_with(UploadEffect)
ANSWER_FAULTS = _kinds_with(AnswerEffect)
JOB_FAULTS = _kinds_with(JobEffect)
SHIFT_FAULTS = _kinds_with(ShiftEffect)
TEXT_FAULTS = [kind for kind, effect in JOB_FAULTS.items() if effect.is_of_a_text]
NAMED_JOB_FAULTS = [kind for kind in JOB_FAULTS if kind not in TEXT_FAULTS]
