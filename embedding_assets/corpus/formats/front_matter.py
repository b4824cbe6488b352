"""Front matter: what stands before a document and is about it, in YAML or TOML.

Belongs here: where it ends, and the title in it. Does not belong here: the document (markdown.py).
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass

from embedding_assets.corpus.formats.text import clean, one_line

# The title alone is parsed, unless it is very long. All the rest can be built to make a parser of
# YAML take minutes or gigabytes, and nothing of it is wanted.
_MAX_TITLE_ENTRY_CHARS = 1000


def split_front_matter(source: str) -> tuple[str, str]:
    """The title in front of a document, empty if there is none, and the document.

    What stands between two lines of dashes is front matter if it looks like that, line by line:
    else the dashes are rules of an ordinary document.
    """
    for form in (_YAML, _TOML):
        match = form.whole.match(source)
        if match and form.start.match(match[1]) and all(map(form.line.match, match[1].split("\n"))):
            # What is escaped in it was not cleaned with the source.
            return one_line(clean(_title(match[1], form))), source[match.end() :]
    return "", source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    whole: re.Pattern[str]
    start: re.Pattern[str]  # of the first lines: comments, then a key, or nothing at all
    line: re.Pattern[str]  # any line
    title: re.Pattern[str]  # the entry, with the lines that belong to it, and its value as it is
    parse: Callable[[str], object]


def _title(front: str, form: _Form) -> str:
    entry = form.title.search(front)
    if entry is None:
        return ""
    as_it_stands = entry[1].strip()  # what people wrote without knowing of quotes
    try:
        is_short = len(entry[0]) <= _MAX_TITLE_ENTRY_CHARS
        title = form.parse(entry[0]) if is_short else as_it_stands
    except ValueError:
        title = as_it_stands
    return title if isinstance(title, str) else ""


def _parse_yaml(entry: str) -> object:
    import yaml

    try:
        # Builds strings, lists and dictionaries. PyYAML takes no tab after a colon, others do.
        return yaml.load(entry.replace("\t", " "), yaml.BaseLoader)["title"]
    except (yaml.YAMLError, RecursionError) as exc:
        raise ValueError from exc


def _parse_toml(entry: str) -> object:
    try:
        return tomllib.loads(entry)["title"]
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
