"""Front matter: what stands before a document and is about it, in YAML or TOML.

Belongs here: where it ends, and what it says. Does not belong here: the document (markdown.py),
which of its names are common ones (names.py).
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from embedding_assets.corpus.formats.names import with_common_names
from embedding_assets.corpus.formats.text import clean, one_line

if TYPE_CHECKING:
    import yaml

# What is longer, or nests deeper, is no front matter of a person, and can be built to make a parser
# of YAML take minutes: of such a one only the title is used.
_MAX_CHARS = 20_000
_MAX_BRACKETS = 200
_MAX_DEPTH = 20
_MAX_TITLE_ENTRY_CHARS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontMatter:
    """What is said before a document: its title, empty if there is none, and all there is.

    ``metadata`` is empty if no parser takes it; there can be a title nevertheless.
    """

    title: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)


def split_front_matter(source: str) -> tuple[FrontMatter, str]:
    """The front matter of a document, and the document.

    What stands between two lines of dashes is front matter if it looks like that, line by line:
    else the dashes are rules of an ordinary document.
    """
    for form in (_YAML, _TOML):
        match = form.whole.match(source)
        if match and form.start.match(match[1]) and all(map(form.line.match, match[1].split("\n"))):
            return _read(match[1], form), source[match.end() :]
    return FrontMatter(), source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    whole: re.Pattern[str]
    start: re.Pattern[str]  # of the first lines: comments, then a key, or nothing at all
    line: re.Pattern[str]  # any line
    title: re.Pattern[str]  # the entry, with the lines that belong to it, and its value as it is
    parse: Callable[[str], Mapping[str, object]]  # raises ValueError


def _read(front: str, form: _Form) -> FrontMatter:
    try:
        if len(front) > _MAX_CHARS:
            raise ValueError(f"{len(front):,} characters")
        entries = form.parse(front)
    except ValueError:
        return FrontMatter(title=_as_title(_title_alone(front, form)))
    return FrontMatter(title=_as_title(entries.get("title")), metadata=with_common_names(entries))


def _as_title(value: object) -> str:
    # What is escaped in it was not cleaned with the source.
    return one_line(clean(value)) if isinstance(value, str) else ""


def _title_alone(front: str, form: _Form) -> object:
    entry = form.title.search(front)
    if entry is None:
        return ""
    as_it_stands = entry[1].strip()  # what people wrote without knowing of quotes
    try:
        is_short = len(entry[0]) <= _MAX_TITLE_ENTRY_CHARS
        return form.parse(entry[0])["title"] if is_short else as_it_stands
    except ValueError:
        return as_it_stands


def _parse_yaml(text: str) -> Mapping[str, object]:
    import yaml

    if text.count("[") + text.count("{") > _MAX_BRACKETS:
        raise ValueError("too many brackets")
    try:
        return _parse_with(getattr(yaml, "CBaseLoader", yaml.BaseLoader), text)
    except ValueError:
        return _parse_with(yaml.BaseLoader, text)  # slow, and takes escaped surrogates


def _parse_with(loader: Any, text: str) -> Mapping[str, object]:
    import yaml

    try:
        # It takes no tab after a colon, others do.
        found = _value_of(yaml.parse(text.replace("\t", " "), loader))
    except (yaml.YAMLError, TypeError) as exc:  # a list cannot be a key
        raise ValueError from exc
    if not isinstance(found, Mapping):
        raise ValueError("no mapping")
    return found


def _value_of(events: Iterable["yaml.Event"]) -> object:
    """Texts as they are written, lists and mappings. Aliases are refused: they can be a bomb."""
    import yaml

    opened: list[list[object]] = [[]]
    for event in events:
        match event:
            case yaml.ScalarEvent():
                opened[-1].append(_text_of(event))
            case yaml.CollectionStartEvent() if len(opened) <= _MAX_DEPTH:
                opened.append([])
            case yaml.SequenceEndEvent():
                items = opened.pop()
                opened[-1].append(items)
            case yaml.MappingEndEvent():
                items = opened.pop()
                opened[-1].append(dict(zip(items[::2], items[1::2], strict=True)))
            case yaml.NodeEvent():
                raise ValueError("an alias, or too deep")
    return opened[0][0] if opened[0] else {}


def _text_of(event: "yaml.ScalarEvent") -> str | None:
    is_plain = event.style in (None, "")
    return None if is_plain and event.value in ("~", "null") else event.value


def _parse_toml(text: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except RecursionError as exc:
        raise ValueError from exc


_YAML_KEY = r"[\w\"'<][\w\"'<$. /-]{0,80}:(?:\s|$)"
_TOML_KEY = r"[\w\"'][\w\"'. -]{0,80}="
_YAML = _Form(
    whole=re.compile(r"---[ \t]*\n((?s:.*?))^(?:---|\.\.\.)[ \t]*$\n?", re.MULTILINE),
    start=re.compile(rf"(?:#.*\n)*(?:{_YAML_KEY}|\Z)"),
    line=re.compile(rf"[ \t#\]}}]|- |$|{_YAML_KEY}"),
    title=re.compile(r"^title:(.*(?:\n[ \t].*)*)", re.MULTILINE),
    parse=_parse_yaml,
)
_TOML = _Form(
    whole=re.compile(r"\+\+\+[ \t]*\n((?s:.*?))^\+\+\+[ \t]*$\n?", re.MULTILINE),
    start=re.compile(rf"(?:#.*\n)*(?:{_TOML_KEY}|\[|\Z)"),
    line=re.compile(rf"[ \t#\[\]}}]|$|{_TOML_KEY}"),
    title=re.compile(r"^title[ \t]*=(.*)", re.MULTILINE),
    parse=_parse_toml,
)
