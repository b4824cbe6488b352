"""The tags of a run: named, parsed and refused in one place.

Belongs here: the names, what a value may be, and the sentence about one that cannot be. Does not
belong here: what an asset does with it, and the tags by which Dagster knows partitions
(partitions.py).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Self

from embedding_assets.errors import SettingsError
from embedding_assets.model.gates import GateName
from embedding_assets.model.reading import Reading
from embedding_assets.money.prices import parse_usd

RUN_KEY_TAG = "dagster/run_key"

_PREFIX = "embedding_assets/"
_MAX_NUMBER = 2**63 - 1  # what SQLite takes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTags:
    """What a run is told beside its partition: a field is the tag ``embedding_assets/<name>``."""

    allow: frozenset[GateName] = frozenset()  # of search_index: gates that a person opens
    generation: int | None = None  # of search_index: serve this one, be it an earlier one
    approve_cost_usd: Decimal | None = None  # of shard_plan: whatever the budget says
    send_now: bool = False  # of shard_plan: do not wait for more requests
    read: Reading | None = None  # of embeddings: read once more what was held, or collected
    resubmit: bool = False  # of batch_jobs: cancel the live job; then the shard is sent again
    report_failures: bool = False  # of batch_jobs: turn given-up shards red, and submit nothing
    pid: int | None = None  # the headless process that executes the run, and tells people of it

    @classmethod
    def parse(cls, tags: Mapping[str, str]) -> Self:
        """Raises SettingsError for a tag of ours that is unknown or has no sensible value."""
        return cls(**{name: _value(name, text) for name, text in _ours(tags)})

    def as_tags(self) -> dict[str, str]:
        """What ``parse`` reads; only what is not as usual."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        usual = {field.name: field.default for field in fields(self)}
        changed = {name: value for name, value in named.items() if value != usual[name]}
        return {_PREFIX + name: _text(value) for name, value in changed.items()}


def process_of(tags: Mapping[str, str]) -> int | None:
    """The headless process that executes a run; None if it is the daemon's, or nobody knows."""
    with suppress(ValueError):
        return _number(tags.get(f"{_PREFIX}pid", ""))
    return None


def _ours(tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return (
        (tag.removeprefix(_PREFIX), text) for tag, text in tags.items() if tag.startswith(_PREFIX)
    )


def _value(name: str, text: str) -> Any:
    if name not in _PARSERS:
        near = get_close_matches(name, _PARSERS, n=1)
        hint = f"did you mean '{_PREFIX}{near[0]}'?" if near else f"there are {', '.join(_PARSERS)}"
        raise SettingsError(f"run tag '{_PREFIX}{name}' is unknown; {hint}")
    try:
        return _PARSERS[name](text)
    except (ValueError, SettingsError) as exc:
        raise SettingsError(f"run tag '{_PREFIX}{name}': {exc}") from exc


def _gates(text: str) -> frozenset[GateName]:
    names = text.replace(",", " ").split()
    unknown = [name for name in names if name not in set(GateName)]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no gate; expected some of {', '.join(GateName)}")
    return frozenset(map(GateName, names))


def _reading(text: str) -> Reading:
    if text not in set(Reading):
        raise ValueError(f"{text!r} is no way to read; expected one of {', '.join(Reading)}")
    return Reading(text)


def _number(text: str) -> int:
    if text.isascii() and text.isdecimal() and 0 < int(text) <= _MAX_NUMBER:
        return int(text)
    raise ValueError(f"{text!r} is no number; expected one like '12'")


def _flag(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(f"{text!r} is neither 'true' nor 'false'")
    return words[text.lower()]


_PARSERS: dict[str, Callable[[str], Any]] = {
    "allow": _gates,
    "generation": _number,
    "approve_cost_usd": parse_usd,
    "send_now": _flag,
    "read": _reading,
    "resubmit": _flag,
    "report_failures": _flag,
    "pid": _number,
}


def _text(value: Any) -> str:
    if isinstance(value, frozenset):
        return " ".join(sorted(value))
    return "true" if value is True else str(value)
