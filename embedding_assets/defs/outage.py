"""An outage: since when Gemini does not answer, and whether people were told.

Belongs here: remembering that, and the sentence about it. Does not belong here: asking Gemini.

A sensor that raises loses its cursor, and a daemon that is started again knows nothing, so it is
kept beside the cursors of Dagster's own daemons, in the instance.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import dagster as dg

from embedding_assets.defs.failures import TickFailedError
from embedding_assets.errors import (
    EmbeddingAssetsError,
    RateLimitedError,
    RefusedError,
    SettingsError,
)
from embedding_assets.wording import utc

_KEY = "embedding_assets/gemini_outage"
# They go on until a person does something.
_FOR_PEOPLE = (RefusedError, SettingsError)


class GeminiOutOfReachError(TickFailedError):
    """Gemini cannot be polled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Gemini does not answer, or answers no, since then."""

    since: datetime
    why: str
    is_for_people: bool
    is_reported: bool
    is_told: bool = False  # by the webhook, what is for people

    @property
    def sentence(self) -> str:
        """What a person reads of it."""
        lasts = f"since {utc(self.since)}; it is tried again at every tick"
        why = self.why.rstrip(".")
        return f"{why}, {lasts}" if self.is_for_people else f"no answer {lasts}: {why}"


def follow_outage(
    instance: dg.DagsterInstance, trouble: EmbeddingAssetsError | None, now: datetime
) -> Outage | None:
    """The outage that a look at Gemini began or went on with.

    None if it answered, or if there was nothing to ask.
    """
    known = known_outage(instance)
    if trouble is None:
        if known is not None:
            forget_outage(instance)
        return None
    is_for_people = _is_for_people(trouble)
    if known is not None and known.is_for_people is is_for_people:
        return replace(known, why=str(trouble))
    outage = Outage(
        since=known.since if known else now,
        why=str(trouble),
        is_for_people=is_for_people,
        is_reported=False,  # that it is for people now is news
        is_told=known.is_told if known else False,
    )
    _remember(instance, outage)
    return outage


def _is_for_people(trouble: EmbeddingAssetsError) -> bool:
    if isinstance(trouble, RateLimitedError):
        return trouble.quota.is_for_people
    return isinstance(trouble, _FOR_PEOPLE)


def report_outage(
    instance: dg.DagsterInstance, outage: Outage, tell_people: Callable[[str], None]
) -> None:
    """Raises GeminiOutOfReachError the first time.

    What is for people is told, too, once an outage: no run fails for it, so that no alert comes.
    """
    if outage.is_reported:
        return
    is_to_tell = outage.is_for_people and not outage.is_told
    _remember(instance, replace(outage, is_reported=True, is_told=outage.is_told or is_to_tell))
    if is_to_tell:
        tell_people(outage.sentence)
    raise GeminiOutOfReachError(outage.sentence)


def known_outage(instance: dg.DagsterInstance) -> Outage | None:
    """The outage that lasts, as far as anybody has seen."""
    text = instance.daemon_cursor_storage.get_cursor_values({_KEY}).get(_KEY)
    if not text:
        return None
    try:
        values: dict[str, Any] = json.loads(text)
        return Outage(**{**values, "since": datetime.fromisoformat(values["since"])})
    except (TypeError, ValueError, KeyError):  # what another version remembered
        return None


def forget_outage(instance: dg.DagsterInstance) -> None:
    """It is over, or somebody else is to hear of it."""
    instance.daemon_cursor_storage.set_cursor_values({_KEY: ""})


def _remember(instance: dg.DagsterInstance, outage: Outage) -> None:
    values = {**asdict(outage), "since": outage.since.isoformat()}
    instance.daemon_cursor_storage.set_cursor_values({_KEY: json.dumps(values)})
