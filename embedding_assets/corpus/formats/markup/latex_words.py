"""Words of LaTeX: what readers see of a paragraph.

Belongs here: commands in a line, accents, macros of the document. Does not belong here: which
commands are a block (latex.py).
"""

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Self

_MAX_MACRO_CHARS = 60

_TOKEN = re.compile(
    r"""
    (?P<math>\$\$[^$]*\$\$ | \$(?:[^$\\]|\\.)+\$ | \\\((?:[^\\]|\\(?![()]))*\\\))
  | \\(?:verb|lstinline)\*?(?P<mark>[^\w\s*{\[])(?P<verb>.*?)(?P=mark)
  | \\(?:url|path|nolinkurl)\s*\{(?P<url>[^{}\n]*)\}
  | \\(?P<accent>[`'^"~=.]|[uvHcdbrk](?=\s*\{|\s+[a-zA-Z]\b))\s*
      (?:\{\s*(?:\\?(?P<on>[a-zA-Z]))?\s*\}|\\?(?P<on2>[a-zA-Z]))
  | \\(?P<command>[a-zA-Z]+)\*?[ \t]*
  | \\(?P<symbol>.|\n)(?:(?<=\\)\*?(?:\[[^\[\]\n]*\])?)?
  | (?P<quotes>``|\'\'|---?)
  | (?P<tie>~)
  | (?P<brace>[{}])
  | (?P<comment>%.*(?:\n[ \t]*)?)
    """,
    re.VERBOSE,
)
_GROUP = re.compile(r"[\[\]{}]|\\.|%.*")
_ACCENTS = dict(
    zip(
        "`'^\"~=.uvHcdbrk",
        "\u0300\u0301\u0302\u0308\u0303\u0304\u0307\u0306\u030c\u030b\u0327\u0323\u0331\u030a\u0328",
        strict=True,
    )
)
_SYMBOLS = {
    "\\": "\n", ",": " ", ";": " ", ":": " ", " ": " ", "\n": " ", "!": "", "-": "", "/": "",
    "@": "", "(": "", ")": "", "[": "", "]": "",
}  # fmt: skip
_QUOTES = {"``": "“", "''": "”", "--": "–", "---": "—"}  # noqa: RUF001
_NAMES = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å",
    "l": "ł", "L": "Ł", "i": "i", "j": "j", "LaTeX": "LaTeX", "LaTeXe": "LaTeX2e", "TeX": "TeX",
    "BibTeX": "BibTeX", "dots": "…", "ldots": "…", "textellipsis": "…", "S": "§", "P": "¶",
    "copyright": "©", "textcopyright": "©", "texttrademark": "™", "pounds": "£", "euro": "€",
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textbar": "|",
    "textless": "<", "textgreater": ">", "textendash": "–", "textemdash": "—",  # noqa: RUF001
    "textquotedblleft": "“", "textquotedblright": "”", "textbullet": "•", "textdegree": "°",
    "ie": "i.e.", "eg": "e.g.", "etal": "et al.", "etc": "etc.", "newline": "\n", "par": "\n",
    "quad": " ", "qquad": " ", "space": " ",
}  # fmt: skip
# Left out with so many arguments in braces.
_UNSEEN = {
    "label": 1, "index": 1, "vspace": 1, "hspace": 1, "includegraphics": 1, "bibliographystyle": 1,
    "bibliography": 1, "input": 1, "include": 1, "pagestyle": 1, "thispagestyle": 1, "setlength": 2,
    "setcounter": 2, "addtolength": 2, "addtocounter": 2, "usepackage": 1, "documentclass": 1,
    "newcommand": 2, "renewcommand": 2, "providecommand": 2, "newenvironment": 3, "color": 1,
    "definecolor": 3, "pagenumbering": 1, "addcontentsline": 3, "markboth": 2, "hypersetup": 1,
    "title": 1, "author": 1, "date": 1, "thanks": 1, "lstset": 1, "graphicspath": 1, "fontsize": 2,
    "selectlanguage": 1, "glossary": 1, "phantom": 1, "vphantom": 1, "hphantom": 1,
    "hypertarget": 1, "altaffilmark": 1, "inst": 1,
    "textcolor": 1, "colorbox": 1, "href": 1, "multirow": 2, "multicolumn": 2, "resizebox": 2,
    "scalebox": 1, "rotatebox": 1, "parbox": 1, "raisebox": 1, "newtheorem": 2, "bibinfo": 1,
    "foreignlanguage": 1, "setkeys": 2, "geometry": 1,
}  # fmt: skip
_REFERS = frozenset({"ref", "eqref", "autoref", "cref", "Cref", "pageref", "nameref", "vref"})
_AROUND = {
    **dict.fromkeys(("texttt", "code", "lstinline", "cmd", "pkg"), ("`", "`")),
    **dict.fromkeys(("footnote", "footnotetext"), (" (", ")")),
}
_MACRO = re.compile(r"\\(?:(?:re)?newcommand\*?\s*\{?|def)\s*\\([a-zA-Z]+)\}?\s*(?=\{)")
_SPACES = re.compile(r"[^\S\n]+")


