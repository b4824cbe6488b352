"""The corpus from month to month: what is not read again, and what stands in for what is broken."""

import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from embedding_assets.clock import utc_now
from embedding_assets.corpus.census import Enumeration, LeftOut, Outcome
from embedding_assets.corpus.documents import Document, look_at
from embedding_assets.corpus.files import read_files
from embedding_assets.corpus.find import SourceFile, find_documents
from embedding_assets.corpus.formats.extraction import EXTRACTION_VERSION
from embedding_assets.corpus.snapshots import (
    Previous,
    SnapshotSummary,
    open_previous,
    read_snapshot,
    write_snapshot,
)
from embedding_assets.errors import CorpusError, SettingsError
from embedding_assets.pipeline.read import left_out, read_documents
from embedding_assets.settings.values import Corpus, Settings
from tests.children import children
from tests.factories import MAX_FILE_BYTES, NOW, a_document, write_corpus
from tests.months import MONTH, Months, rewrite_unnoticed

REMEMBERED = "what the snapshot remembers"
NO_TEXT = "it is binary, not text: it contains NUL bytes; if it is UTF-16, save it as UTF-8"


@pytest.fixture
def months(tmp_path: Path) -> Months:
    """A directory without documents, and no snapshot."""
    (tmp_path / "docs").mkdir()
    return Months(docs=tmp_path / "docs", snapshots=tmp_path / "snapshots")


def counts(summary: SnapshotSummary) -> dict[str, int]:
    """What changed, without what did not."""
    return {kind: n for kind, n in summary.changes.counts.items() if n}


def another_content(document: Document) -> Document:
    """As if the file had been another one: only its signature is what it was."""
    return replace(document, text=REMEMBERED, title="Remembered", sha256="00" * 32)


# --- What is read ---------------------------------------------------------------------------------


def test_without_a_snapshot_everything_is_read_and_added(months: Months) -> None:
    """The first month has nothing to compare with."""
    months.write(a="one", b="two")

    summary = months.read()

    assert (counts(summary), summary.reused) == ({"added": 2}, 0)
    assert months.texts() == {"a": "one", "b": "two"}


def test_an_unchanged_file_is_not_opened(months: Months) -> None:
    """Text, title and hash come from the snapshot if the file looks as it did."""
    months.write(a="one")
    months.read()
    months.doctor(another_content)

    summary = months.read()

    document = months.documents()["a"]
    assert (document.text, document.title, document.sha256) == (
        REMEMBERED,
        "Remembered",
        "00" * 32,
    )
    assert (counts(summary), summary.reused) == ({"unchanged": 1}, 1)


def test_a_touched_file_is_read_and_not_extracted(months: Months) -> None:
    """The hash says that it is the same, whatever its times say."""
    months.write(a="one")
    months.read()
    before = months.documents()["a"]
    months.doctor(lambda document: replace(document, text=REMEMBERED, title="Remembered"))
    os.utime(months.path("a"), (0, 1_700_000_000))

    summary = months.read()

    document = months.documents()["a"]
    assert (document.text, document.title) == (REMEMBERED, "Remembered")
    assert document.sha256 == before.sha256
    assert document.signature != before.signature
    assert document.modified_at.year == 2023
    assert (counts(summary), summary.reused) == ({"unchanged": 1}, 0)
    assert months.read().reused == 1


def test_a_change_that_hides_is_seen(months: Months) -> None:
    """With the old size and the old modification time a file still has been changed later."""
    months.write(a="one")
    months.read()
    rewrite_unnoticed(months.path("a"), "two")

    summary = months.read()

    assert counts(summary) == {"changed": 1}
    assert months.texts() == {"a": "two"}


def test_a_file_that_replaces_another_is_seen(months: Months) -> None:
    """A copy with all its times is another file."""
    months.write(a="one")
    months.read()
    shutil.copy2(months.path("a"), months.docs / "copy")
    (months.docs / "copy").write_text("two")
    os.utime(months.docs / "copy", (0, months.path("a").stat().st_mtime))
    (months.docs / "copy").replace(months.path("a"))

    assert counts(months.read()) == {"changed": 1}


