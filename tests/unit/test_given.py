"""Documents that are no files: what may be given, and what is read of it from month to month."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embedding_assets import SourceDocument
from embedding_assets.corpus.census import Outcome
from embedding_assets.corpus.documents import Document
from embedding_assets.corpus.formats.confined import ConfinedReader
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.corpus.given import Refused, read_given
from embedding_assets.corpus.snapshots import (
    Previous,
    SnapshotSummary,
    open_previous,
    read_snapshot,
    write_snapshot,
)
from tests.factories import NOW
from tests.months import MONTH

NOTHING = Previous()
PAGE = "<html><head><title>Found</title></head><body><main><p>Grüße</p></main></body></html>"


@dataclass(slots=True)
class Counting:
    """Reads as an extraction does, and remembers what."""

    extraction: Extraction = Extraction()  # noqa: RUF009 -- it is frozen
    texts: list[str] = field(default_factory=list)

    def reason_against(self, media_type: str) -> Outcome | None:
        return self.extraction.reason_against(media_type)

    def fingerprint_of(self, media_type: str) -> str:
        return self.extraction.fingerprint_of(media_type)

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
        extracted = self.extraction.extract(data, media_type, fallback_title=fallback_title)
        self.texts.append(extracted.text)
        return extracted


@dataclass(frozen=True, slots=True)
class Finding:
    """Finds this metadata in everything."""

    metadata: dict[str, object]

    def reason_against(self, media_type: str) -> Outcome | None:
        return None

    def fingerprint_of(self, media_type: str) -> str:
        return ""

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
        extracted = Extraction().extract(data, media_type, fallback_title=fallback_title)
        return replace(extracted, metadata=self.metadata)


@dataclass(slots=True, kw_only=True)
class Giving:
    """Every ``read`` is another month's."""

    path: Path
    now: datetime = NOW
    extracted: list[str] = field(default_factory=list)  # in the last month

    def read(self, *given: SourceDocument | Refused, max_bytes: int = 1_000_000) -> SnapshotSummary:
        self.now += MONTH
        reader = Counting()
        with open_previous(self.path.parent) as previous:
            documents = read_given(
                given,
                previous,
                now=self.now,
                keep_for=timedelta(days=90),
                max_bytes=max_bytes,
                reader=reader,
            )
            summary = write_snapshot(self.path, documents, now=self.now, earlier=previous.known)
        self.extracted = reader.texts
        return summary

    def documents(self) -> dict[str, Document]:
        return {document.uri: document for document in read_snapshot(self.path)}

    def the_document(self) -> Document:
        (document,) = self.documents().values()
        return document


@pytest.fixture
def giving(tmp_path: Path) -> Giving:
    """Nothing has been given yet."""
    return Giving(path=tmp_path / "2026-11.parquet")


def counts(summary: SnapshotSummary) -> dict[str, int]:
    return {kind: n for kind, n in summary.changes.counts.items() if n}


# --- what may be given ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "document 'a' must have either text or data"),
        ({"text": "", "data": b""}, "document 'a' must have either text or data"),
        ({"text": "x", "id": " "}, "the id of a document must be one line of at most 1,000 charac"),
        ({"text": "x", "id": "a\nb"}, r"not 'a\nb'"),
        ({"text": "x", "id": "a\0"}, r"not 'a\x00'"),
        ({"text": "x", "id": "\udc80"}, r"not '\udc80'"),
        ({"text": "x", "id": "a" * 1001}, f"not '{'a' * 100}'"),
        ({"text": "x", "id": 4711}, "id of document 4711 must be str, not int"),
        ({"text": b"x"}, "text of document 'a' must be str | None, not bytes"),
        ({"data": "x"}, "data of document 'a' must be bytes | None, not str"),
        ({"text": "x", "title": None}, "title of document 'a' must be str, not NoneType"),
        ({"text": "x", "media_type": None}, "media_type of document 'a' must be str, not NoneType"),
        ({"text": "x", "version": 3}, "version of document 'a' must be str, not int"),
        ({"text": "x", "metadata": ["a"]}, "metadata of document 'a' must be Mapping, not list"),
        (
            {"text": "x", "metadata": {1: 2}},
            "the names in the metadata of document 'a' must be str",
        ),
        ({"text": "x", "url": "/wiki/a"}, "the url of document 'a' must begin with http(s)://host"),
        ({"text": "x", "url": "file:///a"}, "not 'file:///a'"),
        ({"text": "x", "url": "https://a\n"}, "url of document 'a' must be text in one line"),
        ({"text": "x", "version": "\ud800"}, "version of document 'a' must be text in one line"),
        ({"text": "x", "media_type": "\0"}, "media_type of document 'a' must be text in one line"),
        ({"text": "x", "url": "https:///a"}, "not 'https:///a'"),
        ({"text": "x", "url": "https://[a"}, "not 'https://[a'"),
    ],
)
def test_what_cannot_be_a_document_is_refused_at_once(values: dict[str, Any], message: str) -> None:
    """In one sentence that names the document."""
    with pytest.raises((TypeError, ValueError)) as caught:
        SourceDocument(**{"id": "a", **values})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- what becomes of it ---------------------------------------------------------------------------


