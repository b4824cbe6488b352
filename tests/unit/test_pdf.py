"""PDF: what becomes of lines on pages, bookmarks and properties, and of files that are broken."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.confined import ConfinedReader
from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.corpus.formats.pdf.document import _date, _name, read_pdf
from embedding_assets.corpus.formats.pdf.headings import Place, Way, placed, with_headings
from embedding_assets.corpus.formats.pdf.lines import (
    without_contents,
    without_running,
    without_titles_of_contents,
)
from embedding_assets.corpus.formats.pdf.outline import Bookmark, bookmarks_of
from embedding_assets.corpus.formats.pdf.pages import Line, Page, opened
from embedding_assets.corpus.formats.pdf.text import pieces_of_lines
from embedding_assets.corpus.formats.pdf.words import Words
from embedding_assets.corpus.formats.pieces import Piece, heading
from embedding_assets.errors import DocumentError

BRIDGES = (Path(__file__).parent.parent / "kinds" / "bridges.pdf").read_bytes()
PDF = "application/pdf"
WIDTH = 5.0  # of a letter, in points

FIRST = [
    "The council met on Tuesday and it",
    "approved the repairs of both bridge",
    "posts at once.",
]
SECOND = ["The mayor was absent. Nobody knew", "where she was, or why she had gone", "away."]


def line(text: str, *, page: int = 1, left: float = 50, y: float = 700, size: float = 10) -> Line:
    """As wide as its letters; two spaces before it are an indent."""
    words = text.lstrip()
    left += WIDTH * (len(text) - len(words))
    right = left + WIDTH * len(words)
    return Line(words, page, left, right, y, size, is_mono=False, is_row=False)


def lines(*texts: str, page: int = 1, left: float = 50, top: float = 700) -> list[Line]:
    """One under the other."""
    return [
        line(text, page=page, left=left, y=top - 12 * number) for number, text in enumerate(texts)
    ]


def mono(*texts: str) -> list[Line]:
    return [line._replace(is_mono=True) for line in lines(*texts)]


def pieces(items: Sequence[Line | Piece]) -> list[tuple[BlockKind, str]]:
    return [(piece.kind, piece.text) for piece in pieces_of_lines(items)]


def texts(items: Sequence[Line | Piece]) -> list[str]:
    return [text for _, text in pieces(items)]


# --- Paragraphs -----------------------------------------------------------------------------------


def test_lines_that_are_full_go_on() -> None:
    """A line goes on if the next one's first word would not have found room in it."""
    assert texts(lines(*FIRST)) == [" ".join(FIRST)]


def test_a_line_that_had_room_ends() -> None:
    """Lines of an address or a poem stay lines, in one paragraph."""
    address = ["Ada Example", "Mill Lane 12", "Valley", "The house behind the old chapel"]
    assert texts(lines(*address)) == ["\n".join(address)]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(lines(*SECOND, top=650), id="a gap"),
        pytest.param(lines(f"  {SECOND[0]}", *SECOND[1:], top=664), id="an indent"),
        pytest.param([a._replace(size=12.0) for a in lines(*SECOND, top=664)], id="a size"),
        pytest.param(lines(*SECOND, top=664), id="a short line before"),
    ],
)
def test_what_begins_a_paragraph(second: list[Line]) -> None:
    """A gap, an indent, another size, or a short last line that ends a sentence."""
    assert texts([*lines(*FIRST), *second]) == [" ".join(FIRST), " ".join(SECOND)]


def test_a_paragraph_goes_on_in_the_next_column_and_on_the_next_page() -> None:
    """Also if notes in smaller letters stand between."""
    column = lines(*FIRST[:2], "posts and thanked the carpenters as", top=100)
    note = [line("A note below the text.", y=60, size=7)]
    beside = lines(
        "they had worked all night and even",
        "on a Sunday, for which they will be",
        "paid; and it thanked the sister who",
        left=300,
    )
    after = lines("had cooked for them all.", page=2)

    assert texts([*column, *note, *beside, *after]) == [
        " ".join(a.text for a in [*column, *beside, *after]),
        "A note below the text.",
    ]


def test_rows_of_a_table_stay_lines() -> None:
    """However wide they are: a gap in a line says that it has cells."""
    rows = [a._replace(is_row=True) for a in lines("Apples from the north 3.50", "Pears 2.00")]
    assert texts(rows) == ["Apples from the north 3.50\nPears 2.00"]


