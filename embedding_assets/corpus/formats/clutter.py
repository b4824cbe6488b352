"""x"""


def without_clutter(text: str) -> str:
    return text