def test_a_text_becomes_a_document(giving: Giving) -> None:
    """All that is said of it is kept with it."""
    giving.read(
        SourceDocument(
            id="wiki/Start 数",
            text="# Start\n\nHere.",
            media_type="text/markdown",
            url="https://wiki.example/Start",
            metadata={"space": "IT", "tags": ["a", "b"], "at": NOW.date(), "nothing": None},
            version="7",
        )
    )

    document = giving.the_document()
    assert (document.uri, document.title, document.text) == (
        "wiki/Start 数",
        "Start",
        "# Start\n\nHere.",
    )
    assert (document.url, document.media_type) == ("https://wiki.example/Start", "text/markdown")
    assert json.loads(document.metadata) == {
        "at": "2026-11-23",
        "space": "IT",
        "tags": ["a", "b"],
    }
    assert (document.signature, len(document.blocks)) == ("version 7", 2)


def test_what_is_given_wins_over_what_is_found() -> None:
    """A title and metadata; what is found beside them is kept."""
    given = SourceDocument(
        id="a",
        text="# Heading\n\nText",
        media_type="text/markdown",
        title="Given",
        metadata={"author": "Grace", "team": "A"},
    )
    reader = Finding({"author": "Ada", "language": "en"})

    (document,) = read_given(
        [given], NOTHING, now=NOW, keep_for=MONTH, max_bytes=1000, reader=reader
    )

    assert document.title == "Given"
    assert json.loads(document.metadata) == {"author": "Grace", "language": "en", "team": "A"}


def test_a_document_without_a_title_is_called_by_its_id(giving: Giving) -> None:
    """As a file is by its name."""
    giving.read(SourceDocument(id="tickets/4711", text="No heading."))
    assert giving.the_document().title == "tickets/4711"


@pytest.mark.parametrize(
    "content",
    [
        {"data": PAGE.encode()},
        {"data": PAGE.encode("utf-16")},
        {"text": PAGE},
        {"text": PAGE.replace("<head>", '<head><meta charset="latin-1">')},
    ],
)
def test_bytes_and_text_of_a_page_are_read_alike(giving: Giving, content: dict[str, Any]) -> None:
    """A text has no encoding, whatever it says of itself; a media type may have parameters."""
    giving.read(SourceDocument(id="a", media_type="Text/HTML; charset=utf-8", **content))
    document = giving.the_document()
    assert (document.title, document.text, document.media_type) == ("Found", "Grüße", "text/html")


