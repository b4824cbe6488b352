"""Faults on demand: rules that say what goes wrong, how often, and for whom.

A rule strikes in one of three places: a line of a result file, a call, or the fate of a job.
This module decides *whether* a rule strikes and remembers that it did; what then happens is up
to the code of that place (`results`, `server`, `state`).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from random import Random
from typing import Any

import orjson

from embedding_assets.emulator.database import Database
from embedding_assets.emulator.errors import ApiError


class Endpoint(StrEnum):
    """Everything a client can call, by the name used in the bill and in call faults."""

    UPLOAD = "upload"  # the call that starts one
    UPLOAD_CHUNK = "upload_chunk"
    FILES_GET = "files_get"
    FILES_LIST = "files_list"
    FILES_DELETE = "files_delete"
    DOWNLOAD = "download"
    CREATE = "create"
    GET = "get"
    LIST = "list"
    CANCEL = "cancel"
    DELETE = "delete"
    EMBED = "embed"  # batchEmbedContents and embedContent
    COUNT_TOKENS = "count_tokens"


class FaultKind(StrEnum):
    """What goes wrong."""

    # Result lines: `match` is sought in the text and in the key.
    ERROR_LINE = "error_line"  # an error (code, message) instead of a vector
    MISSING_LINE = "missing_line"
    WRONG_DIMENSION = "wrong_dimension"  # one value short
    NAN_VALUE = "nan_value"
    DUPLICATE_LINE = "duplicate_line"
    MALFORMED_LINE = "malformed_line"  # cut off in the middle
    UNKNOWN_KEY = "unknown_key"  # the answer comes under a key that nobody asked for

    # Calls: `match` is sought in the path and in the body (of an upload's chunk: in the path).
    CALL_ERROR = "call_error"  # the endpoint answers with an HTTP status and does nothing
    CREATE_THEN_DROP = "create_then_drop"  # the job exists, its creator never hears of it
    CREATE_LATE = "create_late"  # answered 504; the job exists, and is seen after `delay_s`
    UPLOAD_BROKEN = "upload_broken"  # the connection ends when half of a chunk has arrived
    DOWNLOAD_TRUNCATED = "download_truncated"  # a part is sent as if it were the whole
    DOWNLOAD_BROKEN = "download_broken"  # the connection ends before the announced length

    # Jobs: `match` is sought in the display name, when the job is created.
    JOB_FAILED = "job_failed"
    JOB_EXPIRED = "job_expired"
    JOB_CANCELLED = "job_cancelled"
    JOB_PARTIAL = "job_partial"  # partially succeeded: some requests have no line
    JOB_STUCK = "job_stuck"  # it runs, and runs
    LATE_OUTPUT = "late_output"  # it succeeds, and its results are there `delay_s` later


LINE_FAULTS = frozenset(
    {
        FaultKind.ERROR_LINE,
        FaultKind.MISSING_LINE,
        FaultKind.WRONG_DIMENSION,
        FaultKind.NAN_VALUE,
        FaultKind.DUPLICATE_LINE,
        FaultKind.MALFORMED_LINE,
        FaultKind.UNKNOWN_KEY,
    }
)
# An answer that travels inside the operation cannot be spoilt as JSON, and has no key.
INLINED_FAULTS = LINE_FAULTS - {
    FaultKind.NAN_VALUE,
    FaultKind.MALFORMED_LINE,
    FaultKind.UNKNOWN_KEY,
}
CREATE_FAULTS = frozenset({FaultKind.CREATE_THEN_DROP, FaultKind.CREATE_LATE})
DOWNLOAD_FAULTS = frozenset({FaultKind.DOWNLOAD_TRUNCATED, FaultKind.DOWNLOAD_BROKEN})
# The share of a struck job's requests that is answered, unless the rule says otherwise.
_USUALLY_ANSWERED = {
    FaultKind.JOB_FAILED: 0.0,
    FaultKind.JOB_EXPIRED: 0.0,
    FaultKind.JOB_CANCELLED: 0.0,
    FaultKind.JOB_PARTIAL: 0.5,
    FaultKind.JOB_STUCK: 0.0,
    FaultKind.LATE_OUTPUT: 1.0,
}
JOB_FAULTS = frozenset(_USUALLY_ANSWERED)
_ANSWERED_IN_PART = JOB_FAULTS - {FaultKind.JOB_STUCK, FaultKind.LATE_OUTPUT}

_FIELD_TYPES: dict[str, tuple[Any, str]] = {
    "match": (str, "a text"),
    "times": (int | None, "a whole number"),
    "probability": (int | float, "a number"),
    "status": (int, "a whole number"),
    "code": (int, "a whole number"),
    "message": (str, "a text"),
    "delay_s": (int | float, "a number"),
    "answered": (int | float | None, "a number"),
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
    code: int = 13
    """Error lines only: the RPC code answered; 13 is INTERNAL."""
    message: str = "A fault was asked for."
    delay_s: float = 30.0
    """What is late only: how long, by the emulator's clock."""
    answered: float | None = None
    """Jobs that end partially or badly only: the share of the requests that is answered
    nevertheless. None is half of them for job_partial, and none for the others."""

    def __post_init__(self) -> None:
        for name, (wanted, description) in _FIELD_TYPES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, wanted):
                raise ValueError(f"{name} must be {description}, not {value!r}")
        if self.endpoint is not None and self.kind is not FaultKind.CALL_ERROR:
            raise ValueError(f"only a call_error names an endpoint, not a {self.kind}")
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
        if self.kind not in _ANSWERED_IN_PART:
            kinds = ", ".join(sorted(_ANSWERED_IN_PART))
            raise ValueError(f"answered is for {kinds}, not for {self.kind}")
        if self.kind is FaultKind.JOB_PARTIAL and not 0 < answered < 1:
            raise ValueError(f"answered must be between 0 and 1, not {answered!r}")
        if not 0 <= answered <= 1:
            raise ValueError(f"answered must be from 0 to 1, not {answered!r}")

    @property
    def share_answered(self) -> float:
        """The share of a struck job's requests that is answered: 0 is a job without output."""
        return _USUALLY_ANSWERED[self.kind] if self.answered is None else self.answered

    @classmethod
    def from_json(cls, body: object) -> "Fault":
        """Read a rule. Raises ValueError for what is no object or makes no sense."""
        if not isinstance(body, Mapping):
            raise ValueError(f"a fault is a JSON object, not {body!r}")
        unknown = body.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown fields of a fault: {', '.join(sorted(unknown))}")
        endpoint = body.get("endpoint")
        values = {
            **body,
            "kind": FaultKind(body.get("kind", "")),
            "endpoint": None if endpoint is None else Endpoint(endpoint),
        }
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One rule, falling once."""

    fault: Fault
    seed: str
    """Decides what else is left to chance about it, differently from strike to strike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """A rule in force and what it has done so far."""

    fault_id: int
    fault: Fault
    n_considered: int
    n_struck: int

    def as_json(self) -> dict[str, Any]:
        """The rule's fields with `id` and `struck`, as the admin endpoint shows it."""
        return {"id": self.fault_id, **asdict(self.fault), "struck": self.n_struck}


