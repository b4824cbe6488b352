"""What a fault makes of one result line: a function an effect, named by what comes of it.

Belongs here: effects on a line. Does not belong here: lines as they should be (`result_lines`) and
which effect belongs to which kind (`kinds`).
"""

import zlib
from typing import TYPE_CHECKING, Any

from embedding_assets.emulator.embed_requests import CHANGED_REVISION, EmbedRequest
from embedding_assets.emulator.result_lines import Answer, error_line, json_line, vector_line

if TYPE_CHECKING:
    from embedding_assets.emulator.faults.rules import Fault


def error(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """An error instead of a vector: the code and the message of the rule."""
    return Answer(lines=[error_line(key, fault.code, fault.message)], failed=True)


def nothing(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """No line at all."""
    return Answer(lines=[])


def one_value_short(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """A vector of the wrong dimension."""
    return Answer(lines=[vector_line(key, request, request.vector()[:-1])])


def with_nan(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """A bare NaN for the first value."""
    head, separator, tail = _intact(key, request).partition(b'"values":[')
    rest = tail[min(tail.index(b","), tail.index(b"]")) :]
    return Answer(lines=[head + separator + b"NaN" + rest])


def twice(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """The line, and the line again; it is bought once."""
    return Answer(lines=[_intact(key, request)] * 2, bought=request.purchase())


def half(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """A line that ends in the middle."""
    intact = _intact(key, request)
    return Answer(lines=[intact[: len(intact) // 2] + b"\n"])


def under_an_unknown_key(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """A key out of reach that is always the same for the same key, and fits 64 bits as a number."""
    unknown = f"chunk_999999999{zlib.crc32(key.encode()) % 10**9:09d}"
    return Answer(lines=[_intact(unknown, request)])


def with_key_in_metadata(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """The key where inlined answers have theirs."""
    return _bought(request, {"metadata": {"key": key}, "response": _response(request)})


def with_key_renamed(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """The key under a name that nobody has heard of."""
    return _bought(request, {"custom_id": key, "response": _response(request)})


def with_usage(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """The tokens as synchronous answers have theirs, with a second list on the line."""
    details = [{"modality": "TEXT", "tokenCount": request.tokens}]
    usage = {"promptTokenCount": request.tokens, "promptTokensDetails": details}
    response = {"usageMetadata": usage, "embedding": {"values": request.vector()}}
    return _bought(request, {"key": key, "response": response})


def uncounted(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """No word on the tokens, which are billed all the same."""
    return _bought(request, {"key": key, "response": {"embedding": {"values": request.vector()}}})


def with_a_list_of_vectors(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """The vector as the only item of a list."""
    response = {"tokenCount": str(request.tokens), "embeddings": [{"values": request.vector()}]}
    return _bought(request, {"key": key, "response": response})


def with_texts_for_values(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """Every number of the vector as a text."""
    values = list(map(str, request.vector().tolist()))
    response = {"tokenCount": str(request.tokens), "embedding": {"values": values}}
    return _bought(request, {"key": key, "response": response})


def error_as_status(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """The code and the message of the rule, under another name."""
    status = {"code": fault.code, "message": fault.message}
    return Answer(lines=[json_line({"key": key, "status": status})], failed=True)


def _response(request: EmbedRequest) -> dict[str, Any]:
    return {"tokenCount": str(request.tokens), "embedding": {"values": request.vector()}}


def _bought(request: EmbedRequest, line: dict[str, Any]) -> Answer:
    """A vector that was paid for, in whatever shape."""
    return Answer(lines=[json_line(line)], bought=request.purchase())


def of_a_changed_model(fault: "Fault", key: str, request: EmbedRequest) -> Answer:
    """A vector that compares with none of those before; it is bought all the same."""
    changed = vector_line(key, request, request.vector(revision=CHANGED_REVISION))
    return Answer(lines=[changed], bought=request.purchase())


def _intact(key: str, request: EmbedRequest) -> bytes:
    return vector_line(key, request, request.vector())
