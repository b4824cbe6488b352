"""CSV and its relatives: delimiters, headers, tables and rows."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.formats.data.delimited import read_delimited

LONG = "A sentence of some length, as people write it into a field for remarks. " * 3


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_what_gives_even_rows(delimiter: str) -> None:
    """Whatever else is in the cells; and quotes hide it."""
    rows = [["item", "price", "note"], ["Kübel", "1,5", "a;b"], ["pot", "2,5", f"x{delimiter}y"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)

    last = f"x{delimiter}y".replace("|", "\\|").replace("\t", " ")
    assert read_delimited(text.getvalue()).text.split("\n") == [
        "| item | price | note |",
        "| --- | --- | --- |",
        "| Kübel | 1,5 | a;b |",
        f"| pot | 2,5 | {last} |",
    ]


@pytest.mark.parametrize(
    ("source", "header"),
    [
        ("name,age\nAda,36", "| name | age |"),
        ("Ada,36\nBob,41", "|  |  |"),
        ("country,2019,2020\nAT,1,2", "| country | 2019 | 2020 |"),
        ("2019,2020\n1,2", "|  |  |"),
        ("a,a\n1,2", "|  |  |"),
        ("who,what,note,note\n1,2,3,4", "| who | what | note | note |"),
        (",name\n0,Ada", "|  | name |"),
        ("sep=;\na;b,c\n1;2", "| a | b,c |"),
        ("a;b;\n1;2;3;4", "| a | b |  |  |"),
        ("name,age", "|  |  |"),
    ],
)
def test_a_header_has_names_and_no_values(source: str, header: str) -> None:
    """Where there is none, its row is empty, as in the tables of pages."""
    assert read_delimited(source).text.split("\n")[0] == header


def test_what_stands_above_the_header_is_a_paragraph() -> None:
    """Many programs write there what the table is about."""
    text = read_delimited("Report\n\nas of 2026;;\nitem;price;note\npot;2;x").text

    assert text.split("\n\n")[0] == "Report\nas of 2026"
    assert text.split("\n\n")[1].startswith("| item | price | note |")
    text = read_delimited("# as of 2026, by Ada\nitem,price,note\npot,2,x\ntub,3,y").text
    assert text.startswith("# as of 2026, by Ada\n\n| item | price | note |")


def test_a_single_column_is_a_list() -> None:
    """Its first line is as good as the others."""
    assert (
        read_delimited("Ada Lovelace\nBob, or Robert\n").text == "- Ada Lovelace\n- Bob, or Robert"
    )


def test_long_cells_are_read_row_by_row() -> None:
    """Each cell with the name of its column, under the row's own name, if it has one."""
    text = read_delimited(f'id,Title,text\n1,Pots,"{LONG}\n\nEnd."\n2,,"{LONG}"\n3,"a\nb",\n').text

    assert text == (
        f"## Pots\n\nid: 1\ntext: {LONG.rstrip()}\n\nEnd.\n\n"
        f"id: 2\ntext: {LONG.rstrip()}\n\nid: 3\nTitle: a\nb"
    )


def test_more_columns_than_can_be_read_across_are_lines() -> None:
    """Empty ones are left out; cells beyond the header have no name."""
    names = ",".join(f"c{n}" for n in range(25))

    assert read_delimited(f"{names}\n1,,3{',' * 23}26\n").text == "c0: 1\nc2: 3\n26"


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ('id\tsize\n1\t"5 inch\n2\tx\n3\t"y\n', ['| 1 | "5 inch |', "| 2 | x |", '| 3 | "y |']),
        ('id,said\n1,"\\"a\\", b"\n2,"c"\n', ['| 1 | "a", b |', "| 2 | c |"]),
        ('id,said\n1,"""a"", b"\n2,"c\nd"\n', ['| 1 | "a", b |', "| 2 | c d |"]),
    ],
)
def test_quotes_are_read_as_they_give_even_rows(source: str, rows: list[str]) -> None:
    """Some programs write none around cells, and others a backslash before those in cells."""
    assert read_delimited(source).text.split("\n")[2:] == rows


def test_a_name_may_be_called_in_several_words() -> None:
    """As shops call what they sell."""
    text = read_delimited(f'SKU,Product_Name,Body\n7,Pot,"{LONG}"\n8,Tub,"{LONG}"\n').text

    assert text.startswith("## Pot\n\nSKU: 7\nBody: A sentence")


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ('<p style=""color:red"">Of <b>clay</b>,<br>18&nbsp;cm</p>', "Of clay, 18 cm"),
        ("<ul><li>a</li><li>b</li></ul>", "- a - b"),
        ("<T> is a type", "<T> is a type"),
        ("use <b>b</b> for bold", "use <b>b</b> for bold"),
    ],
)
def test_of_html_in_a_cell_its_words_are_read(cell: str, shown: str) -> None:
    """Shops describe their products so."""
    text = read_delimited(f'item,text\npot,"{cell}"\n').text

    assert text.split("\n")[2] == f"| pot | {shown} |"


def test_a_cell_may_be_of_any_length() -> None:
    """Also one that nobody closed: then it is the rest of the file."""
    text = "word " * 100_000

    assert len(read_delimited(f'a,b\n1,"{text}').text) > len(text) - 10


@given(
    rows=st.lists(
        st.lists(st.text("ab1 \n|,;\"'-"), min_size=2, max_size=4), min_size=1, max_size=6
    )
)
def test_no_word_of_a_cell_is_lost(rows: list[list[str]]) -> None:
    """Whatever the delimiter is taken for, and whether it is a table or not."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)

    found = read_delimited(text.getvalue()).text
    for letter in "ab1":
        assert found.count(letter) >= text.getvalue().count(letter)
