"""Symbols: what the letters of Windows's fonts of symbols stand for.

Belongs here: the fonts that programs write signs in for want of Unicode. Does not belong here: how
a format says in which font something is (docx.py, rtf_header.py).
"""

_PRIVATE = range(0xF000, 0xF100)  # where programs put the letters of such fonts, too
# fmt: off
_SYMBOL = dict(enumerate(
    " !∀#∃%&∋()∗+,−./0123456789:;<=>?"  # noqa: RUF001
    "≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_"
    "‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼",  # noqa: RUF001
    0x20,
)) | dict(enumerate(
    "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵"  # noqa: RUF001
    "ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓"  # noqa: RUF001
    "◊⟨®©™∑",
    0xA0,
)) | {0xF1: "⟩", 0xF2: "∫"}
# Of hundreds, those that say something.
_WINGDINGS = {
    0x6C: "●", 0x6E: "■", 0x6F: "☐", 0x71: "☐", 0x76: "❖", 0x9F: "•", 0xA7: "▪", 0xA8: "☐",
    0xD8: "➢", 0xDF: "←", 0xE0: "→", 0xE1: "↑", 0xE2: "↓", 0xE8: "→", 0xF0: "⇨", 0xFB: "✗",
    0xFC: "✓", 0xFD: "☒", 0xFE: "☑",
}
# fmt: on
_FONTS = {"symbol": _SYMBOL, "wingdings": _WINGDINGS}


def has_symbols(font: str) -> bool:
    """Whether the letters of a font of that name are signs, and it is known which."""
    return font.lower() in _FONTS


def sign(code: int, font: str) -> str:
    """The sign of that code in a font of symbols; empty if it is not known."""
    if code > 0xFF and code not in _PRIVATE:  # it says itself what it is
        return chr(code)
    return _FONTS.get(font.lower(), {}).get(code & 0xFF, "")
