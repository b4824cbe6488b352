"""Every file of a corpus is accounted for, once, with what became of it."""

import os
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from upath import UPath

from embedding_assets.corpus.census import (
    MAX_KINDS,
    MAX_SAMPLES,
    OTHER_SUFFIXES,
    Census,
    Enumeration,
    LeftOut,
    Outcome,
)
from embedding_assets.corpus.find import find_documents
from embedding_assets.corpus.patterns import Patterns
from embedding_assets.corpus.snapshots import Previous, open_previous, read_census, write_snapshot
from embedding_assets.errors import CorpusError
from embedding_assets.pipeline.read import read_documents
from embedding_assets.settings.values import Corpus, KindGroup, Settings
from tests.factories import NOW

FILES = {
    "a.md": Outcome.READ,
    "bad.md": Outcome.UNREADABLE,
    "LICENSE": Outcome.READ,
    "program": Outcome.UNKNOWN_KIND,
    "photo.png": Outcome.UNKNOWN_KIND,
    "old.md.bak": Outcome.UNKNOWN_KIND,
    ".hidden.md": Outcome.HIDDEN,
    ".git/config": Outcome.HIDDEN,
    ".git/objects/ab/cd": Outcome.HIDDEN,
    "_sources/a.rst": Outcome.EXCLUDED,
    "_sources/deep/b.png": Outcome.EXCLUDED,
    "docs/.embeddingignore": Outcome.HIDDEN,
    "docs/c.txt": Outcome.READ,
    "docs/d.txt": Outcome.EXCLUDED,
}
CONTENTS = {"bad.md": b"\0\1\2", "program": b"\x7fELF\0\0", "docs/.embeddingignore": b"d.txt\n"}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a file for each of these outcomes, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENTS.get(name, b"text"))
    return tmp_path / "corpus"


def census_of(corpus: Corpus) -> Census:
    files = Enumeration()
    list(read_documents(Settings(corpus=corpus), Previous(), now=NOW, census=files))
    return files.census


def outcomes(census: Census) -> dict[str, Outcome]:
    """Of each file, if there are few."""
    return {
        uri.removeprefix("corpus/"): tally.outcome
        for tally in census.tallies
        for uri in tally.samples
    }


def test_every_file_has_one_outcome(corpus: Path) -> None:
    """Read, unreadable or left out, those in hidden and excluded directories, too."""
    census = census_of(Corpus(paths=("corpus",)))

    assert outcomes(census) == FILES
    assert census.n_files == len(FILES)
    assert census.summary == (
        "14 files: 3 read, 1 unreadable, 10 left out (3 excluded by a pattern: 1 .png, 1 .rst, "
        "1 .txt; 3 of a kind that is not supported: 1 .bak, 1 .png, 1 no suffix; 4 hidden: "
        "3 no suffix, 1 .md)"
    )


def test_it_makes_no_difference_where_files_are(corpus: Path) -> None:
    """An object store, a glob and a directory give the same account of the same files."""
    root = UPath("memory://corpus")
    for name in FILES:
        (root / name).write_bytes(CONTENTS.get(name, b"text"))

    remote = census_of(Corpus(paths=("memory://corpus",)))
    by_glob = census_of(Corpus(paths=("corpus/*",)))

    names = {uri.removeprefix("memory://corpus/"): o for uri, o in outcomes(remote).items()}
    assert names == FILES
    is_matched = {name for name in FILES if not name.startswith(".")}
    assert outcomes(by_glob) == {name: FILES[name] for name in is_matched}
    root.fs.rm(root.path, recursive=True)


def test_a_file_that_is_reached_twice_counts_once(corpus: Path) -> None:
    """Under the same path it is the same file, under another one it says so."""
    (corpus / "docs" / "again.md").symlink_to("../a.md")
    (corpus / "out.md").symlink_to("/etc/hostname")
    (corpus / "nothing").symlink_to("gone")
    (corpus / "loop").symlink_to("docs")

    census = census_of(Corpus(paths=("corpus", "corpus/docs", "corpus/*.md", "./corpus/a.md")))

    more = {"docs/again.md": Outcome.SAME_FILE, "out.md": Outcome.LINK_OUT}
    assert outcomes(census) == {**FILES, **more, "nothing": Outcome.LINK_OUT}


