"""Rows as documents: of every kind of file and of a query, odd cells, and tables that are none."""

import bz2
import gzip
import io
import json
import sqlite3
import tracemalloc
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_assets.corpus.given import Refused, SourceDocument
from embedding_assets.errors import CorpusError
from embedding_assets.pipeline.read import rows_of
from embedding_assets.redaction import redacted
from embedding_assets.settings.values import Table

PASSWORD = "p%40ss-word-4711"
ROWS: list[dict[str, Any]] = [
    {"id": "0047", "subject": "Printer", "body": "It burns.", "team": "IT"},
    {"id": "A-1", "subject": "Größe 数", "body": 'two\nlines, "quoted"; and\ttabbed', "team": ""},
    {"id": "9", "subject": "", "body": "NaN", "team": "null"},
]


def a_table(**changes: Any) -> Table:
    values = {"name": "tickets", "id": "id", "text": "body", **changes}
    return Table.model_validate(values)


def given(folder: Path, **changes: Any) -> list[SourceDocument | Refused]:
    return list(rows_of(a_table(**changes), folder))


def documents(folder: Path, **changes: Any) -> list[SourceDocument]:
    found = given(folder, **changes)
    assert all(isinstance(each, SourceDocument) for each in found), found
    return [each for each in found if isinstance(each, SourceDocument)]


def refused(folder: Path, **changes: Any) -> dict[str, str]:
    return {e.id: e.reason for e in given(folder, **changes) if isinstance(e, Refused)}


def refusal(folder: Path, **changes: Any) -> str:
    """What is said of a table that cannot be read: always one line."""
    with pytest.raises(CorpusError) as caught:
        given(folder, **changes)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("corpus table 'tickets'")
    return message


# --- where rows are -------------------------------------------------------------------------------


def as_csv(rows: Sequence[dict[str, Any]], separator: str = ",") -> str:
    def cell(value: object) -> str:
        return '"' + str(value).replace('"', '""') + '"'

    lines = [separator.join(rows[0])]
    lines += [separator.join(map(cell, row.values())) for row in rows]
    return "\r\n".join(lines) + "\r\n"


def as_json_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def as_database(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE tickets (id, subject, body, team)")
        marks = "INSERT INTO tickets VALUES (:id, :subject, :body, :team)"
        connection.executemany(marks, rows)
    return path


def as_parquet(rows: Sequence[dict[str, Any]], **options: int) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, **options)
    return file.getvalue()


FILES = {
    "t.csv": as_csv(ROWS).encode(),
    "marked.CSV": as_csv(ROWS).encode("utf-8-sig"),
    "semicolons.csv": as_csv(ROWS, ";").encode(),
    "t.tsv": as_csv(ROWS, "\t").encode(),
    "t.csv.gz": gzip.compress(as_csv(ROWS).encode()),
    "t.jsonl": as_json_lines(ROWS).encode(),
    "marked.jsonl": as_json_lines(ROWS).encode("utf-8-sig"),
    "t.ndjson.bz2": bz2.compress(as_json_lines(ROWS).encode()),
    "t.parquet": as_parquet(ROWS),
}
QUERY = {"database": "sqlite:///t.db", "query": "SELECT * FROM tickets"}
PLACES: dict[str, dict[str, str]] = {
    **{name: {"path": name} for name in FILES},
    "a query": QUERY,
    "a variable": {"database_env": "TICKETS_DATABASE", "query": QUERY["query"]},
}


