"""Where the cuts fall: nothing lost, nothing too long, nothing slow, and as a reader would cut."""

import time
from collections.abc import Sequence
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.chunks import Chunk, Chunker
from embedding_assets.corpus.cuts import WINDOW_CHUNKS
from embedding_assets.corpus.formats.extraction import EXTRACTION_VERSION
from embedding_assets.corpus.packing import parts_of
from embedding_assets.corpus.rulers import Ruler
from embedding_assets.corpus.sections import tree_of
from embedding_assets.model.tokens import DEFAULT
from embedding_assets.settings.values import Settings
from tests.factories import SPEC

MAX_TOKENS = 2048
HEADING, TERM, PROSE, LIST, CODE, TABLE, CAPTION = BlockKind

# fmt: off
PIECES = [
    "# Heading", "word ", "Ends. ", "\n", "\n\n", "- item\n", "  - inner\n", "```\n", "~~~~ py\n",
    "    code\n", "| a | b |\n", "|---|---|\n", "x" * 40, "  ", "жук ", "👩‍👩‍👧", "é", "\x1c",
    "\u2003", "> ", "\N{FULLWIDTH COLON}", "leads on:", "\n    ", "完。", "- ```\n",
]
# fmt: on
texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
blank = st.text(" \n\t\u2003", min_size=1, max_size=4)
labels = st.one_of(st.just("T"), st.text(max_size=30))