def test_any_text_can_be_kept(giving: Giving) -> None:
    """NUL and lone surrogates have no place in UTF-8 files and databases."""
    giving.read(
        SourceDocument(
            id="a",
            text="one\0 two \ud800 🦓",
            title="t\udfff",
            metadata={"n\ud800": "v\ud800"},
        )
    )
    document = giving.the_document()
    assert document.text == "one two \N{REPLACEMENT CHARACTER} 🦓"
    assert document.title == "t\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (SourceDocument(id="a", text=" \n"), "there is no text in it, only whitespace"),
        (SourceDocument(id="a", data=b""), "the file is empty"),
        (
            SourceDocument(id="a", data=b"x", media_type="image/png"),
            "its media type 'image/png' is none that is read",
        ),
        (
            SourceDocument(id="a", text="x" * 1000),
            "it has 1,003 bytes, more than the 1,000 that are read; split it, or raise "
            "corpus.max_file_mb",
        ),
        (Refused(id="a", reason="it has no id"), "it has no id"),
    ],
)
def test_what_cannot_be_read_has_an_error_and_the_others_go_on(
    giving: Giving, given: SourceDocument | Refused, message: str
) -> None:
    """Nothing of it is content."""
    summary = giving.read(given, SourceDocument(id="b", text="Text"), max_bytes=1000)

    bad = giving.documents()["a"]
    assert (bad.error_message, bad.text, bad.unreadable_since) == (message, "", giving.now)
    assert (summary.readable, summary.failed, summary.documents) == (1, 1, 2)


# --- from month to month --------------------------------------------------------------------------


def test_an_unchanged_document_is_not_extracted_again(giving: Giving) -> None:
    """Its content is compared, and another one beside it does not matter."""
    a, b = SourceDocument(id="a", text="one"), SourceDocument(id="b", text="two")
    giving.read(a, b)
    assert giving.extracted == ["one", "two"]

    summary = giving.read(SourceDocument(id="b", text="three"), a)

    assert giving.extracted == ["three"]
    assert counts(summary) == {"changed": 1, "unchanged": 1}


def test_a_version_is_believed(giving: Giving) -> None:
    """With the version of last month the content is not looked at."""
    giving.read(SourceDocument(id="a", text="one", version="1"))

    summary = giving.read(SourceDocument(id="a", text="two", version="1"))
    assert (giving.the_document().text, summary.reused) == ("one", 1)

    giving.read(SourceDocument(id="a", text="two", version="2"))
    assert giving.the_document().text == "two"

    giving.read(SourceDocument(id="a", text="three"))
    assert giving.the_document().text == "three"


def test_texts_in_quite_another_order_are_read(giving: Giving) -> None:
    """What becomes of them is the same; each would open another part of the snapshot."""
    texts = [SourceDocument(id=f"{n}", text=f"text {n}", version="1") for n in range(500)]
    shuffled = [*reversed(texts[200:]), *texts[:200]]
    giving.read(*texts)
    before = giving.documents()

    summary = giving.read(*shuffled)

    assert giving.extracted == ["text 499", "text 0"]
    assert counts(summary) == {"unchanged": 500}
    assert giving.documents() == before


def test_another_version_of_the_same_content_is_not_extracted(giving: Giving) -> None:
    """It is remembered under its new version."""
    giving.read(SourceDocument(id="a", text="one", version="1"))

    giving.read(SourceDocument(id="a", text="one", version="2"))

    assert (giving.extracted, giving.the_document().signature) == ([], "version 2")


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Another"},
        {"url": "https://example.com/b"},
        {"metadata": {"team": "B"}},
        {"media_type": "text/markdown"},
    ],
)
def test_what_is_said_of_a_document_is_content(giving: Giving, change: dict[str, Any]) -> None:
    """With other metadata it is another version of the document."""
    giving.read(SourceDocument(id="a", text="one", metadata={"team": "A"}))
    before = giving.the_document()

    summary = giving.read(
        SourceDocument(**{"id": "a", "text": "one", "metadata": {"team": "A"}, **change})
    )

    assert counts(summary) == {"changed": 1}
    assert giving.the_document().sha256 != before.sha256
    assert giving.the_document().text == before.text


def test_a_set_in_the_metadata_has_an_order(giving: Giving) -> None:
    """It must not be another version in every process."""
    giving.read(SourceDocument(id="a", text="one", metadata={"tags": {"c", "a", "b"}}))
    assert json.loads(giving.the_document().metadata) == {"tags": ["a", "b", "c"]}


