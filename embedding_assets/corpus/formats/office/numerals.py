"""Numerals: how word processors count: 3, c, iii.

Belongs here: numbers as letters and Roman numerals. Does not belong here: which number an item has
(docx_styles.py, odt.py).
"""

_ROMAN = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L")),
    *((40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)
_MAX_ROMAN = 4999


def roman(number: int) -> str:
    """As digits beyond what the Romans wrote."""
    if not 0 < number <= _MAX_ROMAN:
        return str(number)
    numeral = ""
    for value, letters in _ROMAN:
        numeral += letters * (number // value)
        number %= value
    return numeral


def lettered(number: int) -> str:
    """A to Z, then AA, BB, …"""
    if number < 1:
        return str(number)
    times, place = divmod(number - 1, 26)
    return chr(ord("A") + place) * min(times + 1, 10)