def test_lists_are_lists() -> None:
    """Bullets become dashes, deeper ones are indented; what a number begins is one with others."""
    listed = lines("• wood", "• stone", "  – a granite", "• steel", "1. look", "2. knock")  # noqa: RUF001
    assert pieces(listed) == [
        (BlockKind.LIST, "- wood\n- stone\n    - a granite\n- steel\n1. look\n2. knock")
    ]
    assert pieces(lines("1. Introduction")) == [(BlockKind.PROSE, "1. Introduction")]


def test_programs_keep_their_lines_and_indents() -> None:
    """A program is what is set in a font of equal widths, unless all of the file is."""
    program = mono("for bridge in valley:", "    load(bridge)")
    code = (BlockKind.CODE, "```\nfor bridge in valley:\n    load(bridge)\n```")

    assert pieces([*lines(*FIRST), *(a._replace(y=a.y - 60) for a in program)])[1:] == [code]
    assert {kind for kind, _ in pieces(program)} == {BlockKind.PROSE}


def test_text_from_the_right_is_measured_from_there() -> None:
    """Its lines begin at the right, and end where they have room at the left."""
    first, second = "הגן פתוח בכל יום מהשעה שבע בבוקר", "ועד השקיעה."
    right = 400.0
    mirrored = [
        a._replace(left=right - WIDTH * len(a.text), right=right)
        for a in lines(first, "הכניסה חופשית לילדים עד גיל שתים", second)
    ]
    assert texts(mirrored) == [" ".join(a.text for a in mirrored)]


# --- Words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("The recom-", "mendation", "The recommendation"),
        ("a well-", "known man", "a well-known man"),
        ("the debian-", "security list", "the debian-security list"),
        ("state-of-the-", "art", "state-of-the-art"),
        ("Rhine-", "Main", "Rhine-Main"),
        ("COM-", "MANDS", "COMMANDS"),
        ("pages 10-", "20", "pages 10-20"),
        ("one -", "two", "one - two"),
        ("https://example.org/", "docs", "https://example.org/docs"),
        ("1990–", "1999", "1990–1999"),  # noqa: RUF001
        ("one", "two", "one two"),
        ("図書館は", "駅の", "図書館は駅の"),
        ("PDF", "の", "PDF の"),
        ("도서관은", "역의", "도서관은 역의"),
    ],
)
def test_how_two_lines_become_one(before: str, after: str, joined: str) -> None:
    """Hyphens of a cut go, those of a word stay; Chinese and Japanese have no spaces."""
    known = Words.of(["It is well-known here.", "the security of a debian system"])
    assert known.joined([("", before), (" ", after)]) == joined


def test_a_document_teaches_its_own_words() -> None:
    """What it has elsewhere in one word is one word, and no cut part is a word."""
    assert Words.of(["a text and a book", "a textbook"]).joined([("", "text-"), (" ", "book")]) == (
        "textbook"
    )
    assert Words.of(["unavoid-", "able things"]).known == {"things"}


# --- Running heads and tables of contents ---------------------------------------------------------


def book(heads: Sequence[str], feet: Sequence[str] = ()) -> list[list[Line]]:
    """Pages of different text under these heads."""
    return [
        [
            line(head, page=page, y=780),
            *lines(f"Words of page {'abcdefghij'[page]}", "and more of them", page=page),
            *(line(foot, page=page, y=40) for foot in feet[page - 1 : page]),
        ]
        for page, head in enumerate(heads, start=1)
    ]


def kept(pages: Sequence[Sequence[Line]]) -> list[str]:
    """What is left but for the text."""
    left = (line.text for page in without_running(pages) for line in page)
    return [text for text in left if not text.startswith(("Words of", "and more"))]


@pytest.mark.parametrize(
    "heads",
    [
        ["The valley"] * 4,
        [f"The valley {page} / 4" for page in range(1, 5)],
        [f"{page} Chapter {'ABCD'[page - 1]}" for page in range(1, 5)],
        ["Left", "Right", "Left", "Right", "Left", "Right"],
        ["i", "ii", "iii", "iv"],
        ["Page 1", "Page 2"],
    ],
)
def test_what_is_on_page_after_page_is_no_text(heads: list[str]) -> None:
    """The same words, or the number of the page, at the same height."""
    assert kept(book(heads)) == []


