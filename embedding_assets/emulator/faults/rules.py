"""A rule: which kind of fault strikes what, how often, and which rules make sense.

What its kind does is in `kinds`; which rules are in force, and whether one strikes, in `book`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, TypeVar

from embedding_assets.emulator.errors import Quota
from embedding_assets.emulator.faults.kinds import (
    CALL_FAULTS,
    JOB_FAULTS,
    LINE_FAULTS,
    TEXT_FAULTS,
    Endpoint,
    FaultKind,
)

_E = TypeVar("_E", bound=StrEnum)

_FIELD_TYPES: dict[str, tuple[Any, str]] = {
    "match": (str, "a text"),
    "times": (int | None, "a whole number"),
    "probability": (int | float, "a number"),
    "status": (int, "a whole number"),
    "code": (int, "a whole number"),
    "message": (str, "a text"),
    "location": (str, "a text"),
    "delay_s": (int | float, "a number"),
    "answered": (int | float | None, "a number"),
    "is_billed": (bool, "true or false"),
    "is_refused": (bool, "true or false"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule. It strikes what it matches, `times` times or for ever, always or by chance."""

    kind: FaultKind
    match: str = ""
    """A substring; the empty one matches everything."""
    times: int | None = None
    probability: float = 1.0
    endpoint: Endpoint | None = None
    """Call errors only: the endpoint struck; None is any."""
    status: int = 503
    """Call errors only: the HTTP status answered."""
    quota: Quota | None = None
    """Call errors only: the quota that is exceeded, in Gemini's words instead of the rule's."""
    code: int = 13
    """Error lines and jobs that fail only: the RPC code answered; 13 is INTERNAL."""
    message: str = "A fault was asked for."
    location: str = "https://elsewhere.invalid"
    """Redirections only: the other server."""
    delay_s: float = 30.0
    """What is late only: how long, by the emulator's clock."""
    answered: float | None = None
    """Jobs that end partially or badly only: the share of the requests that is answered
    nevertheless. None is half of them for job_partial, and none for the others."""
    is_refused: bool = False
    """Poison texts only: the job is not created, instead of failing as a whole."""

    is_billed: bool = False
    """Lines only: what is spoilt is paid for all the same, as it would be at Google."""

    def __post_init__(self) -> None:
        for name, (wanted, description) in _FIELD_TYPES.items():
            value = getattr(self, name)
            if isinstance(value, bool) is not (wanted is bool) or not isinstance(value, wanted):
                raise ValueError(f"{name} must be {description}, not {value!r}")
        if self.endpoint is not None and self.kind not in CALL_FAULTS:
            kinds = " or ".join(CALL_FAULTS)
            raise ValueError(f"only a {kinds} names an endpoint, not a {self.kind}")
        if self.is_billed and self.kind not in LINE_FAULTS:
            raise ValueError(f"only what spoils a line is billed or not, not a {self.kind}")
        if self.quota is not None and self.kind not in CALL_FAULTS:
            raise ValueError(f"only a {' or '.join(CALL_FAULTS)} names a quota, not a {self.kind}")
        if self.is_refused and self.kind not in TEXT_FAULTS:
            kinds = " or ".join(TEXT_FAULTS)
            raise ValueError(f"only the job of a {kinds} is refused, not that of a {self.kind}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, not {self.times!r}")
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability must be over 0 and at most 1, not {self.probability!r}")
        if not 400 <= self.status <= 599:
            raise ValueError(f"status must be an error, 400 to 599, not {self.status!r}")
        if not 0 <= self.delay_s < math.inf:
            raise ValueError(f"delay_s must be 0 or more, not {self.delay_s!r}")
        if self.answered is not None:
            self._check_answered(self.answered)

    def _check_answered(self, answered: float) -> None:
        shared = sorted(kind for kind, job in JOB_FAULTS.items() if not job.is_share_fixed)
        if self.kind not in shared:
            raise ValueError(f"answered is for {', '.join(shared)}, not for {self.kind}")
        if self.kind is FaultKind.JOB_PARTIAL and not 0 < answered < 1:
            raise ValueError(f"answered must be between 0 and 1, not {answered!r}")
        if not 0 <= answered <= 1:
            raise ValueError(f"answered must be from 0 to 1, not {answered!r}")

    @property
    def share_answered(self) -> float:
        """The share of a struck job's requests that is answered: 0 is a job without output."""
        return JOB_FAULTS[self.kind].answered if self.answered is None else self.answered

    @classmethod
    def from_json(cls, body: object) -> "Fault":
        """Read a rule. Raises ValueError for what is no object or makes no sense."""
        if not isinstance(body, Mapping):
            raise ValueError(f"a fault is a JSON object, not {body!r}")
        unknown = body.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown fields of a fault: {', '.join(sorted(unknown))}")
        endpoint, quota = body.get("endpoint"), body.get("quota")
        values = {
            **body,
            "kind": _member(FaultKind, body.get("kind", "")),
            "endpoint": None if endpoint is None else _member(Endpoint, endpoint),
            "quota": None if quota is None else _member(Quota, quota),
        }
        return cls(**values)


def _member(names: type[_E], name: object) -> _E:
    """The member of that name. Raises ValueError, with those that there are, for another one."""
    found = next((member for member in names if member == name), None)
    if found is None:
        raise ValueError(f"{name!r} is none of {', '.join(names)}")
    return found
