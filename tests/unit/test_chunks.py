"""Where the cuts fall: nothing lost, nothing too long, nothing slow."""

import hashlib
import time
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantic_text_splitter import MarkdownSplitter, TextSplitter

from embedding_assets.corpus.chunks import WINDOW_CHUNKS, Chunker, chunk_sha256
from embedding_assets.model.tokens import DEFAULT

MAX_TOKENS = 2048
MEDIA_TYPES = ["text/markdown", "text/html", "text/x-rst", "text/plain"]

# fmt: off
PIECES = [
    "# Heading\n", "word ", "Ends. ", "\n", "\n\n", "- item\n", "```\n", "    code\n",
    "| a | b |\n", "x" * 40, "  ", "жук ", "👩‍👩‍👧", "é", "\x1c", "\u2003", "> ",
]
# fmt: on
texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=200).map("".join))


def a_chunker(max_chars: int, max_tokens: int = MAX_TOKENS) -> Chunker:
    return Chunker(max_chars=max_chars, max_tokens=max_tokens)


def without_space(text: str) -> str:
    return "".join(text.split())


@given(text=texts, media_type=st.sampled_from(MEDIA_TYPES), max_chars=st.integers(1, 60))
def test_no_text_is_lost(text: str, media_type: str, max_chars: int) -> None:
    """Chunks are the text in order but for white space, each within the limit, always the same."""
    chunks = a_chunker(max_chars).split(text, media_type)

    assert without_space("".join(chunks)) == without_space(text)
    assert all(len(chunk) <= max_chars for chunk in chunks)
    assert all(chunk.strip() for chunk in chunks)
    assert chunks == a_chunker(max_chars).split(text, media_type)


@given(text=texts.filter(lambda text: len(text) <= WINDOW_CHUNKS * 100))
def test_an_ordinary_text_is_cut_as_the_library_cuts_it(text: str) -> None:
    """A text of up to a window is what the splitter makes of it in one call."""
    markdown = [chunk for chunk in MarkdownSplitter(100).chunks(text) if chunk.strip()]
    plain = [chunk for chunk in TextSplitter(100).chunks(text) if chunk.strip()]

    assert a_chunker(100).split(text, "text/markdown") == markdown
    assert a_chunker(100).split(text, "text/plain") == plain


def sections(n: int) -> str:
    """A manual: headings, prose, and code whose comments look like headings."""
    return "\n".join(
        f"## Section {i}\n\n{'A sentence of six plain words. ' * (i % 7 + 1)}\n\n"
        f"```\n# step {i}\nrun({i})\n```\n"
        for i in range(n)
    )


@pytest.mark.parametrize(
    ("media_type", "splitter"),
    [("text/markdown", MarkdownSplitter(300)), ("text/plain", TextSplitter(300))],
)
def test_windows_leave_no_trace(media_type: str, splitter: MarkdownSplitter | TextSplitter) -> None:
    """A text of many windows is cut as the splitter would cut it in one call."""
    text = sections(400)

    assert len(text) > 10 * WINDOW_CHUNKS * 300
    assert a_chunker(300).split(text, media_type) == splitter.chunks(text)


def test_markdown_is_cut_at_headings() -> None:
    """A section that fits stays whole and starts with its heading."""
    one, two = "# One\n\n" + "First words. " * 10, "# Two\n\n" + "Other words. " * 10

    assert a_chunker(150).split(f"{one}\n\n{two}", "text/markdown") == [one.strip(), two.strip()]


@pytest.mark.parametrize("text", ["", " ", "\n\n\t \n", "\x1c\x1d", "\n" * 100_000])
def test_a_blank_text_has_no_chunks(text: str) -> None:
    """White space is nothing to embed."""
    assert a_chunker(100).split(text, "text/markdown") == []
    assert a_chunker(100).split(text, "text/plain") == []