class Document:
    """A title, a text and its blocks, put together piece by piece."""

    def __init__(self, title: str = "Title") -> None:
        self.title = title
        self.text = ""
        self.blocks: list[Block] = []

    def add(
        self,
        kind: BlockKind,
        text: str,
        level: int = 0,
        *,
        label: str = "",
        anchor: str = "",
        space: str = "\n\n",
    ) -> "Document":
        self.text += space * bool(self.text)
        start = len(self.text)
        self.text += text
        self.blocks.append(Block(kind, start, len(self.text), level, label, anchor))
        return self

    def heading(self, label: str, level: int = 1) -> "Document":
        anchor = label.lower().replace(" ", "-")
        return self.add(HEADING, f"{'#' * level} {label}", level, label=label, anchor=anchor)

    def term(self, label: str, level: int = 0) -> "Document":
        return self.add(TERM, f"`{label}`", level, label=label, anchor=f"term-{label}")

    def prose(self, text: str, level: int = 0) -> "Document":
        return self.add(PROSE, text, level)

    def split(self, max_chars: int = 300, max_tokens: int = MAX_TOKENS) -> list[Chunk]:
        return a_chunker(max_chars, max_tokens).split(self.title, self.text, self.blocks)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Any blocks in any order: headings that skip levels, terms without definition, broken code."""
    document = Document(draw(labels))
    for _ in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(BlockKind))
        text = draw(texts).strip()
        if text:
            level = draw(st.integers(1, 6) if kind is HEADING else st.integers(0, 40))
            label = draw(labels) if kind in (HEADING, TERM) else ""
            anchor = draw(st.sampled_from(["", "a", "b"]))
            document.add(kind, text, level, label=label, anchor=anchor, space=draw(blank))
    return document


def a_chunker(max_chars: int, max_tokens: int = MAX_TOKENS, *, has_path: bool = True) -> Chunker:
    return Chunker(max_chars=max_chars, max_tokens=max_tokens, has_path=has_path)


def without_space(text: str) -> str:
    return "".join(text.split())


def text_of(chunks: Sequence[Chunk]) -> list[str]:
    return [chunk.passage.text for chunk in chunks]


def sections_of(chunks: Sequence[Chunk]) -> list[str]:
    return [chunk.section for chunk in chunks]


def words(n_chars: int, word: str = "word") -> str:
    """One sentence of about so many characters."""
    return (f"{word} " * (n_chars // (len(word) + 1))).strip() + "."


@given(document=documents(), max_chars=st.integers(1, 60), max_tokens=st.integers(1, 40))
def test_no_text_is_lost(document: Document, max_chars: int, max_tokens: int) -> None:
    """Parts are slices of the text in order, with only white space between; what they repeat is
    in the text before them."""
    text = document.text
    ruler = Ruler.of(text, max_chars=max_chars, max_tokens=max_tokens)
    at = 0
    for part in parts_of(tree_of(text, document.blocks), ruler):
        assert at <= part.start < part.end
        assert not text[at : part.start].strip()
        assert part.prefix.strip() in text[: part.start]
        assert not part.suffix.strip("\n `~")
        at = part.end
    assert not text[at:].strip()


@given(
    document=documents(),
    max_chars=st.integers(1, 60),
    max_tokens=st.integers(1, 40),
    has_path=st.booleans(),
)
def test_limits_hold(document: Document, max_chars: int, max_tokens: int, has_path: bool) -> None:
    """No chunk is blank, or over a limit with its path; a single character may be."""
    chunker = a_chunker(max_chars, max_tokens, has_path=has_path)
    chunks = chunker.split(document.title, document.text, document.blocks)

    assert chunks == chunker.split(document.title, document.text, document.blocks)
    for passage in (chunk.passage for chunk in chunks):
        assert passage.text.strip()
        assert has_path or not passage.path
        assert len(passage.text) <= max_chars
        sent = f"{passage.path}\n\n{passage.text}" if passage.path else passage.text
        assert len(passage.text) == 1 or DEFAULT.estimate(sent) <= max_tokens


@given(text=texts, max_chars=st.integers(1, 60))
def test_a_text_without_blocks_is_paragraphs(text: str, max_chars: int) -> None:
    """Where nothing is known of a text it is cut at blank lines, sentences, lines and words."""
    chunks = text_of(a_chunker(max_chars).split("T", text, ()))

    assert without_space("".join(chunks)) == without_space(text)
    assert all(chunk.strip() and len(chunk) <= max_chars for chunk in chunks)


@pytest.mark.parametrize("text", ["", " ", "\n\n\t \n", "\x1c\x1d", "\n" * 100_000])
def test_a_blank_text_has_no_chunks(text: str) -> None:
    """White space is nothing to embed."""
    assert a_chunker(100).split("Title", text, ()) == []


def test_text_after_more_white_space_than_a_window_is_reached() -> None:
    """A desert of blank lines neither ends the text nor glues its two sides together."""
    text = "before" + "\n" * (WINDOW_CHUNKS * 100 * 3) + "after"

    assert text_of(a_chunker(100).split("Title", text, ())) == ["before", "after"]


def test_whole_blocks_are_packed_within_a_section() -> None:
    """Blocks go together while there is room, never with those of another section."""
    one, two, three = words(140), words(120), words(200)
    document = Document().heading("A").prose(one).prose(two).heading("B").prose(three)
    document.prose(words(250))

    assert text_of(document.split()) == [
        f"# A\n\n{one}\n\n{two}",
        f"# B\n\n{three}",
        words(250),
    ]
    assert sections_of(document.split()) == ["A", "B", "B"]


def test_a_heading_stays_with_what_follows() -> None:
    """Also a heading above a heading, a caption, and a lead-in that ends in a colon."""
    long = words(180)
    document = Document().prose(words(200)).prose("These are all:").add(LIST, f"- {long}")
    document.add(CAPTION, "Table 1").add(TABLE, f"| a |\n|---|\n| {long} |")
    document.heading("Only a heading").heading("Below it", 2).prose(words(250))

    assert text_of(document.split()) == [
        words(200),
        f"These are all:\n\n- {long}",
        f"Table 1\n\n| a |\n|---|\n| {long} |",
        f"# Only a heading\n\n## Below it\n\n{words(250)}",
    ]
    assert sections_of(document.split())[-1] == "Only a heading › Below it"


def test_a_section_of_only_a_heading_goes_to_the_next_one() -> None:
    """But not out of its parent: the last one there stays with its siblings."""
    document = Document().heading("A").heading("A1", 2).heading("A2", 2).prose(words(200))
    document.heading("A3", 2).heading("B").prose(words(200))

    assert text_of(document.split()) == [
        f"# A\n\n## A1\n\n## A2\n\n{words(200)}\n\n## A3",
        f"# B\n\n{words(200)}",
    ]
    assert sections_of(document.split()) == ["A", "B"]


def test_a_term_is_a_section() -> None:
    """A definition is found under its term, and what follows the list under the heading."""
    document = Document().heading("Functions").prose(words(150)).prose("They are:")
    document.term("open(path)").prose(words(150), 1).prose(words(90), 1)
    document.term("close()").prose(words(200), 1).prose(words(250))

    chunks = document.split()
    assert [(chunk.section, chunk.anchor) for chunk in chunks] == [
        ("Functions", "functions"),
        ("Functions › open(path)", "term-open(path)"),
        ("Functions › close()", "term-close()"),
        ("Functions", "functions"),
    ]
    assert text_of(chunks)[1] == f"They are:\n\n`open(path)`\n\n{words(150)}\n\n{words(90)}"


def test_a_bare_term_is_parted_from_its_sibling_first() -> None:
    """In an index, whose terms have no definitions, one stays with those below it."""
    document = Document()
    for n in range(30):
        document.term(f"name {n}").term(words(60, f"use{n}"), 1)

    chunks = text_of(document.split())
    assert len(chunks) > 5
    assert all(chunk.startswith("`name") for chunk in chunks)


def test_small_sections_go_together_under_what_they_share() -> None:
    """One that is large enough keeps its own name; the small ones around it have their parent's."""
    document = Document().heading("Module")
    for name in "abcdef":
        document.term(name).prose(words(180 if name == "c" else 60), 1)

    chunks = document.split()
    assert sections_of(chunks) == ["Module", "Module › c", "Module"]
    assert text_of(chunks)[2] == "\n\n".join(f"`{name}`\n\n{words(60)}" for name in "def")
    assert [chunk.anchor for chunk in chunks] == ["module", "term-c", "term-d"]


