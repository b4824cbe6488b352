"""What can be tuned about the emulator: how long jobs take and which limits it enforces.

Nothing here is read from the environment or kept on disk; faults are in `faults`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

MAX_SYNC_REQUESTS_PER_CALL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorSettings:
    """The settings of a running emulator; the defaults are a small paying account's."""

    latency_s: float = 2.0
    """How long a batch job takes at least, from its creation to its end."""
    seed: int = 0
    """Decides the order of result lines and the faults that strike by chance."""
    max_requests_per_job: int = 10_000
    max_bytes_per_job: int = 100 * 1024 * 1024
    max_concurrent_jobs: int = 50
    max_enqueued_tokens: int = 500_000
    """Over all live jobs of a model."""
    max_sync_requests_per_minute: int = 1_500
    """Each text counts one, however many share a call."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            wanted = int | float if field.name == "latency_s" else int
            if isinstance(value, bool) or not isinstance(value, wanted) or not value >= 0:
                raise ValueError(f"{field.name} must be a number of 0 or more, not {value!r}")

    def changed(self, values: Mapping[str, object]) -> "EmulatorSettings":
        """These settings with some replaced. Raises ValueError for an unknown name or bad value."""
        known = asdict(self)
        for name in values:
            if name not in known:
                raise ValueError(f"unknown setting {name!r}; there are {', '.join(known)}")
        return replace(self, **values)  # type: ignore[arg-type]  # checked in __post_init__
