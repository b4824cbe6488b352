"""Pages that take too much end the child that reads them, and nothing else."""

import io
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import xlsxwriter  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding_assets.corpus.formats import confined
from embedding_assets.corpus.formats.confined import TEXT_LIMITS, ConfinedReader
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.errors import DocumentError, ProcessError
from tests.children import children

PAGE = "<title>A page</title><h1>Größe</h1><p>Text</p>".encode()
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
DEEP = b"<div>" * 60_000 + b"deep"
N_ATTRIBUTES = 40_000
# fmt: off
TAGS = [
    "<div>", "</div>", "<p>", "</p>", "<b>", "</b>", "<a href=x>", "</a>", "<i class=",
    "<font a=", "<ul><li>", "<table>", "<tr>", "<td>", "</table>", "<select>", "<option>",
    "<svg>", "<math>", "<template>", "<button>", "<h1>", "</h1>", "<pre>", "<textarea>",
    "<script>", "</script>", "<!--", "-->", "<![CDATA[", "<html x>", "<body y>", "<frameset>",
    "<object>", "<form>", "<dd>", "<ruby><rt>", "<a class=headerlink>", "&amp", "x", " ",
]
# fmt: on


@pytest.fixture(scope="module")
def reader() -> Iterator[ConfinedReader]:
    with ConfinedReader(limits=replace(TEXT_LIMITS, cpu_s=0.2, cpu_s_per_mb=0.5)) as reader:
        yield reader


def read(reader: ConfinedReader, page: bytes) -> Extracted:
    return reader.extract(page, "text/html", fallback_title="fallback")


@pytest.mark.parametrize("media_type", ["text/html", "text/markdown"])
def test_what_a_child_reads_is_what_is_there(reader: ConfinedReader, media_type: str) -> None:
    """Title and text are the same, to the letter, as without a child."""
    found = reader.extract(PAGE, media_type, fallback_title="fallback")

    assert found == Extraction().extract(PAGE, media_type, fallback_title="fallback")


def test_what_is_wrong_with_a_page_is_said_as_ever(reader: ConfinedReader) -> None:
    """A page without text is that, for a child, too."""
    with pytest.raises(DocumentError, match=r"^there is no text in it, only markup$"):
        read(reader, b"<p></p>")


@pytest.mark.parametrize(
    "page",
    [
        DEEP,
        b"<ul><li>" * 40_000,
        b"<pre>" * 60_000 + b"deep",
        b"<p " + b" ".join(b"a%d" % n for n in range(N_ATTRIBUTES)) + b">text",
        b"".join(b"<body a%d>" % n for n in range(N_ATTRIBUTES)) + b"text",
    ],
    ids=["div", "lists", "pre", "attributes", "attributes of many tags"],
)
def test_a_page_that_takes_too_long_is_given_up(reader: ConfinedReader, page: bytes) -> None:
    """The parser's time grows with the square of depth and attributes; ours ends. Others go on."""
    with pytest.raises(
        DocumentError, match=r"^reading it takes more than \d\.\d s of CPU time; its"
    ):
        read(reader, page)

    assert read(reader, PAGE).title == "A page"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no limit of address space")
@pytest.mark.parametrize("n_tags", [10_000, 100_000])
def test_a_page_that_takes_too_much_memory_is_given_up(reader: ConfinedReader, n_tags: int) -> None:
    """Each <font> that is not closed is made anew in every paragraph: 300 kB would take 40 GB."""
    page = b"".join(b"<p><font size=%d></p>" % n for n in range(n_tags))

    with pytest.raises(DocumentError, match=r"^reading it takes more than \d+ MB of memory"):
        read(reader, page)

    assert read(reader, PAGE).title == "A page"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no limit of address space")