def test_a_small_rest_is_not_left_over() -> None:
    """The last two chunks of a section share what is there, if one of them would be small."""
    document = Document()
    for _ in range(13):
        document.prose(words(45))

    assert [text.count(".") for text in text_of(document.split())] == [6, 5, 2]


def test_a_table_repeats_its_header() -> None:
    """Every part of a table that is too long is a table."""
    header = "| name | value |\n| --- | --- |"
    rows = [f"| row {n} | {words(50)} |" for n in range(40)]
    document = Document().add(TABLE, "\n".join([header, *rows]))

    chunks = text_of(document.split())
    assert len(chunks) > 5
    assert all(chunk.startswith(f"{header}\n| row") for chunk in chunks)
    assert [row for chunk in chunks for row in chunk.split("\n")[2:]] == rows


def test_a_header_of_half_the_size_is_not_repeated() -> None:
    """It would leave no room for rows."""
    header = f"| {words(150)} |\n| --- |"
    rows = "\n".join(f"| {n} {words(60)} |" for n in range(10))
    document = Document().add(TABLE, f"{header}\n{rows}")

    first, *others = text_of(document.split())
    assert "---" in first
    assert others
    assert not any("---" in text for text in others)


@pytest.mark.parametrize("fence", ["```", "~~~~"])
def test_code_repeats_its_fence(fence: str) -> None:
    """Every part of code that is too long says its language and is closed."""
    lines = [f"call({n})" for n in range(100)]
    document = Document().add(CODE, "\n".join([f"{fence}python", *lines, fence]))

    chunks = text_of(document.split())
    assert len(chunks) > 3
    assert all(chunk.startswith(f"{fence}python\ncall") for chunk in chunks)
    assert all(chunk.endswith(f")\n{fence}") for chunk in chunks)
    assert [line for chunk in chunks for line in chunk.split("\n")[1:-1]] == lines


def test_code_is_rather_cut_at_blank_lines() -> None:
    """A function stays whole where it can."""
    functions = [f"def f{n}():\n    a({n})\n\n    b()" for n in range(20)]
    document = Document().add(CODE, "```\n" + "\n\n".join(functions) + "\n```")

    chunks = text_of(document.split())
    assert all(chunk.startswith("```\ndef f") for chunk in chunks)
    assert all(chunk.endswith("    b()\n```") for chunk in chunks)


def test_a_list_is_cut_at_its_outer_items() -> None:
    """An item keeps what is nested in it; code in an item is fenced on both sides."""
    items = [f"- item {n}\n  - {words(50)}\n  - {words(50)}" for n in range(9)]
    code = "\n".join(f"  run({n})" for n in range(60))
    document = Document().add(LIST, "\n".join([*items, f"- last\n\n  ```sh\n{code}\n  ```"]))

    chunks = text_of(document.split())
    assert all(chunk.startswith("- item") for chunk in chunks[:4])
    assert all(chunk.count("```") in (0, 2) for chunk in chunks)
    assert chunks[-1].startswith("  ```sh\n  run(")


