"""Token estimates: never nothing, never cheaper for more, and learned from what was billed."""

import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.emulator.vectors import count_tokens
from embedding_assets.model.tokens import (
    DEFAULT,
    DEFAULT_CHARS_PER_TOKEN,
    MAX_CORRECTION,
    TokenEstimator,
)

LANGUAGES = {
    "English": "The index lists every chunk of a document, and nothing is bought a second time.",
    "German": "Das Verzeichnis enthält für jedes Stück der Bücher genau einen Schlüssel, nie zwei.",
    "Russian": "Каталог хранит каждый отрывок документа, и ничего не покупается во второй раз.",
    "Arabic": "يحتوي الفهرس على كل جزء من الوثيقة، ولا يُشترى أي شيء مرة ثانية.",
    "Chinese and Japanese": "索引 列出 文档 的 每个 片段。 不会 购买 两次。 断片を すべて。",
}
EMOJI = "😀🎉🚀"


def texts_in(language: str, n: int, *, seed: int) -> list[str]:
    """Texts of 10 to 400 words drawn from a sentence."""
    random = Random(seed)
    words = LANGUAGES[language].split()
    return [" ".join(random.choices(words, k=random.randint(10, 400))) for _ in range(n)]


def error(estimator: TokenEstimator, texts: list[str]) -> float:
    billed = sum(map(count_tokens, texts))
    return sum(map(estimator.estimate, texts)) / billed - 1


def billed(texts: list[str]) -> list[tuple[str, int]]:
    return [(text, count_tokens(text)) for text in texts]


LEARNED = TokenEstimator.calibrated(
    [sample for language in LANGUAGES for sample in billed(texts_in(language, 60, seed=1))]
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 1),
        ("a", 1),
        ("abc", 1),
        ("abcd", 2),
        ("a" * 35, 10),
        ("a" * 36, 11),
        ("жжж", 2),
        ("索引", 2),
        ("😀" * 7, 14),
        ("a" * 7 + "ж" * 3 + "索" + "😀", 7),
    ],
)
def test_characters_are_told_apart_by_their_utf8(text: str, tokens: int) -> None:
    """Each class of characters has its rate; what they add up to is rounded up."""
    assert DEFAULT.estimate(text) == tokens


@pytest.mark.parametrize("estimator", [DEFAULT, LEARNED], ids=["default", "learned"])
@given(text=st.text(), more=st.text())
def test_a_text_never_gets_cheaper_by_growing(
    estimator: TokenEstimator, text: str, more: str
) -> None:
    """A text has at least one token, no fewer than its beginning, no more than its parts."""
    whole = estimator.estimate(text + more)

    assert 1 <= estimator.estimate(text) <= whole
    assert whole <= estimator.estimate(text) + estimator.estimate(more)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_estimate_is_rather_too_high(language: str) -> None:
    """Before anything was billed no language is underestimated, and none beyond reason."""
    assert 0 <= error(DEFAULT, texts_in(language, 60, seed=2)) < 0.6


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_billed_corrects_the_estimate(language: str) -> None:
    """Learned from a corpus in five languages, it is within 2 % for other texts in each."""
    assert abs(error(LEARNED, texts_in(language, 60, seed=3))) < 0.02


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_corpus_in_one_language(language: str) -> None:
    """Learned from one language it is within 2 % for it; so is the sum over the samples."""
    samples = texts_in(language, 60, seed=4)
    learned = TokenEstimator.calibrated(billed(samples))

    assert abs(error(learned, samples)) < 0.02
    assert abs(error(learned, texts_in(language, 60, seed=5))) < 0.02


def count_by_words(text: str) -> int:
    """A tokenizer that knows no characters: a token for every five letters of a word begun."""
    return sum(-(-len(word) // 5) for word in text.split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_tokenizer_of_another_kind(language: str) -> None:
    """What is billed need not follow from characters for the sum to come out about right."""
    samples = [(text, count_by_words(text)) for text in texts_in(language, 200, seed=8)]
    learned = TokenEstimator.calibrated(samples)

    others = texts_in(language, 60, seed=9)
    estimated = sum(map(learned.estimate, others))
    assert estimated == pytest.approx(sum(map(count_by_words, others)), rel=0.03)


def test_what_was_never_seen_keeps_its_rate() -> None:
    """English says nothing about emoji: they stay as dear as they were."""
    learned = TokenEstimator.calibrated(billed(texts_in("English", 60, seed=6)))

    assert learned.chars_per_token[0] == pytest.approx(4, rel=0.01)
    assert learned.chars_per_token[1:] == pytest.approx(DEFAULT_CHARS_PER_TOKEN[1:])


def test_little_evidence_changes_little() -> None:
    """Three short texts do not overturn the default; thousands of tokens do."""
    few = TokenEstimator.calibrated([("a" * 35, 20)] * 3)
    many = TokenEstimator.calibrated([("a" * 35, 20)] * 3000)

    assert few.estimate("a" * 3500) == pytest.approx(1000, rel=0.05)
    assert many.estimate("a" * 3500) == pytest.approx(2000, rel=0.05)


@given(
    st.lists(
        st.tuples(st.text(max_size=50), st.one_of(st.integers(1, 100), st.just(1_000_000))),
        max_size=50,
    )
)
def test_no_bill_makes_a_plan_free(samples: list[tuple[str, int]]) -> None:
    """Whatever was billed, rates stay within a factor of four, and the result is the same again."""
    learned = TokenEstimator.calibrated(samples)

    for rate, default in zip(learned.chars_per_token, DEFAULT_CHARS_PER_TOKEN, strict=True):
        assert default / MAX_CORRECTION <= rate * (1 + 1e-9)
        assert rate <= default * MAX_CORRECTION * (1 + 1e-9)
    assert learned.n_samples == len(samples)
    assert learned == TokenEstimator.calibrated(samples)


def test_a_garbled_bill_does_little_harm() -> None:
    """One text in a hundred with a nonsensical count moves the estimate by a few per cent."""
    texts = texts_in("English", 200, seed=7)
    garbled = [(text, 1_000_000) for text in texts[:1]] + [(text, 1) for text in texts[1:2]]
    learned = TokenEstimator.calibrated(garbled + billed(texts[2:]))

    assert abs(error(learned, texts)) < 0.05


def test_what_an_estimate_rests_on() -> None:
    """People read whether anything was billed yet, how much, and how far it was off."""
    assert DEFAULT.basis == "3.5 bytes a token in English, nothing billed yet"
    assert TokenEstimator.calibrated([]) == DEFAULT
    learned = TokenEstimator.calibrated([("a" * 3500, 930)] * 5000)
    assert learned.basis == "calibrated on 5,000 billed requests, ratio 0.93"


@pytest.mark.parametrize("rates", [(3.5, 1.5), (3.5, 1.5, 1.0, 0.0), (3.5, 1.5, -1.0, 0.5)])
def test_rates_that_cannot_be(rates: tuple[float, ...]) -> None:
    """A class without a positive rate is refused."""
    with pytest.raises(ValueError, match="4 positive rates"):
        TokenEstimator(chars_per_token=rates)


def test_a_large_corpus_is_estimated_in_moments() -> None:
    """A chunk takes microseconds in any script: 20,000 of them take well under a second."""
    text = (LANGUAGES["Chinese and Japanese"] + EMOJI) * 40
    started = time.process_time()

    for _ in range(20_000):
        DEFAULT.estimate(text)

    assert time.process_time() - started < 2