class Strikes:
    """Chooses among rules in memory and counts; `FaultBook.record` makes the counts last.

    Chance is drawn from the seed, the rule and how often it was considered, so that the same
    calls in the same order meet the same faults.
    """

    def __init__(self, records: Iterable[FaultRecord], seed: int) -> None:
        self._records = tuple(records)
        self._seed = seed
        self.considered: Counter[int] = Counter()
        self.struck: Counter[int] = Counter()

    def __bool__(self) -> bool:
        return bool(self._records)

    def strike(self, *subjects: str, endpoint: Endpoint | None = None) -> Strike | None:
        """The first rule that strikes any of the subjects, or None."""
        for record in self._records:
            fault, fault_id = record.fault, record.fault_id
            matches = any(fault.match in subject for subject in subjects)
            if matches and fault.endpoint in (None, endpoint) and self._falls(record):
                n_struck = record.n_struck + self.struck[fault_id]
                return Strike(fault=fault, seed=f"{self._seed}/{fault_id}/strike {n_struck}")
        return None

    def _falls(self, record: FaultRecord) -> bool:
        fault_id, fault = record.fault_id, record.fault
        if fault.times is not None and record.n_struck + self.struck[fault_id] >= fault.times:
            return False
        self.considered[fault_id] += 1
        n_considered = record.n_considered + self.considered[fault_id]
        draw = Random(f"{self._seed}/{fault_id}/{n_considered}").random()
        falls = draw < fault.probability
        self.struck[fault_id] += falls
        return falls


class FaultBook:
    """The rules in force, kept on disk. The oldest rule that matches wins."""

    def __init__(self, database: Database, seed: Callable[[], int]) -> None:
        self._database = database
        self._seed = seed

    def add(self, fault: Fault) -> FaultRecord:
        """Put a rule in force."""
        with self._database.transaction() as connection:
            added = connection.execute(
                "INSERT INTO faults (rule) VALUES (?)", (orjson.dumps(asdict(fault)).decode(),)
            )
        fault_id = int(added.lastrowid or 0)
        return FaultRecord(fault_id=fault_id, fault=fault, n_considered=0, n_struck=0)

    def ensure(self, fault: Fault) -> None:
        """Put a rule in force, unless the very same is in force already."""
        with self._database.transaction():
            if all(record.fault != fault for record in self.records()):
                self.add(fault)

    def records(self) -> list[FaultRecord]:
        """All rules in force, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM faults ORDER BY fault_id").fetchall()
        return [
            FaultRecord(
                fault_id=row["fault_id"],
                fault=Fault.from_json(orjson.loads(row["rule"])),
                n_considered=row["n_considered"],
                n_struck=row["n_struck"],
            )
            for row in rows
        ]

    def remove(self, fault_id: int) -> None:
        """Take one rule out of force. Raises ApiError 404 if there is none of that id."""
        with self._database.transaction() as connection:
            gone = connection.execute("DELETE FROM faults WHERE fault_id = ?", (fault_id,))
        if not gone.rowcount:
            raise ApiError(404, f"There is no fault {fault_id}.")

    def clear(self) -> None:
        """Take every rule out of force."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM faults")

    def strikes(self, kinds: Iterable[FaultKind]) -> Strikes:
        """The rules of these kinds, for many decisions in memory; `record` them afterwards."""
        wanted = frozenset(kinds)
        chosen = [record for record in self.records() if record.fault.kind in wanted]
        return Strikes(chosen, self._seed())

    def record(self, strikes: Strikes) -> None:
        """Add to the counts on disk what was decided in memory."""
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE faults SET n_considered = n_considered + ?, n_struck = n_struck + ?"
                " WHERE fault_id = ?",
                [(n, strikes.struck[key], key) for key, n in strikes.considered.items()],
            )

    def strike(
        self, kinds: Iterable[FaultKind], *subjects: str, endpoint: Endpoint | None = None
    ) -> Strike | None:
        """Decide once, and remember it."""
        with self._database.transaction():
            strikes = self.strikes(kinds)
            strike = strikes.strike(*subjects, endpoint=endpoint)
            self.record(strikes)
        return strike
