"""A source: a function that yields documents, found by its name, and what is said if it fails."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedding_assets.corpus.snapshots import Previous
from embedding_assets.corpus.sources import Source
from embedding_assets.errors import CorpusError
from embedding_assets.pipeline.read import read_documents
from embedding_assets.settings.values import Corpus, Settings
from tests.factories import NOW, write_corpus

IMPORT = "from embedding_assets import SourceDocument\n"
KEY = "AIza-made-up-key-4711"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Write modules into a folder; afterwards none of them is known any more."""
    path, modules = list(sys.path), set(sys.modules)

    def written(**texts: str) -> Path:
        write_corpus(tmp_path, {f"{name}.py": IMPORT + text for name, text in texts.items()})
        return tmp_path

    yield written
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def refusal(name: str, folder: Path) -> str:
    """What is said when the source is loaded and read: always one line."""
    with pytest.raises(CorpusError) as caught:
        list(Source.load(name, folder).documents())
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"corpus.source {name!r}")
    return message


def test_what_a_function_prints_is_no_answer(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads JSON from us gets nothing else."""
    folder = write(
        chatty="print('imported')\n"
        "def documents():\n"
        "    print('called')\n"
        "    yield SourceDocument(id='a', text='A')\n"
        "    print('over')\n",
    )
    for _ in Source.load("chatty:documents", folder).documents():
        sys.stdout.write("ours\n")
    assert capsys.readouterr() == ("ours\n", "imported\ncalled\nover\n")


def test_a_function_beside_the_settings_yields_documents(write: Write) -> None:
    """And may import what else is there, also when it is called."""
    folder = write(
        wiki_pages="def documents():\n"
        "    from wiki_titles import TITLES\n"
        "    for title in TITLES:\n"
        "        yield SourceDocument(id=f'wiki/{title}', text=f'About {title}.')\n",
        wiki_titles="TITLES = ['A', 'B']\n",
    )
    documents = list(Source.load("wiki_pages:documents", folder).documents())
    assert [document.id for document in documents] == ["wiki/A", "wiki/B"]


def test_it_may_return_a_list(write: Write) -> None:
    """Whatever can be iterated over."""
    folder = write(listing="def documents():\n    return [SourceDocument(id='a', text='b')]\n")
    assert [d.text for d in Source.load("listing:documents", folder).documents()] == ["b"]


def test_what_is_installed_comes_before_what_lies_in_the_folder(write: Write) -> None:
    """A file called like a library does not take its place."""
    folder = write(json="dumps = None\n")
    assert Source.load("json:dumps", folder).function is not None
    assert "has no function 'documents'" in refusal("json:documents", folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 +\n", "cannot be imported, from"),
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("import sys\nsys.exit('usage: …')\n", "SystemExit: usage: …"),
        ("", "bad.py has no function 'documents'"),
        ("documents = 3\n", "bad.py has no function 'documents'"),
        ("def documents():\n    pass\n", "failed after 0 documents (TypeError: 'NoneType' object"),
        ("def documents(key):\n    yield\n", "missing 1 required positional argument: 'key'"),
        ("async def documents():\n    yield\n", "'async_generator' object is not iterable"),
        ("def documents():\n    yield 3\n", "must yield embedding_assets.SourceDocument, not int"),
        (
            "def documents():\n    yield SourceDocument(id='', text='x')\n",
            "failed after 0 documents (ValueError: the id of a document must be one line of",
        ),
        (
            "def documents():\n"
            "    for n in range(2):\n"
            "        yield SourceDocument(id=str(n), text='x')\n"
            "    raise OSError('no answer\\nfrom the wiki')\n",
            "failed after 2 documents (OSError: no answer from the wiki); nothing is read without "
            "it: correct it and try again",
        ),
    ],
)
def test_a_source_that_fails_is_said_in_one_line(write: Write, text: str, message: str) -> None:
    """With the function, the reason, and how far it came."""
    assert message in refusal("bad:documents", write(bad=text))


def test_a_module_that_is_nowhere_is_said_with_where_it_was_sought(tmp_path: Path) -> None:
    """Among what is installed, and in the folder of the settings."""
    message = refusal("no_such_module:documents", tmp_path)
    assert f"cannot be imported, from {str(tmp_path)!r} neither" in message


def test_a_secret_in_an_error_is_not_shown(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it stands where the message is cut."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    folder = write(leaking=f"def documents():\n    raise OSError('x' * 490 + ' {KEY}')\n")
    message = refusal("leaking:documents", folder)
    assert "AIza" not in message


def test_a_failing_source_stops_the_month(write: Write) -> None:
    """Files that were read before it are no reason to go on; one that is missing is seen first."""
    folder = write(late="def documents():\n    raise OSError('late')\n")
    docs = folder / "docs"
    write_corpus(docs, {"a.md": "text"})

    def settings(source: str) -> Settings:
        chosen = Settings(corpus=Corpus(paths=("docs",), source=source))
        return chosen.placed(data_dir=folder, corpus=folder, tables=folder, source=folder)

    documents = read_documents(settings("late:documents"), Previous(), now=NOW)
    assert next(documents).text == "text"
    with pytest.raises(CorpusError, match="late"):
        next(documents)
    with pytest.raises(CorpusError, match="has no function 'nothing'"):
        read_documents(settings("late:nothing"), Previous(), now=NOW)