def test_a_special_file_is_not_opened(corpus: Path) -> None:
    """A pipe without a suffix would be waited for."""
    os.mkfifo(corpus / "pipe")

    assert outcomes(census_of(Corpus(paths=("corpus",))))["pipe"] is Outcome.SPECIAL


def test_only_wanted_kinds_are_read(corpus: Path) -> None:
    """Others are left out, and files that do not say what they are with the texts."""
    found: list[LeftOut] = []
    sources = find_documents(["corpus"], kinds=frozenset({KindGroup.MAIL}), leave_out=found.append)

    assert list(sources) == []
    counts = Counter(file.outcome for file in found)
    assert counts[Outcome.UNWANTED_KIND] == 4
    assert counts[Outcome.UNKNOWN_KIND] == 5


def test_what_is_not_included_says_so(corpus: Path) -> None:
    """And what is excluded is that, whether it is included or not."""
    found: list[LeftOut] = []
    patterns = Patterns.of(["*.md"], ["bad.md"])
    sources = [s.uri for s in find_documents(["corpus"], patterns=patterns, leave_out=found.append)]

    assert sources == ["corpus/a.md"]
    assert LeftOut(uri="corpus/bad.md", outcome=Outcome.EXCLUDED) in found
    assert LeftOut(uri="corpus/docs/c.txt", outcome=Outcome.NOT_INCLUDED) in found


def test_a_draft_is_left_out_if_that_is_asked_for(corpus: Path) -> None:
    """By its own word, in its front matter."""
    (corpus / "a.md").write_text("---\ndraft: true\ntitle: A\n---\ntext")

    reading, skipping = (
        outcomes(census_of(Corpus(paths=("corpus",), skip_drafts=skip))) for skip in (False, True)
    )

    assert reading["a.md"] is Outcome.READ
    assert skipping["a.md"] is Outcome.DRAFT


MAIL = """Subject: Minutes
Content-Type: multipart/mixed; boundary=x

--x
Content-Disposition: attachment; filename=a.md

---
draft: true
---
a draft
--x
Content-Disposition: attachment; filename=b.md

no draft
--x--
"""


def test_whatever_says_that_it_is_a_draft_is_one(tmp_path: Path) -> None:
    """Rows and attachments, too, which leave what is beside them where it is."""
    (tmp_path / "mail.eml").write_text(MAIL)
    (tmp_path / "rows.jsonl").write_text(
        '{"id": "a", "text": "a draft", "draft": true}\n{"id": "b", "text": "none"}\n'
    )
    table = {"name": "t", "path": f"{tmp_path}/rows.jsonl", "id": "id", "text": "text"}
    paths = [str(tmp_path)]
    corpus = {"paths": paths, "tables": [{**table, "metadata": ["draft"]}], "skip_drafts": True}
    settings, files = Settings.model_validate({"corpus": corpus}), Enumeration()

    documents = read_documents(settings, Previous(), now=NOW, census=files)

    uris = [document.uri.removeprefix(f"{tmp_path}/") for document in documents]
    assert uris == ["mail.eml/b.md", "t/b"]
    assert files.census.counts == {Outcome.READ: 1, Outcome.TABLE: 1, Outcome.OTHER_DRAFT: 2}
    assert files.census.n_files == 2


def test_what_the_content_tells_is_said_as_what_it_is(tmp_path: Path) -> None:
    """A kind that is not wanted is not one that is not supported."""
    (tmp_path / "report").write_bytes(b"{\\rtf1 Text}")
    (tmp_path / "program").write_bytes(b"\x7fELF")

    census = census_of(Corpus(paths=(str(tmp_path),), kinds=(KindGroup.TEXT,)))

    assert census.counts == {Outcome.UNWANTED_KIND: 1, Outcome.UNKNOWN_KIND: 1}


