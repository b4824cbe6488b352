"""The error the emulator answers with, in Google's vocabulary.

Belongs here: codes and messages. Does not belong here: their JSON (`wire`), errors that a fault
makes up (`faults`).
A refusal is an `ApiError` wherever it is found; only the server turns it into JSON.
"""

from collections.abc import Mapping
from http import HTTPStatus

INVALID_ARGUMENT_RPC_CODE = 3

_STATUS_NAMES: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "INVALID_ARGUMENT",
    HTTPStatus.UNAUTHORIZED: "UNAUTHENTICATED",
    HTTPStatus.FORBIDDEN: "PERMISSION_DENIED",
    HTTPStatus.NOT_FOUND: "NOT_FOUND",
    HTTPStatus.CONFLICT: "ALREADY_EXISTS",
    HTTPStatus.TOO_MANY_REQUESTS: "RESOURCE_EXHAUSTED",
    HTTPStatus.INTERNAL_SERVER_ERROR: "INTERNAL",
    HTTPStatus.NOT_IMPLEMENTED: "UNIMPLEMENTED",
    HTTPStatus.SERVICE_UNAVAILABLE: "UNAVAILABLE",
    HTTPStatus.GATEWAY_TIMEOUT: "DEADLINE_EXCEEDED",
}


class ApiError(Exception):
    """A call refused: an HTTP code and a message; the status name follows from the code."""

    headers: Mapping[str, str] = {}

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> str:
        """Google's name for the code, such as RESOURCE_EXHAUSTED for 429."""
        return _STATUS_NAMES.get(self.code, "UNKNOWN")


class Redirection(ApiError):
    """Not here but there."""

    def __init__(self, location: str) -> None:
        super().__init__(HTTPStatus.TEMPORARY_REDIRECT, f"It is at {location}.")
        self.headers = {"Location": location}


def invalid_argument(message: str) -> ApiError:
    """The request itself is wrong; sending it again will not help."""
    return ApiError(HTTPStatus.BAD_REQUEST, message)


def file_denied(file_id: str) -> ApiError:
    """What Google answers for a file that is missing, expired or another project's."""
    return ApiError(
        HTTPStatus.FORBIDDEN,
        f"You do not have permission to access the File {file_id} or it may not exist.",
    )


def batch_not_found(batch_id: str) -> ApiError:
    """The batch job was never created, or has been deleted."""
    return ApiError(HTTPStatus.NOT_FOUND, f"Requested entity was not found: batches/{batch_id}.")


def quota_exceeded(found: str, limit: str) -> ApiError:
    """A limit is reached; the same call may succeed later."""
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"You exceeded your current quota: {found}, the limit is {limit}.",
    )
