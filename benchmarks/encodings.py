"""Encodings: texts of 17 languages in 24 encodings of them, and what is read from their bytes.

    python benchmarks/encodings.py [--samples 13] [--catalogues /usr/share/locale] [--before]

The texts are cut from sentences that were written for this (languages.toml), with typographic
quotes and dashes where the encoding has them. The rules of decode were chosen on other texts: the
translated messages of programs, which --catalogues reads from the .mo files of a folder. The
exception is that quotes alone mean cp1252, which the English texts of this set suggested, too.
--before asks charset-normalizer, as decode did until November 2026, if it is installed. "Wrong" is
any text that is not the one that was written.
"""

import argparse
import gettext
import random
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from embedding_assets.corpus.formats.encodings import decode
from embedding_assets.errors import DocumentError

SIZES = (50, 500, 5000)  # bytes
ENCODINGS = {
    "en": ["cp1252"],
    "de": ["cp1252"],
    "fr": ["cp1252"],
    "es": ["cp1252"],
    "pl": ["cp1250", "iso8859-2"],
    "cs": ["cp1250", "iso8859-2"],
    "hu": ["cp1250"],
    "ru": ["cp1251", "koi8-r", "cp866"],
    "uk": ["cp1251"],
    "el": ["cp1253", "iso8859-7"],
    "tr": ["cp1254"],
    "he": ["cp1255"],
    "ar": ["cp1256"],
    "th": ["cp874"],
    "ja": ["cp932", "euc_jp"],
    "zh-hans": ["gb18030"],
    "zh-hant": ["big5"],
    "ko": ["cp949"],
}
CATALOGUES = {"en": "en@quot", "zh-hans": "zh_CN", "zh-hant": "zh_TW"}  # others as the language
_PLAIN = str.maketrans(
    {**dict.fromkeys("“”„«»", '"'), **dict.fromkeys("‘’", "'"), "–": "-", "…": "..."}  # noqa: RUF001
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=13, help="of each pair and size")
    parser.add_argument("--catalogues", type=Path)
    parser.add_argument("--before", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()

    sentences = messages(arguments.catalogues) if arguments.catalogues else written_sentences()
    read = guess_before if arguments.before else partial(decode, may_have_meta=False)
    print(f"{'bytes':>6} {'right':>6} {'refused':>8} {'wrong':>6}   not right")
    for size in arguments.sizes:
        outcomes: Counter[str] = Counter()
        not_right: Counter[str] = Counter()
        for pair, text, data in samples(sentences, n_bytes=size, n_samples=arguments.samples):
            outcome = outcome_of(read, data, text)
            outcomes[outcome] += 1
            if outcome != "right":
                not_right[f"{pair} {outcome}"] += 1
        n = outcomes.total()
        shares = [f"{100 * outcomes[outcome] / n:.1f} %" for outcome in ("refused", "wrong")]
        worst = ", ".join(f"{name} {count}" for name, count in not_right.most_common(5))
        print(f"{size:>6} {outcomes['right']:>6} {shares[0]:>8} {shares[1]:>6}   {worst}")


def outcome_of(read: Callable[[bytes], str], data: bytes, text: str) -> str:
    try:
        return "right" if read(data) == text else "wrong"
    except DocumentError:
        return "refused"


def samples(
    sentences: Mapping[str, Sequence[str]], *, n_bytes: int, n_samples: int
) -> Iterator[tuple[str, str, bytes]]:
    """Yield the pair's name, a text and its bytes; always the same ones.

    A text has ``n_bytes`` or a little less. Those that are all ASCII are left out.
    """
    for language, encodings in ENCODINGS.items():
        for encoding in encodings:
            pair = f"{language} {encoding}"
            chance = random.Random(f"{pair} {n_bytes}")
            usable = encodable(sentences[language], encoding)
            for _ in range(n_samples):
                text = cut(usable, encoding, n_bytes, chance)
                if not text.isascii():
                    yield pair, text, text.encode(encoding)


def encodable(sentences: Sequence[str], encoding: str) -> list[str]:
    """As somebody types them who has no other characters than those of ``encoding``."""
    typed = ["".join(_typed(character, encoding) for character in text) for text in sentences]
    return [text for text in typed if text.encode(encoding, "ignore").decode(encoding) == text]


def _typed(character: str, encoding: str) -> str:
    return character if character.encode(encoding, "ignore") else character.translate(_PLAIN)


def cut(sentences: Sequence[str], encoding: str, n_bytes: int, chance: random.Random) -> str:
    """Sentences in any order, from anywhere in the first one to where the size is reached."""
    text, size = "", 0
    while size < n_bytes:
        text += chance.choice(sentences) + " "
        if size == 0:
            text = text[chance.randrange(len(text) // 2) :]
        size = len(text.encode(encoding))
    return text.encode(encoding)[:n_bytes].decode(encoding, "ignore")


def written_sentences() -> Mapping[str, Sequence[str]]:
    return tomllib.loads((Path(__file__).parent / "languages.toml").read_text("utf-8"))


def messages(folder: Path) -> Mapping[str, Sequence[str]]:
    """The translated messages of installed programs that are not all ASCII."""
    found = {}
    for language in ENCODINGS:
        catalogue = folder / CATALOGUES.get(language, language) / "LC_MESSAGES"
        found[language] = [
            " ".join(message.split())
            for path in sorted(catalogue.glob("*.mo"))
            for message in _messages_of(path)
        ]
    return found


def _messages_of(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)
    except UnicodeDecodeError:  # some do not say that they are UTF-8
        return
    for key, message in vars(catalogue)["_catalog"].items():
        if key and isinstance(message, str) and len(message) > 15 and not message.isascii():
            yield message


def guess_before(data: bytes) -> str:
    """What charset-normalizer made of bytes that are not UTF-8, with the rules around it then."""
    from charset_normalizer import from_bytes

    wide = ["utf_7", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le"]
    matches = from_bytes(data[: 64 * 1024], cp_exclusion=wide)
    best = matches.best()
    if best is None:
        raise DocumentError("it is binary, or its encoding cannot be told")
    for match in matches:
        is_equal = (match.chaos, match.coherence) == (best.chaos, best.coherence)
        if is_equal and "cp1252" in match.could_be_from_charset:
            return data.decode("cp1252")
    if best.coherence > 0 or best.multi_byte_usage > 0:
        return data.decode(best.encoding)
    raise DocumentError("it is binary, or its encoding cannot be told")


if __name__ == "__main__":
    main()
