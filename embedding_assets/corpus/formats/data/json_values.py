"""JSON: objects as lines and sections, arrays of them as rows.

Belongs here: what nesting becomes, of one value or of one a line. Does not belong here: rows
(records.py), notebooks.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from embedding_assets.corpus.blocks import BlockKind
from embedding_assets.corpus.formats.data.records import (
    FIRST_LEVEL,
    MAX_COLUMNS,
    MAX_NUMBERS,
    Records,
    n_numbers,
    pieces_of_fields,
    pieces_of_records,
    pieces_of_row,
    place_of_name,
    text_of_value,
)
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.pieces import Piece, assembled, heading, pieces_of
from embedding_assets.corpus.formats.plain import read_plain
from embedding_assets.corpus.formats.text import clean, lines_of, one_line
from embedding_assets.errors import DocumentError
from embedding_assets.wording import count

_MAX_LEVEL = 6  # of headings; what is nested deeper stays JSON
# What has no more than that stands in a line.
_SHORT_CHARS = 500
_SHORT_JSON_CHARS = 100
_SHORT_JSON_ITEMS = 10
_MIN_FILLED = 0.5  # of the cells of rows that were an object's values
# What JSON:API, GeoJSON and Django call the object that has an object's own fields.
_HOLDERS = ("attributes", "properties", "fields")

Object = Mapping[str, object]


def read_json(source: str) -> Extracted:
    """One value, titled by its field of that name; or one a line, which is called JSON, too.

    Raises DocumentError if it is no JSON, or nested too deeply.
    """
    try:
        value = json.loads(source)
    except ValueError as exc:
        first_line = next(filter(str.strip, lines_of(source)), "")
        if list(_objects_of(first_line)):
            return read_json_lines(source)
        raise DocumentError(f"it is no JSON ({exc}); repair it") from exc
    except RecursionError as exc:
        raise DocumentError("it is nested too deeply; split it") from exc
    title = ""
    if isinstance(value, dict) and isinstance(value.get("title"), str):
        title = one_line(clean(value.pop("title")))
    return assembled(_pieces_of(value, FIRST_LEVEL), title=title)


def read_json_lines(source: str) -> Extracted:
    """One value a line: rows, or sections if they nest. Lines that are no JSON are left out.

    Raises DocumentError if these are most of them.
    """
    n_lines = sum(1 for line in lines_of(source) if line.strip())
    n_broken = n_lines - sum(1 for _ in _objects_of(source))
    if n_broken * 2 > n_lines:
        raise DocumentError(f"{n_broken:,} of its {n_lines:,} lines are no JSON; repair it")
    read = partial(_objects_of, source)
    pieces = _pieces_of_rows(read, FIRST_LEVEL) if all(map(_is_row, read())) else _sections(read())
    return assembled(pieces, remark=_said(n_broken) if n_broken else "")


def _said(n_broken: int) -> str:
    return f"{count(n_broken, 'line is', 'lines are')} no JSON, and left out"


def _objects_of(source: str) -> Iterator[Object]:
    """What is on the lines that are JSON; what is no object, as one without a name."""
    for line in lines_of(source):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        yield value if isinstance(value, dict) else {"": value}


def _pieces_of(value: object, level: int) -> Iterator[Piece]:
    match value:
        case dict():
            yield from _pieces_of_object(value, level)
        case list():
            yield from _pieces_of_array(value, level)
        case str():
            yield from pieces_of(read_plain(text_of_value(value)))
        case _:
            yield Piece(BlockKind.PROSE, text_of_value(value))


def _pieces_of_object(value: Object, level: int) -> Iterator[Piece]:
    """Rows, if that is what it has; else first what is short, then the rest under headings."""
    if level > _MAX_LEVEL:
        yield Piece(BlockKind.PROSE, text_of_value(value))
    elif rows := _rows_in(value):
        yield from _pieces_of_rows(lambda: iter(rows), level)
    else:
        yield from pieces_of_fields(_fields({k: v for k, v in value.items() if _is_short(v)}))
        for key, each in value.items():
            if not _is_short(each):
                yield heading(clean(key), level)
                yield from _pieces_of(each, level + 1)


def _pieces_of_array(values: Sequence[object], level: int) -> Iterator[Piece]:
    objects = [value for value in values if isinstance(value, dict)]
    if n_numbers(values) > MAX_NUMBERS:
        yield Piece(BlockKind.PROSE, text_of_value(values))
    elif len(objects) < len(values) or level > _MAX_LEVEL:
        yield from _pieces_of_texts(list(map(text_of_value, values)))
    elif all(map(_is_flat, objects)):
        yield from _pieces_of_rows(lambda: iter(objects), level)
    else:
        yield from _sections(objects, level)


def _pieces_of_texts(texts: Sequence[str]) -> Iterator[Piece]:
    """A list, if its items are short."""
    if max(map(len, texts), default=0) > _SHORT_CHARS:
        yield from (Piece(BlockKind.PROSE, text) for text in texts)
    else:
        yield Piece(BlockKind.LIST, "\n".join(f"- {' '.join(text.split())}" for text in texts))


def _sections(objects: Iterable[Object], level: int = FIRST_LEVEL) -> Iterator[Piece]:
    """Each under its name, else its number."""
    for number, value in enumerate(objects, 1):
        key, label = _name_of(value)
        yield heading(label or str(number), level)
        yield from _pieces_of_object({k: v for k, v in value.items() if k != key}, level + 1)


def _name_of(value: Object) -> tuple[str | None, str]:
    """Its name, which may be in an object within, and the field that is nothing but that."""
    texts = [(key, clean(each)) for key, each in value.items() if isinstance(each, str)]
    named = place_of_name(texts)
    if named is not None:
        return texts[named]
    inner = {key: each for key, each in value.items() if isinstance(each, dict)}
    within = [(key, text) for key in inner for text in inner[key].values() if isinstance(text, str)]
    within += [pair for key in _HOLDERS for pair in inner.get(key, {}).items()]
    texts = [(key, clean(text)) for key, text in within if isinstance(text, str)]
    named = place_of_name(texts)
    return None, "" if named is None else texts[named][1]


# --- Rows -----------------------------------------------------------------------------------------


def _rows_in(value: Object) -> list[Object]:
    """An object of objects as rows, whose first cell is the key, if these are of one kind."""
    rows: list[Object] = [{"": key} | each for key, each in value.items() if isinstance(each, dict)]
    if len(rows) < max(len(value), 2) or not all(map(_is_flat, rows)):
        return []
    columns = _columns(rows)
    n_filled = sum(map(len, rows))
    are_alike = len(columns) <= MAX_COLUMNS and n_filled >= _MIN_FILLED * len(rows) * len(columns)
    return rows if are_alike else []


def _pieces_of_rows(read: Callable[[], Iterator[Object]], level: int) -> Iterator[Piece]:
    columns = _columns(read())
    if len(columns) > MAX_COLUMNS:
        for row in read():
            yield from pieces_of_row(_fields(row), level)
    else:
        records = Records(columns=list(map(clean, columns)), read=partial(_cells, read, columns))
        yield from pieces_of_records(records, level=level)


def _columns(rows: Iterable[Object]) -> list[str]:
    """The keys of all, in the order in which they come; some, if there are too many."""
    columns: dict[str, None] = {}
    for row in rows:
        columns |= dict.fromkeys(row)
        if len(columns) > MAX_COLUMNS:
            break
    return list(columns)


def _cells(read: Callable[[], Iterator[Object]], columns: Sequence[str]) -> Iterator[list[str]]:
    for row in read():
        cells = [text_of_value(row.get(column)) for column in columns]
        if any(cells):
            yield cells


def _fields(value: Object) -> list[tuple[str, str]]:
    return [(clean(key), text_of_value(each)) for key, each in value.items()]


def _is_row(value: Object) -> bool:
    """All that it has can stand in a cell: texts can, however long."""
    return all(isinstance(each, str) or _is_short(each) for each in value.values())


def _is_flat(value: Object) -> bool:
    return all(map(_is_short, value.values()))


def _is_short(value: object) -> bool:
    """It can stand in a line."""
    if isinstance(value, str):
        return len(value) <= _SHORT_CHARS
    if not isinstance(value, (list, dict)) or (isinstance(value, list) and n_numbers(value)):
        return True
    return len(value) <= _SHORT_JSON_ITEMS and len(json.dumps(value)) <= _SHORT_JSON_CHARS