@dataclass(frozen=True, slots=True)
class Groups:
    """A text, and which braces and brackets in it belong together."""

    text: str
    ends: dict[int, int]  # behind what opens at a place

    @classmethod
    def of(cls, text: str) -> Self:
        ends: dict[int, int] = {}
        open_at: list[int] = []
        for found in _GROUP.finditer(text):
            if found[0] in "{[":
                open_at.append(found.start())
            elif found[0] == "]" and open_at and text[open_at[-1]] == "[":
                ends[open_at.pop()] = found.end()
            elif found[0] == "}":
                while open_at and text[open_at[-1]] == "[":
                    open_at.pop()
                if open_at:
                    ends[open_at.pop()] = found.end()
        return cls(text, ends)

    def at(self, place: int) -> tuple[str, int]:
        """What is in the braces or brackets that open here, and the place behind them.

        Nothing, and the place itself, if none do.
        """
        end = self.ends.get(place, place)
        return self.text[place + 1 : end - 1], end

    def argument(self, place: int) -> tuple[str, int]:
        """The same of braces, perhaps behind an optional argument in brackets."""
        if self.text[place : place + 1] == "[":
            place = self.ends.get(place, place)
        return self.at(place) if self.text[place : place + 1] == "{" else ("", place)


@dataclass(frozen=True, slots=True)
class Words:
    """What readers see of a document's commands; its own ones are ``macros``."""

    macros: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, preamble: str) -> Self:
        words, groups = cls(), Groups.of(preamble)
        for found in _MACRO.finditer(preamble):
            body, _ = groups.at(found.end())
            if body and "#" not in body and len(body) <= _MAX_MACRO_CHARS:
                words.macros[found[1]] = words.shown(body)[:_MAX_MACRO_CHARS]
        return words

    def shown(self, text: str) -> str:
        """The words, with code in backticks and formulas as they are."""
        closing: dict[int, str] = {}  # what stands in place of braces, by their place
        groups = Groups.of(text)
        parts: list[str] = []
        at = 0
        while found := _TOKEN.search(text, at):
            parts.append(text[at : found.start()])
            at = found.end()
            if found["command"]:
                shown, at = self._command(found["command"], at, groups, closing)
                parts.append(shown)
            elif found["brace"]:
                parts.append(closing.pop(found.start(), ""))
            else:
                parts.append(_shown(found))
        parts.append(text[at:])
        lines = (_SPACES.sub(" ", line).strip() for line in "".join(parts).split("\n"))
        return "\n".join(filter(None, lines))

    def _command(
        self, name: str, at: int, groups: Groups, closing: dict[int, str]
    ) -> tuple[str, int]:
        """What stands for it, and where to go on: within its argument if that is shown."""
        known = self.macros.get(name, _NAMES.get(name))
        if known is not None:
            return known, at
        if name in _UNSEEN or name.endswith("label"):  # many a document has commands for labels
            for _ in range(_UNSEEN.get(name, 1)):
                _, at = groups.argument(at)
            return "", at
        if "cite" in name.lower():
            while groups.text[at : at + 1] == "[" and at in groups.ends:
                at = groups.ends[at]
            keys, at = groups.argument(at)
            return f"[{', '.join(keys.replace(',', ' ').split())}]" if keys else "", at
        if name in _REFERS:
            return groups.argument(at)
        argument, end = groups.argument(at)
        if not argument:
            return "", at
        if name == "ensuremath":
            return f"${argument}$", end
        opening, closing[end - 1] = _AROUND.get(name, ("", ""))
        return opening, end - 1 - len(argument)


def _shown(found: re.Match[str]) -> str:
    """What stands for a token that is no command."""
    if found["math"]:
        return found[0]
    if found["verb"] is not None:
        return f"`{found['verb']}`"
    if found["url"] is not None:
        return found["url"]
    if found["accent"]:
        letter = found["on"] or found["on2"] or ""
        return unicodedata.normalize("NFC", letter + _ACCENTS[found["accent"]]) if letter else ""
    if found["symbol"]:
        return _SYMBOLS.get(found["symbol"], found["symbol"])
    if found["quotes"]:
        return _QUOTES[found["quotes"]]
    return " " if found["tie"] else ""
