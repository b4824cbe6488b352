"""One month's corpus in one Parquet file: complete or not there, and the same when read back."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedding_assets.corpus import snapshots
from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.changes import Change, Changes, Kind
from embedding_assets.corpus.chunks import Chunker
from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.snapshots import (
    PREVIEW_COLUMNS,
    SnapshotSummary,
    read_preview,
    read_snapshot,
    write_snapshot,
)
from embedding_assets.errors import CorpusError
from tests.factories import NOW, a_document

blocks_of_any_kind = st.builds(
    Block,
    kind=st.sampled_from(BlockKind),
    start=st.integers(0, 2**62),
    end=st.integers(0, 2**62),
    level=st.integers(0, 100),
    label=st.text(),
    anchor=st.text(),
    page=st.integers(0, 100_000),
)
documents_of_any_kind = st.builds(
    Document,
    uri=st.text(),
    sha256=st.text(alphabet="0123456789abcdef", max_size=64),
    media_type=st.sampled_from(["text/markdown", "text/html"]),
    title=st.text(),
    text=st.text(),
    blocks=st.lists(blocks_of_any_kind, max_size=4).map(tuple),
    n_bytes=st.integers(0, 2**62),
    modified_at=st.datetimes(timezones=st.just(UTC)),
    error_message=st.none() | st.text(),
    signature=st.text(),
    extraction=st.text(),
    url=st.text(),
    metadata=st.text(),
    within=st.text(),
    remark=st.text(),
    unreadable_since=st.none() | st.datetimes(timezones=st.just(UTC)),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshots" / "2026-11.parquet"


@given(written=st.lists(documents_of_any_kind, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_read_is_what_was_written(path: Path, written: list[Document]) -> None:
    """Every field of every document comes back, in order."""
    write_snapshot(path, written, now=NOW)

    read = list(read_snapshot(path))

    assert read == written
    assert all(document.modified_at.tzinfo is UTC for document in read)


def test_a_text_of_an_earlier_layout_is_cut_as_it_is(path: Path) -> None:
    """It has no blocks, and nothing of it is lost for that, not even what is no text today."""
    text = "First.\n\n" + b64encode(bytes(n * n % 251 for n in range(900))).decode() + "\n\nLast."
    write_snapshot(path, [a_document(text=text)], now=NOW)
    pq.write_table(pq.read_table(path).drop_columns(["blocks", "extraction", "remark"]), path)

    [document] = read_snapshot(path)
    chunks = Chunker(max_chars=500, max_tokens=2048).split("Title", document.text, document.blocks)

    assert "".join("".join(chunk.passage.text.split()) for chunk in chunks) == "".join(text.split())


def test_the_summary_counts(path: Path) -> None:
    """Documents are readable, kept or failed; sizes are sums over all of them."""
    documents = [
        a_document(uri="a", text="жж", n_bytes=4),
        a_document(uri="b", text="ccc", n_bytes=3),
        a_document(uri="d", text="", n_bytes=10, error_message="it is binary"),
        a_document(uri="e", text="kept", n_bytes=1, error_message="it is binary; kept"),
    ]

    assert write_snapshot(path, iter(documents), now=NOW) == SnapshotSummary(
        documents=4,
        readable=2,
        kept=1,
        failed=1,
        n_bytes=18,
        n_chars=9,
        changes=Changes(
            added=2,
            unreadable=2,
            samples=(
                Change(kind=Kind.ADDED, uri="a"),
                Change(kind=Kind.ADDED, uri="b"),
                Change(kind=Kind.UNREADABLE, uri="d"),
                Change(kind=Kind.UNREADABLE, uri="e"),
            ),
        ),
    )


def test_an_empty_corpus_is_a_snapshot(path: Path) -> None:
    """No documents make a file without rows, not no file."""
    assert write_snapshot(path, [], now=NOW) == SnapshotSummary()
    assert list(read_snapshot(path)) == []
    assert list(read_preview(path, 10).columns) == PREVIEW_COLUMNS


@pytest.mark.parametrize("limit", ["MAX_GROUP_DOCUMENTS", "MAX_GROUP_CHARS"])
def test_memory_is_bounded_by_row_groups(
    path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many documents or long ones are written and read some at a time, all of them."""
    monkeypatch.setattr(snapshots, limit, 3)
    documents = [a_document(uri=f"{n}", text="x") for n in range(10)]

    summary = write_snapshot(path, documents, now=NOW)

    assert summary.documents == 10
    assert pq.ParquetFile(path).num_row_groups == 4
    assert list(read_snapshot(path)) == documents
    assert list(read_preview(path, 7)["uri"]) == list("0123456")


