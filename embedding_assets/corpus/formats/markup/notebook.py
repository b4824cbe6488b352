"""Jupyter notebooks: cells of Markdown, of code, and what came of it.

Belongs here: which cells readers see, and as what. Does not belong here: Markdown (markdown.py).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.clutter import without_clutter
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.markup.markdown import read_markdown
from embedding_assets.corpus.formats.markup.rst import read_rst
from embedding_assets.corpus.formats.pieces import Piece, assembled, fenced, heading, pieces_of
from embedding_assets.corpus.formats.text import clean, one_line
from embedding_assets.corpus.formats.titles import main_heading
from embedding_assets.errors import DocumentError

_REMEDY = "open it in Jupyter and save it again"
_MAX_OUTPUT_CHARS = 2_000  # of a cell
_READERS = {"text/markdown": read_markdown, "text/restructuredtext": read_rst}
_REMOVED = frozenset({"remove-cell", "remove_cell"})  # tags of Jupyter Book and nbconvert
_MAGIC = re.compile(r"%%(bash|sh|html|javascript|js|latex|perl|ruby|sql|R)\b")
_LANGUAGE = re.compile(r"[\w+#.-]{1,40}")
# Colours, and what was written over in its line.
_TERMINAL = re.compile(r"\x1b\[[0-9;]*+[A-Za-z]|^[^\n]*\r(?!\n)", re.MULTILINE)

Json = Mapping[str, Any]


def read_notebook(source: str, *, with_outputs: bool = False) -> Extracted:
    """Markdown as it is, code in fences; what came of it only if asked for, and only as text."""
    notebook = _parsed(source)
    about = _mapping(notebook.get("metadata"))
    language = _language_of(about)
    pieces: list[Piece] = []
    front = Extracted(title="", text="", blocks=())
    for n, cell in enumerate(_cells_of(notebook)):
        if n == 0 and _source_of(cell).startswith("---\n"):  # front matter, as Quarto has it
            front = read_markdown(_source_of(cell))
            pieces += pieces_of(front)
        else:
            pieces += _pieces_of_cell(cell, language, with_outputs=with_outputs)
    title = one_line(clean(str(about.get("title") or ""))) or front.title or main_heading(pieces)
    metadata = {"author": _authors_of(about), "kernel": language, **front.metadata}
    return assembled(pieces, title=title, metadata=metadata)


def _parsed(source: str) -> Json:
    try:
        notebook = json.loads(source)
    except (ValueError, RecursionError) as exc:
        raise DocumentError(f"it is no notebook: it is not valid JSON; {_REMEDY}") from exc
    if not isinstance(notebook, dict) or not _cells_of(notebook):
        raise DocumentError(f"there are no cells in it; {_REMEDY}")
    return notebook


def _cells_of(notebook: Json) -> list[Json]:
    """Before version 4 they were in worksheets."""
    sheets = [notebook, *_mappings(notebook.get("worksheets"))]
    return [cell for sheet in sheets for cell in _mappings(sheet.get("cells"))]


def _language_of(about: Json) -> str:
    names = (
        _mapping(about.get("language_info")).get("name"),
        _mapping(about.get("kernelspec")).get("language"),
    )
    return next(
        (name.lower() for name in map(str, filter(None, names)) if _LANGUAGE.fullmatch(name)), ""
    )


def _authors_of(about: Json) -> list[object]:
    return [author.get("name") for author in _mappings(about.get("authors"))]


def _pieces_of_cell(cell: Json, language: str, *, with_outputs: bool) -> Iterator[Piece]:
    about, source = _mapping(cell.get("metadata")), _source_of(cell)
    if not _REMOVED.isdisjoint(map(str, _list(about.get("tags")))):
        return
    match cell.get("cell_type"):
        case "code":
            magic = _MAGIC.match(source)
            own = magic[1] if magic else str(cell.get("language", ""))  # before version 4
            yield from _code(source, own or language)
            if with_outputs:
                yield from _code(_cut(_shown_of(cell)), "")
        case "heading":  # then, too
            level = cell.get("level")
            yield heading(source, level if isinstance(level, int) and level > 0 else 1)
        case "markdown":
            yield from map(_anchored, pieces_of(read_markdown(source)))
        case "raw":
            read = _READERS.get(str(about.get("raw_mimetype", about.get("format"))))
            if read is not None:
                yield from pieces_of(read(source))


def _anchored(piece: Piece) -> Piece:
    """Jupyter's fragments are the headings with their capitals."""
    is_heading = piece.kind is BlockKind.HEADING
    return piece._replace(anchor=piece.label.replace(" ", "-")) if is_heading else piece


def _code(code: str, language: str) -> Iterator[Piece]:
    if code.strip():
        yield Piece(BlockKind.CODE, fenced(without_clutter(code), language))


def _shown_of(cell: Json) -> str:
    """The text among what came of a cell; of a picture there is none."""
    outputs = [_text_of_output(output) for output in _mappings(cell.get("outputs"))]
    return "\n".join(text.rstrip() for text in outputs if text.strip())


def _text_of_output(output: Json) -> str:
    if "ename" in output:
        return f"{output['ename']}: {output.get('evalue', '')}"
    data = _mapping(output.get("data", output))
    is_picture = any(name.startswith("image/") or name in ("png", "svg", "jpeg") for name in data)
    return "" if is_picture else _joined(data.get("text/plain", data.get("text", "")))


def _cut(text: str) -> str:
    text = clean(_TERMINAL.sub("", text))
    n_more = len(text) - _MAX_OUTPUT_CHARS
    return text if n_more <= 0 else f"{text[:_MAX_OUTPUT_CHARS]}\n[{n_more:,} more characters]"


def _source_of(cell: Json) -> str:
    return clean(_joined(cell.get("source", cell.get("input", "")))).strip("\n")


def _joined(lines: object) -> str:
    """Of one text, or of its lines, which had no ends before version 3."""
    if not isinstance(lines, list):
        return str(lines or "")
    texts = list(map(str, lines))
    return ("" if any(text.endswith("\n") for text in texts) else "\n").join(texts)


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _mappings(value: object) -> list[Json]:
    return [each for each in _list(value) if isinstance(each, dict)]
