"""Finding the files of a corpus and reading one, whatever people keep in their directories."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from upath import UPath

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.documents import Document, read_file
from embedding_assets.corpus.find import SourceFile, find_documents
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.extraction import EXTRACTION_VERSION, Extraction
from embedding_assets.corpus.patterns import Patterns
from embedding_assets.errors import CorpusError
from tests.factories import MAX_FILE_BYTES, NOW, a_document, a_reading


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory ``corpus`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "corpus"
    path.mkdir()
    return path


def write(path: Path, data: bytes = b"text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def uris(*paths: str) -> list[str]:
    return [source.uri for source in find_documents(paths)]


def read_only(path: Path | str) -> Document:
    """Read the one document at ``path``."""
    (document,) = a_reading(str(path))
    return document


# --- Finding --------------------------------------------------------------------------------------


def test_a_directory_is_searched_recursively_in_order(corpus: Path) -> None:
    """All documents below it are found, sorted by name at every level."""
    for name in ["b.md", "a/z.txt", "a/b/c.html", "c.RST", "a.markdown", "d.htm"]:
        write(corpus / name)

    assert uris("corpus") == [
        "corpus/a/b/c.html",
        "corpus/a/z.txt",
        "corpus/a.markdown",
        "corpus/b.md",
        "corpus/c.RST",
        "corpus/d.htm",
    ]
    assert {source.media_type for source in find_documents(["corpus"])} == {
        "text/html",
        "text/plain",
        "text/markdown",
        "text/x-rst",
    }


def test_other_and_hidden_files_are_no_documents(corpus: Path) -> None:
    """Other suffixes and all under a dot name are left out; a directory may be called x.md."""
    for name in ["a.png", "b.md.bak", ".hidden.md", ".git/c.md", "x.md/.d/e.md"]:
        write(corpus / name)
    write(corpus / "x.md" / "f.md")

    assert uris("corpus") == ["corpus/x.md/f.md"]
    assert uris("corpus/**/*.md") == ["corpus/x.md/f.md"]


@pytest.mark.parametrize(
    "name", ["with space.md", "Документ.md", "🐞.md", "[draft] 100%.md", "#?.md"]
)
def test_names_may_hold_any_character(corpus: Path, name: str) -> None:
    """Spaces, other alphabets, emoji and the characters of globs are names like others."""
    write(corpus / name, b"found")

    assert uris(f"corpus/{name}") == uris("corpus") == [f"corpus/{name}"]
    assert read_only(corpus / name).text == "found"


def test_a_name_that_is_no_utf8_is_escaped(corpus: Path) -> None:
    """The file is read, and its URI is a text that every store takes."""
    write(Path(os.fsdecode(os.fsencode(corpus) + b"/\xff.md")), b"found")

    document = read_only("corpus")

    assert document.uri == "corpus/\\udcff.md"
    assert (document.title, document.text) == ("\\udcff", "found")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("corpus/*.md", ["a.md", "b.md"]),
        ("corpus/**/*.md", ["a.md", "b.md", "x/c.md", "x/y/d.md"]),
        ("corpus/x/**", ["x/c.md", "x/y/d.md", "x/y/e.txt"]),
        ("corpus/*/y", ["x/y/d.md", "x/y/e.txt"]),
        ("c*/[ab].md", ["a.md", "b.md"]),
        ("corpus/?.*", ["a.md", "b.md"]),
    ],
)
def test_a_glob_selects_files_and_whole_directories(
    corpus: Path, pattern: str, found: list[str]
) -> None:
    """Two stars stand for any number of directories; a directory that matches is searched."""
    for name in ["a.md", "b.md", "x/c.md", "x/y/d.md", "x/y/e.txt", "x/y/f.jpg"]:
        write(corpus / name)

    assert uris(pattern) == [f"corpus/{name}" for name in found]


@pytest.mark.parametrize("name", ["elsewhere", "what? [a] *#50%"])
def test_relative_paths_and_uris_start_at_the_folder(corpus: Path, name: str) -> None:
    """The same documents have the same uris from anywhere, whatever the folder is called."""
    folder = corpus / name
    for file in ("docs/a.md", "docs/deep/b.md", "one.md", "other.md"):
        write(folder / file)
    write(corpus / "beside.md")
    absolute = write(corpus / "apart" / "c.md")
    paths = ["docs", "docs/*/*.md", "o*.md", "../beside.md", str(absolute)]

    found = list(find_documents(paths, folder))

    names = ["docs/a.md", "docs/deep/b.md", "one.md", "other.md", "../beside.md", str(absolute)]
    assert [source.uri for source in found] == names
    assert all(source.path.read_bytes() == b"text" for source in found)
    os.chdir(folder)
    assert uris(*paths) == names


def test_a_file_reached_twice_is_found_once(corpus: Path) -> None:
    """Overlapping paths and links name a file once, by the way that comes first."""
    write(corpus / "sub" / "a.md")
    write(corpus / "b.md")
    (corpus / "c.md").symlink_to("b.md")

    paths = [
        "corpus/sub",
        "corpus",
        "corpus/*.md",
        str(corpus),
        "./corpus/b.md",
        f"file://{corpus}",
    ]

    assert uris(*paths) == ["corpus/sub/a.md", "corpus/b.md"]


def test_two_files_with_one_content_are_two_documents(corpus: Path) -> None:
    """Copies keep their own URIs; that they are equal is seen by their hash."""
    write(corpus / "a.md")
    write(corpus / "b.md")

    one, two = a_reading("corpus")

    assert (one.uri, two.uri) == ("corpus/a.md", "corpus/b.md")
    assert one.sha256 == two.sha256


def test_links_are_followed_only_inside_the_corpus(corpus: Path) -> None:
    """A link to a file or directory elsewhere is left out, also when a glob matches it."""
    write(corpus.parent / "secret" / "s.md")
    write(corpus / ".versions" / "v3" / "inside.md")
    (corpus / "current").symlink_to(".versions/v3")
    (corpus / "file.md").symlink_to("../secret/s.md")
    (corpus / "directory").symlink_to("../secret")

    assert uris("corpus") == ["corpus/current/inside.md"]
    assert uris("corpus/*/*.md") == ["corpus/current/inside.md"]


def test_a_corpus_path_may_itself_be_a_link(corpus: Path) -> None:
    """What the settings name is followed wherever it leads."""
    write(corpus / "a.md")
    Path("link").symlink_to("corpus")
    Path("file.md").symlink_to("corpus/a.md")

    assert uris("link") == ["link/a.md"]
    assert uris("file.md") == ["file.md"]


def test_a_link_loop_ends(corpus: Path) -> None:
    """A directory that links to one above it is searched once."""
    write(corpus / "sub" / "a.md")
    (corpus / "sub" / "loop").symlink_to("..")
    (corpus / "sub" / "self").symlink_to("self")

    assert uris("corpus") == uris("corpus/**/*.md") == ["corpus/sub/a.md"]


def test_directories_may_be_nested_deeper_than_python_recurses(corpus: Path) -> None:
    """As deep as a path can be: a folder copied into itself stops nobody."""
    path = corpus
    for _ in range(1_200):
        path = path / "a"
        path.mkdir()
    write(path / "b.md")

    try:
        assert uris("corpus") == uris("corpus/**/*.md") == [f"corpus{'/a' * 1_200}/b.md"]
    finally:  # what cleans up after tests does recurse
        (path / "b.md").unlink()
        os.removedirs(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", r"'nowhere' does not exist; correct paths in the \[corpus\] section"),
        ("nowhere.md", "'nowhere.md' does not exist"),
        ("corpus/*.html", r"'corpus/\*.html' matches no document"),
        ("nowhere/*.md", r"'nowhere/\*.md' matches no document"),
        ("corpus/a.jpg", "'corpus/a.jpg' is a file of an unsupported type; supported are .md "),
        ("x" * 5000, "cannot be searched .*File name too long"),
        ("nosuch://x", "cannot be searched .*nosuch"),
    ],
)
def test_a_path_that_cannot_be_used_is_an_error(corpus: Path, path: str, message: str) -> None:
    """A corpus path that yields nothing is said to, by name and with a remedy."""
    write(corpus / "a.jpg")

    with pytest.raises(CorpusError, match=message):
        uris(path)


def test_an_empty_directory_is_an_empty_corpus(corpus: Path) -> None:
    """A directory without documents is no error: it may fill later."""
    assert uris(str(corpus)) == []


def test_any_file_system_can_hold_the_corpus() -> None:
    """The same rules hold where fsspec reaches: here its file system in memory."""
    root = UPath("memory://finding")
    for name in ["b.md", "a/c d.html", ".hidden/e.md", "f.jpg", "a/.g.md"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"text")

    assert uris("memory://finding") == ["memory://finding/a/c d.html", "memory://finding/b.md"]
    assert uris("memory://finding/*") == ["memory://finding/a/c d.html", "memory://finding/b.md"]
    assert uris("memory://finding/**/*.html") == ["memory://finding/a/c d.html"]
    assert uris("memory://finding/b.md", "memory://finding") == [
        "memory://finding/b.md",
        "memory://finding/a/c d.html",
    ]
    (_, document) = a_reading("memory://finding")
    assert (document.text, document.error_message) == ("text", None)
    with pytest.raises(CorpusError, match="matches no document"):
        uris("memory://finding/*.rst")


# --- Reading --------------------------------------------------------------------------------------


def test_a_document_is_its_file_as_read(corpus: Path) -> None:
    """Text, title, hash, size and time are those of the file."""
    data = "# Größe\r\n\r\nText".encode()
    os.utime(write(corpus / "a.md", data), (0, 1_700_000_000.5))

    assert read_only("corpus") == Document(
        uri="corpus/a.md",
        sha256=hashlib.sha256(data).hexdigest(),
        media_type="text/markdown",
        title="Größe",
        text="# Größe\n\nText",
        blocks=(
            Block(BlockKind.HEADING, 0, 7, level=1, label="Größe", anchor="größe"),
            Block(BlockKind.PROSE, 9, 13),
        ),
        n_bytes=len(data),
        modified_at=datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC),
        extraction=str(EXTRACTION_VERSION),
        remark="",
        error_message=None,
    )


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.md", b"", "the file is empty"),
        ("a.html", b"", "the file is empty"),
        ("a.txt", b" \n\t\r\n", "there is no text in it, only whitespace"),
        ("a.html", b"<p></p>", "there is no text in it, only markup"),
        (
            "a.txt",
            b"GIF89a\0\0",
            "it is binary, not text: it contains NUL bytes; if it is UTF-16, save it as UTF-8",
        ),
    ],
)
def test_a_bad_file_is_a_document_with_an_error(
    corpus: Path, name: str, data: bytes, message: str
) -> None:
    """Its bytes are identified, its title is its name, and what is wrong is said."""
    write(corpus / name, data)

    document = read_only("corpus")

    assert document == a_document(
        uri=f"corpus/{name}",
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=document.media_type,
        title="a",
        text="",
        n_bytes=len(data),
        modified_at=document.modified_at,
        extraction=Extraction().fingerprint_of(document.media_type),
        error_message=message,
        unreadable_since=NOW,
    )


def test_a_file_that_vanished_is_a_document_with_an_error(corpus: Path) -> None:
    """Between finding and reading a file may be deleted; the rest of the corpus goes on."""
    path = write(corpus / "a.md")
    (source,) = find_documents(["corpus"])
    path.unlink()

    (document,) = read_file(source, now=NOW, max_bytes=MAX_FILE_BYTES)

    assert document.error_message == "the file is gone: deleted meanwhile, or a link to nothing"
    assert (document.sha256, document.n_bytes, document.text) == ("", 0, "")


def test_a_file_that_became_a_directory_is_a_document_with_an_error(corpus: Path) -> None:
    """What was a file when it was found may be something else when it is read."""
    path = write(corpus / "a.md")
    (source,) = find_documents(["corpus"])
    path.unlink()
    path.mkdir()

    assert "not a file any more" in str(
        read_file(source, now=NOW, max_bytes=MAX_FILE_BYTES)[0].error_message
    )


def test_links_to_nothing_and_to_themselves_are_documents_with_an_error(corpus: Path) -> None:
    """A broken link has the name of a document, so that somebody hears of it."""
    (corpus / "broken.md").symlink_to("nothing.md")
    (corpus / "loop.md").symlink_to("loop.md")

    broken, loop = a_reading("corpus")

    assert broken.error_message == "the file is gone: deleted meanwhile, or a link to nothing"
    assert loop.error_message == "the file cannot be read: Too many levels of symbolic links"


def test_a_pipe_is_not_waited_for(corpus: Path) -> None:
    """A special file with the name of a document would block the whole corpus."""
    os.mkfifo(corpus / "pipe.md")

    assert "special one such as a pipe" in str(read_only("corpus").error_message)


def test_a_huge_file_is_not_loaded(corpus: Path) -> None:
    """A file over the limit is refused by its size, before its bytes are in memory."""
    with (corpus / "dump.txt").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)

    message = read_only("corpus").error_message

    assert message == (
        "the file has 100,000,001 bytes, more than the 100,000,000 that are read; split it, or "
        "raise corpus.max_file_mb"
    )


def test_a_file_that_is_larger_than_was_said_is_not_loaded(corpus: Path) -> None:
    """Reading ends at the limit, whatever a listing says: here, that there are no bytes at all."""
    path = UPath("/proc/self/maps")
    if not path.exists():
        pytest.skip("there is no file system here whose sizes are wrong")
    source = SourceFile(uri="maps.txt", path=path, media_type="text/plain")

    (document,) = read_file(source, now=NOW, max_bytes=10)

    assert path.stat().st_size == 0
    assert document.error_message == (
        "the file has more bytes than were listed, more than the 10 that are read; split it, or "
        "raise corpus.max_file_mb"
    )


def test_a_file_as_large_as_allowed_is_read(corpus: Path) -> None:
    """The limit is the largest size that is read."""
    write(corpus / "a.txt", b"ten bytes.")
    (source,) = find_documents(["corpus"])

    assert read_file(source, now=NOW, max_bytes=10)[0].text == "ten bytes."
    assert read_file(source, now=NOW, max_bytes=9)[0].text == ""


def test_blocks_of_a_file_are_put_together(corpus: Path) -> None:
    """More than is read at once comes back whole, from any file system."""
    data = bytes(range(1, 128)) * 20_000
    elsewhere = UPath("memory://blocks/a.txt")
    write(corpus / "a.txt", data)
    elsewhere.parent.mkdir(parents=True, exist_ok=True)
    elsewhere.write_bytes(data)

    for path in ("corpus", "memory://blocks"):
        assert read_only(path).sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_a_file_that_exhausts_its_reader_is_a_document_with_an_error(
    corpus: Path, error: type[Exception]
) -> None:
    """What one file takes too much of, the next one has again."""
    write(corpus / "a.md")
    (source,) = find_documents(["corpus"])

    class Exhausted(Extraction):
        def extract(self, data: bytes, media_type: str, *, fallback_title: str) -> Extracted:
            raise error

    (document,) = read_file(source, now=NOW, max_bytes=MAX_FILE_BYTES, reader=Exhausted())

    assert document.error_message == (
        f"it takes more memory than there is ({error.__name__}); split it"
    )
    assert (document.n_bytes, document.text) == (4, "")


def test_five_megabytes_on_one_line_are_read_whole(corpus: Path) -> None:
    """Size alone is no error."""
    write(corpus / "line.txt", b"word " * 1_000_000)

    assert len(read_only("corpus").text) == 5_000_000


def test_an_error_of_a_backend_is_a_document_with_an_error() -> None:
    """A file system that fails in its own way fails one document only."""
    path = UPath("zip://inside.md", fo="/no/such.zip")
    source = SourceFile(uri="zip://inside.md", path=path, media_type="text/markdown")

    assert read_file(source, now=NOW, max_bytes=MAX_FILE_BYTES)[0].error_message


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=1))])
def test_a_time_that_is_not_utc_is_refused(zone: timezone | None) -> None:
    """Times of two files can be compared, whoever made the documents."""
    with pytest.raises(ValueError, match="modified_at must be an aware UTC time"):
        a_document(modified_at=datetime(2026, 1, 1, tzinfo=zone))


# --- Patterns -------------------------------------------------------------------------------------

TREE = ["a.md", "drafts/b.md", "docs/_sources/a.txt", "docs/a.html", "docs/drafts/c.md", "z.txt"]


def found(*paths: str, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
    """Names below the corpus that patterns leave, however it is reached."""
    patterns = Patterns.of(include, exclude)
    sources = find_documents(paths, patterns=patterns)
    return [source.uri.rpartition("corpus/")[2] for source in sources]


@pytest.fixture(params=["corpus", "memory://corpus"])
def tree(request: pytest.FixtureRequest, corpus: Path) -> Iterator[UPath]:
    """The same files on disk and elsewhere."""
    root = UPath(request.param)
    for name in TREE:
        write_anywhere(root / name)
    yield root
    if request.param != "corpus":
        root.fs.rm(root.path, recursive=True)


def write_anywhere(path: UPath, text: str = "text") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], TREE),
        (["drafts/"], ["a.md", "docs/_sources/a.txt", "docs/a.html", "z.txt"]),
        (["/drafts/"], ["a.md", "docs/_sources/a.txt", "docs/a.html", "docs/drafts/c.md", "z.txt"]),
        (["docs/*", "!docs/a.html"], ["a.md", "drafts/b.md", "docs/a.html", "z.txt"]),
        (["*.md", "*.txt"], ["docs/a.html"]),
        (["# a comment", "", "corpus"], TREE),
    ],
)
def test_patterns_leave_files_out_as_git_does(
    tree: UPath, patterns: list[str], left: list[str]
) -> None:
    """On paths below the corpus path, whether that is a directory or a glob."""
    assert sorted(found(str(tree), exclude=patterns)) == sorted(left)
    assert sorted(found(f"{tree}/**", exclude=patterns)) == sorted(left)


def test_only_what_is_included_is_read(tree: UPath) -> None:
    """And of that what is not excluded."""
    assert found(str(tree), include=["*.md"]) == ["a.md", "docs/drafts/c.md", "drafts/b.md"]
    assert found(str(tree), include=["*.md"], exclude=["/drafts/"]) == ["a.md", "docs/drafts/c.md"]


def test_a_file_in_the_corpus_decides_for_what_is_below_it(tree: UPath) -> None:
    """Before the settings, and the one further down first."""
    write_anywhere(tree / ".embeddingignore", "drafts/\n*.txt\n")
    write_anywhere(tree / "docs" / ".embeddingignore", "/a.html\n!*.txt\n")

    left = ["a.md", "docs/_sources/a.txt"]
    assert found(str(tree)) == found(f"{tree}/**") == left
    # What is in a directory that is left out cannot be brought back.
    assert found(str(tree), exclude=["_sources/"]) == ["a.md"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_of_patterns_is_utf8_with_or_without_a_mark(tree: UPath, mark: str) -> None:
    """Whatever the locale says: a first line that means nothing would let in what it names."""
    write_anywhere(tree / "Entwürfe" / "a.md")
    (tree / ".embeddingignore").write_bytes(f"{mark}Entwürfe/\r\ndrafts/\r\ndocs/\r\n".encode())

    assert found(str(tree)) == ["a.md", "z.txt"]


@pytest.mark.parametrize("content", [b"!\n", b"\xff\n", "drafts/\n".encode("utf-16")])
def test_a_file_of_patterns_that_cannot_be_used_is_an_error(corpus: Path, content: bytes) -> None:
    """Or everything that it was to leave out would be bought."""
    write(corpus / "docs" / "a.md")
    write(corpus / "docs" / ".embeddingignore", content)

    with pytest.raises(CorpusError, match=r"'docs/\.embeddingignore' cannot be used .* remove it"):
        uris("corpus")


def test_a_file_that_is_named_is_read_whatever_the_patterns(tree: UPath) -> None:
    """Who names it means it."""
    assert found(f"{tree}/docs/a.html", exclude=["*.html"]) == ["docs/a.html"]