def test_a_sheet_of_two_cells_may_take_too_much_memory() -> None:
    """In its first corner and in its last: its library makes room for all between, and aborts."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write(0, 0, "first")
        sheet.write(1_048_575, 16_383, "last")

    with ConfinedReader() as reader, pytest.raises(DocumentError) as raised:
        reader.extract(file.getvalue(), SHEET, fallback_title="f")
    assert str(raised.value) == (
        "reading it takes more than 1,000 MB of memory; it is damaged, or unpacks to far more "
        "than it should: save it again, or split it"
    )


@settings(max_examples=40)
@given(
    unit=st.lists(st.sampled_from(TAGS), min_size=1, max_size=4).map("".join),
    is_numbered=st.booleans(),
)
def test_any_markup_ends_as_text_or_as_an_error(
    reader: ConfinedReader, unit: str, is_numbered: bool
) -> None:
    """Whatever is repeated, in 60 kB: no crash, no wait, and the next page is read."""
    n = 60_000 // len(unit)
    page = "".join(f"{unit}{number}>" if is_numbered else unit for number in range(n))
    try:
        outcome = read(reader, page.encode()).text
    except DocumentError as exc:
        outcome = str(exc)

    assert outcome.strip()
    assert "ended its reader" not in outcome
    assert read(reader, PAGE).title == "A page"


class Odd(Extraction):
    """Prints, and fails for some files as no reader should."""

    def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
        sys.stdout.write("hello")
        sys.stdout.flush()
        if data == b"odd":
            raise KeyError("x")
        return super().extract(data, media_type, fallback_title=fallback_title)


@pytest.mark.parametrize("media_type", ["text/html", "text/markdown"])
def test_what_a_reader_does_not_expect_is_one_files_matter(media_type: str) -> None:
    """In a child or not, it is said as what it is, and the next file is read."""
    with ConfinedReader(Odd()) as reader:
        with pytest.raises(
            DocumentError, match=r"^its reader failed \(KeyError: 'x'\), which is a"
        ):
            reader.extract(b"odd", media_type, fallback_title="")
        assert reader.extract(b"Text", media_type, fallback_title="").text == "Text"


def test_whoever_ends_the_readers_waits_for_none_that_is_being_started() -> None:
    """Its file would take all of its time."""
    before = children()
    outcomes: queue.Queue[Exception] = queue.Queue()

    def read_on(reader: ConfinedReader) -> None:
        try:
            read(reader, DEEP * 10)
        except (DocumentError, ProcessError) as exc:
            outcomes.put(exc)

    with ConfinedReader(limits=replace(TEXT_LIMITS, cpu_s=50)) as reader:
        thread = threading.Thread(target=read_on, args=[reader])
        thread.start()
        while not children() - before:
            pass
    thread.join()

    assert "CPU time" not in str(outcomes.get(timeout=1))
    assert children() == before


def test_a_good_page_may_be_huge() -> None:
    """Ten megabytes of table are no error."""
    row = "<tr><td>a cell</td><td>17.5</td><td>another one</td></tr>\n"
    page = f"<table>{row * (10_000_000 // len(row))}</table>".encode()

    with ConfinedReader() as reader:
        assert len(read(reader, page).text) > 3_000_000


def test_a_child_ends_with_its_parent() -> None:
    """Whose parent was killed finds nothing more to do."""
    child = subprocess.run([sys.executable, "-m", confined.__name__], input=b"", check=True)

    assert child.returncode == 0


def test_what_lies_in_the_working_directory_is_no_module_of_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of documents may have an html.py."""
    (tmp_path / "html.py").write_text("raise RuntimeError('not for readers')")
    monkeypatch.chdir(tmp_path)

    with ConfinedReader() as reader:
        assert read(reader, PAGE).title == "A page"


def test_a_child_that_cannot_be_started_is_no_matter_of_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No page is listed as bad where the machine is."""
    monkeypatch.setattr(sys, "executable", "/no/such/python")

    with ConfinedReader() as reader, pytest.raises(ProcessError, match="cannot be started"):
        read(reader, PAGE)


def test_a_child_that_ends_at_once_is_no_matter_of_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the package cannot be imported by a child, no markup is to blame."""
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with ConfinedReader() as reader, pytest.raises(ProcessError, match="ended before it read any"):
        read(reader, PAGE)
