"""Snapshots: the corpus as it was in one month, one Parquet file, one row a document.

Belongs here: the file's schema, writing it all or not at all, reading it in bounded memory, and
looking into the previous one. Does not belong here: finding and reading documents (documents.py,
files.py), the index (store/).
"""

import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import accumulate, chain, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.census import Census, Enumeration
from embedding_assets.corpus.changes import Changes, Comparison, Known
from embedding_assets.corpus.documents import EPOCH, Document, in_batches
from embedding_assets.errors import CorpusError, StorageError
from embedding_assets.files import replacing
from embedding_assets.model.columns import Column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

# A row group, the unit that is held in memory, ends at whichever is reached first.
MAX_GROUP_DOCUMENTS = 1_000
MAX_GROUP_CHARS = 8_000_000

_UTC = "timestamp[us, tz=UTC]"
_BLOCKS = (
    "list<element: struct<kind: string not null, start: int64 not null, end: int64 not null, "
    "level: int64 not null, label: string not null, anchor: string not null, "
    "page: int64 not null>>"
)
COLUMNS = (
    Column("uri", "string", "The path under which the settings reach the document."),
    Column("sha256", "string", "Hex, of the file's bytes; empty if they could not be read."),
    Column("media_type", "string", "What the file was read as, like text/markdown."),
    Column("title", "string", "Its title or its highest heading, else the file's name."),
    Column("text", "large_string", "What was extracted; empty if the document cannot be used."),
    Column(
        "blocks",
        _BLOCKS,
        "Its headings, terms, paragraphs and so on, each from one of its characters to another.",
    ),
    Column("n_bytes", "int64", "Size of the file."),
    Column("modified_at", _UTC, "When the file was changed; 1970 if not known."),
    Column("error_message", "string", "Why the file cannot be read now.", is_nullable=True),
    Column("signature", "string", "Equal only if the file is the same; empty if nobody can tell."),
    Column("extraction", "string", "Which way of reading made the text."),
    Column("url", "string", "Where people find it; empty if nobody says."),
    Column("metadata", "string", "What it says about itself, as JSON."),
    Column("within", "string", "The file in which it is a file, such as a mail; else empty."),
    Column("remark", "string", "How it was read, if that was not as usual."),
    Column(
        "unreadable_since",
        _UTC,
        "The first snapshot that could not read the file.",
        is_nullable=True,
    ),
    Column("n_chars", "int64", "Characters of the text."),
)

_FIRST_EXTRACTION = "1"  # of snapshots that do not name it
_BEGAN_AT = b"began_at"
_CENSUS = b"census"
_MONTHS = "[0-9][0-9][0-9][0-9]-[0-9][0-9].parquet"
# fmt: off
_FACTS = [
    "uri", "sha256", "media_type", "within", "signature", "extraction", "unreadable_since",
    "n_chars",
]
# fmt: on
# Which earlier layouts did not have.
_LATER_COLUMNS = frozenset([*_FACTS[3:], "blocks", "remark", "url", "metadata"])
_DOCUMENT_COLUMNS = [field.name for field in fields(Document)]

# fmt: off
PREVIEW_COLUMNS = [
    "uri", "title", "media_type", "n_bytes", "modified_at", "remark", "error_message", "sha256",
]
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSummary:
    """What was written: ``documents`` = ``readable`` + ``kept`` + ``failed``; sizes over all."""

    documents: int = 0
    readable: int = 0
    kept: int = 0  # unreadable, and an earlier version stands in
    failed: int = 0
    remarked: int = 0  # of which the snapshot has a remark on how they were read
    reused: int = 0  # of the readable, those that were not read again
    n_bytes: int = 0  # of the source files
    n_chars: int = 0  # of the extracted texts
    changes: Changes = field(default_factory=Changes)  # since the previous snapshot

    def plus(self, documents: Sequence[Document]) -> "SnapshotSummary":
        """Return the summary with some more documents counted in."""
        n_kept = sum(document.is_kept for document in documents)
        n_failed = sum(not document.is_usable for document in documents)
        return replace(
            self,
            documents=self.documents + len(documents),
            readable=self.readable + len(documents) - n_kept - n_failed,
            kept=self.kept + n_kept,
            failed=self.failed + n_failed,
            remarked=self.remarked + sum(bool(document.remark) for document in documents),
            n_bytes=self.n_bytes + sum(document.n_bytes for document in documents),
            n_chars=self.n_chars + sum(len(document.text) for document in documents),
        )


def write_snapshot(
    path: Path,
    documents: Iterable[Document],
    *,
    now: datetime,
    earlier: Mapping[str, Known] = MappingProxyType({}),
    census: Enumeration | None = None,
) -> SnapshotSummary:
    """Write the documents, in their order, to the Parquet file ``path`` and return the counts.

    ``now`` is when reading them began, ``earlier`` what the previous snapshot had, by uri, and
    ``census`` is of all files, once the documents have been read. The file
    appears complete or not at all: an existing one stays until the new one is on disk, also when
    ``documents`` raises. Missing directories are made. Raises StorageError if the disk fails.
    """
    comparison = Comparison(earlier)
    try:
        summary = _write(path, documents, comparison, now, census or Enumeration())
    except OSError as exc:
        raise StorageError(
            f"the snapshot {str(path)!r} cannot be written: {exc}; an earlier one is as it was: "
            "make room on its disk and try again"
        ) from exc
    return replace(summary, reused=comparison.n_reused, changes=comparison.changes())


