"""LaTeX: its words as Markdown, its title, author and date.

Belongs here: which commands and environments are which block. Does not belong here: what stands in
a line (latex_words.py).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.clutter import without_clutter
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.markup.latex_words import Groups, Words
from embedding_assets.corpus.formats.pieces import Piece, assembled, fenced, heading, pipes
from embedding_assets.corpus.formats.text import one_line
from embedding_assets.corpus.formats.titles import main_heading

_SECTIONS = (
    "part", "chapter", "section", "subsection", "subsubsection", "frametitle", "paragraph",
    "subparagraph",
)  # fmt: skip
_TOKEN = re.compile(
    rf"""
    \\begin\s*\{{(?P<begin>[\w*-]+)\}}
  | \\end\s*\{{(?P<end>[\w*-]+)\}}
  | \\(?P<section>{"|".join(_SECTIONS)})\b\*?\s*(?=[\[{{])
  | \\(?P<item>item|bibitem)(?![a-zA-Z])
  | \\(?P<caption>caption)\*?\s*(?=[\[{{])
  | (?P<math>\\\[|\$\$)
  | (?P<verb>\\(?:verb|lstinline)\*?(?P<mark>[^\w\s*{{\[]).*?(?P=mark)
      | \\(?:url|path|href)\s*\{{[^{{}}\n]*\}})
  | (?P<comment>%.*(?:\n(?![ \t]*\n)[ \t]*)?)
  | (?P<gap>\n[ \t]*\n\s*)
  | \\[a-zA-Z]+\*? | \\.
    """,
    re.VERBOSE,
)
_SECTION = re.compile(rf"\\(?:({'|'.join(_SECTIONS)})\b|begin\s*\{{frame\b)")
_CODE = frozenset({
    "verbatim", "Verbatim", "lstlisting", "minted", "alltt", "algorithmic", "algorithm2e", "code",
    "semiverbatim",
})  # fmt: skip
_MATH = frozenset({
    "equation", "align", "gather", "displaymath", "eqnarray", "multline", "math", "flalign",
    "alignat", "dmath",
})  # fmt: skip
_LISTS = frozenset({
    "itemize", "enumerate", "description", "compactitem", "compactenum", "thebibliography", "list",
})  # fmt: skip
_TABLES = frozenset({"tabular", "tabularx", "tabulary", "longtable", "tabu", "array"})
_NOT_SHOWN = frozenset({
    "comment", "tikzpicture", "pspicture", "picture", "filecontents", "CCSXML", "pgfpicture",
})  # fmt: skip
_NAMED = frozenset({
    "abstract", "theorem", "lemma", "corollary", "proposition", "definition", "remark", "example",
    "proof", "claim", "conjecture", "exercise", "note", "warning",
})  # fmt: skip
_LANGUAGE = re.compile(r"language\s*=\s*\{?(?:\[[^\]]*\])?([\w+#-]+)")
_MINTED = re.compile(r"\{([\w+#-]+)\}\s*$")
_OPTIONS = re.compile(r"(?:\[[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\])?(?:\{[\w+#-]*\})?")  # of code
_TABLE_OPTIONS = re.compile(r"(?:\[[^\[\]]*\]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})+")
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}\s*")
_RULE = re.compile(
    r"\\(?:hline|toprule|midrule|bottomrule|endhead|endfirsthead|endfoot|endlastfoot)\b"
    r"|\\(?:cline|cmidrule)\s*(?:\([^()]*\))?\s*\{[^{}]*\}"
)
_ROW_END = re.compile(r"\\\\\*?(?:\s*\[[^\[\]]*\])?|\\tabularnewline\b")
_COLUMN = re.compile(r"(?<!\\)&")
_MULTICOLUMN = re.compile(r"\s*\\multicolumn\s*\{(\d{1,2})\}")
_COMMENT = re.compile(r"(?<!\\)%.*")
_AND = re.compile(r"\\and\b|\\And\b|\\AND\b")
_MAX_DEPTH = 8  # of lists
_INDENT = "   "  # of what is in an item
_BEGIN, _END = "\\begin{document}", "\\end{document}"


def read_latex(source: str) -> Extracted:
    """Title, text, blocks, author and date. The preamble, labels and layout are no text."""
    source = without_clutter(source)
    head, begin, body = source.partition(_BEGIN)
    body = body.partition(_END)[0] if begin else head
    words = Words.of(_COMMENT.sub("", head))
    about = _about(source, words)
    title = str(about.pop("title"))
    pieces = _Writer(Groups.of(body), words, _levels_of(body)).pieces()
    return assembled(pieces, title=title or main_heading(pieces), metadata=about)


def _levels_of(body: str) -> dict[str, int]:
    """The level of each kind of heading among those that there are."""
    found = {each[1] or "frametitle" for each in _SECTION.finditer(body)}
    return {name: n for n, name in enumerate(filter(found.__contains__, _SECTIONS), 1)}


def _about(source: str, words: Words) -> dict[str, object]:
    groups = Groups.of(_COMMENT.sub("", source))
    said = {name: _said(groups, name) for name in ("title", "author", "date")}
    authors = [author for each in said["author"] for author in _AND.split(each)]
    return {
        "title": one_line(words.shown("".join(said["title"][:1]))),
        # Below a name stands where somebody works.
        "author": [one_line(words.shown(author).partition("\n")[0]) for author in authors],
        "date": one_line(words.shown("".join(said["date"][:1]))),
    }


def _said(groups: Groups, name: str) -> list[str]:
    """What a command says, each time; some classes have one for each author."""
    found = re.finditer(rf"\\{name}\s*(?=[\[{{{{])", groups.text)
    return [groups.argument(each.end())[0] for each in found]


@dataclass(slots=True)
class _List:
    is_numbered: bool
    n_items: int = 0


@dataclass(slots=True)
class _Writer:
    """Walks through a document, and writes a piece for each block."""

    groups: Groups
    words: Words
    levels: dict[str, int]  # of headings, by their command
    at: int = 0
    done: list[Piece] = field(default_factory=list)
    text: list[str] = field(default_factory=list)  # of the paragraph that is open
    lists: list[_List] = field(default_factory=list)
    items: list[str] = field(default_factory=list)  # lines of the outermost list
    marker: str = ""  # of an item of which nothing is written yet
    is_table_next: bool = False  # so that a caption belongs to it
    unclosed: set[str] = field(default_factory=set)  # ends that do not come any more

    @property
    def source(self) -> str:
        return self.groups.text

    def pieces(self) -> list[Piece]:
        while token := _TOKEN.search(self.source, self.at):
            self.text.append(self.source[self.at : token.start()])
            self.at = token.end()
            _TAKES[token.lastgroup](self, token)
        self.text.append(self.source[self.at :])
        self._end_paragraph()
        self._end_list(0)
        return self.done

    # --- Text ---

    def _take_text(self, token: re.Match[str]) -> None:
        self.text.append(token[0])

    def _take_comment(self, token: re.Match[str]) -> None:
        """It takes the end of its line with it."""

    def _take_gap(self, token: re.Match[str]) -> None:
        self._end_paragraph()

    def _end_paragraph(self) -> None:
        text = self.words.shown("".join(self.text))
        self.text = []
        self._write(BlockKind.PROSE, text)

    def _write(self, kind: BlockKind, text: str) -> None:
        """A block of its own, or what is in an item."""
        if not text.strip():
            return
        if not self.lists:
            self.done.append(Piece(kind, text))
            return
        depth = min(len(self.lists), _MAX_DEPTH)
        first, *others = text.split("\n")
        if not self.marker:
            self.items.append("")
        self.items.append(
            (_INDENT * (depth - 1) + self.marker if self.marker else _INDENT * depth) + first
        )
        self.items += [_INDENT * depth + line for line in others]
        self.marker = ""

    # --- Headings and captions ---

    def _take_section(self, token: re.Match[str]) -> None:
        self._end_paragraph()
        self._write_heading(token["section"], self._argument())

    def _write_heading(self, name: str, words: str) -> None:
        self._end_list(0)
        self.done.append(heading(self.words.shown(words), self.levels[name]))

    def _take_caption(self, token: re.Match[str]) -> None:
        self._end_paragraph()
        kind = BlockKind.CAPTION if self.is_table_next else BlockKind.PROSE
        self._write(kind, self.words.shown(self._argument()))

    def _argument(self) -> str:
        argument, self.at = self.groups.argument(self.at)
        return argument

    # --- Environments ---

    def _take_begin(self, token: re.Match[str]) -> None:
        name = token["begin"]
        kind = name.rstrip("*")
        if kind not in _MATH:
            self._end_paragraph()
        if kind in _BODIES and (body := self._body(f"\\end{{{name}}}")) is not None:
            _BODIES[kind](self, body)
        elif kind in _LISTS:
            self._skip_arguments()
            self.lists.append(_List(is_numbered=kind in ("enumerate", "compactenum")))
        elif kind == "frame":
            self._write_heading("frametitle", self._argument())
        else:
            options = self._skip_arguments()
            self.is_table_next = kind == "table"
            if kind in _NAMED:
                of = f" ({self.words.shown(options)})" if options else ""
                self._write(BlockKind.CAPTION, f"{kind.capitalize()}{of}")

    def _take_end(self, token: re.Match[str]) -> None:
        self._end_paragraph()
        if token["end"].rstrip("*") in _LISTS:
            self._end_list(max(len(self.lists) - 1, 0))

    def _skip_arguments(self) -> str:
        """Behind the groups that stand right here; what is in the first pair of brackets."""
        options = ""
        while self.source[self.at : self.at + 1] in ("[", "{"):
            group, at = self.groups.at(self.at)
            if at == self.at:
                break
            if self.source[self.at] == "[":
                options = options or group
            self.at = at
        return options

    def _body(self, end: str) -> str | None:
        """What is between here and there; then one is behind it. None if that never comes."""
        place = -1 if end in self.unclosed else self.source.find(end, self.at)
        if place < 0:
            self.unclosed.add(end)
            return None
        body, self.at = self.source[self.at : place], place + len(end)
        return body

    def _write_code(self, body: str) -> None:
        found = _OPTIONS.match(body)
        options = found[0] if found else ""
        language = _LANGUAGE.search(options) or _MINTED.search(options)
        code = body[len(options) :].strip("\n")
        self._write(BlockKind.CODE, fenced(code, language[1].lower() if language else ""))

    def _write_math(self, body: str) -> None:
        """It is a part of the sentence around it."""
        body = _LABEL.sub("", body).replace("$", "").strip()
        self.text.append(f"\n$$\n{body}\n$$\n" if body else "")

    def _take_math(self, token: re.Match[str]) -> None:
        end = "\\]" if token[0] == "\\[" else "$$"
        self._write_math(self._body(end) or "")

    def _write_table(self, body: str) -> None:
        found = _TABLE_OPTIONS.match(body)
        lines = _ROW_END.split(_COMMENT.sub("", body[found.end() if found else 0 :]))
        has_header = len(lines) > 1 and _RULE.match(lines[1].lstrip()) is not None
        rows = [row for line in lines if any(row := list(self._cells(_RULE.sub("", line))))]
        self.is_table_next = False
        if rows:
            self._write(BlockKind.TABLE, pipes(rows, n_headers=int(has_header)))

    def _cells(self, line: str) -> Iterator[str]:
        for cell in _COLUMN.split(line):
            yield one_line(self.words.shown(cell)).replace("|", "\\|")
            if spans := _MULTICOLUMN.match(cell):
                yield from [""] * (int(spans[1]) - 1)

    def _write_nothing(self, body: str) -> None:
        """What readers do not see."""

    # --- Lists ---

    def _take_item(self, token: re.Match[str]) -> None:
        self._end_paragraph()
        if not self.lists:
            return
        of = self.lists[-1]
        of.n_items += 1
        self.marker = f"{of.n_items}. " if of.is_numbered else "- "
        if self.source[self.at : self.at + 1] == "[":
            term, self.at = self.groups.at(self.at)
            self.marker += f"{one_line(self.words.shown(term))}: " if term.strip() else ""
        if token["item"] == "bibitem":
            self.marker += f"[{one_line(self._argument())}] "

    def _end_list(self, depth: int) -> None:
        del self.lists[depth:]
        if not self.lists and self.items:
            items, self.items, self.marker = "\n".join(self.items), [], ""
            self._write(BlockKind.LIST, items)


_TAKES: dict[str | None, Callable[[_Writer, re.Match[str]], None]] = {
    None: _Writer._take_text,
    "begin": _Writer._take_begin,
    "caption": _Writer._take_caption,
    "comment": _Writer._take_comment,
    "end": _Writer._take_end,
    "gap": _Writer._take_gap,
    "item": _Writer._take_item,
    "math": _Writer._take_math,
    "section": _Writer._take_section,
    "verb": _Writer._take_text,
}
# By environment: what becomes of all that is in it.
_BODIES: dict[str, Callable[[_Writer, str], None]] = {
    **dict.fromkeys(_CODE, _Writer._write_code),
    **dict.fromkeys(_MATH, _Writer._write_math),
    **dict.fromkeys(_TABLES, _Writer._write_table),
    **dict.fromkeys(_NOT_SHOWN, _Writer._write_nothing),
}