def test_the_snapshot_keeps_the_census(corpus: Path, tmp_path: Path) -> None:
    """What unchanged files were is there again in the next month."""
    settings = Settings(corpus=Corpus(paths=("corpus",)))
    for month in ("2026-11", "2026-12"):
        files = Enumeration()
        with open_previous(tmp_path) as previous:
            documents = read_documents(settings, previous, now=NOW, census=files)
            write_snapshot(tmp_path / f"{month}.parquet", documents, now=NOW, census=files)

        census = read_census(tmp_path / f"{month}.parquet")
        assert census == files.census
        assert outcomes(census) == FILES


def test_a_snapshot_without_a_census_has_an_empty_one(tmp_path: Path) -> None:
    """Those of earlier versions have none."""
    write_snapshot(tmp_path / "2026-11.parquet", [], now=NOW)

    assert read_census(tmp_path / "2026-11.parquet") == Census()


def test_a_census_of_a_later_version_is_refused_in_words(tmp_path: Path) -> None:
    """It may know more outcomes."""
    path = tmp_path / "2026-11.parquet"
    write_snapshot(path, [], now=NOW)
    found = pq.read_table(path)
    census = {"census": '[{"outcome": "burnt", "kind": ".md", "n_files": 1, "samples": []}]'}
    pq.write_table(found.replace_schema_metadata(census), path)

    with pytest.raises(CorpusError, match="'burnt' is not a valid Outcome"):
        read_census(path)


def test_a_glob_without_a_document_says_what_it_matches(corpus: Path) -> None:
    """Whoever looks for the reason sees the kinds."""
    with pytest.raises(CorpusError, match=r"no document \(1 file: 0 read, 1 left out .*1 \.png\)"):
        list(find_documents(["corpus/*.png"]))


def test_a_table_in_an_object_store_is_no_file(tmp_path: Path) -> None:
    """Wherever the settings are."""
    place = UPath("memory://tables/rows.csv")
    place.write_text("id,text\na,one\n")
    table = {"name": "t", "path": str(place), "id": "id", "text": "text"}
    corpus = Corpus.model_validate({"paths": ["memory://tables"], "tables": [table]})
    here = Path()
    settings = Settings(corpus=corpus).placed(
        data_dir=here, corpus=here, tables=tmp_path, source=here
    )
    files = Enumeration()

    documents = list(read_documents(settings, Previous(), now=NOW, census=files))

    assert [document.uri for document in documents] == ["t/a"]
    assert files.census.counts == {Outcome.TABLE: 1}
    place.fs.rm(place.parent.path, recursive=True)


def test_samples_are_few_and_counts_are_all() -> None:
    """However many files there are of a kind."""
    files = Enumeration()
    for n in range(MAX_SAMPLES + 5):
        files.add(f"{n}.PNG", Outcome.UNKNOWN_KIND)

    (tally,) = files.census.tallies
    assert (tally.kind, tally.n_files, len(tally.samples)) == (".png", 15, MAX_SAMPLES)
    assert Census.from_json(files.census.as_json()) == files.census


def test_kinds_are_not_without_number() -> None:
    """In a folder of mails or logs each name ends in another way; all of them are counted."""
    files = Enumeration()
    for n in range(MAX_KINDS + 5):
        files.add(f"mail.{n}", Outcome.UNKNOWN_KIND)
        files.add(f"log.{n % 2}", Outcome.HIDDEN)

    census = files.census
    assert len(census.tallies) == MAX_KINDS + 3
    assert census.tallies[0].kind == OTHER_SUFFIXES
    assert census.counts == {Outcome.UNKNOWN_KIND: MAX_KINDS + 5, Outcome.HIDDEN: MAX_KINDS + 5}


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"outcome": "read"}]', "[[]]", "{}x"])
def test_what_is_no_census_is_refused(text: str) -> None:
    """With a ValueError, whatever it is."""
    with pytest.raises(ValueError):  # noqa: PT011 -- of several kinds
        Census.from_json(text)


def test_a_row_that_has_another_ones_id_is_no_file() -> None:
    """It is said beside the files, which add up without it."""
    files = Enumeration()
    files.add("a.md", Outcome.READ)
    files.add("tickets/1", Outcome.SAME_ID)

    assert files.census.n_files == 1
    assert files.census.summary == ("1 file: 1 read; 1 other with an id that another document has")
