"""How errors of ours end a run or a tick, and why a run failed: in sentences for people.

Belongs here: the translation to Dagster's errors, and reading it back from Dagster's events.
Does not belong here: the errors (errors.py), and whom one tells (alerts.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, ParamSpec, TypeVar

import dagster as dg

from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.redaction import cleared, redacted
from embedding_assets.wording import count

_P = ParamSpec("_P")
_R = TypeVar("_R")

_INTERRUPTED = "it was interrupted"
_INTERRUPTIONS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
_NO_REASON = "no reason given"


class TickFailedError(dg.DagsterError):
    """A sensor cannot go on. Of Dagster's kind, so that a tick shows the sentence alone."""


def fails_in_words(work: Callable[_P, _R]) -> Callable[_P, _R]:
    """An asset or a check that shows errors of ours, and the system's on files, as a sentence."""
    return _translating(work, lambda words: dg.Failure(description=words, allow_retries=False))


def ticks_in_words(work: Callable[_P, _R]) -> Callable[_P, _R]:
    """The same for a sensor."""
    return _translating(work, TickFailedError)


def _translating(work: Callable[_P, _R], made_of: Callable[[str], Exception]) -> Callable[_P, _R]:
    @contextmanager
    def translation() -> Iterator[None]:
        try:
            yield
        except (EmbeddingAssetsError, OSError) as exc:
            raise made_of(redacted(str(exc))) from cleared(exc)
        except Exception as exc:  # Dagster keeps its words, and those of its causes
            if (told := cleared(exc)) is not exc:
                raise told from None
            raise

    @wraps(work)
    def translated(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with translation():
            return work(*args, **kwargs)

    @wraps(work)
    def translated_generator(*args: Any, **kwargs: Any) -> Any:
        with translation():
            yield from work(*args, **kwargs)  # type: ignore[misc]

    return translated_generator if isgeneratorfunction(work) else translated


def fail_if(problems: Mapping[str, str], what: str) -> None:
    """End a run of many shards after the last one: ``problems`` is a message by shard key."""
    if problems:
        first = next(iter(problems.values()))
        raise dg.Failure(
            description=f"{count(len(problems), 'shard')} {what}; the first: {first}",
            metadata=dict(problems),
            allow_retries=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyFailed:
    """Why a run failed. An error that is not ours may quote anybody's words."""

    told: str  # to others: our own message, or the error's name alone
    shown: str  # on the terminal of whoever ran it: the first line of any message


def why_failed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WhyFailed:
    """By the first of its steps that failed, or by the run itself."""
    for event in _events(instance, run, dg.DagsterEventType.STEP_FAILURE):
        step = event.step_failure_data
        if step.user_failure_data is not None and step.user_failure_data.description:
            description = step.user_failure_data.description
            return WhyFailed(told=description, shown=description)
        if step.error is not None:
            cause = step.error.cause or step.error
            return _not_ours(cause.cls_name, f"{event.step_key}: {cause.message}")
    for event in _events(instance, run, dg.DagsterEventType.RUN_FAILURE):
        # A run that was found dead has words, and nothing else.
        error = event.job_failure_data.error if event.event_specific_data else None
        if error is not None:
            cause = error.cause or error
            return _not_ours(cause.cls_name, f"run {run.run_id}: {cause.message}")
        return WhyFailed(told=event.message or _NO_REASON, shown=event.message or _NO_REASON)
    return WhyFailed(told=_NO_REASON, shown=_NO_REASON)


def _events(
    instance: dg.DagsterInstance, run: dg.DagsterRun, event_type: dg.DagsterEventType
) -> Sequence[dg.DagsterEvent]:
    records = instance.get_records_for_run(run.run_id, of_type=event_type).records
    entries = [record.event_log_entry.dagster_event for record in records]
    return [event for event in entries if event is not None]


def _not_ours(name: str | None, message: str) -> WhyFailed:
    told = _INTERRUPTED if name in _INTERRUPTIONS else f"unexpectedly, {name or 'an error'}"
    # An error of SQL goes on with the statement, and an index has other people's words in it.
    return WhyFailed(told=told, shown=message.strip().partition("\n")[0])
