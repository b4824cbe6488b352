"""Files made to stop a reindex, beside good ones: each is listed with its reason, nothing else."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from embedding_assets.corpus.blocks import Block
from embedding_assets.corpus.chunks import Chunk, Chunker
from embedding_assets.corpus.documents import Document
from embedding_assets.pipeline.build import build_generation
from tests.factories import NOW, SPEC, write_corpus
from tests.integration.dagster_support import (
    ANIMALS,
    MONTH,
    Pipeline,
    a_pipeline,
    digest,
    text_about,
)
from tests.integration.world import World, a_text, documents

SPACES = " " * 20_000

# A part of the message, by the name of the file.
BAD = {
    "deep.html": ("<div>" * 120_000 + "deep", "takes more than 5.0 s of CPU time"),
    "fonts.html": (
        "".join(f"<p><font size={n}></p>" for n in range(20_000)),
        "MB of memory",
    ),
    "comment.html": ("<!--" * 100_000, "there is no text in it, only markup"),
    "large.txt": ("x" * 1_000_001, "the file has 1,000,001 bytes, more than the 1,000,000"),
    "blank.md": (" " * 500_000 + "\n" * 500_000, "there is no text in it, only whitespace"),
    "binary.txt": ("\0" * 1_000_000, "it is binary, not text"),
    "damaged.txt": ("ж" * 100_000 + "\udcff", "it is not valid UTF-8 at byte 200000"),
    "utf-16.txt": ("\udcff\udcfe\0", "it looks like utf-16 but is not valid"),
}
GOOD = {
    "heading.md": f"# a{SPACES}x",
    "front matter.md": f"---\ntitle: b{SPACES}x\n---\ntext",
    "marks.txt": "\ufeff\ufeffin the middle\ufeff of a text",
}


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Good documents between bad ones; no file may have more than a megabyte."""
    corpus = {"paths": (str(tmp_path.with_name("pipeline") / "docs"),), "max_file_mb": 1}
    with a_pipeline(tmp_path, monkeypatch, corpus=corpus) as opened:
        opened.write(ANIMALS[:4])
        write_corpus(opened.docs, GOOD)
        for name, (text, _) in BAD.items():
            (opened.docs / name).write_bytes(text.encode(errors="surrogateescape"))
        os.mkfifo(opened.docs / "pipe.md")
        (opened.docs / "loop.md").symlink_to("loop.md")
        (opened.docs / "again").symlink_to(".")
        yield opened


def test_hostile_files_stop_nobody(pipeline: Pipeline) -> None:
    """All good ones are published, and each bad one is listed with what is wrong with it."""
    status = pipeline.reindex()

    messages = {Path(failure.uri).name: failure.error_message for failure in pipeline.failures()}
    assert messages.keys() == {*BAD, "pipe.md", "loop.md"}
    for name, (_, part) in BAD.items():
        assert part in messages[name]
    assert "special one such as a pipe" in messages["pipe.md"]
    assert "Too many levels of symbolic links" in messages["loop.md"]
    assert status.published is not None
    read = pipeline.values("documents")[MONTH]
    assert (read["documents_readable"], read["documents_failed"]) == (7, len(messages))
    assert pipeline.bought() >= {digest(text_about(animal)) for animal in ANIMALS[:4]}
    assert {hit.title for hit in pipeline.search("in the middle of a text", k=100)} == {
        *ANIMALS[:4],
        *("a x", "b x", "marks"),
    }


class ExhaustedChunker(Chunker):
    """One that some texts are too much for."""

    def split(self, title: str, text: str, blocks: Sequence[Block]) -> list[Chunk]:
        if "too much" in text:
            raise MemoryError
        return super().split(title, text, blocks)


def test_a_text_that_exhausts_the_chunker_stops_nobody(world: World) -> None:
    """Its document is listed with an error, and tried again by the next build."""
    corpus: list[Document] = documents({"bad.md": "too much", "good.md": a_text(1)})
    chunker = ExhaustedChunker(max_chars=2000, max_tokens=SPEC.max_text_tokens)

    def build(chunker: Chunker) -> list[str]:
        built = build_generation(
            world.index, corpus, month="2026-11", spec=SPEC, chunker=chunker, now=NOW
        )
        messages = [f.error_message for f in world.index.published.failures(built.generation)]
        return [*messages, *world.missing(built.generation)]

    assert build(chunker) == [
        "it takes more memory than there is (MemoryError); split it",
        a_text(1),
    ]
    assert build(Chunker(max_chars=2000, max_tokens=SPEC.max_text_tokens)) == [
        a_text(1),
        "too much",
    ]
