"""The vectors: deterministic, of the right shape and length, and good enough to search with."""

import importlib
import inspect

import numpy as np
import numpy.typing as npt
import pytest

from embedding_assets.emulator.vectors import count_tokens, embed

_MODULES = """
    abc argparse array ast base64 bdb binascii bisect bz2 calendar cmath cmd code codecs codeop
    collections colorsys compileall concurrent.futures configparser contextlib contextvars copy
    copyreg csv ctypes dataclasses datetime dbm decimal difflib dis doctest email.message
    email.mime.text enum errno faulthandler fcntl filecmp fileinput fnmatch fractions ftplib
    functools gc getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html html.parser
    http.client http.cookies http.server imaplib inspect io ipaddress itertools json keyword
    linecache locale logging logging.handlers lzma mailbox marshal math mimetypes mmap
    multiprocessing netrc numbers operator optparse os os.path pathlib pdb pickle pickletools
    pkgutil platform plistlib poplib posixpath pprint profile pstats pty pwd py_compile pyclbr
    pydoc queue quopri random re readline reprlib resource rlcompleter runpy sched secrets select
    selectors shelve shlex shutil signal site smtplib socket socketserver sqlite3 ssl stat
    statistics string stringprep struct subprocess symtable sys sysconfig syslog tabnanny tarfile
    tempfile termios textwrap threading time timeit token tokenize tomllib trace traceback
    tracemalloc tty types typing unicodedata unittest unittest.mock urllib.parse urllib.request
    uuid venv warnings wave weakref webbrowser wsgiref.simple_server xml.dom.minidom
    xml.etree.ElementTree xmlrpc.client zipapp zipfile zipimport zlib zoneinfo
"""


@pytest.fixture(scope="module")
def library() -> tuple[list[str], npt.NDArray[np.float32]]:
    """The standard library's documentation in chunks: the module of each, and its unit vector."""
    chunks = [
        (name, text[start : start + 2_000])
        for name in _MODULES.split()
        for text in [_documentation(name)]
        for start in range(0, len(text), 2_000)
    ]
    vectors = np.array([_unit(text) for _, text in chunks])
    return [name for name, _ in chunks], vectors


@pytest.mark.parametrize(
    ("query", "module"),
    [
        ("compress a file with gzip", "gzip"),
        ("parse command line arguments", "argparse"),
        ("send an email over smtp", "smtplib"),
        ("regular expressions", "re"),
        ("read a csv file", "csv"),
        ("temporary directories", "tempfile"),
        ("random numbers", "random"),
        ("priority queue on a heap", "heapq"),
        ("hashing with sha256", "hashlib"),
        ("serialise an object with pickle", "pickle"),
        ("SQLite database connection", "sqlite3"),
        ("create a tar archive", "tarfile"),
    ],
)
def test_a_query_finds_the_module_it_is_about(
    library: tuple[list[str], npt.NDArray[np.float32]], query: str, module: str
) -> None:
    """Among the documentation of the standard library, the right module is in the top three."""
    names, vectors = library
    best = np.argsort(-(vectors @ _unit(query)))[:3]
    assert module in [names[index] for index in best]


def test_a_text_has_always_the_same_vector() -> None:
    """Embedding is deterministic, to the bit."""
    assert embed("Hello, world", 768).tobytes() == embed("Hello, world", 768).tobytes()


@pytest.mark.parametrize("dimensions", [1, 4, 768, 1536, 3072])
def test_a_vector_has_the_dimensions_asked_for(dimensions: int) -> None:
    """Any number of dimensions is served, as finite float32 that are not all zero."""
    vector = embed("Any text at all", dimensions)
    assert vector.shape == (dimensions,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()
    assert vector.any()


def test_full_vectors_are_unit_length() -> None:
    """At 3,072 dimensions a vector comes normalised."""
    assert np.linalg.norm(embed("A text", 3072)) == pytest.approx(1, abs=1e-5)


def test_shorter_vectors_are_left_for_the_client_to_normalise() -> None:
    """Below 3,072 dimensions lengths differ from text to text and are well away from 1."""
    lengths = [float(np.linalg.norm(embed(f"Text number {n}", 768))) for n in range(20)]
    assert all(0.59 < length < 0.81 for length in lengths)
    assert len({round(length, 6) for length in lengths}) > 10


def test_unit_length_can_be_had_at_any_dimensions() -> None:
    """A model that normalises truncated vectors can be imitated."""
    vector = embed("A text", 768, unit_length=True)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_spaces_have_nothing_in_common() -> None:
    """The same text in two vector spaces is nearly orthogonal."""
    text = _documentation("gzip")
    first, second = embed(text, 3072, space="one"), embed(text, 3072, space="two")
    assert abs(float(first @ second)) < 0.2


@pytest.mark.parametrize(
    ("word", "relative"),
    [
        ("compress", "compression"),
        ("file", "files"),
        ("query", "queries"),
        ("parse", "parsing"),
        ("GzipFile", "gzip file"),
        ("Größe", "größe"),
    ],
)
def test_forms_of_a_word_are_one_word(word: str, relative: str) -> None:
    """Case, plurals and light endings do not matter."""
    assert float(_unit(word) @ _unit(relative)) > 0.9


def test_texts_without_words_differ() -> None:
    """Punctuation and scripts without spaces get vectors of their own."""
    texts = ["!!!", "???", "東京都の天気", "大阪府の天気"]
    vectors = [_unit(text) for text in texts]
    assert float(vectors[0] @ vectors[1]) < 0.5
    assert 0.2 < float(vectors[2] @ vectors[3]) < 0.95


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 1), ("a", 1), ("abcd", 1), ("abcde", 2), ("äöü", 2), ("abcdä", 2)]
)
def test_tokens_are_counted_by_characters(text: str, tokens: int) -> None:
    """Four ASCII characters or one and a half others make a token, rounded up, at least one."""
    assert count_tokens(text) == tokens


def _documentation(name: str) -> str:
    module = importlib.import_module(name)
    members = [getattr(module, n) for n in getattr(module, "__all__", dir(module)) if n[0] != "_"]
    documented = [module, *filter(lambda m: inspect.isclass(m) or inspect.isroutine(m), members)]
    texts = [inspect.getdoc(item) or "" for item in documented]
    return "\n\n".join([name, *filter(None, texts)])


def _unit(text: str) -> npt.NDArray[np.float32]:
    vector = embed(text, 768)
    unit: npt.NDArray[np.float32] = vector / np.linalg.norm(vector)
    return unit
