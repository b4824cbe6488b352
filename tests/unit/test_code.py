"""Source code: definitions as sections."""

from collections.abc import Callable

import pytest

from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.markup.code import read_braces, read_python, read_script


def terms(found: Extracted) -> list[tuple[int, str]]:
    return [(block.level, block.label) for block in found.blocks if block.label]


def test_python_has_classes_and_functions() -> None:
    """Decorators and comments belong to what follows; strings define nothing."""
    source = """\
import a
# About A.
@b(
    c
)
class A(B):
    x = '''
def no():
'''
    async def d(self,
                e: int) -> str:
        def f(): pass
        return ')'
y = 1
"""
    found = read_python(source)

    assert terms(found) == [
        (0, "class A(B)"),
        (1, "async def d(self, e: int) -> str"),
        (2, "def f(): pass"),
    ]
    assert found.text == source
    first = next(block for block in found.blocks if block.label)
    assert found.text[first.start : first.end].startswith("# About A.\n@b(")
    assert found.blocks[-1].level == 0


def test_python_that_is_broken_is_code_all_the_same() -> None:
    """Nothing is parsed."""
    assert terms(read_python("print 'a'\ndef f(:\n  x\nclass B")) == [(0, "def f"), (0, "class B")]


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("static int f(struct a *b, int c)\n{", "static int f(struct a *b, int c)"),
        ("void A::f() const {", "void A::f() const"),
        (
            "public static <T> List<T> f(T a) throws B {",
            "public static <T> List<T> f(T a) throws B",
        ),
        ("export default function f({ a }) {", "export default function f({ a })"),
        ("const f = async (a) => {", "const f = async (a)"),
        ("func (a *B) F(c int) error {", "func (a *B) F(c int) error"),
        ("pub(crate) fn f<'a>(b: &'a str) -> C {", "pub(crate) fn f<'a>(b: &'a str) -> C"),
        ("impl<T> A for B<T> {", "impl<T> A for B<T>"),
        ("fun String.f(): Int = 1", "fun String.f(): Int = 1"),
        ("type A struct {", "type A struct"),
        ("namespace A.B", "namespace A.B"),
        ("if (a) {", ""),
        ("return f(a) {", ""),
        ("struct a b;", ""),
        ("f(a);", ""),
        ("int f(int a);", ""),
        ("describe('a', () => {", ""),
        ("} else if (a) {", ""),
    ],
)
def test_a_line_of_a_language_with_braces(line: str, label: str) -> None:
    """Definitions by their words, or as a function that opens a brace; nothing else."""
    assert terms(read_braces(f"{line}\n  x\n}}\n")) == ([(0, label)] if label else [])


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("f() {", "f()"),
        ("function f {", "function f"),
        ("def f(a)", "def f(a)"),
        ("module A", "module A"),
        ("sub f {", "sub f"),
        ("local function a.f(b)", "local function a.f(b)"),
        ("f <- function(a,", "f <- function"),
        ("(defn f [a]", "defn f [a]"),
        ("defmodule A.B do", "defmodule A.B do"),
        ("f :: Int -> Int", "f :: Int -> Int"),
        ("let rec f a =", "let rec f a"),
        ("f(A) ->", "f(A) ->"),
        ("create or replace view a as", "create or replace view a as"),
        ("echo f()", ""),
        ("let i=1", ""),
    ],
)
def test_a_line_of_another_language(line: str, label: str) -> None:
    """Whatever the language is, as it is not known."""
    assert terms(read_script(f"{line}\n  x\n")) == ([(0, label)] if label else [])


def test_members_are_under_their_class() -> None:
    """Until the brace that closes it; labels and directives at the margin end nothing."""
    source = "class A {\n  int f() {\n#if B\nend:\n    x();\n  }\n  g() { }\n}\nint h() {\n}\n"

    assert terms(read_braces(source)) == [
        (0, "class A"),
        (1, "int f()"),
        (1, "g()"),
        (0, "int h()"),
    ]


@pytest.mark.parametrize(
    ("read", "source", "text"),
    [
        (read_python, "#!/bin/a\n# Copyright B\n\n# C\nd", "#!/bin/a\n# C\nd"),
        (read_braces, "/*\n * Licensed under the A\n */\nb;", "b;"),
        (read_braces, "/* a -- b\n *\n * Copyright (c) C\n */\nd;", "/* a -- b\nd;"),
        (read_braces, "/* A.\n   Copyright B\n   C */\nd;", "/* A.\nd;"),
        (read_python, '"""Copyright a."""', '"""Copyright a."""'),
        (read_python, "a = 1\n# Copyright b", "a = 1\n# Copyright b"),
        (read_script, "-- a\n\nselect 1", "-- a\n\nselect 1"),
    ],
)
def test_the_licence_at_the_head_is_no_text(
    read: Callable[[str], Extracted], source: str, text: str
) -> None:
    """Only the paragraphs that are about rights, and only in the first comment."""
    assert read(source).text.strip() == text