@pytest.mark.parametrize("name", PLACES)
def test_a_row_is_a_document_wherever_it_is(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts stay texts: no number loses its zeros, and what looks like nothing is not nothing."""
    as_database(tmp_path / "t.db", ROWS)
    monkeypatch.setenv("TICKETS_DATABASE", f"sqlite:///{tmp_path}/t.db\n")
    if name in FILES:
        (tmp_path / name).write_bytes(FILES[name])

    found = documents(tmp_path, **PLACES[name], title="subject", metadata=["team"])

    assert [(d.id, d.title, d.text, d.metadata) for d in found] == [
        (f"tickets/{row['id']}", row["subject"], row["body"], {"team": row["team"]}) for row in ROWS
    ]
    assert {document.media_type for document in found} == {"text/plain"}


def test_a_table_may_be_anywhere_that_fsspec_knows() -> None:
    """By its URI."""
    import fsspec

    with fsspec.open("memory://elsewhere/t.csv", "wb") as file:
        file.write(as_csv(ROWS).encode())
    assert len(documents(Path("/nowhere"), path="memory://elsewhere/t.csv")) == 3


def test_a_column_without_a_name_is_nothing_that_was_asked_for(tmp_path: Path) -> None:
    """As programs write that number the rows: it is no title, no url, and above all no version."""
    (tmp_path / "t.csv").write_text(",id,body\n0,a,one\n1,b,two\n")
    (tmp_path / "t.jsonl").write_text('{"": 0, "id": "a", "body": "one"}\n')

    (a, b), (line,) = (documents(tmp_path, path=name) for name in ("t.csv", "t.jsonl"))

    assert {(d.title, d.url, d.version) for d in (a, b, line)} == {("", "", "")}


# --- what a row becomes ---------------------------------------------------------------------------


def test_cells_of_every_type_are_texts(tmp_path: Path) -> None:
    """Whole numbers stay whole beside empty cells, dates are ISO 8601, lists stay lists."""
    at = datetime(2026, 11, 3, 4, 5, tzinfo=UTC)
    rows = [
        {
            "id": 2**60 + 1,
            "body": "one",
            "n": 1,
            "x": 1.5,
            "whole": 4.0,
            "yes": True,
            "day": date(2026, 11, 3),
            "at": at,
            "price": Decimal("1.10"),
            "tags": ["a", "b"],
            "by": {"name": "Ada"},
            "raw": b"bytes",
        },
        {"id": 3, "body": "two", "x": float("nan"), "tags": []},
    ]
    columns = list(rows[0])[2:]
    (tmp_path / "t.parquet").write_bytes(as_parquet(rows))

    first, second = documents(tmp_path, path="t.parquet", metadata=columns)

    assert first.id == f"tickets/{2**60 + 1}"
    assert first.metadata == {
        "n": "1",
        "x": "1.5",
        "whole": "4",
        "yes": "true",
        "day": "2026-11-03",
        "at": "2026-11-03T04:05:00+00:00",
        "price": "1.10",
        "tags": ["a", "b"],
        "by": {"name": "Ada"},
        "raw": "bytes",
    }
    assert {**second.metadata, "by": None} == {**dict.fromkeys(columns, ""), "tags": [], "by": None}


def test_numbers_of_a_query_stay_what_they_are(tmp_path: Path) -> None:
    """Also where some are missing."""
    rows: list[dict[str, Any]] = [
        {"id": 4711, "subject": None, "body": "a", "team": 2**60 + 1},
        {"id": 4712.0, "subject": 1.5, "body": "b", "team": None},
    ]
    as_database(tmp_path / "t.db", rows)
    found = documents(
        tmp_path,
        **QUERY,
        metadata=["subject", "team"],
    )
    assert [(d.id, d.metadata) for d in found] == [
        ("tickets/4711", {"subject": "", "team": str(2**60 + 1)}),
        ("tickets/4712", {"subject": "1.5", "team": ""}),
    ]


def test_a_cell_of_a_query_does_not_depend_on_the_other_rows(tmp_path: Path) -> None:
    """Nor does a picture beside it: SQLite keeps numbers, texts and bytes in one column."""
    rows: list[dict[str, Any]] = [
        {"id": 2.0, "subject": 12.0, "body": "a", "team": b"\xff\xd8"},
        {"id": "x", "subject": "", "body": "b", "team": None},
    ]
    as_database(tmp_path / "t.db", rows)

    both = documents(tmp_path, **QUERY, metadata=["subject", "team"])
    alone = documents(
        tmp_path,
        database="sqlite:///t.db",
        query="SELECT * FROM tickets WHERE id = 2",
        metadata=["subject", "team"],
    )

    assert [document.id for document in both] == ["tickets/2", "tickets/x"]
    assert both[0] == alone[0]
    assert both[0].metadata == {"subject": "12", "team": "��"}


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("text/plain", "subject: Fire\n\nbody:\n\nIt\nburns."),
        ("text/markdown", "subject: Fire\n\nbody:\n\nIt\nburns."),
        ("text/html", "<div>subject: Fire</div>\n\n<div>body:  It\nburns. </div>"),
    ],
)
def test_several_columns_of_text_are_paragraphs_with_their_names(
    tmp_path: Path, media_type: str, expected: str
) -> None:
    """Those with nothing in them are left out."""
    (tmp_path / "t.jsonl").write_text(
        as_json_lines([{"id": 1, "subject": "Fire", "body": " It\nburns. ", "answer": " "}])
    )
    columns = ["subject", "body", "answer"]
    (document,) = documents(tmp_path, path="t.jsonl", text=columns, media_type=media_type)
    assert (document.text, document.media_type) == (expected, media_type)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("link", "https://tickets.example/own"),
        ("https://tickets.example/{id}?q={team}", "https://tickets.example/a%2Fb%20%C3%A9?q=IT"),
    ],
)
def test_an_address_is_in_a_column_or_made_of_some(tmp_path: Path, url: str, expected: str) -> None:
    """What is put into one is quoted."""
    row = {"id": "a/b é", "body": "x", "link": "https://tickets.example/own", "team": "IT"}
    (tmp_path / "t.jsonl").write_text(as_json_lines([row]))
    (document,) = documents(tmp_path, path="t.jsonl", url=url)
    assert document.url == expected


def test_a_version_holds_for_one_way_of_reading(tmp_path: Path) -> None:
    """With other columns a row is another document, though its version is the same."""
    row = {"id": 1, "body": "x", "more": "y", "at": 7}
    (tmp_path / "t.jsonl").write_text(as_json_lines([row, {**row, "at": None}]))

    def versions(**changes: Any) -> list[str]:
        found = documents(tmp_path, path="t.jsonl", version="at", **changes)
        return [document.version for document in found]

    (seven, empty), (again, _), (another, _) = (
        versions(),
        versions(),
        versions(text=["body", "more"]),
    )
    assert seven.startswith("7, ")
    assert (again, empty) == (seven, "")
    assert another != seven


# --- rows that are none ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "uri", "reason"),
    [
        ({"body": "x"}, "tickets/row 2", "'' in 'id' is no id"),
        ({"id": None, "body": "x"}, "tickets/row 2", "'' in 'id' is no id"),
        ({"id": float("nan"), "body": "x"}, "tickets/row 2", "'' in 'id' is no id"),
        ({"id": " ", "body": "x"}, "tickets/row 2", "'' in 'id' is no id"),
        ({"id": "a\nb", "body": "x"}, "tickets/row 2", r"'a\nb' in 'id' is no id"),
        ({"id": "x" * 2000, "body": "x"}, "tickets/row 2", f"'{'x' * 100}' in 'id' is no id"),
        ({"id": 7}, "tickets/7", "there is no text in it, in 'body'"),
        ({"id": 7, "body": " \n"}, "tickets/7", "there is no text in it, in 'body'"),
        ({"id": 7, "body": float("nan")}, "tickets/7", "there is no text in it, in 'body'"),
        (
            {"id": 7, "body": "x", "link": "n/a"},
            "tickets/7",
            "the url of document 'tickets/7' must begin with http(s)://host, not 'n/a'",
        ),
        ([1, 2], "tickets/row 2", "it is no JSON object in one line"),
        (None, "tickets/row 2", "it is no JSON object in one line"),
    ],
)
def test_a_bad_row_hurts_only_itself(tmp_path: Path, row: Any, uri: str, reason: str) -> None:
    """It is named by its id if it has one, else by its number."""
    rows = [{"id": 1, "body": "x"}, row, {"id": 3, "body": "y"}]
    (tmp_path / "t.jsonl").write_text(as_json_lines(rows))

    first, bad, last = given(tmp_path, path="t.jsonl", url="link")

    assert bad == Refused(id=uri, reason=reason)
    assert (first.id, last.id) == ("tickets/1", "tickets/3")


@pytest.mark.parametrize("line", ["{", '{"id": 1, "body": "x"} {', "[" * 100_000, "\udcff", "NaN"])
def test_a_line_that_is_no_json_hurts_only_itself(tmp_path: Path, line: str) -> None:
    """Truncated, nested without end, or of bytes that are no text."""
    good = '{"id": 0, "body": "x"}'
    path = tmp_path / "t.jsonl"
    path.write_text(f"{good}\n\n{line}\n{good}", errors="surrogateescape")
    assert refused(tmp_path, path="t.jsonl") == {
        "tickets/row 2": "it is no JSON object in one line"
    }


def test_a_row_of_too_many_or_too_few_cells(tmp_path: Path) -> None:
    """With more cells than the header nobody knows which is which; missing ones are empty."""
    (tmp_path / "t.csv").write_text("id,body,team\n1,a,b,c\n2,b\n\n3\n")
    assert refused(tmp_path, path="t.csv", metadata=["team"]) == {
        "tickets/row 1": "it has 4 cells, and the header 3",
        "tickets/3": "there is no text in it, in 'body'",
    }


def test_a_huge_cell_is_read(tmp_path: Path) -> None:
    """Whether it is too large is seen later, as for a file."""
    (tmp_path / "t.csv").write_text(f"id,body\n1,{'x' * 1_000_000}\n2,y\n")
    assert [len(d.text or "") for d in documents(tmp_path, path="t.csv")] == [1_000_000, 1]


# --- tables that are none -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "has no column 'id', 'body', 'team'; it has none: correct"),
        ("t.csv", b"id,subject,text\n", "has no column 'body', 'team'; it has 'id', 'subject', 't"),
        (
            "t.csv",
            "id,body,team\n1,über,x\n".encode("latin-1"),
            "UnicodeDecodeError: 'utf-8' codec",
        ),
        ("t.csv", b'id,body,team\n1,"never closed,x\n2,b,y\n', "quote in row 1 is never closed"),
        ("t.csv", b"id,body,team,body\n1,a,x,b\n", "has more than one column 'body'"),
        ("t.csv.gz", b"id,body,team\n", "BadGzipFile: Not a gzipped file"),
        ("t.jsonl", b'{"id": 1, "text": "x"}\n', "has no column 'body'; it has 'id', 'text': corr"),
        ("t.jsonl", b"garbage\n" * 1000, "has no column 'id', 'body'; it has none: correct"),
        ("t.jsonl", b"", "has no column 'id', 'body', 'team'; it has none: correct"),
        ("t.jsonl", b"\n\n", "has no column 'id', 'body'; it has none: correct"),
        ("t.parquet", b"PAR1 garbage", "cannot be read (Arrow"),
        ("t.xml", b"<a/>", "'t.xml' is of an unsupported type; supported are .csv .tsv .jsonl"),
        ("t", b"", "'t' is of an unsupported type"),
    ],
)
def test_a_file_that_is_no_such_table_is_said_in_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """Reading on without it would take its rows for removed."""
    (tmp_path / name).write_bytes(content)
    assert message in refusal(tmp_path, path=name, metadata=["team"])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is said where it was sought."""
    assert f"{tmp_path}/gone.csv" in refusal(tmp_path, path="gone.csv")


def test_a_truncated_file_stops_the_month(tmp_path: Path) -> None:
    """Whatever has been read of it by then."""
    packed = gzip.compress(as_csv(ROWS * 1000).encode())
    (tmp_path / "t.csv.gz").write_bytes(packed[:-20])
    assert "EOFError" in refusal(tmp_path, path="t.csv.gz")


@pytest.mark.parametrize(
    ("database", "query", "message"),
    [
        ("sqlite:///gone.db", "SELECT 1", "OperationalError: unable to open database file"),
        ("sqlite:///t.db", "SELECT * FROM gone", "OperationalError: no such table: gone"),
        ("sqlite:///t.db", "SELEC 1", 'OperationalError: near "SELEC": syntax error'),
        ("sqlite:///t.db", "DELETE FROM tickets", "attempt to write a readonly database"),
        ("sqlite:///t.db?timeout=3", "DELETE FROM tickets", "attempt to write a readonly database"),
        ("sqlite:///gone.db?timeout=3", "SELECT 1", "unable to open database file"),
        ("sqlite:///file:gone.db?mode=rwc&uri=true", "SELECT 1", "unable to open database file"),
        ("sqlite:///t.db", "SELECT id FROM tickets", "has no column 'body'; it has 'id'"),
        ("sqlite:///t.db", "SELECT *, 1 AS id FROM tickets", "has more than one column 'id'"),
        (f"postgresql://me:{PASSWORD}@db/x", "SELECT 1", "install the driver of its database"),
        (f"nothing://me:{PASSWORD}@db/x", "SELECT 1", "Can't load plugin"),
        (f"me:{PASSWORD}@db/x", "SELECT 1", "ArgumentError"),
    ],
)
def test_a_database_that_does_not_answer_is_said_in_one_line(
    tmp_path: Path, database: str, query: str, message: str
) -> None:
    """With its own words and without the query, a file not made, no row changed, no secret told."""
    as_database(tmp_path / "t.db", ROWS)

    said = refusal(tmp_path, database=database, query=query)

    assert message in said
    assert query not in said
    assert PASSWORD not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.db"]
    assert len(documents(tmp_path, **QUERY)) == 3


def test_a_database_that_the_environment_does_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named."""
    monkeypatch.delenv("TICKETS_DATABASE", raising=False)
    said = refusal(tmp_path, database_env="TICKETS_DATABASE", query="SELECT 1")
    assert said == "corpus table 'tickets': the environment has no TICKETS_DATABASE"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:{}@db.example/tickets",
        "postgresql://db.example/tickets?password={}",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BPWD%3D{}%3BUID%3Dme",
    ],
)
@pytest.mark.parametrize("is_variable", [False, True])
def test_the_password_of_a_database_is_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, is_variable: bool
) -> None:
    """Wherever it stands in the address, as it is and unquoted."""
    password = f"s3cr3t%2F{abs(hash((address, is_variable)))}"
    monkeypatch.setenv("TICKETS_DATABASE", address.format(password))
    where = {"database_env": "TICKETS_DATABASE"}
    if not is_variable:
        where = {"database": address.format(password)}

    refusal(tmp_path, **where, query="SELECT 1")

    for form in (password, password.replace("%2F", "/"), address.format(password)):
        assert "s3cr3t" not in redacted(f"cannot connect: {form}!")


# --- much -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet", "query"])
def test_memory_does_not_grow_with_the_table(tmp_path: Path, name: str) -> None:
    """Some rows are in memory at a time."""

    def peak(n_rows: int) -> int:
        folder = tmp_path / str(n_rows)
        folder.mkdir()
        rows = [{"id": n, "subject": "", "body": "x" * 1000, "team": ""} for n in range(n_rows)]
        where = {"path": name}
        match name:
            case "t.csv":
                (folder / name).write_text(as_csv(rows))
            case "t.jsonl":
                (folder / name).write_text(as_json_lines(rows))
            case "t.parquet":
                (folder / name).write_bytes(as_parquet(rows, row_group_size=1000))
            case "query":
                as_database(folder / "t.db", rows)
                where = QUERY
        del rows
        tracemalloc.start()
        try:
            n_found = sum(1 for _ in rows_of(a_table(**where), folder))
            assert n_found == n_rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # loads libraries
    assert peak(8_000) < peak(2_000) + 1_000_000