@pytest.mark.parametrize(
    "heads",
    [
        ["Apples", "Pears", "Plums", "Cherries"],
        ["12 34 56", "78 12 90", "45 45 13", "22 10 99"],
        ["The valley", "The valley", "Something else", "Another"],
        ["The valley"],
    ],
)
def test_what_changes_is_text(heads: list[str]) -> None:
    """Titles of slides, and the first row of a table that goes on, are no running heads."""
    assert kept(book(heads)) == heads


def test_large_letters_are_no_running_head() -> None:
    """Chapters of one page each, numbered as the pages are, keep their titles."""
    titles = [f"Release {page}" for page in range(1, 5)]
    pages = [[page[0]._replace(size=20.0), *page[1:]] for page in book(titles)]
    assert kept(pages) == titles


def test_entries_with_dots_and_page_numbers_are_no_text() -> None:
    """A table of contents goes, with its title; prices, which do not grow, stay."""
    title, *entries = lines(
        "Contents", "1 Purpose . . . . 3", "1.1 A way", "of doing it..... 3", "2 Costs ... 5"
    )
    contents = without_contents([title._replace(size=14.0), *entries])
    prices = lines("Apples ..... 12", "Pears ..... 7", "Plums and other fruit ..... 9")

    assert without_titles_of_contents(contents) == []
    assert without_contents(prices) == prices
    assert texts(prices) == ["Apples … 12\nPears … 7\nPlums and other fruit … 9"]


def test_a_chapter_with_contents_of_its_own_keeps_its_title() -> None:
    """Only a heading that nothing belongs to but the entries goes with them."""
    entries = without_contents(lines("1 a .... 3", "2 b .... 4", "3 c .... 5"))
    chapter, section = heading("Findings", 1), heading("Wood", 2)

    assert without_titles_of_contents([chapter, *entries, section]) == [chapter, section]
    assert without_titles_of_contents([heading("Contents", 1), *entries, chapter]) == [chapter]


# --- Bookmarks ------------------------------------------------------------------------------------


def bookmark(title: str, *, page: int = 1, y: float | None = None) -> Bookmark:
    return Bookmark(title, 1, page, None, y)


def place(pages: Sequence[Sequence[Line]], *bookmarks: Bookmark) -> list[Place]:
    return placed([Page(list(page)) for page in pages], bookmarks)


def read(pages: Sequence[Sequence[Line]], *bookmarks: Bookmark) -> list[str]:
    of = [Page(list(page)) for page in pages]
    return [item.text for item in with_headings(of, placed(of, bookmarks))]


@pytest.mark.parametrize(
    ("title", "printed", "heading"),
    [
        ("Costs", ["Costs"], "# Costs"),
        ("Costs", ["1.2 Costs"], "# 1.2 Costs"),
        ("1.2 Costs", ["Costs"], "# 1.2 Costs"),
        ("1.2 Costs", ["1.2. COSTS"], "# 1.2 Costs"),
        (
            "Costs of the repairs",
            ["Chapter 3", "Costs of", "the repairs"],
            "# Chapter 3 Costs of the repairs",
        ),
        ("Chapter 3: Costs", ["Costs"], "# Chapter 3: Costs"),
        ("費用", ["第3章 費用"], "# 第3章 費用"),
        ("Costs", ["C o s t s"], "# Costs"),
    ],
)
def test_a_heading_is_the_line_that_says_what_its_bookmark_says(
    title: str, printed: list[str], heading: str
) -> None:
    """Whatever number one of them has, in however many lines; it is not written twice."""
    page = lines("Before.", *printed, "After.")
    assert read([page], bookmark(title)) == ["Before.", heading, "After."]


def test_of_lines_that_say_the_same_the_largest_is_the_heading() -> None:
    """Then the one that is nearest to where the bookmark points."""
    same = lines("Costs", "Text.", "Costs", "Text.", "Costs")
    larger = [*same[:2], same[2]._replace(size=14.0), *same[3:]]

    assert place([larger], bookmark("Costs"))[0].at == 2
    assert place([same], bookmark("Costs", y=same[4].y + 10))[0].at == 4
    assert [found.at for found in place([same], bookmark("Costs"), bookmark("Costs"))] == [0, 2]