def test_a_failed_write_leaves_the_earlier_snapshot(path: Path) -> None:
    """Whatever goes wrong on the way, there is the old file or the new one, and nothing beside."""
    earlier = [a_document(uri="earlier")]
    write_snapshot(path, earlier, now=NOW)

    def interrupted() -> Iterator[Document]:
        yield from (a_document(uri=f"{n}") for n in range(1500))
        raise CorpusError("the disk was unplugged")

    with pytest.raises(CorpusError, match="unplugged"):
        write_snapshot(path, interrupted(), now=NOW)

    assert list(read_snapshot(path)) == earlier
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_first_write_leaves_nothing(path: Path) -> None:
    """There is never half a file."""
    with pytest.raises(ZeroDivisionError):
        write_snapshot(path, (a_document(n_bytes=1 // n) for n in [1, 0]), now=NOW)

    assert list(path.parent.iterdir()) == []


def test_a_snapshot_can_be_written_again(path: Path) -> None:
    """The new one takes the place of the old one; the same documents make the same bytes."""
    write_snapshot(path, [a_document(uri="old")], now=NOW)
    write_snapshot(path, [a_document(uri="new")], now=NOW)
    data = path.read_bytes()
    write_snapshot(path, [a_document(uri="new")], now=NOW)

    assert [document.uri for document in read_snapshot(path)] == ["new"]
    assert path.read_bytes() == data


def test_a_reader_keeps_the_snapshot_that_it_opened(path: Path) -> None:
    """Replacing the file does not mix two months for somebody who is reading."""
    write_snapshot(path, [a_document(uri=f"old {n}") for n in range(1500)], now=NOW)
    reader = read_snapshot(path)
    next(reader)

    write_snapshot(path, [a_document(uri="new")], now=NOW)

    assert [document.uri for document in reader][-1] == "old 1499"


def test_the_preview_shows_everything_but_the_text(path: Path) -> None:
    """One row a document, with types that a table in the web UI can show."""
    at = datetime(2026, 11, 1, 12, 30, 0, 5, tzinfo=UTC)
    write_snapshot(
        path, [a_document(uri="a", modified_at=at, error_message=None), a_document()], now=NOW
    )

    preview = read_preview(path, 1)

    assert preview.to_dict("records") == [
        {
            "uri": "a",
            "title": "gzip",
            "media_type": "text/markdown",
            "n_bytes": 41,
            "modified_at": at,
            "remark": "",
            "error_message": preview["error_message"][0],
            "sha256": "ab" * 32,
        }
    ]
    assert preview["error_message"].isna().all()


@pytest.mark.parametrize(("n", "rows"), [(0, 0), (2, 2), (5, 3)])
def test_the_preview_has_at_most_n_rows(path: Path, n: int, rows: int) -> None:
    """A small corpus has fewer."""
    write_snapshot(path, [a_document(uri=uri) for uri in "abc"], now=NOW)

    assert len(read_preview(path, n)) == rows


def test_a_missing_snapshot_is_an_error(path: Path) -> None:
    """The message names the file and says how it comes to be."""
    with pytest.raises(CorpusError, match=r"no snapshot .*2026-11\.parquet'; materialize"):
        next(read_snapshot(path))
    with pytest.raises(CorpusError, match="no snapshot"):
        read_preview(path, 3)


@pytest.mark.parametrize("data", [b"", b"PAR1 no parquet", b"PAR1" * 100])
def test_a_file_that_is_no_snapshot_is_an_error(path: Path, data: bytes) -> None:
    """The message names the file instead of the insides of a library."""
    path.parent.mkdir()
    path.write_bytes(data)

    with pytest.raises(CorpusError, match=r"the snapshot .*2026-11\.parquet' cannot be read"):
        next(read_snapshot(path))