def test_a_file_changed_just_before_it_was_read_is_in_doubt(months: Months) -> None:
    """Where times are coarse it may change again and look the same, so it is read once more."""
    months.write(a="one")
    months.now = utc_now()
    months.read(after=timedelta(0))
    assert months.documents()["a"].signature == ""
    months.doctor(another_content)

    assert counts(months.read()) == {"changed": 1}
    assert months.texts() == {"a": "one"}
    assert months.read().reused == 1


def test_a_file_from_the_future_is_in_doubt(months: Months) -> None:
    """A time that is not over yet is no reason to trust."""
    months.write(a="one")
    future = (months.now + 10 * MONTH).timestamp()
    os.utime(months.path("a"), (future, future))
    months.read()

    assert months.documents()["a"].signature == ""
    assert months.read().reused == 0


def test_another_extraction_version_reads_everything_anew(months: Months) -> None:
    """What another version took for the text is not taken over."""
    months.write(a="one")
    months.read()
    months.doctor(lambda d: replace(d, text=REMEMBERED, extraction="another"))

    summary = months.read()

    assert months.texts() == {"a": "one"}
    assert (counts(summary), summary.reused) == ({"unchanged": 1}, 0)


def test_more_documents_than_are_held_in_memory(months: Months) -> None:
    """Texts come from the right row group, also if files have come and gone in between."""
    names = [f"n{n:04}" for n in range(2500)]
    months.write(**{name: f"text of {name}" for name in names})
    months.read()
    for name in names[10::500]:
        months.path(name).unlink()
    months.write(a="first", z="last")

    summary = months.read()

    assert counts(summary) == {"added": 2, "unchanged": 2495, "removed": 5}
    assert summary.reused == 2495
    left = {name: f"text of {name}" for name in names if name not in names[10::500]}
    assert months.texts() == {"a": "first", **left, "z": "last"}


# --- Which snapshot is the previous one -----------------------------------------------------------


def test_the_previous_snapshot_is_the_one_begun_last(months: Months) -> None:
    """A month that was reindexed again counts, whatever the others are called."""
    months.write(a="one")
    months.read()
    january, begun_first = months.newest, months.newest.read_bytes()
    months.read()
    months.doctor(another_content)
    months.newest.rename(january)
    months.newest.write_bytes(begun_first)

    months.read()

    assert months.texts() == {"a": REMEMBERED}


@pytest.mark.parametrize("name", ["notes.parquet", "2026-1.parquet", ".2026-01.parquet.1.partial"])
def test_other_files_are_no_snapshots(months: Months, name: str) -> None:
    """Only what is called like a month is one."""
    months.write(a="one")
    months.read()
    months.newest.rename(months.snapshots / name)

    assert counts(months.read()) == {"added": 1}


def _not_parquet(path: Path) -> None:
    path.write_bytes(b"PAR1 no parquet")


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _foreign(path: Path) -> None:
    pq.write_table(pa.table({"uri": ["a"], "price": [3]}), path)


def _other_types(path: Path) -> None:
    table = pq.read_table(path)
    numbers = pa.array([3] * len(table))
    pq.write_table(table.set_column(table.column_names.index("sha256"), "sha256", numbers), path)


def _a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [_not_parquet, _cut_off, _foreign, _other_types, _a_directory])
def test_a_broken_snapshot_means_reading_everything(months: Months, harm: Any) -> None:
    """Without a sound one all documents are new; with an earlier one that is compared with."""
    months.write(a="one")
    months.read()
    harm(months.newest)

    assert (counts(months.read()), months.texts()) == ({"added": 1}, {"a": "one"})

    months.read()
    harm(months.newest)
    assert counts(months.read()) == {"unchanged": 1}


def test_damage_among_the_texts_is_found(months: Months) -> None:
    """A text that cannot be trusted any more is read from its file again."""
    months.write(a="one " * 1000, b="two " * 1000)
    months.read()
    _damage_texts(months.newest)

    months.read()

    assert months.texts() == {"a": "one " * 1000, "b": "two " * 1000}


