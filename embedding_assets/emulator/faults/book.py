"""The rules in force: which of them strikes, and how often each has.

Whether a rule strikes is decided and remembered here; what then happens is up to its kind.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

import orjson

from embedding_assets.emulator.database import Database
from embedding_assets.emulator.errors import ApiError
from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.emulator.faults.rules import Fault


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
        rows = self._database.rows("SELECT * FROM faults ORDER BY fault_id")
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
        if not self._database.change("DELETE FROM faults WHERE fault_id = ?", (fault_id,)):
            raise ApiError(404, f"There is no fault {fault_id}.")

    def clear(self) -> None:
        """Take every rule out of force."""
        self._database.change("DELETE FROM faults")

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