def test_a_heading_may_begin_its_paragraph() -> None:
    """The rest of the line is text."""
    page = lines("Before.", "Costs. They are high.", "After.")
    assert read([page], bookmark("Costs.", y=700)) == ["# Costs.", *(a.text for a in page)]
    assert read([page], bookmark("Costs.", y=690)) == [
        "Before.", "# Costs.", "They are high.", "After."
    ]  # fmt: skip


def test_a_bookmark_without_its_words_goes_where_it_points() -> None:
    """Else to the top of its page."""
    page = lines("One.", "Two.")
    assert read([page], bookmark("Costs", y=690)) == ["One.", "# Costs", "Two."]
    assert read([page], bookmark("Costs", y=10)) == ["One.", "Two.", "# Costs"]
    assert read([page], bookmark("Costs")) == ["# Costs", "One.", "Two."]
    assert read([[], page], bookmark("Costs")) == ["# Costs", "One.", "Two."]


def test_a_heading_that_moved_to_the_next_page_is_found_there() -> None:
    """Programs often note the page before."""
    (found,) = place([lines("One."), lines("Costs", page=2)], bookmark("Costs"))
    assert (found.way, found.page, found.at) == (Way.NAMED, 2, 0)


def written(n_pages: int, *outline: bytes) -> bytes:
    """A PDF whose pages all say the same, with the entries of its outline as objects from 10."""
    content = b"BT /F1 10 Tf 10 100 Td (The council met.) Tj ET"
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R /Outlines << /First 10 0 R >> >>",
        2: b"<< /Type /Pages /Count %d /Kids [%s] >>" % (n_pages, b"3 0 R " * n_pages),
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        4: b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        5: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        **dict(enumerate(outline, start=10)),
    }
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % item for item in objects.items())
    return b"%PDF-1.4\n" + body + b"trailer << /Root 1 0 R >>\n%%EOF"


def test_a_bookmark_without_a_place_stands_where_its_first_entry_does() -> None:
    """One that has no entries either is none: nobody knows where it belongs."""
    data = written(
        1,
        b"<< /Title (Part) /First 11 0 R /Next 12 0 R >>",
        b"<< /Title (Chapter) /Dest [3 0 R /XYZ 0 150 0] >>",
        b"<< /Title (Lost) >>",
    )
    with opened(data) as pdf:
        assert [(b.title, b.level, b.page, b.y) for b in bookmarks_of(pdf)] == [
            ("Part", 1, 1, 150.0),
            ("Chapter", 2, 1, 150.0),
        ]


# --- Properties -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pdf", "iso"),
    [
        ("D:20260331142530+02'00'", "2026-03-31T14:25:30+02:00"),
        ("D:20260331142530-05'30", "2026-03-31T14:25:30-05:30"),
        ("D:20260331142530Z", "2026-03-31T14:25:30+00:00"),
        ("20260331", "2026-03-31T00:00:00"),
        ("D:2026", "2026-01-01T00:00:00"),
        ("D:20261331", ""),
        ("yesterday", ""),
        ("", ""),
    ],
)
def test_dates(pdf: str, iso: str) -> None:
    """They are ISO 8601, with the zone if there is one; what is no date is none."""
    assert _date(pdf) == iso


@pytest.mark.parametrize(
    "title",
    [
        "Microsoft Word - minutes.doc",
        "untitled",
        "Document1",
        "report_final.pdf",
        "(anonymous)",
        "-",
    ],
)
def test_what_programs_write_for_want_of_a_title_is_none(title: str) -> None:
    """The largest words of the first page, or the file's name, say more."""
    assert _name(title) == ""
    assert _name("Untitled works of 1900") == "Untitled works of 1900"
    assert _name("The Word of the year") == "The Word of the year"


# --- Broken files ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader() -> Iterator[ConfinedReader]:
    with ConfinedReader() as reader:
        yield reader


def test_a_file_that_is_cut_or_damaged_is_an_error_or_text(reader: ConfinedReader) -> None:
    """Wherever the damage is, it ends as a document or as one file's reason."""
    damaged = [BRIDGES[:n] for n in range(0, len(BRIDGES), 1500)]
    damaged += [
        BRIDGES[:n] + b"\xff" * 40 + BRIDGES[n + 40 :] for n in range(0, len(BRIDGES), 1500)
    ]
    for data in damaged:
        try:
            found = reader.extract(data, PDF, fallback_title="f")
        except DocumentError:
            continue
        assert found.text


