"""LaTeX: what readers see of it."""

import pytest

from embedding_assets.corpus.formats.markup.latex import read_latex


def blocks(source: str) -> list[tuple[str, str]]:
    found = read_latex(source)
    return [(b.kind.value, found.text[b.start : b.end]) for b in found.blocks]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (r"\emph{a \textbf{b}} {\it c}", "a b c"),
        (r"caf\'e na\"{\i}ve \c{c}a \ss{} \v{s} Erd\H{o}s", "café naïve ça ß š Erdős"),
        (r"5\,\% \& \$1 \#2 a\_b \{c\}", "5 % & $1 #2 a_b {c}"),
        ("``a'' -- b---c~d", "“a” – b—c d"),  # noqa: RUF001
        (r"\cite{a,b} \citep[see][p. 1]{c} \ref{d}", "[a, b] [c] d"),
        (r"\texttt{a} \verb|b{| \lstinline!c!", "`a` `b{` `c`"),
        (r"a\footnote{b \emph{c}} d", "a (b c) d"),
        (r"\href{http://a}{b} \url{http://c/%20}", "b http://c/%20"),
        (r"\label{a}\index{b}\vspace{1cm}\noindent c", "c"),
        (r"$a_{b}$ and \(c\)", r"$a_{b}$ and \(c\)"),
        ("a % b\n  c", "a c"),
        (r"a \\[2pt] b", "a\nb"),
        (r"{a", "a"),
        (r"a\emph{", "a"),
    ],
)
def test_words_are_what_is_printed(source: str, words: str) -> None:
    """Accents, quotes, code; no layout, labels and comments. Formulas stay as they are."""
    assert read_latex(source).text == words


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a\n\nb\n%\n\nc", [("prose", "a"), ("prose", "b"), ("prose", "c")]),
        (r"\section[s]{A \emph{b}}\label{c} d", [("heading", "# A b"), ("prose", "d")]),
        (r"\begin{verbatim}%a\b{\end{verbatim}", [("code", "```\n%a\\b{\n```")]),
        ("\\begin{minted}[x]{py}\na\n\\end{minted}", [("code", "```py\na\n```")]),
        (r"a \[ b \] c", [("prose", "a\n$$\nb\n$$\nc")]),
        (r"a \[ b", [("prose", "a b")]),
        (r"\begin{enumerate}\item a\item b\end{enumerate}", [("list", "1. a\n2. b")]),
        (r"\begin{description}\item[a] b\end{description}", [("list", "- a: b")]),
        (r"\begin{itemize}\item a", [("list", "- a")]),
        (r"\begin{theorem}[b] a\end{theorem}", [("caption", "Theorem (b)"), ("prose", "a")]),
        (r"\begin{comment}a\end{comment}b", [("prose", "b")]),
        (
            r"\begin{tabular}{ll}a&b\\\hline c\&d&\\\end{tabular}",
            [("table", "| a | b |\n| --- | --- |\n| c&d |  |")],
        ),
        (
            r"\begin{tabular}{l}\multicolumn{2}{c}{a|b}\\\end{tabular}",
            [("table", "|  |  |\n| --- | --- |\n| a\\|b |  |")],
        ),
        (
            r"\begin{table}\caption{a}\end{table}\begin{figure}\caption{b}\end{figure}",
            [("caption", "a"), ("prose", "b")],
        ),
        (r"\begin{frame}{A}b\end{frame}", [("heading", "# A"), ("prose", "b")]),
        (r"\begin{verbatim} a", [("prose", "a")]),
    ],
)
def test_a_block_is_what_its_environment_says(source: str, found: list[tuple[str, str]]) -> None:
    """Sections, lists, tables, code and captions; what is never closed is text."""
    assert blocks(source) == found


def test_the_highest_heading_has_the_first_level() -> None:
    """Whether a document has chapters or not."""
    found = [(b.level, b.label) for b in read_latex(r"\section{a}\paragraph{b}\chapter{c}").blocks]

    assert found == [(2, "a"), (3, "b"), (1, "c")]


def test_the_preamble_is_about_the_document() -> None:
    """Title, authors, date and macros; nothing else before it begins is text, nor after its end."""
    source = r"""\documentclass{article}
\newcommand{\us}{\emph{We}}\def\them{They}
% \title{Old}
\title[short]{A \us} \author{B\thanks{c} \and D} \date{2024}
\begin{document}\maketitle \us{} and \them.\end{document} more"""

    found = read_latex(source)

    assert (found.title, found.text) == ("A We", "We and They.")
    assert found.metadata == {"author": ["B", "D"], "date": "2024"}


def test_authors_may_have_a_command_each() -> None:
    """And below their names where they work."""
    source = "\\author{B \\\\ Graz \\and C}\n\\author[1]{D}\\begin{document}Text\\end{document}"

    assert read_latex(source).metadata["author"] == ["B", "C", "D"]


def test_a_macro_for_a_formula_is_that_formula() -> None:
    """Wherever it stands."""
    source = "\\newcommand{\\m}{\\ensuremath{\\Theta}}\\begin{document}Given \\m.\\end{document}"

    assert read_latex(source).text == "Given $\\Theta$."
