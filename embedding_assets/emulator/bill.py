"""The bill: what was called and what was bought, so that a test can prove that nothing was twice.

Belongs here: counts and purchases. Does not belong here: the decision what is bought (`results`).
A request is bought when it is answered with an intact vector. Errors are free, and so are, unless a
rule says otherwise, answers spoilt by a fault: a second purchase is the client's doing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from embedding_assets.emulator.database import Database
from embedding_assets.emulator.embed_requests import Purchase
from embedding_assets.emulator.faults.kinds import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledText:
    """How often the same text was bought for the same model and dimensions, and its tokens."""

    sha256: str
    model: str
    dimensions: int
    times: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Everything since the state directory was new. Jobs are billed when their output is there."""

    jobs_created: int
    batch_requests: int
    batch_tokens: int
    sync_requests: int
    sync_tokens: int
    calls: dict[str, int]
    texts: tuple[BilledText, ...]

    @property
    def requests(self) -> int:
        """Requests bought by either route."""
        return self.batch_requests + self.sync_requests

    @property
    def tokens(self) -> int:
        """Tokens bought by either route."""
        return self.batch_tokens + self.sync_tokens

    @property
    def bought_twice(self) -> tuple[BilledText, ...]:
        """The texts bought more than once."""
        return tuple(text for text in self.texts if text.times > 1)


class Cashier:
    """Keeps the bill on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count_call(self, endpoint: Endpoint) -> None:
        """Count one call, whatever becomes of it."""
        self._database.change(
            "INSERT INTO calls VALUES (?, 1)"
            " ON CONFLICT (endpoint) DO UPDATE SET n_calls = n_calls + 1",
            (endpoint,),
        )

    def buy(self, purchases: Iterable[Purchase], *, batch_id: str | None = None) -> None:
        """Put purchases on the bill; those of a batch job appear once its output is there."""
        rows = [(batch_id, p.sha256, p.model, p.dimensions, p.tokens) for p in purchases]
        with self._database.transaction() as connection:
            connection.executemany("INSERT INTO purchases VALUES (?, ?, ?, ?, ?)", rows)

    def bill(self, now: float) -> Bill:
        """The bill as of now."""
        with self._database.transaction():
            [total] = self._database.rows(
                "SELECT count(*) AS n_requests, count(batch_id) AS n_batch_requests,"
                " total(tokens) AS n_tokens,"
                " total(iif(batch_id IS NULL, 0, tokens)) AS n_batch_tokens"
                " FROM due_purchases WHERE due_at <= ?",
                (now,),
            )
            texts = self._database.rows(
                "SELECT sha256, model, dimensions, count(*) AS times, sum(tokens) AS tokens"
                " FROM due_purchases WHERE due_at <= ? GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
                (now,),
            )
            calls = self._database.rows("SELECT * FROM calls ORDER BY endpoint")
            [jobs] = self._database.rows("SELECT count(*) FROM batches")
        return Bill(
            jobs_created=jobs[0],
            batch_requests=total["n_batch_requests"],
            batch_tokens=int(total["n_batch_tokens"]),
            sync_requests=total["n_requests"] - total["n_batch_requests"],
            sync_tokens=int(total["n_tokens"] - total["n_batch_tokens"]),
            calls={row["endpoint"]: row["n_calls"] for row in calls},
            texts=tuple(BilledText(**dict(row)) for row in texts),
        )
