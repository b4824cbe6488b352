"""What stands in a text for programs, and what only looks like it."""

import base64
import hashlib
import json
import random

import pytest

from embedding_assets.corpus.formats.clutter import without_clutter

SOURCE = random.Random(14)
BLOB = base64.b64encode(SOURCE.randbytes(30_000)).decode()
LINES = base64.encodebytes(SOURCE.randbytes(3_000)).decode()
WORDS = ["function", "handler", "value", "index", "result", "Array", "Object", "length", "return"]
SCRIPT = "".join(
    f'var {a}={{{b}:"{c}"}};if({a}.{c}){{{b}({a},{n})}}'
    for n, (a, b, c) in enumerate(SOURCE.choices(WORDS, k=3) for _ in range(100))
)
STYLE = "".join(f".{a}{{color:#{n:06x};margin:0}}" for n, a in enumerate(WORDS * 10))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"a ![A cat](data:image/png;base64,{BLOB}) b", "a A cat b"),
        (f"![](data:image/png;base64,{BLOB})", "[image/png, 40 kB]"),
        (f'![A cat](<data:image/png;base64,{BLOB}> "Tom")', "A cat"),
        (f"![ Tom ](data:image/png;base64,{BLOB})", "Tom"),
        (f"![ ](data:image/png;base64,{BLOB})", "[image/png, 40 kB]"),
        (f"[i]: data:image/jpeg;base64,{BLOB}", "[i]: [image/jpeg, 40 kB]"),
        (
            f'<img src="data:image/svg+xml,{BLOB}" alt="x">',
            '<img src="[image/svg+xml, 40 kB]" alt="x">',
        ),
        (f"![A cat](data:image/png;base64,{LINES})", "A cat"),
        (f"a\n\n{BLOB}\n\nb", "a\n\n[base64, 40 kB]\n\nb"),
        (
            f"-----BEGIN X-----\n{LINES}-----END X-----",
            "-----BEGIN X-----\n[base64, 4 kB]\n-----END X-----",
        ),
        (f"```js\n{SCRIPT}\n```", f"```js\n[minified, {len(SCRIPT) / 1000:.0f} kB]\n```"),
        (f"<style>{STYLE}</style>", "[minified, 3 kB]"),
    ],
    ids=range(12),
)
def test_clutter_is_what_a_reader_would_see(text: str, shown: str) -> None:
    """A picture is its alternative text, the rest a mark with type and size."""
    assert without_clutter(text) == shown


ROWS = ",".join(
    json.dumps({"id": n, "name": word, "note": f"a {word}, it is"})
    for n, word in enumerate(WORDS * 20)
)


@pytest.mark.parametrize(
    "text",
    [
        "a short one: data:image/gif;base64,R0lGODlhAQABAAAAACw=",
        "https://example.org/" + "/".join(f"{w}-{w.title()}{n}" for n, w in enumerate(WORDS * 40)),
        "https://example.org/?" + "&".join(f"{w}={n}%20{w}" for n, w in enumerate(WORDS * 40)),
        "\n".join(hashlib.sha512(str(n).encode()).hexdigest() for n in range(50)),
        "".join(hashlib.sha512(str(n).encode()).hexdigest() for n in range(50)),
        "\n".join(
            "sha512-" + base64.b64encode(hashlib.sha512(str(n).encode()).digest()).decode()
            for n in range(50)
        ),
        "".join(SOURCE.choices("ACGT", k=5_000)),
        "\n".join("".join(SOURCE.choices("ACGT", k=60)) for _ in range(50)),
        "这是一个没有空格的很长的中文段落、很长很长。" * 200,
        "ภาษาไทยไม่มีช่องว่างระหว่างคำ" * 200,
        "+" + "-" * 3_000 + "+\n" + "=" * 3_000,
        "|" + "|".join(WORDS * 60) + "|",
        "| " + " | ".join(WORDS * 60) + " |",
        "".join(word.title() for word in WORDS * 40),
        "_ZNSt3__1" + "".join(f"{len(word)}{word}Ei" for word in WORDS * 40),
        f"[{ROWS}]",
        json.dumps([[n / 7, n / 3] for n in range(500)], separators=(",", ":")),
        "(see f(x); g(y); h(z)) " * 200,
        "1,2,3,4,5,6,7,8\n" * 500,
        ",".join(map(str, range(2_000))),
    ],
    ids=range(20),
)
def test_what_only_looks_like_clutter_stays(text: str) -> None:
    """Addresses, hashes, genes, words without spaces, tables, drawings and JSON are content."""
    assert without_clutter(text) == text
