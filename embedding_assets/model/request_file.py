"""A request file: the JSONL lines of a shard, and the ``custom_id`` that leads back from an answer.

Belongs here: a line, its key, the file. Does not belong here: which requests are in it (shards.py).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

from embedding_assets.files import replacing
from embedding_assets.model.columns import Column
from embedding_assets.model.passages import Passage
from embedding_assets.model.spec import EmbeddingSpec

COLUMNS = (
    Column("key", "string", "chunk_<chunk_id>: the only link from a result back to its chunk."),
    Column("request.content.parts[0].text", "string", "What the model gets to read."),
    Column("request.outputDimensionality", "integer", "How long the vector shall be."),
    Column(
        "request.taskType",
        "string",
        "What the vector is for; some models take no such thing.",
        is_nullable=True,
    ),
)

# An id as `custom_id` writes it: no sign, no leading zero, within SQLite's 64 bits.
_CUSTOM_ID = re.compile(r"chunk_([1-9][0-9]{0,18}|0)")
_WRITE_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """A JSONL file on disk: ``sha256`` is the hex digest of its bytes."""

    path: Path
    n_requests: int
    n_bytes: int
    sha256: str


def custom_id(chunk_id: int) -> str:
    """The only link from a result line back to its chunk; on the wire it is the line's ``key``."""
    return f"chunk_{chunk_id}"


def chunk_id_of(key: object) -> int | None:
    """The chunk a result line's key names, or None for a key that cannot be one of ours."""
    match = _CUSTOM_ID.fullmatch(key) if isinstance(key, str) else None
    return int(match[1]) if match else None


def request_line(spec: EmbeddingSpec, chunk_id: int, passage: Passage) -> bytes:
    """One line of the JSONL file, newline included."""
    request: dict[str, object] = {
        "content": {"parts": [{"text": spec.document_text(passage)}]},
        "outputDimensionality": spec.dimensions,
    }
    if spec.document_task_type:
        request["taskType"] = spec.document_task_type
    line = {"key": custom_id(chunk_id), "request": request}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def request_lines(spec: EmbeddingSpec, requests: Iterable[tuple[int, Passage]]) -> Iterator[bytes]:
    """The lines of these (chunk_id, passage)."""
    return (request_line(spec, chunk_id, passage) for chunk_id, passage in requests)


def digest_of(lines: Iterable[bytes]) -> str:
    """The ``sha256`` of a file of these lines."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()


def write_shard_file(path: Path, lines: Iterable[bytes]) -> ShardFile:
    """Write the lines; whatever goes wrong, even in ``lines``, leaves ``path`` as it was."""
    with (
        replacing(path) as beside,
        beside.open("wb", buffering=_WRITE_BUFFER_BYTES) as file,
    ):
        n_requests, n_bytes, sha256 = _write_lines(file, lines)
    return ShardFile(path=path, n_requests=n_requests, n_bytes=n_bytes, sha256=sha256)


def _write_lines(file: BinaryIO, lines: Iterable[bytes]) -> tuple[int, int, str]:
    digest = hashlib.sha256()
    n_lines = n_bytes = 0
    for line in lines:
        file.write(line)
        digest.update(line)
        n_lines += 1
        n_bytes += len(line)
    return n_lines, n_bytes, digest.hexdigest()
