"""What Gemini's JSON says of a batch job or a file, whatever shape it comes in.

Belongs here: where each fact has been seen to stand, and what is made of one that cannot be read.
Does not belong here: the calls (client.py), pages (listing.py).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from embedding_assets.model.batch_jobs import DEAD_ENDINGS, NAME_PREFIX, RemoteFile, RemoteJob
from embedding_assets.model.results import code_of

_INLINED = ("inlinedResponses", "inlinedEmbedContentResponses")


class UnreadableError(ValueError):
    """An entry is one of ours by its display name, and does not say what it is."""


def read_job(operation: object) -> RemoteJob | None:
    """A long-running operation; None for what no attempt of ours can be known by.

    Raises UnreadableError if it is ours and has no name.
    """
    operation = _object(operation)
    metadata = _object(operation.get("metadata"))
    display_name = _text(metadata.get("displayName"))
    name = _text(operation.get("name")) or _text(metadata.get("name"))
    if not name:
        _check_foreign("batch job", display_name)
        return None
    error = operation.get("error")
    state_name = _state_name(operation, metadata)
    stated = _result_name(operation, name)
    guessed = None
    if "SUCCEEDED" in state_name:
        guessed = f"files/batch-{name.removeprefix('batches/')}"  # the pattern of every known one
    return RemoteJob(
        name=name,
        display_name=display_name,
        state_name=state_name,
        model=_text(metadata.get("model")).removeprefix("models/") or None,
        result_file_name=stated or guessed,
        has_output=stated is not None,
        n_answered=_natural(_object(metadata.get("batchStats")).get("successfulRequestCount")),
        error_code=code_of(error) if error else None,
        error_message=str(_object(error).get("message") or error) if error else None,
        created_at=_time(metadata.get("createTime")),
        ended_at=_time(metadata.get("endTime")),
    )


def read_file(file: object) -> RemoteFile | None:
    """An uploaded file, as ``read_job`` reads a job."""
    file = _object(file)
    display_name, name = _text(file.get("displayName")), _text(file.get("name"))
    if not name:
        _check_foreign("file", display_name)
        return None
    return RemoteFile(
        name=name,
        display_name=display_name,
        n_bytes=_natural(file.get("sizeBytes")) or 0,
        created_at=_time(file.get("createTime")),
    )


def _check_foreign(what: str, display_name: str) -> None:
    if display_name.startswith(NAME_PREFIX):
        raise UnreadableError(f"Gemini lists a {what} {display_name!r} without a name of its own")


def inlined_results(operation: object) -> list[Any] | None:
    """The results that lie in an operation, under any of the names that were seen; None: none."""
    for place in _places(_object(operation)):
        for name in _INLINED:
            found = place.get(name)
            # A message with the list in it, as the API has it, or the list.
            answers = _object(found).get("inlinedResponses", found)
            if isinstance(answers, list):
                return answers
    return None


def _places(operation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Where an output stands."""
    response, metadata = _object(operation.get("response")), _object(operation.get("metadata"))
    return [response, _object(response.get("output")), _object(metadata.get("output"))]


def _result_name(operation: Mapping[str, Any], name: str) -> str | None:
    """The file that has the answers, or the job itself if they lie in its operation."""
    files = [_text(place.get("responsesFile")) for place in _places(operation)]
    return _first(files) or (name if inlined_results(operation) is not None else None)


def _state_name(operation: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The state as it came, unless the operation ended otherwise: metadata can be stale.

    What is done without an error has succeeded, even if nothing says so.
    """
    stated = str(metadata.get("state") or operation.get("state") or "BATCH_STATE_UNSPECIFIED")
    is_dead = stated.endswith(DEAD_ENDINGS)
    if operation.get("done") and operation.get("error"):
        return stated if is_dead else "BATCH_STATE_FAILED"
    if operation.get("done") and (operation.get("response") or not is_dead):
        return stated if "SUCCEEDED" in stated else "BATCH_STATE_SUCCEEDED"
    return stated


def _first(texts: Iterable[str]) -> str | None:
    return next(filter(None, texts), None)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _natural(value: object) -> int | None:
    """A count; the wire has int64 as a string."""
    digits = str(value)
    is_count = type(value) in (int, str) and digits.isdecimal() and len(digits) < 19
    return int(digits) if is_count else None


def _time(value: object) -> datetime | None:
    """Aware UTC; Google's has a zone, and what has none is taken for UTC."""
    try:
        moment = datetime.fromisoformat(_text(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
