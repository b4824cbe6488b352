"""How a request's line in a result file looks.

Belongs here: the JSON of a vector and of an error. Does not belong here: which of them a request
gets (`results`) and lines that are wrong on purpose (`faults.lines`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from embedding_assets.emulator.embed_requests import EmbedRequest, Purchase


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What comes of one request; it is bought if it is answered with an intact vector."""

    lines: list[bytes]
    bought: Purchase | None = None
    failed: bool = False


def vector_line(key: str, request: EmbedRequest, vector: npt.NDArray[np.float32]) -> bytes:
    """A line with a vector."""
    response = {"tokenCount": str(request.tokens), "embedding": {"values": vector}}
    return json_line({"response": response, "key": key})


def error_line(key: str, code: int, message: str) -> bytes:
    """A line with an error; the code is one of google.rpc.Code."""
    return json_line({"key": key, "error": {"code": code, "message": message}})


def json_line(value: dict[str, Any]) -> bytes:
    """Any object as a line; arrays of numpy are lists in it."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
