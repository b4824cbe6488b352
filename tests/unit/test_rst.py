"""The blocks of reStructuredText, as docutils and Sphinx understand it."""

import pytest

from embedding_assets.corpus.blocks import Block
from embedding_assets.corpus.formats.markup.rst import read_rst
from embedding_assets.corpus.metadata import tidied


def blocks(text: str) -> list[tuple[str, str]]:
    extracted = read_rst(text)
    return [(b.kind.value, extracted.text[b.start : b.end]) for b in extracted.blocks]


def sections(text: str) -> list[Block]:
    return [block for block in read_rst(text).blocks if block.opens_section]


def test_levels_are_in_the_order_of_first_appearance() -> None:
    """An underline with an overline is another style than the same one without."""
    text = """\
====
Book
====

Chapter
=======

Section
-------

Other
=====

1. Numbered
-----------
"""
    found = [(b.level, b.label, b.anchor) for b in sections(text)]

    assert found == [
        (1, "Book", "book"),
        (2, "Chapter", "chapter"),
        (3, "Section", "section"),
        (2, "Other", "other"),
        (3, "1. Numbered", "numbered"),
    ]
    assert read_rst(text).title == "Book"


@pytest.mark.parametrize(
    ("heading", "label", "anchor"),
    [
        (":mod:`os.path` --- *Paths*", "os.path --- Paths", "os-path-paths"),
        (":func:`~os.path.join` and ``code``", "join and code", "join-and-code"),
        ("`Link <http://a.b>`_ [#f1]_", "Link", "link"),
        ("Über \\*all\\*", "Über *all*", "uber-all"),
        ("索引", "索引", ""),
    ],
)
def test_a_heading_is_its_words_and_an_anchor(heading: str, label: str, anchor: str) -> None:
    """Readers see no roles; the fragment is what docutils makes of the words."""
    [found] = sections(f"{heading}\n{'=' * 60}\n")

    assert (found.label, found.anchor) == (label, anchor)


def test_a_target_names_the_heading_after_it() -> None:
    """An internal target is its anchor, one with an address is not, and no two are the same."""
    text = """\
.. _My Target:

A
=

.. _link: http://a.b

B
=

.. _paragraph:

text

B
=
"""
    assert [heading.anchor for heading in sections(text)] == ["my-target", "b", ""]


def test_what_is_described_is_a_term() -> None:
    """Functions, options and glossaries open up as definitions do, nested ones below them."""
    text = """\
.. module:: pkg

.. class:: Box(size)
   :final:

   A box.

   .. method:: open()

      Opens it.

.. c:function:: int put(box *b)

   Puts.

.. option:: -v, --verbose

   Talks.

.. envvar:: HOME

   Where.

.. glossary::

   term
      What it means.

word : classifier
   Its definition.

after
"""
    extracted = read_rst(text)

    assert [
        (b.kind.value, b.level, b.label, b.anchor, extracted.text[b.start : b.end])
        for b in extracted.blocks
    ] == [
        ("term", 0, "Box(size)", "pkg.Box", ".. class:: Box(size)\n   :final:"),
        ("prose", 1, "", "", "A box."),
        ("term", 1, "open()", "pkg.Box.open", ".. method:: open()"),
        ("prose", 2, "", "", "Opens it."),
        ("term", 0, "int put(box *b)", "c.put", ".. c:function:: int put(box *b)"),
        ("prose", 1, "", "", "Puts."),
        ("term", 0, "-v, --verbose", "", ".. option:: -v, --verbose"),
        ("prose", 1, "", "", "Talks."),
        ("term", 0, "HOME", "envvar-HOME", ".. envvar:: HOME"),
        ("prose", 1, "", "", "Where."),
        ("term", 0, "term", "", "term"),
        ("prose", 1, "", "", "What it means."),
        ("term", 0, "word", "", "word : classifier"),
        ("prose", 1, "", "", "Its definition."),
        ("prose", 0, "", "", "after"),
    ]