def test_prose_is_cut_at_sentences() -> None:
    """Words are parted only where a sentence alone is too long."""
    sentences = " ".join(words(70, word) for word in ["First", "second", "Third", "Fourth"] * 5)
    chunks = text_of(Document().prose(sentences).split())

    assert all(chunk.endswith(".") for chunk in chunks)
    assert not any(chunk.startswith("second") for chunk in chunks)


def test_an_inserted_paragraph_moves_few_boundaries() -> None:
    """Other sections stay as they are, and so does most of the same one."""
    before, after = Document(), Document()
    for n in range(30):
        for document in (before, after):
            document.heading(f"Section {n}")
            for m in range(12):
                document.prose(words(40 + n * m % 70, f"w{n}x{m}"))
                if document is after and (n, m) == (15, 3):
                    document.prose(words(60, "inserted"))

    sent = {chunk.passage.sha256 for chunk in after.split()}
    sent -= {chunk.passage.sha256 for chunk in before.split()}
    assert 1 <= len(sent) <= 5


@pytest.mark.parametrize("kind", [PROSE, TERM])
def test_cuts_are_soon_the_same_again_in_a_long_section(kind: BlockKind) -> None:
    """Also among hundreds of short blocks or terms, of which one more fits nearly anywhere."""
    before, after = Document(), Document()
    for n in range(1000):
        for document in (before, after):
            document.add(kind, f"w{n}", label=f"w{n}")
            document.prose(words(20 + n * n % 41, f"w{n}"), kind is TERM)
        if n == 100:
            after.prose(words(30, "inserted"), kind is TERM)

    sent = {chunk.passage.sha256 for chunk in after.split(2000)}
    sent -= {chunk.passage.sha256 for chunk in before.split(2000)}
    assert 1 <= len(sent) <= 5
    assert len(before.split(2000)) > 20


def test_a_path_says_what_a_chunk_is_about() -> None:
    """Gemini gets it normalised, people read the section as it is, and a setting turns it off."""
    document = Document("Zip 3.11.2").heading("Zip 3.11.2").heading("1.2. Objects", 2)
    document.prose(words(200))

    (chunk,) = document.split()
    assert chunk.section == "1.2. Objects"
    assert chunk.passage.path == "Zip › Objects"
    (bare,) = a_chunker(300, has_path=False).split(document.title, document.text, document.blocks)
    assert (bare.passage.path, bare.section) == ("", chunk.section)
    assert bare.passage.text == chunk.passage.text


def test_an_anchor_is_the_nearest_one_before() -> None:
    """Of a block in its section, of the section, of the one around it; or there is none."""
    document = Document().prose(words(250)).heading("A")
    document.prose(words(150)).add(PROSE, words(250), anchor="p2").prose(words(250))
    document.add(HEADING, "## B", 2, label="B").prose(words(250))

    anchors = [chunk.anchor for chunk in document.split()]
    assert anchors == ["", "a", "p2", "p2", "a"]


@pytest.mark.parametrize("kind", [PROSE, CODE, TABLE])
@pytest.mark.parametrize(
    "text",
    ["word " * 1_000_000, "x" * 5_000_000, "| cell | 17 |\n" * 350_000],
    ids=["words", "letters", "table"],
)
def test_five_megabytes_take_about_a_second(kind: BlockKind, text: str) -> None:
    """Time grows with the text, not with its square, also when it is a single line or block."""
    document = Document().add(kind, text.strip(), 1)
    started = time.process_time()

    chunks = document.split(2000)

    assert time.process_time() - started < 5  # 40-110 s in one call of the splitter
    assert sum(len(chunk.passage.text) for chunk in chunks) > 0.99 * len(text)


@pytest.mark.parametrize("kind", [HEADING, TERM, PROSE, CAPTION])
def test_many_blocks_take_seconds(kind: BlockKind) -> None:
    """So does the number of blocks, whatever they lead on to and however deep they claim to be."""
    document = Document()
    pieces, at = [], 0
    for n in range(100_000):
        text = f"A block {n}:"
        document.blocks.append(
            Block(kind, at, at + len(text), 1 + n % (6 if kind is HEADING else n + 1), text)
        )
        pieces.append(text)
        at += len(text) + 1
    document.text = "\n".join(pieces)
    started = time.process_time()

    chunks = document.split(2000)

    assert time.process_time() - started < 10
    assert without_space("".join(text_of(chunks))) == without_space(document.text)


