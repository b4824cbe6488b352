"""Files in files: each is a document of its own, and what holds them is looked at as one."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from embedding_assets.clock import utc_now
from embedding_assets.corpus.census import Enumeration, LeftOutError, Outcome
from embedding_assets.corpus.documents import MAX_DEPTH, Document, read_file
from embedding_assets.corpus.files import read_files
from embedding_assets.corpus.find import SourceFile
from embedding_assets.corpus.formats.extracted import Extracted, Member
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.corpus.formats.plain import read_plain
from embedding_assets.corpus.snapshots import open_previous, read_snapshot, write_snapshot
from embedding_assets.errors import DocumentError
from tests.factories import MAX_FILE_BYTES, NOW


class Boxes(Extraction):
    """Reads ``{"text": …, "files": {name: …}}``; what is no object is the text itself."""

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
        if data == b"broken":
            raise DocumentError("it is broken")
        box: Any = json.loads(data) if data.startswith(b"{") else {"text": data.decode()}
        members = tuple(
            Member(
                name=name,
                media_type="text/markdown" if name == "b" else "",
                data=(content if isinstance(content, str) else json.dumps(content)).encode(),
            )
            for name, content in box.get("files", {}).items()
        )
        return replace(read_plain(box.get("text", "")), title=fallback_title, members=members)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "box.txt"


def read(
    box: Path, text: str = "", *, reader: Extraction | None = None, **files: object
) -> list[Document]:
    """Write and read a box; a name's last ``_`` is a dot."""
    names = {".".join(name.rsplit("_", 1)): content for name, content in files.items()}
    box.write_text(json.dumps({"text": text, "files": names}))
    source = SourceFile(uri="box.txt", path=UPath(box), media_type="text/plain")
    return read_file(source, now=NOW, max_bytes=MAX_FILE_BYTES, reader=reader or Boxes())


def test_a_file_and_those_in_it_are_documents(box: Path) -> None:
    """Named as if the file were a directory, each with its own bytes, the moment of the file."""
    own, a, b = read(box, "Hello", a_md="Text of a", b="Text of b")

    assert (own.uri, own.text, own.within) == ("box.txt", "Hello", "")
    assert (a.uri, a.title, a.text, a.within) == ("box.txt/a.md", "a", "Text of a", "box.txt")
    assert (b.uri, b.media_type) == ("box.txt/b", "text/markdown")
    assert {own.modified_at, a.modified_at} == {b.modified_at}
    assert len({own.sha256, a.sha256, b.sha256}) == 3


def test_a_file_of_nothing_but_files_has_no_document_of_its_own(box: Path) -> None:
    """A mailbox has mails, and no text."""
    assert [document.uri for document in read(box, a_md="Text")] == ["box.txt/a.md"]


def test_what_is_not_read_is_said(box: Path) -> None:
    """On the document that has it; without one of its own that is what is wrong with it."""
    own, _ = read(box, "Hello", photo_png="x", photo_jpg="x", a_md="Text")
    assert own.remark == "2 files in it left out, of kinds that are not read"

    (document,) = read(box, photo_png="x")
    assert document.error_message == (
        "there is no text in it; 1 file in it left out, of kinds that are not read"
    )


class Bare(Boxes):
    """Of an installation without the extra."""

    def reason_against(self, media_type: str) -> Outcome | None:
        is_pdf = media_type == "application/pdf"
        return Outcome.NOT_INSTALLED if is_pdf else super().reason_against(media_type)


def test_what_needs_an_extra_says_so(box: Path) -> None:
    """In another file, and where the content tells what it is."""
    own, _ = read(box, "Hello", reader=Bare(), a_pdf="x", a_png="x", a_md="Text")
    assert own.remark == (
        "1 file in it left out, of kinds that are not read; "
        "1 file in it left out, of a kind that needs `pip install 'embedding-assets[documents]'`"
    )

    source = SourceFile(uri="box", path=UPath(box), media_type="")
    box.write_bytes(b"%PDF-1.7")
    with pytest.raises(LeftOutError) as caught:
        read_file(source, now=NOW, max_bytes=MAX_FILE_BYTES, reader=Bare())
    assert caught.value.outcome is Outcome.NOT_INSTALLED


