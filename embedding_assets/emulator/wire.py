"""How files, batch jobs and errors look in Google's JSON.

Only shapes: timestamps are RFC 3339, 64-bit integers are strings, and a job is a long-running
operation. Decisions are made elsewhere.
"""

from datetime import UTC, datetime
from typing import Any

from embedding_assets.emulator.batches import Batch, BatchState
from embedding_assets.emulator.errors import ApiError
from embedding_assets.emulator.files import StoredFile

_TYPE_PREFIX = "type.googleapis.com/google.ai.generativelanguage.v1main."
_LIVE_STATES = (BatchState.PENDING, BatchState.RUNNING)
_RPC_CODES = {  # of the error that ends an operation
    BatchState.CANCELLED: 1,
    BatchState.EXPIRED: 4,
    BatchState.FAILED: 13,
}


def error_json(error: ApiError) -> dict[str, Any]:
    """The body of a refusal."""
    shown = {"code": error.code, "message": error.message, "status": error.status}
    details = {"details": list(error.details)} if error.details else {}
    return {"error": {**shown, **details}}


def file_json(file: StoredFile, *, base_url: str) -> dict[str, Any]:
    """A File; the SDK wants it flat here and under "file" after an upload."""
    shown = {
        "name": f"files/{file.file_id}",
        "displayName": file.display_name,
        "mimeType": file.mime_type,
        "sizeBytes": str(file.size_bytes),
        "createTime": _timestamp(file.created_at),
        "updateTime": _timestamp(file.created_at),
        "expirationTime": _timestamp(file.expires_at),
        "sha256Hash": file.sha256,
        "uri": f"{base_url}/files/{file.file_id}",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }
    return {name: value for name, value in shown.items() if value is not None}


def operation_json(batch: Batch, *, now: float, output: dict[str, Any] | None) -> dict[str, Any]:
    """The operation that is a batch job; `output` is where its results are, if it has any."""
    state = batch.state_at(now)
    name = f"batches/{batch.batch_id}"
    operation: dict[str, Any] = {"name": name, "metadata": _metadata(batch, state, now)}
    if state in _LIVE_STATES:
        return operation
    operation["done"] = True
    if output is not None:
        operation["metadata"]["output"] = output
    if state in _RPC_CODES:
        message = batch.error_message or f"The batch job ended as {state}."
        code = batch.error_code or _RPC_CODES[state]
        operation["error"] = {"code": code, "message": message}
    elif output is not None:
        operation["response"] = {"@type": f"{_TYPE_PREFIX}EmbedContentBatchOutput", **output}
    return operation


def _metadata(batch: Batch, state: BatchState, now: float) -> dict[str, Any]:
    ended = state not in _LIVE_STATES
    updated_at = batch.ends_at if ended and batch.ends_at is not None else now
    metadata = {
        "@type": f"{_TYPE_PREFIX}EmbedContentBatch",
        "name": f"batches/{batch.batch_id}",
        "model": f"models/{batch.model}",
        "displayName": batch.display_name,
        "state": state,
        "createTime": _timestamp(batch.created_at),
        "updateTime": _timestamp(updated_at),
        "batchStats": _batch_stats(batch, state),
    }
    if ended:
        metadata["endTime"] = _timestamp(updated_at)
    if batch.input_file is not None:
        metadata["inputConfig"] = {"fileName": batch.input_file}
    return metadata


def _batch_stats(batch: Batch, state: BatchState) -> dict[str, str]:
    """Requests that have no answer in an ended job stay pending."""
    succeeded = 0 if state in _LIVE_STATES else batch.n_succeeded
    failed = 0 if state in _LIVE_STATES else batch.n_failed
    return {
        "requestCount": str(batch.n_requests),
        "successfulRequestCount": str(succeeded),
        "failedRequestCount": str(failed),
        "pendingRequestCount": str(batch.n_requests - succeeded - failed),
    }


def _timestamp(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