def test_the_last_good_version_is_kept_for_a_while(giving: Giving) -> None:
    """As of a file that cannot be read, and until it can be read again."""
    good = SourceDocument(id="a", text="good", version="1")
    bad = SourceDocument(id="a", text="", version="2")
    giving.read(good)

    summary = giving.read(bad)
    kept = giving.the_document()
    assert (summary.kept, kept.text, kept.signature) == (1, "good", "")
    assert kept.error_message is not None
    assert "its last good version is kept until" in kept.error_message

    giving.read(good)
    again = giving.the_document()
    assert (again.error_message, again.unreadable_since, again.text) == (None, None, "good")
    assert (giving.extracted, again.signature) == ([], "version 1")

    giving.read(bad)
    giving.now += timedelta(days=90)
    assert giving.read(bad).failed == 1
    assert giving.the_document().text == ""


def test_a_row_that_is_refused_keeps_its_last_good_version(giving: Giving) -> None:
    """Whoever refuses it."""
    giving.read(SourceDocument(id="a", text="good"))
    assert giving.read(Refused(id="a", reason="it has no text")).kept == 1


def test_another_address_is_another_version(giving: Giving) -> None:
    """Whatever its version says: the index writes a document that it knows no second time."""
    giving.read(SourceDocument(id="a", text="one", version="1", url="https://old.example/a"))
    before = giving.the_document()

    giving.read(SourceDocument(id="a", text="one", version="1", url="https://new.example/a"))

    after = giving.the_document()
    assert (after.url, after.signature) == ("https://new.example/a", "version 1")
    assert after.sha256 != before.sha256


# --- files in what is given -----------------------------------------------------------------------

MAIL = b"""Subject: Minutes
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain

See the file.
--x
Content-Type: text/markdown
Content-Disposition: attachment; filename=minutes.md

We met.
--x--
"""
MAILBOX = b"From ada@example.org Mon Nov 30 10:00:00 2026\nMessage-ID: <1@x>\n\nHello.\n"


@pytest.mark.parametrize("version", ["", "1"])
def test_the_files_in_a_mail_are_documents_as_ever(giving: Giving, version: str) -> None:
    """With its address; unchanged they are taken over with it, and kept with it if it is broken."""
    mail = SourceDocument(
        id="ticket/7",
        data=MAIL,
        media_type="message/rfc822",
        title="Ticket 7",
        url="https://tickets.example/7",
        metadata={"team": "A"},
        version=version,
    )
    giving.read(mail)
    first = giving.documents()

    own, attached = first.values()
    assert (own.title, own.text, own.url) == ("Ticket 7", "See the file.", mail.url)
    assert (attached.uri, attached.text) == ("ticket/7/minutes.md", "We met.")
    assert (attached.title, attached.url, attached.within) == ("minutes", mail.url, "ticket/7")
    assert json.loads(attached.metadata) == {}

    giving.read(mail)
    assert (giving.extracted, giving.documents()) == ([], first)

    summary = giving.read(replace(mail, data=b"", version=""))
    assert (summary.kept, summary.failed) == (2, 0)
    assert [each.text for each in giving.documents().values()] == ["See the file.", "We met."]


def test_a_mailbox_is_its_mails(giving: Giving) -> None:
    """It has no text of its own, and is no empty document."""
    mailbox = SourceDocument(id="list", data=MAILBOX, media_type="application/mbox", version="1")
    for _ in range(2):
        giving.read(mailbox)
        assert [(d.within, d.text) for d in giving.documents().values()] == [("list", "Hello.")]
    assert giving.extracted == []


def test_what_is_odd_is_read_in_a_child() -> None:
    """A page that nobody can read costs only itself."""
    given = [
        SourceDocument(id="deep", text="<b>" * 200_000, media_type="text/html"),
        SourceDocument(id="page", text=PAGE, media_type="text/html"),
    ]
    with ConfinedReader() as reader:
        deep, page = read_given(
            given, NOTHING, now=NOW, keep_for=MONTH, max_bytes=10_000_000, reader=reader
        )
    assert deep.error_message is not None
    assert page.text == "Grüße"