def _write(
    path: Path,
    documents: Iterable[Document],
    comparison: Comparison,
    now: datetime,
    census: Enumeration,
) -> SnapshotSummary:
    import pyarrow as pa
    import pyarrow.parquet as pq

    summary = SnapshotSummary()
    schema = _schema().with_metadata({_BEGAN_AT: now.astimezone(UTC).isoformat()})
    with (
        replacing(path) as beside,
        pq.ParquetWriter(beside, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        groups = in_batches(documents, max_documents=MAX_GROUP_DOCUMENTS, max_chars=MAX_GROUP_CHARS)
        for group in groups:
            columns = {name: [getattr(d, name) for d in group] for name in _DOCUMENT_COLUMNS}
            columns["blocks"] = _as_arrow([document.blocks for document in group])
            columns["n_chars"] = [len(document.text) for document in group]
            writer.write_table(pa.Table.from_pydict(columns, schema=schema))
            comparison.look_at(group)
            summary = summary.plus(group)
        writer.add_key_value_metadata({_CENSUS: census.census.as_json()})
    return summary


def _schema() -> "pa.Schema":
    import pyarrow as pa

    # Arrow has no alias for these.
    types = {_UTC: pa.timestamp("us", tz="UTC"), _BLOCKS: pa.list_(_block_type())}
    return pa.schema(
        pa.field(c.name, types.get(c.type) or pa.type_for_alias(c.type), nullable=c.is_nullable)
        for c in COLUMNS
    )


def read_snapshot(path: Path) -> Iterator[Document]:
    """Yield the documents of a snapshot in the order in which they were written.

    One row group is in memory at a time. Raises CorpusError if there is no snapshot at ``path``.
    """
    with _open(path) as file:
        for number in range(file.num_row_groups):
            yield from _documents(file, number)


def _documents(file: "pq.ParquetFile", group: int) -> list[Document]:
    table = file.read_row_group(group, columns=_DOCUMENT_COLUMNS)
    if "blocks" in table.column_names:
        blocks = _from_arrow(table["blocks"].combine_chunks())
        rows = table.drop_columns("blocks").to_pylist()
    else:  # a layout from before
        rows = [row | {"extraction": _FIRST_EXTRACTION} for row in table.to_pylist()]
        blocks = [()] * len(rows)
    for row in rows:
        for name in ("modified_at", "unreadable_since"):
            row[name] = row.get(name) and row[name].astimezone(UTC)
    return [Document(**row, blocks=its) for row, its in zip(rows, blocks, strict=True)]


def _as_arrow(blocks: Sequence[Sequence[Block]]) -> "pa.Array":
    """Column by column, which takes a tenth of the time of row by row."""
    import pyarrow as pa

    of_one = _block_type()
    columns = list(zip(*chain.from_iterable(blocks), strict=True)) or [()] * of_one.num_fields
    values = [pa.array(c, field.type) for c, field in zip(columns, of_one, strict=True)]
    offsets = pa.array(accumulate(map(len, blocks), initial=0), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(values, fields=[*of_one]))


def _from_arrow(lists: "pa.Array") -> list[tuple[Block, ...]]:
    kinds, *columns = (column.to_pylist() for column in lists.flatten().flatten())
    blocks = tuple(map(Block, map(BlockKind, kinds), *columns))
    ends = list(accumulate(len(each) for each in lists))
    return [blocks[start:end] for start, end in pairwise([0, *ends])]


def _block_type() -> "pa.StructType":
    import pyarrow as pa

    types = {"kind": pa.string(), "label": pa.string(), "anchor": pa.string()}
    return pa.struct(
        [pa.field(name, types.get(name, pa.int64()), nullable=False) for name in Block._fields]
    )


def _blocks_without_pages() -> "pa.ListType":
    """What an earlier layout has instead; a block's page is 0 unless it is said."""
    import pyarrow as pa

    return pa.list_(pa.struct([field for field in _block_type() if field.name != "page"]))


def read_preview(path: Path, n: int) -> "pd.DataFrame":
    """Return the first ``n`` documents without their texts, one row each, for people to look at.

    The columns are PREVIEW_COLUMNS. Raises CorpusError if there is no snapshot at ``path``.
    """
    with _open(path) as file:
        groups = [group for group, start in enumerate(_group_starts(file)) if start < n]
        found = file.read_row_groups(groups, columns=PREVIEW_COLUMNS)
    preview: pd.DataFrame = found.select(PREVIEW_COLUMNS).slice(0, n).to_pandas()
    return preview


def read_census(path: Path) -> Census:
    """What became of all files when this snapshot was taken; empty if it does not say.

    Raises CorpusError if there is no snapshot at ``path``, or one of a later version.
    """
    with _open(path) as file:
        text: bytes = (file.metadata.metadata or {}).get(_CENSUS, b"[]")
        try:
            return Census.from_json(text.decode())
        except ValueError as exc:
            raise CorpusError(
                f"the snapshot {str(path)!r} has files of which this version knows nothing "
                f"({exc}); materialize documents for its month again"
            ) from exc


class Previous:
    """The snapshot before this one: facts of all its documents, and the texts of some at a time."""

    def __init__(self, file: "pq.ParquetFile | None" = None) -> None:
        """Without a file nothing is known. Raises ValueError for a file that is no snapshot."""
        self.known: Mapping[str, Known] = {} if file is None else _read_facts(file)
        self._starts = [] if file is None else _group_starts(file)
        # Most files come in the order of last time; one that moved up must not make others wait.
        self._documents = lru_cache(maxsize=2)(partial(_documents_if_sound, file))
        self._reading = threading.Lock()
        self._members: defaultdict[str, list[Known]] = defaultdict(list)
        for known in self.known.values():
            if known.within:
                self._members[known.within].append(known)

    def known_in(self, uri: str) -> list[Known]:
        """What is known of a file's own document, and of those of the files in it; in order."""
        own = self.known.get(uri)
        members = self._members.get(uri, [])
        return [own, *members] if own else members

    def document(self, uri: str) -> Document | None:
        """A document that is known, with its text; None if the file turns out to be damaged.

        It may be called from any thread.
        """
        row = self.known[uri].row
        group = bisect_right(self._starts, row) - 1
        with self._reading:
            documents = self._documents(group)
        return documents[row - self._starts[group]] if documents else None


@contextmanager
def open_previous(directory: Path) -> Iterator[Previous]:
    """The snapshot in ``directory`` that was begun last, whichever its month, this one included.

    One that is missing, damaged or not ours is passed over: it only means more to read.
    """
    with ExitStack() as stack:
        files: list[pq.ParquetFile] = []
        for path in sorted(directory.glob(_MONTHS)):
            with suppress(CorpusError):
                files.append(stack.enter_context(_open(path)))
        yield next(_usable(sorted(files, key=_began_at, reverse=True)), Previous())


def _usable(files: Iterable["pq.ParquetFile"]) -> Iterator[Previous]:
    import pyarrow as pa

    for file in files:
        with suppress(OSError, ValueError, pa.ArrowException):
            yield Previous(file)


def _began_at(file: "pq.ParquetFile") -> datetime:
    """1970 for a file that does not say."""
    try:
        text: str = file.schema_arrow.metadata[_BEGAN_AT].decode()
        return datetime.fromisoformat(text).astimezone(UTC)
    except (TypeError, KeyError, ValueError):
        return EPOCH


def _group_starts(file: "pq.ParquetFile") -> list[int]:
    """The first row of each row group."""
    sizes = (file.metadata.row_group(n).num_rows for n in range(file.num_row_groups))
    return list(accumulate(sizes, initial=0))[:-1]


def _read_facts(file: "pq.ParquetFile") -> dict[str, Known]:
    """Of every document, by its uri. Raises ValueError if the columns are not ours."""
    found, ours = file.schema_arrow, _schema()
    for column in ours:
        is_there = column.name in found.names
        types = (column.type, _blocks_without_pages())
        if is_there and found.field(column.name).type not in types:
            raise ValueError(f"column {column.name!r} is of another type")
        if not is_there and column.name not in _LATER_COLUMNS:
            raise ValueError(f"there is no column {column.name!r}")
    columns = [*_FACTS, "error_message"]
    rows = file.read(columns=columns).to_pylist()
    return {row["uri"]: _known(number, row) for number, row in enumerate(rows)}


def _known(number: int, row: Mapping[str, Any]) -> Known:
    """In the first layout a row without an error has a text."""
    since = row.get("unreadable_since")
    return Known(
        uri=row["uri"],
        row=number,
        sha256=row["sha256"],
        media_type=row["media_type"],
        within=row.get("within", ""),
        has_text=row.get("n_chars", row["error_message"] is None) > 0,
        signature=row.get("signature", ""),
        extraction=row.get("extraction", _FIRST_EXTRACTION),
        unreadable_since=since and since.astimezone(UTC),
    )


def _documents_if_sound(file: "pq.ParquetFile", group: int) -> list[Document]:
    import pyarrow as pa

    try:
        return _documents(file, group)
    except (OSError, ValueError, pa.ArrowException):
        return []


@contextmanager
def _open(path: Path) -> Iterator["pq.ParquetFile"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError as exc:
        raise CorpusError(
            f"there is no snapshot {str(path)!r}; materialize documents for its month first"
        ) from exc
    except (OSError, pa.ArrowException) as exc:
        raise CorpusError(
            f"the snapshot {str(path)!r} cannot be read ({exc}); materialize documents for its "
            "month again"
        ) from exc
    with file:
        yield file