def test_code_and_drawn_tables_are_whole() -> None:
    """Literal blocks, directives of code, doctests, and tables that are drawn with characters."""
    text = """\
For example::

    a

    b

.. code-block:: python
   :linenos:

   c

   d

>>> e
f

+---+---+
| g | h |
+---+---+

=== ===
i   j
=== ===
k   l

m   n
=== ===

after
"""
    assert blocks(text) == [
        ("prose", "For example::"),
        ("code", "    a\n\n    b"),
        ("code", ".. code-block:: python\n   :linenos:\n\n   c\n\n   d"),
        ("code", ">>> e\nf"),
        ("code", "+---+---+\n| g | h |\n+---+---+"),
        ("code", "=== ===\ni   j\n=== ===\nk   l\n\nm   n\n=== ==="),
        ("prose", "after"),
    ]


def test_lists_notes_and_quotes() -> None:
    """A list is one block with its nested items, a note is a caption or its first paragraph."""
    text = """\
- a

  - b

- c

1. d
2. e

A. Einstein wrote
this.

:field: body
   goes on
:other: x

.. note::

   f

   - g

.. warning:: h
   i

   quoted

   .. [1] a footnote
      of two lines
"""
    assert blocks(text) == [
        ("list", "- a\n\n  - b\n\n- c\n\n1. d\n2. e"),
        ("prose", "A. Einstein wrote\nthis."),
        ("list", ":field: body\n   goes on\n:other: x"),
        ("caption", ".. note::"),
        ("prose", "f"),
        ("list", "- g"),
        ("prose", ".. warning:: h\n   i"),
        ("prose", "quoted"),
        ("prose", ".. [1] a footnote\n      of two lines"),
    ]


def test_what_readers_do_not_see_is_not_text() -> None:
    """Comments, targets, index entries, substitutions, and what names nothing but files."""
    text = """\
.. This is a comment
   of two lines

.. _target:

.. index::
   single: word

.. |sub| replace:: x

.. toctree::
   :maxdepth: 2

   a
   b

.. only:: html

   Seen.

..

   A quote after an empty comment.
"""
    assert blocks(text) == [("prose", "Seen."), ("prose", "A quote after an empty comment.")]
    assert " ".join(read_rst(text).text.split()) == "Seen. A quote after an empty comment."


def test_a_heading_in_a_note_opens_no_section() -> None:
    """It stands in something that ends before the section would."""
    assert blocks(".. note::\n\n   A\n   =\n\n   b\n")[1] == ("prose", "A\n   =")


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        (":Author: Ada\n:Date: 2026\n\nText\n", {"author": "Ada", "date": "2026"}),
        ("T\n=\n\nSub\n---\n\n:Author: Ada\n\nText\n", {"author": "Ada"}),
        (".. _target:\n\n.. comment\n\n:author: Ada\n", {"author": "Ada"}),
        (":Authors: Ada, Bob\n", {"author": ["Ada", "Bob"]}),
        (":Authors: Ada A., B.; Bob\n", {"author": ["Ada A., B.", "Bob"]}),
        (
            ":Abstract:\n    Two\n    lines\n\n:Version: 1\n",
            {"abstract": "Two lines", "version": "1"},
        ),
        (":Date: $Date: 2026/01/02 $\n", {"date": "2026/01/02"}),
        (":orphan:\n\nT\n=\n", {}),
        ("Text\n\n:Author: Ada\n", {}),
        (".. note::\n\n   :Author: Ada\n", {}),
        ("T\n=\n\nText\n\n.. meta::\n   :keywords: a, b\n", {"keywords": ["a", "b"]}),
        (
            ".. meta::\n   :description lang=en: One\n     two\n   :lang: en\n",
            {"description": "One two", "language": "en"},
        ),
        (".. meta:: nothing\n\nText\n", {}),
    ],
)
def test_fields_at_the_top_and_meta_are_metadata(text: str, metadata: dict[str, object]) -> None:
    """Readers see the fields, too; further down they are a list like any other."""
    assert tidied(read_rst(text).metadata) == metadata


def test_fields_at_the_top_are_text() -> None:
    """As docutils shows them."""
    assert read_rst(":Author: Ada\n\nText\n").text == ":Author: Ada\n\nText\n"


def test_options_of_what_only_wraps_are_no_text() -> None:
    """As those of a glossary that is sorted."""
    found = read_rst(".. glossary::\n   :sorted:\n\n   Vale\n      A checker of language.\n")

    assert [found.text[b.start : b.end] for b in found.blocks] == ["Vale", "A checker of language."]