DENSE = {
    "emoji": "😀🎉🚀",
    "a family": "👩‍👩‍👧",
    "Chinese": "索引列出文档的每个片段。",
    "Japanese": "索引は文書の断片をすべて並べます。",
    "mixed": "plain words 索引列出 😀🎉 жук ",
}


@pytest.mark.parametrize("kind", [PROSE, CODE, LIST, TABLE])
@pytest.mark.parametrize("dense", DENSE.values(), ids=DENSE)
def test_a_chunk_is_within_what_the_model_reads(dense: str, kind: BlockKind) -> None:
    """Where characters are dear, chunks have fewer of them; nothing is lost and order stays."""
    document = Document().prose("A paragraph of plain words.")
    document.add(kind, dense.strip() * (16_000 // len(dense))).prose("The end.")

    chunks = text_of(document.split(8000))

    assert without_space("".join(chunks)) == without_space(document.text)
    assert max(map(DEFAULT.estimate, chunks)) <= MAX_TOKENS
    assert sum(map(DEFAULT.estimate, chunks)) > len(chunks) * MAX_TOKENS / 3  # not in crumbs


@pytest.mark.parametrize("dense", ["Каталог хранит отрывки. ", "Der Index führt Abschnitte auf. "])
def test_ordinary_chunks_are_not_cut_further(dense: str) -> None:
    """2,000 characters of an alphabet are within 2,048 tokens, path and all: boundaries stay."""
    document = Document().prose((dense * 1000).strip())

    assert document.split(2000) == document.split(2000, 10**9)


def test_the_fingerprint_names_what_chunks_depend_on() -> None:
    """People can read from it which splitter cut how; other sizes have other fingerprints."""
    fingerprint = a_chunker(2000).fingerprint

    assert f"semantic-text-splitter {version('semantic-text-splitter')}" in fingerprint
    assert f"extraction {EXTRACTION_VERSION}, chunking 2" in fingerprint
    assert "2000 characters" in fingerprint
    assert fingerprint != a_chunker(1999).fingerprint
    assert fingerprint == a_chunker(2000).fingerprint
    assert "without path" not in fingerprint
    assert "without path" in a_chunker(2000, has_path=False).fingerprint


def test_the_fingerprint_of_the_settings_is_of_reading_too() -> None:
    """With other selectors the same files are another number of chunks, as with another size."""
    usual, selecting = (
        Chunker.of(Settings.model_validate({"corpus": {"html_keep": keep}}), SPEC).fingerprint
        for keep in ([], ["main"])
    )

    assert usual.startswith(f"extraction {EXTRACTION_VERSION}, chunking")
    assert selecting.startswith(f"extraction {EXTRACTION_VERSION} with selectors ")


def test_the_fingerprint_of_the_settings_is_of_links_too() -> None:
    """Documents are listed anew with other links, as far as there is a setting for them."""
    without, one, other = (
        Chunker.of(Settings.model_validate({"corpus": {"urls": urls}}), SPEC).fingerprint
        for urls in ({}, {"docs/": "https://a.example/"}, {"docs/": "https://b.example/"})
    )

    assert "urls" not in without
    assert ", urls " in one
    assert one != other


def test_the_fingerprint_names_tokens_if_they_can_matter() -> None:
    """As many tokens as characters can have move no boundary, so nothing is split again."""
    assert a_chunker(2000).fingerprint.endswith("2000 characters, 2048 tokens")
    assert a_chunker(2000, 8192).fingerprint.endswith("2000 characters")
    assert a_chunker(923).fingerprint.endswith("923 characters")
    assert a_chunker(924).fingerprint.endswith("924 characters, 2048 tokens")
    assert a_chunker(1024, has_path=False).fingerprint.endswith("1024 characters, without path")
    assert a_chunker(1025, has_path=False).fingerprint.endswith("without path, 2048 tokens")


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_has_at_least_one_character(size: int) -> None:
    """A size that cannot be is refused when it is given, not when a text is split."""
    with pytest.raises(ValueError, match=f"max_chars must be positive, not {size}"):
        a_chunker(size)
    with pytest.raises(ValueError, match=f"max_tokens must be positive, not {size}"):
        a_chunker(2000, size)
