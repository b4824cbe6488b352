"""Alerts: one line for people who are not looking at the web UI, and its way to a webhook.

Belongs here: the line, what Slack and the like take, trying again. Does not belong here: what is
worth a line (defs/alerts.py).

The address of a webhook is a secret: whoever knows it can post there. Of it at most the host is
said, also when something goes wrong.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from embedding_assets.redaction import redacted

if TYPE_CHECKING:
    import httpx2
    from tenacity import RetryCallState

# Discord's Slack endpoint takes 2,000 characters, Mattermost and Slack more.
MAX_LINE_CHARS = 1500

_ATTEMPTS = 4
_ATTEMPT_TIMEOUT_S = 2.0
# A tick of a Dagster sensor has a minute, for up to five alerts.
_PATIENCE_S = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One summary line: no document's text, no key, no address of a webhook."""

    line: str

    def __post_init__(self) -> None:
        if not self.line or self.line.splitlines() != [self.line]:
            raise ValueError(f"an alert is one line, not {self.line!r}")

    @classmethod
    def of(cls, text: str) -> Self:
        """The text as one line that every receiver takes."""
        # Half a surrogate pair, say from a broken file name, cannot be posted.
        line = " ".join(redacted(text).encode("utf-8", "replace").decode().split())
        is_short = len(line) <= MAX_LINE_CHARS
        return cls(line=line if is_short else f"{line[: MAX_LINE_CHARS - 1]}…")


def post_alert(
    alert: Alert, webhook_url: str, *, sleep: Callable[[float], None] = time.sleep
) -> str | None:
    """Post an alert; why it could not be delivered, None if it was. It takes seconds at the most.

    Tried again when the connection fails, on 429 (after what Retry-After says, if that is short)
    and on 5xx.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay

    host: str | None = "the webhook"
    retrying = Retrying(
        retry=retry_if_exception_type(_NotNowError),
        stop=stop_after_attempt(_ATTEMPTS) | stop_before_delay(_PATIENCE_S),
        wait=_wait_s,
        sleep=sleep,
        reraise=True,
    )
    try:
        host = urlsplit(webhook_url).hostname
        retrying(_post, alert, webhook_url)
    except (_NotNowError, _RefusedError) as exc:
        return f"an alert could not be posted to {host}: {exc}"
    except Exception as exc:  # whatever it is: work goes on, and its text may have the address
        return f"an alert could not be posted to {host}: {type(exc).__name__}"
    return None


class _NotNowError(Exception):
    """It may be delivered if it is posted again."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class _RefusedError(Exception):
    """It will never be delivered there."""


def _wait_s(state: "RetryCallState") -> float:
    """Half a second, one, two; or what the receiver asked for."""
    exc = state.outcome.exception() if state.outcome else None
    asked_for = exc.retry_after_s if isinstance(exc, _NotNowError) else None
    return 0.5 * 2 ** (state.attempt_number - 1) if asked_for is None else asked_for


def _post(alert: Alert, webhook_url: str) -> None:
    import httpx2

    try:
        with (
            _unlogged(),
            # A stream, because only the status of an answer matters, however long it is.
            httpx2.stream(
                "POST",
                webhook_url,
                json={"text": escaped(alert.line)},
                timeout=_ATTEMPT_TIMEOUT_S,
            ) as response,
        ):
            _check(response)
    except httpx2.TransportError as exc:
        raise _NotNowError(type(exc).__name__) from exc


def _check(response: "httpx2.Response") -> None:
    reason = f"it answered {response.status_code}"
    if response.status_code == 429:
        raise _NotNowError(reason, retry_after_s=_seconds(response.headers.get("Retry-After")))
    if response.status_code >= 500:
        raise _NotNowError(reason)
    if not response.is_success:
        raise _RefusedError(f"{reason}; check alerts.webhook_url")


def _seconds(retry_after: str | None) -> float | None:
    """Slack gives seconds; a date, which HTTP also allows, counts as nothing said."""
    return float(retry_after) if retry_after and retry_after.isdigit() else None


def escaped(line: str) -> str:
    """A line in which nothing is a link or calls anybody.

    Slack reads &, < and > as markup (Slack, "Formatting text for app surfaces", 2026); Mattermost
    and Discord call the whole channel at a bare @channel or @everyone.
    """
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        line = line.replace(character, entity)
    return re.sub(r"@(?=\w)", "@\u200b", line)


@contextmanager
def _unlogged() -> Iterator[None]:
    """httpx2 logs the address of every request at INFO; other threads' are not ours to hide."""
    here = threading.get_ident()

    def is_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger = logging.getLogger("httpx2")
    logger.addFilter(is_elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(is_elsewhere)