def _damage_texts(path: Path) -> None:
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = (group.column(n) for n in range(group.num_columns))
    start = next(c.data_page_offset for c in columns if c.path_in_schema == "text")
    data = bytearray(path.read_bytes())
    data[start + 20 : start + 40] = bytes(20)
    path.write_bytes(data)


def test_a_snapshot_of_the_first_layout_is_still_compared_with(months: Months) -> None:
    """Everything is read again, and what changed is known all the same."""
    months.write(a="one", b="two")
    months.read()
    table = pq.read_table(months.newest)
    later = ["signature", "extraction", "blocks", "remark", "unreadable_since", "n_chars"]
    pq.write_table(table.drop_columns(later).replace_schema_metadata(None), months.newest)
    months.write(b="three")

    summary = months.read()

    assert (counts(summary), summary.reused) == ({"changed": 1, "unchanged": 1}, 0)


def test_what_a_snapshot_from_before_pages_has_is_kept(months: Months) -> None:
    """Its blocks have none; what changed is known, and what cannot be read now stands in."""
    months.write(a="one", b="two")
    months.read()
    _without_pages(months.newest)
    months.write(b="\0")

    summary = months.read()

    assert counts(summary) == {"unchanged": 1, "unreadable": 1}
    assert months.texts() == {"a": "one", "b": "two"}


def _without_pages(path: Path) -> None:
    """The layout that had no pages, addresses and metadata yet."""
    table = pq.read_table(path)
    blocks = table.schema.field("blocks").type
    earlier = pa.list_(pa.struct([field for field in blocks.value_type if field.name != "page"]))
    rows = [
        [{k: v for k, v in block.items() if k != "page"} for block in row]
        for row in table["blocks"].to_pylist()
    ]
    place = table.column_names.index("blocks")
    field = pa.field("blocks", earlier, nullable=False)
    table = table.set_column(place, field, pa.array(rows, earlier))
    table = table.drop_columns(["url", "metadata", "within"])
    pq.write_table(table, path)


# --- File systems elsewhere -----------------------------------------------------------------------