def test_text_after_more_white_space_than_a_window_is_reached() -> None:
    """A desert of blank lines neither ends the text nor glues its two sides together."""
    text = "before" + "\n" * (WINDOW_CHUNKS * 100 * 3) + "after"

    assert a_chunker(100).split(text, "text/plain") == ["before", "after"]


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("text/plain", "word " * 1_000_000),
        ("text/markdown", "x" * 5_000_000),
        ("text/markdown", "| cell | 17 |\n" * 350_000),
    ],
    ids=["words", "letters", "table"],
)
def test_five_megabytes_take_about_a_second(media_type: str, text: str) -> None:
    """Time grows with the text, not with its square, also when it is a single line."""
    started = time.process_time()

    chunks = a_chunker(2000).split(text, media_type)

    assert time.process_time() - started < 5  # 40-110 s in one call of the splitter
    assert sum(map(len, chunks)) > 0.99 * len(text)


DENSE = {
    "emoji": "😀🎉🚀",
    "a family": "👩‍👩‍👧",
    "Chinese": "索引列出文档的每个片段。",
    "Japanese": "索引は文書の断片をすべて並べます。",
    "mixed": "plain words 索引列出 😀🎉 жук ",
}


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("dense", DENSE.values(), ids=DENSE)
def test_a_chunk_is_within_what_the_model_reads(dense: str, media_type: str) -> None:
    """Where characters are dear, chunks have fewer of them; nothing is lost and order stays."""
    text = "A paragraph of plain words.\n\n" + dense * (16_000 // len(dense)) + "\n\nThe end."

    chunks = a_chunker(8000).split(text, media_type)

    assert without_space("".join(chunks)) == without_space(text)
    assert max(map(DEFAULT.estimate, chunks)) <= MAX_TOKENS
    assert sum(map(DEFAULT.estimate, chunks)) > len(chunks) * MAX_TOKENS / 3  # not in crumbs


@given(text=texts, max_chars=st.integers(1, 60), max_tokens=st.integers(1, 30))
def test_both_limits_hold(text: str, max_chars: int, max_tokens: int) -> None:
    """Of any text nothing is lost and no chunk exceeds a limit; a single character may."""
    for media_type in ("text/markdown", "text/plain"):
        chunks = a_chunker(max_chars, max_tokens).split(text, media_type)

        assert without_space("".join(chunks)) == without_space(text)
        assert all(chunk.strip() and len(chunk) <= max_chars for chunk in chunks)
        assert all(DEFAULT.estimate(chunk) <= max_tokens for chunk in chunks if len(chunk) > 1)


@pytest.mark.parametrize("dense", ["索引列出文档的每个片段。", "Каталог хранит отрывки. "])
def test_ordinary_chunks_are_not_cut_further(dense: str) -> None:
    """2,000 characters of any script in daily use are within 2,048 tokens: boundaries stay."""
    text = dense * 1000

    assert a_chunker(2000).split(text, "text/plain") == a_chunker(2000, 10**9).split(
        text, "text/plain"
    )


def test_the_fingerprint_names_what_boundaries_depend_on() -> None:
    """People can read from it which splitter cut how; other sizes have other fingerprints."""
    fingerprint = a_chunker(2000).fingerprint

    assert f"semantic-text-splitter {version('semantic-text-splitter')}" in fingerprint
    assert "extraction 1" in fingerprint
    assert "2000 characters" in fingerprint
    assert fingerprint != a_chunker(1999).fingerprint
    assert fingerprint == a_chunker(2000).fingerprint


def test_the_fingerprint_names_tokens_if_they_can_matter() -> None:
    """As many tokens as characters can have move no boundary, so nothing is split again."""
    assert a_chunker(2000).fingerprint.endswith("2000 characters, 2048 tokens")
    assert a_chunker(2000, 8192).fingerprint.endswith("2000 characters")
    assert a_chunker(1024).fingerprint.endswith("1024 characters")
    assert a_chunker(1025).fingerprint.endswith("1025 characters, 2048 tokens")


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_has_at_least_one_character(size: int) -> None:
    """A size that cannot be is refused when it is given, not when a text is split."""
    with pytest.raises(ValueError, match=f"max_chars must be positive, not {size}"):
        a_chunker(size)
    with pytest.raises(ValueError, match=f"max_tokens must be positive, not {size}"):
        a_chunker(2000, size)


def test_a_chunk_is_identified_by_its_utf8() -> None:
    """The hash of a chunk is SHA-256 of its UTF-8, 32 bytes."""
    assert chunk_sha256("ж") == hashlib.sha256(b"\xd0\xb6").digest()
    assert len(chunk_sha256("")) == 32