@pytest.mark.parametrize(
    "text",
    ["word word word", "• a", "1. a", "a-", "。", ". . . . 1", "a  b"],
)
def test_time_grows_with_the_lines(text: str) -> None:
    """A page may have a hundred thousand of them, all alike."""

    def seconds(n: int) -> float:
        page = Page([line(text, y=-number) for number in range(n)])
        started = time.process_time()
        for cleaned in without_running([page.lines]):
            of = Page(without_contents(cleaned))
            items = with_headings([of], placed([of], [bookmark(text, y=-5.0)] * (n // 10)))
            list(pieces_of_lines(without_titles_of_contents(items)))
        return time.process_time() - started

    assert seconds(32_000) < 24 * max(min(seconds(4_000), seconds(4_000)), 0.02)


def test_time_grows_with_the_pages() -> None:
    """Running heads may be on all of them."""

    def seconds(n_pages: int) -> float:
        heads = book(["The valley"] * 9) * (n_pages // 9)
        pages = [[a._replace(page=n) for a in page] for n, page in enumerate(heads)]
        started = time.process_time()
        without_running(pages)
        return time.process_time() - started

    assert seconds(16_000) < 24 * max(min(seconds(2_000), seconds(2_000)), 0.02)


def test_a_pdf_is_read_in_the_child(reader: ConfinedReader) -> None:
    """And what it says is the same."""
    confined = reader.extract(BRIDGES, PDF, fallback_title="f")
    assert confined == Extraction().extract(BRIDGES, PDF, fallback_title="f")


# --- Pages ----------------------------------------------------------------------------------------


def pdf_of(content: str, *, page: str = "", form: str = "") -> bytes:
    """One page of 612 by 792 points; ``form`` is what its only field has."""
    fields = ["/AcroForm << /Fields [6 0 R] /DR << /Font << /F 4 0 R >> >> >>", "/Annots [6 0 R]"]
    of_all, of_page = fields if form else ("", "")
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {of_all} >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {page} {of_page} /Contents 5 0 R"
        " /Resources << /Font << /F 4 0 R >> >> >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Length {len(content)} >> stream\n{content}\nendstream",
        f"<< /Type /Annot /Subtype /Widget /F 4 /DA (/F 12 Tf) {form} >>",
    ]
    body = "".join(f"{n} 0 obj {text} endobj\n" for n, text in enumerate(objects, 1))
    return f"%PDF-1.7\n{body}trailer << /Root 1 0 R >>\n%%EOF".encode()


def shown(text: str, *, left: float, y: float) -> str:
    return f"BT /F 12 Tf {left} {y} Td ({text}) Tj ET\n"


@pytest.mark.parametrize("page", ["/CropBox [50 50 390 750]", "/CropBox [390 750 50 50]"])
def test_what_is_cropped_is_no_text(page: str) -> None:
    """Such as the other half of a spread; but a line may be too long for its page."""
    half = shown("The left half", left=72, y=700) + shown("right", left=400, y=650)
    outside = shown("book.indb 12", left=72, y=770) + shown("off the page", left=72, y=900)
    long = shown("word " * 20, left=72, y=600)
    found = read_pdf(pdf_of(half + outside + long, page=page)).text

    assert found == f"The left half\n\n{'word ' * 20}".strip()


def test_a_form_has_what_was_filled_in() -> None:
    """Even if the program that did it has left it to others to draw it."""
    field = "/FT /Tx /T (name) /V (Ada Lovelace) /Rect [150 690 400 710]"

    assert read_pdf(pdf_of(shown("Name:", left=72, y=694), form=field)).text == "Name: Ada Lovelace"


@pytest.mark.parametrize("view", ["XYZ", "FitR", "FitH", "Fit"])
def test_a_bookmark_may_leave_out_where_it_points(view: str) -> None:
    """Then only its page is known."""
    entry = f"7 0 obj << /Title (A) /Parent 8 0 R /Dest [3 0 R /{view}] >> endobj"
    outline = "8 0 obj << /First 7 0 R /Last 7 0 R >> endobj"
    data = pdf_of(shown("Text", left=72, y=700))
    data = data.replace(b"/Pages 2 0 R", b"/Pages 2 0 R /Outlines 8 0 R")
    data = data.replace(b"trailer", f"{entry} {outline} trailer".encode())

    assert read_pdf(data).text == "# A\n\nText"