def test_a_remote_file_without_an_etag_is_read_every_time(tmp_path: Path) -> None:
    """What cannot be told without reading it is read."""
    path = UPath("memory://months/a.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"one")
    months = Months(docs=tmp_path, snapshots=tmp_path / "snapshots")

    def read() -> SnapshotSummary:
        months.n_read += 1
        with open_previous(months.snapshots) as previous:
            corpus = read_files(
                find_documents(["memory://months"]),
                previous,
                now=NOW,
                keep_for=MONTH,
                max_bytes=MAX_FILE_BYTES,
            )
            return write_snapshot(months.newest, corpus, now=NOW, earlier=previous.known)

    assert counts(read()) == {"added": 1}
    assert (counts(again := read()), again.reused) == ({"unchanged": 1}, 0)
    path.write_bytes(b"two")
    assert counts(read()) == {"changed": 1}


@dataclass
class ObjectInStore:
    """What fsspec tells of an object, and nothing else: reading it would fail."""

    info: Mapping[str, Any]

    def stat(self) -> Any:
        from upath._stat import UPathStatResult

        return UPathStatResult.from_info({"type": "file", "size": 3, **self.info})


@pytest.mark.parametrize(
    ("info", "signature"),
    [
        ({"ETag": '"abc"'}, 'etag "abc"'),
        ({"etag": "abc"}, "etag abc"),
        ({"e_tag": "abc"}, "etag abc"),
        ({"E-Tag": "abc"}, "etag abc"),
        ({"ETag": 'W/"abc"'}, ""),
        ({"ETag": None}, ""),
        ({"ETag": ""}, ""),
        ({}, ""),
    ],
)
def test_a_remote_file_is_known_by_its_etag(info: dict[str, Any], signature: str) -> None:
    """However a store spells it; a weak one says too little."""
    path: Any = ObjectInStore(info)
    source = SourceFile(uri="s3://b/a.md", path=path, media_type="text/markdown")

    assert look_at(source, now=NOW, max_bytes=MAX_FILE_BYTES).signature == signature


# --- What cannot be read --------------------------------------------------------------------------


def test_an_unreadable_file_keeps_its_last_good_version(months: Months) -> None:
    """Its text stays, with the reason, which version it is and how long it is kept."""
    months.write(a="# One\n\none", b="two")
    months.read()
    good = months.documents()["a"]
    months.spoil("a")

    summary = months.read()

    kept = months.documents()["a"]
    until = months.now + months.keep_for
    assert kept == replace(
        good,
        signature="",
        unreadable_since=months.now,
        error_message=f"{NO_TEXT}; its version of {good.modified_at:%Y-%m-%d} is kept until "
        f"{until:%Y-%m-%d}",
    )
    assert (kept.is_kept, kept.is_usable) == (True, True)
    assert (summary.documents, summary.readable, summary.kept, summary.failed) == (2, 1, 1, 0)
    assert counts(summary) == {"unreadable": 1, "unchanged": 1}


def test_an_emptied_file_keeps_its_last_good_version(months: Months) -> None:
    """Half a save is not a deletion."""
    months.write(a="one")
    months.read()
    months.write(a="")

    months.read()

    kept = months.documents()["a"]
    assert (kept.text, str(kept.error_message).partition(";")[0]) == ("one", "the file is empty")


def test_a_file_that_vanishes_while_it_is_read_is_kept_once(months: Months) -> None:
    """Found and gone a moment later it stays this month; not found next month it is removed."""
    months.write(a="one")
    months.read()
    found = list(find_documents([str(months.docs)]))
    months.path("a").unlink()
    with open_previous(months.snapshots) as previous:
        (document,) = read_files(
            found, previous, now=months.now, keep_for=MONTH, max_bytes=MAX_FILE_BYTES
        )

    assert document.is_kept
    assert counts(months.read()) == {"removed": 1}


def test_the_first_month_without_it_is_remembered(months: Months) -> None:
    """As long as it is kept the message names the same day, whatever is wrong by then."""
    months.write(a="one")
    months.read()
    months.spoil("a")
    months.read()
    since = months.now
    months.read()
    months.write(a="")
    months.read(after=timedelta(days=29))

    kept = months.documents()["a"]
    assert (kept.text, kept.unreadable_since) == ("one", since)
    assert str(kept.error_message).startswith("the file is empty; its version of ")
    assert str(kept.error_message).endswith(f" is kept until {since + months.keep_for:%Y-%m-%d}")


def test_it_is_not_kept_for_ever(months: Months) -> None:
    """At the configured age it is a document without a text, and stays one."""
    months.write(a="one")
    months.read()
    months.spoil("a")
    months.read()
    since = months.now
    months.read(after=months.keep_for)

    for _ in range(2):
        dropped = months.documents()["a"]
        assert (dropped.text, dropped.error_message) == ("", NO_TEXT)
        assert dropped.unreadable_since == since
        assert not dropped.is_usable
        summary = months.read()
        assert (summary.kept, summary.failed) == (0, 1)


def test_nothing_is_kept_if_nobody_wants_it(months: Months) -> None:
    """With an age of 0 an unreadable file has no text at once."""
    months.keep_for = timedelta(0)
    months.write(a="one")
    months.read()
    months.spoil("a")

    assert (months.read().failed, months.texts()) == (1, {"a": ""})


def test_what_never_was_good_is_not_kept(months: Months) -> None:
    """Without a good version there is nothing to keep, and since when is known."""
    months.write(a="\0")
    months.read()
    since = months.now
    summary = months.read()

    bad = months.documents()["a"]
    assert (summary.failed, bad.error_message, bad.unreadable_since) == (1, NO_TEXT, since)


@pytest.mark.parametrize(("text", "kind"), [("one", "unchanged"), ("two", "changed")])
def test_a_file_that_recovers_is_an_ordinary_document(months: Months, text: str, kind: str) -> None:
    """With its old content or with a new one, nothing reminds of the months in between."""
    months.write(a="one")
    months.read()
    months.spoil("a")
    months.read()
    months.write(a=text)

    summary = months.read()

    document = months.documents()["a"]
    assert (document.text, document.error_message, document.unreadable_since) == (text, None, None)
    assert (counts(summary), summary.reused) == ({kind: 1}, 0)
    assert months.read().reused == 1
    months.spoil("a")
    months.read()
    assert months.documents()["a"].unreadable_since == months.now


def test_a_kept_version_says_which_extraction_made_it(months: Months) -> None:
    """It outlives a new version of the extraction, and is extracted anew when it recovers."""
    months.write(a="one")
    months.read()
    months.doctor(lambda d: replace(d, text=REMEMBERED, extraction="another"))
    months.spoil("a")
    months.read()

    kept = months.documents()["a"]
    assert (kept.text, kept.extraction) == (REMEMBERED, "another")

    months.write(a="one")
    months.read()
    good = months.documents()["a"]
    assert (good.text, good.extraction) == ("one", str(EXTRACTION_VERSION))


def test_a_version_without_a_date_is_kept_without_one(months: Months) -> None:
    """Where a file system knows no times, nobody is told of 1970."""
    months.write(a="one")
    months.read()
    epoch = months.now.fromtimestamp(0, UTC)
    months.doctor(lambda document: replace(document, modified_at=epoch))
    months.spoil("a")
    months.read()

    assert "; its last good version is kept until " in str(months.documents()["a"].error_message)


# --- What becomes of documents --------------------------------------------------------------------


def test_people_move_copy_and_revert(months: Months) -> None:
    """Every month's report says what was done to the files since the one before."""
    months.write(a="one", b="two", dir__c="three", dir__d="four")
    months.read()

    months.path("a").rename(months.path("moved"))
    assert counts(months.read()) == {"moved": 1, "unchanged": 3}

    shutil.copy2(months.path("b"), months.path("copy"))
    assert counts(months.read()) == {"added": 1, "unchanged": 4}

    (months.docs / "dir").rename(months.docs / "renamed")
    assert counts(months.read()) == {"moved": 2, "unchanged": 3}

    months.write(b="changed")
    assert counts(months.read()) == {"changed": 1, "unchanged": 4}
    months.write(b="two")
    assert counts(months.read()) == {"changed": 1, "unchanged": 4}

    months.write(renamed__c="four", renamed__d="three")
    assert counts(months.read()) == {"changed": 2, "unchanged": 3}
    assert months.texts() == {
        **{"b": "two", "copy": "two", "moved": "one"},
        **{"renamed/c": "four", "renamed/d": "three"},
    }


def test_nothing_is_known_without_a_snapshot() -> None:
    """An empty one knows no document."""
    assert Previous().known == {}


# --- Settings -------------------------------------------------------------------------------------


def test_a_selector_that_is_none_stops_reading_before_it_begins(tmp_path: Path) -> None:
    """It is said once, with the selector, and is no document's error."""
    corpus = Corpus(paths=(str(tmp_path),), html_drop=("p", "div[[a"))

    with pytest.raises(SettingsError, match=r"corpus.html_drop: 'div\[\[a' is no CSS selector"):
        read_documents(Settings(corpus=corpus), Previous(), now=NOW)


def test_other_selectors_read_pages_anew(tmp_path: Path) -> None:
    """A page that did not change comes out differently; other files are taken over."""
    docs, path = tmp_path / "docs", tmp_path / "2026-11.parquet"
    write_corpus(docs, {"a.html": "<main>Text <b>ad</b></main>", "b.md": "Text"})

    def read(*drop: str) -> tuple[list[str], int]:
        settings = Settings(corpus=Corpus(paths=(str(docs),), html_drop=drop))
        with open_previous(tmp_path) as previous:
            documents = read_documents(settings, previous, now=NOW + MONTH)
            n_reused = write_snapshot(path, documents, now=NOW, earlier=previous.known).reused
        return [document.text for document in read_snapshot(path)], n_reused

    assert read() == (["Text ad", "Text"], 0)
    assert read("b") == (["Text", "Text"], 1)
    assert read("b") == (["Text", "Text"], 2)


def test_copies_of_sources_are_left_out_by_default(tmp_path: Path) -> None:
    """The output of Sphinx has each page twice; a list of one's own takes the default's place."""
    pages = {"a.html": "<p>Text</p>", "genindex.html": "<p>Text</p>", "_sources/a.rst.txt": "Text"}
    write_corpus(tmp_path, pages)

    def names(corpus: Corpus) -> list[str]:
        documents = read_documents(Settings(corpus=corpus), Previous(), now=NOW)
        return [document.uri.removeprefix(f"{tmp_path}/") for document in documents]

    assert names(Corpus(paths=(str(tmp_path),))) == ["a.html"]
    assert names(Corpus(paths=(str(tmp_path),), exclude=())) == sorted(pages)


def test_a_file_that_is_named_is_read_whatever_its_kind(tmp_path: Path) -> None:
    """Source code is not wanted by default, but this is."""
    write_corpus(tmp_path, {"tool.py": "print()", "other.py": "print()"})
    corpus = Corpus(paths=(str(tmp_path / "tool.py"), str(tmp_path)))

    (document,) = read_documents(Settings(corpus=corpus), Previous(), now=NOW)

    assert document.uri == f"{tmp_path}/tool.py"


def test_an_extra_that_is_gone_stops_the_month(tmp_path: Path) -> None:
    """What was read with it last time would else count as removed."""
    write_snapshot(tmp_path / "2026-11.parquet", [a_document(uri="a.pdf")], now=NOW)
    files = Enumeration()
    with open_previous(tmp_path) as previous:
        leave_out = partial(left_out, previous=previous, census=files)
        leave_out(LeftOut(uri="a.pdf", outcome=Outcome.EXCLUDED))
        leave_out(LeftOut(uri="new.pdf", outcome=Outcome.NOT_INSTALLED))
        with pytest.raises(
            CorpusError, match=r"^'a.pdf' was read last time, and is of a kind that"
        ):
            leave_out(LeftOut(uri="a.pdf", outcome=Outcome.NOT_INSTALLED))

    assert files.census.n_files == 2


# --- Several processes ----------------------------------------------------------------------------


def read_pages(
    folder: Path, n_processes: int, sources: Iterator[SourceFile] | None = None
) -> Iterator[Document]:
    return read_files(
        sources or find_documents([str(folder)]),
        Previous(),
        now=NOW,
        keep_for=timedelta(0),
        max_bytes=MAX_FILE_BYTES,
        n_processes=n_processes,
    )


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Pages, texts and broken files in turn; the first ones take longest."""
    for n in range(30):
        (tmp_path / f"{n:02}.html").write_text(f"<p>page {n}</p>" * (2000 if n < 3 else 1))
        (tmp_path / f"{n:02}.md").write_text(f"text {n}")
        (tmp_path / f"{n:02}.txt").write_bytes(b"\0\1")
    return tmp_path


def test_several_processes_read_the_same_in_the_same_order(pages: Path) -> None:
    """Whichever is done first."""
    assert list(read_pages(pages, 4)) == list(read_pages(pages, 1))


def test_whoever_stops_reading_leaves_no_process_behind(pages: Path) -> None:
    """Those that are reading ahead are ended, and what they read is forgotten."""
    before = children()
    with closing(cast("Generator[Document]", read_pages(pages, 3))) as documents:
        next(documents)
        assert len(children() - before) >= 1

    assert children() == before


def test_a_corpus_path_that_fails_later_ends_the_readers(pages: Path) -> None:
    """What was read before is yielded; then it is said, and no process is left."""
    before = children()

    def failing() -> Iterator[SourceFile]:
        yield from find_documents([str(pages / "0*.html")])
        raise CorpusError("there is no more")

    with pytest.raises(CorpusError, match="no more"):
        list(read_pages(pages, 2, failing()))

    assert children() == before