def test_a_broken_file_in_a_file_hurts_only_itself(box: Path) -> None:
    """It is listed with what is wrong, and the others are read."""
    documents = read(box, "Hello", a_md="broken", b_md="Text")

    assert [(d.uri, d.error_message) for d in documents] == [
        ("box.txt", None),
        ("box.txt/a.md", "it is broken"),
        ("box.txt/b.md", None),
    ]


def test_files_in_files_end_somewhere(box: Path) -> None:
    """Below a few levels they are left out, and it is said."""
    nested: object = "Text"
    for _ in range(MAX_DEPTH + 2):
        nested = {"text": "Hello", "files": {"x.txt": nested}}

    documents = read(box, "Hello", x_txt=nested)

    assert [document.uri.count("/") for document in documents] == [*range(MAX_DEPTH + 1)]
    assert documents[-1].remark == "1 file in it left out, in too many files in files"


# --- From month to month --------------------------------------------------------------------------


class Months:
    """Snapshots of one box."""

    def __init__(self, box: Path, folder: Path) -> None:
        self.box, self.folder, self.n = box, folder, 0

    def read(self) -> list[Document]:
        self.n += 1
        now = utc_now() + timedelta(days=self.n)
        path = self.folder / f"2026-{self.n:02}.parquet"
        with open_previous(self.folder) as previous:
            self.files = Enumeration()
            documents = read_files(
                self._sources(),
                previous,
                now=now,
                keep_for=timedelta(days=90),
                max_bytes=MAX_FILE_BYTES,
                census=self.files,
            )
            self.summary = write_snapshot(path, documents, now=now, earlier=previous.known)
        return list(read_snapshot(path))

    def _sources(self) -> Iterator[SourceFile]:
        yield SourceFile(uri="box.eml", path=UPath(self.box), media_type="message/rfc822")


MAIL = """From: ada@example.org
Subject: Minutes
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain

See the file.
--x
Content-Type: text/markdown
Content-Disposition: attachment; filename=minutes.md

{minutes}
--x--
"""


@pytest.fixture
def months(tmp_path: Path) -> Months:
    return Months(tmp_path / "box.eml", tmp_path)


def test_an_unchanged_file_is_taken_over_with_those_in_it(months: Months) -> None:
    """It is not opened: nothing of another content is seen while it looks the same."""
    months.box.write_text(MAIL.format(minutes="We met."))
    first = months.read()
    looks = months.box.stat()

    assert months.read() == first
    assert months.summary.reused == 2

    months.box.write_text(MAIL.format(minutes="We did."))
    os.utime(months.box, ns=(looks.st_atime_ns, looks.st_mtime_ns))
    assert [d.text for d in months.read()] == ["See the file.", "We did."]
    assert months.summary.changes.counts["changed"] == 2


def test_what_was_in_a_file_that_cannot_be_read_now_is_kept(months: Months) -> None:
    """All of its documents stand in, each with what is wrong."""
    months.box.write_text(MAIL.format(minutes="We met."))
    months.read()
    months.box.write_bytes(b"")

    documents = months.read()

    assert [(d.uri, d.text, d.is_kept) for d in documents] == [
        ("box.eml", "See the file.", True),
        ("box.eml/minutes.md", "We met.", True),
    ]
    assert months.files.census.counts == {Outcome.UNREADABLE: 1}


def test_a_file_that_is_taken_out_is_gone(months: Months) -> None:
    """An attachment that was removed is no document any more."""
    months.box.write_text(MAIL.format(minutes="We met."))
    months.read()
    months.box.write_text("Subject: Minutes\n\nSee the file.")

    assert [document.uri for document in months.read()] == ["box.eml"]
    assert months.summary.changes.counts["removed"] == 1
